//! An auditor's bundle: one file that proves, without network or TPM, what a log says to whom may read it.
//!
//! It has a signed checkpoint, what the TPM certified with it, and the whole tree: of entries that the auditor may read their
//! bytes, of all others hashes only, of the largest subtrees that hold nothing to be read.

use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{Labels, domain};

use crate::check::Growing;
use crate::{Checkpoint, Entry, Finding, NodeHash, NoteVerifier, SignedCheckpoint, leaf_hash, node_hash};

const VERSION: u64 = 1;
/// The most parts of a bundle.
const MAX_PARTS: usize = 1 << 22;
/// The most earlier checkpoints.
const MAX_EARLIER: usize = 1024;
/// The kind of a part that is an entry; smaller numbers are the level of a subtree.
const ENTRY: u64 = 64;
const MAX_ATTEST: usize = 4096;

/// What the TPM signed over a checkpoint: TPM2_NV_Certify of the audit counter, with [`Checkpoint::binding`] as qualifying data.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TpmAnchor {
    /// TPMS_ATTEST.
    pub message: Vec<u8>,
    /// TPMT_SIGNATURE.
    pub signature: Vec<u8>,
}

/// A part of the tree, in the order of the leaves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Part {
    /// An entry that the auditor may read: its canonical bytes, and the hash that the log has of it.
    Entry {
        /// The hash.
        hash: NodeHash,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// 2^level leaves by the hash over them.
    Hidden {
        /// The level.
        level: u32,
        /// The hash.
        hash: NodeHash,
    },
}

impl Part {
    const fn leaves(&self) -> u64 {
        match self {
            Self::Entry { .. } => 1,
            Self::Hidden { level, .. } => 1 << *level,
        }
    }
}

/// An auditor's bundle. Nothing here says that it holds: see [`Self::verify`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditBundle {
    /// The log's key, as text.
    pub key: String,
    /// The checkpoint's note.
    pub note: String,
    /// What the TPM certified with it.
    pub anchor: Option<TpmAnchor>,
    /// Notes of earlier checkpoints, in the order of their sizes.
    pub earlier: Vec<String>,
    /// What the auditor is cleared for.
    pub reader: Labels,
    /// The tree.
    pub parts: Vec<Part>,
}

/// A bundle that holds.
#[derive(Clone, Debug)]
pub struct VerifiedBundle {
    /// The head.
    pub head: SignedCheckpoint,
    /// The entries that may be read, with their indices.
    pub entries: Vec<(u64, Entry)>,
    /// How many of the log's entries are hidden.
    pub hidden: u64,
}

/// What of a log goes into a bundle.
#[derive(Clone, Debug)]
pub struct Cut {
    /// What the auditor is cleared for.
    pub reader: Labels,
    /// Entries from this index on.
    pub from: u64,
    /// Up to this one, which is not in it.
    pub before: u64,
}

/// Puts the parts of a bundle together, leaf by leaf.
#[derive(Clone, Debug)]
pub struct BundleParts {
    cut: Cut,
    /// Sizes at which the root must be computable, ascending.
    heads: Vec<u64>,
    parts: Vec<Part>,
    size: u64,
}

impl BundleParts {
    /// Nothing yet. `heads` are the sizes of the earlier checkpoints that go with it.
    pub const fn new(cut: Cut, heads: Vec<u64>) -> Self {
        Self {
            cut,
            heads,
            parts: Vec::new(),
            size: 0,
        }
    }

    /// Adds the log's next leaf. Bytes that are no entry nobody may read: nobody can say what is in them.
    pub fn push(&mut self, leaf: &[u8]) {
        let hash = leaf_hash(leaf);
        let in_range = (self.cut.from..self.cut.before).contains(&self.size);
        let entry = in_range.then(|| Entry::from_canonical(leaf).ok()).flatten();
        let readable = entry.is_some_and(|entry| entry.is_readable_by(&self.cut.reader));
        self.size = self.size.saturating_add(1);
        if readable {
            let bytes = leaf.to_vec();
            self.parts.push(Part::Entry { hash, bytes });
        } else {
            self.parts.push(Part::Hidden { level: 0, hash });
            while self.merge().is_some() {}
        }
    }

    /// Makes one subtree of the last two, where they are its halves and no head ends between them.
    fn merge(&mut self) -> Option<()> {
        let [
            ..,
            Part::Hidden {
                level,
                hash: left_hash,
            },
            Part::Hidden {
                level: right,
                hash: right_hash,
            },
        ] = self.parts.as_slice()
        else {
            return None;
        };
        let half = 1u64.checked_shl(*level)?;
        let begin = self.size.checked_sub(half.checked_mul(2)?)?;
        let is_pair = level == right && begin.is_multiple_of(half.checked_mul(2)?);
        if !is_pair || self.heads.binary_search(&begin.saturating_add(half)).is_ok() {
            return None;
        }
        let merged = Part::Hidden {
            level: level.saturating_add(1),
            hash: node_hash(left_hash, right_hash),
        };
        self.parts.truncate(self.parts.len().saturating_sub(2));
        self.parts.push(merged);
        Some(())
    }

    /// The parts.
    pub fn finish(self) -> (Labels, Vec<Part>) {
        (self.cut.reader, self.parts)
    }
}

impl AuditBundle {
    /// The bundle's bytes.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::AUDIT_BUNDLE, VERSION, 6);
        out.u64(2).text(&self.key).u64(3).text(&self.note);
        out.u64(4);
        encode_anchor(&mut out, self.anchor.as_ref());
        out.u64(5).array(self.earlier.len());
        self.earlier.iter().for_each(|note| {
            out.text(note);
        });
        self.reader.encode(out.u64(6));
        out.u64(7).array(self.parts.len());
        for part in &self.parts {
            match part {
                Part::Entry { hash, bytes } => out.array(3).u64(ENTRY).bytes(hash.as_bytes()).bytes(bytes),
                Part::Hidden { level, hash } => out.array(2).u64(u64::from(*level)).bytes(hash.as_bytes()),
            };
        }
        out.finish()
    }

    /// The bundle of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field, the byte and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::AUDIT_BUNDLE, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::AUDIT_BUNDLE, VERSION)?;
        fields.key(r, 2, "key")?;
        let key = r.text("key")?.to_owned();
        fields.key(r, 3, "note")?;
        let note = r.text("note")?.to_owned();
        fields.key(r, 4, "anchor")?;
        let anchor = decode_anchor(r)?;
        fields.key(r, 5, "earlier")?;
        let count = r.array("earlier", MAX_EARLIER)?;
        let earlier = (0..count).map(|_| Ok(r.text("earlier")?.to_owned()));
        let earlier = earlier.collect::<Result<_, DecodeError>>()?;
        fields.key(r, 6, "reader")?;
        let auditor = Labels::decode(r)?;
        fields.key(r, 7, "parts")?;
        let count = r.array("parts", MAX_PARTS)?;
        let parts = (0..count)
            .map(|_| decode_part(r))
            .collect::<Result<_, DecodeError>>()?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            key,
            note,
            anchor,
            earlier,
            reader: auditor,
            parts,
        })
    }

    /// Checks the bundle against the log's key.
    ///
    /// # Errors
    /// What is wrong, with the position.
    pub fn verify(&self, log: &NoteVerifier) -> Result<VerifiedBundle, Vec<Finding>> {
        let head =
            SignedCheckpoint::verify(&self.note, log).map_err(|error| vec![Finding::Checkpoint(error)])?;
        let earlier = self.earlier_heads(log, head.checkpoint())?;
        let heads = earlier.iter().chain([head.checkpoint()]).collect();
        let mut growing = Growing::beside(heads);
        let (mut entries, mut findings, mut hidden) = (Vec::new(), Vec::new(), 0u64);
        for part in &self.parts {
            let index = growing.size();
            let added = match part {
                Part::Entry { hash, bytes } => {
                    match self.readable(index, hash, bytes) {
                        Ok(entry) => entries.push((index, entry)),
                        Err(finding) => findings.push(finding),
                    }
                    growing.leaf(*hash)
                }
                Part::Hidden { level, hash } => {
                    hidden = hidden.saturating_add(part.leaves());
                    growing.subtree(*level, *hash)
                }
            };
            if added.is_none() {
                findings.push(Finding::Root {
                    from: index,
                    before: head.checkpoint().size(),
                });
                break;
            }
        }
        let (found, size) = (growing.size(), head.checkpoint().size());
        if found != size {
            findings.push(Finding::Size { found, size });
        }
        findings.extend(growing.finding());
        if findings.is_empty() {
            Ok(VerifiedBundle {
                head,
                entries,
                hidden,
            })
        } else {
            findings.sort_by_key(|finding| finding.position().unwrap_or_default());
            Err(findings)
        }
    }

    fn readable(&self, index: u64, hash: &NodeHash, bytes: &[u8]) -> Result<Entry, Finding> {
        if leaf_hash(bytes) != *hash {
            return Err(Finding::Changed { index });
        }
        let entry = Entry::from_canonical(bytes).map_err(|_| Finding::Damaged { index })?;
        if entry.is_readable_by(&self.reader) {
            Ok(entry)
        } else {
            Err(Finding::Label { index })
        }
    }

    fn earlier_heads(&self, log: &NoteVerifier, head: &Checkpoint) -> Result<Vec<Checkpoint>, Vec<Finding>> {
        let mut heads: Vec<Checkpoint> = Vec::with_capacity(self.earlier.len());
        for (index, note) in self.earlier.iter().enumerate() {
            let wrong = |fault| vec![Finding::Earlier { index, fault }];
            let signed = SignedCheckpoint::verify(note, log);
            let earlier = signed.map_err(|_| wrong("not signed by the log's key"))?;
            let earlier = earlier.checkpoint().clone();
            let last = heads.last().map_or(0, Checkpoint::size);
            if earlier.size() < last || earlier.size() > head.size() {
                return Err(wrong("out of order"));
            }
            heads.push(earlier);
        }
        Ok(heads)
    }
}

/// Writes an anchor that may be absent.
pub fn encode_anchor(out: &mut Encoder, anchor: Option<&TpmAnchor>) {
    match anchor {
        Some(anchor) => out.array(2).bytes(&anchor.message).bytes(&anchor.signature),
        None => out.array(0),
    };
}

/// Reads what [`encode_anchor`] writes.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_anchor(r: &mut Reader<'_>) -> Result<Option<TpmAnchor>, DecodeError> {
    let count = r.array("anchor", 2)?;
    if count == 0 {
        return Ok(None);
    }
    let mut bounded = || {
        let bytes = r.bytes("anchor")?;
        if bytes.len() > MAX_ATTEST {
            return Err(r.fault("anchor", Fault::TooLong));
        }
        Ok(bytes.to_vec())
    };
    if count != 2 {
        return Err(r.fault("anchor", Fault::Value));
    }
    let message = bounded()?;
    let signature = bounded()?;
    Ok(Some(TpmAnchor { message, signature }))
}

fn decode_part(r: &mut Reader<'_>) -> Result<Part, DecodeError> {
    let length = r.array("part", 3)?;
    let kind = r.u64("part")?;
    let hash = NodeHash::new(*r.bytes_of("part")?);
    match (length, u32::try_from(kind)) {
        (3, _) if kind == ENTRY => Ok(Part::Entry {
            hash,
            bytes: r.bytes("part")?.to_vec(),
        }),
        (2, Ok(level)) if kind < ENTRY => Ok(Part::Hidden { level, hash }),
        _ => Err(r.fault("part", Fault::Value)),
    }
}
