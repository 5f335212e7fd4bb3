//! Documents of reference values as files.

use crate::clock::now_ms;
use crate::commands::files;
use crate::error::CliError;
use crate::key_file;
use alcub3_attestation::appraisal::ReferenceValues;
use alcub3_attestation::corim::{self, Corim, Naming, Reading};
use alcub3_crypto::HashAlg;
use std::path::{Path, PathBuf};

/// Longest document of reference values, in bytes: those of some 100,000 files.
const LIMIT: u64 = 16 * 1024 * 1024;

/// How a document is written.
#[derive(Copy, Clone, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people: with comments, and room for theirs
    Toml,
    /// For programs
    Json,
    /// For other verifiers: an unsigned CoRIM (draft-ietf-rats-corim)
    Corim,
}

/// How a document of others is to be read.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Foreign {
    /// The public key, PEM, of whoever must have signed a CoRIM
    #[arg(long, value_name = "KEY")]
    signer: Option<PathBuf>,
    /// The bank to take of a CoRIM that has several
    #[arg(long = "corim-bank", value_name = "ALG", value_parser = super::bank)]
    bank: Option<HashAlg>,
}

/// What a CoRIM says that our own documents have no place for.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct CorimNames {
    /// In a CoRIM: who makes the machines
    #[arg(long, value_name = "NAME")]
    vendor: Option<String>,
    /// In a CoRIM: their model
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// In a CoRIM: its identifier [default: the file's name]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Leave out what a CoRIM cannot say, such as claims and what the state is held to
    #[arg(long)]
    leave_out: bool,
}

/// A document that was read.
pub(crate) struct Document {
    /// What it accepts.
    pub(crate) values: ReferenceValues,
    /// What else it says, where it is a CoRIM.
    pub(crate) corim: Option<Corim>,
}

impl Format {
    /// As a file's name says; for people where it says nothing.
    pub(super) fn by_name(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => Self::Json,
            Some("corim" | "cbor") => Self::Corim,
            _ => Self::Toml,
        }
    }

    /// The name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Toml => "toml",
            Self::Json => "json",
            Self::Corim => "corim",
        }
    }

    /// The document.
    pub(super) fn write(
        self,
        values: &ReferenceValues,
        names: &CorimNames,
        out: &Path,
    ) -> Result<Vec<u8>, CliError> {
        match self {
            Self::Toml => Ok(values.to_toml().into_bytes()),
            Self::Json => Ok(values.to_json().into_bytes()),
            Self::Corim => names.write(values, out),
        }
    }
}

impl CorimNames {
    fn write(&self, values: &ReferenceValues, out: &Path) -> Result<Vec<u8>, CliError> {
        let (Some(vendor), Some(model)) = (&self.vendor, &self.model) else {
            return Err(CliError::Usage {
                message: "a CoRIM names a class of machines: give --vendor and --model".to_owned(),
            });
        };
        let stem = out.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let id = self.id.clone().or(stem).unwrap_or_default();
        let naming = Naming {
            id: &id,
            vendor,
            model,
        };
        corim::write(values, &naming, self.leave_out).map_err(|source| CliError::Corim {
            path: out.into(),
            source: Box::new(source),
        })
    }
}

impl Foreign {
    /// Reads a document in any of its forms, which its content tells: text, or the tags that begin a CoRIM.
    pub(crate) fn read(&self, path: &Path) -> Result<Document, CliError> {
        let bytes = files::read(path, "reference values", LIMIT)?;
        if is_text(&bytes) {
            if self.signer.is_some() || self.bank.is_some() {
                return Err(CliError::Usage {
                    message: format!(
                        "{} is no CoRIM: --signer and --corim-bank are for one",
                        path.display()
                    ),
                });
            }
            let values = ReferenceValues::from_bytes(&bytes).map_err(|source| CliError::Reference {
                path: path.into(),
                source,
            })?;
            return Ok(Document { values, corim: None });
        }
        let signer = self.signer.as_deref().map(key_file::read_public).transpose()?;
        let reading = Reading {
            signer: signer.as_ref(),
            bank: self.bank,
            now_s: i64::try_from(now_ms() / 1000).unwrap_or(i64::MAX),
        };
        let corim = corim::read(&bytes, &reading).map_err(|source| CliError::Corim {
            path: path.into(),
            source: Box::new(source),
        })?;
        Ok(Document {
            values: corim.references.clone(),
            corim: Some(corim),
        })
    }
}

/// A CoRIM begins with a tag (CBOR major type 6). No document of text begins with a character of those bytes.
fn is_text(bytes: &[u8]) -> bool {
    !matches!(bytes.first(), Some(0xc0..=0xdb))
}
