//! Signatures as the TPM writes them (TPMT_SIGNATURE; Part 2, §11.3.4).

use super::alg;
use super::wire::{Reader, StructureError, Writer};
use crate::signature::pad_left;
use crate::{CryptoError, Curve, HashAlg, SignatureScheme, VerifyingKey};

/// The longest RSA signature, in bytes: 4096 bits.
const MAX_RSA: usize = 512;

/// A signature with its scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// How it was made.
    pub scheme: SignatureScheme,
    /// r ‖ s for ECDSA, each as long as the curve's coordinates; the raw value for RSA.
    pub bytes: Vec<u8>,
}

impl Signature {
    /// Parses a TPMT_SIGNATURE that fills all of `bytes`. ECDSA's r and s may be shorter than the curve's size; they are
    /// padded to the smallest of our curves that holds both.
    ///
    /// # Errors
    /// [`StructureError`] says which field is cut short, unknown, too long, or followed by more bytes.
    pub fn from_tpmt_signature(bytes: &[u8]) -> Result<Self, StructureError> {
        let mut reader = Reader::new(bytes);
        let id = reader.u16("sigAlg")?;
        let hash = reader.u16("signature's hash")?;
        let hash = HashAlg::from_tpm_id(hash).ok_or(StructureError::Unknown {
            field: "signature's hash",
            value: hash.into(),
        })?;
        let (scheme, bytes) = match id {
            alg::ECDSA => (SignatureScheme::Ecdsa(hash), ecdsa(&mut reader)?),
            alg::RSASSA => (
                SignatureScheme::RsaPkcs1(hash),
                reader.sized(MAX_RSA, "RSA signature")?.to_vec(),
            ),
            alg::RSAPSS => (
                SignatureScheme::RsaPss(hash),
                reader.sized(MAX_RSA, "RSA signature")?.to_vec(),
            ),
            other => {
                return Err(StructureError::Unknown {
                    field: "sigAlg",
                    value: other.into(),
                });
            }
        };
        reader.end("TPMT_SIGNATURE")?;
        Ok(Self { scheme, bytes })
    }

    /// The TPMT_SIGNATURE's bytes.
    #[must_use]
    pub fn to_tpmt(&self) -> Vec<u8> {
        let header = |id: u16, hash: HashAlg| Writer::default().u16(id).u16(hash.tpm_id());
        let parts = match self.scheme {
            SignatureScheme::Ecdsa(hash) => {
                let (r, s) = self.bytes.split_at(self.bytes.len() / 2);
                header(alg::ECDSA, hash)
                    .sized(r, "r")
                    .and_then(|writer| writer.sized(s, "s"))
            }
            SignatureScheme::RsaPkcs1(hash) => header(alg::RSASSA, hash).sized(&self.bytes, "RSA signature"),
            SignatureScheme::RsaPss(hash) => header(alg::RSAPSS, hash).sized(&self.bytes, "RSA signature"),
        };
        parts.map(Writer::finish).unwrap_or_default()
    }

    /// The signature as X.509 and TLS carry it: ECDSA-Sig-Value in DER (RFC 5480 §3), the raw value for RSA.
    #[must_use]
    pub fn to_x509(&self) -> Vec<u8> {
        match self.scheme {
            SignatureScheme::Ecdsa(_) => crate::ecdsa_der::encode(&self.bytes),
            SignatureScheme::RsaPkcs1(_) | SignatureScheme::RsaPss(_) => self.bytes.clone(),
        }
    }

    /// Checks the signature over `message`.
    ///
    /// # Errors
    /// As [`VerifyingKey::verify`].
    pub fn verify(&self, key: &VerifyingKey, message: &[u8]) -> Result<(), CryptoError> {
        key.verify(self.scheme, message, &self.bytes)
    }
}

fn ecdsa(reader: &mut Reader<'_>) -> Result<Vec<u8>, StructureError> {
    let max = Curve::P384.size();
    let r = reader.sized(max, "r")?;
    let s = reader.sized(max, "s")?;
    let size = if r.len().max(s.len()) <= Curve::P256.size() {
        Curve::P256.size()
    } else {
        max
    };
    let pad = |number: &[u8], field| {
        let wrong = StructureError::Size {
            field,
            permitted: size,
            actual: number.len(),
        };
        pad_left(number, size, field).map_err(|_| wrong)
    };
    Ok([pad(r, "r")?, pad(s, "s")?].concat())
}
