//! A robot and the level policy of its fleet's authority.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/missions.rs"]
mod missions;
mod support;

use alcub3_agent::{AgentError, Robot};
use alcub3_command_authority::MissionError;
use alcub3_crypto::{Secret, Suite};
use alcub3_fleet_protocol::level_policy::LevelPolicy;
use alcub3_keys::{KeyPlan, KeysError, StateFolder};
use alcub3_security_hal::GateVerdict;
use alcub3_tpm::OsEntropy;
use alcub3_trust_model::managed_key::KeyPurpose;
use alcub3_trust_model::{Integrity, KeyLabel, Labels, LevelProfile, LevelProfiles, MissionKeyPurpose};
use missions::{alice, command_secret};
use std::sync::Arc;
use support::{LEVEL, Life, NOW_MS};

/// The authority's policy, of a version, with a change of every level.
fn policy(life: &Life, version: u64, change: fn(&mut LevelProfile)) -> Vec<u8> {
    let mut rows = *LevelProfiles::builtin().rows();
    rows.iter_mut().for_each(change);
    let policy = LevelPolicy {
        version,
        issued_at_ms: NOW_MS,
        profiles: LevelProfiles::tightened(rows).unwrap(),
    };
    let key = &life.authority.signing;
    policy.unsigned(key.suite()).sign(key).unwrap()
}

/// No mission longer than ten minutes.
fn ten_minutes(life: &Life, version: u64) -> Vec<u8> {
    policy(life, version, |row| row.max_mission_ms = 600_000)
}

#[test]
fn a_stricter_suite_binds_a_running_mission_new_ones_leases_and_the_robots_own_keys() {
    let mut life = Life::running();
    let mission = life.start_mission(600_000);
    life.take_lease();
    let command = |life: &Life, sequence| {
        let operator = &life.authority.operator;
        let envelope = life.envelope(&mission, sequence).unsigned(operator.suite());
        let envelope = envelope.sign(operator).unwrap();
        match life.robot().validate(&envelope, Some(NOW_MS)).unwrap() {
            GateVerdict::Admitted(_) => None,
            GateVerdict::Refused(refusal) => Some(refusal.reasons()[0].code()),
        }
    };
    assert_eq!(command(&life, 1), None);
    let (recipient, asked) = life.ask_for_shared(&mission, MissionKeyPurpose::CommandMac);
    let shared = command_secret().wrap_for(&recipient, Some(&alice()), &mut OsEntropy);
    let signing = &life.authority.signing;
    let shared = shared.unwrap().unsigned(signing.suite()).sign(signing).unwrap();
    let before = life
        .robot()
        .seal(LEVEL, Secret::from_slice(b"data"), NOW_MS)
        .unwrap();
    let stricter = policy(&life, 1, |row| row.suite_floor = Suite::EcdsaP384Sha384);
    life.robot().keys().take_level_policy(&stricter).unwrap();
    life.open();
    assert_eq!(command(&life, 2), Some("mission-unknown"), "it is not taken up");
    let taken = life
        .robot()
        .take_shared_key(asked, mission.mission, &shared, NOW_MS);
    assert_eq!(taken.unwrap_err().reason_code(), Some("suite-too-weak"));
    let robot = life.robot();
    let below = robot.keys().check_floor(LEVEL).unwrap_err();
    assert!(
        matches!(&below, KeysError::BelowFloor(below) if below.code() == "suite-too-weak"),
        "{below}"
    );
    let sealed = robot
        .seal(LEVEL, Secret::from_slice(b"data"), NOW_MS)
        .unwrap_err();
    assert_eq!(sealed.reason_code(), Some("suite-too-weak"));
    assert!(
        robot.unseal(LEVEL, before, NOW_MS).is_ok(),
        "what there was opens"
    );
    let plan = KeyPlan {
        label: KeyLabel::new("later").unwrap(),
        purpose: KeyPurpose::DataEncryption,
        level: LEVEL,
        activates_in_ms: 0,
    };
    let made = robot.create_key(&plan, NOW_MS).unwrap_err();
    assert_eq!(made.reason_code(), Some("suite-too-weak"));
    let kept = robot.create_recoverable_key(LEVEL, "later", NOW_MS).unwrap_err();
    assert_eq!(kept.reason_code(), Some("suite-too-weak"));
    let refused = robot.take_lease(&life.lease()).unwrap_err();
    assert_eq!(refused.reason_code(), Some("suite-too-weak"));
    let session = life.next_session();
    let labels = Labels::new(LEVEL, Integrity::Operational);
    let (start, request) = life.robot().mission_request(session, labels, 600_000).unwrap();
    let approval = life.authority.approve_mission(&request, session, 600_000);
    let refused = life.robot().start_mission(&start, &approval, NOW_MS).unwrap_err();
    assert_eq!(refused.reason_code(), Some("suite-too-weak"));
    // Its end comes as it was approved.
    let ended = life.robot().end_expired_missions(Some(NOW_MS + 600_001)).unwrap();
    assert_eq!(ended.len(), 1);
}

#[test]
fn a_robot_holds_missions_to_the_authoritys_newest_policy() {
    let mut life = Life::running();
    life.start_mission(660_000);
    let policy = ten_minutes(&life, 2);
    life.robot().keys().take_level_policy(&policy).unwrap();
    life.open();
    life.start_mission(600_000);
    let session = life.next_session();
    let labels = Labels::new(LEVEL, Integrity::Operational);
    let (start, request) = life.robot().mission_request(session, labels, 660_000).unwrap();
    let approval = life.authority.approve_mission(&request, session, 660_000);
    let refused = life.robot().start_mission(&start, &approval, NOW_MS).unwrap_err();
    assert!(
        matches!(
            refused,
            AgentError::Mission(MissionError::TooLong { level: LEVEL, .. })
        ),
        "{refused}"
    );
    // An older or another authority's policy is not taken, and one that was changed on the disk is not started on.
    for older in [1, 2] {
        let older = life.robot().keys().take_level_policy(&ten_minutes(&life, older));
        assert!(matches!(older, Err(KeysError::LevelPolicy(_))));
    }
    let other = Life::provisioned();
    assert!(
        life.robot()
            .keys()
            .take_level_policy(&ten_minutes(&other, 9))
            .is_err()
    );
    life.robot = None;
    let mut changed = policy;
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(life.path().join("level-policy.cose"), changed).unwrap();
    let folder = Arc::new(StateFolder::open(&life.path()).unwrap());
    let opened = Robot::open(life.tpm.clone(), folder, Vec::new());
    assert!(matches!(
        opened.err(),
        Some(AgentError::Keys(KeysError::LevelPolicy(_)))
    ));
}
