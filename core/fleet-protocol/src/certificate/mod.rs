//! X.509 certificates of a robot's device keys: requests whose signature is made in the TPM, certificates after IEEE
//! 802.1AR, and the exchange in which the one becomes the other.
//!
//! ```text
//! robot                                            authority
//!                                    <- session     an exchange is opened
//!   CertificateRequest  PKCS#10, AK's word      ->  the key is in the enrolled chip and bound to its robot
//!                       <- CertificateGrant         certificate and the authority's own, signed
//!   CertificateUse      signed by the new key   ->  the earlier certificate counts no more
//!                       <- CertificateChanged       signed: the robot may destroy the earlier key
//! ```
//!
//! Two kinds of key: the *initial* device identity, which the chip recreates, and the *local* one, which is replaced from
//! time to time. Between grant and use both certificates of the local key are good.

mod csr;
mod fields;
mod issue;
mod messages;
mod proven;

pub use csr::{UnsignedCsr, VerifiedCsr};
pub use issue::{CertificateIssuer, DeviceSubject, Validity, authority_certificate, device_certificate};
pub use messages::{CertificateChanged, CertificateGrant, CertificateRequest, CertificateUse, VerifiedGrant};
pub use proven::ProvenDeviceKey;

use alcub3_attestation::certify::CertifyError;
use alcub3_command_authority::cose::{CoseError, SignError};
use alcub3_crypto::{CryptoError, HashAlg};
use alcub3_trust_model::canonical::DecodeError;
use alcub3_trust_model::{FleetId, RobotId};
use x509_cert::der::Decode;

use crate::enrolment::{CreationError, KeyFault};

/// Which of a robot's two device keys.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum DeviceKeyKind {
    /// The primary of the endorsement hierarchy that the chip recreates (IDevID).
    Initial,
    /// The child of the storage root that is replaced from time to time (LDevID).
    Local,
}

impl DeviceKeyKind {
    /// The number used on the wire.
    pub const fn id(self) -> u8 {
        match self {
            Self::Initial => 0,
            Self::Local => 1,
        }
    }

    /// The kind of a number on the wire.
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::Initial),
            1 => Some(Self::Local),
            _ => None,
        }
    }

    /// The name for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initial => "idevid",
            Self::Local => "ldevid",
        }
    }
}

/// The SPIFFE identifier of a robot (SPIFFE-ID §2): what its certificates carry in their subject alternative name.
pub fn spiffe_id(fleet: &FleetId, robot: &RobotId) -> String {
    format!("spiffe://{fleet}/robot/{robot}")
}

/// Why a certificate was not asked for, not issued, or not taken.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A message is not the one form allowed.
    #[error("certificate message refused: {0}")]
    Message(#[from] DecodeError),
    /// A signed message is malformed, of another key, or not authentic.
    #[error("certificate message refused: {0}")]
    Cose(#[from] CoseError),
    /// The request is no PKCS#10 of ours.
    #[error("the certification request does not read: {0}")]
    Request(#[source] x509_cert::der::Error),
    /// The request asks for something that this version does not know.
    #[error("the certification request has {0}, which this version does not know")]
    Unexpected(&'static str),
    /// The request is signed otherwise, or by another key.
    #[error("the certification request is not signed by its own key: {0}")]
    Signature(#[source] CryptoError),
    /// The request, the certification and the enrolment are not about one key and one robot.
    #[error("the certification request is about another {0}")]
    Other(&'static str),
    /// The key does not have the attributes that it must have.
    #[error("the device key: {0}")]
    Key(#[from] KeyFault),
    /// The attestation key's certification proves nothing.
    #[error("the device key's certification: {0}")]
    Certification(#[from] CertifyError),
    /// The creation data is malformed, or of another parent or binding.
    #[error("the device key's creation data: {0}")]
    Creation(#[from] CreationError),
    /// A certificate or request cannot be written.
    #[error("the certificate cannot be written: {0}")]
    Build(#[from] x509_cert::builder::Error),
    /// A structure cannot be written or read.
    #[error("the certificate's structure: {0}")]
    Der(#[from] x509_cert::der::Error),
    /// Cryptography refused.
    #[error("certificate: {0}")]
    Crypto(#[from] CryptoError),
    /// Signing failed.
    #[error("certificate: {0}")]
    Sign(#[from] SignError),
}

/// What a certificate says, for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateSummary {
    /// Its serial number in hexadecimal.
    pub serial: String,
    /// Its subject (RFC 4514).
    pub subject: String,
    /// From when it is good, UTC.
    pub from: String,
    /// Until when it is good, UTC.
    pub until: String,
    /// SHA-256 of the certificate in hexadecimal.
    pub sha256: String,
}

/// Reads what a certificate (DER) says. Nothing is verified.
///
/// # Errors
/// [`CertificateError::Der`] where it is none.
pub fn summarize(certificate: &[u8]) -> Result<CertificateSummary, CertificateError> {
    let parsed = x509_cert::Certificate::from_der(certificate)?;
    let fields = parsed.tbs_certificate();
    Ok(CertificateSummary {
        serial: hex::encode(fields.serial_number().as_bytes()),
        subject: fields.subject().to_string(),
        from: fields.validity().not_before.to_string(),
        until: fields.validity().not_after.to_string(),
        sha256: HashAlg::Sha256.digest(&[certificate]).to_hex(),
    })
}
