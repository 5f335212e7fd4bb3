//! Checking signatures: keys are parsed once and then used for many checks.

use core::fmt;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature as provider;
use aws_lc_rs::signature::{ParsedPublicKey, RsaParameters, VerificationAlgorithm};

use crate::ecdsa_der;
use crate::spki::{self, KeyParts};
use crate::{CryptoError, Digest, HashAlg};

/// A NIST curve that we use (SP 800-186).
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Curve {
    /// P-256.
    P256,
    /// P-384.
    P384,
}

impl Curve {
    /// Every curve, weakest first.
    pub const ALL: [Curve; 2] = [Curve::P256, Curve::P384];

    /// The length of a coordinate, in bytes.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
        }
    }

    /// The TPM_ECC_CURVE (TCG Algorithm Registry).
    #[must_use]
    pub const fn tpm_id(self) -> u16 {
        match self {
            Curve::P256 => 0x0003,
            Curve::P384 => 0x0004,
        }
    }

    /// The curve of a TPM_ECC_CURVE, if it is one of ours.
    #[must_use]
    pub const fn from_tpm_id(id: u16) -> Option<Self> {
        match id {
            0x0003 => Some(Curve::P256),
            0x0004 => Some(Curve::P384),
            _ => None,
        }
    }

    /// The hash of the curve's strength.
    #[must_use]
    pub const fn hash(self) -> HashAlg {
        match self {
            Curve::P256 => HashAlg::Sha256,
            Curve::P384 => HashAlg::Sha384,
        }
    }
}

/// How a signature was made.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum SignatureScheme {
    /// ECDSA (FIPS 186-5) over a digest of this algorithm.
    Ecdsa(HashAlg),
    /// RSASSA-PKCS1-v1_5 (RFC 8017 §8.2).
    RsaPkcs1(HashAlg),
    /// RSASSA-PSS (RFC 8017 §8.1) with MGF1 of the same hash and a salt as long as the hash.
    RsaPss(HashAlg),
}

impl SignatureScheme {
    /// The scheme of a certificate's signature algorithm (RFC 5758 §3.2, RFC 4055 §5), as a dotted object identifier, if it
    /// is one of ours. RSASSA-PSS, whose parameters stand beside it, is not.
    #[must_use]
    pub fn from_x509(oid: &str) -> Option<Self> {
        match oid {
            "1.2.840.10045.4.3.2" => Some(SignatureScheme::Ecdsa(HashAlg::Sha256)),
            "1.2.840.10045.4.3.3" => Some(SignatureScheme::Ecdsa(HashAlg::Sha384)),
            "1.2.840.10045.4.3.4" => Some(SignatureScheme::Ecdsa(HashAlg::Sha512)),
            "1.2.840.113549.1.1.11" => Some(SignatureScheme::RsaPkcs1(HashAlg::Sha256)),
            "1.2.840.113549.1.1.12" => Some(SignatureScheme::RsaPkcs1(HashAlg::Sha384)),
            "1.2.840.113549.1.1.13" => Some(SignatureScheme::RsaPkcs1(HashAlg::Sha512)),
            _ => None,
        }
    }

    /// The scheme's hash.
    #[must_use]
    pub const fn hash(self) -> HashAlg {
        match self {
            SignatureScheme::Ecdsa(alg) | SignatureScheme::RsaPkcs1(alg) | SignatureScheme::RsaPss(alg) => {
                alg
            }
        }
    }
}

/// A public key that parsed: on its curve, of a permitted size. Cloning is cheap.
///
/// ECDSA on P-256 or P-384 with SHA-256, SHA-384 or SHA-512 in any mixture (TPM quotes come in all of them), and RSA of
/// 2048 to 4096 bits whose exponent is odd and above 2^16 (FIPS 186-5). SHA-1 is refused everywhere.
#[derive(Clone)]
pub struct VerifyingKey(Arc<Held>);

struct Held {
    kind: Kind,
    spki: Vec<u8>,
    parsed: [OnceLock<Option<ParsedPublicKey>>; 6],
}

enum Kind {
    Ec { curve: Curve, point: Vec<u8> },
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

impl VerifyingKey {
    /// A key from an affine point; both coordinates may be given shorter than the curve's size and are then padded on
    /// the left, as TPMs drop leading zeros.
    ///
    /// # Errors
    /// [`CryptoError::KeyRejected`] when the point is not on the curve, [`CryptoError::WrongLength`] when a coordinate
    /// is longer than the curve's.
    pub fn from_ec_point(curve: Curve, x: &[u8], y: &[u8]) -> Result<Self, CryptoError> {
        let x = pad_left(x, curve.size(), "x coordinate")?;
        let y = pad_left(y, curve.size(), "y coordinate")?;
        let point = [&[0x04], x.as_slice(), &y].concat();
        let spki = spki::encode_ec(curve, &x, &y);
        let key = Self::hold(Kind::Ec { curve, point }, spki);
        key.parsed(SignatureScheme::Ecdsa(curve.hash()))
            .map_err(|_| CryptoError::KeyRejected {
                what: "EC public key",
            })?;
        Ok(key)
    }

    /// A key from an RSA modulus (big-endian) and exponent.
    ///
    /// # Errors
    /// [`CryptoError::KeyRejected`] when the modulus has fewer than 2048 or more than 4096 bits or is even, or the
    /// exponent is even or not above 2^16.
    pub fn from_rsa(n: &[u8], e: u32) -> Result<Self, CryptoError> {
        let rejected = CryptoError::KeyRejected {
            what: "RSA public key",
        };
        let n = strip_zeros(n);
        if !rsa_size_permitted(n) || e.is_multiple_of(2) || e <= 0x1_0000 {
            return Err(rejected);
        }
        let e = strip_zeros(&e.to_be_bytes()).to_vec();
        let spki = spki::encode_rsa(n, &e)?;
        let key = Self::hold(Kind::Rsa { n: n.to_vec(), e }, spki);
        key.parsed(SignatureScheme::RsaPkcs1(HashAlg::Sha256))
            .map_err(|_| rejected)?;
        Ok(key)
    }

    /// A key from its SubjectPublicKeyInfo in DER: uncompressed points on named curves, or rsaEncryption.
    ///
    /// # Errors
    /// [`CryptoError::KeyRejected`] for anything else, trailing bytes and other encodings of the same key included.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, CryptoError> {
        let key = match spki::decode(der)? {
            KeyParts::Ec(curve, x, y) => Self::from_ec_point(curve, x, y)?,
            KeyParts::Rsa(n, e) => Self::from_rsa(n, e)?,
        };
        let same = key.0.spki == der;
        same.then_some(key).ok_or(CryptoError::KeyRejected {
            what: "SubjectPublicKeyInfo",
        })
    }

    /// The SubjectPublicKeyInfo in DER (RFC 5280 §4.1.2.7).
    #[must_use]
    pub fn to_spki_der(&self) -> Vec<u8> {
        self.0.spki.clone()
    }

    /// The curve; none for RSA.
    #[must_use]
    pub fn curve(&self) -> Option<Curve> {
        match &self.0.kind {
            Kind::Ec { curve, .. } => Some(*curve),
            Kind::Rsa { .. } => None,
        }
    }

    /// The affine coordinates, each as long as the curve's size; none for RSA.
    #[must_use]
    pub fn ec_point(&self) -> Option<(Curve, &[u8], &[u8])> {
        let Kind::Ec { curve, point } = &self.0.kind else {
            return None;
        };
        let (x, y) = point.get(1..)?.split_at_checked(curve.size())?;
        Some((*curve, x, y))
    }

    /// The RSA modulus, without leading zeros, and exponent; none for EC.
    #[must_use]
    pub fn rsa(&self) -> Option<(&[u8], u32)> {
        let Kind::Rsa { n, e } = &self.0.kind else {
            return None;
        };
        Some((n, e.iter().fold(0, |value, byte| (value << 8) | u32::from(*byte))))
    }

    /// The scheme of our own software signatures with this key: ECDSA with the curve's hash.
    #[must_use]
    pub fn native_scheme(&self) -> SignatureScheme {
        match &self.0.kind {
            Kind::Ec { curve, .. } => SignatureScheme::Ecdsa(curve.hash()),
            Kind::Rsa { .. } => SignatureScheme::RsaPss(HashAlg::Sha256),
        }
    }

    /// Checks a signature over a message. ECDSA signatures are r ‖ s, each as long as the curve's size; RSA signatures
    /// are as long as the modulus.
    ///
    /// # Errors
    /// [`CryptoError::BadSignature`]; [`CryptoError::NotApproved`] when the scheme is not for this key or uses SHA-1;
    /// [`CryptoError::WrongLength`] when the signature has another length.
    pub fn verify(&self, scheme: SignatureScheme, message: &[u8], sig: &[u8]) -> Result<(), CryptoError> {
        let key = self.parsed(scheme)?;
        self.with_provider_form(scheme, sig, |sig| key.verify_sig(message, sig).is_ok())
    }

    /// Checks a signature over a digest computed elsewhere; as [`verify`](Self::verify).
    ///
    /// # Errors
    /// As [`verify`](Self::verify), and [`CryptoError::NotApproved`] when the digest is not of the scheme's algorithm.
    pub fn verify_digest(
        &self,
        scheme: SignatureScheme,
        digest: &Digest,
        sig: &[u8],
    ) -> Result<(), CryptoError> {
        if digest.alg() != scheme.hash() {
            return Err(CryptoError::NotApproved {
                what: "a digest of another algorithm than the scheme's",
            });
        }
        let key = self.parsed(scheme)?;
        let digest = aws_lc_rs::digest::Digest::import_less_safe(digest.as_bytes(), digest.alg().provider())
            .map_err(|_| CryptoError::Provider {
                operation: "importing a digest",
            })?;
        self.with_provider_form(scheme, sig, |sig| key.verify_digest_sig(&digest, sig).is_ok())
    }

    /// Checks a signature as X.509 and TLS carry it: ECDSA-Sig-Value in DER (RFC 5480 §3), with the curve's hash.
    ///
    /// # Errors
    /// As [`verify`](Self::verify); [`CryptoError::BadSignature`] also for any but the one encoding of a signature, and
    /// [`CryptoError::NotApproved`] for a key that is not ECC.
    pub fn verify_x509(&self, message: &[u8], sig: &[u8]) -> Result<(), CryptoError> {
        let curve = self.curve().ok_or(CryptoError::NotApproved {
            what: "RSA in this place",
        })?;
        self.verify_x509_as(SignatureScheme::Ecdsa(curve.hash()), message, sig)
    }

    /// Checks a signature as a certificate of others carries it, whose algorithm may join any approved hash to the key:
    /// ECDSA-Sig-Value in DER, or an RSA signature as it is.
    ///
    /// # Errors
    /// As [`verify`](Self::verify); [`CryptoError::BadSignature`] also for any but the one encoding of an ECDSA signature.
    pub fn verify_x509_as(
        &self,
        scheme: SignatureScheme,
        message: &[u8],
        sig: &[u8],
    ) -> Result<(), CryptoError> {
        match (self.curve(), scheme) {
            (Some(curve), SignatureScheme::Ecdsa(_)) => {
                let fixed = ecdsa_der::decode(curve, sig).ok_or(CryptoError::BadSignature)?;
                self.verify(scheme, message, &fixed)
            }
            _ => self.verify(scheme, message, sig),
        }
    }

    fn hold(kind: Kind, spki: Vec<u8>) -> Self {
        Self(Arc::new(Held {
            kind,
            spki,
            parsed: Default::default(),
        }))
    }

    /// The provider's parsed key for a scheme, made on first use and kept.
    fn parsed(&self, scheme: SignatureScheme) -> Result<&ParsedPublicKey, CryptoError> {
        let not_approved = CryptoError::NotApproved {
            what: "this signature scheme",
        };
        let slot = self
            .0
            .kind
            .slot(scheme)
            .and_then(|at| self.0.parsed.get(at))
            .ok_or(not_approved.clone())?;
        slot.get_or_init(|| self.0.kind.parse(scheme))
            .as_ref()
            .ok_or(not_approved)
    }

    /// Hands `check` the signature as the provider's algorithm for `scheme` wants it.
    fn with_provider_form(
        &self,
        scheme: SignatureScheme,
        sig: &[u8],
        check: impl FnOnce(&[u8]) -> bool,
    ) -> Result<(), CryptoError> {
        let expected = match &self.0.kind {
            Kind::Ec { curve, .. } => 2 * curve.size(),
            Kind::Rsa { n, .. } => n.len(),
        };
        if sig.len() != expected {
            return Err(CryptoError::WrongLength {
                what: "signature",
                expected,
                actual: sig.len(),
            });
        }
        let good = match &self.0.kind {
            Kind::Ec { curve, .. } if curve.hash() != scheme.hash() => check(&ecdsa_der::encode(sig)),
            _ => check(sig),
        };
        good.then_some(()).ok_or(CryptoError::BadSignature)
    }
}

impl Kind {
    /// Where a scheme's parsed key is kept, if the scheme is for this kind of key: an EC key has three places, an RSA key
    /// six.
    fn slot(&self, scheme: SignatureScheme) -> Option<usize> {
        let by_hash = match scheme.hash() {
            HashAlg::Sha1 => return None,
            HashAlg::Sha256 => 0,
            HashAlg::Sha384 => 1,
            HashAlg::Sha512 => 2,
        };
        match (self, scheme) {
            (Kind::Ec { .. }, SignatureScheme::Ecdsa(_)) => Some(by_hash),
            (Kind::Rsa { .. }, SignatureScheme::RsaPkcs1(_)) => Some(by_hash),
            (Kind::Rsa { .. }, SignatureScheme::RsaPss(_)) => Some(by_hash + 3),
            _ => None,
        }
    }

    fn parse(&self, scheme: SignatureScheme) -> Option<ParsedPublicKey> {
        match (self, scheme) {
            (Kind::Ec { curve, point }, SignatureScheme::Ecdsa(alg)) => {
                ParsedPublicKey::new(ecdsa(*curve, alg)?, point).ok()
            }
            (Kind::Rsa { n, e }, SignatureScheme::RsaPkcs1(_) | SignatureScheme::RsaPss(_)) => {
                let parts = PublicKeyComponents {
                    n: n.as_slice(),
                    e: e.as_slice(),
                };
                parts.to_parsed_public_key(rsa(scheme)?).ok()
            }
            _ => None,
        }
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.spki == other.0.spki
    }
}

impl Eq for VerifyingKey {}

impl core::hash::Hash for VerifyingKey {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.0.spki.hash(state);
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", hex::encode(&self.0.spki))
    }
}

fn ecdsa(curve: Curve, alg: HashAlg) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match (curve, alg) {
        (_, HashAlg::Sha1) => return None,
        (Curve::P256, HashAlg::Sha256) => &provider::ECDSA_P256_SHA256_FIXED,
        (Curve::P256, HashAlg::Sha384) => &provider::ECDSA_P256_SHA384_ASN1,
        (Curve::P256, HashAlg::Sha512) => &provider::ECDSA_P256_SHA512_ASN1,
        (Curve::P384, HashAlg::Sha256) => &provider::ECDSA_P384_SHA256_ASN1,
        (Curve::P384, HashAlg::Sha384) => &provider::ECDSA_P384_SHA384_FIXED,
        (Curve::P384, HashAlg::Sha512) => &provider::ECDSA_P384_SHA512_ASN1,
    })
}

fn rsa(scheme: SignatureScheme) -> Option<&'static RsaParameters> {
    Some(match scheme {
        SignatureScheme::RsaPkcs1(HashAlg::Sha256) => &provider::RSA_PKCS1_2048_8192_SHA256,
        SignatureScheme::RsaPkcs1(HashAlg::Sha384) => &provider::RSA_PKCS1_2048_8192_SHA384,
        SignatureScheme::RsaPkcs1(HashAlg::Sha512) => &provider::RSA_PKCS1_2048_8192_SHA512,
        SignatureScheme::RsaPss(HashAlg::Sha256) => &provider::RSA_PSS_2048_8192_SHA256,
        SignatureScheme::RsaPss(HashAlg::Sha384) => &provider::RSA_PSS_2048_8192_SHA384,
        SignatureScheme::RsaPss(HashAlg::Sha512) => &provider::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

fn rsa_size_permitted(n: &[u8]) -> bool {
    let bits = n
        .first()
        .map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    (2048..=4096).contains(&bits) && n.last().is_some_and(|last| last % 2 == 1)
}

/// Pads a big-endian number on the left to `size` bytes.
pub(crate) fn pad_left(number: &[u8], size: usize, what: &'static str) -> Result<Vec<u8>, CryptoError> {
    let missing = size.checked_sub(number.len());
    let missing = missing.ok_or(CryptoError::WrongLength {
        what,
        expected: size,
        actual: number.len(),
    })?;
    Ok([vec![0; missing].as_slice(), number].concat())
}

pub(crate) fn strip_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}
