//! Splitting a secret so that any m of n shares give it back and fewer tell nothing of it (Shamir over GF(2⁸), one polynomial
//! for each byte; `vsss-rs` computes it).

use core::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};
use thiserror::Error;
use vsss_rs::Gf256;
use zeroize::Zeroize;

use crate::{Entropy, EntropyError, Secret};

/// One share of a secret.
#[derive(Clone, Debug)]
pub struct SecretShare {
    index: u8,
    value: Secret,
}

impl SecretShare {
    /// A share as it was kept: which one it is, from 1, and its bytes.
    #[must_use]
    pub fn new(index: u8, value: Secret) -> Self {
        Self { index, value }
    }

    /// Which share it is, from 1.
    #[must_use]
    pub fn index(&self) -> u8 {
        self.index
    }

    /// Its bytes, as many as the secret has.
    #[must_use]
    pub fn value(&self) -> &Secret {
        &self.value
    }
}

/// Why a secret was not split or not joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SharingError {
    /// The numbers make no sense.
    #[error("{needed} of {total} shares cannot be: at least 2 are needed, and not more than there are")]
    Numbers {
        /// How many shares give the secret back.
        needed: u8,
        /// How many are made.
        total: u8,
    },
    /// The shares are of no use together.
    #[error(
        "these shares do not belong together: each must be another one of one secret, at least two of them"
    )]
    Shares,
    /// The randomness handed in failed.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// Splits a secret into `total` shares, `needed` of which give it back.
///
/// # Errors
/// [`SharingError::Numbers`], or that the randomness failed; no share exists then.
pub fn split_secret(
    secret: &Secret,
    needed: u8,
    total: u8,
    entropy: &mut dyn Entropy,
) -> Result<Vec<SecretShare>, SharingError> {
    let numbers = SharingError::Numbers { needed, total };
    if needed < 2 || needed > total || secret.is_empty() {
        return Err(numbers);
    }
    let mut failed = None;
    let generator = Generator {
        entropy,
        failed: &mut failed,
        spare: 0,
    };
    let split = Gf256::split_array(needed.into(), total.into(), secret.expose(), generator);
    let shares: Option<Vec<SecretShare>> = split
        .ok()
        .map(|shares| shares.into_iter().filter_map(take).collect());
    if let Some(error) = failed {
        return Err(error.into());
    }
    shares
        .filter(|shares| shares.len() == usize::from(total))
        .ok_or(numbers)
}

/// A share of the library is the index and the bytes in one vector, which is wiped.
fn take(mut share: Vec<u8>) -> Option<SecretShare> {
    let (index, value) = share.split_first()?;
    let taken = SecretShare::new(*index, Secret::from_slice(value));
    share.zeroize();
    Some(taken)
}

/// Joins shares. Whether they were enough, and genuine, cannot be seen from the result: the caller must have a way to tell,
/// such as an authenticated encryption under it.
///
/// # Errors
/// [`SharingError::Shares`] for fewer than two, the same twice, or shares of different length.
pub fn join_secret(shares: &[SecretShare]) -> Result<Secret, SharingError> {
    let mut given: Vec<Vec<u8>> = shares
        .iter()
        .map(|share| [&[share.index], share.value.expose()].concat())
        .collect();
    let joined = Gf256::combine_array(&given);
    given.iter_mut().for_each(Zeroize::zeroize);
    joined.map(Secret::from_vec).map_err(|_| SharingError::Shares)
}

/// The library wants a generator that cannot fail: a failure is kept, and what was made with it is thrown away.
struct Generator<'a> {
    entropy: &'a mut dyn Entropy,
    failed: &'a mut Option<EntropyError>,
    /// Given out after a failure: changing, so that a caller who draws until it likes the value ends.
    spare: u8,
}

impl TryRng for Generator<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        if self.failed.is_none()
            && let Err(error) = self.entropy.fill(out)
        {
            *self.failed = Some(error);
        }
        if self.failed.is_some() {
            self.spare = self.spare.wrapping_add(1);
            out.fill(self.spare);
        }
        Ok(())
    }
}

impl TryCryptoRng for Generator<'_> {}
