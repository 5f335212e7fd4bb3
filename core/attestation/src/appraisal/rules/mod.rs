//! The fleet's appraisal policy: what is asked of a class of robots, level by level, beyond what their references say.
//!
//! It only ever tightens. A rule adds findings, or makes one that was mild fatal; there is nothing in it by which a finding could be
//! removed or made milder, so that whoever writes one can make a good robot untrusted and never a bad one trusted. It looks at the
//! tier, the findings and the state's age, which evidence of every kind of root of trust has: a mixed fleet is judged by one rule.

mod document;
mod judge;
mod origin;
mod words;

pub use document::AppraisalPolicyError;
pub use judge::JudgedFacts;
pub use origin::OriginKind;
pub use words::{ClassInWords, LevelInWords};

use crate::appraisal::reference::once;
use alcub3_trust_model::{HardwareTier, Level, RobotId};
use document::{Claim, Label, Mild, Pattern, Required, StatePart};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A policy as it was written and found sound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppraisalPolicy {
    name: Label,
    version: u64,
    #[serde(default)]
    class: Vec<Class>,
}

/// Robots of which the same is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Class {
    name: Label,
    robots: Vec<Pattern>,
    #[serde(default, deserialize_with = "once")]
    level: BTreeMap<Level, Asks>,
}

/// What is asked. What is left out is not asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Asks {
    /// The lowest kind of root of trust.
    #[serde(skip_serializing_if = "Option::is_none")]
    min_tier: Option<HardwareTier>,
    /// Claims that the boot's log must show, beside those of the references.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    claims: BTreeSet<Claim>,
    /// That what the running system measures is judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<Required>,
    /// Parts of the state for which there must be references.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    state: BTreeSet<StatePart>,
    /// What its enrolment record must state of its origin.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    origin: BTreeSet<OriginKind>,
    /// How far the state's time may be from the verifier's, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_state_age_ms: Option<u64>,
    /// Reasons that are mild elsewhere.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    refuse: BTreeSet<Mild>,
}

/// What a policy asks of one robot at one level, so that it can be handed on without the rest of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleInForce {
    policy: Label,
    version: u64,
    /// None where the robot is of no class: then it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class: Option<Label>,
    level: Level,
    asks: Asks,
    /// What the robot's enrolment record states of its origin. Never handed on with the rule: a reader has the record.
    #[serde(skip)]
    stated: BTreeSet<OriginKind>,
}

impl AppraisalPolicy {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Its version; a later policy has a higher one.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// What is asked of a robot at a level: by the first class that names it, all that it asks at this level and those below, so that
    /// no level is weaker than one below it.
    #[must_use]
    pub fn rule(&self, robot: &RobotId, level: Level) -> RuleInForce {
        let class = self.class.iter().find(|class| class.has(robot.as_str()));
        RuleInForce {
            policy: self.name.clone(),
            version: self.version,
            class: class.map(|class| class.name.clone()),
            level,
            asks: class.map(|class| class.asks(level)).unwrap_or_default(),
            stated: BTreeSet::new(),
        }
    }
}

impl Class {
    fn has(&self, robot: &str) -> bool {
        self.robots.iter().any(|pattern| pattern.matches(robot))
    }

    fn asks(&self, level: Level) -> Asks {
        let up_to = self.level.range(..=level).map(|(_, asks)| asks);
        up_to.fold(Asks::default(), Asks::and)
    }
}

impl Asks {
    /// All that either asks.
    fn and(self, other: &Self) -> Self {
        let lower = |one: Option<u64>, two: Option<u64>| [one, two].into_iter().flatten().min();
        Self {
            min_tier: self.min_tier.max(other.min_tier),
            claims: &self.claims | &other.claims,
            runtime: self.runtime.or(other.runtime),
            state: &self.state | &other.state,
            origin: &self.origin | &other.origin,
            max_state_age_ms: lower(self.max_state_age_ms, other.max_state_age_ms),
            refuse: &self.refuse | &other.refuse,
        }
    }
}

impl RuleInForce {
    /// The policy's name and version as results have them.
    #[must_use]
    pub fn policy_id(&self) -> String {
        format!("{}:{}", self.policy.as_str(), self.version)
    }

    /// Whether the robot is of a class of the policy; if not, it is refused whatever it proves.
    #[must_use]
    pub const fn has_class(&self) -> bool {
        self.class.is_some()
    }

    /// The claims that the boot's log must show.
    pub fn claims(&self) -> impl Iterator<Item = String> {
        self.asks.claims.iter().map(|claim| claim.as_str().to_owned())
    }
}
