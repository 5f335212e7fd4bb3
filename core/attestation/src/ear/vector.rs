use super::Status;
use crate::appraisal::{Reason, Verdict};
use alcub3_trust_model::HardwareTier;
use serde::{Deserialize, Serialize};

/// AR4SI trustworthiness vector; 0 is "no claim", 2 to 31 affirming, 32 to 95 warning, 96 to 127 contraindicated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TrustVector {
    /// Whether this is the robot it says it is.
    pub instance_identity: i8,
    /// Whether its configuration is good.
    pub configuration: i8,
    /// Whether what booted is approved.
    pub executables: i8,
    /// Whether its root of trust is genuine.
    pub hardware: i8,
}

impl TrustVector {
    /// Nothing is proven (AR4SI: 99, of the identity).
    pub(crate) const UNPROVEN: Self = Self {
        instance_identity: 99,
        configuration: 0,
        executables: 0,
        hardware: 0,
    };

    /// The tier of the worst part, for the worst of which a status may not be better (draft-ietf-rats-ear-04 §3.1).
    pub(super) fn worst(&self) -> Status {
        let parts = [
            self.instance_identity,
            self.configuration,
            self.executables,
            self.hardware,
        ];
        let tier = |part: i8| match part {
            -1..=1 => Status::None,
            2..=31 | -32..=-2 => Status::Affirming,
            32..=95 | -96..=-33 => Status::Warning,
            96.. | ..=-97 => Status::Contraindicated,
        };
        parts.into_iter().map(tier).max().unwrap_or(Status::None)
    }

    /// Every part is a statement of its own; without a quote that holds only the identity's failure is stated.
    pub(super) fn of(verdict: &Verdict) -> Self {
        let Some(attested) = verdict.attested() else {
            return Self::UNPROVEN;
        };
        let bad = |reasons: &[Reason]| reasons.iter().any(|reason| verdict.has(*reason));
        let boot = [
            Reason::BootLogMissing,
            Reason::BootLogMalformed,
            Reason::BootLogBank,
            Reason::BootLogMismatch,
            Reason::EventData,
            Reason::Reference,
            Reason::ReferenceMissing,
            Reason::PcrNotQuoted,
            Reason::BootClaim,
        ];
        let runtime = [
            Reason::RuntimeLogMissing,
            Reason::RuntimeLogMalformed,
            Reason::RuntimeLogHole,
            Reason::RuntimeLogMismatch,
            Reason::ImaBypass,
            Reason::ImaInactive,
            Reason::BootAggregate,
            Reason::RuntimeFile,
            Reason::RuntimeOtherPcr,
            Reason::RuntimeViolation,
        ];
        let agent = [
            Reason::AgentPcr,
            Reason::AgentLogMalformed,
            Reason::AgentLogMismatch,
            Reason::StopInForce,
            Reason::Stopped,
            Reason::StateFirmware,
            Reason::StateCalibration,
            Reason::StateHardware,
            Reason::StateSoftware,
            Reason::StateMode,
            Reason::StatePosition,
        ];
        let identity = [
            Reason::StateMalformed,
            Reason::StateRobot,
            Reason::ResetCount,
            Reason::ClockBack,
        ];
        Self {
            instance_identity: if bad(&identity) { 97 } else { 2 },
            configuration: if bad(&agent) { 96 } else { 2 },
            executables: match () {
                () if bad(&boot) || bad(&runtime) => 96,
                // What was loaded after the boot is approved as well (AR4SI: 2), or nothing is said of it (3).
                () if verdict.runtime().is_some() => 2,
                () => 3,
            },
            hardware: match bad(&[Reason::Tier, Reason::TierClaim]) {
                true => 96,
                false => hardware(attested.tier),
            },
        }
    }
}

/// The vector's statement about a root of trust of an admitted kind.
pub(crate) const fn hardware(tier: HardwareTier) -> i8 {
    match tier {
        HardwareTier::Discrete | HardwareTier::Firmware => 2,
        HardwareTier::Virtual | HardwareTier::Simulator => 32,
        HardwareTier::None => 97,
    }
}
