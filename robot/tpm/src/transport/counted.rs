//! Counts the commands of a transport, so that "this takes two TPM commands" is a test and not a belief.

use super::{Cancel, Transport, TransportError, TransportKind};
use crate::command::CommandCode;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How many of the last commands are remembered in their order.
pub const COUNTED_LOG: usize = 4096;

/// A transport that counts what is sent over it, and over its emergency descriptor.
pub struct Counted<T> {
    inner: T,
    counts: Counts,
}

impl<T: Transport> Counted<T> {
    /// Counts what is sent over `inner` from now on.
    pub fn new(inner: T) -> Self {
        Self {
            inner,
            counts: Counts::default(),
        }
    }

    /// The counters, which live on when the transport is handed to its owner thread.
    pub fn counts(&self) -> Counts {
        self.counts.clone()
    }
}

/// Counters shared with a [`Counted`] transport. A command counts when it is handed to the transport, whatever
/// becomes of it.
#[derive(Clone, Default)]
pub struct Counts(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    total: u64,
    by_code: BTreeMap<CommandCode, u64>,
    log: VecDeque<CommandCode>,
}

impl Counts {
    /// All commands since the start or the last [`reset`](Self::reset).
    pub fn total(&self) -> u64 {
        self.inner().total
    }

    /// Commands with this code.
    pub fn of(&self, code: CommandCode) -> u64 {
        self.inner().by_code.get(&code).copied().unwrap_or(0)
    }

    /// All counters, by command code.
    pub fn by_code(&self) -> BTreeMap<CommandCode, u64> {
        self.inner().by_code.clone()
    }

    /// The last [`COUNTED_LOG`] commands in the order in which they were sent.
    pub fn log(&self) -> Vec<CommandCode> {
        self.inner().log.iter().copied().collect()
    }

    /// The commands sent after `total` of them had been, so `let mark = counts.total(); …; counts.since(mark)`
    /// is what an operation sent. Reaches back [`COUNTED_LOG`] commands.
    pub fn since(&self, total: u64) -> Vec<CommandCode> {
        let inner = self.inner();
        let wanted = usize::try_from(inner.total.saturating_sub(total)).unwrap_or(usize::MAX);
        let skipped = inner.log.len().saturating_sub(wanted);
        inner.log.iter().skip(skipped).copied().collect()
    }

    /// Sets all counters to nothing.
    pub fn reset(&self) {
        *self.inner() = Inner::default();
    }

    fn note(&self, command: &[u8]) {
        let code = command_code(command);
        let mut inner = self.inner();
        inner.total += 1;
        *inner.by_code.entry(code).or_default() += 1;
        if inner.log.len() == COUNTED_LOG {
            inner.log.pop_front();
        }
        inner.log.push_back(code);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The code in a command's header; 0 where there is none.
pub(super) fn command_code(command: &[u8]) -> CommandCode {
    let field = command
        .get(6..10)
        .and_then(|f| <[u8; 4]>::try_from(f).ok())
        .unwrap_or_default();
    CommandCode(u32::from_be_bytes(field))
}

impl<T: Transport> Transport for Counted<T> {
    fn transmit(
        &mut self,
        command: &[u8],
        response: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<(), TransportError> {
        self.counts.note(command);
        self.inner.transmit(command, response, deadline)
    }

    fn canceller(&self) -> Option<Box<dyn Cancel>> {
        self.inner.canceller()
    }

    fn emergency(&mut self) -> Result<Option<Box<dyn Transport>>, TransportError> {
        let second = self.inner.emergency()?;
        Ok(second.map(|inner| {
            Box::new(Counted {
                inner,
                counts: self.counts.clone(),
            }) as Box<dyn Transport>
        }))
    }

    fn kind(&self) -> TransportKind {
        self.inner.kind()
    }
}
