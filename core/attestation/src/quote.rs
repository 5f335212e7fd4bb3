//! Quotes: the proof that a TPM held these PCR values when it saw this nonce.

use crate::attest::{Attest, AttestError, Attested, ClockInfo};
use crate::pcr::{PcrSelection, PcrValues};
use alcub3_crypto::tpm::Signature;
use alcub3_crypto::{CryptoError, Digest, HashAlg, VerifyingKey, constant_time_eq};
use thiserror::Error;

/// Why a quote proves nothing.
#[derive(Debug, Error)]
pub enum QuoteError {
    /// The key did not sign this message.
    #[error(
        "the signature does not verify under this attestation key: message, signature or key is not of this quote"
    )]
    Signature(#[source] CryptoError),
    /// The message is not a TPMS_ATTEST.
    #[error("the message is not an attestation of a TPM")]
    Message(#[source] AttestError),
    /// The message states something else than a quote.
    #[error("the message is an attestation, but not a quote; hand in what TPM2_Quote returned")]
    NotAQuote,
    /// The quote carries another nonce.
    #[error("the quote was made for another nonce: it is a replay, or belongs to another request")]
    ExtraData,
    /// The quote selects other PCRs.
    #[error("the quote selects {quoted}, the values handed in are of {given}")]
    Selection {
        /// What the quote selects.
        quoted: PcrSelection,
        /// What the values are of.
        given: PcrSelection,
    },
    /// The values are not those quoted.
    #[error("the PCR values are not the quoted ones: at least one of them was changed")]
    PcrDigest,
}

/// A quote whose signature, nonce and PCR values were all checked. Only [`verify_quote`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedQuote {
    pcrs: PcrValues,
    hash: HashAlg,
    clock: ClockInfo,
    firmware_version: u64,
}

impl VerifiedQuote {
    /// The PCR values the TPM held.
    #[must_use]
    pub const fn pcrs(&self) -> &PcrValues {
        &self.pcrs
    }

    /// The signing scheme's hash, which the PCR digest is of.
    #[must_use]
    pub const fn hash(&self) -> HashAlg {
        self.hash
    }

    /// The TPM's clock at the time of the quote.
    #[must_use]
    pub const fn clock(&self) -> ClockInfo {
        self.clock
    }

    /// The TPM's vendor-specific firmware version.
    #[must_use]
    pub const fn firmware_version(&self) -> u64 {
        self.firmware_version
    }
}

/// What a quote says of PCRs whose values are not at hand: which, and their digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotedDigest {
    /// Which PCRs, in the quote's order.
    pub selection: PcrSelection,
    /// The digest over their values, by the signing scheme's hash.
    pub digest: Digest,
    /// The TPM's clock at the time of the quote.
    pub clock: ClockInfo,
}

/// Checks a quote without its PCR values: signature, the TPM's mark, the type and the extra data. What is signed is the
/// digest; whether its values are good is not known from it.
///
/// # Errors
/// The first check that fails.
pub fn verify_quoted_digest(
    key: &VerifyingKey,
    signature: &Signature,
    message: &[u8],
    extra_data: &[u8],
) -> Result<QuotedDigest, QuoteError> {
    signature.verify(key, message).map_err(QuoteError::Signature)?;
    let attest = Attest::parse(message).map_err(QuoteError::Message)?;
    let Attested::Quote(quote) = attest.attested else {
        return Err(QuoteError::NotAQuote);
    };
    if !constant_time_eq(attest.extra_data, extra_data) {
        return Err(QuoteError::ExtraData);
    }
    let hash = signature.scheme.hash();
    Ok(QuotedDigest {
        selection: quote.selection,
        digest: Digest::from_slice(hash, quote.digest).ok_or(QuoteError::PcrDigest)?,
        clock: attest.clock,
    })
}

/// Checks a quote: signature (RSASSA, RSAPSS or ECDSA with an approved hash), the TPM's mark, the type, the extra
/// data, the selection and the digest over the PCR values by the signing scheme's hash.
///
/// # Errors
/// The first check that fails. The signature comes first, so that any other error is about what a TPM signed.
pub fn verify_quote(
    key: &VerifyingKey,
    signature: &Signature,
    message: &[u8],
    extra_data: &[u8],
    pcrs: PcrValues,
) -> Result<VerifiedQuote, QuoteError> {
    signature.verify(key, message).map_err(QuoteError::Signature)?;
    let attest = Attest::parse(message).map_err(QuoteError::Message)?;
    let Attested::Quote(quote) = attest.attested else {
        return Err(QuoteError::NotAQuote);
    };
    if !constant_time_eq(attest.extra_data, extra_data) {
        return Err(QuoteError::ExtraData);
    }
    if quote.selection != *pcrs.selection() {
        return Err(QuoteError::Selection {
            quoted: quote.selection,
            given: *pcrs.selection(),
        });
    }
    let hash = signature.scheme.hash();
    if !constant_time_eq(quote.digest, pcrs.digest(hash).as_bytes()) {
        return Err(QuoteError::PcrDigest);
    }
    Ok(VerifiedQuote {
        pcrs,
        hash,
        clock: attest.clock,
        firmware_version: attest.firmware_version,
    })
}
