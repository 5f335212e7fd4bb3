//! Hash algorithms and digests (FIPS 180-4), with their TPM algorithm identifiers.

use core::fmt;
use core::hash::{Hash, Hasher as StdHasher};

use aws_lc_rs::digest;

/// The longest digest of any [`HashAlg`], in bytes.
const MAX: usize = 64;

/// A hash algorithm. SHA-1 exists to replay old logs and is never approved.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum HashAlg {
    /// SHA-1: log replay only.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl HashAlg {
    /// Every algorithm, weakest first.
    pub const ALL: [HashAlg; 4] = [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512];

    /// The digest's length in bytes.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            HashAlg::Sha1 => 20,
            HashAlg::Sha256 => 32,
            HashAlg::Sha384 => 48,
            HashAlg::Sha512 => 64,
        }
    }

    /// The digest's length in bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            HashAlg::Sha1 => 160,
            HashAlg::Sha256 => 256,
            HashAlg::Sha384 => 384,
            HashAlg::Sha512 => 512,
        }
    }

    /// The TPM_ALG_ID (TCG Algorithm Registry).
    #[must_use]
    pub const fn tpm_id(self) -> u16 {
        match self {
            HashAlg::Sha1 => 0x0004,
            HashAlg::Sha256 => 0x000B,
            HashAlg::Sha384 => 0x000C,
            HashAlg::Sha512 => 0x000D,
        }
    }

    /// The algorithm of a TPM_ALG_ID, if it is one of ours.
    #[must_use]
    pub const fn from_tpm_id(id: u16) -> Option<Self> {
        match id {
            0x0004 => Some(HashAlg::Sha1),
            0x000B => Some(HashAlg::Sha256),
            0x000C => Some(HashAlg::Sha384),
            0x000D => Some(HashAlg::Sha512),
            _ => None,
        }
    }

    /// The algorithm of a dotted object identifier (RFC 8017 appendix B.1, NIST CSOR), if it is one of ours.
    #[must_use]
    pub fn from_oid(oid: &str) -> Option<Self> {
        match oid {
            "1.3.14.3.2.26" => Some(HashAlg::Sha1),
            "2.16.840.1.101.3.4.2.1" => Some(HashAlg::Sha256),
            "2.16.840.1.101.3.4.2.2" => Some(HashAlg::Sha384),
            "2.16.840.1.101.3.4.2.3" => Some(HashAlg::Sha512),
            _ => None,
        }
    }

    /// The name people and tools use, such as `sha256`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            HashAlg::Sha1 => "sha1",
            HashAlg::Sha256 => "sha256",
            HashAlg::Sha384 => "sha384",
            HashAlg::Sha512 => "sha512",
        }
    }

    /// The algorithm with this [`name`](Self::name), exactly.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|alg| alg.name() == name)
    }

    /// Whether new evidence, keys and signatures may use it.
    #[must_use]
    pub const fn is_approved(self) -> bool {
        !matches!(self, HashAlg::Sha1)
    }

    /// The digest of the concatenation of `parts`.
    #[must_use]
    pub fn digest(self, parts: &[&[u8]]) -> Digest {
        if let [only] = parts {
            return Digest::from_provider(self, digest::digest(self.provider(), only).as_ref());
        }
        let mut hasher = self.hasher();
        for part in parts {
            hasher.update(part);
        }
        hasher.finish()
    }

    /// A running hash.
    #[must_use]
    pub fn hasher(self) -> Hasher {
        Hasher {
            alg: self,
            context: digest::Context::new(self.provider()),
        }
    }

    pub(crate) fn provider(self) -> &'static digest::Algorithm {
        match self {
            HashAlg::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            HashAlg::Sha256 => &digest::SHA256,
            HashAlg::Sha384 => &digest::SHA384,
            HashAlg::Sha512 => &digest::SHA512,
        }
    }
}

impl fmt::Display for HashAlg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A digest with its algorithm, held inline.
#[derive(Copy, Clone)]
pub struct Digest {
    alg: HashAlg,
    bytes: [u8; MAX],
}

impl Digest {
    /// All zero: the start of a PCR, of a policy and of a replay.
    #[must_use]
    pub fn zero(alg: HashAlg) -> Self {
        Self { alg, bytes: [0; MAX] }
    }

    /// All ones: the start of the PCRs that only a dynamic launch resets.
    #[must_use]
    pub fn ones(alg: HashAlg) -> Self {
        let mut bytes = [0; MAX];
        for byte in bytes.iter_mut().take(alg.size()) {
            *byte = 0xFF;
        }
        Self { alg, bytes }
    }

    /// A digest from its bytes, which must be exactly [`HashAlg::size`] long.
    #[must_use]
    pub fn from_slice(alg: HashAlg, bytes: &[u8]) -> Option<Self> {
        (bytes.len() == alg.size()).then(|| Self::from_provider(alg, bytes))
    }

    /// The algorithm.
    #[must_use]
    pub fn alg(&self) -> HashAlg {
        self.alg
    }

    /// The digest's bytes, [`HashAlg::size`] of them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.alg.size()).unwrap_or(&self.bytes)
    }

    /// Lower-case hexadecimal.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.as_bytes())
    }

    /// H(self ‖ data): what extending a PCR or an NV extend index does (Part 1, "PCR extend").
    #[must_use]
    pub fn extend(&self, data: &[u8]) -> Digest {
        // A chip extends by a digest, and logs are replayed by thousands of those: one piece is hashed without a context.
        let mut both = [0; 2 * MAX];
        let (value, length) = (self.as_bytes(), self.alg.size() + data.len());
        match both.get_mut(..length).map(|both| both.split_at_mut(value.len())) {
            Some((front, back)) => {
                front.copy_from_slice(value);
                back.copy_from_slice(data);
                self.alg.digest(&[both.get(..length).unwrap_or_default()])
            }
            None => self.alg.digest(&[value, data]),
        }
    }

    fn from_provider(alg: HashAlg, bytes: &[u8]) -> Self {
        let mut held = [0; MAX];
        if let Some(to) = held.get_mut(..bytes.len()) {
            to.copy_from_slice(bytes);
        }
        Self { alg, bytes: held }
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.alg == other.alg && crate::constant_time_eq(self.as_bytes(), other.as_bytes())
    }
}

impl Eq for Digest {}

impl Hash for Digest {
    fn hash<H: StdHasher>(&self, state: &mut H) {
        self.alg.hash(state);
        self.as_bytes().hash(state);
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.alg, self.to_hex())
    }
}

/// A running hash, from [`HashAlg::hasher`].
#[derive(Clone)]
pub struct Hasher {
    alg: HashAlg,
    context: digest::Context,
}

impl Hasher {
    /// Adds bytes to what is hashed.
    pub fn update(&mut self, bytes: &[u8]) -> &mut Self {
        self.context.update(bytes);
        self
    }

    /// The digest of everything added.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest::from_provider(self.alg, self.context.finish().as_ref())
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher")
            .field("alg", &self.alg)
            .finish_non_exhaustive()
    }
}
