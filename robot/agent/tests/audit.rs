//! The audit log on disk: groups, checkpoints, what a start reads, rotation, and what is found of tampering. No TPM is needed here.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_agent::{AuditFile, AuditReader};
use alcub3_audit_log::{
    Entry, EntryKind, Finding, NoteSigner, NoteVerifier, Outcome, Piece, SignedCheckpoint, Tree, pieces,
};
use alcub3_crypto::{Ed25519Key, Secret};
use alcub3_trust_model::{BootId, Integrity, Labels, Level, RobotId};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const NOW_MS: u64 = 1_790_000_000_000;

fn robot() -> RobotId {
    RobotId::new("rover-1").unwrap()
}

fn signer() -> NoteSigner {
    NoteSigner::of_log(
        &robot(),
        Ed25519Key::from_seed(&Secret::from_slice(&[7; 32])).unwrap(),
    )
}

fn key() -> NoteVerifier {
    signer().verifier().clone()
}

fn open(dir: &Path) -> AuditFile {
    AuditFile::open(dir, robot(), BootId::new([1; 16])).unwrap()
}

fn entry(log: &AuditFile, subject: impl Into<String>) -> Entry {
    log.entry(EntryKind::Command, subject.into(), NOW_MS, Outcome::Done)
}

fn append(log: &AuditFile, from: u64, to: u64) {
    let entries: Vec<Entry> = (from..to).map(|n| entry(log, format!("entry-{n}"))).collect();
    log.append_each(&entries).unwrap();
}

fn checkpoint(log: &AuditFile) -> SignedCheckpoint {
    log.checkpoint(&signer(), |_| Ok(())).unwrap()
}

fn subjects(dir: &Path) -> Vec<String> {
    let leaves = AuditReader::new(dir).leaves().unwrap();
    let entries = leaves.iter().map(|leaf| Entry::from_canonical(leaf).unwrap());
    entries.map(|entry| entry.subject).collect()
}

fn faults(dir: &Path) -> Vec<String> {
    let leaves = AuditReader::new(dir).leaves().unwrap();
    let entries = leaves.iter().filter_map(|leaf| Entry::from_canonical(leaf).ok());
    let faults = entries.filter(|entry| entry.kind == EntryKind::Fault);
    faults.map(|entry| entry.subject).collect()
}

/// Whether the log is whole, and its entries have the root that the writer says.
fn assert_whole(dir: &Path, log: &AuditFile) {
    let reader = AuditReader::new(dir);
    let mut tree = Tree::new();
    for leaf in reader.leaves().unwrap() {
        tree.append(&leaf);
    }
    assert_eq!((tree.size(), tree.root()), log.head());
    if reader.last_checkpoint().is_some() {
        let verified = reader.verify(&key(), &[]).unwrap();
        assert_eq!(verified.findings, []);
    }
}

#[test]
fn what_many_append_at_once_is_all_there_in_each_ones_order() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    let indices: BTreeSet<u64> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..16)
            .map(|caller| {
                let log = &log;
                scope.spawn(move || {
                    (0..50)
                        .map(|n| log.append(&entry(log, format!("{caller} {n}"))).unwrap())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let each = callers.into_iter().map(|caller| caller.join().unwrap());
        let each: Vec<Vec<u64>> = each.collect();
        assert!(each.iter().all(|indices| indices.is_sorted()));
        each.into_iter().flatten().collect()
    });
    assert_eq!(indices, (0..800).collect());
    for (index, subject) in subjects(dir.path()).iter().enumerate() {
        assert!(indices.contains(&(index as u64)), "{subject}");
    }
    assert_whole(dir.path(), &log);
}

#[test]
fn what_may_be_behind_is_on_the_disk_within_its_bound_and_says_so() {
    let dir = TempDir::new().unwrap();
    let labelled = |level| open(dir.path()).labelled(Labels::new(level, Integrity::Operational));
    let log = labelled(Level::Unclassified);
    let began = Instant::now();
    for n in 0..1_000 {
        log.record(entry(&log, format!("bounded-{n}"))).unwrap();
    }
    assert!(
        began.elapsed() < Duration::from_millis(400),
        "nobody waits for the disk"
    );
    while log.head().0 < 1_000 {
        assert!(
            began.elapsed() < Duration::from_millis(2_000),
            "the bound is half a second"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let leaves = AuditReader::new(dir.path()).leaves().unwrap();
    let first = Entry::from_canonical(&leaves[0]).unwrap();
    assert_eq!(first.within_ms, Some(500));
    // What waits for its bound goes with what somebody waits for, and when the log is closed.
    log.record(entry(&log, "before")).unwrap();
    log.append(&entry(&log, "durable")).unwrap();
    log.record(entry(&log, "last")).unwrap();
    drop(log);
    let subjects = subjects(dir.path());
    assert_eq!(subjects[1_000..], ["before", "durable", "last"]);
    let log = labelled(Level::Cui);
    log.record(entry(&log, "on the disk first")).unwrap();
    let leaves = AuditReader::new(dir.path()).leaves().unwrap();
    assert_eq!(
        Entry::from_canonical(leaves.last().unwrap()).unwrap().within_ms,
        None
    );
}

#[test]
fn a_start_reads_what_was_added_since_the_last_checkpoint_and_no_more() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    append(&log, 0, 5_000);
    checkpoint(&log);
    let whole = std::fs::metadata(dir.path().join("audit.log")).unwrap().len();
    append(&log, 5_000, 5_003);
    let head = log.head();
    drop(log);
    let log = open(dir.path());
    let new = std::fs::metadata(dir.path().join("audit.log")).unwrap().len() - whole;
    assert_eq!((log.read_at_open(), log.head()), (new, head));
    assert_eq!(faults(dir.path()), [""; 0]);
    // It goes on from there.
    append(&log, 5_003, 5_010);
    checkpoint(&log);
    assert_whole(dir.path(), &log);
}

#[test]
fn a_log_begins_a_new_file_and_keeps_every_entry() {
    let dir = TempDir::new().unwrap();
    let rotated = || AuditFile::open_rotated(dir.path(), robot(), BootId::new([1; 16]), 10_000).unwrap();
    let mut expected = Vec::new();
    for round in 0..6 {
        let log = rotated();
        let (from, to) = (round * 200, (round + 1) * 200);
        append(&log, from, to);
        checkpoint(&log);
        append(&log, to + 10_000, to + 10_003);
        expected.extend(
            (from..to)
                .chain(to + 10_000..to + 10_003)
                .map(|n| format!("entry-{n}")),
        );
        assert_eq!(subjects(dir.path()), expected);
        assert_whole(dir.path(), &log);
    }
    let files = std::fs::read_dir(dir.path()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let logs: Vec<String> = names.filter(|name| name.ends_with(".log")).collect();
    assert!(logs.len() == 1 && logs[0].starts_with("audit-"), "{logs:?}");
    // Without what says where to go on, it is found all the same.
    std::fs::remove_file(dir.path().join("audit/resume.cbor")).unwrap();
    let log = rotated();
    assert_eq!(log.head().0, expected.len() as u64);
    assert_eq!(subjects(dir.path()), expected);
    append(&log, 1, 2);
    checkpoint(&log);
    assert_whole(dir.path(), &log);
}

/// What says where a start goes on cannot be written: the log goes on where it was, and a start finds all that was acknowledged.
#[test]
fn a_checkpoint_that_cannot_say_where_it_ends_loses_nothing() {
    let dir = TempDir::new().unwrap();
    let rotated = || AuditFile::open_rotated(dir.path(), robot(), BootId::new([1; 16]), 10_000).unwrap();
    let log = rotated();
    append(&log, 0, 200);
    checkpoint(&log);
    append(&log, 200, 400);
    let resume = dir.path().join("audit/resume.cbor");
    let kept = std::fs::read(&resume).unwrap();
    std::fs::remove_file(&resume).unwrap();
    std::fs::create_dir(&resume).unwrap();
    let refused = log.checkpoint(&signer(), |_| Ok(()));
    assert!(refused.is_err());
    append(&log, 400, 410);
    drop(log);
    std::fs::remove_dir(&resume).unwrap();
    std::fs::write(&resume, kept).unwrap();
    let log = rotated();
    let expected: Vec<String> = (0..410).map(|n| format!("entry-{n}")).collect();
    assert_eq!(subjects(dir.path()), expected);
    assert_whole(dir.path(), &log);
}

#[test]
fn damaged_tiles_are_made_again_and_damaged_entries_are_on_record() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    append(&log, 0, 300);
    checkpoint(&log);
    let head = log.head();
    drop(log);
    let tile = dir.path().join("audit/tile/1/000.p/1");
    let right = std::fs::read(&tile).unwrap();
    let mut bytes = right.clone();
    bytes[7] ^= 1;
    std::fs::write(&tile, &bytes).unwrap();
    let log = open(dir.path());
    assert_eq!(
        (log.head(), faults(dir.path())),
        (head, vec![]),
        "the entries are as they were signed"
    );
    append(&log, 300, 301);
    checkpoint(&log);
    assert!(std::fs::read(&tile).unwrap() == right);
    drop(log);
    // Entry 10 in the file of entries, and the tile that tells.
    let path = dir.path().join("audit.log");
    let mut content = std::fs::read(&path).unwrap();
    let at: usize = pieces(&content).take(10).map(|piece| piece.len()).sum();
    let at = at + content[at..].windows(8).position(|w| w == b"entry-10").unwrap();
    content[at] = b'E';
    std::fs::write(&path, &content).unwrap();
    let verified = AuditReader::new(dir.path()).verify(&key(), &[]).unwrap();
    assert_eq!(verified.findings, [Finding::Changed { index: 10 }]);
    std::fs::write(&tile, &bytes).unwrap();
    drop(open(dir.path()));
    let faults = faults(dir.path());
    assert!(
        faults
            .iter()
            .any(|fault| fault.contains("not those of its checkpoint")),
        "{faults:?}"
    );
}

#[test]
fn a_file_of_entries_that_was_cut_loses_nothing_that_was_laid_out() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    append(&log, 0, 300);
    checkpoint(&log);
    drop(log);
    let path = dir.path().join("audit.log");
    let length = std::fs::metadata(&path).unwrap().len();
    std::fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(length / 2)
        .unwrap();
    let verified = AuditReader::new(dir.path()).verify(&key(), &[]).unwrap();
    assert!(
        matches!(verified.findings[0], Finding::Missing { before: 300, .. }),
        "{:?}",
        verified.findings
    );
    let log = open(dir.path());
    assert!(
        faults(dir.path())[0].contains("was cut"),
        "{:?}",
        faults(dir.path())
    );
    assert_eq!(
        subjects(dir.path())[..300],
        (0..300).map(|n| format!("entry-{n}")).collect::<Vec<_>>()
    );
    append(&log, 300, 310);
    checkpoint(&log);
    assert_whole(dir.path(), &log);
}

#[test]
fn every_changed_byte_of_a_logs_file_of_entries_is_found_where_it_is() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    append(&log, 0, 20);
    checkpoint(&log);
    drop(log);
    let (path, reader) = (dir.path().join("audit.log"), AuditReader::new(dir.path()));
    let right = std::fs::read(&path).unwrap();
    let mut ends = Vec::new();
    let mut end = 0;
    for piece in pieces(&right) {
        assert!(matches!(piece, Piece::Entry { .. }));
        end += piece.len();
        ends.push(end);
    }
    for at in 0..right.len() {
        let mut changed = right.clone();
        changed[at] ^= 0x01;
        std::fs::write(&path, &changed).unwrap();
        let index = ends.iter().take_while(|end| **end <= at).count() as u64;
        let found = reader.verify(&key(), &[]).unwrap().findings;
        assert_eq!(
            found.first().and_then(Finding::position),
            Some(index),
            "byte {at}"
        );
    }
    for cut in 0..right.len() {
        std::fs::write(&path, &right[..cut]).unwrap();
        let index = ends.iter().take_while(|end| **end <= cut).count() as u64;
        let found = reader.verify(&key(), &[]).unwrap().findings;
        assert_eq!(
            found.first().and_then(Finding::position),
            Some(index),
            "cut at {cut}"
        );
    }
}

#[test]
fn checkpoints_beside_callers_that_append_lose_nothing() {
    let dir = TempDir::new().unwrap();
    let log = AuditFile::open_rotated(dir.path(), robot(), BootId::new([1; 16]), 20_000).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                let log = &log;
                scope.spawn(move || {
                    for n in 0..200 {
                        log.append(&entry(log, format!("{caller} {n}"))).unwrap();
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                checkpoint(&log);
            }
        });
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(log.head().0, 800);
    checkpoint(&log);
    assert_whole(dir.path(), &log);
}
