//! Enrolment: the authority learns that a robot's keys are in a genuine TPM, and takes its hierarchy authorisations
//! into custody; the robot learns whom to believe.
//!
//! ```text
//! robot                                              authority
//!   EnrolRequest   EK, its certificate, AK, identity ->   checks everything; issues nothing
//!                                  <- EnrolChallenge   a secret that only this EK, holding this AK, recovers; signed
//!   EnrolResponse  proof of the secret, custody      ->   checks the proof, opens custody
//!                                        <- Enrolled   record and trust anchors, signed
//! ```
//!
//! The robot pins the authority's key beforehand, and believes no challenge and no record that it did not sign:
//! otherwise whoever answered first would be given the authorisations.

mod authority;
mod checks;
mod creation;
pub mod custody;
mod messages;
mod robot;

pub use authority::{Admission, Authority, Challenged, Endorsement, EnrolledRobot, Issuer, Proven, Received};
pub(crate) use checks::{ENDORSEMENT_HIERARCHY, device_key, endorsement_key};
pub use checks::{KeyFault, storage_root};
pub use creation::{CreationData, CreationError};
pub use messages::{EnrolChallenge, EnrolRequest, EnrolResponse};
pub use robot::{AwaitingRecord, Credential, Robot, RobotChallenged};

use alcub3_attestation::certify::CertifyError;
use alcub3_command_authority::cose::{CoseError, SignError};
use alcub3_crypto::{CryptoError, EntropyError};
use alcub3_trust_model::canonical::DecodeError;
use alcub3_trust_model::{HardwareTier, RobotId};

use crate::RecordError;

/// Why an enrolment was broken off. Nothing was issued.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// A message is not the one form allowed.
    #[error("enrolment message refused: {0}")]
    Message(#[from] DecodeError),
    /// A signed message is malformed, of another key, or not authentic.
    #[error("enrolment message refused: {0}")]
    Cose(#[from] CoseError),
    /// The record or the anchors were refused.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A key does not have the attributes or the form it must have.
    #[error("the {key} key: {fault}")]
    Key {
        /// Which key.
        key: &'static str,
        /// What is wrong with it.
        fault: KeyFault,
    },
    /// The endorsement key is not the one in the validated certificate.
    #[error("the endorsement key is not the one in the certificate")]
    OtherEndorsementKey,
    /// What vouched for the key is not this request's.
    #[error(
        "what vouches for the endorsement key is neither the certificate of the request nor a pin of the key"
    )]
    Basis,
    /// The TPM made the attestation key in another hierarchy than the endorsement hierarchy.
    #[error("the attestation key is not a primary key of the endorsement hierarchy")]
    NotEndorsementHierarchy,
    /// The hardware record is of another chip.
    #[error("the hardware record names another {0} than the request")]
    OtherHardware(&'static str),
    /// The attestation key's certification of the identity key proves nothing.
    #[error("the identity key's certification: {0}")]
    Certification(#[from] CertifyError),
    /// The certification or the creation data is about another key.
    #[error("the identity key's certification is of another key")]
    OtherIdentity,
    /// The creation data is malformed or not what was certified.
    #[error("the identity key's creation data: {0}")]
    Creation(#[from] CreationError),
    /// The initial attestation key's certification proves nothing.
    #[error("the initial attestation key's certification of the attestation key: {0}")]
    DeviceCertification(#[source] CertifyError),
    /// The initial attestation key certified another key.
    #[error("the initial attestation key certified another key than the robot's attestation key")]
    OtherDevice,
    /// What was found of the robot's origin is not of what it sent.
    #[error("what was found of {0} is not of this request")]
    Origin(&'static str),
    /// A certificate states too long a text.
    #[error(
        "a certificate of the robot's maker states a text of more than {most} bytes: leave the certificate out"
    )]
    OriginText {
        /// The most, in bytes.
        most: usize,
    },
    /// The robot may serve no level.
    #[error(
        "below-every-floor: a {tier} TPM with keys of this strength, its endorsement key included, meets the floor of no level that this authority admits"
    )]
    NoLevel {
        /// The kind of TPM.
        tier: HardwareTier,
    },
    /// The message belongs to another exchange.
    #[error("the message belongs to another exchange: begin the enrolment again")]
    WrongSession,
    /// The robot did not prove that its TPM recovered the secret.
    #[error(
        "the proof is wrong: the endorsement key and the attestation key are not in one TPM, or the request was changed"
    )]
    Proof,
    /// The record is about other keys than the robot sent.
    #[error("the record is about other keys than this robot's")]
    OtherKeys,
    /// The robot is another one.
    #[error("the message is for robot {0}")]
    WrongRobot(RobotId),
    /// Cryptography refused.
    #[error("enrolment: {0}")]
    Crypto(#[from] CryptoError),
    /// Signing failed.
    #[error("enrolment: {0}")]
    Sign(#[from] SignError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}
