//! Software components (RFC 9783 §4.4.1), and their versions.

use super::claims::{ClaimError, HashValue, hash, short_text};
use crate::cbor::{self, Key};

const KIND: i64 = 1;
const MEASUREMENT: i64 = 2;
const VERSION: i64 = 4;
const SIGNER: i64 = 5;
const DESCRIPTION: i64 = 6;
/// More parts than a version has.
const MAX_VERSION_PARTS: usize = 8;

/// One software component that the root of trust loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// Its role, such as `BL`, `PRoT`, `ARoT`, `App`, `TS`, or one of these with `_CONFIG` for its configuration.
    pub kind: Option<String>,
    /// The hash of it when it was loaded.
    pub measurement: HashValue,
    /// The version that its signer gave it.
    pub version: Option<String>,
    /// The hash of its signer's key.
    pub signer: HashValue,
    /// The name of the measurement's hash algorithm.
    pub description: Option<String>,
}

impl Component {
    /// Whether it is a configuration, by its type.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        self.kind.as_deref().is_some_and(|kind| kind.ends_with("_CONFIG"))
    }

    /// What findings call it: its place from 0, and its type.
    pub(super) fn label(&self, at: usize) -> String {
        format!("{at} {}", self.kind.as_deref().unwrap_or("without a type"))
    }
}

/// A version as MCUboot and TF-M write it: numbers with dots, and a build number behind a plus sign. Missing numbers are zero.
#[derive(Debug, Clone)]
pub struct Version(Vec<u32>);

impl Version {
    /// The version of a text; `None` for anything else than one to eight numbers of 32 bits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten()
        };
        let parts: Vec<u32> = text.split(['.', '+']).map(number).collect::<Option<_>>()?;
        (parts.len() <= MAX_VERSION_PARTS).then_some(Self(parts))
    }

    fn part(&self, at: usize) -> u32 {
        self.0.get(at).copied().unwrap_or(0)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        let parts = |version: &Self| core::array::from_fn::<u32, MAX_VERSION_PARTS, _>(|at| version.part(at));
        parts(self).cmp(&parts(other))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

impl core::fmt::Display for Version {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let parts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&parts.join("."))
    }
}

/// The claim: an array of at least one component.
pub(super) fn read_all(bytes: &[u8]) -> Result<Vec<Component>, ClaimError> {
    let elements = cbor::elements(bytes, cbor::MAX_PAIRS)?;
    if elements.is_empty() {
        return Err(ClaimError::Value("it names no component"));
    }
    elements
        .into_iter()
        .enumerate()
        .map(|(at, element)| read(at, element))
        .collect()
}

fn read(at: usize, bytes: &[u8]) -> Result<Component, ClaimError> {
    let mut attributes = Attributes {
        at,
        pairs: cbor::pairs(bytes)?,
    };
    let component = Component {
        kind: attributes.optional(KIND, short_text)?,
        measurement: attributes.needed(MEASUREMENT, hash)?,
        version: attributes.optional(VERSION, short_text)?,
        signer: attributes.needed(SIGNER, hash)?,
        description: attributes.optional(DESCRIPTION, short_text)?,
    };
    match attributes.pairs.first() {
        None => Ok(component),
        Some((key, _)) => Err(ClaimError::AttributeUnknown(at, key.to_string())),
    }
}

struct Attributes<'a> {
    at: usize,
    pairs: Vec<(Key, &'a [u8])>,
}

impl<'a> Attributes<'a> {
    fn optional<T>(
        &mut self,
        key: i64,
        read: impl FnOnce(&'a [u8]) -> Result<T, ClaimError>,
    ) -> Result<Option<T>, ClaimError> {
        let wanted = Key::Number(key);
        let Some(place) = self.pairs.iter().position(|(found, _)| *found == wanted) else {
            return Ok(None);
        };
        let value = read(self.pairs.swap_remove(place).1);
        value
            .map(Some)
            .map_err(|error| ClaimError::Attribute(self.at, key, Box::new(error)))
    }

    fn needed<T>(
        &mut self,
        key: i64,
        read: impl FnOnce(&'a [u8]) -> Result<T, ClaimError>,
    ) -> Result<T, ClaimError> {
        self.optional(key, read)?
            .ok_or(ClaimError::AttributeMissing(self.at, key))
    }
}
