//! What can be wrong with the key store.

use std::io;
use std::path::PathBuf;

/// Why the key store is refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It is not the generation that the chip counted.
    #[error(
        "the key store was rolled back: it is generation {store} and the TPM has counted {chip}; put the present disk back, \
         or give all managed keys up with `alcub3 key start-over`"
    )]
    RolledBack {
        /// The store's generation.
        store: u64,
        /// The chip's.
        chip: u64,
    },
    /// Something in it is not what was written.
    #[error(
        "the key store was edited: {what} is not what this robot wrote; put the present disk back, or give all managed keys \
         up with `alcub3 key start-over`"
    )]
    Edited {
        /// What.
        what: String,
    },
    /// The file is not there.
    #[error(
        "{}: the key store is missing; put the present disk back, or give all managed keys up with `alcub3 key start-over`",
        path.display()
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The database failed.
    #[error("the key store: {what}: {source}; check space and permissions of the state folder")]
    Database {
        /// What was being done.
        what: &'static str,
        /// What the database said.
        source: Box<redb::Error>,
    },
    /// The operating system refused.
    #[error("{}: {source}; check space and permissions of the state folder", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl StoreError {
    /// The reason code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::RolledBack { .. } => "store-rolled-back",
            Self::Edited { .. } => "store-edited",
            Self::Missing { .. } => "store-missing",
            Self::Database { .. } | Self::Io { .. } => "store-unavailable",
        }
    }

    /// Whether it is a verdict over the store, and not a failure of the machine.
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::RolledBack { .. } | Self::Edited { .. } | Self::Missing { .. }
        )
    }

    pub(super) fn edited(what: impl Into<String>) -> Self {
        Self::Edited { what: what.into() }
    }
}
