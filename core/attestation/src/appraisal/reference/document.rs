//! The document: one model, written as JSON or as TOML. Both say the same and have the same fingerprint.

use super::runtime::{RuntimeDocument, RuntimeReferences};
use super::state::{StateDocument, StateReferences};
use super::{AGENT, Parts, ReferenceError, ReferenceValues, Rule, unhex};
use crate::event_log::describe::hex;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::pcr_map::BOOT;
use core::fmt::{self, Write as _};
use core::marker::PhantomData;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{BTreeMap, BTreeSet};

const VERSION: u32 = 1;
/// What people read first in a document that was written for them.
const PREAMBLE: &str = "\
# Reference values: what a good robot's logs may say. docs/reference-values.md explains each part.
# Write any = true for a PCR that may differ between good robots. A boot PCR that is not named is refused.
";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    bank: String,
    #[serde(deserialize_with = "once")]
    pcrs: BTreeMap<u8, DocumentRule>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    claims: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    runtime: Option<RuntimeDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<StateDocument>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentRule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    values: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    events: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    any: bool,
}

/// The beginning of a TOML document; each other part is written behind it under its own heading.
#[derive(Serialize)]
struct Head<'d> {
    version: u32,
    bank: &'d str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    claims: &'d [String],
}

impl ReferenceValues {
    /// Rules from a file's content: text in either form, in UTF-8 to its last byte.
    ///
    /// # Errors
    /// As [`Self::from_text`], and [`ReferenceError::Text`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ReferenceError> {
        Self::from_text(core::str::from_utf8(bytes).map_err(ReferenceError::Text)?)
    }

    /// Rules from a document in either form: JSON begins with `{`, as no TOML does.
    ///
    /// # Errors
    /// As [`Self::from_json`] and [`Self::from_toml`].
    pub fn from_text(text: &str) -> Result<Self, ReferenceError> {
        if text.trim_start().starts_with('{') {
            Self::from_json(text)
        } else {
            Self::from_toml(text)
        }
    }

    /// Rules from their JSON form: `{"version":1,"bank":"sha256","pcrs":{"0":{"values":["hex"]},
    /// "4":{"events":["hex"]},"1":{"any":true}},"claims":["secure-boot"],"runtime":{"files":{"/usr/bin/driver":["sha256:hex"]},
    /// "exclude":["/tmp/*"],"violations":"note"}}`. Without `runtime` nothing is said of what the running system measures.
    /// Unknown fields are refused, and so is what is said twice.
    ///
    /// # Errors
    /// What is wrong with the document.
    pub fn from_json(text: &str) -> Result<Self, ReferenceError> {
        let document: Document = serde_json::from_str(text).map_err(ReferenceError::Json)?;
        document.parse()
    }

    /// Rules from their TOML form: the fields of [`Self::from_json`], a PCR as `[pcrs.0]`.
    ///
    /// # Errors
    /// What is wrong with the document, with its line where it is not of the form.
    pub fn from_toml(text: &str) -> Result<Self, ReferenceError> {
        let document: Document = toml::from_str(text).map_err(ReferenceError::Toml)?;
        document.parse()
    }

    /// The JSON form.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(&Document::of(self)).unwrap_or_default()
    }

    /// The TOML form, with what each PCR is for as comments.
    #[must_use]
    pub fn to_toml(&self) -> String {
        Document::of(self).to_toml().unwrap_or_default()
    }
}

impl Document {
    fn of(references: &ReferenceValues) -> Self {
        let rules = (0_u8..).zip(&references.rules);
        let pcrs = rules.filter_map(|(pcr, rule)| Some((pcr, DocumentRule::of(rule.as_ref()?))));
        Self {
            version: VERSION,
            bank: references.bank.name().to_owned(),
            pcrs: pcrs.collect(),
            claims: references
                .claims
                .iter()
                .map(|claim| (*claim).to_owned())
                .collect(),
            runtime: references.runtime.as_ref().map(RuntimeReferences::document),
            state: references.state.as_ref().map(StateReferences::document),
        }
    }

    fn parse(self) -> Result<ReferenceValues, ReferenceError> {
        if self.version != VERSION {
            return Err(ReferenceError::Version(self.version));
        }
        let bank = HashAlg::from_name(&self.bank).filter(|bank| bank.is_approved());
        let bank = bank.ok_or(ReferenceError::Bank(self.bank))?;
        let rules = self
            .pcrs
            .into_iter()
            .map(|(pcr, rule)| Ok((pcr, rule.parse(bank, pcr)?)));
        let rules = rules.collect::<Result<_, _>>()?;
        let runtime = self.runtime.map(RuntimeDocument::parse).transpose()?;
        ReferenceValues::of(Parts {
            bank,
            rules,
            claims: BTreeSet::new(),
            runtime,
            state: self.state.map(StateDocument::parse).transpose()?,
        })
        .asking(self.claims)
    }

    /// Each part is written on its own, so that a comment never lands inside of a text.
    fn to_toml(&self) -> Result<String, toml::ser::Error> {
        let head = Head {
            version: self.version,
            bank: &self.bank,
            claims: &self.claims,
        };
        let mut text = format!("{PREAMBLE}\n{}", toml::to_string_pretty(&head)?);
        for (pcr, rule) in &self.pcrs {
            let part = BTreeMap::from([("pcrs", BTreeMap::from([(pcr, rule)]))]);
            let _ = write!(
                text,
                "\n# {}\n{}",
                what_is_in(*pcr),
                toml::to_string_pretty(&part)?
            );
        }
        if self.pcrs.is_empty() {
            text.push_str("\n[pcrs]\n");
        }
        if let Some(runtime) = &self.runtime {
            let part = BTreeMap::from([("runtime", runtime)]);
            let _ = write!(text, "\n{}", toml::to_string_pretty(&part)?);
        }
        if let Some(state) = &self.state {
            let part = BTreeMap::from([("state", state)]);
            let _ = write!(text, "\n{}", toml::to_string_pretty(&part)?);
        }
        Ok(text)
    }
}

impl DocumentRule {
    fn parse(self, bank: HashAlg, pcr: u8) -> Result<Rule, ReferenceError> {
        // In the agent's PCRs anything less than a value would let a stop hide in the boot's log.
        let has_rule = BOOT.contains(&pcr) || (AGENT.contains(&pcr) && self.values.is_some());
        if !has_rule {
            return Err(ReferenceError::Pcr(pcr));
        }
        let digest = |text: String| {
            let digest = unhex(&text).and_then(|bytes| Digest::from_slice(bank, &bytes));
            digest.ok_or(ReferenceError::Digest { pcr, bank, text })
        };
        match (self.values, self.events, self.any) {
            (Some(values), None, false) => values
                .into_iter()
                .map(digest)
                .collect::<Result<_, _>>()
                .map(Rule::Values),
            (None, Some(events), false) => {
                let bytes = events
                    .into_iter()
                    .map(|text| Ok(digest(text)?.as_bytes().to_vec()));
                bytes.collect::<Result<_, _>>().map(Rule::Events)
            }
            (None, None, true) => Ok(Rule::Any),
            _ => Err(ReferenceError::Rule(pcr)),
        }
    }

    fn of(rule: &Rule) -> Self {
        match rule {
            Rule::Values(values) => Self {
                values: Some(values.iter().map(Digest::to_hex).collect()),
                ..Self::default()
            },
            Rule::Events(events) => Self {
                events: Some(events.iter().map(|event| hex(event)).collect()),
                ..Self::default()
            },
            Rule::Any => Self {
                any: true,
                ..Self::default()
            },
        }
    }
}

/// What is measured into a PCR (TCG PC Client Platform Firmware Profile §3.3.4; UAPI Group, Linux TPM PCR Registry), for people.
#[must_use]
pub const fn what_is_in(pcr: u8) -> &'static str {
    match pcr {
        0 => "PCR 0: the firmware's code",
        1 => "PCR 1: the firmware's settings and the boot order",
        2 => "PCR 2: code of option ROMs and drivers",
        3 => "PCR 3: their settings",
        4 => "PCR 4: the boot loader and what it was started from",
        5 => "PCR 5: the partition table and the boot loader's settings",
        6 => "PCR 6: of the machine's maker",
        7 => "PCR 7: secure boot, its keys and who signed what was started",
        8 => "PCR 8: the boot loader's commands and the kernel's command line",
        9 => "PCR 9: files that the boot loader read, such as kernel and initrd",
        11 => "PCR 11: the unified kernel image and the phases of the boot",
        12 => "PCR 12: command lines and extensions given to the kernel image",
        13 => "PCR 13: system extensions",
        14 => "PCR 14: shim's own keys",
        15 => "PCR 15: the machine's identity and its disks",
        _ => "a PCR that is not of the boot",
    }
}

/// A map in which no key comes twice: of two rules for one thing, neither is guessed to be meant.
pub(in crate::appraisal) fn once<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord + fmt::Display,
    V: Deserialize<'de>,
{
    deserializer.deserialize_map(Once(PhantomData))
}

struct Once<K, V>(PhantomData<(K, V)>);

impl<'de, K, V> Visitor<'de> for Once<K, V>
where
    K: Deserialize<'de> + Ord + fmt::Display,
    V: Deserialize<'de>,
{
    type Value = BTreeMap<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map in which no key comes twice")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut given: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = given.next_entry()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("{key} comes twice")));
            }
            map.insert(key, value);
        }
        Ok(map)
    }
}
