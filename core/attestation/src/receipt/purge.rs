//! The receipt of a purge: proof that a robot's TPM was cleared (TPM2_Clear, TPM 2.0 Part 3, §24.6).
//!
//! TPM2_Clear sets Clock, resetCount and restartCount to zero and is the only thing that lowers them for a key of the
//! endorsement hierarchy, whose seed it does not change. So two quotes of the same attestation key, the later one with the
//! earlier count, prove that the chip was cleared between them: all owner keys, all indices and every authorisation are
//! gone. The earlier quote is the one in the receipt of the stop before the purge; the later one names it.

use super::verify::{Expected, Outcome, ReceiptVerdict, pcr_value, verify_receipt};
use super::{MAX_SIGNED_BYTES, bounded};
use crate::attest::ClockInfo;
use crate::certify::Signed;
use crate::quote::verify_quote;
use alcub3_crypto::tpm::Signature;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{RobotId, domain};

const VERSION: u64 = 1;
/// A stop's receipt holds three signed parts and its statement.
const MAX_STOP_RECEIPT: usize = 8 * MAX_SIGNED_BYTES;

/// The robot's account of its purge. Signed through the quote's qualifying data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeStatement {
    /// The robot.
    pub robot: RobotId,
    /// The order by which it was purged, as the authority signed it, hashed.
    pub order: Digest,
    /// The receipt of the stop before the purge, hashed.
    pub stop_receipt: Digest,
    /// When it was purged, UTC in milliseconds since 1970, by the robot's clock.
    pub purged_utc_ms: u64,
    /// The lockdown PCR at the quote.
    pub pcr: Digest,
}

impl PurgeStatement {
    /// Extra data of the quote, by the signing scheme's hash: H("alcub3/purge-receipt/v1" ‖ H(statement)).
    #[must_use]
    pub fn qualifying_data(&self, alg: HashAlg) -> Digest {
        let statement = alg.digest(&[&self.to_canonical()]);
        alg.digest(&[domain::PURGE_RECEIPT.as_bytes(), statement.as_bytes()])
    }

    fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::PURGE_RECEIPT, VERSION, 5);
        out.u64(2).text(self.robot.as_str());
        out.u64(3).digest(&self.order).u64(4).digest(&self.stop_receipt);
        out.u64(5).u64(self.purged_utc_ms).u64(6).digest(&self.pcr);
        out.finish()
    }

    fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::PURGE_RECEIPT, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::PURGE_RECEIPT, VERSION)?;
        fields.key(r, 2, "robot")?;
        let robot = r.text("robot")?;
        let robot = RobotId::new(robot).map_err(|_| r.fault("robot", Fault::Value))?;
        fields.key(r, 3, "order")?;
        let order = r.digest("order")?;
        fields.key(r, 4, "stop_receipt")?;
        let stop_receipt = r.digest("stop_receipt")?;
        fields.key(r, 5, "purged_utc_ms")?;
        let purged_utc_ms = r.u64("purged_utc_ms")?;
        fields.key(r, 6, "pcr")?;
        let pcr = r.digest("pcr")?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            robot,
            order,
            stop_receipt,
            purged_utc_ms,
            pcr,
        })
    }
}

/// A purge's receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeReceipt {
    /// The robot's account.
    pub statement: PurgeStatement,
    /// The receipt of the stop before the purge.
    pub stop_receipt: Vec<u8>,
    /// TPM2_Quote over the lockdown PCR after TPM2_Clear; extra data [`PurgeStatement::qualifying_data`].
    pub quote: Signed,
}

impl PurgeReceipt {
    /// Whether bytes begin as a purge's receipt and not as a stop's.
    #[must_use]
    pub fn is_one(bytes: &[u8]) -> bool {
        let mut reader = Reader::new(domain::PURGE_RECEIPT, bytes);
        reader.structure(domain::PURGE_RECEIPT, VERSION).is_ok()
    }

    /// The canonical CBOR of the receipt.
    #[must_use]
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::PURGE_RECEIPT, VERSION, 3);
        out.u64(2).bytes(&self.statement.to_canonical());
        out.u64(3).bytes(&self.stop_receipt);
        out.u64(4)
            .array(2)
            .bytes(&self.quote.message)
            .bytes(&self.quote.signature);
        out.finish()
    }

    /// The receipt of exactly these bytes.
    ///
    /// # Errors
    /// Unknown version or field, a part that is too long, bytes after its end.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::PURGE_RECEIPT, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::PURGE_RECEIPT, VERSION)?;
        fields.key(r, 2, "statement")?;
        let statement = PurgeStatement::from_canonical(r.bytes("statement")?)?;
        fields.key(r, 3, "stop_receipt")?;
        let stop_receipt = r.bytes("stop_receipt")?;
        if stop_receipt.len() > MAX_STOP_RECEIPT {
            return Err(r.fault("stop_receipt", Fault::TooLong));
        }
        let stop_receipt = stop_receipt.to_vec();
        fields.key(r, 4, "quote")?;
        r.array_of("quote", 2)?;
        let quote = Signed {
            message: bounded(r, "quote")?,
            signature: bounded(r, "quote")?,
        };
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            statement,
            stop_receipt,
            quote,
        })
    }
}

/// Why a purge's receipt is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PurgeReason {
    /// The bytes are no receipt.
    Malformed,
    /// Another robot.
    Robot,
    /// The stop before it is not proven.
    Stop,
    /// The receipt of the stop is not the one that the statement names.
    OtherStop,
    /// The quote after it.
    Quote,
    /// The clock did not go back.
    NotCleared,
    /// It was purged by another order than the one that the verifier knows.
    OtherOrder,
}

impl PurgeReason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::Malformed,
        Self::Robot,
        Self::Stop,
        Self::OtherStop,
        Self::Quote,
        Self::NotCleared,
        Self::OtherOrder,
    ];

    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "receipt-malformed",
            Self::Robot => "robot",
            Self::Stop => "stop-not-proven",
            Self::OtherStop => "other-stop",
            Self::Quote => "quote",
            Self::NotCleared => "not-cleared",
            Self::OtherOrder => "other-order",
        }
    }

    /// What it means.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Malformed => "the bytes are not exactly one purge receipt of a known version",
            Self::Robot => "the receipt is of another robot",
            Self::Stop => "the receipt of the stop before the purge is refused, or has no quote",
            Self::OtherStop => "the receipt of the stop is not the one that the robot's statement names",
            Self::OtherOrder => "the robot's statement names another order than the newest one for it",
            Self::Quote => "the quote after the purge is not the robot's over this statement and PCR value",
            Self::NotCleared => {
                "the TPM's reset count and clock after the purge are not before those at the stop: it was not cleared"
            }
        }
    }
}

/// The judgement of a purge's receipt: proven or refused, nothing between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeVerdict {
    /// Why it is refused; empty where the purge is proven.
    pub reasons: Vec<PurgeReason>,
    /// The robot's account; `None` when the receipt does not parse.
    pub statement: Option<PurgeStatement>,
    /// The judgement of the stop before it.
    pub stop: Option<ReceiptVerdict>,
    /// The TPM's clock after the purge.
    pub clock: Option<ClockInfo>,
}

impl PurgeVerdict {
    /// Whether the TPM was cleared after that stop.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.reasons.is_empty()
    }

    fn malformed() -> Self {
        Self {
            reasons: vec![PurgeReason::Malformed],
            statement: None,
            stop: None,
            clock: None,
        }
    }
}

/// Judges a purge's receipt: the stop before it, the statement's binding, the quote after it, and that the TPM's counts
/// went back between the two quotes.
#[must_use]
pub fn verify_purge_receipt(bytes: &[u8], expected: &Expected<'_>) -> PurgeVerdict {
    let Ok(receipt) = PurgeReceipt::from_canonical(bytes) else {
        return PurgeVerdict::malformed();
    };
    let statement = &receipt.statement;
    let stop = verify_receipt(&receipt.stop_receipt, expected);
    let mut reasons = Vec::new();
    let robots = [expected.robot, stop.statement.as_ref().map(|s| &s.event.robot)];
    if robots
        .into_iter()
        .flatten()
        .any(|robot| *robot != statement.robot)
    {
        reasons.push(PurgeReason::Robot);
    }
    let named = statement.stop_receipt.alg().digest(&[&receipt.stop_receipt]);
    if named != statement.stop_receipt {
        reasons.push(PurgeReason::OtherStop);
    }
    let before = stop.clock.filter(|_| stop.outcome != Outcome::Refused);
    if before.is_none() {
        reasons.push(PurgeReason::Stop);
    }
    let after = quoted_clock(&receipt, expected);
    if after.is_none() {
        reasons.push(PurgeReason::Quote);
    }
    // No reset, restart or loss of power does this: an unorderly one may turn Clock back a little, and raises resetCount.
    if before
        .zip(after)
        .is_some_and(|(before, after)| !after.is_before(&before))
    {
        reasons.push(PurgeReason::NotCleared);
    }
    PurgeVerdict {
        reasons,
        clock: after,
        stop: Some(stop),
        statement: Some(receipt.statement),
    }
}

fn quoted_clock(receipt: &PurgeReceipt, expected: &Expected<'_>) -> Option<ClockInfo> {
    let signature = Signature::from_tpmt_signature(&receipt.quote.signature).ok()?;
    let statement = &receipt.statement;
    let binding = statement.qualifying_data(signature.scheme.hash());
    let values = pcr_value(expected.pcrs.lockdown(), statement.pcr)?;
    let key = expected.attestation_key;
    let quote = verify_quote(
        key,
        &signature,
        &receipt.quote.message,
        binding.as_bytes(),
        values,
    );
    Some(quote.ok()?.clock())
}
