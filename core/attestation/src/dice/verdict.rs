use super::measurement::Measurement;
use crate::appraisal::{Finding, Judged, Reason, RuleInForce, Severity};
use crate::ear::{Judgement, Status, TrustVector, hardware};
use alcub3_crypto::VerifyingKey;
use alcub3_trust_model::{AttestationKind, HardwareTier, RobotState};

/// What was proven. Present in a verdict once the chain and the statement hold, whatever else was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attested {
    /// The robot's state, if it parses and is this robot's.
    pub state: Option<RobotState>,
    /// The evidence's sequence number.
    pub sequence: u64,
    /// The kind of root of trust, as it was enrolled.
    pub tier: HardwareTier,
    /// The measured layers, from the root's side.
    pub layers: Vec<Measurement>,
    /// The key that signed the statement.
    pub attestation_key: VerifyingKey,
}

/// The judgement of one piece of evidence. Only [`super::appraise`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    findings: Vec<Finding>,
    attested: Option<Attested>,
    judged_at_ms: u64,
}

impl Verdict {
    /// The verdict held to a rule of the fleet's appraisal policy as well, as one of a TPM's evidence is: never better than it was.
    #[must_use]
    pub fn held_to(mut self, rule: &RuleInForce) -> Self {
        let judged = Judged {
            tier: self.attested.as_ref().map(|attested| attested.tier),
            state_time_ms: self
                .attested
                .as_ref()
                .and_then(|attested| attested.state.as_ref())
                .map(|state| state.time_ms),
            judged_at_ms: self.judged_at_ms,
            references: None,
        };
        rule.hold(&mut self.findings, &judged);
        self
    }

    pub(super) const fn new(findings: Vec<Finding>, attested: Option<Attested>, judged_at_ms: u64) -> Self {
        Self {
            findings,
            attested,
            judged_at_ms,
        }
    }

    /// Whether chain and statement hold and nothing found makes the robot untrusted.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        let fatal = |finding: &Finding| finding.severity == Severity::Untrusted;
        self.attested.is_some() && !self.findings.iter().any(fatal)
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

    /// What was proven; `None` when chain or statement do not hold.
    #[must_use]
    pub const fn attested(&self) -> Option<&Attested> {
        self.attested.as_ref()
    }

    /// `worst` where any of the reasons was found, `good` otherwise.
    fn part(&self, reasons: &[Reason], worst: i8, good: i8) -> i8 {
        match reasons.iter().any(|reason| self.has(*reason)) {
            true => worst,
            false => good,
        }
    }
}

const IDENTITY: [Reason; 2] = [Reason::StateMalformed, Reason::StateRobot];
const CONFIGURATION: [Reason; 3] = [Reason::DiceConfiguration, Reason::DiceMode, Reason::Stopped];
const EXECUTABLES: [Reason; 7] = [
    Reason::DiceLayerMissing,
    Reason::DiceLayerUnexpected,
    Reason::DiceLayer,
    Reason::DiceFirmware,
    Reason::DiceSigner,
    Reason::DiceVersion,
    Reason::DiceSvn,
];

impl Judgement for Verdict {
    fn status(&self) -> Status {
        Status::of(self.is_trusted(), &self.findings)
    }

    /// As for a TPM's evidence: each part states its own, and where nothing is proven only that (AR4SI: 99).
    fn vector(&self) -> TrustVector {
        let Some(attested) = &self.attested else {
            return TrustVector {
                instance_identity: 99,
                ..TrustVector::default()
            };
        };
        TrustVector {
            instance_identity: self.part(&IDENTITY, 97, 2),
            configuration: self.part(&CONFIGURATION, 96, 2),
            // What booted is approved (AR4SI: 3); of what was loaded after the boot DICE says nothing.
            executables: self.part(&EXECUTABLES, 96, 3),
            hardware: self.part(&[Reason::Tier], 96, hardware(attested.tier)),
        }
    }

    fn reason_codes(&self) -> Vec<&'static str> {
        self.findings
            .iter()
            .map(|finding| finding.reason.code())
            .collect()
    }

    fn kind(&self) -> Option<AttestationKind> {
        Some(AttestationKind::Operational)
    }

    fn sequence(&self) -> Option<u64> {
        self.attested.as_ref().map(|attested| attested.sequence)
    }

    fn tier(&self) -> Option<HardwareTier> {
        self.attested.as_ref().map(|attested| attested.tier)
    }

    fn judged_at_ms(&self) -> u64 {
        self.judged_at_ms
    }
}
