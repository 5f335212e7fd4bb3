//! Letting two persons have a robot's recoverable key duplicated, to a parent that the authority knows for what it is.

use std::error::Error;

use alcub3_audit_log::EntryKind;
use alcub3_crypto::HashAlg;
use alcub3_crypto::tpm::{Name, Signature};
use alcub3_fleet_protocol::chip::ChipError;
use alcub3_fleet_protocol::recovery::{RecoveryError, RecoverySet};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::policies::PolicyBuildError;
use alcub3_trust_model::recovery::Recoverable;
use alcub3_trust_model::{BelowFloor, Level, OperatorId, RobotId};

use crate::approval::{ApprovalError, ApprovalPurpose, ApprovalVault, Ballot, OperatorVote, sign_ballot};
use crate::audit::Decision;
use crate::authority::Authority;
use crate::backup_parent::BackupParent;
use crate::chips::ChipRefusal;
use crate::robots::RobotError;
use crate::store::StoreError;

const COLLECTION: &str = "backups";
const DOMAIN: &str = "alcub3/authority-backup/v1";
const VERSION: u64 = 1;
/// The most persons that an approval names.
const MAX_APPROVERS: usize = 8;

/// Which key is to be duplicated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BackupSubject {
    /// Whose.
    pub robot: RobotId,
    /// Its level.
    pub level: Level,
    /// What the robot calls it.
    pub label: String,
    /// Its Name.
    pub key: Name,
}

impl BackupSubject {
    fn decision(&self) -> Decision {
        let subject = format!("duplication of {} key {:?}", self.level, self.label);
        Decision::about(EntryKind::Key, Some(&self.robot), subject)
    }
}

/// What it is to be duplicated to, as the robot hands it in.
#[derive(Clone, Debug)]
pub enum BackupDestination {
    /// A recovery TPM, by its signed admission.
    Chip(Vec<u8>),
    /// A recovery set.
    Set(Box<RecoverySet>),
}

/// A duplication that waits for its votes.
#[derive(Clone, Debug)]
pub struct BackupProposal {
    ballot: Ballot,
    subject: BackupSubject,
    parent: (Name, BackupParent),
}

impl BackupProposal {
    /// What each person signs.
    pub const fn ballot(&self) -> &Ballot {
        &self.ballot
    }

    /// Which key.
    pub const fn subject(&self) -> &BackupSubject {
        &self.subject
    }

    /// What it is to be duplicated to, for the persons to see.
    pub const fn parent(&self) -> &BackupParent {
        &self.parent.1
    }
}

/// What two persons approved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BackupApproval {
    /// Which key.
    pub subject: BackupSubject,
    /// The Name of the new parent.
    pub parent_name: Name,
    /// What the authority found that parent to be.
    pub parent: BackupParent,
    /// Who.
    pub approvers: Vec<OperatorId>,
    /// When, UTC in milliseconds.
    pub approved_at_ms: u64,
    /// The two-person key's signature over key, label and parent, which the robot's TPM takes.
    pub signature: Signature,
}

/// Why a duplication was not approved.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The robot's records.
    #[error(transparent)]
    Robot(#[from] RobotError),
    /// A level above what the robot may serve.
    #[error("{0} is above the robot's ceiling: it has no keys there")]
    AboveCeiling(Level),
    /// An admission is not this authority's.
    #[error("the recovery TPM's admission is refused: {0}")]
    Admission(#[from] ChipError),
    /// The chips' records.
    #[error(transparent)]
    Chip(#[from] ChipRefusal),
    /// A chip was admitted and is not any more.
    #[error(
        "the chip of {0} is not the one that is admitted for them now: it was replaced or revoked; admit it again, or make a \
         new recovery set"
    )]
    NotAdmittedNow(OperatorId),
    /// A chip is the robot's own.
    #[error("the chip of {0} is this robot's own, and is lost with it; take another one")]
    OwnChip(OperatorId),
    /// A chip is of a weaker kind than the level asks for.
    #[error("the chip of {operator}: {source}; take another chip")]
    BelowFloor {
        /// Whose.
        operator: OperatorId,
        /// What is below which floor.
        source: BelowFloor,
    },
    /// The parent is weaker than the level asks for.
    #[error("the new parent: {0}")]
    ParentBelowFloor(#[from] BelowFloor),
    /// The parent is on no curve of ours.
    #[error("the new parent is on no curve of ours")]
    NoCurve,
    /// A recovery set is not as it must be.
    #[error("the recovery set is refused: {0}")]
    Set(#[from] RecoveryError),
    /// A recovery set is another robot's.
    #[error("the recovery set is of robot {0}")]
    OtherRobot(RobotId),
    /// A policy could not be built.
    #[error(transparent)]
    Policy(#[from] PolicyBuildError),
    /// The votes or the vault.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    /// The vault did not begin, or does not tell its keys.
    #[error("the authority's TPM did not begin the approval: {0}")]
    Vault(#[source] Box<dyn Error + Send + Sync>),
    /// A record does not read.
    #[error("the record of an approved duplication: {0}; restore the state folder from a backup")]
    Record(#[source] DecodeError),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Authority {
    /// Begins the vote on duplicating one key of a robot to one parent, which the authority judges first. The approval is good
    /// for that key under that label and for that parent, and for nothing else, as often as it is used.
    ///
    /// # Errors
    /// [`BackupError`]: not enrolled, a level above its ceiling, a parent that nothing vouches for, or the vault.
    pub fn propose_backup<V: ApprovalVault>(
        &mut self,
        subject: BackupSubject,
        destination: &BackupDestination,
        vault: &mut V,
        now_ms: u64,
    ) -> Result<BackupProposal, BackupError> {
        let decision = subject.decision();
        let proposed = self.begin_backup(subject, destination, vault);
        self.refusal_on_record(decision, now_ms, proposed)
    }

    fn begin_backup<V: ApprovalVault>(
        &self,
        subject: BackupSubject,
        destination: &BackupDestination,
        vault: &mut V,
    ) -> Result<BackupProposal, BackupError> {
        let parent = self.judge_backup_parent(&subject.robot, subject.level, destination)?;
        let failed = |fault: V::Fault| BackupError::Vault(Box::new(fault));
        let public = vault.approval_public(ApprovalPurpose::Rearm).map_err(failed)?;
        let recoverable = Recoverable {
            alg: self.active(&subject.robot)?.nv_map().name_alg(),
            two_person_key: public.name(),
            robot: subject.robot.clone(),
            level: subject.level,
            label: subject.label.clone(),
        };
        let message = recoverable.duplication_message(subject.key, parent.0)?;
        let digest = public.name_alg().digest(&[&message]);
        // The same key as for a rearm, which always takes two persons; the reference in the message keeps them apart.
        let ballot = vault.begin(ApprovalPurpose::Rearm, &digest).map_err(failed)?;
        Ok(BackupProposal {
            ballot,
            subject,
            parent,
        })
    }

    /// Counts both persons' votes and has the authority's TPM sign the approval, which the robot's TPM takes. It is on record
    /// before it is given out.
    ///
    /// # Errors
    /// [`BackupError`]; the proposal counts no more, whatever was wrong.
    pub fn approve_backup<V: ApprovalVault>(
        &mut self,
        proposal: BackupProposal,
        votes: &[OperatorVote],
        vault: &mut V,
        now_ms: u64,
    ) -> Result<BackupApproval, BackupError> {
        let decision = proposal.subject.decision().voted_by(votes);
        self.acting_on_record(decision, now_ms, |authority| {
            authority.sign_backup(proposal, votes, vault, now_ms)
        })
    }

    fn sign_backup<V: ApprovalVault>(
        &self,
        proposal: BackupProposal,
        votes: &[OperatorVote],
        vault: &mut V,
        now_ms: u64,
    ) -> Result<BackupApproval, BackupError> {
        let (signature, approvers) = sign_ballot(&self.operators, vault, &proposal.ballot, votes)?;
        let (parent_name, parent) = proposal.parent;
        let approval = BackupApproval {
            subject: proposal.subject,
            parent_name,
            parent,
            approvers,
            approved_at_ms: now_ms,
            signature,
        };
        self.folder
            .put(COLLECTION, &approval.record_name(), &approval.encode())?;
        Ok(approval)
    }

    /// The duplications that were approved, oldest first.
    ///
    /// # Errors
    /// [`BackupError`] where a record does not read.
    pub fn backups(&self) -> Result<Vec<BackupApproval>, BackupError> {
        let mut approvals = Vec::new();
        for name in self.folder.keys(COLLECTION)? {
            if let Some(record) = self.folder.get(COLLECTION, &name)? {
                approvals.push(BackupApproval::decode(&record).map_err(BackupError::Record)?);
            }
        }
        approvals.sort_by_key(|approval| approval.approved_at_ms);
        Ok(approvals)
    }
}

impl BackupApproval {
    /// One record for a key and a parent: who approves them again replaces it.
    fn record_name(&self) -> String {
        let parts = [self.subject.key.as_bytes(), self.parent_name.as_bytes()];
        HashAlg::Sha256.digest(&parts).to_hex()
    }

    fn encode(&self) -> Vec<u8> {
        let subject = &self.subject;
        let mut out = Encoder::structure(DOMAIN, VERSION, 9);
        out.u64(2)
            .text(subject.robot.as_str())
            .u64(3)
            .u64(subject.level.id().into());
        out.u64(4)
            .text(&subject.label)
            .u64(5)
            .bytes(subject.key.as_bytes());
        out.u64(6).bytes(self.parent_name.as_bytes());
        self.parent.encode(out.u64(7));
        out.u64(8).array(self.approvers.len());
        for approver in &self.approvers {
            out.text(approver.as_str());
        }
        out.u64(9)
            .u64(self.approved_at_ms)
            .u64(10)
            .bytes(&self.signature.to_tpmt());
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        fields.key(r, 2, "robot")?;
        let robot = r.text("robot")?;
        let robot = RobotId::new(robot).map_err(|_| r.fault("robot", Fault::Value))?;
        fields.key(r, 3, "level")?;
        let level = r.id_of("level", Level::from_id)?;
        fields.key(r, 4, "label")?;
        let label = r.text("label")?.to_owned();
        fields.key(r, 5, "key")?;
        let key = name(r, "key")?;
        fields.key(r, 6, "parent_name")?;
        let parent_name = name(r, "parent_name")?;
        fields.key(r, 7, "parent")?;
        let parent = BackupParent::decode(r)?;
        fields.key(r, 8, "approvers")?;
        let count = r.array("approvers", MAX_APPROVERS)?;
        let approvers = (0..count).map(|_| approver(r)).collect::<Result<_, _>>()?;
        fields.key(r, 9, "approved_at_ms")?;
        let approved_at_ms = r.u64("approved_at_ms")?;
        fields.key(r, 10, "signature")?;
        let signature = r.bytes("signature")?;
        let signature =
            Signature::from_tpmt_signature(signature).map_err(|_| r.fault("signature", Fault::Value))?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            subject: BackupSubject {
                robot,
                level,
                label,
                key,
            },
            parent_name,
            parent,
            approvers,
            approved_at_ms,
            signature,
        })
    }
}

fn name(r: &mut Reader<'_>, field: &'static str) -> Result<Name, DecodeError> {
    let bytes = r.bytes(field)?;
    Name::from_bytes(bytes).map_err(|_| r.fault(field, Fault::Value))
}

fn approver(r: &mut Reader<'_>) -> Result<OperatorId, DecodeError> {
    let text = r.text("approver")?;
    OperatorId::new(text).map_err(|_| r.fault("approver", Fault::Value))
}
