//! A part of a robot was replaced: the robot proves what it found, one person approves that very change, and the authority
//! issues the robot's enrolment anew, with the binding to the new hardware and nothing else changed.
//!
//! ```text
//! robot                                               authority
//!                                     <- session       an exchange is opened, at a person's word
//!   ReplacementRequest  record found, its register  ->  what differs is one person's to approve
//!                                                       one approver signs this Replacement
//!                         <- ReplacementGrant           enrolment; the endorsement authorisation, sealed
//! ```
//!
//! The binding is in the creation data of the initial device key, and only TPM2_CreatePrimary writes such data. That takes the
//! endorsement authorisation, which the authority holds: it leaves custody once a person has approved, sealed to the chip.
//! How the key came to be is proven after that, in the exchange for its certificate, as that of every device key is.

mod grant;
mod request;

pub use grant::{ReplacementGrant, VerifiedReplacement};
pub use request::{MAX_MEASURED, ProvenHardware, ReplacementRequest, replacement_binding};

use alcub3_attestation::certify::CertifyError;
use alcub3_command_authority::cose::{CoseError, SignError};
use alcub3_crypto::{CryptoError, Digest, EntropyError};
use alcub3_trust_model::canonical::{DecodeError, Encoder};
use alcub3_trust_model::hardware::{Difference, HardwareReason};
use alcub3_trust_model::{RobotId, SessionId, domain};

use crate::enrolment::KeyFault;
use crate::sealed::{RootError, SealError};
use crate::{CounterError, RecordError};

const VERSION: u64 = 1;

/// The change of a robot's hardware record, as one person approves it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Replacement {
    /// The exchange.
    pub session: SessionId,
    /// The robot.
    pub robot: RobotId,
    /// The binding of the record until now.
    pub before: Digest,
    /// The binding of the record that takes its place.
    pub after: Digest,
    /// The other robots whose records name one of the parts that come in, ascending: whoever approves has seen it.
    pub elsewhere: Vec<RobotId>,
}

impl Replacement {
    /// What the person signs.
    pub fn message(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::REPLACEMENT, VERSION, 5);
        out.u64(2).bytes(self.session.as_bytes());
        out.u64(3).text(self.robot.as_str());
        out.u64(4).digest(&self.before).u64(5).digest(&self.after);
        out.u64(6).array(self.elsewhere.len());
        for robot in &self.elsewhere {
            out.text(robot.as_str());
        }
        out.finish()
    }
}

/// Why replaced parts were not taken into a robot's record.
#[derive(Debug, thiserror::Error)]
pub enum ReplacementError {
    /// A message is not the one form allowed.
    #[error("replacement message refused: {0}")]
    Message(#[from] DecodeError),
    /// A signed message is malformed, of another key, or not authentic.
    #[error("replacement message refused: {0}")]
    Cose(#[from] CoseError),
    /// The message is of another robot or another exchange.
    #[error("the replacement message is of another {0}; begin again")]
    Other(&'static str),
    /// The register's certification proves nothing.
    #[error("the hardware register: {0}; ask again on the robot")]
    Register(#[from] CounterError),
    /// What was measured does not lead to what the register holds.
    #[error(
        "the hardware register holds something else than what the robot says it measured; start the robot's chip anew (power \
         it off and on), and ask again"
    )]
    Replay,
    /// The record is not what was measured last.
    #[error("the hardware record is not the one that was measured last; ask again on the robot")]
    NotMeasured,
    /// The storage root is not one.
    #[error("the storage root: {0}")]
    StorageRoot(#[from] KeyFault),
    /// The attestation key did not certify the storage root.
    #[error("the storage root's certification: {0}")]
    Certification(#[from] CertifyError),
    /// A part that makes the robot what it is differs.
    #[error(
        "{}: {} {:?} is not what was enrolled, and that makes it another robot; put the part back, or enrol it as another robot",
        .0.reason.code(), .0.class.name(), .0.slot
    )]
    AnotherRobot(Box<Difference>),
    /// There is nothing to approve.
    #[error(
        "the parts that the robot found are those on record: there is nothing to approve; where a declared part was \
         replaced, ask with --part"
    )]
    NoDifference,
    /// The enrolment was refused.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The enrolment differs in more than the binding to the hardware.
    #[error(
        "the authority's enrolment differs from this robot's in its {0}, and a replaced part changes nothing but the binding \
         to the hardware; ask again"
    )]
    Differs(&'static str),
    /// The robot has this enrolment already.
    #[error("this answer was taken already; there is nothing left to do but `alcub3 identity create`")]
    AlreadyTaken,
    /// Cryptography refused.
    #[error("replacement: {0}")]
    Crypto(#[from] CryptoError),
    /// Signing failed.
    #[error("replacement: {0}")]
    Sign(#[from] SignError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

impl ReplacementError {
    /// The reason code of a refusal, stable across releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::AnotherRobot(difference) => difference.reason.code(),
            Self::NoDifference | Self::AlreadyTaken => "hardware-same",
            Self::Register(_) | Self::Replay | Self::NotMeasured => "hardware-not-measured",
            Self::StorageRoot(_) | Self::Certification(_) => "other-chip",
            Self::Other(_) | Self::Differs(_) => "other-approval",
            _ => "replacement-refused",
        }
    }

    /// The part that makes it another robot, where that is the reason.
    pub fn another_robot(&self) -> Option<HardwareReason> {
        match self {
            Self::AnotherRobot(difference) => Some(difference.reason),
            _ => None,
        }
    }
}

impl From<RootError> for ReplacementError {
    fn from(error: RootError) -> Self {
        match error {
            RootError::Key(fault) => Self::StorageRoot(fault),
            RootError::Certification(source) => Self::Certification(source),
            RootError::OtherKey => Self::Other("storage root"),
        }
    }
}

impl From<SealError> for ReplacementError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Crypto(source) => Self::Crypto(source),
            SealError::Entropy(source) => Self::Entropy(source),
        }
    }
}
