//! Letting two persons have a robot's recoverable key duplicated, to the parent that they name.

use std::error::Error;

use alcub3_crypto::tpm::{Name, Signature};
use alcub3_trust_model::policies::PolicyBuildError;
use alcub3_trust_model::recovery::Recoverable;
use alcub3_trust_model::{Level, RobotId};

use crate::approval::{ApprovalError, ApprovalPurpose, ApprovalVault, Ballot, OperatorVote, sign_ballot};
use crate::authority::Authority;
use crate::robots::RobotError;

/// A duplication that waits for its votes.
#[derive(Clone, Debug)]
pub struct BackupProposal(Ballot);

impl BackupProposal {
    /// What each person signs.
    pub const fn ballot(&self) -> &Ballot {
        &self.0
    }
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
    /// A policy could not be built.
    #[error(transparent)]
    Policy(#[from] PolicyBuildError),
    /// The votes or the vault.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    /// The vault did not begin, or does not tell its keys.
    #[error("the authority's TPM did not begin the approval: {0}")]
    Vault(#[source] Box<dyn Error + Send + Sync>),
}

impl Authority {
    /// Begins the vote on duplicating one key of a robot to one parent. The approval is good for that key and that parent
    /// and for nothing else, as often as it is used; whose parent it is, the persons must know.
    ///
    /// # Errors
    /// [`BackupError`]: not enrolled, a level above its ceiling, or the vault.
    pub fn propose_backup<V: ApprovalVault>(
        &mut self,
        robot: &RobotId,
        level: Level,
        (key, new_parent): (Name, Name),
        vault: &mut V,
    ) -> Result<BackupProposal, BackupError> {
        let enrolment = self.active(robot)?;
        if level > enrolment.record().ceiling {
            return Err(BackupError::AboveCeiling(level));
        }
        let failed = |fault: V::Fault| BackupError::Vault(Box::new(fault));
        let public = vault.approval_public(ApprovalPurpose::Rearm).map_err(failed)?;
        let recoverable = Recoverable {
            alg: enrolment.nv_map().name_alg(),
            two_person_key: public.name(),
            robot: robot.clone(),
            level,
        };
        let message = recoverable.duplication_message(key, new_parent)?;
        let digest = public.name_alg().digest(&[&message]);
        // The same key as for a rearm, which always takes two persons; the reference in the message keeps them apart.
        let ballot = vault.begin(ApprovalPurpose::Rearm, &digest).map_err(failed)?;
        Ok(BackupProposal(ballot))
    }

    /// Counts both persons' votes and has the authority's TPM sign the approval, which the robot's TPM takes.
    ///
    /// # Errors
    /// [`BackupError`]; the proposal counts no more, whatever was wrong.
    pub fn approve_backup<V: ApprovalVault>(
        &mut self,
        proposal: &BackupProposal,
        votes: &[OperatorVote],
        vault: &mut V,
    ) -> Result<Signature, BackupError> {
        let (signature, _) = sign_ballot(&self.operators, vault, &proposal.0, votes)?;
        Ok(signature)
    }
}
