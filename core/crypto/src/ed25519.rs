//! Ed25519 (RFC 8032): the signature that witnesses of transparency logs understand. No suite names it, so nothing that a level
//! rests on is signed with it; a log's head is vouched for by the TPM's attestation key.

use core::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::{CryptoError, Secret};

/// A private key in memory. AWS-LC wipes it on drop; `Debug` shows the public key only.
pub struct Ed25519Key {
    pair: Ed25519KeyPair,
    public: Ed25519PublicKey,
}

/// A public key: 32 bytes.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub struct Ed25519PublicKey([u8; 32]);

impl Ed25519Key {
    /// The key of a seed of 32 bytes.
    ///
    /// # Errors
    /// [`CryptoError::WrongLength`] for any other length.
    pub fn from_seed(seed: &Secret) -> Result<Self, CryptoError> {
        let bytes = seed.expose();
        let wrong_length = CryptoError::WrongLength {
            what: "Ed25519 seed",
            expected: 32,
            actual: bytes.len(),
        };
        let pair = Ed25519KeyPair::from_seed_unchecked(bytes).map_err(|_| wrong_length.clone())?;
        let public: [u8; 32] = pair.public_key().as_ref().try_into().map_err(|_| wrong_length)?;
        Ok(Self {
            pair,
            public: Ed25519PublicKey(public),
        })
    }

    /// The public half.
    pub const fn public(&self) -> Ed25519PublicKey {
        self.public
    }

    /// Signs a message: 64 bytes. The same message has the same signature.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

impl fmt::Debug for Ed25519Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ed25519Key")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

impl Ed25519PublicKey {
    /// A key of known bytes. One that is no point on the curve verifies nothing.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Checks a signature.
    ///
    /// # Errors
    /// [`CryptoError::BadSignature`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(message, signature)
            .map_err(|_| CryptoError::BadSignature)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// RFC 8032 §7.1, test 2.
    #[test]
    fn signatures_are_those_of_rfc_8032() {
        let bytes = |text: &str| hex::decode(text).unwrap();
        let seed = bytes("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let key = Ed25519Key::from_seed(&Secret::from_vec(seed)).unwrap();
        let public = bytes("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        assert_eq!(key.public().as_bytes().as_slice(), public);
        let signature = bytes(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        );
        assert_eq!(key.sign(&[0x72]), signature);
        key.public().verify(&[0x72], &signature).unwrap();
        assert_eq!(
            key.public().verify(&[0x73], &signature),
            Err(CryptoError::BadSignature)
        );
        assert!(Ed25519Key::from_seed(&Secret::from_slice(&[1; 31])).is_err());
    }
}
