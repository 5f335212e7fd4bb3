//! A robot asks for a mission; the authority approves it.

use alcub3_attestation::attest::ClockInfo;
use alcub3_attestation::certify::Signed;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault};
use alcub3_trust_model::nv_map::{MissionAnchor, NvIndex};
use alcub3_trust_model::{Labels, MissionId, RobotId, SessionId, domain};

use crate::wire::{self, Message};
use crate::{CertifiedCounter, CounterError, VerifiedEnrolment};

const VERSION: u64 = 1;
const MAX_TOKEN: usize = 64 << 10;
const MAX_SIGNATURE: usize = 1024;

/// The robot asks for a mission. It has taken the anchor and incremented it; the certifications carry
/// [`mission_binding`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MissionRequest {
    /// The exchange.
    pub session: SessionId,
    /// The robot.
    pub robot: RobotId,
    /// The mission.
    pub mission: MissionId,
    /// The labels asked for.
    pub labels: Labels,
    /// How long it is to last, in milliseconds.
    pub duration_ms: u64,
    /// The anchor it took.
    pub anchor: MissionAnchor,
    /// The robot's epoch, certified.
    pub robot_epoch: Signed,
    /// The level's epoch, certified.
    pub level_epoch: Signed,
    /// The anchor's value, certified.
    pub anchor_value: Signed,
}

/// The extra data of the certifications: H(domain ‖ session ‖ mission).
pub fn mission_binding(alg: HashAlg, session: SessionId, mission: MissionId) -> Digest {
    alg.digest(&[
        domain::MISSION_REQUEST.as_bytes(),
        session.as_bytes(),
        mission.as_bytes(),
    ])
}

impl MissionRequest {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::MISSION_REQUEST, VERSION, 9);
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .text(self.robot.as_str());
        out.u64(4).bytes(self.mission.as_bytes());
        self.labels.encode(out.u64(5));
        out.u64(6)
            .u64(self.duration_ms)
            .u64(7)
            .u64(self.anchor.number().into());
        wire::put_signed(out.u64(8), &self.robot_epoch);
        wire::put_signed(out.u64(9), &self.level_epoch);
        wire::put_signed(out.u64(10), &self.anchor_value);
        out.finish()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::MISSION_REQUEST, VERSION, bytes)?;
        let session = wire::session(m.at(2, "session")?)?;
        let robot = wire::robot(m.at(3, "robot")?)?;
        let mission = MissionId::new(*m.at(4, "mission")?.bytes_of("mission")?);
        let labels = Labels::decode(m.at(5, "labels")?)?;
        let duration_ms = m.at(6, "duration_ms")?.u64("duration_ms")?;
        let anchor = MissionAnchor::new(m.at(7, "anchor")?.u8("anchor")?);
        let anchor = anchor.ok_or_else(|| m.r.fault("anchor", Fault::Value))?;
        let robot_epoch = wire::signed(m.at(8, "robot_epoch")?, "robot_epoch")?;
        let level_epoch = wire::signed(m.at(9, "level_epoch")?, "level_epoch")?;
        let anchor_value = wire::signed(m.at(10, "anchor_value")?, "anchor_value")?;
        m.finish()?;
        Ok(Self {
            session,
            robot,
            mission,
            labels,
            duration_ms,
            anchor,
            robot_epoch,
            level_epoch,
            anchor_value,
        })
    }
}

/// Why a mission request proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum MissionRequestError {
    /// The request is another robot's.
    #[error("the request is of robot {0}")]
    WrongRobot(RobotId),
    /// The exchange is not the one this authority opened.
    #[error("the request belongs to another exchange")]
    WrongSession,
    /// The level is above the robot's ceiling.
    #[error("the mission's level is above the robot's ceiling")]
    AboveCeiling,
    /// A counter is not proven.
    #[error(transparent)]
    Counter(#[from] CounterError),
    /// The certifications are of different boots of the TPM.
    #[error("the TPM was reset between the certifications: ask again")]
    ResetBetween,
}

/// A mission request whose counters the robot's TPM certified for this exchange.
#[derive(Clone, Debug)]
pub struct CertifiedMission {
    request: MissionRequest,
    robot_epoch: CertifiedCounter,
    level_epoch: CertifiedCounter,
    anchor: CertifiedCounter,
}

impl CertifiedMission {
    /// Verifies a request of the exchange that the authority opened for this robot.
    ///
    /// # Errors
    /// [`MissionRequestError`] says what is not proven.
    pub fn verify(
        request: MissionRequest,
        enrolment: &VerifiedEnrolment,
        session: SessionId,
    ) -> Result<Self, MissionRequestError> {
        if request.robot != enrolment.record().robot {
            return Err(MissionRequestError::WrongRobot(request.robot));
        }
        if request.session != session {
            return Err(MissionRequestError::WrongSession);
        }
        let level = request.labels.level;
        if level > enrolment.record().ceiling {
            return Err(MissionRequestError::AboveCeiling);
        }
        let binding = mission_binding(enrolment.nv_map().name_alg(), session, request.mission);
        let counter = |index, signed| CertifiedCounter::verify(enrolment, index, signed, &binding);
        let robot_epoch = counter(NvIndex::RobotEpoch, &request.robot_epoch)?;
        let level_epoch = counter(NvIndex::LevelEpoch(level), &request.level_epoch)?;
        let anchor = counter(NvIndex::MissionAnchor(request.anchor), &request.anchor_value)?;
        let resets = [robot_epoch, level_epoch, anchor].map(|counter| counter.clock().reset_count);
        if resets.iter().any(|count| *count != anchor.clock().reset_count) {
            return Err(MissionRequestError::ResetBetween);
        }
        Ok(Self {
            request,
            robot_epoch,
            level_epoch,
            anchor,
        })
    }

    /// What the robot asked for.
    pub const fn request(&self) -> &MissionRequest {
        &self.request
    }

    /// The robot's epoch.
    pub const fn robot_epoch(&self) -> CertifiedCounter {
        self.robot_epoch
    }

    /// The level's epoch.
    pub const fn level_epoch(&self) -> CertifiedCounter {
        self.level_epoch
    }

    /// The mission's anchor.
    pub const fn anchor(&self) -> CertifiedCounter {
        self.anchor
    }

    /// The TPM's clock at the last certification: what the mission's end is counted from.
    pub const fn clock(&self) -> ClockInfo {
        self.anchor.clock()
    }
}

/// The authority approves a mission, or moves its end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MissionApproval {
    /// The exchange.
    pub session: SessionId,
    /// The signed mission token.
    pub token: Vec<u8>,
    /// The approval key's TPMT_SIGNATURE over the head of the key policy (see
    /// [`alcub3_trust_model::policies::mission_end_message`]).
    pub end_approval: Vec<u8>,
}

impl MissionApproval {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::MISSION_APPROVAL, VERSION, 3);
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .bytes(&self.token)
            .u64(4)
            .bytes(&self.end_approval);
        out.finish()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::MISSION_APPROVAL, VERSION, bytes)?;
        let session = wire::session(m.at(2, "session")?)?;
        let token = wire::bounded(m.at(3, "token")?, "token", MAX_TOKEN)?;
        let end_approval = wire::bounded(m.at(4, "end_approval")?, "end_approval", MAX_SIGNATURE)?;
        m.finish()?;
        Ok(Self {
            session,
            token,
            end_approval,
        })
    }
}
