//! What references say, and what is different between two of them: for people and programs.

use super::document::what_is_in;
use super::{ReferenceValues, Rule, RuntimeReferences, StateReferences, Violations};
use crate::event_log::PCR_COUNT;
use crate::event_log::describe::hex;
use alcub3_crypto::Digest;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// A PCR's rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleReport {
    /// The PCR.
    pub pcr: u8,
    /// What is measured into it.
    pub about: &'static str,
    /// `values`, `events` or `any`.
    pub rule: &'static str,
    /// The accepted values or events, in hexadecimal.
    pub digests: Vec<String>,
}

/// What references say. Of files it has the number: they are thousands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReferenceReport {
    /// The bank.
    pub bank: &'static str,
    /// The digest over all rules, as `sha256:HEX`.
    pub fingerprint: String,
    /// The rules, by PCR. A boot PCR without one is refused.
    pub pcrs: Vec<RuleReport>,
    /// Claims that each boot's log must show.
    pub claims: BTreeSet<&'static str>,
    /// Number of files with references; absent where what runs is not judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<usize>,
    /// Number of their digests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digests: Option<usize>,
    /// Names that are not judged.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub exclude: BTreeSet<String>,
    /// What a file means that changed while it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub violations: Option<Violations>,
    /// The parts of a robot's state that are held to something.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub state: Map<String, Value>,
}

/// A thing that has one value, before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed<T> {
    /// In the first document.
    pub before: T,
    /// In the second.
    pub after: T,
}

/// Elements of a set that are only in the second document, or only in the first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Only in the second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// Only in the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
}

/// A PCR whose rule differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PcrChange {
    /// The PCR.
    pub pcr: u8,
    /// What is measured into it.
    pub about: &'static str,
    /// The kind of rule in the first document: `values`, `events`, `any` or `none`.
    pub before: &'static str,
    /// In the second.
    pub after: &'static str,
    /// The values or events.
    #[serde(flatten)]
    pub digests: Listed,
}

/// A file with other digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Its name.
    pub name: String,
    /// Its digests.
    #[serde(flatten)]
    pub digests: Listed,
}

/// What is different between two references.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ReferenceDifferences {
    /// The bank; with it every value and event differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bank: Option<Changed<&'static str>>,
    /// PCRs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pcrs: Vec<PcrChange>,
    /// Claims.
    pub claims: Listed,
    /// Whether what runs is judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Changed<bool>>,
    /// Names of files with references.
    pub files: Listed,
    /// Files whose digests differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files_changed: Vec<FileChange>,
    /// Names that are not judged.
    pub exclude: Listed,
    /// What a file means that changed while it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub violations: Option<Changed<Violations>>,
    /// Parts of the state.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub state: BTreeMap<String, Changed<Option<Value>>>,
    /// The same rules in another order, which changes the fingerprint and nothing else.
    pub order: bool,
}

impl RuleReport {
    fn of(pcr: u8, rule: &Rule) -> Self {
        let digests = match rule {
            Rule::Values(values) => values.iter().map(Digest::to_hex).collect(),
            Rule::Events(events) => events.iter().map(|event| hex(event)).collect(),
            Rule::Any => Vec::new(),
        };
        Self {
            pcr,
            about: what_is_in(pcr),
            rule: kind(Some(rule)),
            digests,
        }
    }
}

const fn kind(rule: Option<&Rule>) -> &'static str {
    match rule {
        Some(Rule::Values(_)) => "values",
        Some(Rule::Events(_)) => "events",
        Some(Rule::Any) => "any",
        None => "none",
    }
}

fn rules(references: &ReferenceValues) -> impl Iterator<Item = (u8, &Rule)> {
    let numbered = (0_u8..).zip(&references.rules).take(PCR_COUNT);
    numbered.filter_map(|(pcr, rule)| Some((pcr, rule.as_ref()?)))
}

impl ReferenceReport {
    /// The report of references.
    #[must_use]
    pub fn of(references: &ReferenceValues) -> Self {
        let runtime = references.runtime();
        let files = runtime.map(RuntimeReferences::files);
        Self {
            bank: references.bank().name(),
            fingerprint: fingerprint(references),
            pcrs: rules(references)
                .map(|(pcr, rule)| RuleReport::of(pcr, rule))
                .collect(),
            claims: references.claims().clone(),
            files: files.as_ref().map(BTreeMap::len),
            digests: files.map(|files| files.values().map(Vec::len).sum()),
            exclude: runtime.map(RuntimeReferences::exclusions).unwrap_or_default(),
            violations: runtime.map(RuntimeReferences::violations),
            state: references.state().map(StateReferences::parts).unwrap_or_default(),
        }
    }
}

fn fingerprint(references: &ReferenceValues) -> String {
    let fingerprint = references.fingerprint();
    format!("{}:{}", fingerprint.alg().name(), fingerprint.to_hex())
}

impl Listed {
    fn between<'t>(
        before: impl IntoIterator<Item = &'t String>,
        after: impl IntoIterator<Item = &'t String>,
    ) -> Self {
        let (before, after): (BTreeSet<_>, BTreeSet<_>) = (
            before.into_iter().cloned().collect(),
            after.into_iter().cloned().collect(),
        );
        Self {
            added: after.difference(&before).cloned().collect(),
            removed: before.difference(&after).cloned().collect(),
        }
    }

    /// Whether both have the same elements.
    #[must_use]
    pub const fn is_same(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}

fn changed<T: PartialEq>(before: T, after: T) -> Option<Changed<T>> {
    (before != after).then_some(Changed { before, after })
}

impl ReferenceDifferences {
    /// What the second has that the first has not, and the other way.
    #[must_use]
    pub fn between(before: &ReferenceValues, after: &ReferenceValues) -> Self {
        let texts = |claims: &BTreeSet<&'static str>| -> Vec<String> {
            claims.iter().map(|claim| (*claim).to_owned()).collect()
        };
        let empty = RuntimeReferences::default();
        let runtime = (
            before.runtime().unwrap_or(&empty),
            after.runtime().unwrap_or(&empty),
        );
        let files = (runtime.0.files(), runtime.1.files());
        let judged = (before.runtime().is_some(), after.runtime().is_some());
        let mut differences = Self {
            bank: changed(before.bank().name(), after.bank().name()),
            pcrs: pcr_changes(before, after),
            claims: Listed::between(&texts(before.claims()), &texts(after.claims())),
            runtime: changed(judged.0, judged.1),
            files: Listed::between(files.0.keys(), files.1.keys()),
            files_changed: file_changes(&files.0, &files.1),
            exclude: Listed::between(&runtime.0.exclusions(), &runtime.1.exclusions()),
            violations: changed(runtime.0.violations(), runtime.1.violations()),
            state: state_changes(before, after),
            order: false,
        };
        // Whatever this comparison overlooked is a difference all the same.
        differences.order = differences == Self::default() && before.fingerprint() != after.fingerprint();
        differences
    }

    /// Whether the two say the same.
    #[must_use]
    pub fn is_same(&self) -> bool {
        *self == Self::default()
    }
}

fn pcr_changes(before: &ReferenceValues, after: &ReferenceValues) -> Vec<PcrChange> {
    let digests = |pcr: u8, rule: Option<&Rule>| {
        rule.map(|rule| RuleReport::of(pcr, rule).digests)
            .unwrap_or_default()
    };
    let numbers = rules(before).chain(rules(after)).map(|(pcr, _)| pcr);
    let changes = numbers.collect::<BTreeSet<u8>>().into_iter().map(|pcr| {
        let (first, second) = (before.rule(pcr), after.rule(pcr));
        PcrChange {
            pcr,
            about: what_is_in(pcr),
            before: kind(first),
            after: kind(second),
            digests: Listed::between(&digests(pcr, first), &digests(pcr, second)),
        }
    });
    changes
        .filter(|change| change.before != change.after || !change.digests.is_same())
        .collect()
}

fn file_changes(
    before: &BTreeMap<String, Vec<String>>,
    after: &BTreeMap<String, Vec<String>>,
) -> Vec<FileChange> {
    let both = before
        .iter()
        .filter_map(|(name, digests)| Some((name, digests, after.get(name)?)));
    both.map(|(name, first, second)| FileChange {
        name: name.clone(),
        digests: Listed::between(first, second),
    })
    .filter(|change| !change.digests.is_same())
    .collect()
}

fn state_changes(
    before: &ReferenceValues,
    after: &ReferenceValues,
) -> BTreeMap<String, Changed<Option<Value>>> {
    let parts =
        |references: &ReferenceValues| references.state().map(StateReferences::parts).unwrap_or_default();
    let (first, second) = (parts(before), parts(after));
    let names: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let changes = names.into_iter().filter_map(|name| {
        let change = changed(first.get(name).cloned(), second.get(name).cloned());
        Some((name.clone(), change?))
    });
    changes.collect()
}
