//! What can go wrong in a cryptographic operation.

use thiserror::Error;

use crate::entropy::EntropyError;
use crate::tpm::StructureError;

/// Why a cryptographic operation was refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// The algorithm is not on the allow-list, or does not belong to the key.
    #[error("{what} is not an approved algorithm for this key; use a suite on the allow-list")]
    NotApproved {
        /// The refused algorithm or combination.
        what: &'static str,
    },
    /// An input has a length that the algorithm does not take.
    #[error("{what} has {actual} bytes, expected {expected}")]
    WrongLength {
        /// The input.
        what: &'static str,
        /// The permitted length or the upper bound, in bytes.
        expected: usize,
        /// The length seen, in bytes.
        actual: usize,
    },
    /// A key is malformed, off its curve, too small or too large.
    #[error("{what} was rejected: malformed, off its curve, or outside the permitted sizes")]
    KeyRejected {
        /// The key.
        what: &'static str,
    },
    /// A signature does not verify.
    #[error("the signature does not verify under this key")]
    BadSignature,
    /// An authentication tag or an integrity value does not match.
    #[error("{what} failed authentication: changed, or made with another key")]
    AuthenticationFailed {
        /// What was opened.
        what: &'static str,
    },
    /// The provider reported an internal failure.
    #[error("the cryptographic provider failed in {operation}; run the self tests")]
    Provider {
        /// The operation.
        operation: &'static str,
    },
    /// The randomness handed in failed.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A TPM structure did not parse.
    #[error(transparent)]
    Structure(#[from] StructureError),
}
