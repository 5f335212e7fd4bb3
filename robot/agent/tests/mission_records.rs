//! What the disk says of missions: under tags of a key that only the chip derives. What was edited, swapped or put back is
//! refused with its reason, ends in the chip and is on record, and the other missions go on.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/keys.rs"]
mod keys;
#[path = "support/missions.rs"]
mod missions;
#[path = "support/reach.rs"]
mod reach;
mod support;

use alcub3_agent::AgentError;
use alcub3_keys::{KeyRefusal, KeysError, MissionOver, MissionRecord, RecordFault};
use alcub3_tpm::{CommandCode, ResponseCode};
use alcub3_trust_model::managed_key::KeyPurpose;
use alcub3_trust_model::nv_map::MISSION_ANCHOR_COUNT;
use alcub3_trust_model::{MissionId, MissionKeyId, MissionKeyPurpose};
use keys::{plan, store_reason};
use missions::audit_names;
use reach::{MINUTE_MS, in_the_gate, log_explains_the_pcrs, refusal, refused};
use std::path::{Path, PathBuf};
use support::{Life, NOW_MS, copy_folder, digest};
use tempfile::TempDir;

const INCREMENT: CommandCode = CommandCode(0x134);
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// A robot with two missions: one that something happens to, and one that must go on.
struct Scene {
    life: Life,
    victim: MissionRecord,
    other: MissionRecord,
}

impl Scene {
    fn new() -> Self {
        let mut life = Life::running();
        let (victim, other) = (life.start_mission(HOUR_MS), life.start_mission(HOUR_MS));
        Self { life, victim, other }
    }

    /// As [`Self::new`], with a key of each purpose for the victim.
    fn with_keys() -> Self {
        let scene = Self::new();
        for purpose in MissionKeyPurpose::ALL {
            scene.make(purpose).unwrap();
        }
        scene
    }

    /// Signs with a key of the victim that is not loaded yet.
    fn sign(&self, key: MissionKeyId) -> Result<(), AgentError> {
        let (robot, mission) = (self.life.robot(), self.victim.mission);
        robot
            .mission_sign(mission, Some(key), digest(), NOW_MS)
            .map(|_| ())
    }

    /// The first of the victim's further keys, which signs.
    fn signing_key(&self) -> MissionKeyId {
        let keys = self
            .life
            .robot()
            .keys()
            .mission_keys(self.victim.mission)
            .unwrap();
        keys[0].key
    }

    fn make(&self, purpose: MissionKeyPurpose) -> Result<(), AgentError> {
        let mission = self.victim.mission;
        let made = self.life.robot().create_mission_keys(mission, purpose, 1, NOW_MS);
        made.map(|_| ())
    }

    fn file(&self) -> PathBuf {
        self.life.mission_file(self.victim.mission)
    }

    fn key_files(&self) -> [PathBuf; 2] {
        let folder = self.life.path().join("mission-keys");
        ["keys", "count"].map(|kind| folder.join(format!("{}.{kind}", self.victim.mission)))
    }

    /// The robot's process is not running while somebody works on its disk.
    fn open_after(&mut self, change: impl FnOnce(&Self)) {
        self.life.close();
        change(self);
        self.life.open();
    }

    fn active(&self) -> Vec<MissionId> {
        let missions = self.life.robot().keys().missions().unwrap();
        missions.iter().map(|record| record.mission).collect()
    }

    /// The victim has ended for this reason, in the chip too, and nothing else has.
    fn victim_is_refused(&self, fault: RecordFault) {
        let robot = self.life.robot();
        assert_eq!(self.active(), [self.other.mission], "{fault:?}");
        assert!(!self.file().exists());
        assert!(self.key_files().iter().all(|file| !file.exists()));
        assert!(audit_names(&self.life, fault.code()), "{fault:?}");
        let ended = robot.mission_ends().unwrap().pop().unwrap();
        let over = MissionOver::Record(fault);
        assert_eq!((ended.mission, ended.over), (self.victim.mission, over));
        self.dead_in_chip();
        let alive = self.life.key(&self.other);
        robot.keys().sign(&alive, digest()).unwrap();
        assert!(log_explains_the_pcrs(&self.life));
    }

    /// The chip refuses the victim's key to a program that never asks this robot's.
    fn dead_in_chip(&self) {
        let keys = self.life.robot().keys();
        let stolen = keys.load_first_key_of(&self.victim).unwrap();
        let error = keys.sign(&stolen, digest()).unwrap_err();
        assert!(refusal(&error).is_some(), "{error}");
    }
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

fn fault<T: std::fmt::Debug>(result: Result<T, AgentError>) -> RecordFault {
    match result {
        Err(AgentError::Keys(KeysError::Refused {
            source: KeyRefusal::MissionRecord { fault, .. },
        })) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_edited_damaged_or_swapped_record_ends_its_mission_alone_at_the_start() {
    type Edit = fn(&Scene);
    let edits: [Edit; 6] = [
        // The anchor's value before the tag, the tag, the record.
        |scene| flip(&scene.file(), 7),
        |scene| flip(&scene.file(), 20),
        |scene| flip(&scene.file(), 200),
        |scene| std::fs::write(scene.file(), b"").unwrap(),
        // As it was before there were tags.
        |scene| std::fs::write(scene.file(), scene.victim.to_canonical()).unwrap(),
        |scene| {
            let other = scene.life.mission_file(scene.other.mission);
            std::fs::copy(other, scene.file()).map(|_| ()).unwrap();
        },
    ];
    for edit in edits {
        let mut scene = Scene::with_keys();
        scene.open_after(edit);
        let ends = scene.life.robot().mission_ends().unwrap();
        if ends.is_empty() {
            // Nobody knows the level of what is not readable.
            assert_eq!(scene.active(), [scene.other.mission]);
            scene.dead_in_chip();
            assert!(audit_names(&scene.life, RecordFault::Edited.code()));
        } else {
            scene.victim_is_refused(RecordFault::Edited);
        }
        // It stays so, without the chip being written again.
        let before = scene.life.counts.of(INCREMENT);
        scene.life.robot().end_expired_missions(None).unwrap();
        assert_eq!(scene.life.counts.of(INCREMENT), before);
        scene.life.start_mission(HOUR_MS);
    }
}

#[test]
fn a_record_that_is_edited_while_the_robot_runs_is_refused_at_its_next_use_and_by_the_sweep() {
    let scene = Scene::with_keys();
    flip(&scene.file(), 200);
    let refused = scene.make(MissionKeyPurpose::Signing);
    assert_eq!(fault(refused), RecordFault::Edited);
    scene.victim_is_refused(RecordFault::Edited);

    let scene = Scene::with_keys();
    flip(&scene.file(), 200);
    let ended = scene.life.robot().end_expired_missions(Some(NOW_MS)).unwrap();
    assert_eq!(ended[0].over, MissionOver::Record(RecordFault::Edited));
    scene.victim_is_refused(RecordFault::Edited);

    let scene = Scene::with_keys();
    flip(&scene.file(), 200);
    let completed = scene.life.robot().complete_mission(scene.victim.mission, NOW_MS);
    assert_eq!(fault(completed), RecordFault::Edited);
    scene.victim_is_refused(RecordFault::Edited);
}

#[test]
fn a_refused_mission_is_out_of_the_gate_and_takes_its_armed_sessions_along() {
    let scene = Scene::with_keys();
    let keys = scene.life.robot().keys();
    let key = scene.life.key(&scene.victim);
    let armed = keys.arm(&key).unwrap();
    assert_eq!(in_the_gate(&scene.life).len(), 2);
    flip(&scene.file(), 200);
    scene.life.robot().end_expired_missions(Some(NOW_MS)).unwrap();
    assert_eq!(in_the_gate(&scene.life), [scene.other.mission]);
    refused(keys.sign_armed(&key, &armed, digest()), ResponseCode::PCR_CHANGED);
    assert!(scene.life.robot().mission_key(scene.victim.mission).is_err());
}

#[test]
fn a_refused_record_keeps_no_stop_from_being_complete() {
    let scene = Scene::with_keys();
    flip(&scene.file(), 200);
    let report = scene.life.stop();
    assert!(report.is_complete(), "{report:?}");
    assert!(!scene.file().exists());
    assert!(scene.active().is_empty());
    assert!(log_explains_the_pcrs(&scene.life));
}

#[test]
fn an_older_record_is_found_out_within_a_run_and_by_its_anchor_after_it() {
    let mut scene = Scene::with_keys();
    let older = std::fs::read(scene.file()).unwrap();
    let victim = scene.victim.clone();
    scene.life.move_end(&victim, 2 * HOUR_MS);
    std::fs::write(scene.file(), &older).unwrap();
    let refused = scene.make(MissionKeyPurpose::Signing);
    assert_eq!(fault(refused), RecordFault::RolledBack);
    scene.victim_is_refused(RecordFault::RolledBack);

    // Its anchor has had other missions since.
    for _ in 0..2 * MISSION_ANCHOR_COUNT {
        let next = scene.life.start_mission(HOUR_MS);
        scene.life.robot().complete_mission(next.mission, NOW_MS).unwrap();
    }
    scene.open_after(|scene| std::fs::write(scene.file(), &older).unwrap());
    scene.victim_is_refused(RecordFault::RolledBack);
}

#[test]
fn edited_and_older_files_of_keys_end_their_mission_alone() {
    type Edit = fn(&Scene);
    let edits: [Edit; 5] = [
        |scene| flip(&scene.key_files()[0], 100),
        |scene| flip(&scene.key_files()[0], 2),
        |scene| flip(&scene.key_files()[1], 7),
        |scene| std::fs::write(&scene.key_files()[0], b"").unwrap(),
        |scene| std::fs::remove_file(&scene.key_files()[1]).unwrap(),
    ];
    for edit in edits {
        let mut scene = Scene::with_keys();
        scene.open_after(edit);
        scene.victim_is_refused(RecordFault::KeysEdited);

        let scene = Scene::with_keys();
        let key = scene.signing_key();
        edit(&scene);
        assert_eq!(fault(scene.sign(key)), RecordFault::KeysEdited);
        scene.victim_is_refused(RecordFault::KeysEdited);
    }
    let scene = Scene::with_keys();
    let older = scene.key_files().map(|file| std::fs::read(file).unwrap());
    scene.make(MissionKeyPurpose::Signing).unwrap();
    for (file, bytes) in scene.key_files().iter().zip(older) {
        std::fs::write(file, bytes).unwrap();
    }
    let refused = scene.make(MissionKeyPurpose::Signing);
    assert_eq!(fault(refused), RecordFault::KeysRolledBack);
    scene.victim_is_refused(RecordFault::KeysRolledBack);
}

#[test]
fn without_the_store_that_vouches_for_them_no_mission_is_believed() {
    let mut scene = Scene::with_keys();
    scene.open_after(|scene| std::fs::remove_file(scene.life.path().join("keys.redb")).unwrap());
    assert!(scene.active().is_empty());
    assert!(audit_names(&scene.life, RecordFault::StoreRefused.code()));
    scene.dead_in_chip();
    // The way out, and missions start again.
    scene.life.robot().start_keys_over(NOW_MS).unwrap();
    scene.life.start_mission(HOUR_MS);
    assert!(scene.life.stop().is_complete());
}

#[test]
fn missions_outlive_a_store_that_was_rolled_back_and_one_that_is_started_over() {
    let mut scene = Scene::with_keys();
    let (disk, store) = (TempDir::new().unwrap(), scene.life.path().join("keys.redb"));
    scene.open_after(|scene| copy_folder(&scene.life.path(), disk.path()));
    let robot = scene.life.robot();
    robot
        .create_key(&plan(KeyPurpose::DataEncryption), NOW_MS)
        .unwrap();
    scene.open_after(|_| {
        std::fs::copy(disk.path().join("keys.redb"), &store).unwrap();
    });
    let refused = scene.life.robot().keys().managed_keys();
    assert_eq!(store_reason(refused), "store-rolled-back");
    assert_eq!(scene.active().len(), 2);
    scene.life.robot().start_keys_over(NOW_MS).unwrap();
    for _ in 0..2 {
        assert_eq!(scene.active().len(), 2);
        scene.make(MissionKeyPurpose::Signing).unwrap();
        scene.life.open();
    }
    let kept = scene
        .life
        .robot()
        .keys()
        .mission_keys(scene.victim.mission)
        .unwrap();
    assert_eq!(kept.len(), 5);
    assert!(scene.life.robot().keys().managed_keys().unwrap().is_empty());
    // A store of before vouches for nothing that came after it.
    scene.open_after(|_| {
        std::fs::copy(disk.path().join("keys.redb"), store).unwrap();
    });
    assert!(scene.active().is_empty());
    scene.dead_in_chip();
}
