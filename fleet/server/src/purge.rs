//! Purging a stopped robot: its TPM certifies its epoch, two persons approve that it is cleared.

use std::error::Error;

use alcub3_attestation::attest::ClockInfo;
use alcub3_attestation::receipt::{Expected, PurgeReason, PurgeVerdict, verify_purge_receipt};
use alcub3_audit_log::EntryKind;
use alcub3_command_authority::cose::SignError;
use alcub3_crypto::HashAlg;
use alcub3_fleet_protocol::purge::{CertifiedPurge, PurgeError, PurgeOrder, PurgeRequest, VerifiedPurge};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Reader};
use alcub3_trust_model::policies::{PolicyBuildError, purge_message};
use alcub3_trust_model::{RobotId, SessionId};

use crate::approval::{ApprovalError, ApprovalPurpose, ApprovalVault, Ballot, OperatorVote, sign_ballot};
use crate::audit::Decision;
use crate::authority::Authority;
use crate::certificates::{self, CertificationError};
use crate::epochs;
use crate::exchanges::{self, ExchangeError, Purpose};
use crate::robots::RobotError;
use crate::store::{StateFolder, StoreError};

const COLLECTION: &str = "purges";
/// The receipt of each ordered purge, once it was judged and found to prove it.
const CLEARED: &str = "purged";
const DOMAIN: &str = "alcub3/authority-purge/v1";
const VERSION: u64 = 1;

/// What is kept of an order.
struct Ordered {
    /// The signed order.
    order: Vec<u8>,
    /// The TPM's clock when it certified its epoch for the order.
    asked: ClockInfo,
}

impl Ordered {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::structure(DOMAIN, VERSION, 3);
        out.u64(2).bytes(&self.order);
        out.u64(3).u64(self.asked.clock_ms);
        out.u64(4).u64(self.asked.reset_count.into());
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        fields.key(r, 2, "order")?;
        let order = r.bytes("order")?.to_vec();
        fields.key(r, 3, "clock_ms")?;
        let clock_ms = r.u64("clock_ms")?;
        fields.key(r, 4, "reset_count")?;
        let asked = ClockInfo {
            clock_ms,
            reset_count: r.u32("reset_count")?,
            restart_count: 0,
            safe: true,
        };
        fields.finish(r)?;
        r.finish()?;
        Ok(Self { order, asked })
    }
}

/// A purge whose epoch is certified and that waits for its votes.
#[derive(Clone, Debug)]
pub struct PurgeProposal {
    session: SessionId,
    robot: RobotId,
    robot_epoch: u64,
    asked: ClockInfo,
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
        self.open_session(Purpose::Purge, robot, now_ms)
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
        let request = PurgeRequest::from_canonical(request);
        let decision = Decision::on(EntryKind::Purge, &request, |asked| {
            (&asked.robot, "purge".to_owned())
        });
        let proposed = request
            .map_err(Into::into)
            .and_then(|request| self.judge_purge(&request, vault, now_ms));
        self.refusal_on_record(decision, now_ms, proposed)
    }

    fn judge_purge<V: ApprovalVault>(
        &self,
        request: &PurgeRequest,
        vault: &mut V,
        now_ms: u64,
    ) -> Result<PurgeProposal, PurgeApprovalError> {
        let (robot, session) = (request.robot.clone(), request.session);
        exchanges::close(&self.folder, Purpose::Purge, &robot, session, now_ms)?;
        let enrolment = self.enrolment(&robot)?;
        let certified = CertifiedPurge::verify(request, &enrolment, session)?;
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
            asked: certified.robot_epoch().clock(),
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
        let decision =
            Decision::about(EntryKind::Purge, Some(&proposal.robot), "purge ordered").voted_by(votes);
        self.acting_on_record(decision, now_ms, |authority| {
            authority.order_purge(proposal, votes, vault, now_ms)
        })
    }

    fn order_purge<V: ApprovalVault>(
        &self,
        proposal: PurgeProposal,
        votes: &[OperatorVote],
        vault: &mut V,
        now_ms: u64,
    ) -> Result<Vec<u8>, PurgeApprovalError> {
        let PurgeProposal {
            session,
            robot,
            robot_epoch,
            asked,
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
        let ordered = Ordered { order, asked };
        self.folder.remove(CLEARED, robot.as_str())?;
        self.folder.put(COLLECTION, robot.as_str(), &ordered.encode())?;
        certificates::supersede_all(&self.folder, &robot)?;
        Ok(ordered.order)
    }

    /// Judges the receipt of a purge that this authority ordered, and keeps it where it proves that the chip was cleared:
    /// then, and only then, the chip may be enrolled once more. The receipt must be of the newest order, and the chip's counts
    /// must have gone back from where they were when the order was asked for: the stop's receipt in it could be from before
    /// an earlier purge.
    ///
    /// # Errors
    /// [`PurgeReceiptError`] where there is no order, or the records do not read. A receipt that proves nothing is a verdict.
    pub fn take_purge_receipt(
        &mut self,
        robot: &RobotId,
        receipt: &[u8],
        now_ms: u64,
    ) -> Result<PurgeVerdict, PurgeReceiptError> {
        let decision = Decision::about(EntryKind::Purge, Some(robot), "receipt of the purge")
            .with_object(HashAlg::Sha256.digest(&[receipt]));
        let verdict = match self.judge_purge_receipt(robot, receipt) {
            Ok(verdict) => verdict,
            Err(error) => return self.on_record(decision, now_ms, Err(error)),
        };
        let decision = decision.because(verdict.reasons.iter().map(|reason| reason.code()));
        if !verdict.is_proven() {
            self.judgement_on_record(decision, false, now_ms)?;
            return Ok(verdict);
        }
        self.acting_on_record(decision, now_ms, |authority| {
            Ok(authority.folder.put(CLEARED, robot.as_str(), receipt)?)
        })
        .map(|()| verdict)
    }

    fn judge_purge_receipt(
        &self,
        robot: &RobotId,
        receipt: &[u8],
    ) -> Result<PurgeVerdict, PurgeReceiptError> {
        let ordered = self.folder.get(COLLECTION, robot.as_str())?;
        let ordered = ordered.ok_or_else(|| PurgeReceiptError::NotOrdered(robot.clone()))?;
        let ordered = Ordered::decode(&ordered)?;
        let enrolment = self.enrolment(robot)?;
        let expected = Expected {
            attestation_key: enrolment.attestation_key(),
            nv: *enrolment.nv_map(),
            pcrs: self.config.pcrs,
            robot: Some(robot),
            stop: None,
            alive_at: None,
            anchor: None,
        };
        let mut verdict = verify_purge_receipt(receipt, &expected);
        let named = verdict.statement.as_ref().map(|statement| statement.order);
        if named.is_some_and(|named| named.alg().digest(&[&ordered.order]) != named) {
            verdict.reasons.push(PurgeReason::OtherOrder);
        }
        let went_back = verdict.clock.is_some_and(|clock| clock.is_before(&ordered.asked));
        if !went_back && !verdict.reasons.contains(&PurgeReason::NotCleared) {
            verdict.reasons.push(PurgeReason::NotCleared);
        }
        Ok(verdict)
    }
}

/// A purge's receipt could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum PurgeReceiptError {
    /// No purge is ordered, or the robot was enrolled anew since.
    #[error("no purge of robot {0} is under way: nobody ordered one since it was enrolled")]
    NotOrdered(RobotId),
    /// The order that was kept does not read.
    #[error("a stored purge order does not read: {0}; restore the state folder from a backup")]
    Record(#[from] DecodeError),
    /// The robot's records.
    #[error(transparent)]
    Robot(#[from] RobotError),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether two persons ordered the purge of a robot that was not enrolled anew since.
pub(crate) fn is_purged(folder: &StateFolder, robot: &RobotId) -> Result<bool, StoreError> {
    Ok(folder.get(COLLECTION, robot.as_str())?.is_some())
}

/// Whether a purge of the robot was ordered and its receipt proved that its chip was cleared, and no robot was enrolled with
/// the chip since.
pub(crate) fn is_cleared(folder: &StateFolder, robot: &RobotId) -> Result<bool, StoreError> {
    Ok(is_purged(folder, robot)? && folder.get(CLEARED, robot.as_str())?.is_some())
}

/// The chip of a robot that was purged is enrolled under another name: the receipt has served.
pub(crate) fn used_up(folder: &StateFolder, robot: &RobotId) -> Result<(), StoreError> {
    folder.remove(CLEARED, robot.as_str())
}

/// A robot that was enrolled anew is no longer the one that was purged.
pub(crate) fn enrolled_anew(folder: &StateFolder, robot: &RobotId) -> Result<(), StoreError> {
    used_up(folder, robot)?;
    folder.remove(COLLECTION, robot.as_str())
}
