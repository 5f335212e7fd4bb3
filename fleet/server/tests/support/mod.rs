//! A robot and an approval vault whose keys are in software, and the paper around them: what a TPM and a certificate
//! authority would sign, signed here.
#![allow(dead_code, unreachable_pub)]

pub mod approvals;
pub mod chips;
pub mod devices;
pub mod robot;
pub mod vault;

use std::path::{Path, PathBuf};

use alcub3_attestation::event_log::EventLog;
use alcub3_command_authority::Role;
use alcub3_crypto::SigningKey;
use alcub3_crypto::{Curve, HashAlg};
use alcub3_server::{Authority, AuthorityConfig, Ballot, Operator, OperatorVote, SIMULATOR_ROOTS};
use alcub3_trust_model::{FleetId, Integrity, Labels, Level, OperatorId, RobotId};

use robot::Robot;
use vault::SoftVault;

pub const NOW: u64 = 1_790_000_000_000;
pub const ALG: HashAlg = HashAlg::Sha384;

/// A person with a key.
pub struct Person {
    pub id: OperatorId,
    pub key: SigningKey,
}

impl Person {
    pub fn new(name: &str) -> Self {
        Self {
            id: OperatorId::new(name).unwrap(),
            key: SigningKey::generate(Curve::P384).unwrap(),
        }
    }

    pub fn vote(&self, ballot: &Ballot) -> OperatorVote {
        OperatorVote {
            operator: self.id.clone(),
            signature: self.key.sign(&ballot.message()).unwrap(),
        }
    }

    pub fn as_operator(&self, role: Role) -> Operator {
        let labels = Labels::new(Level::TopSecret, Integrity::MissionCritical);
        Operator {
            id: self.id.clone(),
            key: self.key.verifying_key(),
            role,
            labels,
        }
    }
}

/// An authority of simulators with two approvers, an operator, and a vault that the approvers hold.
pub struct World {
    pub dir: tempfile::TempDir,
    pub authority: Authority,
    pub vault: SoftVault,
    pub alice: Person,
    pub bob: Person,
    pub pilot: Person,
}

pub fn config(dir: &Path) -> AuthorityConfig {
    AuthorityConfig {
        admit_simulators: true,
        ..AuthorityConfig::production(dir.join("seal.key"), FleetId::new("test").unwrap())
    }
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut authority = Authority::create(&state(dir.path()), config(dir.path())).unwrap();
        let (alice, bob, pilot) = (Person::new("alice"), Person::new("bob"), Person::new("pilot"));
        authority
            .register_operator(alice.as_operator(Role::Approver), NOW)
            .unwrap();
        authority
            .register_operator(bob.as_operator(Role::Approver), NOW)
            .unwrap();
        authority
            .register_operator(pilot.as_operator(Role::Operator), NOW)
            .unwrap();
        Self {
            dir,
            authority,
            vault: SoftVault::new(),
            alice,
            bob,
            pilot,
        }
    }

    pub fn state(&self) -> PathBuf {
        state(self.dir.path())
    }

    /// The authority begins again, with what is in its folder.
    #[allow(dead_code, reason = "not every test file restarts it")]
    pub fn restarted(mut self) -> Self {
        let state = self.state();
        drop(self.authority);
        self.authority = Authority::open(&state).unwrap();
        self
    }

    /// Takes the root of a chip's certificate as a simulator's.
    pub fn trust(&self, chip: &Robot) {
        let roots = self
            .state()
            .join(SIMULATOR_ROOTS)
            .join(format!("{}.der", chip.id));
        std::fs::write(roots, &chip.root).unwrap();
    }

    /// Enrols a robot whose certificate is a simulator's.
    pub fn enrol(&mut self, robot: &Robot) {
        self.trust(robot);
        let message = robot.begin();
        let challenge = self.authority.begin_enrolment(&message, NOW).unwrap();
        let response = robot.answer(&message, &challenge, &self.authority.verifying_key());
        self.authority
            .finish_enrolment(&response, &mut self.vault, NOW)
            .unwrap();
        let log = EventLog::parse(&robot.uefi_log).unwrap();
        let references = alcub3_attestation::appraisal::ReferenceValues::golden(&log, robot::BANK).unwrap();
        self.authority.set_reference(&robot.id, &references, NOW).unwrap();
    }

    /// Enrols, and attests once.
    pub fn ready(robot: &mut Robot) -> Self {
        let mut world = Self::new();
        world.enrol(robot);
        let request = world.authority.challenge(&robot.id, NOW).unwrap();
        let appraised = world.authority.appraise(&robot.evidence(&request), NOW).unwrap();
        assert!(
            appraised.verdict.is_trusted(),
            "{:?}",
            appraised.verdict.findings()
        );
        world
    }
}

pub fn state(dir: &Path) -> PathBuf {
    dir.join("state")
}

pub fn rover() -> RobotId {
    RobotId::new("rover-1").unwrap()
}
