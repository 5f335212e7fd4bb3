//! The audit log on disk.

mod commit;
mod disk;
mod opening;
mod publish;
mod reading;

use crate::{AgentError, Result};
use alcub3_audit_log::{Durability, Entry, EntryKind, NodeHash, Outcome, Record, Step};
use alcub3_crypto::HashAlg;
use alcub3_security_hal::{AuditSink, Clock, PortError, StopReport, SystemClock};
use alcub3_trust_model::{BootId, Labels, RobotId};
use commit::{Committer, Failure};
use disk::{Layout, Resume};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use reading::{AuditReader, VerifiedLog};

/// The last head that the chip counted, in the log's folder.
pub(crate) const ANCHORED: &str = "anchored.cbor";
/// The number of the head that is being counted, in the log's folder.
pub(crate) const ANCHORING: &str = "anchoring";

/// The robot's audit log. Cloning shares it.
#[derive(Clone)]
pub struct AuditFile {
    shared: Arc<Shared>,
    robot: RobotId,
    boot: BootId,
    /// What entries are marked with where whoever makes them does not say.
    label: Option<Labels>,
}

struct Shared {
    committer: Committer,
    layout: Layout,
    /// How far the log is laid out. Whoever holds it makes a checkpoint.
    resume: Mutex<Resume>,
    longest_file: u64,
    read_at_open: u64,
}

impl AuditFile {
    /// Where the log of a state folder is, as long as it was never rotated.
    pub fn path(folder: &Path) -> PathBuf {
        Layout::new(folder).entries(0)
    }

    /// Opens the log in a folder, and reads what was added since its last checkpoint. An entry that a crash cut off was never
    /// acknowledged: it is removed. Damage before other entries stays where it is, counts as one entry, and is named by an entry of
    /// its own; so is a log that is not the one of its checkpoint.
    ///
    /// # Errors
    /// The file system's; [`AgentError::AuditTiles`].
    pub fn open(folder: &Path, robot: RobotId, boot: BootId) -> Result<Self> {
        Self::open_rotated(folder, robot, boot, publish::LONGEST_FILE)
    }

    /// As [`Self::open`]; a checkpoint begins a new file of entries once one is so long, in bytes.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_rotated(folder: &Path, robot: RobotId, boot: BootId, longest_file: u64) -> Result<Self> {
        let layout = Layout::new(folder);
        let found = opening::find(&layout)?;
        let log = Self {
            shared: Arc::new(Shared {
                committer: Committer::start(found.writer)?,
                layout,
                resume: Mutex::new(found.resume),
                longest_file,
                read_at_open: found.read_bytes,
            }),
            robot,
            boot,
            label: None,
        };
        for subject in found.faults {
            log.put_fault(subject)?;
        }
        Ok(log)
    }

    /// Entries are marked with this label where whoever makes them says nothing else.
    #[must_use]
    pub fn labelled(mut self, label: Labels) -> Self {
        self.label = Some(label);
        self
    }

    /// Puts on record that something is wrong with the log.
    pub(crate) fn put_fault(&self, subject: String) -> Result<()> {
        tracing::error!(%subject, "the audit log is not as it should be; what is there is kept");
        let now_utc_ms = SystemClock::new().utc_ms().unwrap_or_default();
        self.append(&self.entry(EntryKind::Fault, subject, now_utc_ms, Outcome::Failed))?;
        Ok(())
    }

    /// Appends an entry; on return it is on the disk. What others append meanwhile goes there with it.
    ///
    /// # Errors
    /// The file system's; the entry then does not count.
    pub fn append(&self, entry: &Entry) -> Result<u64> {
        let pending = self.shared.committer.submit(record(entry)?);
        pending.wait().map_err(AgentError::from)
    }

    /// Appends entries together; on return all are on the disk.
    ///
    /// # Errors
    /// As [`Self::append`]; some of them may then count.
    pub fn append_each(&self, entries: &[Entry]) -> Result<()> {
        let records = entries.iter().map(record).collect::<Result<Vec<_>>>()?;
        let submitted = records
            .into_iter()
            .map(|record| self.shared.committer.submit(record));
        let pending: Vec<_> = submitted.collect();
        pending
            .into_iter()
            .try_for_each(|pending| pending.wait().map(|_| ()))
            .map_err(AgentError::from)
    }

    /// Puts a decision on record before it takes effect, as the level of its label asks: on the disk, or within a bound, which the
    /// entry then names.
    ///
    /// # Errors
    /// As [`Self::append`]; also where the disk refused what was taken before. The decision must then take no effect.
    pub fn record(&self, mut entry: Entry) -> Result<()> {
        let level = entry.label.as_ref().map(|label| label.level);
        let durability = level.map_or(Durability::Durable, Durability::of);
        entry.within_ms = durability.within_ms();
        match durability {
            Durability::Durable => self.append(&entry).map(|_| ()),
            Durability::Bounded { within_ms } => {
                let within = Duration::from_millis(within_ms.into());
                let submitted = self.shared.committer.submit_within(record(&entry)?, within);
                submitted.map_err(AgentError::from)
            }
        }
    }

    /// How many entries there are, and the Merkle root over them (RFC 6962).
    pub fn head(&self) -> (u64, NodeHash) {
        self.shared.committer.writer().head()
    }

    /// How many bytes of entries were read when it was opened.
    pub fn read_at_open(&self) -> u64 {
        self.shared.read_at_open
    }

    /// A file of the log's folder.
    pub(crate) fn read_file(&self, path: &str) -> Option<Vec<u8>> {
        self.shared.layout.read(path)
    }

    /// Puts a file into the log's folder; on return it survives a power cut.
    pub(crate) fn put_file(&self, path: &str, bytes: &[u8]) -> Result<()> {
        Ok(self.shared.layout.put(path, bytes)?)
    }

    /// An entry of this robot and run.
    pub fn entry(&self, kind: EntryKind, subject: String, time_ms: u64, outcome: Outcome) -> Entry {
        Entry {
            robot: Some(self.robot.clone()),
            boot: self.boot,
            time_ms,
            kind,
            subject,
            outcome,
            reasons: Vec::new(),
            steps: Vec::new(),
            object: None,
            label: self.label.clone(),
            within_ms: None,
        }
    }
}

fn record(entry: &Entry) -> Result<Record> {
    Record::new(entry).map_err(|error| AgentError::Port(Box::new(error)))
}

impl From<Failure> for AgentError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Io(_, Some(code)) => Self::System(io::Error::from_raw_os_error(code)),
            Failure::Io(kind, None) => Self::System(kind.into()),
            Failure::Broken => Self::AuditBroken,
            Failure::Full => Self::AuditFull,
        }
    }
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
