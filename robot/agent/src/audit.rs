//! The audit log on disk: canonical entries, one after the other, and the Merkle root over them.

use crate::{AgentError, Result};
use alcub3_audit_log::{Entry, EntryKind, NodeHash, Outcome, Step, Tree};
use alcub3_crypto::HashAlg;
use alcub3_security_hal::{AuditSink, PortError, StopReport};
use alcub3_trust_model::{BootId, RobotId};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const FILE: &str = "audit.log";
const MAX_ENTRY: usize = 1 << 20;

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
    /// removed.
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
        let (tree, whole, size) = read_entries(&bytes);
        if whole < bytes.len() {
            file.set_len(u64::try_from(whole).unwrap_or(u64::MAX))?;
            file.seek(SeekFrom::End(0))?;
        }
        Ok(Self {
            inner: Arc::new(Mutex::new(Inner {
                file,
                bytes: u64::try_from(whole).unwrap_or(u64::MAX),
                broken: false,
                tree,
                size,
            })),
            robot,
            boot,
        })
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

/// Reads length-prefixed entries as far as they are whole; returns the tree, the bytes read and the count.
fn read_entries(bytes: &[u8]) -> (Tree, usize, u64) {
    let (mut tree, mut rest, mut size) = (Tree::new(), bytes, 0);
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((entry, tail)) = tail.split_at_checked(length).filter(|_| length <= MAX_ENTRY) else {
            break;
        };
        tree.append(entry);
        rest = tail;
        size += 1;
    }
    (tree, bytes.len() - rest.len(), size)
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
