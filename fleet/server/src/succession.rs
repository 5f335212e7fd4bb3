//! Giving a lost robot's name to another TPM: two persons release it from the TPM that it was first given to.

use std::error::Error;

use alcub3_audit_log::EntryKind;
use alcub3_crypto::tpm::{Name, Public, Signature};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{RobotId, domain};

use crate::approval::{ApprovalError, ApprovalPurpose, ApprovalVault, Ballot, OperatorVote, sign_ballot};
use crate::audit::Decision;
use crate::authority::Authority;
use crate::certificates::{self, CertificationError};
use crate::robots::RobotError;
use crate::store::{StateFolder, StoreError};

const COLLECTION: &str = "successions";
const VERSION: u64 = 2;
const MAX_APPROVERS: usize = 2;

/// A release that waits for its votes.
#[derive(Clone, Debug)]
pub struct SuccessionProposal {
    robot: RobotId,
    released: Name,
    ballot: Ballot,
}

impl SuccessionProposal {
    /// What each person signs.
    pub const fn ballot(&self) -> &Ballot {
        &self.ballot
    }
}

/// Why a name was not released.
#[derive(Debug, thiserror::Error)]
pub enum SuccessionError {
    /// The robot's records.
    #[error(transparent)]
    Robot(#[from] RobotError),
    /// The votes or the vault.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    /// The vault did not begin, or does not tell its keys.
    #[error("the authority's TPM did not begin the approval: {0}")]
    Vault(#[source] Box<dyn Error + Send + Sync>),
    /// The certificates of the lost robot do not read.
    #[error(transparent)]
    Certificates(#[from] CertificationError),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Authority {
    /// Begins the vote on releasing a robot's name from its TPM. The next enrolment under the name may then come from any
    /// other TPM, and the name stays with that one.
    ///
    /// # Errors
    /// [`SuccessionError`]: not enrolled, or the vault.
    pub fn propose_succession<V: ApprovalVault>(
        &mut self,
        robot: &RobotId,
        vault: &mut V,
        now_ms: u64,
    ) -> Result<SuccessionProposal, SuccessionError> {
        let decision = Decision::about(EntryKind::Provision, Some(robot), "release of its name");
        let proposed = self.begin_succession(robot, vault);
        self.refusal_on_record(decision, now_ms, proposed)
    }

    fn begin_succession<V: ApprovalVault>(
        &self,
        robot: &RobotId,
        vault: &mut V,
    ) -> Result<SuccessionProposal, SuccessionError> {
        let released = self.enrolment(robot)?.record().endorsement_key;
        let failed = |fault: V::Fault| SuccessionError::Vault(Box::new(fault));
        let key = vault.approval_public(ApprovalPurpose::Rearm).map_err(failed)?;
        let digest = key.name_alg().digest(&[&message(robot, &released)]);
        // The same key as for a rearm, which always takes two persons; the domain in the message keeps them apart.
        let ballot = vault.begin(ApprovalPurpose::Rearm, &digest).map_err(failed)?;
        Ok(SuccessionProposal {
            robot: robot.clone(),
            released,
            ballot,
        })
    }

    /// Counts both persons' votes and releases the name. The lost robot's certificates count no more.
    ///
    /// # Errors
    /// [`SuccessionError`]; the proposal counts no more, whatever was wrong.
    pub fn approve_succession<V: ApprovalVault>(
        &mut self,
        proposal: SuccessionProposal,
        votes: &[OperatorVote],
        vault: &mut V,
        now_ms: u64,
    ) -> Result<(), SuccessionError> {
        let decision = Decision::about(EntryKind::Provision, Some(&proposal.robot), "release of its name")
            .voted_by(votes);
        self.acting_on_record(decision, now_ms, |authority| {
            authority.release(proposal, votes, vault)
        })
    }

    fn release<V: ApprovalVault>(
        &self,
        proposal: SuccessionProposal,
        votes: &[OperatorVote],
        vault: &mut V,
    ) -> Result<(), SuccessionError> {
        let SuccessionProposal {
            robot,
            released,
            ballot,
        } = proposal;
        let (signature, mut approvers) = sign_ballot(&self.operators, vault, &ballot, votes)?;
        approvers.sort();
        let mut out = Encoder::structure(domain::SUCCESSION, VERSION, 3);
        out.u64(2).bytes(released.as_bytes());
        out.u64(3).array(approvers.len());
        for approver in &approvers {
            out.text(approver.as_str());
        }
        out.u64(4).bytes(&signature.to_tpmt());
        self.folder.put(COLLECTION, robot.as_str(), &out.finish())?;
        Ok(certificates::supersede_all(&self.folder, &robot)?)
    }
}

/// What two persons approve: this name, from this TPM's endorsement key.
fn message(robot: &RobotId, released: &Name) -> Vec<u8> {
    let name = robot.as_str().as_bytes();
    [
        domain::SUCCESSION.as_bytes(),
        &[0],
        name,
        &[0],
        released.as_bytes(),
    ]
    .concat()
}

/// Whether two persons released a robot's name from the TPM with this endorsement key. Their signature counts under the
/// rearm key, where it is given; whoever has no vault at hand learns only what the record says.
pub(crate) fn is_released(
    folder: &StateFolder,
    robot: &RobotId,
    endorsement_key: &Name,
    rearm: Option<&Public>,
) -> Result<bool, StoreError> {
    let record = folder.get(COLLECTION, robot.as_str())?;
    // A record that does not read releases nothing.
    let released = record.and_then(|bytes| decode(&bytes).ok());
    Ok(released.is_some_and(|(name, approval)| {
        let signed = rearm.is_none_or(|key| is_signed(&approval, key, &message(robot, &name)));
        name == *endorsement_key && signed
    }))
}

fn is_signed(approval: &Signature, key: &Public, message: &[u8]) -> bool {
    let same_hash = approval.scheme.hash() == key.name_alg();
    let verified = key
        .verifying_key()
        .is_ok_and(|key| approval.verify(&key, message).is_ok());
    same_hash && verified
}

fn decode(bytes: &[u8]) -> Result<(Name, Signature), DecodeError> {
    let mut reader = Reader::new(domain::SUCCESSION, bytes);
    let r = &mut reader;
    let mut fields = r.structure(domain::SUCCESSION, VERSION)?;
    fields.key(r, 2, "released")?;
    let name = r.bytes("released")?;
    let name = Name::from_bytes(name).map_err(|_| r.fault("released", Fault::Value))?;
    // Who voted is kept for people; the signature is what counts.
    fields.key(r, 3, "approvers")?;
    for _ in 0..r.array("approvers", MAX_APPROVERS)? {
        r.text("approvers")?;
    }
    fields.key(r, 4, "approval")?;
    let approval = r.bytes("approval")?;
    let approval = Signature::from_tpmt_signature(approval).map_err(|_| r.fault("approval", Fault::Value))?;
    fields.finish(r)?;
    r.finish()?;
    Ok((name, approval))
}
