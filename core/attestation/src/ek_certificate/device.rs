//! Certificates of initial attestation keys (IAK; TCG, TPM 2.0 Keys for Device Identity and Attestation): which machine its maker
//! says a TPM's attestation key is in.
//!
//! The certificate alone says nothing of a TPM at hand: anybody has a copy. It counts with what that key attests, which the
//! enrolment asks for. IDevID certificates are of keys that sign anything, so that no attestation of theirs proves a thing; they
//! lack the usage that is asked for here and are refused.

use super::certificate::{self, Contents};
use super::intermediate::Parts;
use super::revocation::{attributes, hex};
use super::{Chained, EkError, Leaf, MAX_CERTIFICATE_BYTES, Roots, chain, in_words, is_key_of};
use alcub3_crypto::tpm::Public;
use alcub3_crypto::{Digest, HashAlg};
use der::asn1::ObjectIdentifier;
use rustls_pki_types::CertificateDer;
use thiserror::Error;

/// serialNumber of a distinguished name (X.520), that of the device.
const SERIAL_NUMBER: &[u8] = &[0x55, 0x04, 0x05];
/// commonName.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// Why a certificate of an initial attestation key is not accepted.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// It is no certificate.
    #[error("the IAK certificate is no certificate in DER: read the whole NV index")]
    NotDer,
    /// It is too long.
    #[error("the IAK certificate has {0} bytes; none has that many")]
    TooLong(usize),
    /// There is no root.
    #[error("there are no roots of device manufacturers to check the IAK certificate against")]
    NoRoots,
    /// No chain to any root.
    #[error(
        "the IAK certificate does not chain to a root: {}; add the device manufacturer's root or intermediate, or check the time",
        in_words(.0)
    )]
    Chain(webpki::Error),
    /// It is for another purpose.
    #[error(
        "the certificate is not for an attestation key: its extended key usage lacks tcg-kp-AIKCertificate (an IDevID certificate \
         says which device it is, and proves nothing of the TPM)"
    )]
    Usage,
    /// Its fields cannot be read.
    #[error("the IAK certificate's fields cannot be read")]
    Fields,
    /// It names no device.
    #[error(
        "the IAK certificate names no device: it has neither a serial number in its subject nor a hardwareModuleName"
    )]
    NoDevice,
    /// A revocation list stands against it.
    #[error(transparent)]
    Revocation(EkError),
}

impl From<EkError> for DeviceError {
    fn from(error: EkError) -> Self {
        match error {
            EkError::NotDer | EkError::Trailing(_) => Self::NotDer,
            EkError::NoRoots => Self::NoRoots,
            EkError::Chain(source) => Self::Chain(source),
            EkError::Fields => Self::Fields,
            other => Self::Revocation(other),
        }
    }
}

/// An initial attestation key's certificate that was verified. Only [`verify_device`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedDevice {
    digest: Digest,
    spki: Vec<u8>,
    common_name: Option<String>,
    serial: Option<String>,
    hardware_module: Option<String>,
    unlisted: Vec<String>,
}

/// Verifies an initial attestation key's certificate (DER, filler after it is fine) against device manufacturers' roots, with the
/// certificates between it and a root, at a time in seconds since 1970. Only the production roots count.
///
/// # Errors
/// [`DeviceError`] says what is wrong.
pub fn verify_device(
    certificate: &[u8],
    intermediates: &[&[u8]],
    roots: &Roots,
    time_s: u64,
) -> Result<VerifiedDevice, DeviceError> {
    if certificate.len() > MAX_CERTIFICATE_BYTES {
        return Err(DeviceError::TooLong(certificate.len()));
    }
    let der = CertificateDer::from(certificate::trim(certificate)?);
    let sent: Vec<CertificateDer<'_>> = intermediates
        .iter()
        .map(|der| CertificateDer::from(*der))
        .collect();
    let leaf = Leaf {
        der: &der,
        usage: certificate::AK_USAGE,
        words: ["the IAK certificate", "a certificate above the IAK certificate"],
    };
    let [production, _] = roots.sets();
    let Chained { unlisted, .. } = chain(&leaf, &sent, &[production], roots, time_s)?;
    let contents = certificate::contents(&der).ok_or(DeviceError::Fields)?;
    let parts = Parts::read(&der).ok_or(DeviceError::Fields)?;
    // webpki lets one without any usage pass; a maker's other certificates must not count.
    let usages = contents.usages.as_ref();
    if !usages.is_some_and(|usages| usages.contains(&certificate::AK_USAGE)) {
        return Err(DeviceError::Usage);
    }
    let found = VerifiedDevice {
        digest: HashAlg::Sha256.digest(&[&der]),
        spki: contents.spki.to_vec(),
        common_name: of_subject(parts.subject, COMMON_NAME),
        serial: of_subject(parts.subject, SERIAL_NUMBER),
        hardware_module: hardware_module(&contents)?,
        unlisted,
    };
    if found.serial.is_none() && found.hardware_module.is_none() {
        return Err(DeviceError::NoDevice);
    }
    Ok(found)
}

/// Whether a certificate (DER), which nobody verified, is of a TPM's key: to find the key that it belongs to.
#[must_use]
pub fn is_certificate_of(certificate: &[u8], public: &Public) -> bool {
    certificate::contents(certificate).is_some_and(|contents| is_key_of(contents.spki, public))
}

fn of_subject(subject: &[u8], kind: &[u8]) -> Option<String> {
    let found = attributes(subject).into_iter().find(|(oid, _)| *oid == kind);
    found
        .map(|(_, value)| text(value))
        .filter(|text| !text.is_empty())
}

/// hwType and hwSerialNum: the latter as text where it is printable, else in hex.
fn hardware_module(contents: &Contents<'_>) -> Result<Option<String>, DeviceError> {
    let Some((kind, serial)) = contents.hardware_module else {
        return Ok(None);
    };
    let kind = ObjectIdentifier::from_bytes(kind).map_err(|_| DeviceError::Fields)?;
    let is_text = !serial.is_empty() && serial.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    let serial = if is_text { text(serial) } else { hex(serial) };
    Ok(Some(format!("{kind} {serial}")))
}

fn text(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    text.chars().filter(|c| !c.is_control()).collect()
}

impl VerifiedDevice {
    /// The SHA-256 of the certificate.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The common name of its subject.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The device's serial number, of its subject.
    #[must_use]
    pub fn serial(&self) -> Option<&str> {
        self.serial.as_deref()
    }

    /// hardwareModuleName (RFC 4108): the OID of the kind of hardware, a space, and the serial number, in hex where it is no text.
    #[must_use]
    pub fn hardware_module(&self) -> Option<&str> {
        self.hardware_module.as_deref()
    }

    /// The issuers of whom no usable revocation list was known.
    #[must_use]
    pub fn unlisted_issuers(&self) -> &[String] {
        &self.unlisted
    }

    /// Whether a TPM's public area has the certified key.
    #[must_use]
    pub fn certifies(&self, public: &Public) -> bool {
        is_key_of(&self.spki, public)
    }
}
