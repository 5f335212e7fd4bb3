//! AES-CFB128 as the TPM uses it, and AES-256-GCM.

use core::fmt;

use aws_lc_rs::aead;
use aws_lc_rs::cipher::{
    AES_128, AES_256, Algorithm, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext,
    UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;

use crate::{CryptoError, Secret};

/// Encrypts in place with AES in CFB128 (SP 800-38A, §6.3). The key's length chooses AES-128 or AES-256.
///
/// # Errors
/// [`CryptoError::WrongLength`] for any other key; AES-192 is not on the allow-list.
pub fn aes_cfb_encrypt(key: &[u8], iv: &[u8; 16], data: &mut [u8]) -> Result<(), CryptoError> {
    let key = EncryptingKey::cfb128(cfb_key(key)?).map_err(|_| cfb_failed())?;
    if data.is_empty() {
        return Ok(());
    }
    let context = EncryptionContext::Iv128(FixedLength::from(*iv));
    key.less_safe_encrypt(data, context).map_err(|_| cfb_failed())?;
    Ok(())
}

/// Decrypts in place with AES in CFB128; the inverse of [`aes_cfb_encrypt`].
///
/// # Errors
/// [`CryptoError::WrongLength`] for a key that is not 16 or 32 bytes.
pub fn aes_cfb_decrypt(key: &[u8], iv: &[u8; 16], data: &mut [u8]) -> Result<(), CryptoError> {
    let key = DecryptingKey::cfb128(cfb_key(key)?).map_err(|_| cfb_failed())?;
    if data.is_empty() {
        return Ok(());
    }
    let context = DecryptionContext::Iv128(FixedLength::from(*iv));
    key.decrypt(data, context).map_err(|_| cfb_failed())?;
    Ok(())
}

fn cfb_key(key: &[u8]) -> Result<UnboundCipherKey, CryptoError> {
    let algorithm: &'static Algorithm = match key.len() {
        16 => &AES_128,
        32 => &AES_256,
        actual => {
            return Err(CryptoError::WrongLength {
                what: "AES key",
                expected: 32,
                actual,
            });
        }
    };
    UnboundCipherKey::new(algorithm, key).map_err(|_| cfb_failed())
}

fn cfb_failed() -> CryptoError {
    CryptoError::Provider {
        operation: "AES-CFB128",
    }
}

/// A key for AES-256-GCM (SP 800-38D). The caller must never use a nonce twice with one key.
pub struct AeadKey(aead::LessSafeKey);

impl AeadKey {
    /// Prepares a 32-byte key.
    ///
    /// # Errors
    /// [`CryptoError::WrongLength`] for any other length.
    pub fn new(key: &Secret) -> Result<Self, CryptoError> {
        let wrong = CryptoError::WrongLength {
            what: "AES-256-GCM key",
            expected: 32,
            actual: key.len(),
        };
        let key = aead::UnboundKey::new(&aead::AES_256_GCM, key.expose()).map_err(|_| wrong)?;
        Ok(Self(aead::LessSafeKey::new(key)))
    }

    /// Seals `plain`; the result is the ciphertext with its 16-byte tag.
    ///
    /// # Errors
    /// [`CryptoError::Provider`] when the provider refuses, which it does for more than 64 GiB.
    pub fn seal(&self, nonce: &[u8; 12], aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut sealed = Vec::with_capacity(plain.len() + aead::AES_256_GCM.tag_len());
        sealed.extend_from_slice(plain);
        self.0
            .seal_in_place_append_tag(nonce_of(nonce), aead::Aad::from(aad), &mut sealed)
            .map_err(|_| CryptoError::Provider {
                operation: "AES-256-GCM seal",
            })?;
        Ok(sealed)
    }

    /// Opens what [`seal`](Self::seal) made.
    ///
    /// # Errors
    /// [`CryptoError::AuthenticationFailed`] when ciphertext, tag, nonce, aad or key differ.
    pub fn open(&self, nonce: &[u8; 12], aad: &[u8], sealed: &[u8]) -> Result<Secret, CryptoError> {
        let mut held = Secret::from_slice(sealed);
        let plain = self
            .0
            .open_in_place(nonce_of(nonce), aead::Aad::from(aad), held.expose_mut())
            .map_err(|_| CryptoError::AuthenticationFailed {
                what: "AES-256-GCM ciphertext",
            })?;
        Ok(Secret::from_slice(plain))
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AeadKey([redacted])")
    }
}

fn nonce_of(nonce: &[u8; 12]) -> aead::Nonce {
    aead::Nonce::assume_unique_for_key(*nonce)
}
