//! Handing a secret to a recipient's software key: HPKE in base mode (RFC 9180) with DHKEM(P-384, HKDF-SHA384),
//! HKDF-SHA384 and AES-256-GCM.
//!
//! Base mode hides and protects; it does not say who sent. Where that matters the sender signs, or `aad` carries what a
//! signature elsewhere covers. The ephemeral key comes from AWS-LC's own generator.

use core::fmt;

use aws_lc_rs::agreement::{ECDH_P384, PrivateKey};
use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_P384_HKDF_SHA384_AES_256 as SUITE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};

use crate::{CryptoError, Secret};

/// The length of an encapsulated key: an uncompressed P-384 point.
pub const ENCAPSULATED_LEN: usize = 97;
/// The length of a private key.
pub const PRIVATE_LEN: usize = 48;

/// Seals `plain` to the recipient's public key (an uncompressed P-384 point, 97 bytes). `info` names the purpose; `aad` is
/// protected but not hidden. The result is the encapsulated key followed by the ciphertext with its tag.
///
/// # Errors
/// [`CryptoError::KeyRejected`] when the public key is no point on P-384, [`CryptoError::Provider`] when the provider
/// fails.
pub fn seal(recipient_public: &[u8], info: &[u8], aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
    if recipient_public.len() != ENCAPSULATED_LEN {
        return Err(CryptoError::KeyRejected {
            what: "HPKE public key",
        });
    }
    let public = HpkePublicKey(recipient_public.to_vec());
    let (encapsulated, ciphertext) =
        SUITE
            .seal(info, aad, plain, &public)
            .map_err(|_| CryptoError::KeyRejected {
                what: "HPKE public key",
            })?;
    Ok([encapsulated.0, ciphertext].concat())
}

/// The private key of a recipient. Wiped on drop; `Debug` shows the public key only.
pub struct RecipientKey {
    private: HpkePrivateKey,
    public: Vec<u8>,
}

impl RecipientKey {
    /// Makes a new key with AWS-LC's generator.
    ///
    /// # Errors
    /// [`CryptoError::Provider`] when the provider fails.
    pub fn generate() -> Result<Self, CryptoError> {
        let failed = |_| CryptoError::Provider {
            operation: "HPKE key generation",
        };
        let key = PrivateKey::generate(&ECDH_P384).map_err(failed)?;
        let private: EcPrivateKeyBin<'_> = key.as_be_bytes().map_err(failed)?;
        Self::from_bytes(private.as_ref())
    }

    /// Reads a private key: a big-endian scalar of 48 bytes.
    ///
    /// # Errors
    /// [`CryptoError::KeyRejected`] when it is not between 1 and the order of the curve.
    pub fn from_bytes(private: &[u8]) -> Result<Self, CryptoError> {
        let rejected = || CryptoError::KeyRejected {
            what: "HPKE private key",
        };
        let key = PrivateKey::from_private_key(&ECDH_P384, private).map_err(|_| rejected())?;
        let public = key
            .compute_public_key()
            .map_err(|_| rejected())?
            .as_ref()
            .to_vec();
        Ok(Self {
            private: HpkePrivateKey::from(private.to_vec()),
            public,
        })
    }

    /// The private key's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Secret {
        Secret::from_slice(self.private.secret_bytes())
    }

    /// The public key: an uncompressed P-384 point.
    #[must_use]
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// Opens what [`seal`] made.
    ///
    /// # Errors
    /// [`CryptoError::WrongLength`] when it is too short, [`CryptoError::AuthenticationFailed`] when it was changed, is for
    /// another key, or `info` or `aad` differ.
    pub fn open(&self, info: &[u8], aad: &[u8], sealed: &[u8]) -> Result<Secret, CryptoError> {
        let short = CryptoError::WrongLength {
            what: "HPKE message",
            expected: ENCAPSULATED_LEN,
            actual: sealed.len(),
        };
        let (encapsulated, ciphertext) = sealed.split_at_checked(ENCAPSULATED_LEN).ok_or(short)?;
        let encapsulated = EncapsulatedSecret(encapsulated.to_vec());
        SUITE
            .open(&encapsulated, info, aad, ciphertext, &self.private)
            .map(Secret::from_vec)
            .map_err(|_| CryptoError::AuthenticationFailed { what: "HPKE message" })
    }
}

impl fmt::Debug for RecipientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecipientKey")
            .field("public", &hex::encode(&self.public))
            .finish_non_exhaustive()
    }
}
