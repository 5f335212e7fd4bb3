//! The fleet's command policy: which role may give which commands, which take two persons, and within what limits.
//!
//! It only ever tightens. What a role, a mission's token or a mission's limits forbid stays forbidden whatever a policy says:
//! every row is one question more, and all rows that fit are asked. A robot that no platform of the policy names is given no
//! command at all.

mod document;
mod encoding;
mod fence;
mod in_force;
mod order;
mod reason;
mod recorded;
mod sound;
mod words;

pub use document::PolicyDocumentError;
pub use fence::{Fence, FenceError};
pub use in_force::{CommandRules, PolicyInForce};
pub use order::{
    CommandPolicyOrder, MAX_POLICY_BYTES, PolicyOrderError, PolicyStatement, VerifiedCommandPolicy,
};
pub use reason::{PolicyReason, SecondReason};
pub use recorded::{Change, RecordedCommand, Trial};
pub use sound::PolicyFault;

use std::collections::BTreeSet;

use alcub3_trust_model::{Level, MissionId};

use crate::{CommandPattern, Role};

/// A command policy that was found sound: its parts fit each other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CommandPolicy {
    rows: Rows,
}

/// A policy as it is written, before anybody looked whether its parts fit each other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Rows {
    pub(crate) platform: Vec<Platform>,
    pub(crate) rights: Vec<Rights>,
    pub(crate) persons: Vec<TwoPersons>,
    pub(crate) argument: Vec<DeclaredArgument>,
    pub(crate) limit: Vec<Limits>,
}

/// Robots that the same limits are for.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Platform {
    pub(crate) name: String,
    /// Names, or beginnings of names with `*` at their end. The first platform that names a robot is its platform.
    pub(crate) robots: Vec<String>,
}

/// What a role may command.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rights {
    pub(crate) role: Role,
    pub(crate) commands: Vec<CommandPattern>,
}

/// Commands that take a second person.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TwoPersons {
    pub(crate) commands: Vec<CommandPattern>,
    /// On missions of this level and above.
    #[serde(default = "lowest")]
    pub(crate) from_level: Level,
    /// What the second person may be.
    #[serde(default = "seconds")]
    pub(crate) second: BTreeSet<Role>,
}

/// An argument that the policy knows, beside the quantities that every limit knows.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeclaredArgument {
    pub(crate) name: String,
    pub(crate) commands: Vec<CommandPattern>,
    /// A whole number from this one …
    pub(crate) min: Option<i64>,
    /// … to this one.
    pub(crate) max: Option<i64>,
    /// One of these texts.
    pub(crate) one_of: Option<BTreeSet<String>>,
    /// A truth value.
    #[serde(default)]
    pub(crate) flag: bool,
}

/// Limits, for a platform, from a level up, for a mission; where one of these is left out, for all.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) platform: Option<String>,
    #[serde(default = "lowest")]
    pub(crate) from_level: Level,
    pub(crate) mission: Option<MissionId>,
    pub(crate) max_speed_mm_per_s: Option<u32>,
    pub(crate) max_turn_mdeg_per_s: Option<u32>,
    pub(crate) max_duration_ms: Option<u32>,
    pub(crate) min_altitude_mm: Option<i64>,
    pub(crate) max_altitude_mm: Option<i64>,
    pub(crate) max_force_mn: Option<u32>,
    pub(crate) tools: Option<BTreeSet<String>>,
    pub(crate) geofence: Option<Fence>,
}

const fn lowest() -> Level {
    Level::Unclassified
}

fn seconds() -> BTreeSet<Role> {
    [Role::Commander, Role::SecurityOfficer].into()
}
