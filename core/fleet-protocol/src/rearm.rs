//! After a stop: the robot certifies its epochs, two persons approve them, and the record of it lets the robot start.

use std::collections::BTreeMap;

use alcub3_attestation::certify::Signed;
use alcub3_command_authority::cose::{CoseError, Message as Cose, Unsigned};
use alcub3_crypto::tpm::Signature;
use alcub3_crypto::{Digest, HashAlg, Suite};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::nv_map::{NvIndex, NvMap};
use alcub3_trust_model::policies::{CounterBinding, PolicyBuildError, rearm_message, rearm_policy};
use alcub3_trust_model::{Level, OperatorId, RobotId, SessionId, domain};

use crate::wire::{self, Message};
use crate::{CertifiedCounter, CounterError, TrustAnchors, VerifiedEnrolment};

const VERSION: u64 = 1;
const MAX_LEVELS: usize = 5;
const MAX_SIGNATURE: usize = 1024;

/// The robot asks to be rearmed, with its epochs certified under [`rearm_binding`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RearmRequest {
    /// The exchange, which the authority opened.
    pub session: SessionId,
    /// The robot.
    pub robot: RobotId,
    /// The robot's epoch, certified.
    pub robot_epoch: Signed,
    /// The epochs of the levels that it serves, certified.
    pub level_epochs: BTreeMap<Level, Signed>,
}

/// The extra data of the certifications: H(domain ‖ session ‖ robot).
pub fn rearm_binding(alg: HashAlg, session: SessionId, robot: &RobotId) -> Digest {
    alg.digest(&[
        domain::REARM_REQUEST.as_bytes(),
        session.as_bytes(),
        robot.as_str().as_bytes(),
    ])
}

impl RearmRequest {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::REARM_REQUEST, VERSION, 4);
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .text(self.robot.as_str());
        wire::put_signed(out.u64(4), &self.robot_epoch);
        out.u64(5).map(self.level_epochs.len());
        for (level, signed) in &self.level_epochs {
            wire::put_signed(out.u64(level.id().into()), signed);
        }
        out.finish()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::REARM_REQUEST, VERSION, bytes)?;
        let session = wire::session(m.at(2, "session")?)?;
        let robot = wire::robot(m.at(3, "robot")?)?;
        let robot_epoch = wire::signed(m.at(4, "robot_epoch")?, "robot_epoch")?;
        let level_epochs = by_level(m.at(5, "level_epochs")?, "level_epochs", |r| {
            wire::signed(r, "level_epochs")
        })?;
        m.finish()?;
        Ok(Self {
            session,
            robot,
            robot_epoch,
            level_epochs,
        })
    }
}

fn by_level<'a, T>(
    r: &mut Reader<'a>,
    field: &'static str,
    mut each: impl FnMut(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<BTreeMap<Level, T>, DecodeError> {
    let count = r.map(field, MAX_LEVELS)?;
    let mut map = BTreeMap::new();
    for _ in 0..count {
        let level = r.id_of(field, Level::from_id)?;
        if map.last_key_value().is_some_and(|(last, _)| *last >= level) {
            return Err(r.fault(field, Fault::Order));
        }
        map.insert(level, each(r)?);
    }
    Ok(map)
}

/// Why a rearm request proves nothing, or a rearm record rearms nothing.
#[derive(Debug, thiserror::Error)]
pub enum RearmError {
    /// The message is malformed, of another key, or not authentic.
    #[error("rearm refused: {0}")]
    Cose(#[from] CoseError),
    /// The payload is not the one form allowed.
    #[error("rearm refused: {0}")]
    Payload(#[from] DecodeError),
    /// It is another robot's.
    #[error("the rearm is for robot {0}")]
    WrongRobot(RobotId),
    /// The exchange is not the one this authority opened.
    #[error("the rearm request belongs to another exchange")]
    WrongSession,
    /// A counter is not proven.
    #[error(transparent)]
    Counter(#[from] CounterError),
    /// Fewer than two different persons approved.
    #[error("a rearm takes two different persons, {0} approved")]
    Persons(usize),
    /// A level above the robot's ceiling.
    #[error("{0} is above the robot's ceiling")]
    AboveCeiling(Level),
    /// The record names no level.
    #[error("the rearm names no level")]
    NoLevel,
    /// The rearm key did not sign the approval for a level.
    #[error("the approval for {0} is not the rearm key's over these epochs")]
    Approval(Level),
    /// The policy cannot be built.
    #[error(transparent)]
    Policy(#[from] PolicyBuildError),
}

/// A robot's epochs, certified by its TPM for this exchange.
#[derive(Clone, Debug)]
pub struct CertifiedEpochs {
    robot_epoch: CertifiedCounter,
    level_epochs: BTreeMap<Level, CertifiedCounter>,
}

impl CertifiedEpochs {
    /// Verifies a request of the exchange that the authority opened for this robot.
    ///
    /// # Errors
    /// [`RearmError`] says what is not proven.
    pub fn verify(
        request: &RearmRequest,
        enrolment: &VerifiedEnrolment,
        session: SessionId,
    ) -> Result<Self, RearmError> {
        if request.robot != enrolment.record().robot {
            return Err(RearmError::WrongRobot(request.robot.clone()));
        }
        if request.session != session {
            return Err(RearmError::WrongSession);
        }
        let ceiling = enrolment.record().ceiling;
        if let Some(level) = request.level_epochs.keys().find(|level| **level > ceiling) {
            return Err(RearmError::AboveCeiling(*level));
        }
        let binding = rearm_binding(enrolment.nv_map().name_alg(), session, &request.robot);
        let counter = |index, signed| CertifiedCounter::verify(enrolment, index, signed, &binding);
        let robot_epoch = counter(NvIndex::RobotEpoch, &request.robot_epoch)?;
        let mut level_epochs = BTreeMap::new();
        for (level, signed) in &request.level_epochs {
            level_epochs.insert(*level, counter(NvIndex::LevelEpoch(*level), signed)?);
        }
        Ok(Self {
            robot_epoch,
            level_epochs,
        })
    }

    /// The robot's epoch.
    pub const fn robot_epoch(&self) -> CertifiedCounter {
        self.robot_epoch
    }

    /// The epochs of the levels.
    pub const fn level_epochs(&self) -> &BTreeMap<Level, CertifiedCounter> {
        &self.level_epochs
    }

    /// What the rearm key must approve for each level: the policy's digest. `alg` is the hash of the mission parents.
    ///
    /// # Errors
    /// [`PolicyBuildError`].
    pub fn approved_policies(&self, alg: HashAlg) -> Result<BTreeMap<Level, Digest>, PolicyBuildError> {
        let approved = |(level, epoch): (&Level, &CertifiedCounter)| {
            let policy = rearm_policy(alg, self.robot_epoch.binding(), epoch.binding())?;
            Ok((*level, policy.digest()))
        };
        self.level_epochs.iter().map(approved).collect()
    }
}

/// The approval for one level.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LevelRearm {
    /// The level's epoch.
    pub epoch: u64,
    /// The rearm key's TPMT_SIGNATURE over the approved policy and the level's policyRef (see
    /// [`rearm_message`]).
    pub approval: Vec<u8>,
}

/// The record of a rearm, signed by the authority: who approved which epochs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RearmRecord {
    /// The exchange.
    pub session: SessionId,
    /// The robot.
    pub robot: RobotId,
    /// The robot's epoch.
    pub robot_epoch: u64,
    /// The approval for each level.
    pub levels: BTreeMap<Level, LevelRearm>,
    /// Who approved, ascending by name.
    pub approvers: Vec<OperatorId>,
    /// When, UTC in milliseconds since 1970.
    pub issued_at_ms: u64,
}

impl RearmRecord {
    /// The record, ready to be signed by the authority.
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(domain::REARM, VERSION, 6);
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .text(self.robot.as_str())
            .u64(4)
            .u64(self.robot_epoch);
        out.u64(5).map(self.levels.len());
        for (level, rearm) in &self.levels {
            out.u64(level.id().into())
                .array(2)
                .u64(rearm.epoch)
                .bytes(&rearm.approval);
        }
        out.u64(6).array(self.approvers.len());
        for approver in &self.approvers {
            out.text(approver.as_str());
        }
        out.u64(7).u64(self.issued_at_ms);
        Unsigned::new(suite, out.finish())
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::REARM, VERSION, bytes)?;
        let session = wire::session(m.at(2, "session")?)?;
        let robot = wire::robot(m.at(3, "robot")?)?;
        let robot_epoch = m.at(4, "robot_epoch")?.u64("robot_epoch")?;
        let levels = by_level(m.at(5, "levels")?, "levels", decode_level)?;
        let approvers = wire::approvers(m.at(6, "approvers")?)?;
        let issued_at_ms = m.at(7, "issued_at_ms")?.u64("issued_at_ms")?;
        m.finish()?;
        Ok(Self {
            session,
            robot,
            robot_epoch,
            levels,
            approvers,
            issued_at_ms,
        })
    }
}

fn decode_level(r: &mut Reader<'_>) -> Result<LevelRearm, DecodeError> {
    r.array_of("levels", 2)?;
    let epoch = r.u64("epoch")?;
    Ok(LevelRearm {
        epoch,
        approval: wire::bounded(r, "approval", MAX_SIGNATURE)?,
    })
}

/// A rearm record that the authority signed, by two persons, with the rearm key's approval for every level it names.
/// Whether it rearms is for the TPM's epochs to say: see [`Self::rearms`].
#[derive(Clone, Debug)]
pub struct VerifiedRearm {
    record: RearmRecord,
    bytes: Vec<u8>,
}

impl VerifiedRearm {
    /// Verifies a record with the anchors of the robot's enrolment. `map` is the robot's NV map, whose hash is also that
    /// of the mission parents.
    ///
    /// # Errors
    /// [`RearmError`] says why it rearms nothing.
    pub fn verify(
        bytes: &[u8],
        anchors: &TrustAnchors,
        map: &NvMap,
        robot: &RobotId,
    ) -> Result<Self, RearmError> {
        let message = Cose::parse(domain::REARM, bytes)?;
        message.verify(&anchors.authority)?;
        let record = RearmRecord::decode(message.payload())?;
        if record.robot != *robot {
            return Err(RearmError::WrongRobot(record.robot));
        }
        if record.approvers.len() < 2 {
            return Err(RearmError::Persons(record.approvers.len()));
        }
        if record.levels.is_empty() {
            return Err(RearmError::NoLevel);
        }
        for (level, rearm) in &record.levels {
            check_approval(&record, *level, rearm, anchors, map)?;
        }
        Ok(Self {
            record,
            bytes: bytes.to_vec(),
        })
    }

    /// What the record says.
    pub const fn record(&self) -> &RearmRecord {
        &self.record
    }

    /// The signed record, to be stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the record names the epochs that the TPM holds for a level. Only then is the robot, for that level, not
    /// stopped.
    pub fn rearms(&self, level: Level, robot_epoch: u64, level_epoch: u64) -> bool {
        let named = self.record.levels.get(&level);
        self.record.robot_epoch == robot_epoch && named.is_some_and(|rearm| rearm.epoch == level_epoch)
    }
}

fn check_approval(
    record: &RearmRecord,
    level: Level,
    rearm: &LevelRearm,
    anchors: &TrustAnchors,
    map: &NvMap,
) -> Result<(), RearmError> {
    let binding = |index, value| CounterBinding {
        name: map.spec(index).tpm_name(true),
        value,
    };
    let robot_epoch = binding(NvIndex::RobotEpoch, record.robot_epoch);
    let level_epoch = binding(NvIndex::LevelEpoch(level), rearm.epoch);
    let approved = rearm_policy(map.name_alg(), robot_epoch, level_epoch)?.digest();
    let refused = RearmError::Approval(level);
    let Ok(signature) = Signature::from_tpmt_signature(&rearm.approval) else {
        return Err(refused);
    };
    let Ok(key) = anchors.rearm.verifying_key() else {
        return Err(refused);
    };
    // The TPM checks the approval over H(approved ‖ ref) with the rearm key's nameAlg (Part 3, §23.16).
    let same_hash = signature.scheme.hash() == anchors.rearm.name_alg();
    let verified = signature.verify(&key, &rearm_message(&approved, &record.robot, level));
    if same_hash && verified.is_ok() {
        Ok(())
    } else {
        Err(refused)
    }
}

/// The authority's answer to a rearm request. The record is signed by itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RearmApproval {
    /// The exchange.
    pub session: SessionId,
    /// The signed rearm record.
    pub record: Vec<u8>,
}

const MAX_RECORD: usize = 16 << 10;

impl RearmApproval {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::REARM_APPROVAL, VERSION, 2);
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .bytes(&self.record);
        out.finish()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::REARM_APPROVAL, VERSION, bytes)?;
        let session = wire::session(m.at(2, "session")?)?;
        let record = wire::bounded(m.at(3, "record")?, "record", MAX_RECORD)?;
        m.finish()?;
        Ok(Self { session, record })
    }
}
