use super::claims::Claims;
use super::reason::{Finding, Reason};
use crate::appraisal::Severity;
use crate::ear::{Judgement, Status, TrustVector, hardware};
use alcub3_trust_model::{AttestationKind, HardwareTier, RobotState};

/// What the PSA root of trust signed in answer to the challenge, whatever else was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attested {
    /// The token's claims.
    pub claims: Claims,
    /// The robot's state, if it parses and is this robot's.
    pub state: Option<RobotState>,
    /// The kind of root of trust, as it was enrolled.
    pub tier: HardwareTier,
}

/// The judgement of one token. Only [`super::appraise`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    findings: Vec<Finding>,
    attested: Option<Attested>,
    judged_at_ms: u64,
}

impl Verdict {
    pub(super) const fn new(findings: Vec<Finding>, attested: Option<Attested>, judged_at_ms: u64) -> Self {
        Self {
            findings,
            attested,
            judged_at_ms,
        }
    }

    /// Whether the token holds and nothing found makes the robot untrusted.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.attested.is_some() && !self.found(Severity::Untrusted)
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

    /// What was signed; `None` when the token is not the enrolled instance's answer to the challenge.
    #[must_use]
    pub const fn attested(&self) -> Option<&Attested> {
        self.attested.as_ref()
    }

    fn found(&self, severity: Severity) -> bool {
        self.findings.iter().any(|finding| finding.severity == severity)
    }

    fn any(&self, reasons: &[Reason]) -> bool {
        reasons.iter().any(|reason| self.has(*reason))
    }

    /// Whether one of the components that are configurations, or that are not, was found wanting.
    fn components(&self, configuration: bool) -> bool {
        let about = |finding: &&Finding| {
            let component = finding.component.as_deref().unwrap_or_default();
            component.ends_with("_CONFIG") == configuration
        };
        let wrong = [
            Reason::ComponentUnknown,
            Reason::ComponentSigner,
            Reason::ComponentMeasurement,
            Reason::ComponentVersion,
            Reason::ComponentMissing,
        ];
        let found = self.findings.iter().filter(about);
        found
            .map(|finding| finding.reason)
            .any(|reason| wrong.contains(&reason))
    }

    fn identity(&self) -> i8 {
        let other = [Reason::StateMalformed, Reason::StateRobot, Reason::Client];
        match () {
            () if self.has(Reason::Lifecycle) => 96,
            () if self.any(&other) => 97,
            () => 2,
        }
    }

    /// Affirmed only where a configuration was measured and is good; debug exposes what nothing measured.
    fn configuration(&self, claims: &Claims) -> i8 {
        match () {
            () if self.has(Reason::Stopped) || self.components(true) => 96,
            () if self.has(Reason::LifecycleDebug) => 32,
            () if claims.components.iter().any(super::Component::is_configuration) => 2,
            () => 0,
        }
    }

    fn hardware(&self, tier: HardwareTier) -> i8 {
        match () {
            () if self.has(Reason::Implementation) => 97,
            () if self.any(&[Reason::Tier, Reason::Certification]) => 96,
            () => hardware(tier),
        }
    }
}

/// By the mapping of RFC 9783 §8.1, with the values of AR4SI.
impl Judgement for Verdict {
    fn status(&self) -> Status {
        match self.is_trusted() {
            false => Status::Contraindicated,
            true if self.found(Severity::Warning) || self.has(Reason::Simulator) => Status::Warning,
            true => Status::Affirming,
        }
    }

    fn vector(&self) -> TrustVector {
        let Some(attested) = &self.attested else {
            return TrustVector {
                instance_identity: 99,
                ..TrustVector::default()
            };
        };
        TrustVector {
            instance_identity: self.identity(),
            configuration: self.configuration(&attested.claims),
            // What runs since the boot is not measured (AR4SI: 3).
            executables: if self.components(false) { 96 } else { 3 },
            hardware: self.hardware(attested.tier),
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
        None
    }

    fn tier(&self) -> Option<HardwareTier> {
        self.attested.as_ref().map(|attested| attested.tier)
    }

    fn judged_at_ms(&self) -> u64 {
        self.judged_at_ms
    }
}
