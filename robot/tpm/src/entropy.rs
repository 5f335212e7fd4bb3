//! Randomness of the operating system, handed to the pure core where it needs some.

use alcub3_crypto::{Entropy, EntropyError};

/// The operating system's random generator (`getrandom(2)`).
#[derive(Debug, Default, Clone, Copy)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(out).map_err(|_| EntropyError)
    }
}
