//! Purging a stopped robot: its TPM certifies its epoch, two persons approve that it is cleared.

use std::error::Error;

use alcub3_command_authority::cose::SignError;
use alcub3_fleet_protocol::purge::{CertifiedPurge, PurgeError, PurgeOrder, PurgeRequest, VerifiedPurge};
use alcub3_trust_model::canonical::DecodeError;
use alcub3_trust_model::policies::{PolicyBuildError, purge_message};
use alcub3_trust_model::{RobotId, SessionId};

use crate::approval::{ApprovalError, ApprovalPurpose, ApprovalVault, Ballot, OperatorVote, sign_ballot};
use crate::authority::Authority;
use crate::certificates::{self, CertificationError};
use crate::epochs;
use crate::exchanges::{self, ExchangeError, Purpose};
use crate::robots::RobotError;
use crate::store::{StateFolder, StoreError};

const COLLECTION: &str = "purges";

/// A purge whose epoch is certified and that waits for its votes.
#[derive(Clone, Debug)]
pub struct PurgeProposal {
    session: SessionId,
    robot: RobotId,
    robot_epoch: u64,
    ballot: Ballot,
}

impl PurgeProposal {
    /// What each person signs.
    pub const fn ballot(&self) -> &Ballot {
        &self.ballot
    }

    /// The robot.
    pub const fn robot(&self) -> &RobotId {
        &self.robot
    }
}

/// Why a purge was not ordered.
#[derive(Debug, thiserror::Error)]
pub enum PurgeApprovalError {
    /// The message is not the one form allowed.
    #[error(transparent)]
    Message(#[from] DecodeError),
    /// The exchange is unknown, used, late or another robot's.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The robot's records.
    #[error(transparent)]
    Robot(#[from] RobotError),
    /// The request proves nothing, or the order would be refused by the robot.
    #[error(transparent)]
    Purge(#[from] PurgeError),
    /// A policy could not be built.
    #[error(transparent)]
    Policy(#[from] PolicyBuildError),
    /// The votes or the vault.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    /// The vault did not begin, or does not tell its keys.
    #[error("the authority's TPM did not begin the approval: {0}")]
    Vault(#[source] Box<dyn Error + Send + Sync>),
    /// The order could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The certificates of before do not read.
    #[error(transparent)]
    Certificates(#[from] CertificationError),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Authority {
    /// Opens the exchange in which a robot may ask to be purged.
    ///
    /// # Errors
    /// [`PurgeApprovalError`]: not enrolled, or the folder refuses.
    pub fn open_purge(&mut self, robot: &RobotId, now_ms: u64) -> Result<SessionId, PurgeApprovalError> {
        self.enrolment(robot)?;
        let mut entropy = self.entropy;
        Ok(exchanges::open(&self.folder, &mut entropy, Purpose::Purge, robot, now_ms)?.session)
    }

    /// Checks the epoch that the robot's TPM certified, and begins the vote.
    ///
    /// # Errors
    /// [`PurgeApprovalError`] with the reason.
    pub fn propose_purge<V: ApprovalVault>(
        &mut self,
        request: &[u8],
        vault: &mut V,
        now_ms: u64,
    ) -> Result<PurgeProposal, PurgeApprovalError> {
        let request = PurgeRequest::from_canonical(request)?;
        let (robot, session) = (request.robot.clone(), request.session);
        exchanges::close(&self.folder, Purpose::Purge, &robot, session, now_ms)?;
        let enrolment = self.enrolment(&robot)?;
        let certified = CertifiedPurge::verify(&request, &enrolment, session)?;
        epochs::check(&self.folder, &robot, certified.robot_epoch().value())?;
        let approved = certified.approved_policy(enrolment.nv_map().name_alg())?;
        let failed = |fault: V::Fault| PurgeApprovalError::Vault(Box::new(fault));
        let key_alg = vault
            .approval_public(ApprovalPurpose::Rearm)
            .map_err(failed)?
            .name_alg();
        let digest = key_alg.digest(&[&purge_message(&approved, &robot)]);
        // The same key as for a rearm, which always takes two persons; the reference in the message keeps them apart.
        let ballot = vault.begin(ApprovalPurpose::Rearm, &digest).map_err(failed)?;
        Ok(PurgeProposal {
            session,
            robot,
            robot_epoch: certified.robot_epoch().value(),
            ballot,
        })
    }

    /// Counts both persons' votes, has the authority's TPM sign, and keeps and gives the signed order. From then on the
    /// robot's certificates count no more, and nothing but another purge is begun with it until it is enrolled anew.
    ///
    /// # Errors
    /// [`PurgeApprovalError`]; the proposal counts no more, whatever was wrong.
    pub fn approve_purge<V: ApprovalVault>(
        &mut self,
        proposal: PurgeProposal,
        votes: &[OperatorVote],
        vault: &mut V,
        now_ms: u64,
    ) -> Result<Vec<u8>, PurgeApprovalError> {
        let PurgeProposal {
            session,
            robot,
            robot_epoch,
            ballot,
        } = proposal;
        let (signature, mut approvers) = sign_ballot(&self.operators, vault, &ballot, votes)?;
        approvers.sort();
        let order = PurgeOrder {
            session,
            robot: robot.clone(),
            robot_epoch,
            approval: signature.to_tpmt(),
            approvers,
            issued_at_ms: now_ms,
        };
        let order = order.unsigned(self.signing().suite()).sign(self.signing())?;
        // The robot's own questions, before it is given out.
        let anchors = self
            .anchors(vault)
            .map_err(|fault| PurgeApprovalError::Vault(Box::new(fault)))?;
        let enrolment = self.enrolment(&robot)?;
        VerifiedPurge::verify(&order, &anchors, enrolment.nv_map(), &robot)?;
        epochs::note_approved(&self.folder, &robot, robot_epoch)?;
        self.folder.put(COLLECTION, robot.as_str(), &order)?;
        certificates::supersede_all(&self.folder, &robot)?;
        Ok(order)
    }
}

/// Whether two persons ordered the purge of a robot that was not enrolled anew since.
pub(crate) fn is_purged(folder: &StateFolder, robot: &RobotId) -> Result<bool, StoreError> {
    Ok(folder.get(COLLECTION, robot.as_str())?.is_some())
}

/// A robot that was enrolled anew is no longer the one that was purged.
pub(crate) fn enrolled_anew(folder: &StateFolder, robot: &RobotId) -> Result<(), StoreError> {
    folder.remove(COLLECTION, robot.as_str())
}
