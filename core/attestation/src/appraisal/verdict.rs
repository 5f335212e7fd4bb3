use super::asked::Asked;
use super::boot::BootRecord;
use super::policy::LastSeen;
use super::reason::{Finding, Reason, Severity};
use super::reference::ReferenceValues;
use super::registers::RegisterRecord;
use super::rules::{JudgedFacts, RuleInForce};
use super::runtime::RuntimeRecord;
use crate::quote::VerifiedQuote;
use alcub3_crypto::Digest;
use alcub3_trust_model::{AttestationKind, HardwareTier, RobotState, StopId};

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
    /// The robot's epoch, where the kind of attestation proves it.
    pub epoch: Option<u64>,
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
    kind: AttestationKind,
    ends_by_ms: Option<u64>,
    judged_at_ms: u64,
}

/// What an appraisal may spare the next one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) boot: Option<BootRecord>,
    pub(super) runtime: Option<RuntimeRecord>,
    pub(super) registers: Option<RegisterRecord>,
}

impl Verdict {
    /// What was found; the records that were made on the way are dropped unless all is good.
    pub(super) fn new(
        findings: Vec<Finding>,
        attested: Option<Attested>,
        records: Records,
        asked: Asked<'_>,
        judged_at_ms: u64,
    ) -> Self {
        let verdict = Self {
            findings,
            attested,
            records,
            kind: asked.kind(),
            ends_by_ms: asked.scope().map(|scope| scope.not_after_ms),
            judged_at_ms,
        };
        verdict.without_records_of_bad()
    }

    /// The verdict held to a rule of the fleet's appraisal policy as well: never better than it was. `references` are those that it
    /// was made with.
    #[must_use]
    pub fn held_to(self, rule: &RuleInForce, references: &ReferenceValues) -> Self {
        let now_ms = self.judged_at_ms;
        self.held_to_as_of(rule, references, now_ms)
    }

    /// As [`Self::held_to`], of evidence that was made at another time than that of its judgement, UTC in milliseconds since 1970.
    pub(crate) fn held_to_as_of(
        mut self,
        rule: &RuleInForce,
        references: &ReferenceValues,
        as_of_ms: u64,
    ) -> Self {
        // What is asked of robots at work is not asked of one that proves its stop: it is trusted by nobody.
        if self.kind == AttestationKind::Emergency {
            return self;
        }
        let state = self
            .attested
            .as_ref()
            .and_then(|attested| attested.state.as_ref());
        let judged = JudgedFacts {
            tier: self.attested.as_ref().map(|attested| attested.tier),
            state_time_ms: state.map(|state| state.time_ms),
            judged_at_ms: as_of_ms,
            references: Some(references),
            state: references.state(),
        };
        rule.hold(&mut self.findings, &judged);
        self.without_records_of_bad()
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

    /// What was asked for.
    #[must_use]
    pub const fn kind(&self) -> AttestationKind {
        self.kind
    }

    /// Whether the evidence proves what its kind is asked to prove. It is the same as [`Self::is_trusted`] but for a stop: one
    /// that is proven makes the robot untrusted.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        let is_stop = |reason| matches!(reason, Reason::Stopped | Reason::StopInForce);
        match self.kind {
            AttestationKind::Emergency => {
                let mut against = self
                    .findings
                    .iter()
                    .filter(|found| found.severity == Severity::Untrusted);
                self.has(Reason::StopInForce) && against.all(|found| is_stop(found.reason))
            }
            _ => self.is_trusted(),
        }
    }

    /// Whether the robot may be commanded on this judgement: it is trusted, and was asked for all that a command needs.
    #[must_use]
    pub fn grants_lease(&self) -> bool {
        self.is_trusted() && self.kind.grants_lease()
    }

    /// When nothing that rests on this judgement holds any more, whatever else bounds it: its mission's end, UTC in milliseconds.
    #[must_use]
    pub const fn ends_by_ms(&self) -> Option<u64> {
        self.ends_by_ms
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
        self.without_records_of_bad()
    }

    /// Only a trusted verdict teaches anything.
    fn without_records_of_bad(mut self) -> Self {
        if !self.is_trusted() {
            self.records = Records::default();
        }
        self
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

    /// What the registers hold; `None` unless the verdict is trusted.
    #[must_use]
    pub const fn registers(&self) -> Option<&RegisterRecord> {
        self.records.registers.as_ref()
    }

    /// When it was judged, UTC in milliseconds.
    #[must_use]
    pub const fn judged_at_ms(&self) -> u64 {
        self.judged_at_ms
    }
}
