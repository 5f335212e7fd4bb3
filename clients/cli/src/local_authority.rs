//! The authority on this machine: its folder, its TPM, and what a robot and it say to each other within one process.

use crate::authority_vault::AuthorityVault;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::robot_side::{Opened, RobotSide};
use crate::tpm_access;
use alcub3_agent::{
    ActiveMission, AuthorityLink, IdentityLink, LinkError, PlatformLogs, ProvisionRequest, Robot,
};
use alcub3_command_authority::CommandPattern;
use alcub3_command_authority::policy::CommandPolicy;
use alcub3_crypto::SigningKey;
use alcub3_keys::{RecoverableKey, RobotRecord, StateFolder};
use alcub3_server::{
    Appraised, Authority, BackupApproval, BackupDestination, BackupSubject, Ballot, MissionPlan,
    MissionProposal, OperatorVote,
};
use alcub3_tpm::{Tpm, TpmSpec};
use alcub3_trust_model::{AttestationKind, Labels, Level, MissionId, OperatorId, RobotId, SessionId};
use std::collections::BTreeMap;
use std::path::Path;

/// A person with their key at hand.
#[derive(Debug)]
pub(crate) struct Person {
    /// The name.
    pub(crate) id: OperatorId,
    /// The key.
    pub(crate) key: SigningKey,
}

impl Person {
    /// The person's vote on a ballot.
    pub(crate) fn vote(&self, ballot: &Ballot) -> Result<OperatorVote, CliError> {
        let signature = self.key.sign(&ballot.message()).map_err(CliError::Crypto)?;
        Ok(OperatorVote {
            operator: self.id.clone(),
            signature,
        })
    }
}

/// An authority and its approval keys.
pub(crate) struct LocalAuthority {
    /// The authority.
    pub(crate) authority: Authority,
    /// Its approval keys.
    pub(crate) vault: AuthorityVault,
}

impl LocalAuthority {
    /// Opens the authority of a folder with its TPM.
    pub(crate) fn open(folder: &Path, tpm: &TpmSpec) -> Result<Self, CliError> {
        let authority = Authority::open(folder)?;
        let keys: Vec<_> = authority
            .operators()
            .iter()
            .map(|operator| operator.key.clone())
            .collect();
        let vault = AuthorityVault::open(tpm_access::start(tpm)?, &keys, &authority.pinned_vault()?)?;
        Ok(Self { authority, vault })
    }

    /// Provisions and enrols a robot.
    pub(crate) fn provision(
        &mut self,
        tpm: &Tpm,
        folder: &StateFolder,
        request: &ProvisionRequest,
    ) -> Result<RobotRecord, CliError> {
        Ok(alcub3_agent::provision(tpm, folder, request, self)?)
    }

    /// Asks a robot for evidence, judges it, and hands the robot the result. It takes the lease where it was trusted.
    pub(crate) fn attest(&mut self, robot: &Robot, logs: &PlatformLogs) -> Result<Appraised, CliError> {
        let logs = logs.clone();
        let opened = Opened {
            logs,
            ..Opened::at_rest(robot)
        };
        self.attest_as(&opened, AttestationKind::Operational)
    }

    /// As [`Self::attest`], of a kind, whoever holds the robot.
    pub(crate) fn attest_as(
        &mut self,
        robot: &dyn RobotSide,
        kind: AttestationKind,
    ) -> Result<Appraised, CliError> {
        let request = self.authority.challenge_for(&robot.name()?, kind, now_ms())?;
        let evidence = robot.evidence(&request.to_canonical())?;
        let appraised = self.authority.appraise(&evidence, now_ms())?;
        if let Some(lease) = &appraised.answer.lease
            && !robot.is_stopped()?
        {
            robot.take_lease(lease)?;
        }
        Ok(appraised)
    }

    /// Rearms levels of a robot with these persons' votes.
    pub(crate) fn rearm(
        &mut self,
        robot: &dyn RobotSide,
        levels: &[Level],
        persons: &[Person],
    ) -> Result<Vec<Level>, CliError> {
        let session = self.authority.open_rearm(&robot.name()?, now_ms())?;
        let request = robot.ask_rearm(session, levels)?;
        let proposal = self
            .authority
            .propose_rearm(&request, &mut self.vault, now_ms())?;
        let mut votes: BTreeMap<Level, Vec<OperatorVote>> = BTreeMap::new();
        for (level, ballot) in proposal.ballots() {
            let cast: Result<_, _> = persons.iter().map(|person| person.vote(ballot)).collect();
            votes.insert(level, cast?);
        }
        let approval = self
            .authority
            .approve_rearm(proposal, &votes, &mut self.vault, now_ms())?;
        robot.rearm(&approval.to_canonical(), session)
    }

    /// Orders a stopped robot's purge with these persons' votes: the exchange and the signed order.
    pub(crate) fn order_purge(
        &mut self,
        robot: &Robot,
        persons: &[Person],
    ) -> Result<(SessionId, Vec<u8>), CliError> {
        let session = self.authority.open_purge(robot.robot(), now_ms())?;
        let request = robot.purge_request(session)?;
        let proposal = self
            .authority
            .propose_purge(&request, &mut self.vault, now_ms())?;
        let votes: Result<Vec<_>, _> = persons
            .iter()
            .map(|person| person.vote(proposal.ballot()))
            .collect();
        let order = self
            .authority
            .approve_purge(proposal, &votes?, &mut self.vault, now_ms())?;
        Ok((session, order))
    }

    /// Issues a command policy with these persons' votes: its version and the signed policy.
    pub(crate) fn issue_command_policy(
        &mut self,
        policy: CommandPolicy,
        persons: &[Person],
    ) -> Result<(u64, Vec<u8>), CliError> {
        let (authority, vault) = (&mut self.authority, &mut self.vault);
        let proposal = authority.propose_command_policy(policy, vault, now_ms())?;
        let version = proposal.statement().version;
        let votes: Result<Vec<_>, _> = persons
            .iter()
            .map(|person| person.vote(proposal.ballot()))
            .collect();
        let signed = authority.approve_command_policy(proposal, &votes?, vault, now_ms())?;
        Ok((version, signed))
    }

    /// Releases a lost robot's name with these persons' votes.
    pub(crate) fn release_name(&mut self, robot: &RobotId, persons: &[Person]) -> Result<(), CliError> {
        let proposal = self
            .authority
            .propose_succession(robot, &mut self.vault, now_ms())?;
        let votes: Result<Vec<_>, _> = persons
            .iter()
            .map(|person| person.vote(proposal.ballot()))
            .collect();
        Ok(self
            .authority
            .approve_succession(proposal, &votes?, &mut self.vault, now_ms())?)
    }

    /// Rearms a robot without a TPM with these persons' votes.
    pub(crate) fn rearm_platform(&mut self, robot: &RobotId, persons: &[Person]) -> Result<(), CliError> {
        let (authority, vault) = (&mut self.authority, &mut self.vault);
        let proposal = authority.propose_platform_rearm(robot, vault, now_ms())?;
        let votes = persons.iter().map(|person| person.vote(proposal.ballot()));
        let votes: Vec<_> = votes.collect::<Result<_, _>>()?;
        Ok(authority.approve_platform_rearm(&proposal, &votes, vault, now_ms())?)
    }

    /// Approves the duplication of a robot's key with these persons' votes, once the authority knows what its parent is.
    pub(crate) fn approve_backup(
        &mut self,
        robot: &Robot,
        key: &RecoverableKey,
        destination: &BackupDestination,
        persons: &[Person],
    ) -> Result<BackupApproval, CliError> {
        let subject = BackupSubject {
            robot: robot.robot().clone(),
            level: key.level(),
            label: key.label().to_owned(),
            key: key.public().name(),
        };
        let proposal = self
            .authority
            .propose_backup(subject, destination, &mut self.vault, now_ms())?;
        let votes: Result<Vec<_>, _> = persons
            .iter()
            .map(|person| person.vote(proposal.ballot()))
            .collect();
        Ok(self
            .authority
            .approve_backup(proposal, &votes?, &mut self.vault, now_ms())?)
    }

    /// Starts a mission with these persons' votes.
    pub(crate) fn start_mission(
        &mut self,
        robot: &dyn RobotSide,
        labels: Labels,
        duration_ms: u64,
        plan: &MissionPlan,
        persons: &[Person],
    ) -> Result<ActiveMission, CliError> {
        let session = self.authority.open_mission(&robot.name()?, now_ms())?;
        robot.start_mission(session, labels, duration_ms, &mut |request| {
            self.approve_mission(request, plan, persons)
        })
    }

    fn approve_mission(
        &mut self,
        request: &[u8],
        plan: &MissionPlan,
        persons: &[Person],
    ) -> Result<Vec<u8>, CliError> {
        let (authority, vault) = (&mut self.authority, &mut self.vault);
        let proposal = authority.propose_mission(request, plan, vault, now_ms())?;
        self.vote_on(proposal, persons)
    }

    /// Moves a mission's end with these persons' votes; `duration_ms` counts from its start.
    pub(crate) fn extend_mission(
        &mut self,
        robot: &dyn RobotSide,
        mission: MissionId,
        duration_ms: u64,
        persons: &[Person],
    ) -> Result<ActiveMission, CliError> {
        let session = self.authority.open_extension(&robot.name()?, now_ms())?;
        robot.extend_mission(session, mission, duration_ms, &mut |request| {
            let (authority, vault) = (&mut self.authority, &mut self.vault);
            let proposal = authority.propose_extension(request, vault, now_ms())?;
            self.vote_on(proposal, persons)
        })
    }

    /// Has others command a mission, with these persons' votes.
    pub(crate) fn hand_over_mission(
        &mut self,
        robot: &dyn RobotSide,
        mission: MissionId,
        to: &[(OperatorId, Vec<CommandPattern>)],
        persons: &[Person],
    ) -> Result<ActiveMission, CliError> {
        let session = self.authority.open_hand_over(&robot.name()?, now_ms())?;
        robot.hand_over_mission(session, mission, &mut |request| {
            let (authority, vault) = (&mut self.authority, &mut self.vault);
            let proposal = authority.propose_hand_over(request, to, vault, now_ms())?;
            self.vote_on(proposal, persons)
        })
    }

    fn vote_on(&mut self, proposal: MissionProposal, persons: &[Person]) -> Result<Vec<u8>, CliError> {
        let votes = persons.iter().map(|person| person.vote(proposal.ballot()));
        let votes: Vec<_> = votes.collect::<Result<_, _>>()?;
        let (authority, vault) = (&mut self.authority, &mut self.vault);
        let approval = authority.approve_mission(proposal, &votes, vault, now_ms())?;
        Ok(approval.to_canonical())
    }
}

impl AuthorityLink for LocalAuthority {
    fn enrol(&mut self, request: &[u8]) -> Result<Vec<u8>, LinkError> {
        self.authority
            .begin_enrolment(request, now_ms())
            .map_err(|error| LinkError(Box::new(error)))
    }

    fn respond(&mut self, response: &[u8]) -> Result<Vec<u8>, LinkError> {
        let enrolled = self
            .authority
            .finish_enrolment(response, &mut self.vault, now_ms());
        enrolled
            .map(|(_, message)| message)
            .map_err(|error| LinkError(Box::new(error)))
    }
}

impl IdentityLink for LocalAuthority {
    fn open_certificate(&mut self, robot: &RobotId) -> Result<SessionId, LinkError> {
        answered(self.authority.open_certificate(robot, now_ms()))
    }

    fn certify(&mut self, request: &[u8]) -> Result<Vec<u8>, LinkError> {
        answered(self.authority.issue_certificate(request, now_ms()))
    }

    fn certificate_used(&mut self, used: &[u8]) -> Result<Vec<u8>, LinkError> {
        answered(self.authority.certificate_used(used, now_ms()))
    }

    fn open_restore(&mut self, robot: &RobotId) -> Result<SessionId, LinkError> {
        answered(self.authority.open_restore(robot, now_ms()))
    }

    fn restore(&mut self, request: &[u8]) -> Result<Vec<u8>, LinkError> {
        answered(self.authority.restore(request, &mut self.vault, now_ms()))
    }
}

fn answered<T, E>(answer: Result<T, E>) -> Result<T, LinkError>
where
    E: std::error::Error + Send + Sync + 'static,
{
    answer.map_err(|error| LinkError(Box::new(error)))
}
