//! The latch: a robot is stopped unless two persons approved the epochs that its TPM holds (DESIGN §4, rearm).
//!
//! The approval is the rearm key's TPM signature over a policy that names the robot's and a level's epoch. The same
//! signature lets the TPM use that level's mission parent, so the gates in software open exactly for what the TPM
//! would do. That it takes two persons to use the rearm key is enforced by the authority's TPM, where the key lives;
//! the robot has the key from its authority's signed anchors.

use alcub3_crypto::tpm::{Public, Signature, attribute};
use alcub3_crypto::{CryptoError, HashAlg, VerifyingKey};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::nv_map::{NvIndex, NvMap};
use alcub3_trust_model::policies::{self, CounterBinding, PolicyBuildError};
use alcub3_trust_model::{Level, RobotId, domain};

use crate::gate::{Closures, OpenError};
use crate::report::PortError;

/// The zeroization epochs as the TPM holds them, read with authenticated responses.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct EpochSnapshot {
    /// The robot's epoch.
    pub robot: u64,
    /// Each level's epoch, by the level's number.
    pub levels: [u64; Level::ALL.len()],
}

impl EpochSnapshot {
    /// One level's epoch.
    pub fn level(&self, level: Level) -> Option<u64> {
        self.levels.get(usize::from(level.id())).copied()
    }
}

/// The rearm key's approval of one level.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LevelApproval {
    /// The level that may run again.
    pub level: Level,
    /// The robot's epoch that was approved.
    pub robot_epoch: u64,
    /// The level's epoch that was approved.
    pub level_epoch: u64,
    /// The hash of the level's mission parent, and so of the approved policy.
    pub policy_alg: HashAlg,
    /// The rearm key's signature over [`policies::rearm_message`].
    pub signature: Signature,
}

/// What two persons approved, as the robot keeps it. Nothing in it is believed before [`RearmTrust`] verified it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RearmRecord {
    /// The robot it is for.
    pub robot: RobotId,
    /// One approval for each level that may run again, ascending.
    pub approvals: Vec<LevelApproval>,
}

const VERSION: u64 = 1;

impl RearmRecord {
    /// The canonical bytes, for the disk.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::REARM, VERSION, 2);
        out.u64(2)
            .text(self.robot.as_str())
            .u64(3)
            .array(self.approvals.len());
        for approval in &self.approvals {
            out.array(5)
                .u64(approval.level.id().into())
                .u64(approval.robot_epoch)
                .u64(approval.level_epoch);
            out.u64(approval.policy_alg.tpm_id().into())
                .bytes(&approval.signature.to_tpmt());
        }
        out.finish()
    }

    /// The record of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong: unknown version or field, order, value, trailing bytes.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::REARM, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::REARM, VERSION)?;
        fields.key(r, 2, "robot")?;
        let robot = r.text("robot")?;
        let robot = RobotId::new(robot).map_err(|_| r.fault("robot", Fault::Value))?;
        fields.key(r, 3, "approvals")?;
        let count = r.array("approvals", Level::ALL.len())?;
        let mut approvals: Vec<LevelApproval> = Vec::with_capacity(count);
        for _ in 0..count {
            let approval = decode_approval(r)?;
            if approvals.last().is_some_and(|last| last.level >= approval.level) {
                return Err(r.fault("approvals", Fault::Order));
            }
            approvals.push(approval);
        }
        fields.finish(r)?;
        r.finish()?;
        Ok(Self { robot, approvals })
    }
}

fn decode_approval(r: &mut Reader<'_>) -> Result<LevelApproval, DecodeError> {
    r.array_of("approval", 5)?;
    let level = r.id_of("level", Level::from_id)?;
    let robot_epoch = r.u64("robot epoch")?;
    let level_epoch = r.u64("level epoch")?;
    let alg = HashAlg::from_tpm_id(r.u16("policy hash")?).filter(|alg| alg.is_approved());
    let policy_alg = alg.ok_or_else(|| r.fault("policy hash", Fault::Value))?;
    let bytes = r.bytes("signature")?;
    // A TPM may write its numbers short; this record has them as we write them, so that it has one encoding.
    let signature = Signature::from_tpmt_signature(bytes)
        .ok()
        .filter(|signature| signature.to_tpmt() == bytes);
    let signature = signature.ok_or_else(|| r.fault("signature", Fault::Value))?;
    Ok(LevelApproval {
        level,
        robot_epoch,
        level_epoch,
        policy_alg,
        signature,
    })
}

/// The rearm key that a robot trusts.
#[derive(Clone, Debug)]
pub struct RearmTrust {
    robot: RobotId,
    key: VerifyingKey,
    nv: NvMap,
}

/// Why a rearm key was not pinned.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RearmTrustError {
    /// The key can be used by password, without a policy, or outside its TPM: one person could rearm.
    #[error(
        "the rearm key can be used without its policy or outside its TPM: have the authority make it anew"
    )]
    Attributes,
    /// The key cannot be used.
    #[error("the rearm key cannot be used: {0}")]
    Key(#[from] CryptoError),
}

impl RearmTrust {
    /// Pins the rearm key of a robot's anchors, after checking that it is bound to a TPM and usable only by its policy.
    /// `nv` is the robot's NV map.
    ///
    /// # Errors
    /// [`RearmTrustError`] says why the key cannot be one that takes two persons.
    pub fn pin(robot: RobotId, nv: NvMap, rearm_key: &Public) -> Result<Self, RearmTrustError> {
        let bound = attribute::FIXED_TPM | attribute::FIXED_PARENT | attribute::SENSITIVE_DATA_ORIGIN;
        let by_password = rearm_key.has_attributes(attribute::USER_WITH_AUTH);
        if !rearm_key.has_attributes(bound) || by_password || rearm_key.auth_policy().is_empty() {
            return Err(RearmTrustError::Attributes);
        }
        Ok(Self {
            robot,
            key: rearm_key.verifying_key()?,
            nv,
        })
    }

    fn binding(&self, index: NvIndex, value: u64) -> CounterBinding {
        CounterBinding {
            name: self.nv.spec(index).tpm_name(true),
            value,
        }
    }

    /// Verifies a record against the epochs that the TPM holds and what was closed when the verification began.
    pub(crate) fn verify(
        &self,
        record: &RearmRecord,
        epochs: &EpochSnapshot,
        closures: Closures,
    ) -> Result<RearmProof, RearmRefusal> {
        if record.robot != self.robot {
            return Err(RearmRefusal::WrongRobot(record.robot.clone()));
        }
        let mut levels = Vec::new();
        let mut refusal = RearmRefusal::NothingApproved;
        for approval in &record.approvals {
            match self.verify_level(approval, epochs) {
                Ok(()) => levels.push(approval.level),
                Err(reason) => refusal = reason,
            }
        }
        if levels.is_empty() {
            Err(refusal)
        } else {
            Ok(RearmProof {
                closures: closures.only(&levels),
                levels,
            })
        }
    }

    fn verify_level(&self, approval: &LevelApproval, epochs: &EpochSnapshot) -> Result<(), RearmRefusal> {
        let level = approval.level;
        if epochs.robot != approval.robot_epoch || epochs.level(level) != Some(approval.level_epoch) {
            return Err(RearmRefusal::OtherEpochs(level));
        }
        let robot_epoch = self.binding(NvIndex::RobotEpoch, approval.robot_epoch);
        let level_epoch = self.binding(NvIndex::LevelEpoch(level), approval.level_epoch);
        let approved = policies::rearm_policy(approval.policy_alg, robot_epoch, level_epoch);
        let approved = approved.map_err(RearmRefusal::Policy)?.digest();
        let signed = approval
            .signature
            .verify(&self.key, &policies::rearm_message(&approved, &self.robot, level));
        signed.map_err(|source| RearmRefusal::NotSigned { level, source })
    }
}

/// Why a rearm was refused. The robot stays stopped.
#[derive(Debug, thiserror::Error)]
pub enum RearmRefusal {
    /// The record is another robot's.
    #[error("the rearm is for robot {0}, not for this one")]
    WrongRobot(RobotId),
    /// The record approves no level.
    #[error("the rearm approves no level")]
    NothingApproved,
    /// The TPM holds other epochs than were approved: a stop came since.
    #[error(
        "the rearm of {0} names other epochs than the TPM holds: a stop came since, so two persons must rearm anew"
    )]
    OtherEpochs(Level),
    /// The approval is not one of the rearm key's.
    #[error("the rearm of {level} is not signed by the rearm key: {source}")]
    NotSigned {
        /// The level.
        level: Level,
        /// What the verification said.
        source: CryptoError,
    },
    /// The policy cannot be computed.
    #[error("the rearm's policy cannot be computed")]
    Policy(#[source] PolicyBuildError),
    /// A stop is under way, or its TPM part is not confirmed: the epochs may not have moved yet.
    #[error("a stop is not confirmed by the TPM yet, so its epochs prove nothing: complete the stop first")]
    StopUnfinished,
    /// The unfinished stops of an earlier run were not asked for yet.
    #[error("unfinished stops of an earlier run were not completed yet: recover first")]
    NotRecovered,
    /// The epochs could not be read.
    #[error("the TPM's epochs could not be read: {0}")]
    Epochs(#[source] PortError),
    /// The record could not be read.
    #[error("the rearm record is refused: {0}")]
    Record(#[from] DecodeError),
    /// A stop came during the verification.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// That two persons agreed to end what is stopped now. Only a rearm's verification makes one, and it opens the
/// gates once.
#[derive(Debug)]
pub struct RearmProof {
    closures: Closures,
    levels: Vec<Level>,
}

impl RearmProof {
    pub(crate) fn into_closures(self) -> Closures {
        self.closures
    }

    /// The levels that may run again.
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }
}
