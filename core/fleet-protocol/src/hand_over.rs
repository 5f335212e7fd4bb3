//! A mission is handed over to others: who may command it changes, and nothing else. The answer is a
//! [`MissionApproval`](crate::mission::MissionApproval) whose token names the one in whose place it comes, so that no approval of
//! before brings a commander back.

use alcub3_attestation::certify::Signed;
use alcub3_command_authority::{Issuer, MissionToken, VerifiedMission};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::canonical::{DecodeError, Encoder};
use alcub3_trust_model::{MissionId, RobotId, SessionId, domain};

use crate::VerifiedEnrolment;
use crate::living_mission::{self, NotLiving, Shown};
use crate::wire::{self, Message};

const VERSION: u64 = 1;

/// The robot asks that its mission be handed over. The certifications carry [`hand_over_binding`] and show that the mission
/// lives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HandOverRequest {
    /// The exchange.
    pub session: SessionId,
    /// The robot.
    pub robot: RobotId,
    /// The mission.
    pub mission: MissionId,
    /// The digest of the signed token that the robot has in force ([`VerifiedMission::digest`]).
    pub in_force: Digest,
    /// The mission anchor's value, certified.
    pub anchor_value: Signed,
    /// The robot's epoch, certified.
    pub robot_epoch: Signed,
    /// The level's epoch, certified.
    pub level_epoch: Signed,
}

/// The extra data of the certifications: H(domain ‖ session ‖ mission ‖ digest of the token in force).
pub fn hand_over_binding(alg: HashAlg, session: SessionId, mission: MissionId, in_force: &Digest) -> Digest {
    alg.digest(&[
        domain::HAND_OVER_REQUEST.as_bytes(),
        session.as_bytes(),
        mission.as_bytes(),
        in_force.as_bytes(),
    ])
}

impl HandOverRequest {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::HAND_OVER_REQUEST, VERSION, 7);
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .text(self.robot.as_str());
        out.u64(4)
            .bytes(self.mission.as_bytes())
            .u64(5)
            .digest(&self.in_force);
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
        let mut m = Message::open(domain::HAND_OVER_REQUEST, VERSION, bytes)?;
        let request = Self {
            session: wire::session(m.at(2, "session")?)?,
            robot: wire::robot(m.at(3, "robot")?)?,
            mission: MissionId::new(*m.at(4, "mission")?.bytes_of("mission")?),
            in_force: m.at(5, "in_force")?.digest("in_force")?,
            anchor_value: wire::signed(m.at(6, "anchor_value")?, "anchor_value")?,
            robot_epoch: wire::signed(m.at(7, "robot_epoch")?, "robot_epoch")?,
            level_epoch: wire::signed(m.at(8, "level_epoch")?, "level_epoch")?,
        };
        m.finish()?;
        Ok(request)
    }
}

/// Why a mission is not handed over.
#[derive(Debug, thiserror::Error)]
pub enum HandOverError {
    /// The mission is not shown to live.
    #[error(transparent)]
    NotLiving(#[from] NotLiving),
    /// The approved token is not for the token that the robot has in force: an approval of before, or one that another overtook.
    #[error("the approval is not for the mission as the robot has it; ask anew")]
    NotInForce,
    /// The approved token differs in more than who commands.
    #[error("the approved token differs from the mission's in more than who commands")]
    OtherToken,
}

impl HandOverError {
    /// The reason code, stable across releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotLiving(why) => why.code("not-handed-over"),
            Self::NotInForce => "not-in-force",
            Self::OtherToken => "not-handed-over",
        }
    }
}

/// The token of a mission that is handed over: what was approved before, with others who command, in place of the one that the
/// robot has in force. Only a request that was checked makes one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HandedOverToken(MissionToken);

impl HandedOverToken {
    /// Checks a request against the mission's present token, at a time (UTC in milliseconds since 1970). Where an approval of
    /// before never reached the robot, this one brings what it said too.
    ///
    /// # Errors
    /// [`HandOverError`] says why those of before go on to command.
    pub fn of(
        request: &HandOverRequest,
        token: &MissionToken,
        enrolment: &VerifiedEnrolment,
        session: SessionId,
        (issuers, now_ms): (Vec<Issuer>, u64),
    ) -> Result<Self, HandOverError> {
        let alg = enrolment.nv_map().name_alg();
        let shown = Shown {
            session: request.session,
            robot: &request.robot,
            mission: request.mission,
            binding: hand_over_binding(alg, session, request.mission, &request.in_force),
            counters: [&request.anchor_value, &request.robot_epoch, &request.level_epoch],
        };
        living_mission::check(&shown, token, enrolment, session, now_ms)?;
        Ok(Self(MissionToken {
            issuers,
            replaces: Some(request.in_force),
            ..token.clone()
        }))
    }

    /// Whether `handed` is for the mission as the robot has it, and differs in nothing but who commands and, where a moved end
    /// never reached the robot, in that end: the robot's own question.
    ///
    /// # Errors
    /// [`HandOverError`] says what else differs.
    pub fn check(in_force: &VerifiedMission, handed: &MissionToken) -> Result<(), HandOverError> {
        let before = in_force.token();
        if handed.replaces.as_ref() != Some(in_force.digest()) {
            return Err(HandOverError::NotInForce);
        }
        let by_ms = handed
            .not_after_ms
            .checked_sub(before.not_after_ms)
            .ok_or(HandOverError::OtherToken)?;
        let expected = MissionToken {
            issuers: handed.issuers.clone(),
            replaces: handed.replaces,
            not_after_ms: handed.not_after_ms,
            end_clock_ms: before.end_clock_ms.saturating_add(by_ms),
            ..before.clone()
        };
        if expected == *handed {
            Ok(())
        } else {
            Err(HandOverError::OtherToken)
        }
    }

    /// The token, to be signed.
    pub const fn token(&self) -> &MissionToken {
        &self.0
    }
}
