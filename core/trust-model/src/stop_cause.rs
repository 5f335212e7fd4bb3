//! Why a stop was called.

use std::fmt;
use std::str::FromStr;

/// Why a stop was called. Anyone who may reach the robot may stop it, so this is a statement, not a permission.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum StopCause {
    /// A person, at the robot or by command.
    ManualTrigger,
    /// The robot's own safety supervision.
    SafetyViolation,
    /// A breach of trust was seen: tampering, a failed attestation, an audit log that does not verify.
    SecurityBreach,
    /// Data or a command crossed a boundary of labels.
    ClassificationViolation,
    /// Somebody used what he may not.
    UnauthorizedAccess,
    /// An intrusion into the network was detected.
    NetworkIntrusion,
    /// A part of the robot or of its software failed.
    SystemFailure,
}

impl StopCause {
    /// All causes, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::ManualTrigger,
        Self::SafetyViolation,
        Self::SecurityBreach,
        Self::ClassificationViolation,
        Self::UnauthorizedAccess,
        Self::NetworkIntrusion,
        Self::SystemFailure,
    ];

    /// The number used on the wire.
    pub const fn id(self) -> u8 {
        match self {
            Self::ManualTrigger => 0,
            Self::SafetyViolation => 1,
            Self::SecurityBreach => 2,
            Self::ClassificationViolation => 3,
            Self::UnauthorizedAccess => 4,
            Self::NetworkIntrusion => 5,
            Self::SystemFailure => 6,
        }
    }

    /// The cause of a number on the wire.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.id() == id)
    }

    /// The name for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ManualTrigger => "MANUAL_TRIGGER",
            Self::SafetyViolation => "SAFETY_VIOLATION",
            Self::SecurityBreach => "SECURITY_BREACH",
            Self::ClassificationViolation => "CLASSIFICATION_VIOLATION",
            Self::UnauthorizedAccess => "UNAUTHORIZED_ACCESS",
            Self::NetworkIntrusion => "NETWORK_INTRUSION",
            Self::SystemFailure => "SYSTEM_FAILURE",
        }
    }
}

/// The text names no cause of a stop.
#[derive(Copy, Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "no cause of a stop; there are manual-trigger, safety-violation, security-breach, classification-violation, \
     unauthorized-access, network-intrusion and system-failure"
)]
pub struct CauseParseError;

impl FromStr for StopCause {
    type Err = CauseParseError;

    /// In either case, with `-` or `_`.
    fn from_str(text: &str) -> Result<Self, CauseParseError> {
        let name = text.replace('-', "_").to_ascii_uppercase();
        let found = Self::ALL.into_iter().find(|cause| cause.name() == name);
        found.ok_or(CauseParseError)
    }
}

impl fmt::Display for StopCause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl TryFrom<String> for StopCause {
    type Error = CauseParseError;

    fn try_from(text: String) -> Result<Self, CauseParseError> {
        text.parse()
    }
}

impl From<StopCause> for &'static str {
    fn from(cause: StopCause) -> Self {
        cause.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_have_a_number_and_a_name_each_and_read_back() {
        for (id, cause) in (0u8..).zip(StopCause::ALL) {
            assert_eq!((cause.id(), StopCause::from_id(id)), (id, Some(cause)));
            assert_eq!(cause.name().parse(), Ok(cause));
            assert_eq!(cause.name().to_lowercase().replace('_', "-").parse(), Ok(cause));
        }
        assert_eq!(StopCause::from_id(7), None);
        assert_eq!("".parse::<StopCause>(), Err(CauseParseError));
    }
}
