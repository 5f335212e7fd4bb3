//! One gate: whether commands may pass, in one atomic word.
//!
//! This file is compiled twice: here with the processor's atomics, and by `tests/gate_interleavings.rs` with those of a
//! checker that tries every order in which threads may meet at it.

use super::atomic::{AtomicU64, Ordering};

const CLOSED: u64 = 1;
const GENERATION: u64 = 2;

/// Whether commands may pass, in one atomic word: a closed bit and a generation that every stop and every
/// opening moves on.
///
/// A gate starts closed (DESIGN §4, rearm). [`Gate::close`] never waits and cannot fail; a [`Passage`] taken before
/// a stop is worthless after it, even when the gate was opened again in between.
#[derive(Debug)]
pub(crate) struct Gate {
    word: AtomicU64,
}

/// That a command's validation began while the gate was open. It carries the generation, so that
/// a stop since is seen.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Passage {
    word: u64,
}

/// The closure that a rearm is meant to end. A stop that comes later voids it, so a stop always wins over a
/// rearm that was already being verified.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Closure {
    word: u64,
}

/// Why a gate was not opened.
#[derive(Copy, Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum OpenError {
    /// Another stop came after the rearm's verification began.
    #[error("a stop came while the rearm was being verified: the gate stays closed; rearm for the new stop")]
    StoppedMeanwhile,
    /// The gate is open already.
    #[error("the gate is open: there is no stop to end")]
    NotClosed,
}

impl Passage {
    /// The word as it was when the passage was taken.
    pub(crate) const fn word(self) -> u64 {
        self.word
    }
}

impl Gate {
    /// A gate that is closed until a rearm is verified.
    pub(crate) fn new_closed() -> Self {
        Self {
            word: AtomicU64::new(CLOSED),
        }
    }

    /// Closes the gate. Never waits, never fails, may be called any number of times from anywhere.
    ///
    /// The first step voids what was handed out (passages, and rearms being verified); the second closes. Whatever
    /// comes between them ends closed, because the closing is last.
    pub(crate) fn close(&self) {
        self.word.fetch_add(GENERATION, Ordering::SeqCst);
        self.word.fetch_or(CLOSED, Ordering::SeqCst);
    }

    /// Begins a command's validation; nothing while the gate is closed.
    pub(crate) fn admit(&self) -> Option<Passage> {
        let word = self.word.load(Ordering::SeqCst);
        (word & CLOSED == 0).then_some(Passage { word })
    }

    /// Whether no stop came since the passage was taken. Asked last, after all other checks of a command.
    pub(crate) fn still_open(&self, passage: Passage) -> bool {
        self.word.load(Ordering::SeqCst) == passage.word
    }

    /// The word as it is now: any stop and any opening since makes a difference.
    pub(crate) fn word(&self) -> u64 {
        self.word.load(Ordering::SeqCst)
    }

    /// Whether the gate is closed now.
    pub(crate) fn is_closed(&self) -> bool {
        self.word.load(Ordering::SeqCst) & CLOSED != 0
    }

    /// The present closure, for a rearm to name; nothing while the gate is open.
    pub(crate) fn closure(&self) -> Option<Closure> {
        let word = self.word.load(Ordering::SeqCst);
        (word & CLOSED != 0).then_some(Closure { word })
    }

    /// Ends one closure. Only a verified rearm's holder calls it.
    pub(crate) fn open(&self, closure: Closure) -> Result<(), OpenError> {
        let closed = closure.word;
        let open = closed.wrapping_add(GENERATION) & !CLOSED;
        match self
            .word
            .compare_exchange(closed, open, Ordering::SeqCst, Ordering::SeqCst)
        {
            Ok(_) => Ok(()),
            Err(now) if now & CLOSED == 0 => Err(OpenError::NotClosed),
            Err(_) => Err(OpenError::StoppedMeanwhile),
        }
    }
}
