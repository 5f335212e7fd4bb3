//! A stop is latched: nobody gets the robot going with an old disk, a missing record or another kind of start.
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

use alcub3_agent::AgentError;
use alcub3_keys::KeysError;
use alcub3_testkit::PowerUp;
use alcub3_tpm::{Auth, ResponseCode};
use alcub3_trust_model::{Level, SessionId};
use reach::{Power, mission, refused};
use support::{LEVEL, Life, NOW_MS, copy_folder, digest};

#[test]
fn the_owner_authorisation_and_a_copy_of_the_disk_revive_nothing() {
    let mut life = Life::running();
    let (record, _) = mission(&mut life);
    let copy = tempfile::TempDir::new().unwrap();
    copy_folder(&life.path(), copy.path());
    assert!(life.stop().is_complete());
    life.robot = None;
    std::fs::remove_dir_all(life.path()).unwrap();
    std::fs::create_dir(life.path()).unwrap();
    copy_folder(copy.path(), &life.path());
    // The owner can move the clock and redefine indices, and neither goes back.
    let owner = life.owner();
    let back = life.chip(move |chip| {
        let clock = chip.read_clock()?.clock_ms;
        chip.clock_set(Auth::Value(&owner), clock.saturating_sub(1_000).max(1))
    });
    assert!(back.unwrap_err().is_refusal(ResponseCode::VALUE));
    life.open();
    assert!(life.robot().is_stopped() && life.robot().is_level_stopped(LEVEL));
    refused(life.load_stolen(&record), ResponseCode::POLICY);
    // Nor after the lockdown PCR is back at its baseline.
    life.reopen_after(|swtpm| swtpm.power_cycle(PowerUp::Clear).unwrap());
    assert!(life.robot().is_stopped());
    refused(life.load_stolen(&record), ResponseCode::POLICY);
}

#[test]
fn a_deleted_rearm_record_leaves_the_robot_stopped() {
    let mut life = Life::running();
    let (record, _) = mission(&mut life);
    life.open();
    assert!(
        !life.robot().is_stopped(),
        "a restart of the process changes nothing"
    );
    life.robot = None;
    std::fs::remove_file(life.path().join("rearm.cbor")).unwrap();
    life.open();
    assert!(life.robot().is_stopped() && life.robot().is_level_stopped(LEVEL));
    assert!(matches!(
        life.robot().keys().load_mission_key(record.mission),
        Err(KeysError::Stopped)
    ));
}

#[test]
fn a_stop_stays_in_force_over_restart_resume_and_reset() {
    for power in Power::ALL {
        let mut life = Life::running();
        assert!(life.stop().is_complete());
        life.reopen_after(|swtpm| power.cycle(swtpm));
        assert!(life.robot().is_stopped(), "{power:?}");
        assert!(life.robot().recovered_stops().is_empty(), "{power:?}");
        life.rearm();
        mission(&mut life);
    }
}

#[test]
fn missions_of_an_old_disk_do_not_come_back_with_the_next_rearm() {
    let mut life = Life::running();
    let (record, _) = mission(&mut life);
    let copy = tempfile::TempDir::new().unwrap();
    copy_folder(&life.path(), copy.path());
    assert!(life.stop().is_complete());
    life.robot = None;
    std::fs::remove_dir_all(life.path()).unwrap();
    std::fs::create_dir(life.path()).unwrap();
    copy_folder(copy.path(), &life.path());
    life.open();
    assert!(life.robot().keys().missions().unwrap().is_empty());
    // Two persons arm the robot, not the missions that the stop ended.
    life.rearm();
    life.open();
    assert!(!life.robot().is_stopped());
    let key = life.load_stolen(&record).unwrap();
    refused(life.robot().keys().sign(&key, digest()), ResponseCode::VALUE);
    assert!(life.robot().keys().missions().unwrap().is_empty());
}

/// What the authority approves for the robot as it is now.
fn rearm_approval(life: &mut Life) -> (SessionId, Vec<u8>) {
    let session = life.next_session();
    let levels = [Level::Unclassified, Level::Cui];
    let request = life.robot().rearm_request(session, &levels).unwrap();
    (session, life.authority.approve_rearm(&request, session))
}

#[test]
fn a_rearm_from_before_a_stop_opens_nothing_after_it() {
    let mut life = Life::running();
    let (session, approval) = rearm_approval(&mut life);
    assert!(life.stop().is_complete());
    let refused = life.robot().rearm(&approval, session, NOW_MS).unwrap_err();
    assert!(matches!(refused, AgentError::Rearm(_)), "{refused}");
    let log = std::fs::read(life.path().join("audit.log")).unwrap();
    let code = b"rearm-refused";
    assert!(log.windows(code.len()).any(|window| window == code));
    assert!(life.robot().is_stopped());
    life.open();
    assert!(life.robot().is_stopped());
}

#[test]
fn a_rearm_that_was_told_to_have_failed_arms_at_no_later_start() {
    for was_armed in [false, true] {
        let mut life = if was_armed {
            Life::running()
        } else {
            Life::provisioned()
        };
        if was_armed {
            assert!(life.stop().is_complete());
        }
        let (session, approval) = rearm_approval(&mut life);
        life.swtpm.control().kill().unwrap();
        let failed = life.robot().rearm(&approval, session, NOW_MS).unwrap_err();
        assert_eq!(failed.reason_code(), None, "nothing was judged: {failed}");
        life.swtpm.kill_and_respawn(PowerUp::Clear).unwrap();
        life.open();
        assert!(life.robot().is_stopped());
        // The same approval counts while the epochs are what they were, and the start after it says that it does.
        life.robot().rearm(&approval, session, NOW_MS).unwrap();
        let (size, _) = life.robot().audit().head();
        life.open();
        assert!(!life.robot().is_stopped());
        assert_eq!(life.robot().audit().head().0, size + 1);
    }
}

#[test]
fn no_rearm_opens_what_a_stop_could_not_confirm() {
    let mut life = Life::running();
    let (record, _) = mission(&mut life);
    life.swtpm.control().kill().unwrap();
    let report = life.stop();
    assert!(!report.is_complete() && life.robot().is_stopped());
    // The chip is back, and its epochs do not know of the stop: they prove nothing.
    life.swtpm.kill_and_respawn(PowerUp::Clear).unwrap();
    let (session, approval) = rearm_approval(&mut life);
    let refused = life.robot().rearm(&approval, session, NOW_MS).unwrap_err();
    assert!(matches!(refused, AgentError::Rearm(_)), "{refused}");
    assert!(life.robot().is_stopped());
    // The next stop, or the next start, completes it.
    assert!(life.stop().is_complete());
    life.rearm();
    let key = life.load_stolen(&record).unwrap();
    assert!(life.robot().keys().sign(&key, digest()).is_err());
}
