//! The operating system's randomness, as the core takes it.

use alcub3_crypto::{Entropy, EntropyError};

/// The operating system's generator.
#[derive(Copy, Clone, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(out).map_err(|_| EntropyError)
    }
}
