use super::measurement::Measurement;
use crate::appraisal::{Facts, Judged, Reason};
use crate::ear::{TrustVector, hardware};
use alcub3_crypto::VerifyingKey;
use alcub3_trust_model::{HardwareTier, RobotState};

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
    /// The keys that the evidence hangs on within the device: from the first measured layer's to the attestation key.
    pub keys: Vec<VerifyingKey>,
}

/// The judgement of one chain and statement. Only [`super::appraise`] makes one.
pub type Verdict = Judged<Attested>;

const IDENTITY: [Reason; 2] = [Reason::StateMalformed, Reason::StateRobot];
const CONFIGURATION: [Reason; 4] = [
    Reason::DiceConfiguration,
    Reason::DiceMode,
    Reason::Stopped,
    Reason::StopInForce,
];
const EXECUTABLES: [Reason; 7] = [
    Reason::DiceLayerMissing,
    Reason::DiceLayerUnexpected,
    Reason::DiceLayer,
    Reason::DiceFirmware,
    Reason::DiceSigner,
    Reason::DiceVersion,
    Reason::DiceSvn,
];

impl Facts for Attested {
    /// As for a TPM's evidence, each part states its own.
    fn vector(&self, verdict: &Verdict) -> TrustVector {
        let part = |reasons: &[Reason], worst, good| if verdict.any(reasons) { worst } else { good };
        TrustVector {
            instance_identity: part(&IDENTITY, 97, 2),
            configuration: part(&CONFIGURATION, 96, 2),
            // What booted is approved (AR4SI: 3); of what was loaded after the boot DICE says nothing.
            executables: part(&EXECUTABLES, 96, 3),
            hardware: part(&[Reason::Tier], 96, hardware(self.tier)),
        }
    }

    fn sequence(&self) -> Option<u64> {
        Some(self.sequence)
    }

    fn state(&self) -> Option<&RobotState> {
        self.state.as_ref()
    }

    fn tier(&self) -> HardwareTier {
        self.tier
    }
}
