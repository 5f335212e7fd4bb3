//! Group commit: what many callers append goes to the disk with one write and one fdatasync.
//!
//! A thread of its own writes. While it waits for the disk, what comes is the next group. Who appended durably waits for his group;
//! what was appended with a bound goes with the next one, at the latest when its time has come.

use super::disk::Disk;
use alcub3_audit_log::{AppendError, LogWriter, Record};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The most bytes that wait for the disk; beyond them nothing more is taken with a bound.
const MOST_WAITING: usize = 8 << 20;
/// The pause before what waits is written again after the disk refused it.
const RETRY: Duration = Duration::from_millis(200);

/// Why a group is not on the disk; known to all who wait for it.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// The operating system's.
    Io(io::ErrorKind, Option<i32>),
    /// The file could not be brought back to its last whole entry.
    Broken,
    /// More waits for the disk than may.
    Full,
}

impl Failure {
    fn of(error: &AppendError) -> Self {
        match error {
            AppendError::Io(error) => Self::Io(error.kind(), error.raw_os_error()),
            AppendError::Entry(_) | AppendError::Broken => Self::Broken,
        }
    }
}

/// One group. Its outcome comes once.
#[derive(Debug, Default)]
struct Group {
    /// The index of its first entry.
    outcome: Mutex<Option<Result<u64, Failure>>>,
    done: Condvar,
}

impl Group {
    fn end(&self, outcome: Result<u64, Failure>) {
        *lock(&self.outcome) = Some(outcome);
        self.done.notify_all();
    }

    fn wait(&self) -> Result<u64, Failure> {
        let waited = self
            .done
            .wait_while(lock(&self.outcome), |outcome| outcome.is_none());
        let outcome = waited.unwrap_or_else(PoisonError::into_inner);
        outcome.clone().unwrap_or(Err(Failure::Broken))
    }
}

/// An entry that was handed over durably.
#[must_use = "the entry is on the disk only once this was waited for"]
#[derive(Debug)]
pub(super) struct Pending {
    group: Arc<Group>,
    place: u64,
}

impl Pending {
    /// Waits until it is on the disk; gives its index.
    pub(super) fn wait(self) -> Result<u64, Failure> {
        Ok(self.group.wait()?.saturating_add(self.place))
    }
}

#[derive(Debug, Default)]
struct Queue {
    group: Arc<Group>,
    /// What callers wait for.
    awaited: Vec<Record>,
    /// What nobody waits for. It comes first in a group, so that each caller's entries keep their order, and outlives a write that
    /// failed.
    bounded: Vec<Record>,
    bytes: usize,
    /// When the first of the bounded ones must be on the disk.
    due: Option<Instant>,
    /// Why the last write failed, if it did.
    failing: Option<Failure>,
    is_closed: bool,
}

struct Taken {
    group: Arc<Group>,
    records: Vec<Record>,
    bounded: usize,
}

impl Queue {
    /// How long the writer may sleep; none where it has work now.
    fn sleep(&self, now: Instant) -> Option<Duration> {
        if self.is_closed || !self.awaited.is_empty() {
            return None;
        }
        match self.due {
            Some(due) => due.checked_duration_since(now).filter(|left| !left.is_zero()),
            None => Some(Duration::MAX),
        }
    }

    fn take(&mut self) -> Taken {
        let mut records = std::mem::take(&mut self.bounded);
        let bounded = records.len();
        records.append(&mut self.awaited);
        (self.bytes, self.due) = (0, None);
        Taken {
            group: std::mem::take(&mut self.group),
            records,
            bounded,
        }
    }

    /// Puts back what nobody waits for, in front of what came since.
    fn put_back(&mut self, mut taken: Taken, failure: Failure) {
        taken.records.truncate(taken.bounded);
        let since = std::mem::replace(&mut self.bounded, taken.records);
        self.bounded.extend(since);
        self.bytes = self
            .bounded
            .iter()
            .chain(&self.awaited)
            .map(|record| record.as_bytes().len())
            .sum();
        self.failing = Some(failure);
        self.due = (!self.bounded.is_empty()).then(|| Instant::now() + RETRY);
    }
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    writer: Mutex<LogWriter<Disk>>,
}

impl Shared {
    /// Writes what waits; whether there may be more.
    fn write_next(&self) -> bool {
        let mut queue = lock(&self.queue);
        while let Some(sleep) = queue.sleep(Instant::now()) {
            queue = if sleep == Duration::MAX {
                self.work.wait(queue).unwrap_or_else(PoisonError::into_inner)
            } else {
                let waited = self.work.wait_timeout(queue, sleep);
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
        }
        let (taken, is_closed) = (queue.take(), queue.is_closed);
        drop(queue);
        if taken.records.is_empty() {
            return !is_closed;
        }
        let group = taken.group.clone();
        let bounded = u64::try_from(taken.bounded).unwrap_or(u64::MAX);
        let written = lock(&self.writer).append_all(&taken.records);
        let outcome = match written {
            Ok(first) => {
                lock(&self.queue).failing = None;
                Ok(first.saturating_add(bounded))
            }
            Err(error) => {
                tracing::error!(%error, entries = taken.records.len(), "entries are not in the audit log");
                let failure = Failure::of(&error);
                lock(&self.queue).put_back(taken, failure.clone());
                Err(failure)
            }
        };
        let failed = outcome.is_err();
        group.end(outcome);
        !(is_closed && failed)
    }
}

/// The thread that writes, and what it shares with those who append.
#[derive(Debug)]
pub(super) struct Committer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts the thread.
    pub(super) fn start(writer: LogWriter<Disk>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
            writer: Mutex::new(writer),
        });
        let writing = shared.clone();
        let thread = thread::Builder::new()
            .name("audit-log".to_owned())
            .spawn(move || while writing.write_next() {})?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Hands an entry over whose caller waits until it is on the disk.
    pub(super) fn submit(&self, record: Record) -> Pending {
        let mut queue = lock(&self.shared.queue);
        let place = u64::try_from(queue.awaited.len()).unwrap_or(u64::MAX);
        queue.bytes = queue.bytes.saturating_add(record.as_bytes().len());
        queue.awaited.push(record);
        let group = queue.group.clone();
        drop(queue);
        if place == 0 {
            self.shared.work.notify_one();
        }
        Pending { group, place }
    }

    /// Takes an entry that is on the disk within a time. While the disk refuses what was taken before, nothing is taken that it has not
    /// got: whoever comes waits for it, and so finds out that it takes entries again.
    pub(super) fn submit_within(&self, record: Record, within: Duration) -> Result<(), Failure> {
        let mut queue = lock(&self.shared.queue);
        if queue.failing.is_some() {
            drop(queue);
            return self.submit(record).wait().map(|_| ());
        }
        let bytes = queue.bytes.saturating_add(record.as_bytes().len());
        if bytes > MOST_WAITING {
            return Err(Failure::Full);
        }
        queue.bytes = bytes;
        queue.bounded.push(record);
        let due = Instant::now() + within;
        let is_first = queue.due.is_none_or(|before| due < before);
        if is_first {
            queue.due = Some(due);
        }
        drop(queue);
        if is_first {
            self.shared.work.notify_one();
        }
        Ok(())
    }

    /// The log's writer. Nothing is written while it is held.
    pub(super) fn writer(&self) -> MutexGuard<'_, LogWriter<Disk>> {
        lock(&self.shared.writer)
    }
}

impl Drop for Committer {
    /// What waits is written first.
    fn drop(&mut self) {
        lock(&self.shared.queue).is_closed = true;
        self.shared.work.notify_one();
        let ended = self.thread.take().map(JoinHandle::join);
        if ended.is_some_and(|ended| ended.is_err()) {
            tracing::error!("the writing of the audit log ended by a panic");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
