//! Public areas (TPMT_PUBLIC; Part 2, §12.2.4).

use super::alg;
use super::parse::{self, Area, Unique};
use super::wire::{Reader, StructureError, Writer};
use super::{Name, attribute};
use crate::{CryptoError, Curve, HashAlg, SignatureScheme, VerifyingKey};

/// The default RSA exponent, which a public area writes as zero.
const DEFAULT_EXPONENT: u32 = 65537;

/// What an object is for, as its attributes say.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// Restricted and signing: it signs only what the TPM made (an attestation key).
    RestrictedSigning,
    /// Signing anything.
    Signing,
    /// Restricted and decrypting: a storage parent, or an endorsement key.
    Storage,
    /// Decrypting anything.
    Decrypting,
    /// Signing and decrypting.
    Both,
    /// Neither: sealed data.
    Data,
}

/// A public area that parsed exactly, with its original bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Public {
    bytes: Vec<u8>,
    area: Area,
}

impl Public {
    /// Parses a TPMT_PUBLIC that fills all of `bytes`.
    ///
    /// # Errors
    /// [`StructureError`] says which field is cut short, unknown, of a wrong size, or followed by more bytes.
    pub fn from_tpmt(bytes: &[u8]) -> Result<Self, StructureError> {
        Ok(Self {
            area: parse::area(bytes)?,
            bytes: bytes.to_vec(),
        })
    }

    /// Parses a TPM2B_PUBLIC that fills all of `bytes`.
    ///
    /// # Errors
    /// As [`from_tpmt`](Self::from_tpmt).
    pub fn from_tpm2b(bytes: &[u8]) -> Result<Self, StructureError> {
        let mut reader = Reader::new(bytes);
        let area = reader.sized(usize::from(u16::MAX), "TPM2B_PUBLIC")?;
        reader.end("TPM2B_PUBLIC")?;
        Self::from_tpmt(area)
    }

    /// The TPMT_PUBLIC's bytes.
    #[must_use]
    pub fn as_tpmt_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The TPM2B_PUBLIC's bytes.
    #[must_use]
    pub fn to_tpm2b(&self) -> Vec<u8> {
        // What parsed is at most 1 KiB long, so its size always fits.
        Writer::default()
            .sized(&self.bytes, "TPM2B_PUBLIC")
            .map(Writer::finish)
            .unwrap_or_default()
    }

    /// The object's Name: nameAlg ‖ H(TPMT_PUBLIC).
    #[must_use]
    pub fn name(&self) -> Name {
        Name::of_public(self.name_alg(), &self.bytes)
    }

    /// The qualified Name under a parent whose *qualified* Name is `parent` (Part 1, §16): nameAlg ‖ H(parent ‖ Name).
    /// The qualified Name of a hierarchy is its handle's Name.
    #[must_use]
    pub fn qualified_name(&self, parent: &Name) -> Name {
        Name::of_digest(
            &self
                .name_alg()
                .digest(&[parent.as_bytes(), self.name().as_bytes()]),
        )
    }

    /// nameAlg.
    #[must_use]
    pub fn name_alg(&self) -> HashAlg {
        self.area.name_alg
    }

    /// TPMA_OBJECT; bits in [`attribute`](super::attribute).
    #[must_use]
    pub fn attributes(&self) -> u32 {
        self.area.attributes
    }

    /// Whether every bit of `mask` is set.
    #[must_use]
    pub fn has_attributes(&self, mask: u32) -> bool {
        self.area.attributes & mask == mask
    }

    /// What the attributes make it.
    #[must_use]
    pub fn kind(&self) -> ObjectKind {
        let bit = |mask| self.has_attributes(mask);
        match (
            bit(attribute::SIGN),
            bit(attribute::DECRYPT),
            bit(attribute::RESTRICTED),
        ) {
            (true, false, true) => ObjectKind::RestrictedSigning,
            (true, false, false) => ObjectKind::Signing,
            (false, true, true) => ObjectKind::Storage,
            (false, true, false) => ObjectKind::Decrypting,
            (true, true, _) => ObjectKind::Both,
            (false, false, _) => ObjectKind::Data,
        }
    }

    /// Whether both have the same type, nameAlg, attributes, authPolicy and parameters: all but the unique field.
    #[must_use]
    pub fn is_of_one_template(&self, other: &Self) -> bool {
        let fixed = |public: &Self| {
            let end = public.bytes.len().checked_sub(public.area.unique.encoded_len());
            end.and_then(|end| public.bytes.get(..end)).map(<[u8]>::to_vec)
        };
        fixed(self).is_some() && fixed(self) == fixed(other)
    }

    /// This area with the other's unique field in place of its own; none where they are of two types or the field does not fit.
    pub(super) fn with_unique_of(&self, other: &Self) -> Option<Self> {
        let unique = |public: &Self| public.bytes.len().checked_sub(public.area.unique.encoded_len());
        let fixed = self.bytes.get(..unique(self)?)?;
        let area = [fixed, other.bytes.get(unique(other)?..)?].concat();
        let is_of_type = self.object_type() == other.object_type();
        is_of_type.then(|| Self::from_tpmt(&area).ok()).flatten()
    }

    /// authPolicy: empty, or a digest of nameAlg.
    #[must_use]
    pub fn auth_policy(&self) -> &[u8] {
        &self.area.auth_policy
    }

    /// The object's type; values in [`alg`](super::alg).
    #[must_use]
    pub fn object_type(&self) -> u16 {
        self.area.object_type
    }

    /// The key, for checking signatures made by this object.
    ///
    /// # Errors
    /// [`CryptoError::KeyRejected`] when it is not an RSA or EC key on a permitted curve and of a permitted size.
    pub fn verifying_key(&self) -> Result<VerifyingKey, CryptoError> {
        match &self.area.unique {
            Unique::Ecc { curve, x, y } => {
                let curve = Curve::from_tpm_id(*curve);
                VerifyingKey::from_ec_point(curve.ok_or(CryptoError::KeyRejected { what: "curve" })?, x, y)
            }
            Unique::Rsa { bits, modulus, .. } if usize::from(*bits) == modulus.len() * 8 => {
                VerifyingKey::from_rsa(modulus, self.exponent())
            }
            Unique::Rsa { .. } => Err(CryptoError::KeyRejected { what: "RSA modulus" }),
            Unique::Digest(_) => Err(CryptoError::KeyRejected {
                what: "symmetric object as a public key",
            }),
        }
    }

    /// The scheme fixed in the public area, if it is a signature scheme that we check.
    #[must_use]
    pub fn signature_scheme(&self) -> Option<SignatureScheme> {
        match self.area.scheme? {
            (alg::ECDSA, Some(hash)) => Some(SignatureScheme::Ecdsa(hash)),
            (alg::RSASSA, Some(hash)) => Some(SignatureScheme::RsaPkcs1(hash)),
            (alg::RSAPSS, Some(hash)) => Some(SignatureScheme::RsaPss(hash)),
            _ => None,
        }
    }

    /// The hash of an HMAC key's fixed scheme.
    #[must_use]
    pub fn hmac_scheme(&self) -> Option<HashAlg> {
        match self.area.scheme? {
            (alg::HMAC, hash) => hash,
            _ => None,
        }
    }

    /// The affine coordinates as the public area holds them; none for other types and for curves that are not ours.
    #[must_use]
    pub fn ec_point(&self) -> Option<(Curve, Vec<u8>, Vec<u8>)> {
        match &self.area.unique {
            Unique::Ecc { curve, x, y } => Some((Curve::from_tpm_id(*curve)?, x.clone(), y.clone())),
            _ => None,
        }
    }

    /// The RSA modulus and exponent (the default written out); none for other types.
    #[must_use]
    pub fn rsa(&self) -> Option<(Vec<u8>, u32)> {
        match &self.area.unique {
            Unique::Rsa { modulus, .. } => Some((modulus.clone(), self.exponent())),
            _ => None,
        }
    }

    /// The key bits of the AES-CFB that protects a storage parent's children, or of a cipher object.
    #[must_use]
    pub fn symmetric(&self) -> Option<u16> {
        self.area.symmetric_bits
    }

    fn exponent(&self) -> u32 {
        match self.area.unique {
            Unique::Rsa { exponent: 0, .. } => DEFAULT_EXPONENT,
            Unique::Rsa { exponent, .. } => exponent,
            _ => 0,
        }
    }
}
