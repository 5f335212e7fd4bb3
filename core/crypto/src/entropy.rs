//! Randomness is handed in: this crate opens no device and asks no operating system.

use thiserror::Error;

/// The source of randomness failed; nothing was produced and nothing may be derived from the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the source of randomness failed; check the TPM or the operating system's generator")]
pub struct EntropyError;

/// A source of cryptographically strong random bytes.
pub trait Entropy {
    /// Fills all of `out` with random bytes.
    ///
    /// # Errors
    /// [`EntropyError`] when the source cannot; the contents of `out` are then unspecified.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError>;
}

impl<E: Entropy + ?Sized> Entropy for &mut E {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        (**self).fill(out)
    }
}
