//! What is wrong with a log, and where.

use crate::NoteProofError;

/// One thing that is wrong with a log.
#[derive(Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum Finding {
    /// The checkpoint is not signed by the log's key.
    #[error("checkpoint: {0}")]
    Checkpoint(NoteProofError),
    /// An earlier checkpoint is not signed by the log's key, or they are not in order.
    #[error("earlier checkpoint {index}: {fault}")]
    Earlier {
        /// Its place, 0 being the oldest.
        index: usize,
        /// What is wrong.
        fault: &'static str,
    },
    /// An entry is not the one that the log has the hash of.
    #[error("entry {index} was changed")]
    Changed {
        /// Its index.
        index: u64,
    },
    /// Entries are not there.
    #[error("entries {from} to {before} (exclusive) are missing")]
    Missing {
        /// The first.
        from: u64,
        /// The one behind the last.
        before: u64,
    },
    /// Bytes that are no entry, where one was.
    #[error("entry {index} is damaged: its bytes are no entry")]
    Damaged {
        /// Its index.
        index: u64,
    },
    /// A file of hashes is missing or too short or long.
    #[error(
        "{path}, which has the hashes over the entries from {index} on, is missing or has a wrong length"
    )]
    Tile {
        /// Its path.
        path: String,
        /// The first entry it covers.
        index: u64,
    },
    /// A hash in a file is not that of what it covers.
    #[error("{path}: the hash over the entries from {index} on was changed")]
    TileHash {
        /// Its path.
        path: String,
        /// The first entry it covers.
        index: u64,
    },
    /// The entries do not have the root that was signed.
    #[error("the entries from {from} to {before} (exclusive) are not those that were signed")]
    Root {
        /// The first that may be another.
        from: u64,
        /// The size that was signed.
        before: u64,
    },
    /// The parts of a bundle are more or fewer than the checkpoint's entries.
    #[error("the bundle covers {found} entries, its checkpoint {size}")]
    Size {
        /// What it covers.
        found: u64,
        /// The checkpoint's.
        size: u64,
    },
    /// An entry may be read by more than the bundle is for.
    #[error("entry {index} is above the label that the bundle is for")]
    Label {
        /// Its index.
        index: u64,
    },
}

impl Finding {
    /// The first entry that it is about; none where it is about the checkpoint.
    pub const fn position(&self) -> Option<u64> {
        match self {
            Self::Checkpoint(_) | Self::Earlier { .. } => None,
            Self::Changed { index }
            | Self::Damaged { index }
            | Self::Label { index }
            | Self::Tile { index, .. }
            | Self::TileHash { index, .. } => Some(*index),
            Self::Missing { from, .. } | Self::Root { from, .. } => Some(*from),
            Self::Size { found, .. } => Some(*found),
        }
    }

    /// The code for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Checkpoint(_) => "checkpoint",
            Self::Earlier { .. } => "earlier-checkpoint",
            Self::Changed { .. } => "entry-changed",
            Self::Missing { .. } => "entries-missing",
            Self::Damaged { .. } => "entry-damaged",
            Self::Tile { .. } => "tile-missing",
            Self::TileHash { .. } => "tile-changed",
            Self::Root { .. } => "root",
            Self::Size { .. } => "size",
            Self::Label { .. } => "label",
        }
    }
}
