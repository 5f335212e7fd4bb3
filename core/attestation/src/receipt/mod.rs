//! The receipt of an emergency stop (DESIGN §6, step 6), checkable offline by whoever has the robot's attestation
//! key.
//!
//! It carries the robot's own statement (what was stopped, what was extended, the times of each step, what it could
//! not confirm) and up to three things that the TPM signed: a quote over the PCR after the extend, a certification
//! of the epoch after the increment, and one of the epoch from before the stop. The first two name the statement in
//! their qualifying data, so the statement is signed as well. What a receipt lacks is unconfirmed, never assumed.

mod purge;
mod verify;

pub use purge::{PurgeReason, PurgeReceipt, PurgeStatement, PurgeVerdict, verify_purge_receipt};
pub use verify::{Expected, Outcome, ReceiptReason, ReceiptVerdict, verify_receipt};

use crate::certify::Signed;
use crate::event_log::agent::StopEvent;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{BootId, domain};
use std::collections::BTreeMap;

const VERSION: u64 = 1;
/// Bytes of any signed part at most: a TPMS_ATTEST and a TPMT_SIGNATURE of RSA-4096 have less.
const MAX_SIGNED_BYTES: usize = 4096;
const MAX_STEPS: usize = 32;
/// How often one stop may have extended its event: the emergency lane sends the command again where the answer to it was
/// no good, and nobody can tell then whether the chip had done it.
pub const MAX_EXTENDS: u8 = 4;

/// A step of a stop, in the order of DESIGN §6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The gate closed.
    GateClosed,
    /// Every platform adapter was handed the order.
    AdaptersTold,
    /// Secrets in memory were wiped.
    MemoryWiped,
    /// The intent was made durable.
    IntentWritten,
    /// The lockdown (or retire) PCR was extended.
    PcrExtended,
    /// The epoch (or anchor) was incremented.
    CounterIncremented,
    /// Loaded mission keys and sessions were flushed.
    KeysFlushed,
    /// The mission keys' blobs were deleted.
    BlobsDeleted,
}

impl Step {
    /// All steps, in order.
    pub const ALL: [Self; 8] = [
        Self::GateClosed,
        Self::AdaptersTold,
        Self::MemoryWiped,
        Self::IntentWritten,
        Self::PcrExtended,
        Self::CounterIncremented,
        Self::KeysFlushed,
        Self::BlobsDeleted,
    ];

    /// The number used on the wire.
    #[must_use]
    pub const fn id(self) -> u8 {
        match self {
            Self::GateClosed => 0,
            Self::AdaptersTold => 1,
            Self::MemoryWiped => 2,
            Self::IntentWritten => 3,
            Self::PcrExtended => 4,
            Self::CounterIncremented => 5,
            Self::KeysFlushed => 6,
            Self::BlobsDeleted => 7,
        }
    }

    /// The step of a number on the wire.
    #[must_use]
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.id() == id)
    }

    /// The name for people and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GateClosed => "gate-closed",
            Self::AdaptersTold => "adapters-told",
            Self::MemoryWiped => "memory-wiped",
            Self::IntentWritten => "intent-written",
            Self::PcrExtended => "pcr-extended",
            Self::CounterIncremented => "counter-incremented",
            Self::KeysFlushed => "keys-flushed",
            Self::BlobsDeleted => "blobs-deleted",
        }
    }
}

/// One step as the robot records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepTime {
    /// Which.
    pub step: Step,
    /// When it began, in nanoseconds since the stop was called.
    pub began_ns: u64,
    /// When it ended or was given up, in nanoseconds since the stop was called.
    pub ended_ns: u64,
    /// Whether the part that did it confirmed it.
    pub confirmed: bool,
}

/// The robot's own account of a stop. Signed through the quote's qualifying data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What was stopped: the message whose digest was extended.
    pub event: StopEvent,
    /// The run of the agent that stopped.
    pub boot: BootId,
    /// The PCR's value before the extend, of one bank.
    pub pcr_before: Digest,
    /// Its value after, of the same bank.
    pub pcr_after: Digest,
    /// How often the event was extended from the one to the other, 1 to [`MAX_EXTENDS`].
    pub extends: u8,
    /// The steps; written in order and once each.
    pub steps: Vec<StepTime>,
}

/// A stop's receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The robot's account.
    pub statement: Statement,
    /// The attestation key, SubjectPublicKeyInfo in DER, as its certificate has it.
    pub attestation_key: Vec<u8>,
    /// TPM2_Quote over exactly the stop's PCR in the bank of the statement's values; extra data
    /// [`Statement::qualifying_data`].
    pub quote: Option<Signed>,
    /// TPM2_NV_Certify of the scope's counter after the increment; extra data [`Statement::qualifying_data`].
    pub epoch_after: Option<Signed>,
    /// TPM2_NV_Certify of the scope's counter before the stop; extra data [`epoch_before_data`].
    pub epoch_before: Option<Signed>,
}

/// The value of a PCR after `times` extends of one digest.
#[must_use]
pub fn extended(before: &Digest, digest: &Digest, times: u8) -> Digest {
    (0..times).fold(*before, |value, _| value.extend(digest.as_bytes()))
}

/// How often one digest was extended between two values of a PCR, 0 to [`MAX_EXTENDS`]; `None` where something else was.
#[must_use]
pub fn extends_between(before: &Digest, after: &Digest, digest: &Digest) -> Option<u8> {
    (0..=MAX_EXTENDS).find(|times| extended(before, digest, *times) == *after)
}

/// Extra data of a certification of an epoch that is made in advance: H(domain ‖ boot id).
#[must_use]
pub fn epoch_before_data(alg: HashAlg, boot: &BootId) -> Digest {
    alg.digest(&[domain::STOP_RECEIPT.as_bytes(), boot.as_bytes()])
}

impl Statement {
    /// Extra data of the quote and of the certification after the stop, by the signing scheme's hash:
    /// H("alcub3/stop-receipt/v1" ‖ stop id (16 bytes) ‖ H(statement)).
    #[must_use]
    pub fn qualifying_data(&self, alg: HashAlg) -> Digest {
        let statement = alg.digest(&[&self.to_canonical()]);
        alg.digest(&[
            domain::STOP_RECEIPT.as_bytes(),
            self.event.stop.as_bytes(),
            statement.as_bytes(),
        ])
    }

    /// The steps that the robot could not confirm.
    pub fn unconfirmed(&self) -> impl Iterator<Item = Step> + '_ {
        let confirmed = |step: Step| self.steps.iter().any(|time| time.step == step && time.confirmed);
        Step::ALL.into_iter().filter(move |step| !confirmed(*step))
    }

    /// The canonical CBOR of the statement.
    #[must_use]
    pub fn to_canonical(&self) -> Vec<u8> {
        let repeated = usize::from(self.extends != 1);
        let mut out = Encoder::structure(domain::STOP_RECEIPT, VERSION, 5 + repeated);
        out.u64(2)
            .bytes(&self.event.message())
            .u64(3)
            .bytes(self.boot.as_bytes());
        out.u64(4).digest(&self.pcr_before).u64(5).digest(&self.pcr_after);
        let steps: BTreeMap<Step, &StepTime> = self.steps.iter().map(|time| (time.step, time)).collect();
        out.u64(6).array(steps.len());
        for time in steps.values() {
            out.array(4)
                .u64(time.step.id().into())
                .u64(time.began_ns)
                .u64(time.ended_ns)
                .bool(time.confirmed);
        }
        if self.extends != 1 {
            out.u64(7).u64(self.extends.into());
        }
        out.finish()
    }

    /// The statement of exactly these bytes.
    ///
    /// # Errors
    /// Unknown version, field or step; steps out of order; bytes after its end.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::STOP_RECEIPT, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::STOP_RECEIPT, VERSION)?;
        fields.key(r, 2, "event")?;
        let event = StopEvent::from_message(r.bytes("event")?)?;
        fields.key(r, 3, "boot")?;
        let boot = BootId::new(*r.bytes_of("boot")?);
        fields.key(r, 4, "pcr_before")?;
        let pcr_before = r.digest("pcr_before")?;
        fields.key(r, 5, "pcr_after")?;
        let pcr_after = r.digest("pcr_after")?;
        fields.key(r, 6, "steps")?;
        let steps = read_steps(r)?;
        // Once is not said, so that a statement has one encoding.
        let extends = if fields.optional(r, 7, "extends")? {
            r.id_of("extends", |times| {
                (2..=MAX_EXTENDS).contains(&times).then_some(times)
            })?
        } else {
            1
        };
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            event,
            boot,
            pcr_before,
            pcr_after,
            extends,
            steps,
        })
    }
}

fn read_steps(r: &mut Reader<'_>) -> Result<Vec<StepTime>, DecodeError> {
    let count = r.array("steps", MAX_STEPS)?;
    let mut steps: Vec<StepTime> = Vec::with_capacity(count);
    for _ in 0..count {
        r.array_of("step", 4)?;
        let step = r.id_of("step", Step::from_id)?;
        if steps.last().is_some_and(|last| last.step >= step) {
            return Err(r.fault("step", Fault::Order));
        }
        let (began_ns, ended_ns) = (r.u64("began_ns")?, r.u64("ended_ns")?);
        steps.push(StepTime {
            step,
            began_ns,
            ended_ns,
            confirmed: r.bool("confirmed")?,
        });
    }
    Ok(steps)
}

const FIELD_NAMES: [(u64, &str); 3] = [(4, "quote"), (5, "epoch_after"), (6, "epoch_before")];

impl Receipt {
    /// The canonical CBOR of the receipt.
    #[must_use]
    pub fn to_canonical(&self) -> Vec<u8> {
        let parts = [&self.quote, &self.epoch_after, &self.epoch_before];
        let present = parts.iter().filter(|part| part.is_some()).count();
        let mut out = Encoder::structure(domain::STOP_RECEIPT, VERSION, 2 + present);
        out.u64(2)
            .bytes(&self.statement.to_canonical())
            .u64(3)
            .bytes(&self.attestation_key);
        for ((key, _), part) in FIELD_NAMES.into_iter().zip(parts) {
            if let Some(signed) = part {
                out.u64(key)
                    .array(2)
                    .bytes(&signed.message)
                    .bytes(&signed.signature);
            }
        }
        out.finish()
    }

    /// The receipt of exactly these bytes.
    ///
    /// # Errors
    /// Unknown version or field, a part that is too long, bytes after its end.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::STOP_RECEIPT, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::STOP_RECEIPT, VERSION)?;
        fields.key(r, 2, "statement")?;
        let statement = Statement::from_canonical(r.bytes("statement")?)?;
        fields.key(r, 3, "attestation_key")?;
        let attestation_key = bounded(r, "attestation_key")?;
        let [mut quote, mut epoch_after, mut epoch_before] = [None, None, None];
        let parts = [&mut quote, &mut epoch_after, &mut epoch_before];
        for ((key, name), part) in FIELD_NAMES.into_iter().zip(parts) {
            if fields.optional(r, key, name)? {
                r.array_of(name, 2)?;
                *part = Some(Signed {
                    message: bounded(r, name)?,
                    signature: bounded(r, name)?,
                });
            }
        }
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            statement,
            attestation_key,
            quote,
            epoch_after,
            epoch_before,
        })
    }
}

fn bounded(r: &mut Reader<'_>, field: &'static str) -> Result<Vec<u8>, DecodeError> {
    let bytes = r.bytes(field)?;
    if bytes.len() > MAX_SIGNED_BYTES {
        return Err(r.fault(field, Fault::TooLong));
    }
    Ok(bytes.to_vec())
}
