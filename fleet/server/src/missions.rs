//! Approving missions: what was asked is checked against its level, the persons vote, the authority's TPM signs.

use std::error::Error;

use alcub3_audit_log::EntryKind;
use alcub3_command_authority::cose::SignError;
use alcub3_command_authority::{
    CommandPattern, Issuer, MissionError, MissionToken, Role, SafetyLimits, VerifiedMission,
};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_fleet_protocol::VerifiedEnrolment;
use alcub3_fleet_protocol::extension::ExtensionError;
use alcub3_fleet_protocol::hand_over::HandOverError;
use alcub3_fleet_protocol::mission::{
    CertifiedMission, MissionApproval, MissionRequest, MissionRequestError,
};
use alcub3_trust_model::canonical::DecodeError;
use alcub3_trust_model::policies::{PolicyBuildError, head_policy, mission_end_message};
use alcub3_trust_model::{
    BelowFloor, Labels, Level, LevelProfile, MissionId, OperatorId, RobotId, SessionId,
};

use crate::approval::{ApprovalError, ApprovalPurpose, ApprovalVault, Ballot, OperatorVote, sign_ballot};
use crate::audit::Decision;
use crate::authority::Authority;
use crate::epochs;
use crate::exchanges::{self, ExchangeError, Purpose};
use crate::robots::RobotError;
use crate::store::StoreError;

const COLLECTION: &str = "missions";

/// What the authority adds to a robot's request: who commands, and within which limits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MissionPlan {
    /// Who may command, and which commands.
    pub issuers: Vec<(OperatorId, Vec<CommandPattern>)>,
    /// The limits of every command.
    pub limits: SafetyLimits,
}

/// What becomes of a mission when its token is approved. A change names the digest of the token that it was asked of.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum MissionStep {
    Start,
    LaterEnd(Digest),
    HandOver(Digest),
}

impl MissionStep {
    const fn of(self) -> Option<Digest> {
        match self {
            Self::Start => None,
            Self::LaterEnd(of) | Self::HandOver(of) => Some(of),
        }
    }

    const fn on_record(self) -> (EntryKind, &'static str) {
        match self {
            Self::Start => (EntryKind::MissionStart, "mission"),
            Self::LaterEnd(_) => (EntryKind::MissionEnd, "a later end of mission"),
            Self::HandOver(_) => (EntryKind::MissionStart, "other commanders of mission"),
        }
    }
}

/// A mission that passed every check and waits for its votes.
#[derive(Clone, Debug)]
pub struct MissionProposal {
    pub(crate) ballot: Ballot,
    pub(crate) token: MissionToken,
    pub(crate) session: SessionId,
    pub(crate) step: MissionStep,
}

impl MissionProposal {
    /// What each person signs.
    pub const fn ballot(&self) -> &Ballot {
        &self.ballot
    }

    /// What they approve.
    pub const fn token(&self) -> &MissionToken {
        &self.token
    }
}

/// Why a mission was not approved.
#[derive(Debug, thiserror::Error)]
pub enum MissionApprovalError {
    /// The message is not the one form allowed.
    #[error(transparent)]
    Message(#[from] DecodeError),
    /// The exchange is unknown, used, late or another robot's.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The robot's records.
    #[error(transparent)]
    Robot(#[from] RobotError),
    /// The request proves nothing.
    #[error(transparent)]
    Request(#[from] MissionRequestError),
    /// The end is not moved.
    #[error("the mission's end is not moved: {0}")]
    Extension(#[from] ExtensionError),
    /// The mission is not handed over.
    #[error("the mission is not handed over: {0}")]
    HandOver(#[from] HandOverError),
    /// There is no such mission.
    #[error("mission {0} was never approved by this authority")]
    Unknown(MissionId),
    /// The mission was changed since the request was checked.
    #[error("mission {0} was changed by somebody else meanwhile: ask again")]
    ChangedMeanwhile(MissionId),
    /// The identifier was used.
    #[error("mission {0} was approved before: a mission's identifier is used once")]
    Used(MissionId),
    /// It lasts no time, or longer than the level allows.
    #[error("a mission of {duration_ms} ms was asked for: {level} allows 1 to {most_ms} ms")]
    Duration {
        /// What was asked for, in milliseconds.
        duration_ms: u64,
        /// The level.
        level: Level,
        /// The longest allowed, in milliseconds.
        most_ms: u64,
    },
    /// The robot's keys or its kind of TPM are weaker than the level asks for.
    #[error("the robot: {0}")]
    RobotFloor(BelowFloor),
    /// The authority's own key is weaker than the level asks for.
    #[error("the authority's key: {0}; use an authority with a P-384 key")]
    Suite(BelowFloor),
    /// The robot was not found trusted recently enough.
    #[error("{level} asks for a trusted attestation at most {fresh_ms} ms old: attest first")]
    NotFresh {
        /// The level.
        level: Level,
        /// How old it may be, in milliseconds.
        fresh_ms: u64,
    },
    /// An issuer is not registered.
    #[error("issuer {0} is no registered operator")]
    UnknownIssuer(OperatorId),
    /// An approver was named as an issuer.
    #[error("{0} is an approver, and approvers give no commands: name another issuer")]
    ApproverIssues(OperatorId),
    /// An issuer is not cleared for the mission.
    #[error("{0} is not cleared for the mission's labels")]
    NotCleared(OperatorId),
    /// An issuer is trusted less than the mission asks for.
    #[error("{0} has less integrity than the mission asks for")]
    Integrity(OperatorId),
    /// The token would be refused by the robot.
    #[error("the robot would refuse the mission: {0}")]
    Token(#[from] MissionError),
    /// A policy could not be built.
    #[error(transparent)]
    Policy(#[from] PolicyBuildError),
    /// The votes or the vault.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    /// The vault did not begin.
    #[error("the authority's TPM did not begin the approval: {0}")]
    Vault(#[source] Box<dyn Error + Send + Sync>),
    /// The token could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Authority {
    /// Opens the exchange in which a robot may ask for a mission. The robot's certifications name it.
    ///
    /// # Errors
    /// [`MissionApprovalError`]: not enrolled, or the folder refuses.
    pub fn open_mission(&mut self, robot: &RobotId, now_ms: u64) -> Result<SessionId, MissionApprovalError> {
        self.open_session(Purpose::Mission, robot, now_ms)
    }

    /// Checks a robot's request against its level, and begins the vote.
    ///
    /// # Errors
    /// [`MissionApprovalError`] with the reason why the mission is refused.
    pub fn propose_mission<V: ApprovalVault>(
        &mut self,
        request: &[u8],
        plan: &MissionPlan,
        vault: &mut V,
        now_ms: u64,
    ) -> Result<MissionProposal, MissionApprovalError> {
        let request = MissionRequest::from_canonical(request);
        let decision = Decision::on(EntryKind::MissionStart, &request, |asked| {
            (&asked.robot, format!("mission {}", asked.mission))
        });
        let proposed = request
            .map_err(Into::into)
            .and_then(|request| self.judge_mission(request, plan, vault, now_ms));
        self.refusal_on_record(decision, now_ms, proposed)
    }

    fn judge_mission<V: ApprovalVault>(
        &self,
        request: MissionRequest,
        plan: &MissionPlan,
        vault: &mut V,
        now_ms: u64,
    ) -> Result<MissionProposal, MissionApprovalError> {
        let (robot, session) = (request.robot.clone(), request.session);
        exchanges::close(&self.folder, Purpose::Mission, &robot, session, now_ms)?;
        let enrolment = self.active(&robot)?;
        let mission = CertifiedMission::verify(request, &enrolment, session)?;
        epochs::check(&self.folder, &robot, mission.robot_epoch().value())?;
        let profile = self.profile_for(mission.request().labels.level, enrolment.record().tier);
        self.check_floors(&enrolment, &mission, &profile, now_ms)?;
        let token = self.token(&mission, plan, &profile, now_ms)?;
        self.check_token(&token)?;
        let ballot = begin_ballot(vault, &token, &enrolment, &profile)?;
        Ok(MissionProposal {
            ballot,
            token,
            session,
            step: MissionStep::Start,
        })
    }

    fn check_floors(
        &self,
        enrolment: &VerifiedEnrolment,
        mission: &CertifiedMission,
        profile: &LevelProfile,
        now_ms: u64,
    ) -> Result<(), MissionApprovalError> {
        let (level, request) = (profile.level, mission.request());
        if self
            .folder
            .get(COLLECTION, &request.mission.to_string())?
            .is_some()
        {
            return Err(MissionApprovalError::Used(request.mission));
        }
        let (duration_ms, most_ms) = (request.duration_ms, profile.max_mission_ms);
        if duration_ms == 0 || duration_ms > most_ms {
            return Err(MissionApprovalError::Duration {
                duration_ms,
                level,
                most_ms,
            });
        }
        self.check_standing(enrolment, profile, now_ms)
    }

    /// That the robot and this authority are fit for a level now.
    pub(crate) fn check_standing(
        &self,
        enrolment: &VerifiedEnrolment,
        profile: &LevelProfile,
        now_ms: u64,
    ) -> Result<(), MissionApprovalError> {
        let level = profile.level;
        profile
            .check_robot(enrolment.keys_suite(), enrolment.record().tier)
            .map_err(MissionApprovalError::RobotFloor)?;
        profile
            .check_suite(self.signing().suite())
            .map_err(MissionApprovalError::Suite)?;
        let fresh_ms = profile.attestation_freshness_ms;
        let trusted_at_ms = self.standing(&enrolment.record().robot)?.trusted_at_ms;
        let fresh = trusted_at_ms.is_some_and(|at| now_ms.saturating_sub(at) <= fresh_ms);
        if fresh {
            Ok(())
        } else {
            Err(MissionApprovalError::NotFresh { level, fresh_ms })
        }
    }

    fn token(
        &self,
        mission: &CertifiedMission,
        plan: &MissionPlan,
        profile: &LevelProfile,
        now_ms: u64,
    ) -> Result<MissionToken, MissionApprovalError> {
        let request = mission.request();
        let clock = mission.clock();
        let issuers = self.issuers_for(&request.labels, &plan.issuers)?;
        Ok(MissionToken {
            mission: request.mission,
            robot: request.robot.clone(),
            labels: request.labels.clone(),
            not_before_ms: now_ms,
            not_after_ms: now_ms.saturating_add(request.duration_ms),
            end_clock_ms: clock.clock_ms.saturating_add(request.duration_ms),
            anchor: request.anchor,
            anchor_value: mission.anchor().value(),
            robot_epoch: mission.robot_epoch().value(),
            level_epoch: mission.level_epoch().value(),
            reset_count: clock.reset_count,
            allowed_resets: profile.allowed_resets,
            issuers,
            limits: plan.limits,
            replaces: None,
        })
    }

    /// Who commands a mission of these labels, as they are registered.
    pub(crate) fn issuers_for(
        &self,
        labels: &Labels,
        named: &[(OperatorId, Vec<CommandPattern>)],
    ) -> Result<Vec<Issuer>, MissionApprovalError> {
        let each = named.iter();
        each.map(|(operator, allowed)| self.issuer_for(labels, operator, allowed))
            .collect()
    }

    fn issuer_for(
        &self,
        labels: &Labels,
        operator: &OperatorId,
        allowed: &[CommandPattern],
    ) -> Result<Issuer, MissionApprovalError> {
        let known = self.operators.get(operator);
        let known = known.ok_or_else(|| MissionApprovalError::UnknownIssuer(operator.clone()))?;
        if known.role == Role::Approver {
            return Err(MissionApprovalError::ApproverIssues(operator.clone()));
        }
        if !known.labels.can_read(labels) {
            return Err(MissionApprovalError::NotCleared(operator.clone()));
        }
        if !known.labels.may_command(labels) {
            return Err(MissionApprovalError::Integrity(operator.clone()));
        }
        Ok(Issuer {
            operator: operator.clone(),
            role: known.role,
            key: known.key.clone(),
            integrity: known.labels.integrity,
            allowed: allowed.to_vec(),
        })
    }

    /// Asks the robot's own questions of the token, before any person is asked to approve it.
    pub(crate) fn check_token(&self, token: &MissionToken) -> Result<Vec<u8>, MissionApprovalError> {
        let signed = token.unsigned(self.signing().suite()).sign(self.signing())?;
        VerifiedMission::verify(&signed, &self.verifying_key(), &token.robot, &self.profiles())?;
        Ok(signed)
    }

    /// Counts the votes, has the authority's TPM sign the mission's end, registers the mission, or what is changed of it, and
    /// gives the approval.
    ///
    /// # Errors
    /// [`MissionApprovalError`]; the proposal counts no more, whatever was wrong.
    pub fn approve_mission<V: ApprovalVault>(
        &mut self,
        proposal: MissionProposal,
        votes: &[OperatorVote],
        vault: &mut V,
        now_ms: u64,
    ) -> Result<MissionApproval, MissionApprovalError> {
        let token = &proposal.token;
        let (kind, what) = proposal.step.on_record();
        let subject = format!("{what} {}", token.mission);
        let decision = Decision::about(kind, Some(&token.robot), subject).voted_by(votes);
        self.acting_on_record(decision, now_ms, |authority| {
            authority.register_mission(proposal, votes, vault)
        })
    }

    fn register_mission<V: ApprovalVault>(
        &self,
        proposal: MissionProposal,
        votes: &[OperatorVote],
        vault: &mut V,
    ) -> Result<MissionApproval, MissionApprovalError> {
        let MissionProposal {
            ballot,
            token,
            session,
            step,
        } = proposal;
        if self.mission(&token.mission)?.as_deref().map(token_digest) != step.of() {
            vault.cancel(&ballot);
            return Err(match step.of() {
                None => MissionApprovalError::Used(token.mission),
                Some(_) => MissionApprovalError::ChangedMeanwhile(token.mission),
            });
        }
        let (signature, _) = sign_ballot(&self.operators, vault, &ballot, votes)?;
        let signed = self.check_token(&token)?;
        epochs::note_approved(&self.folder, &token.robot, token.robot_epoch)?;
        self.folder.put(COLLECTION, &token.mission.to_string(), &signed)?;
        Ok(MissionApproval {
            session,
            token: signed,
            end_approval: signature.to_tpmt(),
        })
    }

    /// The signed token of an approved mission.
    ///
    /// # Errors
    /// What the folder refused.
    pub fn mission(&self, mission: &MissionId) -> Result<Option<Vec<u8>>, StoreError> {
        self.folder.get(COLLECTION, &mission.to_string())
    }
}

/// Which token it is.
pub(crate) fn token_digest(signed: &[u8]) -> Digest {
    HashAlg::Sha256.digest(&[signed])
}

/// Begins the vote on the mission's end: the head of its keys' policy, as TPM2_PolicyAuthorize takes it.
pub(crate) fn begin_ballot<V: ApprovalVault>(
    vault: &mut V,
    token: &MissionToken,
    enrolment: &VerifiedEnrolment,
    profile: &LevelProfile,
) -> Result<Ballot, MissionApprovalError> {
    let purpose = ApprovalPurpose::mission(profile.persons);
    let head: Digest = head_policy(enrolment.nv_map().name_alg(), token.end_clock_ms)?.digest();
    let failed = |fault: V::Fault| MissionApprovalError::Vault(Box::new(fault));
    let alg = vault.approval_public(purpose).map_err(failed)?.name_alg();
    let digest = alg.digest(&[&mission_end_message(&head, &token.mission)]);
    vault.begin(purpose, &digest).map_err(failed)
}
