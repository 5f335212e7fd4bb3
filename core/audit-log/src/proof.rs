//! Proofs of inclusion and of consistency (RFC 9162 §2.1.3 and §2.1.4).

use alcub3_crypto::constant_time_eq;

use crate::{NodeHash, NodeSource, empty_root, node_hash};

/// A tree of 2^64 leaves has no longer proof.
const MAX_PATH: usize = 65;

/// Why a proof could not be made or does not hold.
#[derive(Copy, Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum ProofError {
    /// The leaf is not in a tree of this size.
    #[error("leaf {index} is not in a tree of {size} leaves")]
    NoSuchLeaf {
        /// The leaf's index.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// A tree cannot be consistent with a smaller one that follows it.
    #[error("a tree of {first} leaves cannot precede one of {second}")]
    Sizes {
        /// The earlier size.
        first: u64,
        /// The later size.
        second: u64,
    },
    /// A node that the proof needs is not in the store.
    #[error("the log lacks node {index} of level {level}: restore the store or rebuild it from its entries")]
    MissingNode {
        /// The node's level, leaves being 0.
        level: u32,
        /// The node's index within its level.
        index: u64,
    },
    /// The proof has another length than a tree of this size asks for.
    #[error("the proof has {found} hashes, which cannot be right for these sizes")]
    Length {
        /// How many hashes it has.
        found: usize,
    },
    /// The proof leads to another root than the claimed one.
    #[error("the proof leads to another {0} root than the claimed one")]
    Root(&'static str),
}

/// That one leaf is in the tree of one size.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InclusionProof {
    /// The leaf's index.
    pub index: u64,
    /// The tree's size.
    pub size: u64,
    /// The hashes beside the path from the leaf to the root.
    pub path: Vec<NodeHash>,
}

/// That the tree of one size is the beginning of the tree of another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConsistencyProof {
    /// The earlier size.
    pub first: u64,
    /// The later size.
    pub second: u64,
    /// The hashes.
    pub path: Vec<NodeHash>,
}

/// The largest power of two below `n`, for n > 1.
const fn split(n: u64) -> u64 {
    1 << (u64::BITS - 1 - (n - 1).leading_zeros())
}

/// The hash of the leaves from `start`, `count` of them; `start` is a multiple of the subtree's size.
fn range_hash(source: &impl NodeSource, start: u64, count: u64) -> Result<NodeHash, ProofError> {
    if count.is_power_of_two() {
        let level = count.trailing_zeros();
        let index = start >> level;
        return source
            .node(level, index)
            .ok_or(ProofError::MissingNode { level, index });
    }
    if count == 0 {
        return Ok(empty_root());
    }
    let left = split(count);
    let right = range_hash(source, start.saturating_add(left), count - left)?;
    Ok(node_hash(&range_hash(source, start, left)?, &right))
}

/// The root that the tree had at a size.
///
/// # Errors
/// [`ProofError::MissingNode`] where the store is not complete up to there.
pub fn root_at(source: &impl NodeSource, size: u64) -> Result<NodeHash, ProofError> {
    range_hash(source, 0, size)
}

/// Proves that a leaf is in the tree of a size.
///
/// # Errors
/// [`ProofError::NoSuchLeaf`], or [`ProofError::MissingNode`] where the store is not complete.
pub fn prove_inclusion(
    source: &impl NodeSource,
    index: u64,
    size: u64,
) -> Result<InclusionProof, ProofError> {
    if index >= size {
        return Err(ProofError::NoSuchLeaf { index, size });
    }
    let (mut start, mut count) = (0, size);
    let mut path = Vec::new();
    while count > 1 {
        let left = split(count);
        if index - start < left {
            path.push(range_hash(source, start + left, count - left)?);
            count = left;
        } else {
            path.push(range_hash(source, start, left)?);
            (start, count) = (start + left, count - left);
        }
    }
    path.reverse();
    Ok(InclusionProof { index, size, path })
}

/// Proves that the tree of `first` leaves is the beginning of the tree of `second`.
///
/// # Errors
/// [`ProofError::Sizes`], or [`ProofError::MissingNode`] where the store is not complete.
pub fn prove_consistency(
    source: &impl NodeSource,
    first: u64,
    second: u64,
) -> Result<ConsistencyProof, ProofError> {
    if first > second {
        return Err(ProofError::Sizes { first, second });
    }
    let mut path = Vec::new();
    if first == 0 || first == second {
        return Ok(ConsistencyProof { first, second, path });
    }
    let (mut start, mut count, mut old) = (0, second, first);
    while old != count {
        let left = split(count);
        if old <= left {
            path.push(range_hash(source, start + left, count - left)?);
            count = left;
        } else {
            path.push(range_hash(source, start, left)?);
            (start, count, old) = (start + left, count - left, old - left);
        }
    }
    if start != 0 {
        path.push(range_hash(source, start, count)?);
    }
    path.reverse();
    Ok(ConsistencyProof { first, second, path })
}

impl InclusionProof {
    /// Checks the proof for a leaf's hash against a root that the caller trusts.
    ///
    /// # Errors
    /// [`ProofError`] says why it does not hold.
    pub fn verify(&self, leaf: &NodeHash, root: &NodeHash) -> Result<(), ProofError> {
        let Self {
            index,
            size,
            ref path,
        } = *self;
        if index >= size {
            return Err(ProofError::NoSuchLeaf { index, size });
        }
        let wrong_length = ProofError::Length { found: path.len() };
        let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
        for sibling in path {
            if last == 0 {
                return Err(wrong_length);
            }
            if node & 1 == 1 || node == last {
                hash = node_hash(sibling, &hash);
                let skip = if node & 1 == 1 { 0 } else { node.trailing_zeros() };
                (node, last) = (shift(node, skip), shift(last, skip));
            } else {
                hash = node_hash(&hash, sibling);
            }
            (node, last) = (node >> 1, last >> 1);
        }
        if last != 0 {
            Err(wrong_length)
        } else {
            same(&hash, root, "tree")
        }
    }
}

/// Shifts to the right; by 64 and more to nothing.
const fn shift(value: u64, by: u32) -> u64 {
    match value.checked_shr(by) {
        Some(value) => value,
        None => 0,
    }
}

fn same(found: &NodeHash, claimed: &NodeHash, which: &'static str) -> Result<(), ProofError> {
    let equal = constant_time_eq(found.as_bytes(), claimed.as_bytes());
    if equal {
        Ok(())
    } else {
        Err(ProofError::Root(which))
    }
}

impl ConsistencyProof {
    /// Checks the proof against two roots: the earlier one, which the caller trusts, and the later one.
    ///
    /// # Errors
    /// [`ProofError`] says why it does not hold.
    pub fn verify(&self, first_root: &NodeHash, second_root: &NodeHash) -> Result<(), ProofError> {
        let Self {
            first,
            second,
            ref path,
        } = *self;
        if first > second {
            return Err(ProofError::Sizes { first, second });
        }
        if path.len() > MAX_PATH || ((first == 0 || first == second) && !path.is_empty()) {
            return Err(ProofError::Length { found: path.len() });
        }
        if first == 0 {
            return same(&empty_root(), first_root, "earlier");
        }
        if first == second {
            return same(first_root, second_root, "later");
        }
        self.verify_path(first_root, second_root)
    }

    /// RFC 9162 §2.1.4.2, steps 3 to 8, for 0 < first < second.
    fn verify_path(&self, first_root: &NodeHash, second_root: &NodeHash) -> Result<(), ProofError> {
        let wrong_length = ProofError::Length {
            found: self.path.len(),
        };
        let mut path = self.path.iter();
        let start = if self.first.is_power_of_two() {
            Some(first_root)
        } else {
            path.next()
        };
        let start = *start.ok_or(wrong_length)?;
        let ones = (self.first - 1).trailing_ones();
        let (mut node, mut last) = (shift(self.first - 1, ones), shift(self.second - 1, ones));
        let (mut old, mut new) = (start, start);
        for hash in path {
            if last == 0 {
                return Err(wrong_length);
            }
            if node & 1 == 1 || node == last {
                old = node_hash(hash, &old);
                new = node_hash(hash, &new);
                while node & 1 == 0 && node != 0 {
                    (node, last) = (node >> 1, last >> 1);
                }
            } else {
                new = node_hash(&new, hash);
            }
            (node, last) = (node >> 1, last >> 1);
        }
        if last != 0 {
            return Err(wrong_length);
        }
        same(&old, first_root, "earlier")?;
        same(&new, second_root, "later")
    }
}
