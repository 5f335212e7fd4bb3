use super::claims::Claims;
use crate::appraisal::{Facts, Judged, Reason};
use crate::ear::{TrustVector, hardware};
use alcub3_trust_model::{HardwareTier, RobotState};

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
pub type Verdict = Judged<Attested>;

/// By the mapping of RFC 9783 §8.1, with the values of AR4SI.
impl Facts for Attested {
    fn vector(&self, verdict: &Verdict) -> TrustVector {
        TrustVector {
            instance_identity: identity(verdict),
            configuration: configuration(verdict, &self.claims),
            // What runs since the boot is not measured (AR4SI: 3).
            executables: if components(verdict, false) { 96 } else { 3 },
            hardware: match () {
                () if verdict.has(Reason::PsaImplementation) => 97,
                () if verdict.any(&[Reason::Tier, Reason::PsaCertification]) => 96,
                () => hardware(self.tier),
            },
        }
    }

    fn sequence(&self) -> Option<u64> {
        None
    }

    fn state(&self) -> Option<&RobotState> {
        self.state.as_ref()
    }

    fn tier(&self) -> HardwareTier {
        self.tier
    }
}

/// Whether one of the components that are configurations, or that are not, was found wanting.
fn components(verdict: &Verdict, configuration: bool) -> bool {
    let wrong = [
        Reason::PsaComponentUnknown,
        Reason::PsaComponentSigner,
        Reason::PsaComponentMeasurement,
        Reason::PsaComponentVersion,
        Reason::PsaComponentMissing,
    ];
    verdict.findings().iter().any(|finding| {
        let component = finding.component.as_deref().unwrap_or_default();
        component.ends_with("_CONFIG") == configuration && wrong.contains(&finding.reason)
    })
}

fn identity(verdict: &Verdict) -> i8 {
    match () {
        () if verdict.has(Reason::PsaLifecycle) => 96,
        () if verdict.any(&[Reason::StateMalformed, Reason::StateRobot, Reason::PsaClient]) => 97,
        () => 2,
    }
}

/// Affirmed only where a configuration was measured and is good; debug exposes what nothing measured.
fn configuration(verdict: &Verdict, claims: &Claims) -> i8 {
    match () {
        () if verdict.any(&[Reason::Stopped, Reason::StopInForce]) || components(verdict, true) => 96,
        () if verdict.has(Reason::PsaLifecycleDebug) => 32,
        () if claims.components.iter().any(super::Component::is_configuration) => 2,
        () => 0,
    }
}
