//! The heads of a robot's audit log: counted and signed by its chip, held outside, and what a disk that is older cannot hide.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_agent::{AuditLink, AuditReader, LinkError};
use alcub3_audit_log::{Entry, EntryKind, Outcome};
use alcub3_fleet_protocol::audit::{AuditReport, ProvenHead};
use support::{Life, NOW_MS, copy_folder};

fn append(life: &Life, count: u64) {
    let audit = life.robot().audit();
    for n in 0..count {
        let entry = audit.entry(EntryKind::Command, format!("a test {n}"), NOW_MS, Outcome::Done);
        audit.append(&entry).unwrap();
    }
}

fn faults(life: &Life) -> Vec<String> {
    let leaves = AuditReader::new(&life.path()).leaves().unwrap();
    let entries = leaves.iter().map(|leaf| Entry::from_canonical(leaf).unwrap());
    let faults = entries.filter(|entry| entry.kind == EntryKind::Fault);
    faults.map(|entry| entry.subject).collect()
}

fn proven(life: &Life, report: &AuditReport) -> ProvenHead {
    let key = life
        .robot()
        .keys()
        .record()
        .attestation_key
        .verifying_key()
        .unwrap();
    report.verify(&key, &life.robot().keys().nv()).unwrap()
}

#[test]
fn a_checkpoint_takes_one_increment_and_one_certification() {
    let life = Life::running();
    // The key of the notes is derived once in a run.
    life.robot().checkpoint_audit().unwrap();
    for _ in 0..3 {
        append(&life, 5);
        let before = life.counts.total();
        let head = life.robot().checkpoint_audit().unwrap();
        assert_eq!(life.counts.total() - before, 2);
        assert_eq!(head.checkpoint().size(), life.robot().audit().head().0);
    }
}

#[test]
fn the_chip_vouches_for_each_head_and_counts_it() {
    let mut life = Life::running();
    let mut last: Option<ProvenHead> = None;
    for _ in 0..3 {
        append(&life, 300);
        life.robot().checkpoint_audit().unwrap();
        let held = last.as_ref().map(|head| head.head().checkpoint().size());
        let report = life.robot().audit_report(held).unwrap();
        let head = proven(
            &life,
            &AuditReport::from_canonical(&report.to_canonical()).unwrap(),
        );
        if let Some(last) = &last {
            assert_eq!(head.count(), last.count() + 1);
            head.follows(last, &report.proof(head.head().checkpoint()))
                .unwrap();
            let again = report.proof(head.head().checkpoint());
            assert_eq!(
                last.follows(&head, &again).unwrap_err().code(),
                "audit-rolled-back"
            );
        }
        for at in [20, 60] {
            let mut changed = report.clone();
            changed.anchor.message[at] ^= 1;
            let key = life
                .robot()
                .keys()
                .record()
                .attestation_key
                .verifying_key()
                .unwrap();
            let refused = changed.verify(&key, &life.robot().keys().nv()).unwrap_err();
            assert_eq!(refused.code(), "audit-anchor");
        }
        last = Some(head);
        life.open();
        assert_eq!(faults(&life), [""; 0]);
    }
    let verified = AuditReader::new(&life.path());
    let (_, key) = verified.last_checkpoint().unwrap();
    assert!(key.is_log_of(life.robot().robot()));
    assert_eq!(verified.verify(&key, &[]).unwrap().findings, []);
}

#[test]
fn a_log_that_was_rolled_back_with_its_head_is_found_by_what_the_chip_counted() {
    let mut life = Life::running();
    append(&life, 3);
    life.robot().checkpoint_audit().unwrap();
    let old = tempfile::tempdir().unwrap();
    copy_folder(&life.path(), old.path());
    append(&life, 3);
    life.robot().checkpoint_audit().unwrap();
    life.robot = None;
    // Of the disk only the log is older: the key store has an anchor of its own.
    std::fs::copy(old.path().join("audit.log"), life.path().join("audit.log")).unwrap();
    std::fs::remove_dir_all(life.path().join("audit")).unwrap();
    std::fs::create_dir(life.path().join("audit")).unwrap();
    copy_folder(&old.path().join("audit"), &life.path().join("audit"));
    life.open();
    let found = faults(&life);
    assert!(
        found.len() == 1 && found[0].contains("was rolled back: the chip counted"),
        "{found:?}"
    );
    // What is on record goes on from there, and the next start finds nothing new.
    append(&life, 1);
    life.robot().checkpoint_audit().unwrap();
    life.open();
    assert_eq!(faults(&life).len(), 1);
}

#[test]
fn a_head_that_was_removed_or_made_up_is_found() {
    let mut life = Life::running();
    append(&life, 3);
    life.robot().checkpoint_audit().unwrap();
    std::fs::remove_file(life.path().join("audit/anchored.cbor")).unwrap();
    life.open();
    assert!(
        faults(&life)[0].contains("its record was removed"),
        "{:?}",
        faults(&life)
    );
    let mut life = Life::running();
    append(&life, 3);
    life.robot().checkpoint_audit().unwrap();
    append(&life, 3);
    life.robot().checkpoint_audit().unwrap();
    // The log cut to what it was, and what says how far it was laid out with it; the chip's head stays.
    life.robot = None;
    std::fs::remove_file(life.path().join("audit/resume.cbor")).unwrap();
    let content = std::fs::read(life.path().join("audit.log")).unwrap();
    let keep: usize = alcub3_audit_log::pieces(&content)
        .take(4)
        .map(|piece| piece.len())
        .sum();
    std::fs::write(life.path().join("audit.log"), &content[..keep]).unwrap();
    life.open();
    let found = faults(&life);
    assert!(
        found.iter().any(|fault| fault.contains("rolled back or cut")),
        "{found:?}"
    );
}

/// The chip counted the head and its record is on the disk; that others read it as the last one was cut short.
#[test]
fn a_crash_between_the_chips_count_and_the_checkpoint_looks_like_no_fork() {
    let mut life = Life::running();
    append(&life, 3);
    life.robot().checkpoint_audit().unwrap();
    let first = life.robot().audit_report(None).unwrap();
    let before = proven(&life, &first);
    let held = before.head().checkpoint().size();
    let old = tempfile::tempdir().unwrap();
    copy_folder(&life.path().join("audit"), old.path());
    append(&life, 300);
    life.robot().checkpoint_audit().unwrap();
    life.robot = None;
    for file in ["checkpoint", "earlier", "key", "resume.cbor"] {
        std::fs::copy(old.path().join(file), life.path().join("audit").join(file)).unwrap();
    }
    life.open();
    assert_eq!(faults(&life), [""; 0]);
    let told = life.robot().audit_report(Some(held)).unwrap();
    let now = proven(&life, &told);
    now.follows(&before, &told.proof(now.head().checkpoint()))
        .unwrap();
    assert!(now.head().checkpoint().size() > held + 300 - 1);
    append(&life, 1);
    life.robot().checkpoint_audit().unwrap();
    let size = now.head().checkpoint().size();
    let further = life.robot().audit_report(Some(size)).unwrap();
    let last = proven(&life, &further);
    last.follows(&now, &further.proof(last.head().checkpoint()))
        .unwrap();
}

/// Somebody outside who holds the last head, and is not always there.
struct Holder {
    held: Vec<AuditReport>,
    is_there: bool,
    taken: Vec<u64>,
}

impl AuditLink for Holder {
    fn held(&mut self) -> Result<Option<u64>, LinkError> {
        if !self.is_there {
            return Err(LinkError("nobody is there".into()));
        }
        Ok(self.taken.last().copied())
    }

    fn deliver(&mut self, report: &[u8]) -> Result<(), LinkError> {
        let report = AuditReport::from_canonical(report).unwrap();
        let size = report.note.lines().nth(1).unwrap().parse().unwrap();
        self.taken.push(size);
        self.held.push(report);
        Ok(())
    }
}

#[test]
fn heads_leave_the_robot_while_there_is_a_link() {
    let life = Life::running();
    let mut holder = Holder {
        held: Vec::new(),
        is_there: false,
        taken: Vec::new(),
    };
    append(&life, 3);
    life.robot().tend_audit(None, 0).unwrap();
    life.robot().tend_audit(Some(&mut holder), 0).unwrap_err();
    holder.is_there = true;
    let mut now_ms = life.robot().tend_audit(Some(&mut holder), 1_000).unwrap();
    assert!(
        holder.taken.is_empty() && now_ms <= 6_000,
        "it is tried again soon"
    );
    now_ms = life.robot().tend_audit(Some(&mut holder), now_ms).unwrap();
    assert_eq!(holder.taken.len(), 1);
    let before = life.counts.total();
    for _ in 0..3 {
        now_ms = life.robot().tend_audit(Some(&mut holder), now_ms).unwrap();
    }
    assert_eq!(
        life.counts.total(),
        before,
        "nothing is new: the last is sent again"
    );
    assert!(
        now_ms >= 80_000 && holder.taken.len() >= 3,
        "{now_ms} {:?}",
        holder.taken
    );
    append(&life, 3);
    for _ in 0..2 {
        now_ms = life.robot().tend_audit(Some(&mut holder), now_ms).unwrap();
    }
    assert_eq!(holder.taken.last(), Some(&life.robot().audit().head().0));
    let mut heads = holder.held.iter().map(|report| (report, proven(&life, report)));
    let (_, mut before) = heads.next().unwrap();
    for (report, head) in heads {
        head.follows(&before, &report.proof(head.head().checkpoint()))
            .unwrap();
        before = head;
    }
}
