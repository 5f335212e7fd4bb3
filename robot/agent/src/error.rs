//! What can go wrong with a robot at work.

use crate::provision::LinkError;
use alcub3_command_authority::MissionError;
use alcub3_fleet_protocol::extension::ExtensionError;
use alcub3_fleet_protocol::hand_over::HandOverError;
use alcub3_keys::{KeysError, StateError};
use alcub3_security_hal::{
    CommandGateError, JournalError, PortError, RearmRefusal, RearmTrustError, RecoverError,
};
use alcub3_tpm::TpmError;
use alcub3_trust_model::canonical::DecodeError;

/// Why the agent could not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The keys or the chip.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The chip.
    #[error(transparent)]
    Tpm(#[from] TpmError),
    /// The state folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// A file of the state folder is not readable.
    #[error("{name} in the state folder is not readable: {source}; restore the folder or provision again")]
    Record {
        /// The file.
        name: &'static str,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// What is known of the robot cannot be part of its state.
    #[error("the robot's state cannot be attested: {0}; look at what its platform says of its parts")]
    Surroundings(#[source] DecodeError),
    /// The enrolment exchange failed.
    #[error("enrolment: {0}")]
    Enrolment(#[from] alcub3_fleet_protocol::enrolment::EnrolError),
    /// A part cannot be recorded.
    #[error("hardware inventory: {0}")]
    Part(#[from] alcub3_trust_model::hardware::PartError),
    /// The machine's parts cannot be read.
    #[error(
        "hardware inventory: {path}: {source}; run as a user who may read it, or name the machine's root"
    )]
    Inventory {
        /// The file or folder.
        path: std::path::PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A part that is to be gone was never declared.
    #[error("no {class} {slot:?} was declared for this robot; see `alcub3 identity parts show`")]
    NotDeclared {
        /// The class.
        class: &'static str,
        /// The slot.
        slot: String,
    },
    /// The hardware register holds something that the robot cannot replay to the authority.
    #[error(
        "the hardware register held something before that the state folder does not explain, so that no one can be shown what \
         the chip measured; power the robot off and on, and ask again"
    )]
    RegisterUnexplained,
    /// A certificate was not granted as asked.
    #[error(transparent)]
    Certificate(#[from] alcub3_fleet_protocol::certificate::CertificateError),
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The authority could not be reached, or refused.
    #[error("the authority: {0}")]
    Link(#[from] LinkError),
    /// The stop journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Unfinished stops could not be completed.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The rearm key is not one of two persons.
    #[error(transparent)]
    RearmTrust(#[from] RearmTrustError),
    /// A rearm was refused.
    #[error(transparent)]
    Rearm(#[from] RearmRefusal),
    /// The authority's order to purge was refused.
    #[error(transparent)]
    Purge(#[from] alcub3_fleet_protocol::purge::PurgeError),
    /// The robot is not stopped, or its stop has no receipt.
    #[error("a robot is purged only after a stop whose receipt it holds: stop it first")]
    NotStopped,
    /// The authority's rearm record was refused.
    #[error(transparent)]
    RearmRecord(#[from] alcub3_fleet_protocol::rearm::RearmError),
    /// The command gate refused.
    #[error(transparent)]
    Gate(#[from] CommandGateError),
    /// A mission token was refused.
    #[error("the mission token: {0}")]
    Mission(#[from] MissionError),
    /// A mission's end is not moved.
    #[error("the mission's end is not moved: {0}")]
    Extension(#[from] ExtensionError),
    /// A mission is not handed over.
    #[error("the mission is not handed over: {0}")]
    HandOver(#[from] HandOverError),
    /// A shared key was refused.
    #[error("the shared key: {0}")]
    SharedKey(#[from] alcub3_fleet_protocol::shared_key::SharedKeyError),
    /// Another robot is not asked or judged.
    #[error(transparent)]
    Peer(#[from] crate::peers::PeerError),
    /// Offline evidence is not made, sent or removed.
    #[error(transparent)]
    Offline(#[from] crate::offline::OfflineError),
    /// The robot is not open yet.
    #[error("the robot is not open yet")]
    NotOpen,
    /// A lease was refused.
    #[error("the lease: {0}")]
    Lease(#[from] alcub3_command_authority::LeaseError),
    /// A message of the authority is malformed.
    #[error("the authority's message: {0}")]
    Message(#[from] DecodeError),
    /// A structure of the authority or the chip is malformed.
    #[error("{what}: {source}")]
    Structure {
        /// Which.
        what: &'static str,
        /// Where.
        source: alcub3_crypto::tpm::StructureError,
    },
    /// The approval is for something else than was asked.
    #[error("the authority's approval is for something else: {what}; ask again")]
    OtherApproval {
        /// What differs.
        what: &'static str,
    },
    /// An event log of the platform is not readable.
    #[error("the boot log {path}: {source}; give the log with --eventlog, or run as a user who may read it")]
    BootLog {
        /// The file.
        path: std::path::PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The kernel's list of what was measured is not readable.
    #[error(
        "the measurement list {path}: {source}; give the list with --ima, or run as a user who may read it"
    )]
    RuntimeLog {
        /// The file.
        path: std::path::PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The PCRs of our own hold something the agent's log does not explain.
    #[error(
        "PCR {pcr} holds something the agent's log does not explain; attestation will say untrusted until the next boot"
    )]
    UnexplainedPcr {
        /// Which.
        pcr: u8,
    },
    /// The audit log could not be brought back to its last whole entry.
    #[error(
        "the audit log is damaged by a failed write and takes no more entries; free space on the disk and start again"
    )]
    AuditBroken,
    /// More waits for the disk than may.
    #[error("the audit log is further behind than it may be; what is not on record takes no effect")]
    AuditFull,
    /// The file of entries does not hold what was written to it.
    #[error(
        "the audit log's entries from {from} to {before} (exclusive) were changed on the disk since they were written; keep the disk as \
         it is and look at it with `alcub3 audit verify`"
    )]
    AuditChanged {
        /// The first that may be another.
        from: u64,
        /// The one behind the last.
        before: u64,
    },
    /// Files of the log's folder are missing that nothing else can replace.
    #[error(
        "the audit log lacks tiles or bundles of its first {before} entries; restore the folder `audit` of the state folder from a copy"
    )]
    AuditTiles {
        /// Of which entries.
        before: u64,
    },
    /// No checkpoint was made yet.
    #[error("the audit log has no checkpoint yet; make one with `alcub3 audit checkpoint`")]
    NoCheckpoint,
    /// The evidence cannot be built.
    #[error("the evidence cannot be built: {what}")]
    Evidence {
        /// Why.
        what: &'static str,
    },
    /// The operating system gave no threads or randomness.
    #[error("the operating system: {0}")]
    System(#[from] std::io::Error),
    /// Something the stop depends on failed.
    #[error("{0}")]
    Port(PortError),
}

impl AgentError {
    /// The reason code of a refusal, stable across releases; none for failures.
    pub fn reason_code(&self) -> Option<&'static str> {
        match self {
            Self::Keys(error) => error.refusal(),
            Self::OtherApproval { .. } => Some("other-approval"),
            Self::Mission(error) => Some(error.code()),
            Self::Lease(error) => Some(error.code()),
            Self::Peer(error) => Some(error.code()),
            Self::Offline(error) => Some(error.code()),
            Self::Extension(error) => Some(error.code()),
            Self::HandOver(error) => Some(error.code()),
            Self::SharedKey(_) => Some("shared-key"),
            // The chip or the software failed: nothing was judged.
            Self::Rearm(RearmRefusal::Epochs(_) | RearmRefusal::Policy(_)) => None,
            Self::Rearm(_) | Self::RearmRecord(_) => Some("rearm-refused"),
            Self::Purge(_) => Some("purge-refused"),
            Self::NotStopped => Some("not-stopped"),
            Self::Message(_) => Some("malformed-message"),
            Self::RegisterUnexplained => Some("hardware-not-measured"),
            _ => None,
        }
    }
}
