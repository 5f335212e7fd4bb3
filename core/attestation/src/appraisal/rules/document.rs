//! The document: TOML for people, JSON for what is signed. Each word is checked where it stands, so that an error has its line.

use super::{AppraisalPolicy, RuleInForce};
use crate::appraisal::{Reason, Severity, StateReferences};
use crate::event_log::boot_facts::CLAIMS;
use crate::ima::name_for_people;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest name.
const MAX_LABEL: usize = 64;
/// The most classes.
const MAX_CLASSES: usize = 256;

/// Why a policy was refused.
#[derive(Debug, Error)]
pub enum AppraisalPolicyError {
    /// Not text.
    #[error("the appraisal policy is not UTF-8")]
    Text(#[source] core::str::Utf8Error),
    /// Not TOML of the documented form.
    #[error("the appraisal policy is not TOML of the documented form")]
    Toml(#[source] toml::de::Error),
    /// Not JSON of the documented form.
    #[error("the appraisal policy is not JSON of the documented form")]
    Json(#[source] serde_json::Error),
    /// The version.
    #[error("the appraisal policy has the version 0; begin with version = 1 and raise it with each change")]
    Version,
    /// No class, or too many.
    #[error(
        "the appraisal policy has {0} classes; write 1 to {MAX_CLASSES}, for a robot of no class is refused"
    )]
    Classes(usize),
    /// No robots.
    #[error(
        "the class {0:?} names no robots; give robots = [\"NAME\", \"BEGINNING*\"], or strike the class out"
    )]
    Empty(String),
    /// Two classes of one name.
    #[error("there are two classes {0:?}; a refusal names its class: give each its own name")]
    Twice(String),
    /// A class that no robot is ever of.
    #[error(
        "no robot is of the class {class:?}: {by:?} stands before it and has them all; move the narrower class up"
    )]
    Unreachable {
        /// The class.
        class: String,
        /// The one before it.
        by: String,
    },
}

/// Why a word is none.
#[derive(Debug, Error)]
pub(super) enum WordError {
    #[error("{0:?} is no name: use 1 to {MAX_LABEL} letters, digits, \".\", \"-\" and \"_\"")]
    Label(String),
    #[error("{0:?} names no robots: write a robot's name, or the beginning of one with * at its end")]
    Pattern(String),
    #[error("there is no claim {0:?} on a boot; there are: {list}", list = CLAIMS.join(", "))]
    Claim(String),
    #[error("the state has no part {0:?}; it has: {list}", list = StateReferences::PARTS.join(", "))]
    StatePart(String),
    #[error("there is no reason {0:?} that could be refused; there are: {list}", list = mild().join(", "))]
    Reason(String),
    #[error("the reason {0:?} makes every robot untrusted already; strike it out")]
    AlreadyFatal(String),
}

/// The reasons that make nobody untrusted of themselves.
fn mild() -> Vec<&'static str> {
    let reasons = Reason::ALL
        .iter()
        .filter(|reason| reason.severity() != Severity::Untrusted);
    reasons.map(|reason| reason.code()).collect()
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident $check:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub(super) struct $name(String);

        impl TryFrom<String> for $name {
            type Error = WordError;

            fn try_from(text: String) -> Result<Self, WordError> {
                let check: fn(&str) -> Option<fn(String) -> WordError> = $check;
                match check(&text) {
                    None => Ok(Self(text)),
                    Some(error) => Err(error(name_for_people(text.as_bytes()))),
                }
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> Self {
                word.0
            }
        }

        impl $name {
            pub(super) fn as_str(&self) -> &str {
                &self.0
            }
        }
    )+};
}

words! {
    /// A name of a policy or a class, harmless wherever it is shown.
    Label |text| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let is_one = (1..=MAX_LABEL).contains(&text.len()) && text.bytes().all(allowed);
        (!is_one).then_some(WordError::Label)
    };
    /// Names of robots: one, those that begin so, or with `*` alone all.
    Pattern |text| {
        let name = text.strip_suffix('*').unwrap_or(text);
        let is_one = !text.is_empty() && !name.contains('*') && text.len() <= 256;
        (!is_one).then_some(WordError::Pattern)
    };
    /// A claim on a boot.
    Claim |text| (!CLAIMS.contains(&text)).then_some(WordError::Claim);
    /// A part of the state.
    StatePart |text| (!StateReferences::PARTS.contains(&text)).then_some(WordError::StatePart);
    /// A reason that is mild elsewhere.
    Mild |text| {
        let reason = Reason::ALL.iter().find(|reason| reason.code() == text);
        match reason.map(|reason| reason.severity()) {
            None => Some(WordError::Reason),
            Some(Severity::Untrusted) => Some(WordError::AlreadyFatal),
            Some(_) => None,
        }
    };
}

/// The one thing that can be said of what runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Required {
    /// It is judged.
    Required,
}

impl Pattern {
    pub(super) fn matches(&self, robot: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => robot.starts_with(beginning),
            None => robot == self.0,
        }
    }

    /// Whether it matches all that another does.
    fn covers(&self, other: &Self) -> bool {
        match (self.0.strip_suffix('*'), other.0.strip_suffix('*')) {
            (Some(mine), Some(theirs)) => theirs.starts_with(mine),
            (None, Some(_)) => false,
            (_, None) => self.matches(&other.0),
        }
    }
}

impl AppraisalPolicy {
    /// A policy from a file's content.
    ///
    /// # Errors
    /// What is wrong, with its line where it is a word or a field.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AppraisalPolicyError> {
        Self::from_toml(core::str::from_utf8(bytes).map_err(AppraisalPolicyError::Text)?)
    }

    /// A policy as people write it.
    ///
    /// # Errors
    /// As [`Self::from_bytes`].
    pub fn from_toml(text: &str) -> Result<Self, AppraisalPolicyError> {
        toml::from_str::<Self>(text)
            .map_err(AppraisalPolicyError::Toml)?
            .checked()
    }

    /// A policy as it is signed.
    ///
    /// # Errors
    /// As [`Self::from_bytes`].
    pub fn from_json(text: &str) -> Result<Self, AppraisalPolicyError> {
        serde_json::from_str::<Self>(text)
            .map_err(AppraisalPolicyError::Json)?
            .checked()
    }

    /// The form that is signed.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    fn checked(self) -> Result<Self, AppraisalPolicyError> {
        use AppraisalPolicyError as Error;
        if self.version == 0 {
            return Err(Error::Version);
        }
        if !(1..=MAX_CLASSES).contains(&self.class.len()) {
            return Err(Error::Classes(self.class.len()));
        }
        for (at, class) in self.class.iter().enumerate() {
            let name = || class.name.as_str().to_owned();
            if class.robots.is_empty() {
                return Err(Error::Empty(name()));
            }
            let mut before = self.class.iter().take(at);
            if before.clone().any(|other| other.name == class.name) {
                return Err(Error::Twice(name()));
            }
            let has_all = |other: &&super::Class| {
                let covered = |pattern: &Pattern| other.robots.iter().any(|first| first.covers(pattern));
                class.robots.iter().all(covered)
            };
            if let Some(by) = before.find(has_all) {
                return Err(Error::Unreachable {
                    class: name(),
                    by: by.name.as_str().to_owned(),
                });
            }
        }
        Ok(self)
    }
}

impl RuleInForce {
    /// The rule as it is handed on.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// A rule that was handed on.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_json(text: &str) -> Result<Self, AppraisalPolicyError> {
        serde_json::from_str(text).map_err(AppraisalPolicyError::Json)
    }
}
