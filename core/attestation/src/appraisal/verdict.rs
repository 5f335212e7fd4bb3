use super::asked::Asked;
use super::boot::BootRecord;
use super::policy::LastSeen;
use super::reason::{Finding, Reason, Severity};
use super::registers::RegisterRecord;
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
        let mut verdict = Self {
            findings,
            attested,
            records,
            kind: asked.kind(),
            ends_by_ms: asked.scope().map(|scope| scope.not_after_ms),
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
