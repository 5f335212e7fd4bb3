//! The tree as files (C2SP tlog-tiles): tiles of 256 hashes, bundles of 256 entries, and their paths.

use std::fmt::Write as _;

use crate::{Frontier, NodeHash, NodeSource, leaf_hash, node_hash};

/// How many hashes a full tile has, and entries a full bundle.
pub const TILE_WIDTH: u64 = 256;
/// Levels of the tree that one level of tiles spans.
const HEIGHT: u32 = 8;
const HASH_BYTES: usize = 32;

/// One tile: a run of nodes of one level, every eighth level of the tree having some.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct TileId {
    /// Its level: its nodes are of level 8 · `level` of the tree.
    pub level: u32,
    /// Its place in the level.
    pub index: u64,
    /// How many hashes it has, 1 to 256.
    pub width: u64,
}

/// A file under the folder of a log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TileFile {
    /// Its path, relative to the log's folder.
    pub path: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

impl TileFile {
    /// Whether it never changes any more.
    pub fn is_full(&self) -> bool {
        !self.path.contains(".p/")
    }
}

/// What reads the files of a log's folder.
pub trait TileReader {
    /// The content of a file; none where there is no such file.
    fn read(&self, path: &str) -> Option<Vec<u8>>;
}

impl<F: Fn(&str) -> Option<Vec<u8>>> TileReader for F {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self(path)
    }
}

/// A tile's index as its path has it: groups of three digits, each but the last behind an x.
fn index_path(index: u64) -> String {
    let mut groups = vec![index % 1000];
    let mut left = index / 1000;
    while left > 0 {
        groups.push(left % 1000);
        left /= 1000;
    }
    let mut path = String::new();
    for (at, group) in groups.iter().enumerate().rev() {
        let mark = if at == 0 { "" } else { "x" };
        let end = if at == 0 { "" } else { "/" };
        // Writing to a string cannot fail.
        let _ = write!(path, "{mark}{group:03}{end}");
    }
    path
}

fn with_width(path: &mut String, width: u64) {
    if width < TILE_WIDTH {
        let _ = write!(path, ".p/{width}");
    }
}

impl TileId {
    /// The tile of a log of `size` entries; none where it has no hashes.
    pub fn in_log(level: u32, index: u64, size: u64) -> Option<Self> {
        let nodes = size.checked_shr(level.checked_mul(HEIGHT)?).unwrap_or(0);
        let width = nodes
            .saturating_sub(index.checked_mul(TILE_WIDTH)?)
            .min(TILE_WIDTH);
        (width > 0).then_some(Self { level, index, width })
    }

    /// Where it is.
    pub fn path(&self) -> String {
        let mut path = format!("tile/{}/{}", self.level, index_path(self.index));
        with_width(&mut path, self.width);
        path
    }

    /// Where the bundle of the entries is that a tile of level 0 has the hashes of.
    pub fn entries_path(&self) -> String {
        let mut path = format!("tile/entries/{}", index_path(self.index));
        with_width(&mut path, self.width);
        path
    }

    /// Its hashes; out of the full one, where that took its place since.
    pub fn read(&self, reader: &impl TileReader) -> Option<Vec<u8>> {
        let length = usize::try_from(self.width).ok()?.checked_mul(HASH_BYTES)?;
        let bytes = reader.read(&self.path());
        let mut bytes = bytes.or_else(|| reader.read(&self.full().path()))?;
        bytes.truncate(length);
        (bytes.len() == length).then_some(bytes)
    }

    /// The bundle of its entries; out of the full one, where that took its place since.
    pub fn read_entries(&self, reader: &impl TileReader) -> Option<Vec<u8>> {
        let bytes = reader.read(&self.entries_path());
        let mut bytes = bytes.or_else(|| reader.read(&self.full().entries_path()))?;
        let entries = bundle_entries(&bytes)?.into_iter();
        let mut entries = entries.take(usize::try_from(self.width).ok()?);
        let length = entries.try_fold(0usize, |length, entry| {
            length.checked_add(entry.len().checked_add(2)?)
        })?;
        bytes.truncate(length);
        (bundle_entries(&bytes)?.len() as u64 == self.width).then_some(bytes)
    }

    const fn full(&self) -> Self {
        full_tile(self.level, self.index)
    }

    /// All tiles of one level in a log of `size` entries.
    pub fn of_level(level: u32, size: u64) -> impl Iterator<Item = Self> {
        (0..).map_while(move |index| Self::in_log(level, index, size))
    }
}

/// The hashes of a tile.
pub fn tile_hashes(bytes: &[u8]) -> Option<Vec<NodeHash>> {
    let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
    (rest.is_empty() && hashes.len() as u64 <= TILE_WIDTH)
        .then(|| hashes.iter().copied().map(NodeHash::new).collect())
}

/// The entries of a bundle, each behind its length as a big-endian u16.
pub fn bundle_entries(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut entries, mut left) = (Vec::new(), bytes);
    while let Some((length, tail)) = left.split_first_chunk::<2>() {
        let (entry, tail) = tail.split_at_checked(u16::from_be_bytes(*length).into())?;
        entries.push(entry);
        left = tail;
        if entries.len() as u64 > TILE_WIDTH {
            return None;
        }
    }
    left.is_empty().then_some(entries)
}

/// The nodes of a log of one size, out of its tiles.
#[derive(Clone, Debug)]
pub struct TiledNodes<R> {
    size: u64,
    reader: R,
}

impl<R: TileReader> TiledNodes<R> {
    /// The nodes of a log of `size` entries.
    pub const fn new(size: u64, reader: R) -> Self {
        Self { size, reader }
    }

    /// The hashes of one tile; none where it is not there in full.
    pub fn tile(&self, level: u32, index: u64) -> Option<Vec<NodeHash>> {
        let tile = TileId::in_log(level, index, self.size)?;
        tile_hashes(&tile.read(&self.reader)?)
    }
}

impl<R: TileReader> NodeSource for TiledNodes<R> {
    fn node(&self, level: u32, index: u64) -> Option<NodeHash> {
        let (tiles, above) = (level / HEIGHT, level % HEIGHT);
        let start = index.checked_shl(above)?;
        let hashes = self.tile(tiles, start / TILE_WIDTH)?;
        let from = usize::try_from(start % TILE_WIDTH).ok()?;
        let row = hashes.get(from..from.checked_add(1 << above)?)?;
        subtree(row)
    }
}

/// The hash over a power of two of nodes.
fn subtree(row: &[NodeHash]) -> Option<NodeHash> {
    let mut row = row.to_vec();
    while row.len() > 1 {
        row = row
            .chunks(2)
            .filter_map(|pair| Some(node_hash(pair.first()?, pair.get(1)?)))
            .collect();
    }
    row.first().copied()
}

/// A tile that is being filled.
#[derive(Clone, Debug, Default)]
struct Row {
    index: u64,
    count: u64,
    bytes: Vec<u8>,
    changed: bool,
}

impl Row {
    /// Adds to it; gives its content where it is full then.
    fn push(&mut self, bytes: &[&[u8]]) -> Option<(u64, Vec<u8>)> {
        bytes.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.count = self.count.saturating_add(1);
        self.changed = true;
        if self.count < TILE_WIDTH {
            return None;
        }
        let full = (self.index, std::mem::take(&mut self.bytes));
        *self = Self {
            index: self.index.saturating_add(1),
            ..Self::default()
        };
        Some(full)
    }
}

/// Makes the files of a log that grows.
#[derive(Clone, Debug)]
pub struct TileBuilder {
    frontier: Frontier,
    entries: Row,
    rows: Vec<Row>,
}

impl TileBuilder {
    /// A builder that goes on behind `size` entries; none where a file of theirs is missing.
    pub fn behind(size: u64, reader: &impl TileReader) -> Option<Self> {
        let read = |path: &str| reader.read(path);
        let frontier = Frontier::load(size, &TiledNodes::new(size, read))?;
        let row = |level: u32, is_entries: bool| {
            let nodes = size.checked_shr(level.checked_mul(HEIGHT)?).unwrap_or(0);
            let (index, count) = (nodes / TILE_WIDTH, nodes % TILE_WIDTH);
            let bytes = match TileId::in_log(level, index, size) {
                Some(tile) if is_entries => tile.read_entries(reader)?,
                Some(tile) => tile.read(reader)?,
                None => Vec::new(),
            };
            Some(Row {
                index,
                count,
                bytes,
                changed: false,
            })
        };
        let levels = (u64::BITS - size.leading_zeros()).div_ceil(HEIGHT).max(1);
        Some(Self {
            frontier,
            entries: row(0, true)?,
            rows: (0..levels)
                .map(|level| row(level, false))
                .collect::<Option<_>>()?,
        })
    }

    /// The tree so far.
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Adds an entry; hands out the files that it fills.
    pub fn push(&mut self, entry: &[u8], mut full: impl FnMut(TileFile)) {
        // An entry of a log is no longer than a bundle takes.
        let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
        if let Some((index, bytes)) = self.entries.push(&[&length.to_be_bytes(), entry]) {
            let tile = full_tile(0, index);
            full(TileFile {
                path: tile.entries_path(),
                bytes,
            });
        }
        let rows = &mut self.rows;
        let mut level = 0u32;
        self.frontier.append_with(leaf_hash(entry), |node| {
            let tiles = level / HEIGHT;
            if level.is_multiple_of(HEIGHT) {
                let at = usize::try_from(tiles).unwrap_or(usize::MAX);
                if rows.len() <= at {
                    rows.push(Row::default());
                }
                let filled = rows.get_mut(at).and_then(|row| row.push(&[node.as_bytes()]));
                if let Some((index, bytes)) = filled {
                    let path = full_tile(tiles, index).path();
                    full(TileFile { path, bytes });
                }
            }
            level = level.saturating_add(1);
        });
    }

    /// The files that are begun and not full.
    pub fn partial(&self) -> Vec<TileFile> {
        let tile = |level, row: &Row| TileId {
            level,
            index: row.index,
            width: row.count,
        };
        let changed = |row: &&Row| row.changed && row.count > 0;
        let entries = Some(&self.entries).filter(changed).map(|row| TileFile {
            path: tile(0, row).entries_path(),
            bytes: row.bytes.clone(),
        });
        let rows = (0u32..).zip(&self.rows).filter(|(_, row)| changed(row));
        let hashes = rows.map(|(level, row)| TileFile {
            path: tile(level, row).path(),
            bytes: row.bytes.clone(),
        });
        entries.into_iter().chain(hashes).collect()
    }
}

const fn full_tile(level: u32, index: u64) -> TileId {
    TileId {
        level,
        index,
        width: TILE_WIDTH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        let tile = |level, index, width| TileId { level, index, width };
        assert_eq!(tile(0, 0, 256).path(), "tile/0/000");
        assert_eq!(tile(1, 1_234_067, 256).path(), "tile/1/x001/x234/067");
        assert_eq!(tile(0, 273, 112).path(), "tile/0/273.p/112");
        assert_eq!(tile(0, 273, 112).entries_path(), "tile/entries/273.p/112");
        assert_eq!(tile(0, 1_000, 256).path(), "tile/0/x001/000");
        // The specification's example: 70,000 entries.
        let all: Vec<String> = (0..4)
            .filter_map(|level| TileId::of_level(level, 70_000).last())
            .map(|tile| tile.path())
            .collect();
        assert_eq!(all, ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
        assert_eq!(TileId::of_level(0, 70_000).count(), 274);
    }
}
