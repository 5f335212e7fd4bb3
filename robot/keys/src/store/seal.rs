//! How the store's content is authenticated: a tag for each record and one over all of them.

use alcub3_crypto::{Digest, HashAlg, MacKey, Secret};
use alcub3_trust_model::domain;
use std::collections::BTreeMap;
use std::fmt;

/// What a record is, and which: its key in the database.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) struct RecordKey(Vec<u8>);

/// What a record is.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum RecordKind {
    /// A managed key.
    ManagedKey = 1,
    /// A mission's record, in a file beside the store; its generation is its anchor's value.
    Mission = 2,
    /// A key of a mission, in the mission's file beside the store; its generation is its place in the file.
    MissionKey = 3,
    /// How many keys a mission has, in a file beside the store; its generation is that number.
    MissionKeyCount = 4,
    /// Which command policy the robot follows.
    CommandPolicy = 5,
}

impl RecordKey {
    pub(crate) fn new(kind: RecordKind, id: &[u8]) -> Self {
        Self([&[kind as u8], id].concat())
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn is_of(&self, kind: RecordKind) -> bool {
        self.0.first() == Some(&(kind as u8))
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0.first() {
            Some(kind) if *kind == RecordKind::ManagedKey as u8 => "key",
            Some(kind) if *kind == RecordKind::CommandPolicy as u8 => "command policy",
            // The others are files, which have names.
            _ => "record",
        };
        out.write_str(kind)?;
        out.write_str(" ")?;
        self.0
            .iter()
            .skip(1)
            .take(32)
            .try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// The tags of all records: what the content's tag covers, and what a record read later must still have.
pub(super) type Tags = BTreeMap<RecordKey, Digest>;

/// The store's MAC key.
#[derive(Debug)]
pub(crate) struct Seal(MacKey);

impl Seal {
    pub(crate) fn new(alg: HashAlg, derived: &Secret) -> Self {
        Self(MacKey::new(alg, derived.expose()))
    }

    /// The tag of a record, under its key and the generation that wrote it.
    pub(crate) fn record(&self, key: &RecordKey, generation: u64, body: &[u8]) -> Digest {
        let (key, domain) = (key.as_bytes(), domain::STORE_RECORD.as_bytes());
        self.0.tag(&[
            domain,
            &length(key),
            key,
            &generation.to_be_bytes(),
            &length(body),
            body,
        ])
    }

    /// A record with its generation and its tag, as [`Self::open`] takes it apart.
    pub(crate) fn sealed(&self, key: &RecordKey, generation: u64, body: &[u8]) -> Vec<u8> {
        row(generation, &self.record(key, generation, body), body)
    }

    /// The tag over a generation's whole content. It costs a few hash blocks a record in memory; what is written is
    /// only what changed.
    pub(super) fn content(&self, generation: u64, tags: &Tags) -> Digest {
        let mut listed = Vec::with_capacity(tags.len() * 80);
        for (key, tag) in tags {
            listed.extend_from_slice(&length(key.as_bytes()));
            listed.extend_from_slice(key.as_bytes());
            listed.extend_from_slice(tag.as_bytes());
        }
        let domain = domain::STORE_CONTENT.as_bytes();
        self.0.tag(&[domain, &generation.to_be_bytes(), &listed])
    }

    /// Takes a row of the database apart and checks it: the record's tag and body.
    pub(crate) fn open<'a>(&self, key: &RecordKey, row: &'a [u8]) -> Option<(Digest, &'a [u8])> {
        let (_, tag, body) = self.open_generation(key, row)?;
        Some((tag, body))
    }

    /// As [`Self::open`], with the generation before the tag.
    pub(crate) fn open_generation<'a>(
        &self,
        key: &RecordKey,
        row: &'a [u8],
    ) -> Option<(u64, Digest, &'a [u8])> {
        let (generation, rest) = row.split_first_chunk::<8>()?;
        let generation = u64::from_be_bytes(*generation);
        let (tag, body) = rest.split_at_checked(self.0.alg().size())?;
        let expected = self.record(key, generation, body);
        let genuine = alcub3_crypto::constant_time_eq(expected.as_bytes(), tag);
        genuine.then_some((generation, expected, body))
    }
}

/// A row of the database, or what a file beside it holds: the generation, the record's tag, its body.
pub(super) fn row(generation: u64, tag: &Digest, body: &[u8]) -> Vec<u8> {
    [&generation.to_be_bytes(), tag.as_bytes(), body].concat()
}

fn length(bytes: &[u8]) -> [u8; 8] {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    const ALG: HashAlg = HashAlg::Sha256;

    fn seal() -> Seal {
        Seal::new(ALG, &Secret::from_slice(&[7; 32]))
    }

    #[test]
    fn a_record_is_bound_to_its_place_its_generation_and_every_bit() {
        let (seal, key) = (seal(), RecordKey::new(RecordKind::ManagedKey, &[1; 16]));
        let tag = seal.record(&key, 5, b"body");
        let whole = row(5, &tag, b"body");
        assert_eq!(seal.open(&key, &whole), Some((tag, &b"body"[..])));
        let other = RecordKey::new(RecordKind::ManagedKey, &[2; 16]);
        assert_eq!(seal.open(&other, &whole), None);
        for bit in 0..whole.len() * 8 {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(seal.open(&key, &changed), None, "bit {bit}");
        }
        for end in 0..whole.len() {
            assert_eq!(seal.open(&key, &whole[..end]), None);
        }
    }

    #[test]
    fn the_content_is_bound_to_its_generation_and_to_each_record_being_there_once() {
        let seal = seal();
        let key = |n| RecordKey::new(RecordKind::ManagedKey, &[n; 16]);
        let tags: Tags = (0..3).map(|n| (key(n), seal.record(&key(n), 1, &[n]))).collect();
        let tag = seal.content(4, &tags);
        assert_ne!(seal.content(5, &tags), tag);
        for n in 0..3 {
            let mut fewer = tags.clone();
            fewer.remove(&key(n));
            assert_ne!(seal.content(4, &fewer), tag);
            let mut older = tags.clone();
            older.insert(key(n), seal.record(&key(n), 0, &[n]));
            assert_ne!(seal.content(4, &older), tag);
        }
    }
}
