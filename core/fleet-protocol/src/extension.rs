//! A robot asks for its mission's end to be moved. The answer is a [`MissionApproval`](crate::mission::MissionApproval)
//! with the same mission, a later end, and the persons' approval of that end.

use alcub3_attestation::certify::Signed;
use alcub3_command_authority::MissionToken;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::canonical::{DecodeError, Encoder};
use alcub3_trust_model::{Level, LevelProfiles, MissionId, RobotId, SessionId, domain};

use crate::VerifiedEnrolment;
use crate::living_mission::{self, NotLiving, Shown};
use crate::wire::{self, Message};

const VERSION: u64 = 1;

/// The robot asks for a later end. The certifications carry [`extension_binding`] and show that the mission lives: its anchor
/// moves when it ends, the epochs when a stop of its level or of the robot kills it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExtensionRequest {
    /// The exchange.
    pub session: SessionId,
    /// The robot.
    pub robot: RobotId,
    /// The mission.
    pub mission: MissionId,
    /// How long it is to last in all, counted from its start, in milliseconds.
    pub duration_ms: u64,
    /// The mission anchor's value, certified.
    pub anchor_value: Signed,
    /// The robot's epoch, certified.
    pub robot_epoch: Signed,
    /// The level's epoch, certified.
    pub level_epoch: Signed,
}

/// The extra data of the certifications: H(domain ‖ session ‖ mission).
pub fn extension_binding(alg: HashAlg, session: SessionId, mission: MissionId) -> Digest {
    alg.digest(&[
        domain::EXTENSION_REQUEST.as_bytes(),
        session.as_bytes(),
        mission.as_bytes(),
    ])
}

impl ExtensionRequest {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::EXTENSION_REQUEST, VERSION, 7);
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .text(self.robot.as_str());
        out.u64(4)
            .bytes(self.mission.as_bytes())
            .u64(5)
            .u64(self.duration_ms);
        wire::put_signed(out.u64(6), &self.anchor_value);
        wire::put_signed(out.u64(7), &self.robot_epoch);
        wire::put_signed(out.u64(8), &self.level_epoch);
        out.finish()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::EXTENSION_REQUEST, VERSION, bytes)?;
        let request = Self {
            session: wire::session(m.at(2, "session")?)?,
            robot: wire::robot(m.at(3, "robot")?)?,
            mission: MissionId::new(*m.at(4, "mission")?.bytes_of("mission")?),
            duration_ms: m.at(5, "duration_ms")?.u64("duration_ms")?,
            anchor_value: wire::signed(m.at(6, "anchor_value")?, "anchor_value")?,
            robot_epoch: wire::signed(m.at(7, "robot_epoch")?, "robot_epoch")?,
            level_epoch: wire::signed(m.at(8, "level_epoch")?, "level_epoch")?,
        };
        m.finish()?;
        Ok(request)
    }
}

/// Why a mission's end is not moved.
#[derive(Debug, thiserror::Error)]
pub enum ExtensionError {
    /// The mission is not shown to live.
    #[error(transparent)]
    NotLiving(#[from] NotLiving),
    /// The approved token differs in more than its end.
    #[error("the approved token differs from the mission's in more than its end")]
    OtherToken,
    /// The new end is not later than the old one.
    #[error("the end would not be later than it is; to end a mission early, complete it")]
    NotLater,
    /// The mission would be longer than its level allows, counted from its start.
    #[error("the mission would last {duration_ms} ms from its start, {level} allows {most_ms} ms")]
    TooLong {
        /// How long it would last, in milliseconds.
        duration_ms: u64,
        /// The level.
        level: Level,
        /// The longest allowed, in milliseconds.
        most_ms: u64,
    },
}

impl ExtensionError {
    /// The reason code, stable across releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "mission-too-long",
            Self::NotLiving(why) => why.code("end-not-moved"),
            Self::NotLater | Self::OtherToken => "end-not-moved",
        }
    }
}

/// The token of a mission whose end is moved: what was approved before, with two later times. Only a request that was
/// checked makes one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExtendedToken(MissionToken);

impl ExtendedToken {
    /// Checks a request against the mission's present token and the profiles in force, at a time (UTC in milliseconds since
    /// 1970).
    ///
    /// # Errors
    /// [`ExtensionError`] says why the end stays where it is.
    pub fn of(
        request: &ExtensionRequest,
        token: &MissionToken,
        enrolment: &VerifiedEnrolment,
        session: SessionId,
        (profiles, now_ms): (&LevelProfiles, u64),
    ) -> Result<Self, ExtensionError> {
        let shown = Shown {
            session: request.session,
            robot: &request.robot,
            mission: request.mission,
            binding: extension_binding(enrolment.nv_map().name_alg(), session, request.mission),
            counters: [&request.anchor_value, &request.robot_epoch, &request.level_epoch],
        };
        living_mission::check(&shown, token, enrolment, session, now_ms)?;
        Self::later(token, request.duration_ms, profiles)
    }

    /// Moves both ends by the same time, so that neither the wall clock nor the TPM's lets the mission last longer than
    /// its level allows.
    fn later(
        token: &MissionToken,
        duration_ms: u64,
        profiles: &LevelProfiles,
    ) -> Result<Self, ExtensionError> {
        let level = token.labels.level;
        let most_ms = profiles.of(level).max_mission_ms;
        if duration_ms > most_ms {
            return Err(ExtensionError::TooLong {
                duration_ms,
                level,
                most_ms,
            });
        }
        let not_after_ms = token.not_before_ms.saturating_add(duration_ms);
        let by_ms = not_after_ms
            .checked_sub(token.not_after_ms)
            .filter(|by_ms| *by_ms > 0)
            .ok_or(ExtensionError::NotLater)?;
        Ok(Self(MissionToken {
            not_after_ms,
            end_clock_ms: token.end_clock_ms.saturating_add(by_ms),
            ..token.clone()
        }))
    }

    /// Whether `later` is `token` with nothing but its end moved, both ends by the same time, and within what the level
    /// allows: the robot's own question.
    ///
    /// # Errors
    /// [`ExtensionError`] says what else differs.
    pub fn check(
        token: &MissionToken,
        later: &MissionToken,
        profiles: &LevelProfiles,
    ) -> Result<(), ExtensionError> {
        let duration_ms = later.not_after_ms.saturating_sub(later.not_before_ms);
        if Self::later(token, duration_ms, profiles)?.0 == *later {
            Ok(())
        } else {
            Err(ExtensionError::OtherToken)
        }
    }

    /// The token, to be signed.
    pub const fn token(&self) -> &MissionToken {
        &self.0
    }
}
