//! The key store against whoever has the disk: an old one, an edited one, none at all; and how often it writes to NV.
//!
//! `ALCUB3_STORE_STRIDE` sets how many of the file's bytes in use are passed over from one edit to the next; 1 edits each.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/keys.rs"]
mod keys;
#[path = "support/reach.rs"]
mod reach;
mod support;

use alcub3_keys::KeysError;
use alcub3_tpm::{CommandCode, ResponseCode};
use alcub3_trust_model::managed_key::{KeyPurpose, KeyRecord, KeyState, Transition};
use alcub3_trust_model::nv_map::NvIndex;
use keys::{arm_past_the_store, now_ms, reason, store_reason};
use redb::ReadableTable;
use std::collections::BTreeMap;
use std::path::PathBuf;
use support::{Life, NOW_MS, copy_folder, digest};
use tempfile::TempDir;

fn file(life: &Life) -> PathBuf {
    life.path().join("keys.redb")
}

/// A copy of the disk as it is, with the store closed.
fn old_disk(life: &mut Life) -> TempDir {
    life.close();
    let copy = TempDir::new().unwrap();
    copy_folder(&life.path(), copy.path());
    life.open();
    copy
}

fn put_back(life: &mut Life, disk: &TempDir) {
    life.close();
    copy_folder(disk.path(), &life.path());
    life.open();
}

fn signs(life: &Life, key: &KeyRecord) -> bool {
    life.robot().sign_with_key(key.id, digest(), now_ms()).is_ok()
}

/// How often the audit log has an entry about this operation and subject.
fn audited(life: &Life, what: &str) -> usize {
    let log = std::fs::read(life.path().join("audit.log")).unwrap();
    log.windows(what.len())
        .filter(|window| *window == what.as_bytes())
        .count()
}

#[test]
fn a_look_that_a_refused_store_denies_is_on_record_and_one_that_it_grants_is_not() {
    let mut life = Life::running();
    let key = life.create(KeyPurpose::Identity).id;
    let disk = old_disk(&mut life);
    let (now, show) = (now_ms(), format!("show {key}"));
    let robot = life.robot();
    robot.list_keys(now).unwrap();
    robot.show_key(key, now).unwrap();
    assert_eq!((audited(&life, "list key-store"), audited(&life, &show)), (0, 0));
    robot.change_key(key, Transition::Destroy, now).unwrap();
    put_back(&mut life, &disk);
    let robot = life.robot();
    assert_eq!(reason(robot.list_keys(now)), "store-rolled-back");
    assert_eq!(reason(robot.show_key(key, now)), "store-rolled-back");
    assert_eq!((audited(&life, "list key-store"), audited(&life, &show)), (1, 1));
}

#[test]
fn an_old_disk_is_refused_and_a_destroyed_key_stays_dead_for_root_too() {
    let mut life = Life::running();
    let (gone, kept) = (
        life.create(KeyPurpose::Identity),
        life.create(KeyPurpose::SensorSigning),
    );
    let disk = old_disk(&mut life);
    let now = now_ms();
    life.robot()
        .change_key(gone.id, Transition::Destroy, now)
        .unwrap();
    put_back(&mut life, &disk);
    assert_eq!(
        store_reason(life.robot().keys().managed_keys()),
        "store-rolled-back"
    );
    assert_eq!(
        reason(life.robot().sign_with_key(kept.id, digest(), now)),
        "store-rolled-back"
    );
    // Root need not ask the store: the blob is on the old disk, and the chip is at hand. It refuses the destroyed key, now
    // and after everything that root may do to the chip.
    for index in [NvIndex::StoreAnchor, NvIndex::RobotEpoch] {
        let refused = arm_past_the_store(life.robot(), &gone).unwrap_err();
        assert!(refused.is_refusal(ResponseCode::POLICY), "{refused}");
        life.increment(index);
    }
    assert_eq!(
        store_reason(life.robot().keys().managed_keys()),
        "store-rolled-back"
    );
    // A stop is not kept from anything by such a store.
    assert!(life.stop().is_complete());
    life.rearm();
    assert!(arm_past_the_store(life.robot(), &gone).is_err());
}

#[test]
fn a_refused_store_is_left_by_giving_all_its_keys_up() {
    let mut life = Life::running();
    let keys: Vec<_> = [
        KeyPurpose::Identity,
        KeyPurpose::Recovery,
        KeyPurpose::DataEncryption,
    ]
    .map(|purpose| life.create(purpose))
    .into();
    let disk = old_disk(&mut life);
    std::fs::remove_file(file(&life)).unwrap();
    life.open();
    assert_eq!(store_reason(life.robot().keys().managed_keys()), "store-missing");
    let counted = life.store_anchor();
    life.robot().start_keys_over(NOW_MS).unwrap();
    // Once more than its own generation: a store whose commit was not counted has that one.
    assert_eq!(life.store_anchor(), counted + 2);
    assert!(life.robot().keys().managed_keys().unwrap().is_empty());
    for key in &keys {
        assert!(arm_past_the_store(life.robot(), key).is_err(), "{}", key.purpose);
    }
    let new = life.create(KeyPurpose::Identity);
    assert!(signs(&life, &new));
    // The store that was given up does not come back, though it was never rolled back.
    put_back(&mut life, &disk);
    assert_eq!(
        store_reason(life.robot().keys().managed_keys()),
        "store-rolled-back"
    );
}

#[test]
fn a_disk_from_before_an_acknowledged_change_is_refused() {
    let mut life = Life::running();
    let key = life.create(KeyPurpose::Identity);
    let before = old_disk(&mut life);
    let counted = life.store_anchor();
    life.robot()
        .change_key(key.id, Transition::Suspend, now_ms())
        .unwrap();
    assert_eq!(life.store_anchor(), counted + 1);
    // The chip one ahead of the disk is not that case: the change was acknowledged.
    put_back(&mut life, &before);
    assert_eq!(
        store_reason(life.robot().keys().managed_keys()),
        "store-rolled-back"
    );
}

/// Edits the rows of the database with its own tools.
fn edit_rows(life: &Life, edit: impl FnOnce(&mut BTreeMap<Vec<u8>, Vec<u8>>)) {
    const RECORDS: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("records");
    let database = redb::Database::open(file(life)).unwrap();
    let write = database.begin_write().unwrap();
    {
        let mut table = write.open_table(RECORDS).unwrap();
        let read = |row: redb::AccessGuard<'_, &[u8]>| row.value().to_vec();
        let rows = table.iter().unwrap().map(|row| row.unwrap());
        let mut rows: BTreeMap<_, _> = rows.map(|(key, row)| (read(key), read(row))).collect();
        table.retain(|_, _| false).unwrap();
        edit(&mut rows);
        for (key, row) in &rows {
            table.insert(key.as_slice(), row.as_slice()).unwrap();
        }
    }
    write.commit().unwrap();
}

#[test]
fn a_record_taken_away_or_put_back_in_an_older_form_is_found() {
    let mut life = Life::running();
    let key = life.create(KeyPurpose::Identity);
    life.create(KeyPurpose::Recovery);
    life.close();
    let mut older = BTreeMap::new();
    edit_rows(&life, |rows| older = rows.clone());
    life.open();
    life.robot()
        .change_key(key.id, Transition::Suspend, now_ms())
        .unwrap();
    life.close();
    let mut present = BTreeMap::new();
    edit_rows(&life, |rows| present = rows.clone());
    let (edited, row) = older.iter().find(|(key, row)| present[*key] != **row).unwrap();
    let mut attacks = vec![present.clone(), present.clone(), present.clone()];
    // Its tag is genuine: it is what this robot wrote, before.
    attacks[0].insert(edited.clone(), row.clone());
    attacks[1].remove(edited);
    attacks[2].insert([&edited[..], &[0]].concat(), row.clone());
    for attack in attacks {
        life.close();
        edit_rows(&life, |rows| *rows = attack);
        life.open();
        assert_eq!(store_reason(life.robot().keys().managed_keys()), "store-edited");
    }
    life.close();
    edit_rows(&life, |rows| *rows = present);
    life.open();
    assert_eq!(life.robot().keys().managed_keys().unwrap().len(), 2);
}

#[test]
fn an_edited_record_is_named_and_no_edit_of_the_file_is_believed() {
    let mut life = Life::running();
    let key = life.create(KeyPurpose::Identity);
    life.robot()
        .change_key(key.id, Transition::Suspend, now_ms())
        .unwrap();
    life.close();
    let whole = std::fs::read(file(&life)).unwrap();
    // Somebody resumes the key with the database's own tools: the row is what it was before, all but its tag.
    let suspended = KeyRecord {
        state: KeyState::Suspended,
        ..key.clone()
    };
    edit_rows(&life, |rows| {
        let row = rows.values_mut().next().unwrap();
        let at = row.len() - suspended.to_canonical().len();
        assert_eq!(row[at..], suspended.to_canonical());
        row.truncate(at);
        row.extend_from_slice(&key.to_canonical());
    });
    life.open();
    let error = life.robot().keys().managed_keys().unwrap_err();
    let hex: String = key.id.as_bytes().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(error.refusal(), Some("store-edited"));
    assert!(error.to_string().contains(&hex), "{error}");

    // Any byte: the same content, or a refusal; never another content, never a panic.
    let in_use: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    let stride = std::env::var("ALCUB3_STORE_STRIDE").ok();
    let stride = stride.map_or(in_use.len() / 40, |stride| stride.parse().expect("a number"));
    let sampled: Vec<usize> = in_use.into_iter().step_by(stride).collect();
    assert!(sampled.len() > 20);
    for at in sampled {
        life.close();
        let mut edited = whole.clone();
        edited[at] ^= 0x41;
        std::fs::write(file(&life), &edited).unwrap();
        life.open();
        match life.robot().keys().managed_keys() {
            Ok(keys) => assert_eq!((keys.len(), keys[0].state), (1, KeyState::Suspended), "byte {at}"),
            Err(KeysError::Store(error)) => {
                assert!(
                    ["store-edited", "store-unavailable"].contains(&error.code()),
                    "{error}"
                );
            }
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    life.close();
    std::fs::write(file(&life), &whole).unwrap();
    life.open();
    assert_eq!(life.robot().keys().managed_keys().unwrap().len(), 1);
}

#[test]
fn the_store_of_another_robot_is_refused() {
    let (mut one, other) = (Life::running(), Life::running());
    other.create(KeyPurpose::Identity);
    one.close();
    std::fs::copy(file(&other), file(&one)).unwrap();
    one.open();
    assert_eq!(store_reason(one.robot().keys().managed_keys()), "store-edited");
}

/// NV writes of each operation: the store's counter, and all key anchors together by the commands sent.
#[test]
fn each_operation_writes_to_nv_as_often_as_the_specification_says() {
    let life = Life::running();
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../SPECIFICATION.md")).unwrap();
    let section = text.split("### NV writes of the key store").nth(1).unwrap();
    let section = section.split("\n#").next().unwrap();
    let promised = |operation: &str| -> (u64, u64) {
        let row = section
            .lines()
            .find(|line| line.starts_with(&format!("| {operation} |")))
            .unwrap_or_else(|| panic!("no row: {operation}"));
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        (cells[2].parse().unwrap(), cells[3].parse().unwrap())
    };
    let key = life.create(KeyPurpose::Identity);
    let second = life.create(KeyPurpose::DataEncryption);
    let (robot, now) = (life.robot(), now_ms());
    let mut measured = Vec::new();
    let mut measure = |operation: &str, work: &mut dyn FnMut()| {
        const EXTEND: CommandCode = CommandCode(0x136);
        let before = (life.store_anchor(), life.counts.of(EXTEND));
        work();
        let after = (life.store_anchor(), life.counts.of(EXTEND));
        let writes = (after.0 - before.0, after.1 - before.1);
        assert_eq!(writes, promised(operation), "{operation}");
        measured.push(operation.to_owned());
    };
    measure("list, show", &mut || {
        robot.keys().managed_keys().unwrap();
    });
    measure("use", &mut || {
        robot.sign_with_key(key.id, digest(), now).unwrap();
        robot.encrypt_with_key(second.id, b"map", now).unwrap();
    });
    measure("create", &mut || {
        life.create(KeyPurpose::Identity);
    });
    measure("suspend, resume, activate", &mut || {
        robot.change_key(key.id, Transition::Suspend, now).unwrap();
    });
    robot.change_key(key.id, Transition::Resume, now).unwrap();
    measure("rotate", &mut || {
        robot.rotate_key(key.id, now).unwrap();
    });
    measure("destroy, revoke", &mut || {
        robot.change_key(key.id, Transition::Destroy, now).unwrap();
    });
    measure("sweep with nothing due", &mut || {
        robot.sweep_keys(Some(now)).unwrap();
    });
    measure("stop of the robot", &mut || {
        assert!(life.stop().is_complete());
    });
    let rows = section.lines().filter(|line| line.starts_with("| ")).count();
    assert_eq!(rows, measured.len() + 1, "a row is not measured");
}
