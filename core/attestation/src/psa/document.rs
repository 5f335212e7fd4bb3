//! What robots with one kind of PSA root of trust are held to, as a JSON document for people: `docs/reference-values.md`
//! describes it.

use super::claims::HashValue;
use super::component::Version;
use super::policy::{
    Accepted, Certification, CertificationLevel, ComponentReference, Endorsement, Lifecycles, ReferenceError,
    References,
};
use crate::appraisal::unhex;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The one version of the document.
const VERSION: u32 = 1;

/// What a verifier holds every robot of one kind to, whatever its own key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformReferences {
    /// The implementation of the root of trust.
    pub implementation: [u8; 32],
    /// The callers whose tokens count; at least one.
    pub clients: Vec<i32>,
    /// Which lifecycle states are admitted.
    pub lifecycles: Lifecycles,
    /// What may have been loaded.
    pub components: References,
    /// What certification is asked for.
    pub certification: Certification,
}

/// Why a document was refused.
#[derive(Debug, Error)]
pub enum DocumentError {
    /// Not JSON of the documented form.
    #[error("the references of a PSA platform are not JSON of the documented form")]
    Json(#[source] serde_json::Error),
    /// Unknown version.
    #[error("the references of a PSA platform have the unknown version {0}; version 1 is known")]
    Version(u32),
    /// No caller's tokens would count.
    #[error("the references of a PSA platform name no client: no token would ever count")]
    NoClient,
    /// The values accept nothing, or one is none.
    #[error(transparent)]
    Values(#[from] ReferenceError),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Document {
    version: u32,
    implementation: Hex<[u8; 32]>,
    clients: Vec<i32>,
    lifecycles: Lifecycles,
    components: Vec<ComponentText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certification: Option<CertificationText>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ComponentText {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    r#type: Option<String>,
    signer: Hex<HashValue>,
    /// Absent where whatever the signer signed is accepted from the version on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    measurements: Option<Vec<Hex<HashValue>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min_version: Option<VersionText>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    required: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct CertificationText {
    minimum: CertificationLevel,
    endorsements: Vec<EndorsementText>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct EndorsementText {
    reference: String,
    implementation: Hex<[u8; 32]>,
    level: CertificationLevel,
}

impl PlatformReferences {
    /// The references of a document.
    ///
    /// # Errors
    /// [`DocumentError`] says what is not as the document must be.
    pub fn from_json(text: &str) -> Result<Self, DocumentError> {
        let document: Document = serde_json::from_str(text).map_err(DocumentError::Json)?;
        if document.version != VERSION {
            return Err(DocumentError::Version(document.version));
        }
        if document.clients.is_empty() {
            return Err(DocumentError::NoClient);
        }
        let components = document.components.into_iter().enumerate();
        let components = components.map(|(at, component)| component.read(at));
        let certification = document.certification.map(CertificationText::read).transpose()?;
        Ok(Self {
            implementation: document.implementation.0,
            clients: document.clients,
            lifecycles: document.lifecycles,
            components: References::new(components.collect::<Result<_, _>>()?)?,
            certification: certification.unwrap_or_default(),
        })
    }

    /// The document.
    #[must_use]
    pub fn to_json(&self) -> String {
        let document = Document {
            version: VERSION,
            implementation: Hex(self.implementation),
            clients: self.clients.clone(),
            lifecycles: self.lifecycles,
            components: self.components.iter().map(ComponentText::of).collect(),
            certification: CertificationText::of(&self.certification),
        };
        serde_json::to_string_pretty(&document).unwrap_or_default()
    }
}

impl ComponentText {
    fn read(self, at: usize) -> Result<ComponentReference, ReferenceError> {
        let minimum = self.min_version.map(|VersionText(version)| version);
        let accepted = match (self.measurements, minimum) {
            (Some(values), minimum) => {
                Accepted::Measurements(values.into_iter().map(|Hex(value)| value).collect(), minimum)
            }
            (None, Some(minimum)) => Accepted::SignedFrom(minimum),
            (None, None) => return Err(ReferenceError::NoMeasurement(at)),
        };
        Ok(ComponentReference {
            kind: self.r#type,
            signer: self.signer.0,
            accepted,
            required: self.required,
        })
    }

    fn of(reference: &ComponentReference) -> Self {
        let (measurements, minimum) = match &reference.accepted {
            Accepted::Measurements(values, minimum) => (Some(values), minimum.as_ref()),
            Accepted::SignedFrom(minimum) => (None, Some(minimum)),
        };
        Self {
            r#type: reference.kind.clone(),
            signer: Hex(reference.signer.clone()),
            measurements: measurements.map(|values| values.iter().cloned().map(Hex).collect()),
            min_version: minimum.cloned().map(VersionText),
            required: reference.required,
        }
    }
}

impl CertificationText {
    fn read(self) -> Result<Certification, ReferenceError> {
        let endorsements = self.endorsements.into_iter().map(|one| Endorsement {
            reference: one.reference,
            implementation: one.implementation.0,
            level: one.level,
        });
        Certification::new(Some(self.minimum), endorsements.collect())
    }

    /// Nothing where nothing is asked for: what is known of certificates then decides nothing.
    fn of(certification: &Certification) -> Option<Self> {
        let endorsements = certification.endorsements.iter().map(|one| EndorsementText {
            reference: one.reference.clone(),
            implementation: Hex(one.implementation),
            level: one.level,
        });
        Some(Self {
            minimum: certification.minimum?,
            endorsements: endorsements.collect(),
        })
    }
}

/// Bytes in hexadecimal.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[serde(bound(
    serialize = "T: AsRef<[u8]> + Clone",
    deserialize = "T: for<'a> TryFrom<&'a [u8]>"
))]
struct Hex<T>(T);

#[derive(Debug, Error)]
#[error("{0:?} is not hexadecimal of the length that is due there")]
struct NoHex(String);

impl<T: for<'a> TryFrom<&'a [u8]>> TryFrom<String> for Hex<T> {
    type Error = NoHex;

    fn try_from(text: String) -> Result<Self, NoHex> {
        let value = unhex(&text).and_then(|bytes| T::try_from(&bytes).ok());
        value.map(Self).ok_or(NoHex(text))
    }
}

impl<T: AsRef<[u8]>> From<Hex<T>> for String {
    fn from(Hex(value): Hex<T>) -> Self {
        value.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A version as TF-M writes it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct VersionText(Version);

#[derive(Debug, Error)]
#[error("{0:?} is no version; write it as numbers with dots, such as 2.1.0")]
struct NoVersion(String);

impl TryFrom<String> for VersionText {
    type Error = NoVersion;

    fn try_from(text: String) -> Result<Self, NoVersion> {
        Version::parse(&text).map(Self).ok_or(NoVersion(text))
    }
}

impl From<VersionText> for String {
    fn from(VersionText(version): VersionText) -> Self {
        version.to_string()
    }
}
