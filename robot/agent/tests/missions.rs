//! Missions asked for, granted and ended in orders that are not the usual one.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/reach.rs"]
mod reach;
mod support;

use alcub3_agent::{AgentError, MissionStart};
use alcub3_keys::KeysError;
use alcub3_trust_model::nv_map::MISSION_ANCHOR_COUNT;
use alcub3_trust_model::{Integrity, Labels};
use reach::{MINUTE_MS, in_the_gate};
use std::sync::atomic::{AtomicBool, Ordering};
use support::{LEVEL, Life, NOW_MS, digest};

/// A mission asked for and approved, and not started yet.
fn approved(life: &mut Life) -> (MissionStart, Vec<u8>) {
    let session = life.next_session();
    let labels = Labels::new(LEVEL, Integrity::Operational);
    let (start, request) = life.robot().mission_request(session, labels, MINUTE_MS).unwrap();
    let approval = life.authority.approve_mission(&request, session, MINUTE_MS);
    (start, approval)
}

#[test]
fn missions_asked_for_at_once_all_work() {
    let mut life = Life::running();
    let both = [approved(&mut life), approved(&mut life)];
    for (start, approval) in both {
        let record = life.robot().start_mission(&start, &approval, NOW_MS).unwrap();
        let key = life.key(&record);
        life.robot().keys().sign(&key, digest()).unwrap();
    }
}

#[test]
fn an_approval_from_before_a_stop_starts_nothing_after_it() {
    let mut life = Life::running();
    let (start, approval) = approved(&mut life);
    assert!(life.stop().is_complete());
    life.rearm();
    let refused = life.robot().start_mission(&start, &approval, NOW_MS).unwrap_err();
    assert!(
        matches!(refused, AgentError::Keys(KeysError::Grant { .. })),
        "{refused}"
    );
    assert!(life.robot().keys().missions().unwrap().is_empty());
}

#[test]
fn there_are_as_many_missions_as_anchors_and_an_ended_one_makes_room() {
    let mut life = Life::running();
    let missions: Vec<_> = (0..MISSION_ANCHOR_COUNT)
        .map(|_| life.start_mission(MINUTE_MS))
        .collect();
    let session = life.next_session();
    let labels = Labels::new(LEVEL, Integrity::Operational);
    let refused = life
        .robot()
        .mission_request(session, labels, MINUTE_MS)
        .unwrap_err();
    assert!(
        matches!(refused, AgentError::Keys(KeysError::NoFreeAnchor { .. })),
        "{refused}"
    );
    life.robot()
        .complete_mission(missions[3].mission, NOW_MS)
        .unwrap();
    let record = life.start_mission(MINUTE_MS);
    assert_eq!(record.anchor, missions[3].anchor);
    assert!(record.anchor_value > missions[3].anchor_value);
}

#[test]
fn a_mission_whose_end_passes_while_it_starts_is_in_no_gate() {
    let mut life = Life::running();
    for _ in 0..20 {
        let (start, approval) = approved(&mut life);
        let (robot, started) = (life.robot(), AtomicBool::new(false));
        std::thread::scope(|threads| {
            // Its end in wall time has passed by now, whenever the start gets to it.
            threads.spawn(|| {
                while !started.load(Ordering::Relaxed) {
                    robot.end_expired_missions(Some(NOW_MS + 2 * MINUTE_MS)).unwrap();
                }
            });
            robot.start_mission(&start, &approval, NOW_MS).unwrap();
            started.store(true, Ordering::Relaxed);
        });
        robot.end_expired_missions(Some(NOW_MS + 2 * MINUTE_MS)).unwrap();
        assert!(robot.keys().missions().unwrap().is_empty());
        assert_eq!(in_the_gate(&life), []);
    }
}

#[test]
fn an_approval_is_good_for_one_start() {
    let mut life = Life::running();
    let (start, approval) = approved(&mut life);
    let record = life.robot().start_mission(&start, &approval, NOW_MS).unwrap();
    life.robot().complete_mission(record.mission, NOW_MS).unwrap();
    assert!(life.robot().start_mission(&start, &approval, NOW_MS).is_err());
    assert!(life.robot().keys().missions().unwrap().is_empty());
}
