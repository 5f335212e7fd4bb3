//! Replay: what a list leaves in its PCR, and up to which entry it explains a quoted value.

use super::{Entry, ImaLog};
use alcub3_crypto::{Digest, HashAlg};

/// What the kernel extends into a bank other than SHA-1's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TemplateHashing {
    /// The template hash of the bank's own algorithm (Linux 5.8 and later).
    OfBank,
    /// The SHA-1 template hash with zeros behind it (before Linux 5.8).
    PaddedSha1,
}

impl TemplateHashing {
    /// Both.
    pub const ALL: [Self; 2] = [Self::OfBank, Self::PaddedSha1];

    /// `of-bank` or `padded-sha1`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OfBank => "of-bank",
            Self::PaddedSha1 => "padded-sha1",
        }
    }

    /// What an entry extends into a bank; a violation extends ones.
    #[must_use]
    pub fn extended(self, entry: &Entry<'_>, bank: HashAlg) -> Digest {
        if entry.is_violation() {
            return Digest::ones(bank);
        }
        match self {
            Self::OfBank => entry.computed_hash(bank),
            Self::PaddedSha1 => padded(&entry.computed_hash(HashAlg::Sha1), bank),
        }
    }
}

fn padded(sha1: &Digest, bank: HashAlg) -> Digest {
    let mut bytes = [0; 64];
    for (to, from) in bytes.iter_mut().zip(sha1.as_bytes()) {
        *to = *from;
    }
    let sized = bytes.get(..bank.size()).unwrap_or_default();
    Digest::from_slice(bank, sized).unwrap_or(Digest::zero(bank))
}

/// A PCR while a list is replayed; kept, it lets a list that has grown cost only what was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImaReplay {
    value: Digest,
    hashing: TemplateHashing,
    entries: usize,
}

impl ImaReplay {
    /// Before any entry.
    #[must_use]
    pub fn new(bank: HashAlg, hashing: TemplateHashing) -> Self {
        Self {
            value: Digest::zero(bank),
            hashing,
            entries: 0,
        }
    }

    /// After so many entries, with the value that they led to.
    pub(crate) const fn resumed(value: Digest, hashing: TemplateHashing, entries: usize) -> Self {
        Self {
            value,
            hashing,
            entries,
        }
    }

    /// The PCR's value after the entries so far.
    #[must_use]
    pub const fn value(&self) -> &Digest {
        &self.value
    }

    /// How the entries are hashed into the bank.
    #[must_use]
    pub const fn hashing(&self) -> TemplateHashing {
        self.hashing
    }

    /// How many entries were taken.
    #[must_use]
    pub const fn entries(&self) -> usize {
        self.entries
    }

    /// Takes an entry.
    pub fn extend(&mut self, entry: &Entry<'_>) {
        let extended = self.hashing.extended(entry, self.value.alg());
        self.value = self.value.extend(extended.as_bytes());
        self.entries += 1;
    }

    /// Takes entries until the value is the quoted one; `false` where it never is. Entries behind it were measured between
    /// the quote and the reading of the list.
    pub fn reach<'e>(&mut self, entries: impl Iterator<Item = Entry<'e>>, quoted: &Digest) -> bool {
        if self.value == *quoted {
            return true;
        }
        // Both are public: compared as bytes, and not in constant time.
        let same_bank = self.value.alg() == quoted.alg();
        let mut entries = entries.filter(|_| same_bank);
        entries.any(|entry| {
            self.extend(&entry);
            self.value.as_bytes() == quoted.as_bytes()
        })
    }
}

impl ImaLog<'_> {
    /// The entries of one PCR.
    pub fn entries_of(&self, pcr: u8) -> impl Iterator<Item = Entry<'_>> {
        self.entries().filter(move |entry| entry.pcr == pcr)
    }

    /// The first entry whose stated template hash is not that of its data.
    #[must_use]
    pub fn first_altered(&self) -> Option<Entry<'_>> {
        let hash = self.template_hash_alg();
        self.entries().find(|entry| {
            !entry.is_violation() && entry.computed_hash(hash).as_bytes() != entry.template_hash
        })
    }

    /// The shortest beginning of the list that explains a quoted value, whichever way the kernel hashes; `None` where none does.
    #[must_use]
    pub fn explains(&self, pcr: u8, quoted: &Digest) -> Option<ImaReplay> {
        TemplateHashing::ALL.into_iter().find_map(|hashing| {
            let mut replay = ImaReplay::new(quoted.alg(), hashing);
            replay.reach(self.entries_of(pcr), quoted).then_some(replay)
        })
    }
}
