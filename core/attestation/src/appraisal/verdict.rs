use super::boot::BootRecord;
use super::policy::LastSeen;
use super::reason::{Finding, Reason, Severity};
use super::runtime::RuntimeRecord;
use crate::quote::VerifiedQuote;
use alcub3_crypto::Digest;
use alcub3_trust_model::{HardwareTier, RobotState, StopId};

/// What the robot's TPM signed. Present in a verdict once the quote holds, whatever else was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attested {
    /// The quote.
    pub quote: VerifiedQuote,
    /// The robot's state, if it parses and is this robot's.
    pub state: Option<RobotState>,
    /// Digest over the active missions.
    pub mission: Digest,
    /// The evidence's sequence number.
    pub sequence: u64,
    /// The kind of TPM: the lower of what was enrolled and what the evidence says.
    pub tier: HardwareTier,
    /// Stops of the whole robot in the agent's log, since the last boot.
    pub stops: Vec<StopId>,
}

impl Attested {
    /// What to remember for the next appraisal.
    #[must_use]
    pub const fn last_seen(&self) -> LastSeen {
        LastSeen {
            sequence: self.sequence,
            clock: self.quote.clock(),
        }
    }
}

/// The judgement of one piece of evidence. Only [`appraise`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    findings: Vec<Finding>,
    attested: Option<Attested>,
    records: Records,
    judged_at_ms: u64,
}

/// What an appraisal may spare the next one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) boot: Option<BootRecord>,
    pub(super) runtime: Option<RuntimeRecord>,
}

impl Verdict {
    /// What was found; the records that were made on the way are dropped unless all is good.
    pub(super) fn new(
        findings: Vec<Finding>,
        attested: Option<Attested>,
        records: Records,
        judged_at_ms: u64,
    ) -> Self {
        let mut verdict = Self {
            findings,
            attested,
            records,
            judged_at_ms,
        };
        if !verdict.is_trusted() {
            verdict.records = Records::default();
        }
        verdict
    }

    /// Whether the quote holds and nothing found makes the robot untrusted.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.attested.is_some()
            && self
                .findings
                .iter()
                .all(|finding| finding.severity != Severity::Untrusted)
    }

    /// The verdict of a verifier that remembers stops which nobody rearmed. Each boot begins the agent's log anew, and what the
    /// robot says of itself after it proves no rearm: a remembered stop is in force until it is rearmed.
    #[must_use]
    pub fn with_stops_in_force(self, remembered: impl IntoIterator<Item = StopId>) -> Self {
        let Some(stop) = remembered.into_iter().next() else {
            return self;
        };
        if self.attested.is_none() || self.has(Reason::StopInForce) {
            return self;
        }
        let detail = format!("stop {stop} was seen before, and nobody rearmed it since; rearm the robot");
        self.with(Finding::new(Reason::StopInForce, detail))
    }

    /// With something more that was found. Nothing found is ever taken away.
    #[must_use]
    pub(crate) fn with(mut self, finding: Finding) -> Self {
        self.findings.push(finding);
        Self::new(self.findings, self.attested, self.records, self.judged_at_ms)
    }

    /// The verdict of a verifier that was shown offline evidence up to a sequence number: what lies between it and this evidence
    /// is named.
    #[must_use]
    pub fn behind_offline_evidence(self, shown: u64) -> Self {
        let missing = self.attested.as_ref().map_or(0, |attested| {
            attested.sequence.saturating_sub(shown).saturating_sub(1)
        });
        if missing == 0 {
            return self;
        }
        let detail = format!(
            "{missing} numbers behind {shown} were not shown: newest links of the queue that were held back, evidence for others \
             or that was lost, or numbers that a restart of the agent skipped"
        );
        self.with(Finding::new(Reason::EvidenceGap, detail))
    }

    /// Everything found, in the order of the checks.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether a reason is among the findings.
    #[must_use]
    pub fn has(&self, reason: Reason) -> bool {
        self.findings.iter().any(|finding| finding.reason == reason)
    }

    /// What the TPM signed; `None` when the quote does not hold.
    #[must_use]
    pub const fn attested(&self) -> Option<&Attested> {
        self.attested.as_ref()
    }

    /// The boot to remember; `None` unless the verdict is trusted and was made from a UEFI log.
    #[must_use]
    pub const fn boot(&self) -> Option<&BootRecord> {
        self.records.boot.as_ref()
    }

    /// How far the running system's list is judged; `None` unless the verdict is trusted and there are references for it.
    #[must_use]
    pub const fn runtime(&self) -> Option<&RuntimeRecord> {
        self.records.runtime.as_ref()
    }

    /// When it was judged, UTC in milliseconds.
    #[must_use]
    pub const fn judged_at_ms(&self) -> u64 {
        self.judged_at_ms
    }
}
