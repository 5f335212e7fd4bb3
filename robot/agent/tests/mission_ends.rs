//! How missions end: by the chip's clock alone, in wall time, across resets, with an unsafe clock; and how an end moves.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/missions.rs"]
mod missions;
#[path = "support/reach.rs"]
mod reach;
mod support;

use alcub3_agent::{AgentError, MissionEnd, Robot};
use alcub3_command_authority::{CommandEnvelope, MissionToken};
use alcub3_fleet_protocol::mission::MissionApproval;
use alcub3_keys::{KeysError, MissionOver, MissionRecord};
use alcub3_security_hal::{Clock, CommandGateError, GateVerdict};
use alcub3_testkit::{PowerUp, Swtpm};
use alcub3_tpm::{Auth, ResponseCode};
use alcub3_trust_model::{MissionId, MissionKeyPurpose, StopCause, profile};
use missions::audit_names;
use reach::{MINUTE_MS, log_explains_the_pcrs, mission, refused};
use std::sync::Arc;
use std::time::Duration;
use support::{LEVEL, Life, NOW_MS, copy_folder, digest, open_tpm};
use tempfile::TempDir;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// A wall clock that stands still.
struct Frozen;

impl Clock for Frozen {
    fn monotonic_ns(&self) -> u64 {
        0
    }

    fn utc_ms(&self) -> Option<u64> {
        Some(NOW_MS)
    }
}

fn set_clock(life: &Life, clock_ms: u64) {
    let owner = life.owner();
    life.chip(move |chip| chip.clock_set(Auth::Value(&owner), clock_ms))
        .unwrap();
}

fn clock_ms(life: &Life) -> u64 {
    life.chip(|chip| chip.read_clock()).unwrap().clock_ms
}

fn active(life: &Life) -> Vec<MissionId> {
    let records = life.robot().keys().missions().unwrap();
    records.iter().map(|record| record.mission).collect()
}

fn over(ends: &[MissionEnd]) -> Vec<(MissionId, MissionOver)> {
    ends.iter().map(|end| (end.mission, end.over)).collect()
}

#[test]
fn the_chips_clock_alone_ends_a_mission_with_its_armed_sessions() {
    let mut life = Life::running();
    let (record, key) = mission(&mut life);
    let other = life.start_mission(10 * HOUR_MS);
    let further = life
        .robot()
        .create_mission_keys(record.mission, MissionKeyPurpose::CommandMac, 1, NOW_MS)
        .unwrap();
    let mac = life.robot().further_key(record.mission, further[0].key).unwrap();
    let keys = life.robot().keys();
    let armed = (keys.arm(&key).unwrap(), keys.arm(&mac).unwrap());
    let events = life.robot().mission_end_events();
    assert_eq!(life.robot().end_expired_missions(None).unwrap(), []);

    set_clock(&life, record.end_clock_ms);
    // The wall clock does not move: NOW_MS is when the missions began.
    let ended = life.robot().end_expired_missions(Some(NOW_MS)).unwrap();
    assert_eq!(over(&ended), [(record.mission, MissionOver::ChipClock)]);
    assert_eq!(events.recv_timeout(PATIENCE).unwrap(), ended[0]);
    let keys = life.robot().keys();
    refused(
        keys.sign_armed(&key, &armed.0, digest()),
        ResponseCode::PCR_CHANGED,
    );
    refused(
        keys.mac_armed(&mac, &armed.1, b"x".to_vec()),
        ResponseCode::PCR_CHANGED,
    );
    refused(keys.arm(&key), ResponseCode::POLICY);
    assert_eq!(active(&life), [other.mission]);
    assert_eq!(keys.mission_key_count(record.mission).unwrap(), 0);
    assert!(audit_names(&life, "tpm-clock") && log_explains_the_pcrs(&life));
    assert_eq!(
        over(&life.robot().mission_ends().unwrap()),
        [(record.mission, MissionOver::ChipClock)]
    );
    // Told once, and not again.
    assert_eq!(life.robot().end_expired_missions(Some(NOW_MS)).unwrap(), []);
    assert!(events.try_recv().is_err());
}

#[test]
fn a_timer_ends_a_mission_on_the_chips_time_while_the_wall_clock_stands() {
    let mut life = Life::running();
    let events = life.robot().mission_end_events();
    life.robot()
        .watch_mission_ends(Arc::new(Frozen), Robot::LOOK_AGAIN)
        .unwrap();
    let long = life.start_mission(HOUR_MS);
    let short = life.start_mission(1_500);
    let end = events.recv_timeout(PATIENCE).unwrap();
    assert_eq!((end.mission, end.over), (short.mission, MissionOver::ChipClock));
    assert!(clock_ms(&life) >= short.end_clock_ms, "not before its time");
    assert_eq!(active(&life), [long.mission]);
}

#[test]
fn a_timer_notices_that_the_chips_clock_was_set() {
    let mut life = Life::running();
    let events = life.robot().mission_end_events();
    let record = life.start_mission(HOUR_MS);
    life.robot()
        .watch_mission_ends(Arc::new(Frozen), Duration::from_millis(20))
        .unwrap();
    set_clock(&life, record.end_clock_ms);
    let end = events.recv_timeout(PATIENCE).unwrap();
    assert_eq!((end.mission, end.over), (record.mission, MissionOver::ChipClock));
    // A timer that works keeps neither the robot nor its folder.
    life.open();
    assert_eq!(active(&life), []);
}

#[test]
fn a_stop_waits_for_no_timer_and_its_missions_are_told() {
    let mut life = Life::running();
    life.robot()
        .watch_mission_ends(Arc::new(Frozen), Duration::from_millis(1))
        .unwrap();
    let record = life.start_mission(HOUR_MS);
    let events = life.robot().mission_end_events();
    let report = life.stop();
    assert!(report.is_complete(), "{report:?}");
    let end = events.recv_timeout(PATIENCE).unwrap();
    assert_eq!((end.mission, end.over), (record.mission, MissionOver::Stopped));
}

#[test]
fn wall_time_ends_a_mission_whatever_the_chips_clock_says() {
    let mut life = Life::running();
    let (record, key) = mission(&mut life);
    let ends_at = NOW_MS + HOUR_MS;
    assert_eq!(life.robot().end_expired_missions(Some(ends_at - 1)).unwrap(), []);
    let ended = life.robot().end_expired_missions(Some(ends_at)).unwrap();
    assert_eq!(over(&ended), [(record.mission, MissionOver::WallClock)]);
    refused(life.robot().keys().arm(&key), ResponseCode::POLICY);
}

#[test]
fn an_end_that_passed_while_the_robot_was_off_is_noticed_at_its_start() {
    let mut life = Life::running();
    let (record, _) = mission(&mut life);
    life.robot = None;
    set_clock(&life, record.end_clock_ms + 1);
    life.open();
    assert_eq!(
        over(&life.robot().mission_ends().unwrap()),
        [(record.mission, MissionOver::ChipClock)]
    );
    assert!(log_explains_the_pcrs(&life));
    let key = life.load_stolen(&record).unwrap();
    refused(life.robot().keys().arm(&key), ResponseCode::POLICY);
}

/// Resets within what the level allows end nothing; the clock goes on from where it was, and the end counts after them.
#[test]
fn across_a_reset_the_clock_goes_on_and_its_end_counts() {
    let mut life = Life::running();
    let (record, _) = mission(&mut life);
    let before = clock_ms(&life);
    life.reopen_after(|swtpm| {
        swtpm
            .shutdown()
            .and_then(|()| swtpm.power_cycle(PowerUp::Clear))
            .unwrap();
    });
    assert!(clock_ms(&life) >= before);
    let key = life.key(&record);
    life.robot().keys().sign(&key, digest()).unwrap();
    assert_eq!(life.robot().end_expired_missions(Some(NOW_MS)).unwrap(), []);
    set_clock(&life, record.end_clock_ms);
    let ended = life.robot().end_expired_missions(Some(NOW_MS)).unwrap();
    assert_eq!(over(&ended), [(record.mission, MissionOver::ChipClock)]);
}

#[test]
fn an_unsafe_clock_ends_nothing_by_itself_and_the_reset_count_does() {
    let mut life = Life::running();
    let (record, _) = mission(&mut life);
    for cut in 0..profile(LEVEL).allowed_resets {
        life.reopen_after(|swtpm| swtpm.kill_and_respawn(PowerUp::Clear).unwrap());
        let clock = life.chip(|chip| chip.read_clock()).unwrap();
        assert!(!clock.safe, "cut {cut}");
        assert_eq!(life.robot().end_expired_missions(Some(NOW_MS)).unwrap(), []);
        let key = life.key(&record);
        life.robot().keys().sign(&key, digest()).unwrap();
    }
    life.reopen_after(|swtpm| swtpm.kill_and_respawn(PowerUp::Clear).unwrap());
    assert_eq!(
        over(&life.robot().mission_ends().unwrap()),
        [(record.mission, MissionOver::Resets)]
    );
    assert!(audit_names(&life, "tpm-resets"));
}

#[test]
fn a_chip_whose_state_was_put_back_is_found_out_and_its_missions_end() {
    let mut life = Life::running();
    let record = life.start_mission(12 * HOUR_MS);
    life.robot = None;
    life.swtpm.shutdown().unwrap();
    let old = TempDir::new().unwrap();
    copy_folder(life.swtpm.state_dir(), old.path());
    life.reopen_after(|swtpm| swtpm.power_cycle(PowerUp::Clear).unwrap());
    let now = clock_ms(&life);
    set_clock(&life, now + HOUR_MS);
    assert_eq!(life.robot().end_expired_missions(Some(NOW_MS)).unwrap(), []);

    life.robot = None;
    life.swtpm = Swtpm::start_from(old.path()).unwrap();
    (life.tpm, life.counts) = open_tpm(life.swtpm.transport());
    life.open();
    assert_eq!(
        over(&life.robot().mission_ends().unwrap()),
        [(record.mission, MissionOver::ClockWentBack)]
    );
    assert!(active(&life).is_empty() && audit_names(&life, "clock-went-back"));
    // What was seen is what the chip says now: another mission can begin.
    mission(&mut life);
}

#[test]
fn a_clock_that_went_back_while_the_robot_runs_is_refused() {
    let mut life = Life::running();
    let (record, _) = mission(&mut life);
    // As if the chip had been seen an hour further on.
    let seen = alcub3_keys::SeenClock {
        reset_count: life.chip(|chip| chip.read_clock()).unwrap().reset_count,
        clock_ms: clock_ms(&life) + HOUR_MS,
    };
    std::fs::write(life.path().join("clock.cbor"), seen.to_canonical()).unwrap();
    let create = life
        .robot()
        .create_mission_keys(record.mission, MissionKeyPurpose::Signing, 1, NOW_MS);
    assert_eq!(create.unwrap_err().reason_code(), Some("clock-went-back"));
    assert!(audit_names(&life, "clock-went-back"));
    let ended = life.robot().end_expired_missions(Some(NOW_MS)).unwrap();
    assert_eq!(over(&ended), [(record.mission, MissionOver::ClockWentBack)]);
}

/// What is seen of the clock is the only witness that it went back: it is given up when every mission has ended, not before.
#[test]
fn a_clock_that_went_back_is_not_forgotten_before_every_mission_has_ended() {
    let mut life = Life::running();
    let (record, _) = mission(&mut life);
    let seen = alcub3_keys::SeenClock {
        reset_count: life.chip(|chip| chip.read_clock()).unwrap().reset_count,
        clock_ms: clock_ms(&life) + HOUR_MS,
    };
    std::fs::write(life.path().join("clock.cbor"), seen.to_canonical()).unwrap();
    let repair = refuse_writes(&life, "mission-ends.cbor");
    life.robot().end_expired_missions(Some(NOW_MS)).unwrap_err();
    repair();
    let ended = life.robot().end_expired_missions(Some(NOW_MS)).unwrap();
    assert_eq!(over(&ended), [(record.mission, MissionOver::ClockWentBack)]);
    assert!(audit_names(&life, "clock-went-back"));
    mission(&mut life);
}

/// A file that the disk will not write, until it is repaired.
fn refuse_writes(life: &Life, name: &str) -> impl FnOnce() + use<> {
    let file = life.path().join(name);
    let _ = std::fs::remove_file(&file);
    std::fs::create_dir(&file).unwrap();
    std::fs::write(file.join("full"), b"").unwrap();
    move || std::fs::remove_dir_all(&file).unwrap()
}

/// A disk that refuses must cost the chip nothing: its counters wear, and a timer tries again every second.
#[test]
fn an_end_that_the_disk_refuses_is_tried_again_without_writing_the_chip() {
    for name in ["events.cbor", "mission-ends.cbor"] {
        let mut life = Life::running();
        let (first, key) = mission(&mut life);
        let (second, _) = mission(&mut life);
        let values = |life: &Life| {
            [&first, &second].map(|record| {
                let index = Life::anchor(record);
                life.robot().keys().counter(index).unwrap().value
            })
        };
        let before = values(&life);
        let repair = refuse_writes(&life, name);
        set_clock(&life, second.end_clock_ms.max(first.end_clock_ms));
        for _ in 0..3 {
            life.robot().end_expired_missions(Some(NOW_MS)).unwrap_err();
            // One that the disk keeps from its end keeps the others from theirs in nothing.
            assert_eq!(values(&life), before.map(|value| value + 1), "{name}");
        }
        refused(life.robot().keys().arm(&key), ResponseCode::POLICY);
        repair();
        life.robot().end_expired_missions(Some(NOW_MS)).unwrap();
        assert!(active(&life).is_empty() && log_explains_the_pcrs(&life), "{name}");
        assert_eq!(values(&life), before.map(|value| value + 1), "{name}");
    }
}

#[test]
fn a_damaged_list_of_ends_keeps_no_mission_from_its_end() {
    let mut life = Life::running();
    let (record, _) = mission(&mut life);
    std::fs::write(life.path().join("mission-ends.cbor"), b"damaged").unwrap();
    life.robot().mission_ends().unwrap_err();
    life.robot = None;
    set_clock(&life, record.end_clock_ms);
    life.open();
    assert!(active(&life).is_empty());
    assert_eq!(
        over(&life.robot().mission_ends().unwrap()),
        [(record.mission, MissionOver::ChipClock)]
    );
}

/// A name that is listed and leads nowhere: as a record that another thread deletes while this one reads them all.
#[test]
fn a_record_that_goes_while_all_are_read_disturbs_nothing() {
    let mut life = Life::running();
    let (record, _) = mission(&mut life);
    let gone = life.path().join("missions").join("gone.cbor");
    std::os::unix::fs::symlink("nowhere", gone).unwrap();
    assert_eq!(active(&life), [record.mission]);
    let report = life.stop();
    assert!(report.is_complete(), "{report:?}");
    assert!(active(&life).is_empty());
}

#[test]
fn ends_and_stops_at_once_leave_a_log_that_explains_the_pcrs() {
    let mut life = Life::running();
    for _ in 0..4 {
        let (stopped, ended) = (life.start_mission(HOUR_MS), life.start_mission(HOUR_MS));
        let robot = life.robot();
        let scope = robot.mission_scope(stopped.mission).unwrap();
        std::thread::scope(|threads| {
            threads.spawn(|| robot.complete_mission(ended.mission, NOW_MS).unwrap());
            robot.stop(scope, StopCause::ManualTrigger, NOW_MS).unwrap();
        });
        assert!(log_explains_the_pcrs(&life));
    }
}

#[test]
fn an_approval_that_comes_after_the_end_brings_no_mission_back() {
    let mut life = Life::running();
    let (record, key) = mission(&mut life);
    let session = life.next_session();
    let request = life
        .robot()
        .extension_request(session, record.mission, 2 * HOUR_MS)
        .unwrap();
    let token = life.authority.extended(&request, &record, session);
    let approval = life.authority.approve_token(&token, session);
    let end_ms = life.authority.token(&record).not_after_ms;
    let late = life
        .robot()
        .extend_mission(session, record.mission, &approval, end_ms);
    assert_eq!(late.unwrap_err().reason_code(), Some("mission-over"));
    set_clock(&life, record.end_clock_ms);
    let moved = life
        .robot()
        .extend_mission(session, record.mission, &approval, NOW_MS);
    assert_eq!(moved.unwrap_err().reason_code(), Some("mission-over"));
    refused(life.robot().keys().arm(&key), ResponseCode::POLICY);
    assert_eq!(life.robot().keys().mission(record.mission).unwrap(), record);
}

#[test]
fn an_approved_end_is_later_in_the_chip_and_in_the_gate() {
    let mut life = Life::running();
    let (record, _) = mission(&mut life);
    let further = life
        .robot()
        .create_mission_keys(record.mission, MissionKeyPurpose::CommandMac, 1, NOW_MS)
        .unwrap();
    let moved = life.move_end(&record, 2 * HOUR_MS);
    assert_eq!(moved.end_clock_ms, record.end_clock_ms + HOUR_MS);
    set_clock(&life, record.end_clock_ms + MINUTE_MS);
    let past_the_first = NOW_MS + HOUR_MS + MINUTE_MS;
    assert_eq!(
        life.robot().end_expired_missions(Some(past_the_first)).unwrap(),
        []
    );
    let robot = life.robot();
    robot.take_lease(&life.lease_from(past_the_first)).unwrap();
    let command = CommandEnvelope {
        issued_at_ms: past_the_first,
        expires_at_ms: past_the_first + 10_000,
        ..life.envelope(&record, 1)
    };
    let operator = &life.authority.operator;
    let command = command.unsigned(operator.suite()).sign(operator).unwrap();
    let verdict = robot.validate(&command, Some(past_the_first)).unwrap();
    assert!(matches!(verdict, GateVerdict::Admitted(_)), "{verdict:?}");
    let signs = |life: &Life| life.robot().mission_sign(record.mission, None, digest(), NOW_MS);
    signs(&life).unwrap();
    life.robot()
        .mission_mac(record.mission, further[0].key, b"x", NOW_MS)
        .unwrap();
    life.open();
    signs(&life).unwrap();
    assert!(audit_names(&life, "end-moved"));
    set_clock(&life, moved.end_clock_ms);
    let ended = life.robot().end_expired_missions(Some(past_the_first)).unwrap();
    assert_eq!(over(&ended), [(record.mission, MissionOver::ChipClock)]);
}

/// A stop removes the record after the later end was judged and before it is written.
#[test]
fn an_end_that_is_moved_while_a_stop_deletes_the_mission_leaves_no_record() {
    let mut life = Life::running();
    let (record, _) = mission(&mut life);
    life.robot()
        .create_mission_keys(record.mission, MissionKeyPurpose::CommandMac, 1, NOW_MS)
        .unwrap();
    let session = life.next_session();
    let request = life
        .robot()
        .extension_request(session, record.mission, 2 * HOUR_MS)
        .unwrap();
    let token = life.authority.extended(&request, &record, session);
    let approval = life.authority.approve_token(&token, session);
    let file = std::fs::read_dir(life.path().join("missions"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.is_file())
        .unwrap();
    let content = std::fs::read(&file).unwrap();
    let scope = life.robot().mission_scope(record.mission).unwrap();
    life.robot()
        .stop(scope, StopCause::ManualTrigger, NOW_MS)
        .unwrap();
    assert!(!file.exists());
    std::fs::write(&file, content).unwrap();
    let moved = life
        .robot()
        .extend_mission(session, record.mission, &approval, NOW_MS);
    assert!(matches!(moved, Err(AgentError::Gate(CommandGateError::Stopped))));
    assert!(!file.exists());
    assert_eq!(life.robot().keys().mission_ids().unwrap(), []);
}

/// A robot that lost its rearm record is stopped at its next start, and no stop ended its missions.
#[test]
fn an_end_that_is_to_be_moved_while_the_robot_is_not_armed_ends_nothing() {
    let mut life = Life::running();
    let (record, _) = mission(&mut life);
    let session = life.next_session();
    let request = life
        .robot()
        .extension_request(session, record.mission, 2 * HOUR_MS)
        .unwrap();
    let token = life.authority.extended(&request, &record, session);
    let approval = life.authority.approve_token(&token, session);
    life.robot = None;
    std::fs::remove_file(life.path().join("rearm.cbor")).unwrap();
    life.open();
    assert!(life.robot().is_stopped());
    let moved = life
        .robot()
        .extend_mission(session, record.mission, &approval, NOW_MS);
    assert!(matches!(moved, Err(AgentError::Gate(CommandGateError::Stopped))));
    assert_eq!(life.robot().keys().mission(record.mission).unwrap(), record);
}

/// What a forged or mistaken approval would change, and the reason with which the robot refuses it.
#[test]
fn nothing_but_an_approved_end_within_the_level_moves() {
    let mut life = Life::running();
    let (record, _) = mission(&mut life);
    let most_ms = profile(LEVEL).max_mission_ms;
    type Change = fn(&mut MissionToken, u64);
    let later = |token: &mut MissionToken, by_ms: u64| {
        token.not_after_ms += by_ms;
        token.end_clock_ms += by_ms;
    };
    let changes: [(&str, Change); 5] = [
        ("mission-too-long", |token, most_ms| {
            token.not_after_ms = token.not_before_ms + most_ms + 1;
            token.end_clock_ms += most_ms + 1;
        }),
        ("end-not-moved", |token, most_ms| token.end_clock_ms += most_ms),
        ("end-not-moved", |_, _| ()),
        ("end-not-moved", |token, _| token.limits.max_speed_mm_per_s += 1),
        ("end-not-moved", |token, _| {
            token.not_before_ms += 1_000;
            token.not_after_ms += 2_000;
            token.end_clock_ms += 1_000;
        }),
    ];
    for (code, change) in changes {
        let session = life.next_session();
        let mut token = life.authority.token(&record);
        change(&mut token, most_ms);
        let approval = life.authority.approve_token(&token, session);
        let moved = life
            .robot()
            .extend_mission(session, record.mission, &approval, NOW_MS);
        assert_eq!(moved.unwrap_err().reason_code(), Some(code));
        assert!(audit_names(&life, code));
    }
    // The authority's word without the persons' approval of that very end.
    let session = life.next_session();
    let mut token = life.authority.token(&record);
    later(&mut token, HOUR_MS);
    let approval = life.authority.approve_token(&token, session);
    let mut alone = MissionApproval::from_canonical(&approval).unwrap();
    alone.end_approval = record.end_approval.clone();
    let moved = life
        .robot()
        .extend_mission(session, record.mission, &alone.to_canonical(), NOW_MS);
    assert!(matches!(moved, Err(AgentError::OtherApproval { .. })));
    // And in another exchange than it was given for.
    let other = life.next_session();
    let moved = life
        .robot()
        .extend_mission(other, record.mission, &approval, NOW_MS);
    assert!(matches!(moved, Err(AgentError::OtherApproval { .. })));
    assert_eq!(life.robot().keys().mission(record.mission).unwrap(), record);
}

#[test]
fn a_mission_longer_than_its_level_allows_is_refused_and_on_record() {
    let mut life = Life::running();
    let session = life.next_session();
    let labels = alcub3_trust_model::Labels::new(LEVEL, alcub3_trust_model::Integrity::Operational);
    let too_long = profile(LEVEL).max_mission_ms + 1;
    let (start, request) = life.robot().mission_request(session, labels, too_long).unwrap();
    let approval = life.authority.approve_mission(&request, session, too_long);
    let refused = life.robot().start_mission(&start, &approval, NOW_MS).unwrap_err();
    assert_eq!(refused.reason_code(), Some("mission-too-long"));
    assert!(audit_names(&life, "mission-too-long") && active(&life).is_empty());
}

#[test]
fn a_completed_mission_is_told_and_no_longer_known() {
    let mut life = Life::running();
    let events = life.robot().mission_end_events();
    let record: MissionRecord = life.start_mission(HOUR_MS);
    life.robot().complete_mission(record.mission, NOW_MS).unwrap();
    let end = events.recv_timeout(PATIENCE).unwrap();
    assert_eq!((end.mission, end.over), (record.mission, MissionOver::Ended));
    let again = life.robot().complete_mission(record.mission, NOW_MS);
    assert!(matches!(
        again,
        Err(AgentError::Keys(KeysError::NoSuchMission { .. }))
    ));
}
