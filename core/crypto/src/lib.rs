//! The only crate of alcub3 that names algorithms: suites, hashes, MACs, signatures, key derivation, ciphers,
//! zeroizing secrets, and the TCG structures that robot and verifier both compute in software ([`tpm`]).
//!
//! What it does not do: it talks to no TPM, opens no file, knows no clock, decides nothing about trust, and offers
//! no second provider. AWS-LC (`aws-lc-rs`) is the one provider; whatever is not on the allow-list of
//! [`HashAlg::is_approved`] and [`Suite`] is refused. Randomness is handed in as [`Entropy`] wherever the provider lets
//! us choose it; where AWS-LC draws from its own generator (RSA-OAEP padding, ECDSA nonces, software key generation,
//! HPKE encapsulation) the item's documentation says so.
//!
//! The three most important types: [`VerifyingKey`] (parsed once, checks every TPM and software signature),
//! [`Secret`] (wiped on drop, never printed) and [`tpm::Public`] (a TPMT_PUBLIC that parsed exactly, with its Name).
#![forbid(unsafe_code)]

mod cipher;
mod ecdsa_der;
mod ed25519;
mod entropy;
mod error;
mod hash;
pub mod hpke;
mod kdf;
mod mac;
mod secret;
mod self_test;
mod sharing;
mod signature;
mod signing;
mod spki;
mod suite;
pub mod tpm;

pub use cipher::{AeadKey, aes_cfb_decrypt, aes_cfb_encrypt};
pub use ed25519::{Ed25519Key, Ed25519PublicKey};
pub use entropy::{Entropy, EntropyError};
pub use error::CryptoError;
pub use hash::{Digest, HashAlg, Hasher};
pub use kdf::{kdfa, kdfe};
pub use mac::{MacKey, constant_time_eq, hmac};
pub use secret::Secret;
pub use self_test::{
    KnownAnswer, KnownAnswers, SelfTestError, SelfTestReport, TestedAlgorithm, run_self_tests,
};
pub use sharing::{SecretShare, SharingError, join_secret, split_secret};
pub use signature::{Curve, SignatureScheme, VerifyingKey};
pub use signing::SigningKey;
pub use suite::Suite;
