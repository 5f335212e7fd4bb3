//! The policy as people write it: TOML.

use super::{CommandPolicy, DeclaredArgument, Limits, Platform, PolicyFault, Rights, Rows, TwoPersons};

/// Why a file is no command policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyDocumentError {
    /// Not text.
    #[error("it is not UTF-8")]
    Text(#[source] std::str::Utf8Error),
    /// Not TOML of the documented form.
    #[error("{0}")]
    Toml(#[source] toml::de::Error),
    /// Its parts do not fit each other.
    #[error(transparent)]
    Fault(#[from] PolicyFault),
}

/// Says what the file is, so that no other policy is taken for one.
#[derive(Copy, Clone, Debug, serde::Deserialize)]
enum Kind {
    #[serde(rename = "command-policy")]
    CommandPolicy,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "kind")]
    _kind: Kind,
    #[serde(default)]
    platform: Vec<Platform>,
    #[serde(default)]
    rights: Vec<Rights>,
    #[serde(default)]
    persons: Vec<TwoPersons>,
    #[serde(default)]
    argument: Vec<DeclaredArgument>,
    #[serde(default)]
    limit: Vec<Limits>,
}

impl CommandPolicy {
    /// Reads a policy as people write it.
    ///
    /// # Errors
    /// [`PolicyDocumentError`] says where it is not of the documented form, or what does not fit.
    pub fn from_toml(bytes: &[u8]) -> Result<Self, PolicyDocumentError> {
        let text = std::str::from_utf8(bytes).map_err(PolicyDocumentError::Text)?;
        let document: Document = toml::from_str(text).map_err(PolicyDocumentError::Toml)?;
        let rows = Rows {
            platform: document.platform,
            rights: document.rights,
            persons: document.persons,
            argument: document.argument,
            limit: document.limit,
        };
        Ok(Self::of(rows)?)
    }
}
