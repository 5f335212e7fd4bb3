//! Roles, and which commands each may give.

use std::fmt;
use std::str::FromStr;

/// What sort of thing a command does: the first word of its name.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum CommandClass {
    /// Reads without effect on the world: `observe.camera`.
    Observe,
    /// Moves the robot: `move.velocity`.
    Move,
    /// Works the robot's tools and payload: `payload.release`.
    Payload,
    /// Changes the course of the mission: `mission.waypoints`.
    Mission,
    /// Maintains the robot: `maintain.calibrate`.
    Maintain,
}

impl CommandClass {
    /// The class of a command's name; none for an unknown first word.
    pub fn of(name: &str) -> Option<Self> {
        match name.split_once('.')?.0 {
            "observe" => Some(Self::Observe),
            "move" => Some(Self::Move),
            "payload" => Some(Self::Payload),
            "mission" => Some(Self::Mission),
            "maintain" => Some(Self::Maintain),
            _ => None,
        }
    }
}

/// What an issuer is on a mission.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Watches.
    Observer,
    /// Moves the robot and works its payload.
    Operator,
    /// As an operator, and changes the mission's course.
    Commander,
    /// Maintains the robot.
    Maintainer,
    /// Approves: ends moved, rearms. Gives no commands.
    Approver,
    /// Reads the log. Gives no commands.
    Auditor,
    /// Watches, and is the second person of commands that take two.
    SecurityOfficer,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 7] = [
        Self::Observer,
        Self::Operator,
        Self::Commander,
        Self::Maintainer,
        Self::Approver,
        Self::Auditor,
        Self::SecurityOfficer,
    ];

    /// The number on the wire.
    pub const fn id(self) -> u8 {
        match self {
            Self::Observer => 0,
            Self::Operator => 1,
            Self::Commander => 2,
            Self::Maintainer => 3,
            Self::Approver => 4,
            Self::Auditor => 5,
            Self::SecurityOfficer => 6,
        }
    }

    /// The role of a number on the wire.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.id() == id)
    }

    /// The name for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observer => "observer",
            Self::Operator => "operator",
            Self::Commander => "commander",
            Self::Maintainer => "maintainer",
            Self::Approver => "approver",
            Self::Auditor => "auditor",
            Self::SecurityOfficer => "security-officer",
        }
    }

    /// Whether the role may give commands of a class at all; the mission may allow an issuer less.
    pub const fn permits(self, class: CommandClass) -> bool {
        match self {
            Self::Observer | Self::SecurityOfficer => matches!(class, CommandClass::Observe),
            Self::Operator => matches!(
                class,
                CommandClass::Observe | CommandClass::Move | CommandClass::Payload
            ),
            Self::Commander => !matches!(class, CommandClass::Maintain),
            Self::Maintainer => matches!(class, CommandClass::Observe | CommandClass::Maintain),
            Self::Approver | Self::Auditor => false,
        }
    }

    /// Whether the role may be the second person of a command at all; the command policy names those who may.
    pub const fn may_second(self) -> bool {
        matches!(
            self,
            Self::Operator | Self::Commander | Self::Maintainer | Self::SecurityOfficer
        )
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A role, a command's name or a pattern that is not valid.
#[derive(Debug, thiserror::Error, Eq, PartialEq)]
pub enum RoleError {
    /// A word that names no role.
    #[error(
        "{0:?} is no role: use observer, operator, commander, maintainer, approver, auditor or security-officer"
    )]
    Role(String),
    /// A name that is no command's.
    #[error(
        "command {0:?} is not valid: a class (observe, move, payload, mission, maintain), a dot, a-z 0-9 _ ."
    )]
    Command(String),
    /// A pattern that could match nothing.
    #[error("pattern {0:?} is not valid: a command's name, or its beginning up to a dot with * behind")]
    Pattern(String),
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| RoleError::Role(text.to_owned()))
    }
}

pub(crate) fn is_command_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_');
    let words = text.split('.').all(|word| !word.is_empty());
    text.len() <= 64 && words && text.bytes().all(allowed) && text.contains('.')
}

/// The name of a command: a class, a dot, words of `a-z 0-9 _` joined by dots; at most 64 bytes.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommandName(String);

impl TryFrom<String> for CommandName {
    type Error = RoleError;

    fn try_from(text: String) -> Result<Self, RoleError> {
        Self::new(text)
    }
}

impl From<CommandName> for String {
    fn from(word: CommandName) -> Self {
        word.0
    }
}

impl CommandName {
    /// The name, checked; its class must be known.
    ///
    /// # Errors
    /// [`RoleError::Command`].
    pub fn new(text: impl Into<String>) -> Result<Self, RoleError> {
        let text = text.into();
        let known = is_command_name(&text) && CommandClass::of(&text).is_some();
        if known {
            Ok(Self(text))
        } else {
            Err(RoleError::Command(text))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CommandName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Which commands an issuer may give: one name, or all that begin with some words (`move.*`).
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommandPattern(String);

impl TryFrom<String> for CommandPattern {
    type Error = RoleError;

    fn try_from(text: String) -> Result<Self, RoleError> {
        Self::new(text)
    }
}

impl From<CommandPattern> for String {
    fn from(word: CommandPattern) -> Self {
        word.0
    }
}

impl CommandPattern {
    /// The pattern, checked. A bare `*` is refused: an issuer's commands are named.
    ///
    /// # Errors
    /// [`RoleError::Pattern`].
    pub fn new(text: impl Into<String>) -> Result<Self, RoleError> {
        let text = text.into();
        let base = text.strip_suffix(".*").map(|start| format!("{start}.x"));
        let name = base.as_deref().unwrap_or(&text);
        let known = is_command_name(name) && CommandClass::of(name).is_some();
        if known {
            Ok(Self(text))
        } else {
            Err(RoleError::Pattern(text))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a command's name matches.
    pub fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => self.0 == name,
        }
    }
}
