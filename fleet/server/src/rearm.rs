//! Rearming a stopped robot: its TPM certifies the epochs, two persons approve each level.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use alcub3_attestation::attest::ClockInfo;
use alcub3_audit_log::EntryKind;
use alcub3_command_authority::cose::SignError;
use alcub3_fleet_protocol::VerifiedEnrolment;
use alcub3_fleet_protocol::rearm::{
    CertifiedEpochs, LevelRearm, RearmApproval, RearmError, RearmRecord, RearmRequest, VerifiedRearm,
};
use alcub3_trust_model::canonical::DecodeError;
use alcub3_trust_model::policies::{PolicyBuildError, rearm_message};
use alcub3_trust_model::{Level, OperatorId, RobotId, SessionId, StopId};

use crate::approval::{
    ApprovalError, ApprovalPurpose, ApprovalVault, Ballot, OperatorVote, count_votes, sign_ballot,
};
use crate::audit::Decision;
use crate::authority::Authority;
use crate::epochs;
use crate::exchanges::{self, ExchangeError, Purpose};
use crate::robots::{self, RobotError};
use crate::store::StoreError;

const COLLECTION: &str = "rearms";

/// A rearm whose epochs are certified and that waits for its votes: one ballot for each level.
#[derive(Clone, Debug)]
pub struct RearmProposal {
    session: SessionId,
    robot: RobotId,
    robot_epoch: u64,
    clock: ClockInfo,
    levels: BTreeMap<Level, (u64, Ballot)>,
    stops: Vec<StopId>,
}

impl RearmProposal {
    /// What each person signs, by level.
    pub fn ballots(&self) -> impl Iterator<Item = (Level, &Ballot)> {
        self.levels.iter().map(|(level, (_, ballot))| (*level, ballot))
    }

    /// The robot.
    pub const fn robot(&self) -> &RobotId {
        &self.robot
    }

    /// The robot's epoch that would be approved.
    pub const fn robot_epoch(&self) -> u64 {
        self.robot_epoch
    }

    /// The stops that the approval would end, as far as the authority has seen them.
    pub fn stops(&self) -> &[StopId] {
        &self.stops
    }
}

/// Why a robot was not rearmed.
#[derive(Debug, thiserror::Error)]
pub enum RearmApprovalError {
    /// The message is not the one form allowed.
    #[error(transparent)]
    Message(#[from] DecodeError),
    /// The exchange is unknown, used, late or another robot's.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The robot's records.
    #[error(transparent)]
    Robot(#[from] RobotError),
    /// The request proves nothing, or the record would be refused by the robot.
    #[error(transparent)]
    Rearm(#[from] RearmError),
    /// A policy could not be built.
    #[error(transparent)]
    Policy(#[from] PolicyBuildError),
    /// The votes or the vault.
    #[error("{level}: {source}")]
    Approval {
        /// The level.
        level: Level,
        /// What is wrong.
        source: ApprovalError,
    },
    /// Nobody voted on a level.
    #[error("there are no votes on {0}: both persons vote on every level of the rearm")]
    NoVotes(Level),
    /// The vault did not begin, or does not tell its keys.
    #[error("the authority's TPM did not begin the approval: {0}")]
    Vault(#[source] Box<dyn Error + Send + Sync>),
    /// The record could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Authority {
    /// Opens the exchange in which a robot may ask to be rearmed. The robot's certifications name it.
    ///
    /// # Errors
    /// [`RearmApprovalError`]: not enrolled, or the folder refuses.
    pub fn open_rearm(&mut self, robot: &RobotId, now_ms: u64) -> Result<SessionId, RearmApprovalError> {
        self.open_session(Purpose::Rearm, robot, now_ms)
    }

    /// Checks the epochs that the robot's TPM certified, and begins the vote.
    ///
    /// # Errors
    /// [`RearmApprovalError`] with the reason.
    pub fn propose_rearm<V: ApprovalVault>(
        &mut self,
        request: &[u8],
        vault: &mut V,
        now_ms: u64,
    ) -> Result<RearmProposal, RearmApprovalError> {
        let request = RearmRequest::from_canonical(request);
        let decision = Decision::on(EntryKind::Rearm, &request, |asked| {
            (&asked.robot, "rearm".to_owned())
        });
        let proposed = request
            .map_err(Into::into)
            .and_then(|request| self.judge_rearm(&request, vault, now_ms));
        self.refusal_on_record(decision, now_ms, proposed)
    }

    fn judge_rearm<V: ApprovalVault>(
        &self,
        request: &RearmRequest,
        vault: &mut V,
        now_ms: u64,
    ) -> Result<RearmProposal, RearmApprovalError> {
        let (robot, session) = (request.robot.clone(), request.session);
        exchanges::close(&self.folder, Purpose::Rearm, &robot, session, now_ms)?;
        let enrolment = self.active(&robot)?;
        let certified = CertifiedEpochs::verify(request, &enrolment, session)?;
        epochs::check(&self.folder, &robot, certified.robot_epoch().value())?;
        if certified.level_epochs().is_empty() {
            return Err(RearmError::NoLevel.into());
        }
        let levels = begin_ballots(vault, &certified, &enrolment)?;
        let stops = self.standing(&robot)?.stops;
        Ok(RearmProposal {
            session,
            robot,
            robot_epoch: certified.robot_epoch().value(),
            clock: certified.robot_epoch().clock(),
            levels,
            stops,
        })
    }

    /// Counts both persons' votes on every level, has the authority's TPM sign, and keeps and gives the record. Nothing
    /// is signed unless the votes on all levels count.
    ///
    /// # Errors
    /// [`RearmApprovalError`]; the proposal counts no more, whatever was wrong.
    pub fn approve_rearm<V: ApprovalVault>(
        &mut self,
        proposal: RearmProposal,
        votes: &BTreeMap<Level, Vec<OperatorVote>>,
        vault: &mut V,
        now_ms: u64,
    ) -> Result<RearmApproval, RearmApprovalError> {
        let levels: Vec<String> = votes.keys().map(ToString::to_string).collect();
        let subject = format!("rearm of {}", levels.join(", "));
        let decision = Decision::about(EntryKind::Rearm, Some(&proposal.robot), subject)
            .voted_by(votes.values().flatten());
        self.acting_on_record(decision, now_ms, |authority| {
            authority.rearm_by(proposal, votes, vault, now_ms)
        })
    }

    fn rearm_by<V: ApprovalVault>(
        &self,
        proposal: RearmProposal,
        votes: &BTreeMap<Level, Vec<OperatorVote>>,
        vault: &mut V,
        now_ms: u64,
    ) -> Result<RearmApproval, RearmApprovalError> {
        let signed = self.sign_levels(&proposal, votes, vault);
        if signed.is_err() {
            proposal.ballots().for_each(|(_, ballot)| vault.cancel(ballot));
        }
        let (levels, approvers) = signed?;
        epochs::note_approved(&self.folder, &proposal.robot, proposal.robot_epoch)?;
        let record = RearmRecord {
            session: proposal.session,
            robot: proposal.robot.clone(),
            robot_epoch: proposal.robot_epoch,
            levels,
            approvers: approvers.into_iter().collect(),
            issued_at_ms: now_ms,
        };
        let record = record.unsigned(self.signing().suite()).sign(self.signing())?;
        self.check_record(&record, &proposal.robot, vault)?;
        self.folder.put(COLLECTION, proposal.robot.as_str(), &record)?;
        let enrolment = self.active(&proposal.robot)?;
        let key = enrolment.attestation_key();
        let certified = (proposal.robot_epoch, proposal.clock);
        epochs::note_rearmed(&self.folder, &proposal.robot, key, certified)?;
        let mut standing = self.standing(&proposal.robot)?;
        standing.rearmed_at(proposal.robot_epoch, proposal.stops);
        robots::put_standing(&self.folder, &proposal.robot, &standing)?;
        Ok(RearmApproval {
            session: proposal.session,
            record,
        })
    }

    fn sign_levels<V: ApprovalVault>(
        &self,
        proposal: &RearmProposal,
        votes: &BTreeMap<Level, Vec<OperatorVote>>,
        vault: &mut V,
    ) -> Result<(BTreeMap<Level, LevelRearm>, BTreeSet<OperatorId>), RearmApprovalError> {
        for (level, ballot) in proposal.ballots() {
            let given = votes.get(&level).ok_or(RearmApprovalError::NoVotes(level))?;
            let counted = count_votes(&self.operators, ballot, given);
            counted.map_err(|source| RearmApprovalError::Approval { level, source })?;
        }
        let (mut levels, mut approvers) = (BTreeMap::new(), BTreeSet::new());
        for (level, (epoch, ballot)) in &proposal.levels {
            let given = votes.get(level).ok_or(RearmApprovalError::NoVotes(*level))?;
            let signed = sign_ballot(&self.operators, vault, ballot, given);
            let (signature, voters) = signed.map_err(|source| RearmApprovalError::Approval {
                level: *level,
                source,
            })?;
            levels.insert(
                *level,
                LevelRearm {
                    epoch: *epoch,
                    approval: signature.to_tpmt(),
                },
            );
            approvers.extend(voters);
        }
        Ok((levels, approvers))
    }

    /// Asks the robot's own questions of the record before it is given out.
    fn check_record<V: ApprovalVault>(
        &self,
        record: &[u8],
        robot: &RobotId,
        vault: &mut V,
    ) -> Result<(), RearmApprovalError> {
        let anchors = self
            .anchors(vault)
            .map_err(|fault| RearmApprovalError::Vault(Box::new(fault)))?;
        let enrolment = self.active(robot)?;
        VerifiedRearm::verify(record, &anchors, enrolment.nv_map(), robot)?;
        Ok(())
    }

    /// The signed record of a robot's last rearm.
    ///
    /// # Errors
    /// What the folder refused.
    pub fn rearm_record(&self, robot: &RobotId) -> Result<Option<Vec<u8>>, StoreError> {
        self.folder.get(COLLECTION, robot.as_str())
    }
}

/// Begins the vote on each level; where one does not begin, those begun before are cancelled.
fn begin_ballots<V: ApprovalVault>(
    vault: &mut V,
    epochs: &CertifiedEpochs,
    enrolment: &VerifiedEnrolment,
) -> Result<BTreeMap<Level, (u64, Ballot)>, RearmApprovalError> {
    let approved = epochs.approved_policies(enrolment.nv_map().name_alg())?;
    let failed = |fault: V::Fault| RearmApprovalError::Vault(Box::new(fault));
    let key_alg = vault
        .approval_public(ApprovalPurpose::Rearm)
        .map_err(failed)?
        .name_alg();
    let mut levels: BTreeMap<Level, (u64, Ballot)> = BTreeMap::new();
    for (level, epoch) in epochs.level_epochs() {
        let policy = approved.get(level).ok_or(RearmError::NoLevel)?;
        let digest = key_alg.digest(&[&rearm_message(policy, &enrolment.record().robot, *level)]);
        match vault.begin(ApprovalPurpose::Rearm, &digest) {
            Ok(ballot) => levels.insert(*level, (epoch.value(), ballot)),
            Err(fault) => {
                levels.values().for_each(|(_, ballot)| vault.cancel(ballot));
                return Err(failed(fault));
            }
        };
    }
    Ok(levels)
}
