//! What a policy asks, in sentences.

use super::document::{Claim, Mild, Pattern, StatePart};
use super::{AppraisalPolicy, Asks, RuleInForce};
use alcub3_trust_model::Level;

/// A class in words.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ClassInWords {
    /// Its name.
    pub name: String,
    /// Which robots are of it.
    pub robots: Vec<String>,
    /// What is asked at each level, lowest first; equal to the level below where nothing is added.
    pub levels: Vec<LevelInWords>,
}

/// What is asked at a level.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LevelInWords {
    /// The level.
    pub level: Level,
    /// Each thing that is asked.
    pub asks: Vec<String>,
}

impl AppraisalPolicy {
    /// Each class in the order of the document.
    #[must_use]
    pub fn in_words(&self) -> Vec<ClassInWords> {
        let class = |class: &super::Class| ClassInWords {
            name: class.name.as_str().to_owned(),
            robots: class
                .robots
                .iter()
                .map(Pattern::as_str)
                .map(str::to_owned)
                .collect(),
            levels: Level::ALL
                .into_iter()
                .map(|level| LevelInWords {
                    level,
                    asks: class.asks(level).in_words(),
                })
                .collect(),
        };
        self.class.iter().map(class).collect()
    }
}

impl RuleInForce {
    /// What it asks of its robot.
    #[must_use]
    pub fn in_words(&self) -> Vec<String> {
        match &self.class {
            Some(_) => self.asks.in_words(),
            None => vec!["it is of no class: refused".to_owned()],
        }
    }
}

impl Asks {
    fn in_words(&self) -> Vec<String> {
        let list = |words: Vec<&str>| (!words.is_empty()).then(|| words.join(", "));
        let tier = self
            .min_tier
            .map(|tier| format!("a root of trust that is {tier} or better"));
        let claims = list(self.claims.iter().map(Claim::as_str).collect());
        let claims = claims.map(|claims| format!("a boot log that shows {claims}"));
        let runtime = self.runtime.map(|_| "what runs is held to references".to_owned());
        let state = list(self.state.iter().map(StatePart::as_str).collect());
        let state = state.map(|parts| format!("of the state, {parts} are held to references"));
        let origin = list(self.origin.iter().map(|kind| kind.as_str()).collect());
        let origin = origin.map(|kinds| format!("an enrolment record that states its origin by {kinds}"));
        let age = self
            .max_state_age_ms
            .map(|most| format!("a state at most {most} ms from the verifier's time"));
        let refuse = list(self.refuse.iter().map(Mild::as_str).collect());
        let refuse =
            refuse.map(|codes| format!("none of the reasons {codes}, which elsewhere make nobody untrusted"));
        [tier, claims, runtime, state, origin, age, refuse]
            .into_iter()
            .flatten()
            .collect()
    }
}
