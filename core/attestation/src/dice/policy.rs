use super::reference::LayerReference;
use crate::appraisal::StateReferences;
use crate::evidence::Nonce;
use alcub3_crypto::VerifyingKey;
use alcub3_trust_model::{HardwareTier, RobotId};

/// What a verifier holds a DICE platform to.
#[derive(Debug, Clone)]
pub struct Policy<'a> {
    /// The device's own key as it was enrolled: of its UDS or DeviceID certificate. It ties the chain to this one robot.
    pub device_key: &'a VerifyingKey,
    /// The manufacturer's root keys, one of which signed the chain's first certificate. Where there are none, the device's own
    /// key did.
    pub roots: &'a [VerifyingKey],
    /// The robot.
    pub robot: &'a RobotId,
    /// The nonce of this request. The caller never accepts one twice.
    pub nonce: &'a Nonce,
    /// What each measured layer must be, from the root's side. There are exactly as many.
    pub layers: &'a [LayerReference],
    /// What kind of root of trust the device was found to have when it was enrolled: [`HardwareTier::Discrete`] for a chip of
    /// its own, [`HardwareTier::Firmware`] for the processor's. The chain does not say.
    pub enrolled_tier: HardwareTier,
    /// The lowest kind admitted. In production above [`HardwareTier::Simulator`].
    pub min_tier: HardwareTier,
    /// The sequence number of the last evidence that was judged of this robot.
    pub last_sequence: Option<u64>,
    /// How far the state's time may be from the verifier's, in milliseconds, before it is worth a warning.
    pub max_state_age_ms: u64,
    /// What else the state is held to; which mode may follow which is not, since that takes a register.
    pub state: Option<&'a StateReferences>,
}
