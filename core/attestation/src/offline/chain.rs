//! The chain itself: what a link is, and how each follows the one before.

use super::{MAX_EXPANDED_BYTES, MAX_LINK_BYTES, delta};
use crate::evidence::Nonce;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fields, Reader};
use alcub3_trust_model::domain;
use thiserror::Error;

const VERSION: u64 = 1;
/// The hash of the chain, whatever the TPM signs with.
const ALG: HashAlg = HashAlg::Sha256;

/// What stands before the first link: the digest of a signed answer of the authority.
#[must_use]
pub fn anchor(answer: &[u8]) -> Digest {
    ALG.digest(&[domain::OFFLINE_ANCHOR.as_bytes(), answer])
}

/// The digest of a link, which the next one binds.
#[must_use]
pub fn digest(link: &[u8]) -> Digest {
    ALG.digest(&[link])
}

/// Why a link does not follow.
#[derive(Debug, Error)]
pub enum ChainError {
    /// The bytes are no link behind the one before.
    #[error("link {index} is malformed: {source}")]
    Malformed {
        /// Which was expected.
        index: u64,
        /// What is wrong.
        source: DecodeError,
    },
    /// It is another link than the next one.
    #[error("link {found} stands where link {expected} is expected: one is missing, or they were swapped")]
    Index {
        /// Which was expected.
        expected: u64,
        /// What it says.
        found: u64,
    },
    /// It follows something else.
    #[error("link {index} follows another link or another answer of the authority than the one before it")]
    Previous {
        /// Which.
        index: u64,
    },
    /// Together with those before it stands for more evidence than a queue may.
    #[error(
        "the evidence of link {index} and of those before it is more than {MAX_EXPANDED_BYTES} bytes: the authority judges no more at once"
    )]
    Expanded {
        /// Which.
        index: u64,
    },
    /// The evidence is too long for a link.
    #[error("the evidence of link {index} is too long to be kept")]
    TooLong {
        /// Which.
        index: u64,
    },
}

/// A chain up to its newest link: what the next one must follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    next: u64,
    head: Digest,
    evidence: Vec<u8>,
    /// How many bytes of evidence its links stand for.
    expanded: u64,
}

impl Chain {
    /// A chain without links behind an answer of the authority, by [`anchor`].
    #[must_use]
    pub const fn behind(anchor: Digest) -> Self {
        Self {
            next: 0,
            head: anchor,
            evidence: Vec::new(),
            expanded: 0,
        }
    }

    /// The chain that ends before a link, where that is a first one.
    ///
    /// # Errors
    /// [`ChainError`]: it is none.
    pub fn before(link: &[u8]) -> Result<Self, ChainError> {
        let mut reader = Reader::new(domain::OFFLINE_LINK, link);
        let malformed = |source| ChainError::Malformed { index: 0, source };
        let (found, previous, _) = head(&mut reader).map_err(malformed)?;
        let previous = Digest::from_slice(ALG, &previous);
        match previous.filter(|_| found == 0) {
            Some(previous) => Ok(Self::behind(previous)),
            None => Err(ChainError::Index { expected: 0, found }),
        }
    }

    /// How many links it has, which is the next one's index.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.next
    }

    /// The digest of the newest link, or the anchor.
    #[must_use]
    pub const fn head(&self) -> Digest {
        self.head
    }

    /// The nonce of the next link: domain and digest have fixed lengths and the index eight bytes, so that the hashed
    /// concatenation has one reading.
    #[must_use]
    pub fn next_nonce(&self) -> Nonce {
        let index = self.next.to_be_bytes();
        let hashed = ALG.digest(&[domain::OFFLINE_EVIDENCE.as_bytes(), self.head.as_bytes(), &index]);
        let mut nonce = [0; 32];
        nonce.copy_from_slice(hashed.as_bytes());
        Nonce(nonce)
    }

    /// The next link of evidence under [`Self::next_nonce`], and the chain with it.
    ///
    /// # Errors
    /// [`ChainError::TooLong`], [`ChainError::Expanded`].
    pub fn with(&self, evidence: Vec<u8>) -> Result<(Vec<u8>, Self), ChainError> {
        let mut out = Encoder::structure(domain::OFFLINE_LINK, VERSION, 3);
        out.u64(2)
            .u64(self.next)
            .u64(3)
            .bytes(self.head.as_bytes())
            .u64(4);
        delta::write(&mut out, &self.evidence, &evidence);
        let link = out.finish();
        if link.len() > MAX_LINK_BYTES {
            return Err(ChainError::TooLong { index: self.next });
        }
        let longer = self.longer(&link, evidence)?;
        Ok((link, longer))
    }

    /// Follows a link to its evidence; the chain then ends with it.
    ///
    /// # Errors
    /// [`ChainError`]; the chain is then as it was.
    pub fn follow(&mut self, link: &[u8]) -> Result<&[u8], ChainError> {
        let evidence = self.decode(link)?;
        *self = self.longer(link, evidence)?;
        Ok(&self.evidence)
    }

    fn longer(&self, link: &[u8], evidence: Vec<u8>) -> Result<Self, ChainError> {
        let expanded = self.expanded.saturating_add(evidence.len() as u64);
        if expanded > MAX_EXPANDED_BYTES {
            return Err(ChainError::Expanded { index: self.next });
        }
        Ok(Self {
            next: self.next.saturating_add(1),
            head: digest(link),
            evidence,
            expanded,
        })
    }

    /// The evidence of the next link. Whether it is the next one is asked first: another one's parts would be taken from the wrong
    /// evidence.
    fn decode(&self, link: &[u8]) -> Result<Vec<u8>, ChainError> {
        let expected = self.next;
        let malformed = |source| ChainError::Malformed {
            index: expected,
            source,
        };
        let mut reader = Reader::new(domain::OFFLINE_LINK, link);
        let (index, previous, fields) = head(&mut reader).map_err(malformed)?;
        if index != expected {
            return Err(ChainError::Index {
                expected,
                found: index,
            });
        }
        if previous != *self.head.as_bytes() {
            return Err(ChainError::Previous { index });
        }
        self.body(&mut reader, fields).map_err(malformed)
    }

    fn body(&self, r: &mut Reader<'_>, mut fields: Fields) -> Result<Vec<u8>, DecodeError> {
        fields.key(r, 4, "evidence")?;
        let evidence = delta::read(r, &self.evidence)?;
        fields.finish(r)?;
        r.finish()?;
        Ok(evidence)
    }
}

fn head(r: &mut Reader<'_>) -> Result<(u64, [u8; 32], Fields), DecodeError> {
    let mut fields = r.structure(domain::OFFLINE_LINK, VERSION)?;
    fields.key(r, 2, "index")?;
    let index = r.u64("index")?;
    fields.key(r, 3, "previous")?;
    let previous = *r.bytes_of("previous")?;
    Ok((index, previous, fields))
}
