//! Checks a log's folder (C2SP tlog-tiles) from its entries up: which entry, tile or head is not what was signed.

use crate::{
    Checkpoint, Finding, Frontier, NodeHash, NoteVerifier, SignedCheckpoint, TileId, TileReader,
    bundle_entries, leaf_hash, tile_hashes,
};

/// The most findings that are told of one log.
const MOST_FINDINGS: usize = 100;

/// A folder that was read whole: what it holds, and what is wrong with it.
#[derive(Debug)]
pub struct CheckedLog {
    /// The head, where the log's key signed it.
    pub head: Option<SignedCheckpoint>,
    /// What is wrong, by position.
    pub findings: Vec<Finding>,
    /// The roots at sizes that were asked for.
    roots: Vec<(u64, NodeHash)>,
}

impl CheckedLog {
    /// Whether nothing is wrong.
    pub fn is_intact(&self) -> bool {
        self.head.is_some() && self.findings.is_empty()
    }

    /// The root that the entries have at a size that was asked for.
    pub fn root_at(&self, size: u64) -> Option<&NodeHash> {
        let found = self.roots.iter().find(|(at, _)| *at == size);
        found.map(|(_, root)| root)
    }
}

/// The tree over the entries as it grows, beside the heads that were signed.
pub(crate) struct Growing<'a> {
    frontier: Frontier,
    signed: Vec<&'a Checkpoint>,
    /// The largest size at which the root was the one that was signed.
    proven: u64,
    wrong: Option<Finding>,
}

impl<'a> Growing<'a> {
    /// With the heads that were signed, in the order of their sizes.
    pub(crate) fn beside(mut signed: Vec<&'a Checkpoint>) -> Self {
        signed.reverse();
        let mut growing = Self {
            frontier: Frontier::new(),
            signed,
            proven: 0,
            wrong: None,
        };
        growing.compare();
        growing
    }

    pub(crate) const fn size(&self) -> u64 {
        self.frontier.size()
    }

    pub(crate) fn root(&self) -> NodeHash {
        self.frontier.root()
    }

    pub(crate) fn leaf(&mut self, hash: NodeHash) -> Option<()> {
        self.subtree(0, hash)
    }

    pub(crate) fn subtree(&mut self, level: u32, hash: NodeHash) -> Option<()> {
        self.frontier.append_subtree(level, hash)?;
        self.compare();
        Some(())
    }

    fn compare(&mut self) {
        let size = self.size();
        while let Some(signed) = self.signed.pop_if(|signed| signed.size() <= size) {
            if signed.size() == size && *signed.root() == self.root() {
                self.proven = size;
            } else if self.wrong.is_none() {
                self.wrong = Some(Finding::Root {
                    from: self.proven,
                    before: signed.size(),
                });
            }
        }
    }

    /// What is wrong with the roots; a head beyond the entries is one of them.
    pub(crate) fn finding(self) -> Option<Finding> {
        let beyond = self.signed.last().map(|signed| Finding::Root {
            from: self.proven,
            before: signed.size(),
        });
        self.wrong.or(beyond)
    }
}

/// Checks the folder of a log: its head against the log's key, its entries against the tiles of hashes, these against each other and
/// against the head, and against `earlier` heads, which bound where a change is that all of them agree on. `root_sizes` are sizes
/// whose roots are wanted, ascending.
pub fn check_folder(
    reader: &impl TileReader,
    log: &NoteVerifier,
    earlier: &[Checkpoint],
    root_sizes: &[u64],
) -> CheckedLog {
    let mut checked = CheckedLog {
        head: None,
        findings: Vec::new(),
        roots: Vec::new(),
    };
    let note = reader.read("checkpoint").unwrap_or_default();
    match SignedCheckpoint::verify(&String::from_utf8_lossy(&note), log) {
        Ok(head) => checked.head = Some(head),
        Err(error) => checked.findings.push(Finding::Checkpoint(error)),
    }
    // Without a head that is signed the largest earlier one says how long the log is.
    let head = checked.head.as_ref().map(|head| head.checkpoint().clone());
    let mut signed: Vec<&Checkpoint> = earlier.iter().chain(&head).collect();
    signed.sort_by_key(|signed| signed.size());
    let size = signed.last().map_or(0, |largest| largest.size());
    let mut growing = Growing::beside(signed);
    let mut row = check_entries(reader, size, &mut growing, root_sizes, &mut checked);
    let root = growing.finding();
    let mut level = 1;
    while row.len() > 1 || TileId::in_log(level, 0, size).is_some() {
        row = check_level(reader, size, level, &row, &mut checked.findings);
        level = level.saturating_add(1);
    }
    // That the root is another follows from what was found already.
    if checked.findings.is_empty() {
        checked.findings.extend(root);
    }
    checked
        .findings
        .sort_by_key(|finding| finding.position().unwrap_or_default());
    checked.findings.truncate(MOST_FINDINGS);
    checked
}

/// Entries and the tiles of their hashes. Gives the hash over each full tile.
fn check_entries(
    reader: &impl TileReader,
    size: u64,
    growing: &mut Growing<'_>,
    root_sizes: &[u64],
    checked: &mut CheckedLog,
) -> Vec<NodeHash> {
    let mut above = Vec::new();
    for tile in TileId::of_level(0, size) {
        let first = tile.index.saturating_mul(crate::TILE_WIDTH);
        let leaves = check_tile_entries(reader, &tile, first, &mut checked.findings);
        let mut over = Frontier::new();
        for leaf in leaves {
            // A leaf always follows.
            let _ = growing.leaf(leaf);
            over.append_with(leaf, |_| ());
            if root_sizes.contains(&growing.size()) {
                checked.roots.push((growing.size(), growing.root()));
            }
        }
        if over.size() == crate::TILE_WIDTH {
            above.push(over.root());
        }
    }
    above
}

/// The hashes of one tile's entries, as the entries have them; where they are missing, as the tile has them.
fn check_tile_entries(
    reader: &impl TileReader,
    tile: &TileId,
    first: u64,
    findings: &mut Vec<Finding>,
) -> Vec<NodeHash> {
    let width = usize::try_from(tile.width).unwrap_or(usize::MAX);
    let hashes = tile_hashes(&most_of(reader, tile, TileId::path)).unwrap_or_default();
    if hashes.len() != width {
        findings.push(Finding::Tile {
            path: tile.path(),
            index: first.saturating_add((hashes.len() as u64).min(tile.width)),
        });
    }
    let bundle = most_of(reader, tile, TileId::entries_path);
    let entries = readable_entries(&bundle);
    let pairs = (first..).zip(entries.iter().zip(&hashes)).take(width);
    let changed = pairs.filter(|(_, (entry, hash))| leaf_hash(entry) != **hash);
    findings.extend(changed.map(|(index, _)| Finding::Changed { index }));
    let there = entries.len() as u64;
    if there != tile.width {
        findings.push(Finding::Missing {
            from: first.saturating_add(there.min(tile.width)),
            before: first.saturating_add(tile.width.max(there)),
        });
    }
    let found = entries.iter().map(|entry| leaf_hash(entry));
    found
        .chain(hashes.iter().skip(entries.len()).copied())
        .take(width)
        .collect()
}

/// The content of a file of a tile; where that is not there, of the fullest that was before it.
fn most_of(reader: &impl TileReader, tile: &TileId, path: fn(&TileId) -> String) -> Vec<u8> {
    let widths = (1..=tile.width).rev();
    let found = widths
        .map(|width| TileId { width, ..*tile })
        .find_map(|tile| reader.read(&path(&tile)));
    found.unwrap_or_default()
}

/// The entries of a bundle up to where it cannot be read.
fn readable_entries(bundle: &[u8]) -> Vec<&[u8]> {
    if let Some(entries) = bundle_entries(bundle) {
        return entries;
    }
    let (mut entries, mut left) = (Vec::new(), bundle);
    while let Some((length, tail)) = left.split_first_chunk::<2>() {
        let Some((entry, tail)) = tail.split_at_checked(u16::from_be_bytes(*length).into()) else {
            break;
        };
        entries.push(entry);
        left = tail;
    }
    entries
}

/// Whether something is wrong among so many entries, so that the hashes over them are wrong as well.
fn is_wrong_below(findings: &[Finding], first: u64, count: u64) -> bool {
    let below = first..first.saturating_add(count);
    let mut positions = findings.iter().filter_map(Finding::position);
    positions.any(|at| below.contains(&at))
}

/// One level of tiles against the hashes over those below.
fn check_level(
    reader: &impl TileReader,
    size: u64,
    level: u32,
    below: &[NodeHash],
    findings: &mut Vec<Finding>,
) -> Vec<NodeHash> {
    let mut above = Vec::new();
    let covers = crate::TILE_WIDTH.saturating_pow(level);
    for tile in TileId::of_level(level, size) {
        let first = tile.index.saturating_mul(crate::TILE_WIDTH);
        let row = below
            .iter()
            .skip(usize::try_from(first).unwrap_or(usize::MAX))
            .take(usize::try_from(tile.width).unwrap_or(usize::MAX));
        let hashes = reader.read(&tile.path()).and_then(|bytes| tile_hashes(&bytes));
        let hashes = hashes.filter(|hashes| hashes.len() as u64 == tile.width);
        match &hashes {
            Some(hashes) => {
                let wrong = (first..)
                    .zip(row.clone().zip(hashes))
                    .filter(|(_, (a, b))| a != b);
                for index in wrong.map(|(index, _)| index.saturating_mul(covers)) {
                    if !is_wrong_below(findings, index, covers) {
                        let path = tile.path();
                        findings.push(Finding::TileHash { path, index });
                    }
                }
            }
            None => {
                let (path, index) = (tile.path(), first.saturating_mul(covers));
                if !is_wrong_below(findings, index, covers.saturating_mul(tile.width)) {
                    findings.push(Finding::Tile { path, index });
                }
            }
        }
        if tile.width == crate::TILE_WIDTH {
            let mut over = Frontier::new();
            row.for_each(|hash| over.append_with(*hash, |_| ()));
            above.push(over.root());
        }
    }
    above
}
