//! The process that keeps the log killed with SIGKILL at random points, while many append and checkpoints are made: every entry that was
//! acknowledged as durable is in the log and provable, and every checkpoint is the beginning of the next.
//!
//! `ALCUB3_AUDIT_KILLS` sets how often (10 by default; the campaign is 1,000).
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    // The process under test talks to the test over its output.
    clippy::print_stdout
)]

use alcub3_agent::{AuditFile, AuditReader};
use alcub3_audit_log::{
    Entry, EntryKind, NoteSigner, Outcome, SignedCheckpoint, Tree, leaf_hash, prove_consistency,
    prove_inclusion,
};
use alcub3_crypto::{Ed25519Key, Secret};
use alcub3_trust_model::{BootId, RobotId};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const FOLDER: &str = "ALCUB3_TEST_AUDIT_FOLDER";
const LONGEST_FILE: u64 = 60_000;

fn open(dir: &Path) -> AuditFile {
    let robot = RobotId::new("rover-1").unwrap();
    AuditFile::open_rotated(dir, robot, BootId::new([1; 16]), LONGEST_FILE).unwrap()
}

fn signer() -> NoteSigner {
    let key = Ed25519Key::from_seed(&Secret::from_slice(&[7; 32])).unwrap();
    NoteSigner::of_log(&RobotId::new("rover-1").unwrap(), key)
}

/// The process that is killed. Says what is acknowledged. Without the test's word this does nothing.
#[test]
fn a_log_at_work() {
    let Some(dir) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let log = open(&dir);
    std::thread::scope(|scope| {
        for caller in 0..6 {
            let log = &log;
            scope.spawn(move || {
                for n in 0..u64::MAX {
                    let subject = format!("{}-{caller}-{n}", std::process::id());
                    let entry = log.entry(EntryKind::Command, subject.clone(), 7, Outcome::Done);
                    let index = log.append(&entry).unwrap();
                    println!("@entry {index} {subject}");
                }
            });
        }
        loop {
            let head = log.checkpoint(&signer(), |_| Ok(())).unwrap();
            println!("@head {}", head.checkpoint().size());
            std::thread::sleep(Duration::from_millis(3));
        }
    });
}

fn start(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_log_at_work", "--nocapture"])
        .env(FOLDER, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What was acknowledged before the kill, by index.
fn killed_after(dir: &Path, wait: Duration) -> (BTreeMap<u64, String>, u64) {
    let mut child = start(dir);
    let output = BufReader::new(child.stdout.take().unwrap());
    let reading = std::thread::spawn(move || {
        let (mut acknowledged, mut head) = (BTreeMap::new(), 0);
        let mut lines: Vec<Vec<u8>> = output.split(b'\n').map_while(Result::ok).collect();
        // The last may be cut.
        lines.pop();
        for line in lines {
            let line = String::from_utf8_lossy(&line).into_owned();
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["@entry", index, subject] => {
                    acknowledged.insert(index.parse().unwrap(), (*subject).to_owned());
                }
                ["@head", size] => head = size.parse().unwrap(),
                _ => {}
            }
        }
        (acknowledged, head)
    });
    std::thread::sleep(wait);
    child.kill().unwrap();
    child.wait().unwrap();
    reading.join().unwrap()
}

#[test]
fn what_was_acknowledged_is_in_the_log_and_provable_after_every_kill() {
    let rounds: u64 = std::env::var("ALCUB3_AUDIT_KILLS").map_or(10, |rounds| rounds.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut before: Option<SignedCheckpoint> = None;
    let (mut entries, mut seed) = (0, 0x9e37_79b9_u64);
    for round in 0..rounds {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let wait = Duration::from_micros(20_000 + (seed >> 33) % 130_000);
        let (acknowledged, said) = killed_after(dir.path(), wait);
        entries += acknowledged.len();
        let log = open(dir.path());
        let (size, root) = log.head();
        let leaves = AuditReader::new(dir.path()).leaves().unwrap();
        let mut tree = Tree::new();
        leaves.iter().for_each(|leaf| {
            tree.append(leaf);
        });
        assert_eq!((tree.size(), tree.root()), (size, root), "round {round}");
        for (index, subject) in &acknowledged {
            let leaf = &leaves[usize::try_from(*index).unwrap()];
            assert_eq!(
                &Entry::from_canonical(leaf).unwrap().subject,
                subject,
                "round {round}"
            );
            let proof = prove_inclusion(&tree, *index, size).unwrap();
            proof.verify(&leaf_hash(leaf), &root).unwrap();
        }
        let faults = leaves.iter().map(|leaf| Entry::from_canonical(leaf).unwrap());
        let faults: Vec<Entry> = faults.filter(|entry| entry.kind == EntryKind::Fault).collect();
        assert!(faults.is_empty(), "round {round}: {faults:?}");
        let head = log.checkpoint(&signer(), |_| Ok(())).unwrap();
        assert!(head.checkpoint().size() >= said, "round {round}");
        if let Some(before) = &before {
            let (first, second) = (before.checkpoint().size(), head.checkpoint().size());
            let proof = prove_consistency(&tree, first, second).unwrap();
            before.checkpoint().leads_to(head.checkpoint(), &proof).unwrap();
        }
        let verified = AuditReader::new(dir.path())
            .verify(signer().verifier(), &[])
            .unwrap();
        assert_eq!(verified.findings, [], "round {round}");
        before = Some(head);
    }
    assert!(entries > 0, "no process came to append anything");
}
