//! Reference values: what a good robot's boot PCRs hold, in one bank, and which files it may measure while it runs.
//!
//! They are one thing in two documents for people and programs, TOML and JSON: [`ReferenceValues::from_text`] reads either.

mod document;
mod report;
mod runtime;
mod state;

pub(in crate::appraisal) use document::once;
pub use document::what_is_in;
pub use report::{Changed, FileChange, Listed, PcrChange, ReferenceDifferences, ReferenceReport, RuleReport};
pub(super) use runtime::{BOOT_AGGREGATE, Standing};
pub use runtime::{RuntimeReferences, Violations};
pub use state::{Area, StateReferences};

use crate::event_log::boot_facts::CLAIMS;
use crate::event_log::{EventLog, EventLogError, PCR_COUNT};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::pcr_map::BOOT;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// PCRs that may be the agent's (lockdown and retire) and that a boot may have extended before: `systemd-stub` measures into them.
const AGENT: core::ops::RangeInclusive<u8> = 11..=15;

/// What a boot PCR may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// One of these values.
    Values(Vec<Digest>),
    /// Any value that the log explains by events with these digests, in any order and number.
    Events(BTreeSet<Vec<u8>>),
    /// Any value that the log explains. A deliberate choice: a PCR without a rule is refused.
    Any,
}

/// Rules for the boot PCRs of one bank, and for what the running system measures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceValues {
    bank: HashAlg,
    rules: [Option<Rule>; PCR_COUNT],
    runtime: Option<RuntimeReferences>,
    /// Claims on the boot that its log must show, of [`CLAIMS`].
    claims: BTreeSet<&'static str>,
    state: Option<StateReferences>,
    fingerprint: Digest,
}

/// What references are made of.
struct Parts {
    bank: HashAlg,
    rules: Vec<(u8, Rule)>,
    claims: BTreeSet<&'static str>,
    runtime: Option<RuntimeReferences>,
    state: Option<StateReferences>,
}

/// Why a reference document was refused.
#[derive(Debug, Error)]
pub enum ReferenceError {
    /// Not text.
    #[error("the reference values are not UTF-8")]
    Text(#[source] core::str::Utf8Error),
    /// Not JSON of the documented form.
    #[error("the reference values are not JSON of the documented form")]
    Json(#[source] serde_json::Error),
    /// Not TOML of the documented form.
    #[error("the reference values are not TOML of the documented form")]
    Toml(#[source] toml::de::Error),
    /// Unknown version.
    #[error("the reference values have the unknown version {0}; version 1 is known")]
    Version(u32),
    /// The bank cannot be judged.
    #[error("the reference values are of the bank {0:?}; sha256, sha384 or sha512 can be judged")]
    Bank(String),
    /// A PCR that has no references.
    #[error(
        "the reference values name PCR {0}; the boot PCRs 0 to 9 have references, and 11 to 15 values for a boot that extends the \
         agent's"
    )]
    Pcr(u8),
    /// A digest that is not one of the bank.
    #[error("PCR {pcr}: {text:?} is not a {} digest in hexadecimal", bank.name())]
    Digest {
        /// The PCR.
        pcr: u8,
        /// The bank.
        bank: HashAlg,
        /// The text.
        text: String,
    },
    /// A digest of a file that is none.
    #[error(
        "{name}: {text:?} is no digest of a file; write it as sha256:HEX, or as verity:sha256:HEX for one of fs-verity"
    )]
    FileDigest {
        /// The file.
        name: String,
        /// The text.
        text: String,
    },
    /// A pattern that is none.
    #[error("the exclusion {0:?} is none; write a path, or the beginning of one with * at its end")]
    Exclude(String),
    /// A digest of a part of the state that is none.
    #[error("{0:?} is no digest of a part of the state; write it as sha256:HEX")]
    StateDigest(String),
    /// References for the state that nothing can fulfil, or too many.
    #[error("the references for the state: {0}")]
    State(&'static str),
    /// A claim that there is none of.
    #[error("there is no claim {0:?} on a boot; there are: {list}", list = CLAIMS.join(", "))]
    Claim(String),
    /// A PCR with none or several of values, events and any.
    #[error("PCR {0}: exactly one of \"values\", \"events\" and \"any\": true must be given")]
    Rule(u8),
}

/// Why no reference values follow from a log.
#[derive(Debug, Error)]
pub enum GoldenError {
    /// The log cannot be replayed.
    #[error("the log cannot be replayed")]
    Log(#[source] EventLogError),
    /// The log lacks the bank, or the bank is not approved.
    #[error("the log has no approved {} bank", .0.name())]
    Bank(HashAlg),
    /// An entry of a measurement list cannot be a reference.
    #[error("entry {entry} ({name}) of the measurement list cannot be a reference: {what}")]
    Entry {
        /// Its number, from 0.
        entry: usize,
        /// Its name.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl ReferenceValues {
    /// The values a known good machine's log leads to, for all boot PCRs.
    ///
    /// # Errors
    /// The log cannot be replayed or lacks the bank.
    pub fn golden(log: &EventLog<'_>, bank: HashAlg) -> Result<Self, GoldenError> {
        let values = log.replay_bank(bank).map_err(GoldenError::Log)?;
        let values = values
            .filter(|_| bank.is_approved())
            .ok_or(GoldenError::Bank(bank))?;
        let is_extended = |pcr: &u8| {
            let value = values.value(*pcr);
            value.is_some_and(|value| value != Digest::zero(bank))
        };
        let pcrs = BOOT.chain(AGENT.filter(is_extended));
        let rules = pcrs.filter_map(|pcr| Some((pcr, Rule::Values(vec![values.value(pcr)?]))));
        Ok(Self::of(Parts {
            bank,
            rules: rules.collect(),
            claims: BTreeSet::new(),
            runtime: None,
            state: None,
        }))
    }

    /// The same, asking that a boot's log shows these claims as well ([`CLAIMS`]).
    ///
    /// # Errors
    /// [`ReferenceError::Claim`] for one that there is none of.
    pub fn asking(self, claims: impl IntoIterator<Item = String>) -> Result<Self, ReferenceError> {
        let mut asked = self.claims.clone();
        for name in claims {
            let known = CLAIMS.into_iter().find(|claim| *claim == name);
            asked.insert(known.ok_or(ReferenceError::Claim(name))?);
        }
        Ok(Self::of(Parts {
            claims: asked,
            ..self.into_parts()
        }))
    }

    /// The same with references for what the running system measures.
    #[must_use]
    pub fn with_runtime(self, runtime: RuntimeReferences) -> Self {
        Self::of(Parts {
            runtime: Some(runtime),
            ..self.into_parts()
        })
    }

    /// The same, of values that another document than ours names.
    ///
    /// # Errors
    /// [`ReferenceError::Pcr`] for a PCR that has no references.
    pub(crate) fn of_values(
        bank: HashAlg,
        values: BTreeMap<u8, Vec<Digest>>,
        runtime: Option<RuntimeReferences>,
    ) -> Result<Self, ReferenceError> {
        let has_rule = |pcr: &u8| BOOT.contains(pcr) || AGENT.contains(pcr);
        if let Some(pcr) = values.keys().find(|pcr| !has_rule(pcr)) {
            return Err(ReferenceError::Pcr(*pcr));
        }
        Ok(Self::of(Parts {
            bank,
            rules: values
                .into_iter()
                .map(|(pcr, values)| (pcr, Rule::Values(values)))
                .collect(),
            claims: BTreeSet::new(),
            runtime,
            state: None,
        }))
    }

    /// The bank they are of.
    #[must_use]
    pub const fn bank(&self) -> HashAlg {
        self.bank
    }

    /// The rule for a PCR, if there is one.
    #[must_use]
    pub fn rule(&self, pcr: u8) -> Option<&Rule> {
        self.rules.get(usize::from(pcr))?.as_ref()
    }

    /// Claims on the boot that its log must show.
    #[must_use]
    pub const fn claims(&self) -> &BTreeSet<&'static str> {
        &self.claims
    }

    /// What the running system may measure; `None` where nothing is said of it.
    #[must_use]
    pub const fn runtime(&self) -> Option<&RuntimeReferences> {
        self.runtime.as_ref()
    }

    /// What the robot may say of itself; `None` where nothing is asked of it.
    #[must_use]
    pub const fn state(&self) -> Option<&StateReferences> {
        self.state.as_ref()
    }

    /// A digest over all rules: judgements made under other rules do not count.
    #[must_use]
    pub const fn fingerprint(&self) -> &Digest {
        &self.fingerprint
    }

    fn into_parts(self) -> Parts {
        let rules = (0_u8..).zip(self.rules);
        Parts {
            bank: self.bank,
            rules: rules.filter_map(|(pcr, rule)| Some((pcr, rule?))).collect(),
            claims: self.claims,
            runtime: self.runtime,
            state: self.state,
        }
    }

    fn of(parts: Parts) -> Self {
        let bank = parts.bank;
        let mut rules: [Option<Rule>; PCR_COUNT] = Default::default();
        for (pcr, rule) in parts.rules {
            if let Some(slot) = rules.get_mut(usize::from(pcr)) {
                *slot = Some(rule);
            }
        }
        let mut references = Self {
            bank,
            rules,
            runtime: parts.runtime,
            claims: parts.claims,
            state: parts.state,
            fingerprint: Digest::zero(bank),
        };
        references.fingerprint = bank.digest(&[references.to_json().as_bytes()]);
        references
    }
}

pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let byte = |[high, low]: &[u8; 2]| Some((digit(*high)? << 4) | digit(*low)?);
    if odd.is_empty() {
        pairs.iter().map(byte).collect()
    } else {
        None
    }
}
