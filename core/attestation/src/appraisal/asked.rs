//! What an attestation was asked to prove, and what the verifier knows for it.

use alcub3_crypto::Digest;
use alcub3_trust_model::nv_map::MissionAnchor;
use alcub3_trust_model::{AttestationKind, Level, MissionId};

/// What was asked for, with what the verifier knows of it.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    /// That the platform is what it was enrolled as.
    Platform,
    /// That a mission lives in the chip.
    Mission(&'a MissionScope),
    /// A mission that the verifier knows no approval of, or whose token in the evidence it does not accept. Never proven.
    UnapprovedMission(MissionId),
    /// That the sensors are calibrated as they were enrolled.
    Sensor,
    /// That the robot may work.
    Operational,
    /// That the robot is stopped.
    Emergency {
        /// The robot's epoch that persons approved last: a stop leads beyond it.
        approved_epoch: u64,
    },
}

/// An approved mission, as far as an appraisal holds a robot to it. Whoever makes one has verified the mission's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissionScope {
    /// The mission.
    pub mission: MissionId,
    /// The SHA-256 of the signed token.
    pub token: Digest,
    /// Its level.
    pub level: Level,
    /// When it begins, UTC in milliseconds since 1970.
    pub not_before_ms: u64,
    /// When it ends, UTC in milliseconds since 1970.
    pub not_after_ms: u64,
    /// When it ends on the TPM's clock, in milliseconds.
    pub end_clock_ms: u64,
    /// Its anchor.
    pub anchor: MissionAnchor,
    /// The anchor's value while it lives.
    pub anchor_value: u64,
    /// The robot's epoch while it lives.
    pub robot_epoch: u64,
    /// Its level's epoch while it lives.
    pub level_epoch: u64,
    /// The highest reset counter at which its keys work.
    pub max_reset_count: u32,
}

impl<'a> Asked<'a> {
    /// The kind of attestation.
    #[must_use]
    pub const fn kind(&self) -> AttestationKind {
        match self {
            Self::Platform => AttestationKind::Platform,
            Self::Mission(scope) => AttestationKind::Mission(scope.mission),
            Self::UnapprovedMission(mission) => AttestationKind::Mission(*mission),
            Self::Sensor => AttestationKind::Sensor,
            Self::Operational => AttestationKind::Operational,
            Self::Emergency { .. } => AttestationKind::Emergency,
        }
    }

    /// The mission, where one is to be proven and is approved.
    #[must_use]
    pub const fn scope(&self) -> Option<&'a MissionScope> {
        match self {
            Self::Mission(scope) => Some(scope),
            _ => None,
        }
    }
}
