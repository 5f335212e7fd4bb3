//! The audit log on disk: canonical entries, one after the other, and the Merkle root over them.

use crate::{AgentError, Result};
use alcub3_audit_log::{Entry, EntryKind, NodeHash, Outcome, Step, Tree};
use alcub3_crypto::HashAlg;
use alcub3_security_hal::{AuditSink, Clock, PortError, StopReport, SystemClock};
use alcub3_trust_model::{BootId, RobotId};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const FILE: &str = "audit.log";
/// The longest entry, in bytes.
const LONGEST_ENTRY: u32 = 1 << 20;

/// The robot's audit log. Cloning shares it.
#[derive(Clone)]
pub struct AuditFile {
    inner: Arc<Mutex<Inner>>,
    robot: RobotId,
    boot: BootId,
}

struct Inner {
    file: File,
    /// Bytes of whole entries: where the next one begins.
    bytes: u64,
    /// A failed append could not be undone, so that nothing may follow it.
    broken: bool,
    tree: Tree,
    size: u64,
}

impl Inner {
    /// Writes a record whole or not at all: what a failure left is cut off, so that it cannot swallow what follows.
    fn write(&mut self, record: &[u8]) -> Result<()> {
        if self.broken {
            return Err(AgentError::AuditBroken);
        }
        let written = self.file.write_all(record).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            let undone = self.file.set_len(self.bytes);
            let undone = undone.and_then(|()| self.file.seek(SeekFrom::Start(self.bytes)));
            self.broken = undone.is_err();
            return Err(error.into());
        }
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(record.len()).unwrap_or(u64::MAX));
        Ok(())
    }
}

impl AuditFile {
    /// Opens the log in a folder and reads it whole. An entry that a crash cut off was never acknowledged: it is
    /// removed. Damage before other entries stays where it is, counts as one entry, and is named by an entry of its own.
    ///
    /// # Errors
    /// The file system's.
    pub fn open(folder: &Path, robot: RobotId, boot: BootId) -> Result<Self> {
        let path = folder.join(FILE);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let found = Found::read(&bytes);
        let whole = u64::try_from(found.whole).unwrap_or(u64::MAX);
        if found.whole < bytes.len() {
            file.set_len(whole)?;
            file.seek(SeekFrom::End(0))?;
        }
        let log = Self {
            inner: Arc::new(Mutex::new(Inner {
                file,
                bytes: whole,
                broken: false,
                tree: found.tree,
                size: found.size,
            })),
            robot,
            boot,
        };
        for subject in found.damage {
            tracing::error!(%subject, "the audit log's file is damaged; the entries before and after are kept");
            let now_utc_ms = SystemClock::new().utc_ms().unwrap_or_default();
            log.append(&log.entry(EntryKind::Fault, subject, now_utc_ms, Outcome::Failed))?;
        }
        Ok(log)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends an entry; on return it is on the disk.
    ///
    /// # Errors
    /// The file system's; the entry then does not count.
    pub fn append(&self, entry: &Entry) -> Result<u64> {
        let bytes = entry
            .to_canonical()
            .map_err(|error| AgentError::Port(Box::new(error)))?;
        let length = u32::try_from(bytes.len()).map_err(|_| AgentError::Evidence {
            what: "an audit entry",
        })?;
        let record = [&length.to_be_bytes()[..], &bytes].concat();
        let mut inner = self.lock();
        inner.write(&record)?;
        inner.size += 1;
        Ok(inner.tree.append(&bytes))
    }

    /// How many entries there are, and the Merkle root over them (RFC 6962).
    pub fn head(&self) -> (u64, NodeHash) {
        let inner = self.lock();
        (inner.size, inner.tree.root())
    }

    /// An entry of this robot and run.
    pub fn entry(&self, kind: EntryKind, subject: String, time_ms: u64, outcome: Outcome) -> Entry {
        Entry {
            robot: self.robot.clone(),
            boot: self.boot,
            time_ms,
            kind,
            subject,
            outcome,
            reasons: Vec::new(),
            steps: Vec::new(),
            object: None,
        }
    }
}

/// What a log's file holds.
struct Found {
    tree: Tree,
    size: u64,
    /// Bytes up to the end of the last entry.
    whole: usize,
    /// Damage that no entry names yet, as the entry that names it will.
    damage: Vec<String>,
}

impl Found {
    /// Reads length-prefixed entries. Bytes that are none are skipped up to the next one; where no other follows, they are
    /// what a crash left of an entry.
    fn read(bytes: &[u8]) -> Self {
        let (mut found, mut named) = (Self::new(), Vec::new());
        while let Some(piece) = next_piece(bytes.get(found.whole..).unwrap_or_default()) {
            match piece {
                Piece::Entry(record, entry) => {
                    found.take(record.len(), record.get(4..).unwrap_or_default());
                    if entry.kind == EntryKind::Fault {
                        named.push(entry.subject);
                    }
                }
                Piece::Damaged(range) => {
                    found.damage.push(damage_subject(found.whole, range.len()));
                    found.take(range.len(), range);
                }
            }
        }
        found.damage.retain(|subject| !named.contains(subject));
        found
    }

    fn new() -> Self {
        Self {
            tree: Tree::new(),
            size: 0,
            whole: 0,
            damage: Vec::new(),
        }
    }

    fn take(&mut self, length: usize, leaf: &[u8]) {
        self.tree.append(leaf);
        self.size += 1;
        self.whole += length;
    }
}

fn damage_subject(at: usize, length: usize) -> String {
    format!("audit log: {length} bytes from byte {at} are damaged")
}

/// A stretch of the file, its length included.
enum Piece<'a> {
    Entry(&'a [u8], Box<Entry>),
    Damaged(&'a [u8]),
}

/// The next stretch; `None` at the end, and where only the beginning of an entry is left.
fn next_piece(bytes: &[u8]) -> Option<Piece<'_>> {
    if let Some((record, entry)) = record_at(bytes) {
        return Some(Piece::Entry(record, Box::new(entry)));
    }
    // The next entry ends the damage; or the file's end does, where all but the length is whole or nothing but the content
    // is not.
    let next = (1..bytes.len()).find(|at| bytes.get(*at..).and_then(record_at).is_some());
    let whole_but_length = || {
        bytes
            .get(4..)
            .is_some_and(|entry| Entry::from_canonical(entry).is_ok())
    };
    let whole_but_content =
        || framed(bytes).is_some_and(|entry| entry.len() + 4 == bytes.len() && !entry.is_empty());
    let no_length = || {
        bytes
            .first_chunk::<4>()
            .is_some_and(|length| u32::from_be_bytes(*length) > LONGEST_ENTRY)
    };
    let is_damage = || whole_but_length() || whole_but_content() || no_length();
    let end = next.or_else(|| is_damage().then_some(bytes.len()))?;
    bytes.get(..end).map(Piece::Damaged)
}

/// The bytes that a length in front of them counts.
fn framed(bytes: &[u8]) -> Option<&[u8]> {
    let (length, tail) = bytes.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length);
    let entry = tail.get(..usize::try_from(length).ok()?)?;
    (length <= LONGEST_ENTRY).then_some(entry)
}

fn record_at(bytes: &[u8]) -> Option<(&[u8], Entry)> {
    let entry = framed(bytes)?;
    let record = bytes.get(..entry.len() + 4)?;
    Some((record, Entry::from_canonical(entry).ok()?))
}

impl AuditSink for AuditFile {
    fn stopped(&mut self, report: &StopReport) -> std::result::Result<(), PortError> {
        let outcome = if report.is_complete() {
            Outcome::Done
        } else {
            Outcome::Unconfirmed
        };
        let mut entry = self.entry(
            EntryKind::Stop,
            report.stop.to_string(),
            report.called_utc_ms,
            outcome,
        );
        entry.steps = report
            .steps
            .iter()
            .map(|step| Step {
                name: step.step.name().to_owned(),
                after_us: step.ended_ns / 1000,
            })
            .collect();
        entry.reasons = report
            .unconfirmed()
            .map(|step| format!("unconfirmed-{}", step.step.name()))
            .collect();
        entry.object = report
            .receipt
            .as_ref()
            .map(|receipt| HashAlg::Sha256.digest(&[receipt]));
        self.append(&entry)?;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn opened(folder: &Path) -> AuditFile {
        AuditFile::open(folder, RobotId::new("r1").unwrap(), BootId::new([1; 16])).unwrap()
    }

    /// Three entries, and where each begins and the last ends.
    fn three_entries(folder: &Path) -> (Vec<u8>, Vec<usize>) {
        let log = opened(folder);
        let mut ends = vec![0];
        for subject in ["one", "two", "three"] {
            log.append(&log.entry(EntryKind::Start, subject.into(), 7, Outcome::Done))
                .unwrap();
            ends.push(usize::try_from(log.lock().bytes).unwrap());
        }
        (std::fs::read(folder.join(FILE)).unwrap(), ends)
    }

    #[test]
    fn one_damaged_byte_costs_no_other_entry_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let (right, ends) = three_entries(folder.path());
        for at in 0..right.len() {
            for bit in [0x01, 0x80] {
                let mut bytes = right.clone();
                bytes[at] ^= bit;
                std::fs::write(&path, &bytes).unwrap();
                let log = opened(folder.path());
                let kept = std::fs::read(&path).unwrap();
                assert_eq!(
                    kept.get(..right.len()),
                    Some(&bytes[..]),
                    "byte {at}: nothing is cut off"
                );
                let in_content = ends
                    .iter()
                    .rev()
                    .find(|end| **end <= at)
                    .is_some_and(|end| at >= end + 4);
                let still_an_entry = in_content && kept.len() == right.len();
                assert!(
                    still_an_entry || log.head().0 == 4,
                    "byte {at}: three, and one that names it"
                );
                // Named once.
                assert_eq!(opened(folder.path()).head(), log.head(), "byte {at}");
            }
        }
    }

    #[test]
    fn a_last_entry_that_is_damaged_all_over_is_kept_where_no_crash_leaves_such_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let (mut bytes, ends) = three_entries(folder.path());
        bytes[ends[2]..].fill(0xff);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(opened(folder.path()).head().0, 4);
        assert!(std::fs::read(&path).unwrap().starts_with(&bytes));
    }

    #[test]
    fn what_a_crash_left_of_an_entry_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let (right, ends) = three_entries(folder.path());
        for length in ends[2]..right.len() {
            std::fs::write(&path, &right[..length]).unwrap();
            assert_eq!(opened(folder.path()).head().0, 2);
            assert_eq!(std::fs::read(&path).unwrap(), &right[..ends[2]]);
            // A file system may have made room that was never written.
            let mut hollow = right[..length].to_vec();
            hollow.resize(right.len(), 0);
            if hollow != right {
                std::fs::write(&path, &hollow).unwrap();
                let head = opened(folder.path()).head().0;
                assert!((2..=4).contains(&head), "{length}: {head}");
            }
        }
    }

    #[test]
    fn after_a_failure_that_cannot_be_undone_nothing_is_appended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, b"").unwrap();
        // Neither written nor cut.
        let mut inner = Inner {
            file: File::open(&path).unwrap(),
            bytes: 0,
            broken: false,
            tree: Tree::new(),
            size: 0,
        };
        assert!(matches!(inner.write(b"first"), Err(AgentError::System(_))));
        inner.file = OpenOptions::new().write(true).open(&path).unwrap();
        assert!(matches!(inner.write(b"second"), Err(AgentError::AuditBroken)));
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }
}
