//! What must never be reached by accident. Everything here weakens a promise and is named for it.

use crate::{HardwareTier, LevelProfile};

/// A level's profile as it is held against a TPM of a kind where simulators are admitted: for tests, the demonstration and
/// development authorities, which must say so in every result they issue. Real chips still have to meet their own floor.
pub const fn admitting_simulators(profile: LevelProfile, tier: HardwareTier) -> LevelProfile {
    match tier {
        HardwareTier::Simulator => LevelProfile {
            min_tier: HardwareTier::Simulator,
            ..profile
        },
        _ => profile,
    }
}
