//! The audit log on disk.

use crate::{AgentError, Result};
use alcub3_audit_log::{AppendError, Entry, EntryKind, LogFile, LogWriter, NodeHash, Outcome, Step};
use alcub3_crypto::HashAlg;
use alcub3_security_hal::{AuditSink, Clock, PortError, StopReport, SystemClock};
use alcub3_trust_model::{BootId, RobotId};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const FILE: &str = "audit.log";

/// The robot's audit log. Cloning shares it.
#[derive(Clone)]
pub struct AuditFile {
    log: Arc<Mutex<LogWriter<Disk>>>,
    robot: RobotId,
    boot: BootId,
}

struct Disk(File);

impl LogFile for Disk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)?;
        self.0.seek(SeekFrom::Start(length)).map(|_| ())
    }
}

impl AuditFile {
    /// Where the log of a state folder is.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join(FILE)
    }

    /// Opens the log in a folder and reads it whole. An entry that a crash cut off was never acknowledged: it is
    /// removed. Damage before other entries stays where it is, counts as one entry, and is named by an entry of its own.
    ///
    /// # Errors
    /// The file system's.
    pub fn open(folder: &Path, robot: RobotId, boot: BootId) -> Result<Self> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(Self::path(folder))?;
        // The file's name must outlive a power cut as well as its entries do.
        File::open(folder)?.sync_all()?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        let (writer, damage) = LogWriter::open(Disk(file), &content)?;
        let log = Self {
            log: Arc::new(Mutex::new(writer)),
            robot,
            boot,
        };
        for subject in damage {
            tracing::error!(%subject, "the audit log's file is damaged; the entries before and after are kept");
            let now_utc_ms = SystemClock::new().utc_ms().unwrap_or_default();
            log.append(&log.entry(EntryKind::Fault, subject, now_utc_ms, Outcome::Failed))?;
        }
        Ok(log)
    }

    fn lock(&self) -> MutexGuard<'_, LogWriter<Disk>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends an entry; on return it is on the disk.
    ///
    /// # Errors
    /// The file system's; the entry then does not count.
    pub fn append(&self, entry: &Entry) -> Result<u64> {
        self.lock().append(entry).map_err(|error| match error {
            AppendError::Entry(error) => AgentError::Port(Box::new(error)),
            AppendError::Io(error) => AgentError::System(error),
            AppendError::Broken => AgentError::AuditBroken,
        })
    }

    /// How many entries there are, and the Merkle root over them (RFC 6962).
    pub fn head(&self) -> (u64, NodeHash) {
        self.lock().head()
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
