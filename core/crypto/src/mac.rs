//! HMAC (FIPS 198-1) and comparison in constant time.

use core::fmt;

use aws_lc_rs::hmac as provider;
use subtle::ConstantTimeEq;

use crate::{Digest, HashAlg};

/// HMAC of the concatenation of `parts`.
#[must_use]
pub fn hmac(alg: HashAlg, key: &[u8], parts: &[&[u8]]) -> Digest {
    MacKey::new(alg, key).tag(parts)
}

/// Compares without leaking where two strings differ; different lengths are unequal at once.
#[must_use]
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// An HMAC key with its inner and outer states computed once. AWS-LC wipes them on drop.
#[derive(Clone)]
pub struct MacKey {
    alg: HashAlg,
    key: provider::Key,
}

impl MacKey {
    /// Prepares a key of any length; longer than the hash's block it is hashed first, as FIPS 198-1 says.
    #[must_use]
    pub fn new(alg: HashAlg, key: &[u8]) -> Self {
        Self {
            alg,
            key: provider::Key::new(algorithm(alg), key),
        }
    }

    /// The hash algorithm.
    #[must_use]
    pub fn alg(&self) -> HashAlg {
        self.alg
    }

    /// The tag over the concatenation of `parts`.
    #[must_use]
    pub fn tag(&self, parts: &[&[u8]]) -> Digest {
        let tag = match parts {
            [only] => provider::sign(&self.key, only),
            _ => self.tag_of_many(parts),
        };
        // The provider's tag is always as long as the hash.
        Digest::from_slice(self.alg, tag.as_ref()).unwrap_or_else(|| Digest::zero(self.alg))
    }

    /// Whether `tag` is the tag over `parts`, compared in constant time. A truncated tag is refused.
    #[must_use]
    pub fn verify(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        constant_time_eq(self.tag(parts).as_bytes(), tag)
    }

    fn tag_of_many(&self, parts: &[&[u8]]) -> provider::Tag {
        let mut context = provider::Context::with_key(&self.key);
        for part in parts {
            context.update(part);
        }
        context.sign()
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MacKey")
            .field("alg", &self.alg)
            .finish_non_exhaustive()
    }
}

fn algorithm(alg: HashAlg) -> provider::Algorithm {
    match alg {
        HashAlg::Sha1 => provider::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        HashAlg::Sha256 => provider::HMAC_SHA256,
        HashAlg::Sha384 => provider::HMAC_SHA384,
        HashAlg::Sha512 => provider::HMAC_SHA512,
    }
}
