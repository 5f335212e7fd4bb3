//! What must never be reached by accident. Everything here weakens a promise and is named for it.

use crate::{HardwareTier, Level, LevelProfile, profile};

/// The level's profile with simulators admitted: for tests, the demonstration and development authorities.
/// An authority that uses it must say so in every result it issues.
pub const fn profile_admitting_simulators(level: Level) -> LevelProfile {
    admitting_simulators(profile(level))
}

/// A profile with simulators admitted, as [`profile_admitting_simulators`] for one of a policy.
pub const fn admitting_simulators(profile: LevelProfile) -> LevelProfile {
    LevelProfile {
        min_tier: HardwareTier::Simulator,
        ..profile
    }
}
