//! References as a JSON document, for people: `docs/reference-values.md` describes it.

use super::reference::LayerReference;
use super::verdict::Attested;
use crate::appraisal::unhex;
use alcub3_crypto::{Digest, HashAlg};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The one version of the document.
const VERSION: u32 = 1;

/// The references of all layers of one kind of platform, from the root's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct References {
    layers: Vec<LayerReference>,
}

/// Why a reference document was refused.
#[derive(Debug, Error)]
pub enum ReferenceError {
    /// Not JSON of the documented form.
    #[error("the references of DICE layers are not JSON of the documented form")]
    Json(#[source] serde_json::Error),
    /// Unknown version.
    #[error("the references of DICE layers have the unknown version {0}; version 1 is known")]
    Version(u32),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    layers: Vec<LayerReference>,
}

impl References {
    /// What a platform that is known to be good states now: its firmware, its versions, and its security version numbers as
    /// floors. A target that does not say in which mode it is need not say so later.
    #[must_use]
    pub fn golden(good: &Attested) -> Self {
        Self {
            layers: good.layers.iter().map(LayerReference::golden).collect(),
        }
    }

    /// The references of a document.
    ///
    /// # Errors
    /// Unknown version or field, or a digest that is none.
    pub fn from_json(text: &str) -> Result<Self, ReferenceError> {
        let document: Document = serde_json::from_str(text).map_err(ReferenceError::Json)?;
        match document.version {
            VERSION => Ok(Self {
                layers: document.layers,
            }),
            version => Err(ReferenceError::Version(version)),
        }
    }

    /// The document.
    #[must_use]
    pub fn to_json(&self) -> String {
        let document = Document {
            version: VERSION,
            layers: self.layers.clone(),
        };
        serde_json::to_string_pretty(&document).unwrap_or_default()
    }

    /// The layers, for a policy.
    #[must_use]
    pub fn layers(&self) -> &[LayerReference] {
        &self.layers
    }
}

/// A digest as `sha384:HEX`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct DigestText(Digest);

#[derive(Debug, Error)]
#[error("{0:?} is no digest; write it as sha256:HEX, sha384:HEX or sha512:HEX")]
struct NoDigest(String);

impl TryFrom<String> for DigestText {
    type Error = NoDigest;

    fn try_from(text: String) -> Result<Self, NoDigest> {
        let parse = |text: &str| {
            let (alg, digits) = text.split_once(':')?;
            let alg = HashAlg::from_name(alg).filter(|alg| alg.is_approved())?;
            Digest::from_slice(alg, &unhex(digits)?)
        };
        parse(&text).map(Self).ok_or(NoDigest(text))
    }
}

impl From<DigestText> for String {
    fn from(DigestText(digest): DigestText) -> Self {
        format!("{}:{}", digest.alg(), digest.to_hex())
    }
}

/// Digests as texts.
pub(super) mod digests {
    use super::{Digest, DigestText};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(digests: &[Digest], out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(digests.iter().copied().map(DigestText))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Digest>, D::Error> {
        let texts = Vec::<DigestText>::deserialize(from)?;
        Ok(texts.into_iter().map(|DigestText(digest)| digest).collect())
    }
}

/// Lists of digests.
pub(super) mod digest_lists {
    use super::{Digest, digests};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct List(#[serde(with = "digests")] Vec<Digest>);

    pub(in super::super) fn serialize<S: Serializer>(
        lists: &[Vec<Digest>],
        out: S,
    ) -> Result<S::Ok, S::Error> {
        out.collect_seq(lists.iter().cloned().map(List))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Vec<Digest>>, D::Error> {
        let lists = Vec::<List>::deserialize(from)?;
        Ok(lists.into_iter().map(|List(digests)| digests).collect())
    }
}

/// Bytes in hexadecimal.
pub(super) mod bytes {
    use super::unhex;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        let hex = |bytes: &Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        match bytes {
            Some(bytes) => out.serialize_some(&hex(bytes)),
            None => out.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = unhex(&text);
        bytes
            .map(Some)
            .ok_or_else(|| D::Error::custom(format!("{text:?} is not hexadecimal")))
    }
}
