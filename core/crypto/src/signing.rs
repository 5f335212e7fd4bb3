//! Software signing keys: the authority's and the operators'. A robot's keys never leave its TPM.

use core::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    KeyPair,
};

use crate::{CryptoError, Curve, Secret, Suite, VerifyingKey};

/// An ECDSA private key in memory. AWS-LC wipes it on drop; `Debug` shows the public key only.
///
/// Key generation and the nonce of a signature come from AWS-LC's own generator, which takes none from outside.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    curve: Curve,
    public: VerifyingKey,
    pkcs8: Secret,
}

impl SigningKey {
    /// Makes a new key with AWS-LC's generator.
    ///
    /// # Errors
    /// [`CryptoError::Provider`] when the provider fails.
    pub fn generate(curve: Curve) -> Result<Self, CryptoError> {
        let pair = EcdsaKeyPair::generate(algorithm(curve)).map_err(|_| CryptoError::Provider {
            operation: "EC key generation",
        })?;
        Self::hold(curve, pair)
    }

    /// Reads a key on P-256 or P-384 from PKCS#8 (RFC 5958).
    ///
    /// # Errors
    /// [`CryptoError::KeyRejected`] for anything else.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, CryptoError> {
        Curve::ALL
            .into_iter()
            .find_map(|curve| Some((curve, EcdsaKeyPair::from_pkcs8(algorithm(curve), der).ok()?)))
            .ok_or(CryptoError::KeyRejected {
                what: "PKCS#8 signing key",
            })
            .and_then(|(curve, pair)| Self::hold(curve, pair))
    }

    /// The key as PKCS#8 version 1 (RFC 5208).
    #[must_use]
    pub fn to_pkcs8(&self) -> Secret {
        self.pkcs8.clone()
    }

    /// The public half.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        self.public.clone()
    }

    /// The suite of its signatures.
    #[must_use]
    pub fn suite(&self) -> Suite {
        Suite::of_curve(self.curve)
    }

    /// Signs a message with the suite's hash; the signature is r ‖ s.
    ///
    /// # Errors
    /// [`CryptoError::Provider`] when the provider fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        let signature = signature.map_err(|_| CryptoError::Provider {
            operation: "ECDSA signing",
        })?;
        Ok(signature.as_ref().to_vec())
    }

    /// Signs as [`sign`](Self::sign), and gives the signature as X.509 carries it: ECDSA-Sig-Value in DER.
    ///
    /// # Errors
    /// As [`sign`](Self::sign).
    pub fn sign_x509(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        Ok(crate::ecdsa_der::encode(&self.sign(message)?))
    }

    fn hold(curve: Curve, pair: EcdsaKeyPair) -> Result<Self, CryptoError> {
        let public = public_of(curve, pair.public_key().as_ref())?;
        let document = pair.to_pkcs8v1();
        let document = document.map_err(|_| CryptoError::Provider {
            operation: "PKCS#8 encoding",
        })?;
        Ok(Self {
            curve,
            public,
            pkcs8: Secret::from_slice(document.as_ref()),
            pair,
        })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// Splits SEC 1's 0x04 ‖ x ‖ y.
fn public_of(curve: Curve, sec1: &[u8]) -> Result<VerifyingKey, CryptoError> {
    let rejected = CryptoError::KeyRejected {
        what: "EC public key",
    };
    let point = sec1.strip_prefix(&[0x04]).ok_or(rejected.clone())?;
    let (x, y) = point.split_at_checked(curve.size()).ok_or(rejected)?;
    VerifyingKey::from_ec_point(curve, x, y)
}

fn algorithm(curve: Curve) -> &'static EcdsaSigningAlgorithm {
    match curve {
        Curve::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
        Curve::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
    }
}
