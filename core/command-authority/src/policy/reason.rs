//! Why the command policy, or a second person, is against a command.

/// What of the command policy is against a command.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
#[non_exhaustive]
pub enum PolicyReason {
    /// The robot was given a command policy, and what it has now is not that one or a later one.
    Lost,
    /// No platform of the policy names the robot.
    Platform,
    /// The policy gives the issuer's role no such command.
    Role,
    /// Faster than the policy allows here.
    Speed,
    /// Turns faster than the policy allows here.
    Turn,
    /// Lasts longer than the policy allows here.
    Duration,
    /// Out of a fence, or half a position.
    Geofence,
    /// Too high or too low.
    Altitude,
    /// More force than the policy allows here, or force without a limit.
    Force,
    /// A tool that the policy does not allow here.
    Tool,
    /// An argument that the policy does not know, or a value it does not allow.
    Argument,
}

impl PolicyReason {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Lost,
        Self::Platform,
        Self::Role,
        Self::Speed,
        Self::Turn,
        Self::Duration,
        Self::Geofence,
        Self::Altitude,
        Self::Force,
        Self::Tool,
        Self::Argument,
    ];

    /// The code, stable across releases.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Lost => "policy-lost",
            Self::Platform => "policy-platform",
            Self::Role => "policy-role",
            Self::Speed => "policy-speed",
            Self::Turn => "policy-turn",
            Self::Duration => "policy-duration",
            Self::Geofence => "policy-geofence",
            Self::Altitude => "policy-altitude",
            Self::Force => "policy-force",
            Self::Tool => "policy-tool",
            Self::Argument => "policy-argument",
        }
    }
}

/// What is wrong with the second person of a command.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
#[non_exhaustive]
pub enum SecondReason {
    /// The command takes two persons, and one gave it.
    Missing,
    /// The approval is not in the one form allowed.
    Malformed,
    /// The approval is of another command.
    OtherCommand,
    /// Both are one person, or have one key.
    Same,
    /// The mission names no such person.
    Unknown,
    /// The second person's role, or the mission, does not let them approve this command.
    Role,
    /// The second person has less integrity than the command, the robot or the mission asks for.
    Integrity,
    /// The approval's suite is weaker than the mission's level asks for.
    Suite,
    /// The signature does not verify.
    NotAuthentic,
}

impl SecondReason {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Missing,
        Self::Malformed,
        Self::OtherCommand,
        Self::Same,
        Self::Unknown,
        Self::Role,
        Self::Integrity,
        Self::Suite,
        Self::NotAuthentic,
    ];

    /// The code, stable across releases.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "second-person-missing",
            Self::Malformed => "second-person-malformed",
            Self::OtherCommand => "second-person-other-command",
            Self::Same => "second-person-same",
            Self::Unknown => "second-person-unknown",
            Self::Role => "second-person-role",
            Self::Integrity => "second-person-integrity",
            Self::Suite => "second-person-suite",
            Self::NotAuthentic => "second-person-not-authentic",
        }
    }
}
