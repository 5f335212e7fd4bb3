//! Numbered suites: what an envelope or a result says it was protected with.

use crate::HashAlg;

/// A signature or MAC suite. The number is what formats carry.
///
/// Number 16 is reserved for the hybrid of ECDSA P-384 with ML-DSA-87: it fits without a new format and is refused
/// until it is defined here.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
#[repr(u16)]
pub enum Suite {
    /// ECDSA on P-256 with SHA-256: below CONFIDENTIAL.
    EcdsaP256Sha256 = 1,
    /// ECDSA on P-384 with SHA-384: the CNSA choice.
    EcdsaP384Sha384 = 2,
    /// HMAC with SHA-256.
    HmacSha256 = 3,
    /// HMAC with SHA-384.
    HmacSha384 = 4,
}

impl Suite {
    /// Every defined suite.
    pub const ALL: [Suite; 4] = [
        Suite::EcdsaP256Sha256,
        Suite::EcdsaP384Sha384,
        Suite::HmacSha256,
        Suite::HmacSha384,
    ];

    /// The number that formats carry.
    #[must_use]
    pub const fn id(self) -> u16 {
        self as u16
    }

    /// The suite of a number; unknown and reserved numbers are none.
    #[must_use]
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.id() == id)
    }

    /// The COSE algorithm (IANA registry; RFC 9053).
    #[must_use]
    pub const fn cose_alg(self) -> i64 {
        match self {
            Suite::EcdsaP256Sha256 => -7,
            Suite::EcdsaP384Sha384 => -35,
            Suite::HmacSha256 => 5,
            Suite::HmacSha384 => 6,
        }
    }

    /// The suite of a COSE algorithm.
    #[must_use]
    pub fn from_cose_alg(alg: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.cose_alg() == alg)
    }

    /// The suite's hash.
    #[must_use]
    pub const fn hash(self) -> HashAlg {
        match self {
            Suite::EcdsaP256Sha256 | Suite::HmacSha256 => HashAlg::Sha256,
            Suite::EcdsaP384Sha384 | Suite::HmacSha384 => HashAlg::Sha384,
        }
    }

    /// The signature algorithm of X.509 and PKCS#10 (RFC 5758 §3.2), as a dotted object identifier; none for a MAC.
    #[must_use]
    pub const fn x509_algorithm(self) -> Option<&'static str> {
        match self {
            Suite::EcdsaP256Sha256 => Some("1.2.840.10045.4.3.2"),
            Suite::EcdsaP384Sha384 => Some("1.2.840.10045.4.3.3"),
            Suite::HmacSha256 | Suite::HmacSha384 => None,
        }
    }

    /// The suite of signatures with a key on a curve.
    #[must_use]
    pub const fn of_curve(curve: crate::Curve) -> Self {
        match curve {
            crate::Curve::P256 => Suite::EcdsaP256Sha256,
            crate::Curve::P384 => Suite::EcdsaP384Sha384,
        }
    }

    /// Whether it is a signature (others can check it) rather than a MAC.
    #[must_use]
    pub const fn is_signature(self) -> bool {
        matches!(self, Suite::EcdsaP256Sha256 | Suite::EcdsaP384Sha384)
    }
}
