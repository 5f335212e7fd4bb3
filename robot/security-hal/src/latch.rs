//! The latch: a robot is stopped unless a rearm by two persons names the epochs its TPM holds.

use alcub3_trust_model::Level;

use crate::gate::Closures;

/// The zeroization epochs as the TPM holds them, read with authenticated responses.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct EpochSnapshot {
    /// The robot's epoch.
    pub robot: u64,
    /// Each level's epoch, by the level's number.
    pub levels: [u64; Level::ALL.len()],
}

/// That two persons agreed to end what is stopped now. Only a rearm's verification makes one, and it opens the
/// gates once.
#[derive(Debug)]
pub struct RearmProof {
    closures: Closures,
}

impl RearmProof {
    pub(crate) const fn into_closures(self) -> Closures {
        self.closures
    }
}
