//! The tree's hashes (RFC 6962 §2.1, RFC 9162 §2.1), with SHA-256.

use std::fmt;

use alcub3_crypto::HashAlg;

/// The hash of a leaf or of an inner node: 32 bytes of SHA-256.
#[derive(Copy, Clone, Eq, PartialEq, Hash)]
pub struct NodeHash([u8; 32]);

impl NodeHash {
    /// A hash of known bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn of(parts: &[&[u8]]) -> Self {
        let digest = HashAlg::Sha256.digest(parts);
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(digest.as_bytes()) {
            *to = *from;
        }
        Self(bytes)
    }
}

impl fmt::Debug for NodeHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// The root of the tree without leaves: the hash of nothing.
pub fn empty_root() -> NodeHash {
    NodeHash::of(&[])
}

/// The hash of an entry: H(0x00 ‖ entry).
pub fn leaf_hash(entry: &[u8]) -> NodeHash {
    NodeHash::of(&[&[0], entry])
}

/// The hash of two subtrees: H(0x01 ‖ left ‖ right).
pub fn node_hash(left: &NodeHash, right: &NodeHash) -> NodeHash {
    let mut input = [1u8; 65];
    for (to, from) in input.iter_mut().skip(1).zip(left.0.iter().chain(&right.0)) {
        *to = *from;
    }
    NodeHash::of(&[&input])
}

/// Where the hashes of complete subtrees come from: memory, or a file of the robot's agent.
pub trait NodeSource {
    /// The hash of the complete subtree over the 2^`level` leaves from `index` · 2^`level`; level 0 are leaves.
    fn node(&self, level: u32, index: u64) -> Option<NodeHash>;
}

/// The right edge of a tree: enough to append and to give the root, in at most 64 hashes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Frontier {
    size: u64,
    /// The complete subtrees, largest first: one for each bit set in `size`.
    peaks: Vec<NodeHash>,
}

impl Frontier {
    /// The frontier of the empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The frontier of a tree of a size, from stored nodes; none where one is missing.
    pub fn load(size: u64, source: &impl NodeSource) -> Option<Self> {
        let mut covered = 0u64;
        let mut peaks = Vec::new();
        for level in (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1) {
            peaks.push(source.node(level, covered >> level)?);
            covered |= 1 << level;
        }
        Some(Self { size, peaks })
    }

    /// The number of leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf; gives every node it completes, from level 0 upward, for the store.
    pub fn append(&mut self, leaf: NodeHash) -> Vec<NodeHash> {
        let mut completed = Vec::with_capacity(2);
        self.append_with(leaf, |node| completed.push(node));
        completed
    }

    /// As [`Self::append`]; hands out the completed nodes one by one.
    pub fn append_with(&mut self, leaf: NodeHash, completed: impl FnMut(NodeHash)) {
        self.join(0, leaf, completed);
    }

    /// Adds a complete subtree of 2^`level` leaves by its hash. None where the tree does not end where such a subtree begins.
    pub fn append_subtree(&mut self, level: u32, hash: NodeHash) -> Option<()> {
        let leaves = 1u64.checked_shl(level)?;
        self.size.checked_add(leaves)?;
        if self.size & leaves.wrapping_sub(1) != 0 {
            return None;
        }
        self.join(level, hash, |_| ());
        Some(())
    }

    fn join(&mut self, level: u32, hash: NodeHash, mut completed: impl FnMut(NodeHash)) {
        let mut top = hash;
        completed(top);
        for _ in 0..(self.size >> level).trailing_ones() {
            let Some(left) = self.peaks.pop() else { break };
            top = node_hash(&left, &top);
            completed(top);
        }
        self.peaks.push(top);
        self.size = self.size.saturating_add(1 << level);
    }

    /// The root.
    pub fn root(&self) -> NodeHash {
        let folded = self
            .peaks
            .iter()
            .copied()
            .rev()
            .reduce(|right, left| node_hash(&left, &right));
        folded.unwrap_or_else(empty_root)
    }
}

/// A whole tree in memory: every complete subtree's hash, 64 bytes a leaf.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    frontier: Frontier,
    levels: Vec<Vec<NodeHash>>,
}

impl Tree {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry; gives its index.
    pub fn append(&mut self, entry: &[u8]) -> u64 {
        self.append_leaf(leaf_hash(entry))
    }

    /// Adds a leaf by its hash; gives its index.
    pub fn append_leaf(&mut self, leaf: NodeHash) -> u64 {
        let index = self.frontier.size();
        for (level, node) in self.frontier.append(leaf).into_iter().enumerate() {
            match self.levels.get_mut(level) {
                Some(nodes) => nodes.push(node),
                None => self.levels.push(vec![node]),
            }
        }
        index
    }

    /// The number of leaves.
    pub const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The root.
    pub fn root(&self) -> NodeHash {
        self.frontier.root()
    }
}

impl NodeSource for Tree {
    fn node(&self, level: u32, index: u64) -> Option<NodeHash> {
        let nodes = self.levels.get(usize::try_from(level).ok()?)?;
        nodes.get(usize::try_from(index).ok()?).copied()
    }
}
