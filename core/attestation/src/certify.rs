//! Certifications: what an attestation key says of objects, of their creation, of NV indices and of the time.
//!
//! Each `verify_*` checks the signature, the TPM's mark, the type and the extra data; its result is a type that
//! nothing else makes.

use crate::attest::{Attest, AttestError, Attested, ClockInfo};
use alcub3_crypto::tpm::{Name, Signature, StructureError};
use alcub3_crypto::{CryptoError, VerifyingKey, constant_time_eq};
use thiserror::Error;

/// Why a certification proves nothing.
#[derive(Debug, Error)]
pub enum CertifyError {
    /// The signature is malformed.
    #[error("the signature is not exactly one TPMT_SIGNATURE")]
    SignatureFormat(#[source] StructureError),
    /// The key did not sign this message.
    #[error("the signature does not verify under this attestation key")]
    Signature(#[source] CryptoError),
    /// The message is not a TPMS_ATTEST.
    #[error("the message is not an attestation of a TPM")]
    Message(#[source] AttestError),
    /// The message states something of another kind.
    #[error("the attestation is of another kind; expected was {0}")]
    Kind(&'static str),
    /// The message carries other extra data.
    #[error("the attestation was made for another purpose or nonce")]
    ExtraData,
    /// A name in it is malformed.
    #[error("a name in the attestation is malformed")]
    Name(#[source] StructureError),
}

/// A signed attestation as the TPM returned it: the TPMS_ATTEST and the TPMT_SIGNATURE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// TPMS_ATTEST.
    pub message: Vec<u8>,
    /// TPMT_SIGNATURE.
    pub signature: Vec<u8>,
}

/// An object that the TPM holds: TPM2_Certify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCertify {
    /// The object's name.
    pub name: Name,
    /// Its qualified name, which names its parents.
    pub qualified_name: Name,
    /// The TPM's clock then.
    pub clock: ClockInfo,
    sealed: Sealed,
}

/// How an object came to be: TPM2_CertifyCreation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCreation {
    /// The object's name.
    pub name: Name,
    /// Digest of its creation data.
    pub creation_hash: Vec<u8>,
    /// The TPM's clock then.
    pub clock: ClockInfo,
    sealed: Sealed,
}

/// What an NV index held: TPM2_NV_Certify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedNv {
    /// The index's name, which its public area follows from.
    pub index_name: Name,
    /// Where in the index the contents begin, in bytes.
    pub offset: u16,
    /// The contents.
    pub contents: Vec<u8>,
    /// The TPM's clock then.
    pub clock: ClockInfo,
    sealed: Sealed,
}

impl VerifiedNv {
    /// The value of a counter read in full; `None` for anything else than eight bytes from the start.
    #[must_use]
    pub fn counter(&self) -> Option<u64> {
        let bytes: [u8; 8] = self.contents.as_slice().try_into().ok()?;
        (self.offset == 0).then_some(u64::from_be_bytes(bytes))
    }
}

/// The TPM's time: TPM2_GetTime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedTime {
    /// Milliseconds since the TPM was last powered.
    pub time_ms: u64,
    /// The TPM's clock.
    pub clock: ClockInfo,
    /// Vendor-specific firmware version.
    pub firmware_version: u64,
    sealed: Sealed,
}

/// Keeps the results above from being made anywhere but here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sealed;

/// Checks a TPM2_Certify.
///
/// # Errors
/// The first check that fails.
pub fn verify_certify(
    key: &VerifyingKey,
    signed: &Signed,
    extra_data: &[u8],
) -> Result<VerifiedCertify, CertifyError> {
    let attest = verify(key, signed, extra_data)?;
    let Attested::Certify { name, qualified_name } = attest.attested else {
        return Err(CertifyError::Kind("TPM2_Certify"));
    };
    Ok(VerifiedCertify {
        name: parse_name(name)?,
        qualified_name: parse_name(qualified_name)?,
        clock: attest.clock,
        sealed: Sealed,
    })
}

/// Checks a TPM2_CertifyCreation.
///
/// # Errors
/// The first check that fails.
pub fn verify_creation(
    key: &VerifyingKey,
    signed: &Signed,
    extra_data: &[u8],
) -> Result<VerifiedCreation, CertifyError> {
    let attest = verify(key, signed, extra_data)?;
    let Attested::Creation { name, creation_hash } = attest.attested else {
        return Err(CertifyError::Kind("TPM2_CertifyCreation"));
    };
    let creation_hash = creation_hash.to_vec();
    Ok(VerifiedCreation {
        name: parse_name(name)?,
        creation_hash,
        clock: attest.clock,
        sealed: Sealed,
    })
}

/// Checks a TPM2_NV_Certify.
///
/// # Errors
/// The first check that fails.
pub fn verify_nv(key: &VerifyingKey, signed: &Signed, extra_data: &[u8]) -> Result<VerifiedNv, CertifyError> {
    let attest = verify(key, signed, extra_data)?;
    let Attested::Nv {
        index_name,
        offset,
        contents,
    } = attest.attested
    else {
        return Err(CertifyError::Kind("TPM2_NV_Certify"));
    };
    let (index_name, contents) = (parse_name(index_name)?, contents.to_vec());
    Ok(VerifiedNv {
        index_name,
        offset,
        contents,
        clock: attest.clock,
        sealed: Sealed,
    })
}

/// Checks a TPM2_GetTime.
///
/// # Errors
/// The first check that fails.
pub fn verify_time(
    key: &VerifyingKey,
    signed: &Signed,
    extra_data: &[u8],
) -> Result<VerifiedTime, CertifyError> {
    let attest = verify(key, signed, extra_data)?;
    let Attested::Time {
        time_ms,
        clock,
        firmware_version,
    } = attest.attested
    else {
        return Err(CertifyError::Kind("TPM2_GetTime"));
    };
    Ok(VerifiedTime {
        time_ms,
        clock,
        firmware_version,
        sealed: Sealed,
    })
}

fn verify<'a>(key: &VerifyingKey, signed: &'a Signed, extra_data: &[u8]) -> Result<Attest<'a>, CertifyError> {
    let signature =
        Signature::from_tpmt_signature(&signed.signature).map_err(CertifyError::SignatureFormat)?;
    signature
        .verify(key, &signed.message)
        .map_err(CertifyError::Signature)?;
    let attest = Attest::parse(&signed.message).map_err(CertifyError::Message)?;
    if constant_time_eq(attest.extra_data, extra_data) {
        Ok(attest)
    } else {
        Err(CertifyError::ExtraData)
    }
}

fn parse_name(bytes: &[u8]) -> Result<Name, CertifyError> {
    Name::from_bytes(bytes).map_err(CertifyError::Name)
}
