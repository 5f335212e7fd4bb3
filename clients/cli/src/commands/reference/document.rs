//! Documents of reference values as files.

use crate::commands::files;
use crate::error::CliError;
use alcub3_attestation::appraisal::ReferenceValues;
use std::path::Path;

/// Longest document of reference values, in bytes: those of some 100,000 files.
const LIMIT: u64 = 16 * 1024 * 1024;

/// How a document is written.
#[derive(Copy, Clone, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people: with comments, and room for theirs
    Toml,
    /// For programs
    Json,
}

impl Format {
    /// As a file's name says; for people where it says nothing.
    pub(super) fn by_name(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => Self::Json,
            _ => Self::Toml,
        }
    }

    /// The name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Toml => "toml",
            Self::Json => "json",
        }
    }

    /// The document.
    pub(super) fn write(self, values: &ReferenceValues) -> String {
        match self {
            Self::Toml => values.to_toml(),
            Self::Json => values.to_json(),
        }
    }
}

/// Reads a document in any of its forms, which its content tells.
pub(crate) fn read_values(path: &Path) -> Result<ReferenceValues, CliError> {
    let bytes = files::read(path, "reference values", LIMIT)?;
    ReferenceValues::from_bytes(&bytes).map_err(|source| CliError::Reference {
        path: path.into(),
        source,
    })
}
