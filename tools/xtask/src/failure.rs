//! Why a chore failed.

use std::fmt;

use crate::source_files::FileError;

/// The one error of every chore: printed, then exit 1.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The check ran and found something; each finding is printed already.
    Found {
        /// What was counted.
        what: &'static str,
        /// How many.
        count: usize,
    },
    /// A program could not be started.
    Command {
        /// Its command line.
        command: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// A program ended with an error.
    Refused {
        /// Its command line.
        command: String,
        /// What it printed.
        stderr: String,
    },
    /// A file that could not be read or written.
    File(FileError),
    /// An encoder refused a seed of fuzzing.
    Seed(String),
    /// `cargo metadata` printed something else than its format.
    Metadata(serde_json::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found { what, count } => write!(f, "{count} {what}"),
            Self::Command { command, source } => write!(f, "cannot run `{command}`: {source}"),
            Self::Refused { command, stderr } => write!(f, "`{command}` failed:\n{}", stderr.trim_end()),
            Self::Seed(error) => write!(f, "cannot make a seed: {error}"),
            Self::File(error) => error.fmt(f),
            Self::Metadata(error) => write!(f, "cannot read the output of cargo metadata: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Metadata(error)
    }
}
