//! The state folder: whole records, one owner, refusals with a remedy.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use alcub3_server::store::{StateFolder, StoreError};

fn created(path: &Path) -> StateFolder {
    let folder = StateFolder::create(path).unwrap();
    folder.seal_creation().unwrap();
    folder
}

#[test]
fn records_read_back_and_are_private() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let folder = created(&path);
    folder.put("robots", "rover-1", b"one").unwrap();
    folder.put("robots", "rover-1", b"two").unwrap();
    drop(folder);
    let folder = StateFolder::open(&path).unwrap();
    assert_eq!(
        folder.get("robots", "rover-1").unwrap().as_deref(),
        Some(&b"two"[..])
    );
    assert_eq!(folder.get("robots", "rover-2").unwrap(), None);
    assert_eq!(folder.keys("robots").unwrap(), ["rover-1"]);
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("robots/rover-1")), 0o600);
    }
    folder.remove("robots", "rover-1").unwrap();
    assert_eq!(folder.get("robots", "rover-1").unwrap(), None);
}

#[test]
fn a_second_opener_is_told_who_holds_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let _held = created(dir.path());
    let error = StateFolder::open(dir.path()).unwrap_err();
    assert!(matches!(&error, StoreError::Locked { .. }));
    assert!(
        error
            .to_string()
            .contains(&format!("process {}", std::process::id())),
        "{error}"
    );
}

#[test]
fn absent_unfinished_unknown_and_damaged_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    assert!(matches!(StateFolder::open(&path), Err(StoreError::Absent(_))));

    let folder = StateFolder::create(&path).unwrap();
    folder.put("robots", "rover-1", b"one").unwrap();
    drop(folder);
    assert!(matches!(StateFolder::open(&path), Err(StoreError::Unfinished(_))));
    assert!(matches!(StateFolder::create(&path), Err(StoreError::NotEmpty(_))));

    fs::write(path.join("version"), "alcub3 authority state, version 2\n").unwrap();
    match StateFolder::open(&path) {
        Err(StoreError::UnknownVersion { found, .. }) => assert_eq!(found, "2"),
        other => panic!("{other:?}"),
    }
    fs::write(path.join("version"), "alcub3 authority state, version 1").unwrap();
    assert!(
        matches!(StateFolder::open(&path), Err(StoreError::UnknownVersion { .. })),
        "a cut version file"
    );
}

#[test]
fn any_changed_byte_of_a_record_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = created(dir.path());
    folder.put("robots", "rover-1", b"the record").unwrap();
    let path = dir.path().join("robots/rover-1");
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).unwrap();
        assert!(
            matches!(folder.get("robots", "rover-1"), Err(StoreError::Damaged(_))),
            "byte {at}"
        );
        fs::write(&path, &good[..at]).unwrap();
        assert!(
            matches!(folder.get("robots", "rover-1"), Err(StoreError::Damaged(_))),
            "cut at {at}"
        );
    }
}

const CHILD: &str = "ALCUB3_STORE_TEST_FOLDER";

/// Not a test by itself: the process that `killed_in_the_middle_of_writing` kills.
#[test]
fn child_that_writes_until_killed() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let folder = StateFolder::open(Path::new(&path)).unwrap();
    for round in 0u64.. {
        let byte = u8::try_from(round % 251).unwrap();
        folder.put("robots", "rover-1", &vec![byte; 20_000]).unwrap();
    }
}

#[test]
fn killed_in_the_middle_of_writing_leaves_one_whole_record() {
    let dir = tempfile::tempdir().unwrap();
    let folder = created(dir.path());
    folder.put("robots", "rover-1", &[255; 20_000]).unwrap();
    drop(folder);
    for round in 0..8u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_writes_until_killed"])
            .env(CHILD, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(40 + 7 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let folder = StateFolder::open(dir.path()).unwrap();
        let record = folder.get("robots", "rover-1").unwrap().unwrap();
        assert_eq!(record.len(), 20_000);
        assert!(
            record.iter().all(|byte| *byte == record[0]),
            "a mix of two writes"
        );
        assert_eq!(
            folder.keys("robots").unwrap(),
            ["rover-1"],
            "nothing unfinished is left"
        );
    }
}
