//! Whether a mission lives in its robot's TPM: what every request to change one shows first.

use alcub3_attestation::certify::Signed;
use alcub3_command_authority::MissionToken;
use alcub3_crypto::Digest;
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::{MissionId, RobotId, SessionId};

use crate::{CertifiedCounter, CounterError, VerifiedEnrolment};

/// Why a mission is not shown to live.
#[derive(Debug, thiserror::Error)]
pub enum NotLiving {
    /// The request is another robot's, or of another mission than the token.
    #[error("the request is not of the mission's robot, or of another mission")]
    WrongMission,
    /// The exchange is not the one this authority opened.
    #[error("the request belongs to another exchange")]
    WrongSession,
    /// The anchor's or an epoch's value is not proven.
    #[error(transparent)]
    Counter(#[from] CounterError),
    /// The anchor has moved on, or the TPM was reset too often: the mission is over in the chip.
    #[error("the mission is over in the robot's TPM; start another")]
    OverInChip,
    /// A stop of the robot or of the mission's level came since the mission began: its keys are dead in the chip.
    #[error(
        "mission-stopped: a stop has killed the mission in the robot's TPM; rearm the robot and start another"
    )]
    Stopped,
    /// The certifications are of different boots of the TPM.
    #[error("the TPM was reset between the certifications: ask again")]
    ResetBetween,
    /// The mission has ended, by the TPM's clock or in wall time.
    #[error("the mission has reached its end; start another")]
    Ended,
}

impl NotLiving {
    /// The reason code, stable across releases; `otherwise` where it is none of its own.
    pub(crate) const fn code(&self, otherwise: &'static str) -> &'static str {
        match self {
            Self::Stopped => "mission-stopped",
            _ => otherwise,
        }
    }
}

/// What a request says and certifies of its mission: the anchor, the robot's epoch, the level's.
pub(crate) struct Shown<'a> {
    pub(crate) session: SessionId,
    pub(crate) robot: &'a RobotId,
    pub(crate) mission: MissionId,
    pub(crate) binding: Digest,
    pub(crate) counters: [&'a Signed; 3],
}

/// That a request shows the mission of a token to live, at a time (UTC in milliseconds since 1970).
pub(crate) fn check(
    shown: &Shown<'_>,
    token: &MissionToken,
    enrolment: &VerifiedEnrolment,
    session: SessionId,
    now_ms: u64,
) -> Result<(), NotLiving> {
    if shown.session != session {
        return Err(NotLiving::WrongSession);
    }
    let same_robot = *shown.robot == enrolment.record().robot && *shown.robot == token.robot;
    if !same_robot || shown.mission != token.mission {
        return Err(NotLiving::WrongMission);
    }
    let counters = certified(shown, token, enrolment)?;
    check_counters(&counters, token, now_ms)
}

fn certified(
    shown: &Shown<'_>,
    token: &MissionToken,
    enrolment: &VerifiedEnrolment,
) -> Result<[CertifiedCounter; 3], NotLiving> {
    let [anchor, robot, level] = shown.counters;
    let counter = |index, signed| CertifiedCounter::verify(enrolment, index, signed, &shown.binding);
    let counters = [
        counter(NvIndex::MissionAnchor(token.anchor), anchor)?,
        counter(NvIndex::RobotEpoch, robot)?,
        counter(NvIndex::LevelEpoch(token.labels.level), level)?,
    ];
    let [anchor, robot, level] = counters.map(|counter| counter.clock().reset_count);
    if anchor != robot || anchor != level {
        return Err(NotLiving::ResetBetween);
    }
    Ok(counters)
}

fn check_counters(
    [anchor, robot_epoch, level_epoch]: &[CertifiedCounter; 3],
    token: &MissionToken,
    now_ms: u64,
) -> Result<(), NotLiving> {
    if robot_epoch.value() != token.robot_epoch || level_epoch.value() != token.level_epoch {
        return Err(NotLiving::Stopped);
    }
    let clock = anchor.clock();
    if anchor.value() != token.anchor_value || clock.reset_count > token.max_reset_count() {
        return Err(NotLiving::OverInChip);
    }
    if clock.clock_ms >= token.end_clock_ms || now_ms >= token.not_after_ms {
        return Err(NotLiving::Ended);
    }
    Ok(())
}
