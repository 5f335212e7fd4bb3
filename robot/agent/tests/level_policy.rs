//! A robot and the level policy of its fleet's authority.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_agent::{AgentError, Robot};
use alcub3_fleet_protocol::level_policy::LevelPolicy;
use alcub3_keys::{KeysError, StateFolder};
use alcub3_trust_model::{Integrity, Labels, LevelProfiles};
use std::sync::Arc;
use support::{LEVEL, Life, NOW_MS};

/// The authority's policy, of a version, with no mission longer than ten minutes.
fn ten_minutes(life: &Life, version: u64) -> Vec<u8> {
    let mut rows = *LevelProfiles::builtin().rows();
    rows.iter_mut().for_each(|row| row.max_mission_ms = 600_000);
    let policy = LevelPolicy {
        version,
        issued_at_ms: NOW_MS,
        profiles: LevelProfiles::tightened(rows).unwrap(),
    };
    let key = &life.authority.signing;
    policy.unsigned(key.suite()).sign(key).unwrap()
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
            AgentError::Keys(KeysError::BeyondProfile { level: LEVEL, .. })
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
