//! Shares of a secret: enough of them give it back, fewer or others do not.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_crypto::{Entropy, EntropyError, Secret, SecretShare, SharingError, join_secret, split_secret};

struct Counting(u8);

impl Entropy for Counting {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        for byte in out {
            self.0 = self.0.wrapping_mul(37).wrapping_add(11);
            *byte = self.0;
        }
        Ok(())
    }
}

/// Gives out so many times, and then fails.
struct Failing(usize);

impl Entropy for Failing {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.0 = self.0.checked_sub(1).ok_or(EntropyError)?;
        out.fill(7);
        Ok(())
    }
}

fn secret() -> Secret {
    Secret::from_slice(b"thirty-two bytes of a secret....")
}

#[test]
fn any_m_shares_give_the_secret_back_and_fewer_do_not() {
    for (needed, total) in [(2, 2), (2, 3), (3, 5), (5, 5), (2, 16)] {
        let shares = split_secret(&secret(), needed, total, &mut Counting(1)).unwrap();
        assert_eq!(shares.len(), usize::from(total));
        for start in 0..shares.len() {
            let mut some = shares.clone();
            some.rotate_left(start);
            some.truncate(needed.into());
            assert_eq!(join_secret(&some).unwrap().expose(), secret().expose());
            some.pop();
            let fewer = join_secret(&some);
            assert!(fewer.is_err() || fewer.unwrap().expose() != secret().expose());
        }
        let indices: Vec<u8> = shares.iter().map(SecretShare::index).collect();
        assert_eq!(indices, (1..=total).collect::<Vec<_>>());
    }
}

#[test]
fn a_share_twice_a_changed_one_and_impossible_numbers_are_refused_or_give_another_secret() {
    let shares = split_secret(&secret(), 2, 3, &mut Counting(1)).unwrap();
    let twice = [shares[0].clone(), shares[0].clone()];
    assert_eq!(join_secret(&twice).unwrap_err(), SharingError::Shares);
    let mut changed = shares[1].value().clone();
    changed.expose_mut()[3] ^= 1;
    let changed = [shares[0].clone(), SecretShare::new(2, changed)];
    assert_ne!(join_secret(&changed).unwrap().expose(), secret().expose());
    let short = SecretShare::new(2, Secret::from_slice(&[1; 5]));
    assert!(join_secret(&[shares[0].clone(), short]).is_err());
    for (needed, total) in [(0, 3), (1, 3), (4, 3)] {
        let refused = split_secret(&secret(), needed, total, &mut Counting(1));
        assert_eq!(refused.unwrap_err(), SharingError::Numbers { needed, total });
    }
}

#[test]
fn randomness_that_fails_at_any_moment_splits_nothing() {
    for fills in 0..32 {
        let refused = split_secret(&secret(), 2, 3, &mut Failing(fills));
        assert_eq!(
            refused.unwrap_err(),
            SharingError::Entropy(EntropyError),
            "{fills}"
        );
    }
}
