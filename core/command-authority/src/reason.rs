//! Why a command was refused: codes for people, logs and machines.

use std::fmt;

use crate::ReplayFault;
use crate::cose::CoseError;
use crate::policy::{PolicyReason, SecondReason};
use alcub3_trust_model::canonical::DecodeError;

/// A reason against a command.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The envelope is longer than any command.
    TooLarge,
    /// The envelope's COSE form is not the one allowed.
    Envelope(CoseError),
    /// The payload is not the one form allowed.
    Payload(DecodeError),
    /// The command is for another robot.
    WrongRobot,
    /// The mission is not active on this robot.
    UnknownMission,
    /// The mission has not begun.
    MissionNotBegun,
    /// The mission is over.
    MissionOver,
    /// The mission is suspended.
    MissionSuspended,
    /// The mission names no such issuer.
    UnknownIssuer,
    /// The command's class is unknown.
    UnknownCommand,
    /// The issuer's role gives no commands of this class.
    RoleForbids,
    /// The mission allows the issuer other commands, not this one.
    NotAllowed,
    /// The suite is weaker than the mission's level asks for.
    SuiteTooWeak,
    /// The envelope has a MAC, and the issuer has no session key.
    NoSessionKey,
    /// The issuer's command key is inside the TPM, and the TPM does not let it be used: its mission is over or stopped, or
    /// there is no answer.
    KeyUnusable,
    /// The signature or MAC does not verify, or is of another kind of key than the issuer's.
    NotAuthentic,
    /// The command claims more integrity than its issuer has.
    IntegrityClaimed,
    /// The issuer or the command has less integrity than the robot or the mission asks for.
    IntegrityTooLow,
    /// The command's labels are above what the robot may read.
    LabelsAboveRobot,
    /// The command's labels are above the mission's.
    LabelsAboveMission,
    /// The robot has no trustworthy time.
    NoClock,
    /// The command is from the future.
    NotYetIssued,
    /// The command is late.
    Expired,
    /// The command would stay valid for longer than any command may.
    ValidityTooLong,
    /// The sequence number was seen, is too old, or is beyond what was reserved.
    Replay(ReplayFault),
    /// The robot holds no attestation lease.
    NoLease,
    /// The command names another lease than the robot's: it was made for another boot.
    WrongLease,
    /// The lease has not begun.
    LeaseNotBegun,
    /// The lease is over: the robot must be appraised again.
    LeaseOver,
    /// The lease does not reach the mission's level.
    LeaseInsufficient,
    /// The command would exceed the mission's greatest speed.
    SafetySpeed,
    /// The command would exceed the mission's greatest rate of turn.
    SafetyTurn,
    /// The command would last longer than the mission allows.
    SafetyDuration,
    /// The command would send the robot out of the mission's bounds.
    SafetyGeofence,
    /// A movement has an argument of unknown meaning or of the wrong type.
    SafetyArgument,
    /// The command policy is against it.
    Policy(PolicyReason),
    /// The command takes two persons, or what a second person gave does not count.
    Second(SecondReason),
    /// The verdict could not be put into the audit log, so it must not take effect.
    LogUnwritable,
    /// The order to suspend or resume the mission could not be written to the robot's disk.
    OrderNotKept,
    /// An emergency stop is in force.
    EmergencyStop,
    /// A stop came between the command's validation and its execution.
    StoppedMeanwhile,
}

/// The codes that are no other type's, for the test that each has its words.
#[cfg(test)]
pub(crate) const CODES: &[&str] = &[
    "envelope-too-large",
    "envelope-malformed",
    "payload-malformed",
    "wrong-robot",
    "mission-unknown",
    "mission-not-begun",
    "mission-over",
    "mission-suspended",
    "issuer-unknown",
    "command-unknown",
    "role-forbids",
    "command-not-allowed",
    "suite-too-weak",
    "no-session-key",
    "key-unusable",
    "not-authentic",
    "integrity-claimed",
    "integrity-too-low",
    "labels-above-robot",
    "labels-above-mission",
    "no-clock",
    "not-yet-issued",
    "expired",
    "validity-too-long",
    "no-lease",
    "wrong-lease",
    "lease-not-begun",
    "lease-over",
    "lease-insufficient",
    "safety-speed",
    "safety-turn",
    "safety-duration",
    "safety-geofence",
    "safety-argument",
    "log-unwritable",
    "order-not-kept",
    "emergency-stop",
    "stopped-meanwhile",
    "replay-used",
    "replay-too-old",
    "replay-not-reserved",
];

impl Reason {
    /// The code, stable across releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "envelope-too-large",
            Self::Envelope(_) => "envelope-malformed",
            Self::Payload(_) => "payload-malformed",
            Self::WrongRobot => "wrong-robot",
            Self::UnknownMission => "mission-unknown",
            Self::MissionNotBegun => "mission-not-begun",
            Self::MissionOver => "mission-over",
            Self::MissionSuspended => "mission-suspended",
            Self::UnknownIssuer => "issuer-unknown",
            Self::UnknownCommand => "command-unknown",
            Self::RoleForbids => "role-forbids",
            Self::NotAllowed => "command-not-allowed",
            Self::SuiteTooWeak => "suite-too-weak",
            Self::NoSessionKey => "no-session-key",
            Self::KeyUnusable => "key-unusable",
            Self::NotAuthentic => "not-authentic",
            Self::IntegrityClaimed => "integrity-claimed",
            Self::IntegrityTooLow => "integrity-too-low",
            Self::LabelsAboveRobot => "labels-above-robot",
            Self::LabelsAboveMission => "labels-above-mission",
            Self::NoClock => "no-clock",
            Self::NotYetIssued => "not-yet-issued",
            Self::Expired => "expired",
            Self::ValidityTooLong => "validity-too-long",
            Self::Replay(fault) => fault.code(),
            Self::NoLease => "no-lease",
            Self::WrongLease => "wrong-lease",
            Self::LeaseNotBegun => "lease-not-begun",
            Self::LeaseOver => "lease-over",
            Self::LeaseInsufficient => "lease-insufficient",
            Self::SafetySpeed => "safety-speed",
            Self::SafetyTurn => "safety-turn",
            Self::SafetyDuration => "safety-duration",
            Self::SafetyGeofence => "safety-geofence",
            Self::SafetyArgument => "safety-argument",
            Self::Policy(reason) => reason.code(),
            Self::Second(reason) => reason.code(),
            Self::LogUnwritable => "log-unwritable",
            Self::OrderNotKept => "order-not-kept",
            Self::EmergencyStop => "emergency-stop",
            Self::StoppedMeanwhile => "stopped-meanwhile",
        }
    }
}

impl From<PolicyReason> for Reason {
    fn from(reason: PolicyReason) -> Self {
        Self::Policy(reason)
    }
}

impl From<SecondReason> for Reason {
    fn from(reason: SecondReason) -> Self {
        Self::Second(reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Envelope(CoseError::Malformed(source)) | Self::Payload(source) => {
                write!(out, "{}: {source}", self.code())
            }
            Self::Envelope(source) => write!(out, "{}: {source}", self.code()),
            Self::Replay(source) => write!(out, "{}: {source}", self.code()),
            _ => out.write_str(self.code()),
        }
    }
}
