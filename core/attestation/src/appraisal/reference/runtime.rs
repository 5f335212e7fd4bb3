//! What may be measured while a robot runs: files by path and digest, and what is left out.

use super::{GoldenError, ReferenceError, unhex};
use crate::ima::{Entry, FileDigest, ImaLog};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::pcr_map::IMA;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// The name of the first entry, which ties a list to the boot PCRs; it has no reference of its own.
pub(in crate::appraisal) const BOOT_AGGREGATE: &[u8] = b"boot_aggregate";
/// In front of a digest by fs-verity, which is not that of the file's bytes.
const VERITY: &str = "verity";

/// References for the entries of an IMA list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeReferences {
    files: HashMap<Vec<u8>, BTreeSet<Accepted>>,
    excluded: Excluded,
    violations: Violations,
}

/// What an entry for which the kernel could not vouch means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Violations {
    /// The robot is untrusted.
    #[default]
    Refuse,
    /// It is noted.
    Note,
}

/// One digest of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Accepted {
    verity: bool,
    alg: HashAlg,
    digest: Vec<u8>,
}

/// Names that are not judged: whole, or the beginning of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Excluded {
    names: BTreeSet<Vec<u8>>,
    beginnings: BTreeSet<Vec<u8>>,
}

/// What the references say of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::appraisal) enum Standing {
    /// Accepted, or left out.
    Good,
    /// A path that has no reference.
    UnknownName,
    /// A path that has a reference, and another digest.
    OtherDigest,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuntimeDocument {
    #[serde(deserialize_with = "super::document::once")]
    files: BTreeMap<String, Vec<String>>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    exclude: BTreeSet<String>,
    #[serde(default)]
    violations: Violations,
}

impl RuntimeReferences {
    /// Everything that a known good machine has measured. Violations have no digest and are refused.
    ///
    /// # Errors
    /// A name that is not text, or a digest of an algorithm that is not approved.
    pub fn golden(log: &ImaLog<'_>) -> Result<Self, GoldenError> {
        let mut files: HashMap<Vec<u8>, BTreeSet<Accepted>> = HashMap::new();
        for entry in log.entries().filter(|entry| !entry.is_violation()) {
            let refused = |what: &'static str| GoldenError::Entry {
                entry: entry.index,
                name: entry.name_for_people(),
                what,
            };
            if entry.name() == BOOT_AGGREGATE {
                if entry.index == 0 {
                    continue;
                }
                return Err(refused(
                    "only the first entry of a boot is called so: start from one boot",
                ));
            }
            if entry.pcr != IMA {
                return Err(refused(
                    "it was measured into another PCR than 10, where it is not judged",
                ));
            }
            core::str::from_utf8(entry.name()).map_err(|_| refused("its name is not text"))?;
            let accepted = entry.file_digest().and_then(|digest| Accepted::of(&digest));
            let accepted =
                accepted.ok_or_else(|| refused("its digest is not of sha256, sha384 or sha512"))?;
            files.entry(entry.name().to_vec()).or_default().insert(accepted);
        }
        Ok(Self {
            files,
            ..Self::default()
        })
    }

    /// Of files and the digests of their bytes, as another document than ours names them.
    pub(crate) fn of_files(files: BTreeMap<String, Vec<Digest>>) -> Self {
        let accepted = |digest: &Digest| Accepted {
            verity: false,
            alg: digest.alg(),
            digest: digest.as_bytes().to_vec(),
        };
        let files = files.into_iter().map(|(name, digests)| {
            let accepted = digests.iter().map(accepted).collect();
            (name.into_bytes(), accepted)
        });
        Self {
            files: files.collect(),
            ..Self::default()
        }
    }

    /// The same, without judging these names. A pattern is a name, or the beginning of one with `*` at its end.
    ///
    /// # Errors
    /// A pattern that is none, or would leave out everything.
    pub fn excluding(mut self, patterns: impl IntoIterator<Item = String>) -> Result<Self, ReferenceError> {
        patterns
            .into_iter()
            .try_for_each(|pattern| self.excluded.add(pattern))?;
        Ok(self)
    }

    /// The same, with this meaning of violations.
    #[must_use]
    pub const fn with_violations(mut self, violations: Violations) -> Self {
        self.violations = violations;
        self
    }

    /// How many names have references.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether no name has a reference.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// What an entry for which the kernel could not vouch means.
    #[must_use]
    pub const fn violations(&self) -> Violations {
        self.violations
    }

    /// Each name in order, with its accepted digests as the document writes them.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<String>> {
        self.document().files
    }

    /// The patterns of names that are not judged, as the document writes them.
    #[must_use]
    pub fn exclusions(&self) -> BTreeSet<String> {
        self.document().exclude
    }

    pub(in crate::appraisal) fn excludes(&self, name: &[u8]) -> bool {
        let begins = |beginning: &Vec<u8>| name.starts_with(beginning);
        self.excluded.names.contains(name) || self.excluded.beginnings.iter().any(begins)
    }

    pub(in crate::appraisal) fn standing(&self, entry: &Entry<'_>) -> Standing {
        let (name, measured) = (entry.name(), entry.file_digest());
        let accepted = self.files.get(name);
        let is_known = |digest: &FileDigest<'_>| accepted.into_iter().flatten().any(|known| known.is(digest));
        if measured.as_ref().is_some_and(is_known) || self.excludes(name) {
            Standing::Good
        } else if accepted.is_some() {
            Standing::OtherDigest
        } else {
            Standing::UnknownName
        }
    }

    /// The digests that a file may have, as the document writes them.
    pub(in crate::appraisal) fn accepted(&self, name: &[u8]) -> Vec<String> {
        let accepted = self.files.get(name).into_iter().flatten();
        accepted.map(ToString::to_string).collect()
    }

    pub(super) fn document(&self) -> RuntimeDocument {
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let beginnings = self.excluded.beginnings.iter().map(|name| text(name) + "*");
        let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, accepted) in &self.files {
            let digests = accepted.iter().map(ToString::to_string).collect();
            files.insert(text(name), digests);
        }
        RuntimeDocument {
            files,
            exclude: self
                .excluded
                .names
                .iter()
                .map(|name| text(name))
                .chain(beginnings)
                .collect(),
            violations: self.violations,
        }
    }
}

impl RuntimeDocument {
    pub(super) fn parse(self) -> Result<RuntimeReferences, ReferenceError> {
        let mut files = HashMap::with_capacity(self.files.len());
        for (name, digests) in self.files {
            let accepted: Result<BTreeSet<_>, _> = digests
                .into_iter()
                .map(|text| {
                    Accepted::parse(&text).ok_or_else(|| ReferenceError::FileDigest {
                        name: name.clone(),
                        text,
                    })
                })
                .collect();
            files.insert(name.into_bytes(), accepted?);
        }
        let references = RuntimeReferences {
            files,
            violations: self.violations,
            ..RuntimeReferences::default()
        };
        references.excluding(self.exclude)
    }
}

impl Excluded {
    fn add(&mut self, pattern: String) -> Result<(), ReferenceError> {
        let (name, is_beginning) = match pattern.strip_suffix('*') {
            Some(beginning) => (beginning, true),
            None => (pattern.as_str(), false),
        };
        if name.is_empty() || name.contains('*') {
            return Err(ReferenceError::Exclude(pattern));
        }
        let names = if is_beginning {
            &mut self.beginnings
        } else {
            &mut self.names
        };
        names.insert(name.as_bytes().to_vec());
        Ok(())
    }
}

impl Accepted {
    /// Of an entry; none for an algorithm that is not approved.
    fn of(measured: &FileDigest<'_>) -> Option<Self> {
        let alg = HashAlg::from_name(measured.algorithm).filter(|alg| alg.is_approved())?;
        Some(Self {
            verity: measured.kind == Some(VERITY),
            alg,
            digest: measured.digest.to_vec(),
        })
    }

    /// `sha256:hex`, or `verity:sha256:hex`.
    fn parse(text: &str) -> Option<Self> {
        let stripped = text.strip_prefix(VERITY).and_then(|rest| rest.strip_prefix(':'));
        let (alg, digest) = stripped.unwrap_or(text).split_once(':')?;
        let alg = HashAlg::from_name(alg).filter(|alg| alg.is_approved())?;
        let digest = unhex(digest).filter(|digest| digest.len() == alg.size())?;
        Some(Self {
            verity: stripped.is_some(),
            alg,
            digest,
        })
    }

    fn is(&self, measured: &FileDigest<'_>) -> bool {
        self.digest == measured.digest
            && self.alg.name() == measured.algorithm
            && self.verity == (measured.kind == Some(VERITY))
    }
}

impl fmt::Display for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verity = if self.verity { "verity:" } else { "" };
        write!(f, "{verity}{}:", self.alg.name())?;
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
