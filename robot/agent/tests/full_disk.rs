//! A disk that is full: what cannot be put into the audit log is not done, and what was cut off swallows nothing.
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
#[path = "support/repaired.rs"]
mod repaired;
mod support;

use alcub3_agent::{AuditFile, provision};
use alcub3_audit_log::{EntryKind, Outcome, Piece, pieces};
use alcub3_keys::StateFolder;
use alcub3_security_hal::GateVerdict;
use alcub3_trust_model::{BootId, Integrity, Labels, Level, MissionKeyPurpose, SessionId};
use reach::{MINUTE_MS, mission};
use repaired::{Repaired, new_lidar};
use std::process::Command;
use support::{Life, NOW_MS, request, robot_id};

const FULL_DISK: &str = "ALCUB3_TEST_FULL_DISK";

/// Runs a test of this file in a process of its own, where a file that may not grow is an error and not a signal.
fn with_a_disk_that_fills(test: &str) {
    let in_shell = "trap '' XFSZ; exec \"$0\" \"$@\"";
    let output = Command::new("sh")
        .args(["-c", in_shell])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(FULL_DISK, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{errors}");
    assert!(said.contains("1 passed"), "{said}");
}

/// From now on no file of this process grows beyond so many bytes.
fn limit_files(bytes: &str) {
    let pid = std::process::id().to_string();
    let limit = format!("--fsize={bytes}:");
    let status = Command::new("prlimit")
        .args(["--pid", &pid, &limit])
        .status()
        .unwrap();
    assert!(status.success());
}

/// The log grows by an entry; whether it counts.
fn log(life: &Life) -> bool {
    let audit = life.robot().audit();
    let entry = audit.entry(EntryKind::Command, "a test".into(), NOW_MS, Outcome::Done);
    audit.append(&entry).is_ok()
}

fn log_bytes(life: &Life) -> u64 {
    std::fs::metadata(life.path().join("audit.log")).unwrap().len()
}

#[test]
fn an_audit_entry_that_was_cut_off_swallows_nothing_that_follows() {
    with_a_disk_that_fills("filling::an_entry_is_cut_off");
}

#[test]
fn a_rearm_that_is_not_in_the_audit_log_opens_no_gate_now_or_later() {
    with_a_disk_that_fills("filling::a_rearm_is_not_logged");
}

#[test]
fn bounded_entries_are_taken_again_once_the_disk_takes_any() {
    with_a_disk_that_fills("filling::one_failed_and_the_disk_is_free_again");
}

#[test]
fn nothing_that_lasts_is_done_before_it_is_in_the_audit_log() {
    with_a_disk_that_fills("filling::nothing_is_done_unlogged");
}

#[test]
fn a_chip_that_was_provisioned_is_told_so_though_the_log_is_full() {
    with_a_disk_that_fills("filling::provisioning_is_told");
}

#[test]
fn while_the_log_cannot_be_written_every_command_is_refused_for_that() {
    with_a_disk_that_fills("filling::commands_are_refused");
}

#[test]
fn a_wipe_that_cannot_be_finished_keeps_no_robot_from_its_state() {
    with_a_disk_that_fills("filling::a_wipe_is_not_finished");
}

#[test]
fn a_log_that_takes_nothing_has_commands_refused_and_a_stop_done() {
    with_a_disk_that_fills("filling::a_stop_is_done_unlogged");
}

#[test]
fn what_may_be_behind_is_refused_while_the_disk_refuses_what_was_taken_before() {
    with_a_disk_that_fills("filling::nothing_more_is_taken");
}

fn approved_rearm(life: &mut Life) -> (Vec<u8>, SessionId) {
    let session = life.next_session();
    let levels = [Level::Unclassified, Level::Cui];
    let request = life.robot().rearm_request(session, &levels).unwrap();
    (life.authority.approve_rearm(&request, session), session)
}

/// Makes the log longer than any other file that is written.
fn fill_log(life: &Life) {
    while log_bytes(life) < 32 << 10 {
        assert!(log(life));
    }
}

/// What is run in a process of its own; without the word of the tests above these do nothing.
mod filling {
    use super::*;

    fn is_meant() -> bool {
        std::env::var_os(FULL_DISK).is_some()
    }

    #[test]
    fn an_entry_is_cut_off() {
        if !is_meant() {
            return;
        }
        let mut life = Life::running();
        assert!(log(&life));
        let (whole, head) = (log_bytes(&life), life.robot().audit().head());
        // Near the end of an entry that is longer than the next, and whose rest would read as empty entries.
        limit_files(&(whole + 240).to_string());
        let audit = life.robot().audit();
        let long = audit.entry(EntryKind::Command, "\0".repeat(250), NOW_MS, Outcome::Done);
        audit.append(&long).unwrap_err();
        assert_eq!(audit.head(), head, "it does not count");
        limit_files("unlimited");
        assert!(log(&life));
        let (size, _) = life.robot().audit().head();
        life.open();
        assert_eq!(life.robot().audit().head().0, size + 1, "that it runs again");
    }

    #[test]
    fn a_stop_is_done_unlogged() {
        if !is_meant() {
            return;
        }
        let mut life = Life::running();
        fill_log(&life);
        limit_files(&log_bytes(&life).to_string());
        let refused = life.robot().validate(b"no envelope", Some(NOW_MS)).unwrap();
        let GateVerdict::Refused(refusal) = refused else {
            panic!("no envelope was admitted");
        };
        assert_eq!(refusal.reasons()[0].code(), "log-unwritable");
        let report = life.stop();
        assert!(life.robot().is_stopped());
        let unconfirmed: Vec<&str> = report.unconfirmed().map(|step| step.step.name()).collect();
        assert_eq!(
            unconfirmed,
            ["audited"],
            "the stop is done, and says what is not on record"
        );
        limit_files("unlimited");
        life.open();
        assert!(life.robot().is_stopped());
    }

    #[test]
    fn nothing_more_is_taken() {
        if !is_meant() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let log = AuditFile::open(dir.path(), robot_id(), BootId::new([7; 16])).unwrap();
        let log = log.labelled(Labels::new(Level::Unclassified, Integrity::Operational));
        let record = |subject: &str| {
            log.record(log.entry(EntryKind::Command, subject.to_owned(), NOW_MS, Outcome::Done))
        };
        let wait_until = |what: &str, is_so: &dyn Fn() -> bool| {
            let began = std::time::Instant::now();
            while !is_so() {
                assert!(began.elapsed() < std::time::Duration::from_secs(10), "{what}");
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        };
        limit_files("10");
        record("taken").unwrap();
        wait_until("nobody found that the disk is full", &|| {
            record("refused or behind").is_err()
        });
        let (size, _) = log.head();
        assert_eq!(size, 0);
        limit_files("unlimited");
        wait_until("it is not written again", &|| log.head().0 > 0);
        record("taken again").unwrap();
        drop(log);
        let content = std::fs::read(dir.path().join("audit.log")).unwrap();
        let subjects: Vec<String> = pieces(&content)
            .map(|piece| match piece {
                Piece::Entry { entry, .. } => entry.subject,
                Piece::Damaged(bytes) => panic!("{bytes:?}"),
            })
            .collect();
        assert_eq!(
            subjects.first().map(String::as_str),
            Some("taken"),
            "it was acknowledged"
        );
        assert_eq!(subjects.last().map(String::as_str), Some("taken again"));
    }

    #[test]
    fn a_rearm_is_not_logged() {
        if !is_meant() {
            return;
        }
        let mut life = Life::provisioned();
        fill_log(&life);
        let (approval, session) = approved_rearm(&mut life);
        limit_files(&log_bytes(&life).to_string());
        life.robot().rearm(&approval, session, NOW_MS).unwrap_err();
        assert!(life.robot().is_stopped());
        limit_files("unlimited");
        life.open();
        assert!(life.robot().is_stopped());
        let (approval, session) = approved_rearm(&mut life);
        life.robot().rearm(&approval, session, NOW_MS).unwrap();
        assert!(!life.robot().is_stopped());
    }

    #[test]
    fn provisioning_is_told() {
        if !is_meant() {
            return;
        }
        let mut life = Life::blank();
        let folder = StateFolder::open(&life.path()).unwrap();
        let path = life.path();
        let open_log = || AuditFile::open(&path, robot_id(), BootId::new([7; 16])).unwrap();
        let log = open_log();
        log.append(&log.entry(EntryKind::Provision, "a test".into(), NOW_MS, Outcome::Done))
            .unwrap();
        drop(log);
        // Longer than the key store's file.
        let file = AuditFile::path(&life.path());
        let entry = std::fs::read(&file).unwrap();
        std::fs::write(&file, entry.repeat((8 << 20) / entry.len())).unwrap();
        // The entry that comes before it fits, and the one that comes after it does not.
        limit_files(&(log_bytes(&life) + 200).to_string());
        let request = request(&life.authority);
        provision(&life.tpm, &folder, &request, &mut life.authority).unwrap();
        limit_files("unlimited");
        drop(open_log());
        let content = std::fs::read(&file).unwrap();
        let last = pieces(&content).last().unwrap();
        let Piece::Entry { entry, .. } = last else {
            panic!("{last:?}")
        };
        assert_eq!(
            (entry.kind, entry.outcome),
            (EntryKind::Provision, Outcome::Unconfirmed)
        );
        drop(folder);
        life.open();
    }

    #[test]
    fn commands_are_refused() {
        if !is_meant() {
            return;
        }
        let mut life = Life::running();
        let (record, _) = mission(&mut life);
        life.take_lease();
        let judged = |sequence| {
            let operator = &life.authority.operator;
            let envelope = life.envelope(&record, sequence).unsigned(operator.suite());
            match life
                .robot()
                .validate(&envelope.sign(operator).unwrap(), Some(NOW_MS))
            {
                Ok(GateVerdict::Admitted(_)) => "",
                Ok(GateVerdict::Refused(refusal)) => refusal.reasons()[0].code(),
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(judged(1), "");
        fill_log(&life);
        limit_files(&log_bytes(&life).to_string());
        // Decisions at the mission's level may be half a second behind the disk: by then it is found full.
        let began = std::time::Instant::now();
        let mut sequences = 2..;
        let refused = sequences.find(|sequence| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            match judged(*sequence) {
                "" => false,
                code => code == "log-unwritable" || panic!("{code}"),
            }
        });
        assert!(
            began.elapsed() < std::time::Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
        assert_eq!(judged(sequences.next().unwrap()), "log-unwritable");
        limit_files("unlimited");
        assert_eq!(
            judged(refused.unwrap()),
            "replay-used",
            "it does not become valid by waiting"
        );
        assert!(sequences.take(100).any(|sequence| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            judged(sequence).is_empty()
        }));
    }

    /// What nobody waits for is taken again as soon as the disk takes anything, and not before.
    #[test]
    fn one_failed_and_the_disk_is_free_again() {
        if !is_meant() {
            return;
        }
        let mut life = Life::running();
        let (record, _) = mission(&mut life);
        life.take_lease();
        let judged = |sequence| {
            let operator = &life.authority.operator;
            let envelope = life.envelope(&record, sequence).unsigned(operator.suite());
            let signed = envelope.sign(operator).unwrap();
            match life.robot().validate(&signed, Some(NOW_MS)).unwrap() {
                GateVerdict::Admitted(_) => "",
                GateVerdict::Refused(refusal) => refusal.reasons()[0].code(),
            }
        };
        fill_log(&life);
        limit_files(&log_bytes(&life).to_string());
        // A durable entry alone is what failed: nothing waits that would be tried again.
        assert!(!log(&life));
        assert_eq!(judged(1), "log-unwritable");
        limit_files("unlimited");
        assert_eq!(judged(2), "");
        assert_eq!(judged(3), "");
    }

    #[test]
    fn a_wipe_is_not_finished() {
        if !is_meant() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        drop(StateFolder::open(dir.path()).unwrap());
        let left = dir.path().join("key.wiping");
        std::fs::write(&left, [7; 4096]).unwrap();
        limit_files("1024");
        drop(StateFolder::open(dir.path()).unwrap());
        assert!(!left.exists(), "it goes without being overwritten");
    }

    #[test]
    fn nothing_is_done_unlogged() {
        if !is_meant() {
            return;
        }
        let mut life = Life::running();
        let (record, _) = mission(&mut life);
        fill_log(&life);
        let session = life.next_session();
        let request = life
            .robot()
            .extension_request(session, record.mission, 120 * MINUTE_MS)
            .unwrap();
        let token = life.authority.extended(&request, &record, session);
        let approval = life.authority.approve_token(&token, session);
        limit_files(&log_bytes(&life).to_string());
        let robot = life.robot();
        robot
            .extend_mission(session, record.mission, &approval, NOW_MS)
            .unwrap_err();
        assert_eq!(robot.keys().mission(record.mission).unwrap(), record);
        robot
            .create_mission_keys(record.mission, MissionKeyPurpose::CommandMac, 1, NOW_MS)
            .unwrap_err();
        assert_eq!(robot.keys().mission_keys(record.mission).unwrap(), []);
        limit_files("unlimited");
        robot
            .extend_mission(session, record.mission, &approval, NOW_MS)
            .unwrap();

        let mut repaired = Repaired::new();
        let answer = repaired.approved(&new_lidar("L-2"));
        fill_log(&repaired.life);
        let enrolled = repaired.life.robot().keys().enrolled_hardware().unwrap();
        limit_files(&log_bytes(&repaired.life).to_string());
        repaired.life.take_replacement(&answer).unwrap_err();
        limit_files("unlimited");
        repaired.life.open();
        let keys = repaired.life.robot().keys();
        assert_eq!(keys.enrolled_hardware().unwrap(), enrolled);
        repaired.life.take_replacement(&answer).unwrap();
    }
}
