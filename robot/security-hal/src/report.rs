//! What a stop did, step by step, with times. What could not be confirmed is named, never assumed.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use alcub3_crypto::Digest;
use alcub3_trust_model::StopId;

use crate::order::StopScope;

/// The error of a port, kept with its source.
pub type PortError = Box<dyn Error + Send + Sync>;

/// A step of a stop, in the order of DESIGN §6; of the TPM's two commands in that of decision 0010.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum Step {
    /// The gate closed.
    GateClosed,
    /// Every platform adapter was handed the order.
    AdaptersTold,
    /// Secrets in memory were wiped.
    MemoryWiped,
    /// The intent was made durable.
    IntentWritten,
    /// The epoch (or anchor) was incremented.
    CounterIncremented,
    /// The lockdown (or retire) PCR was extended.
    PcrExtended,
    /// Loaded mission keys and sessions were flushed.
    KeysFlushed,
    /// The mission keys' blobs were deleted.
    BlobsDeleted,
    /// A receipt was made that proves the stop.
    ReceiptMade,
    /// The audit log has the stop.
    Audited,
    /// The intent was marked finished.
    IntentFinished,
}

impl Step {
    /// The name for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GateClosed => "gate-closed",
            Self::AdaptersTold => "adapters-told",
            Self::MemoryWiped => "memory-wiped",
            Self::IntentWritten => "intent-written",
            Self::CounterIncremented => "counter-incremented",
            Self::PcrExtended => "pcr-extended",
            Self::KeysFlushed => "keys-flushed",
            Self::BlobsDeleted => "blobs-deleted",
            Self::ReceiptMade => "receipt-made",
            Self::Audited => "audited",
            Self::IntentFinished => "intent-finished",
        }
    }
}

/// How one step, or one adapter, ended.
#[derive(Clone, Debug)]
pub enum StepOutcome {
    /// It was done, and the part that did it said so.
    Done,
    /// It was done: the TPM's signatures in the receipt prove it, although its own answer, here, did not.
    Proven(Arc<StepOutcome>),
    /// The part reported an error. The step may or may not have had its effect.
    Failed(Arc<PortError>),
    /// The part panicked. The step may or may not have had its effect.
    Panicked,
    /// No answer within the time given, in milliseconds. The part may still be at it.
    Unanswered(u64),
    /// The step could not be handed to its part, which is gone or has too much waiting.
    NotDelivered,
    /// The step needs what an earlier one did not give: there was no TPM state to sign, no record to finish.
    NotPossible,
}

impl StepOutcome {
    /// An error as an outcome.
    pub fn failed(error: impl Into<PortError>) -> Self {
        Self::Failed(Arc::new(error.into()))
    }

    /// Whether the step is confirmed.
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Done | Self::Proven(_))
    }
}

impl fmt::Display for StepOutcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => out.write_str("done"),
            Self::Proven(first) => write!(out, "done, as the receipt proves; at first {first}"),
            Self::Failed(error) => write!(out, "unconfirmed: {error}"),
            Self::Panicked => out.write_str("unconfirmed: the part that does it panicked"),
            Self::Unanswered(waited_ms) => write!(out, "unconfirmed: no answer within {waited_ms} ms"),
            Self::NotDelivered => out.write_str("unconfirmed: it could not be handed over"),
            Self::NotPossible => out.write_str("unconfirmed: an earlier step left nothing to work on"),
        }
    }
}

/// The TPM part of a stop: both commands, each attempted whatever became of the other.
#[derive(Clone, Debug)]
pub struct TpmLockOutcome {
    /// The extend of the lockdown (or retire) PCR.
    pub extend: StepOutcome,
    /// The increment of the epoch (or anchor).
    pub increment: StepOutcome,
    /// What was extended, when it was.
    pub extended: Option<Digest>,
    /// The counter's value after the increment, where the chip told it.
    pub counter: Option<u64>,
}

impl TpmLockOutcome {
    /// Whether both commands are confirmed.
    pub const fn is_done(&self) -> bool {
        self.extend.is_done() && self.increment.is_done()
    }

    /// Neither command confirmed, for the same reason.
    pub fn unconfirmed(outcome: StepOutcome) -> Self {
        Self {
            extend: outcome.clone(),
            increment: outcome,
            extended: None,
            counter: None,
        }
    }
}

/// A receipt, and what whoever checks it will find.
#[derive(Clone, Debug)]
pub struct MadeReceipt {
    /// Its canonical encoding.
    pub bytes: Vec<u8>,
    /// Whether it proves both TPM commands, whatever became of the answers to them.
    pub proves_lock: bool,
    /// What it leaves unproven; a receipt that lacks nothing proves the whole stop.
    pub lacks: Vec<&'static str>,
}

/// The receipt does not prove the whole stop.
#[derive(Debug, thiserror::Error)]
#[error("the receipt does not prove {}", .0.join(", "))]
struct IncompleteReceipt(Vec<&'static str>);

impl MadeReceipt {
    /// Done only where nothing is lacking.
    pub(crate) fn outcome(&self) -> StepOutcome {
        if self.lacks.is_empty() {
            StepOutcome::Done
        } else {
            StepOutcome::failed(IncompleteReceipt(self.lacks.clone()))
        }
    }
}

/// One step with its times on the handed clock, in nanoseconds since the stop was called.
#[derive(Clone, Debug)]
pub struct StepRecord {
    /// Which step.
    pub step: Step,
    /// When it began.
    pub began_ns: u64,
    /// When it ended, or was given up.
    pub ended_ns: u64,
    /// How it ended.
    pub outcome: StepOutcome,
}

/// One platform adapter's part, in nanoseconds since the stop was called.
#[derive(Clone, Debug)]
pub struct AdapterRecord {
    /// The adapter's name.
    pub adapter: String,
    /// When its `stop` was entered; nothing when it is not known to have been.
    pub called_ns: Option<u64>,
    /// When its `stop` returned.
    pub returned_ns: Option<u64>,
    /// How it ended.
    pub outcome: StepOutcome,
}

/// Everything a stop did.
#[derive(Clone, Debug)]
pub struct StopReport {
    /// The stop that did it.
    pub stop: StopId,
    /// What was stopped.
    pub scope: StopScope,
    /// The stop that this one joined because it was already running and covers it.
    pub joined: Option<StopId>,
    /// Wall time of the call in UTC milliseconds; 0 when the robot does not know it.
    pub called_utc_ms: u64,
    /// The steps, in order.
    pub steps: Vec<StepRecord>,
    /// The adapters.
    pub adapters: Vec<AdapterRecord>,
    /// What was extended into the PCR, when it was.
    pub extended: Option<Digest>,
    /// The counter's value after the increment, when known.
    pub counter: Option<u64>,
    /// The receipt, in its canonical encoding, when one could be made.
    pub receipt: Option<Vec<u8>>,
}

impl StopReport {
    /// The steps that are confirmed.
    pub fn confirmed(&self) -> impl Iterator<Item = &StepRecord> {
        self.steps.iter().filter(|record| record.outcome.is_done())
    }

    /// The steps that could not be confirmed.
    pub fn unconfirmed(&self) -> impl Iterator<Item = &StepRecord> {
        self.steps.iter().filter(|record| !record.outcome.is_done())
    }

    /// Whether every step and every adapter is confirmed, and the receipt proves it.
    pub fn is_complete(&self) -> bool {
        self.unconfirmed().next().is_none() && self.adapters.iter().all(|adapter| adapter.outcome.is_done())
    }

    /// How one step ended, where it was reached.
    pub fn step(&self, step: Step) -> Option<&StepRecord> {
        self.steps.iter().find(|record| record.step == step)
    }

    /// When the last adapter's `stop` was entered, in nanoseconds since the stop was called; nothing when one of
    /// them is not known to have been called.
    pub fn adapters_called_ns(&self) -> Option<u64> {
        self.adapters
            .iter()
            .try_fold(0, |latest, adapter| adapter.called_ns.map(|ns| latest.max(ns)))
    }
}
