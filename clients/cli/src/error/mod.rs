//! Why a command has no answer, and what to do about it: the errors here, the words for programs in `code`, how the process ends
//! in `exit`, the remedies in `remedy`.

mod code;
mod exit;
mod remedy;

use crate::authority_vault::VaultError;
use alcub3_agent::AgentError;
use alcub3_attestation::checkquote::PublicKeyError;
use alcub3_attestation::event_log::EventLogError;
use alcub3_crypto::CryptoError;
use alcub3_fleet_protocol::enrolment::KeyFault;
use alcub3_server::{AttestationError, RobotError};
use alcub3_tpm::TpmError;
use alcub3_trust_model::OperatorId;
use alcub3_trust_model::canonical::DecodeError;
use alcub3_trust_model::nv_map::NvMapError;
use std::error::Error;
use std::path::PathBuf;

/// Why a command has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The command line was not understood.
    #[error("{message}")]
    Usage {
        /// clap's message.
        message: String,
    },
    /// Neither a home folder nor XDG_STATE_HOME is known.
    #[error("there is no folder for state: neither XDG_STATE_HOME nor HOME is an absolute path")]
    NoStateFolder,
    /// An algorithm did not give its known answer.
    #[error("the cryptography of this program is broken: {source}")]
    SelfTest {
        /// Which.
        source: alcub3_crypto::SelfTestError,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file is too long to be what it should be.
    #[error("{} has more than {limit} bytes, too many for {what}", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// Bytes allowed.
        limit: u64,
    },
    /// A file is no event log.
    #[error("{}: {source}", path.display())]
    EventLog {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: EventLogError,
    },
    /// A file given to `ima`.
    #[error(transparent)]
    Ima(#[from] crate::commands::ImaFileError),
    /// The TPM.
    #[error("{0}")]
    Tpm(#[source] TpmError),
    /// A file is none of `tpm seal`.
    #[error("{} is no file of `alcub3 tpm seal`: {source}", path.display())]
    SealedFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: DecodeError,
    },
    /// A file is no public key.
    #[error("{}", path.display())]
    PublicKey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: PublicKeyError,
    },
    /// The attestation key's hash has no NV map.
    #[error("the attestation key is of a kind no robot has: {source}")]
    NvMap {
        /// What is wrong.
        source: NvMapError,
    },
    /// A key file would be overwritten.
    #[error("{} exists already", path.display())]
    KeyExists {
        /// The file.
        path: PathBuf,
    },
    /// Others may read a private key.
    #[error("{} has mode {mode:04o}: others than its owner may read this private key", path.display())]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file is not the PEM it should be.
    #[error("{} is not PEM with one {what} block", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// The block's label.
        what: &'static str,
    },
    /// A key in a file cannot be used, or not be made.
    #[error("the key {}: {source}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: CryptoError,
    },
    /// The authority's folder, keys or operators.
    #[error(transparent)]
    Authority(#[from] alcub3_server::AuthorityError),
    /// A person could not be registered.
    #[error(transparent)]
    Operator(#[from] alcub3_server::OperatorError),
    /// What the authority knows of a robot.
    #[error(transparent)]
    RobotRecords(#[from] RobotError),
    /// No judgement could be made.
    #[error(transparent)]
    Attestation(#[from] AttestationError),
    /// Offline evidence was not judged.
    #[error("the offline evidence is refused: {0}")]
    Offline(#[from] alcub3_server::OfflineRefusal),
    /// A robot whose root of trust is no TPM was not enrolled or not judged.
    #[error(transparent)]
    Platform(#[from] alcub3_server::PlatformRefusal),
    /// The agent that holds the robot.
    #[error(transparent)]
    AgentCall(#[from] crate::agent_client::AgentCallError),
    /// The agent does not serve.
    #[error(transparent)]
    Daemon(#[from] alcub3_agent::daemon::DaemonError),
    /// The agent's configuration.
    #[error(transparent)]
    DaemonConfig(#[from] alcub3_agent::daemon::ConfigError),
    /// References of such a robot do not read.
    #[error("{}: {source}", path.display())]
    PlatformReferences {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A mission was not approved.
    #[error("the mission is refused: {0}")]
    Mission(#[from] alcub3_server::MissionApprovalError),
    /// A rearm was not approved.
    #[error("the rearm is refused: {0}")]
    Rearm(#[from] alcub3_server::RearmApprovalError),
    /// Replaced parts were not approved.
    #[error(transparent)]
    Replacement(#[from] alcub3_server::ReplacementRefusal),
    /// Another change was named than the request asks for.
    #[error(
        "the request asks for another change than the one named with --change; look at it again with `alcub3 authority parts \
         review`"
    )]
    OtherChange,
    /// Another parent was named than the file holds.
    #[error(
        "{} holds the storage key {found}, not the one named with {option}: look again at what it is, where you were told its name",
        path.display()
    )]
    OtherParent {
        /// The file.
        path: PathBuf,
        /// The option.
        option: &'static str,
        /// The Name of what it holds.
        found: String,
    },
    /// A storage key that is none of a TPM's.
    #[error("{}: the storage key: {source}; nothing is wrapped to it", path.display())]
    NoStorageKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyFault,
    },
    /// A change that needs a vote, without one.
    #[error(
        "this change takes one approver's vote; give --change as `alcub3 authority parts review` showed it, and --approve"
    )]
    NoVote,
    /// A purge's receipt was not judged.
    #[error(transparent)]
    PurgeReceipt(#[from] alcub3_server::PurgeReceiptError),
    /// A purge was not approved.
    #[error("the purge is refused: {0}")]
    Purge(#[from] alcub3_server::PurgeApprovalError),
    /// A duplication was not approved.
    #[error("the duplication is refused: {0}")]
    Duplication(#[from] alcub3_server::BackupError),
    /// A name was not released.
    #[error("the release of the name is refused: {0}")]
    Succession(#[from] alcub3_server::SuccessionError),
    /// An endorsement key was not pinned.
    #[error(transparent)]
    EndorsementPin(#[from] alcub3_server::PinsError),
    /// A person's chip was not admitted.
    #[error("the chip is refused: {0}")]
    Chip(#[from] alcub3_server::ChipRefusal),
    /// A message about a person's chip, or its admission, is refused.
    #[error("{}: {source}", path.display())]
    ChipMessage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: alcub3_fleet_protocol::chip::ChipError,
    },
    /// A message of the authority to a commander is refused.
    #[error("{}: {source}", path.display())]
    CommanderMessage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: alcub3_fleet_protocol::commander::CommanderError,
    },
    /// A file is no key that a commander took.
    #[error("{} is no command key of `alcub3 commander take`: {source}", path.display())]
    HeldKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// A shared key speaks for somebody else.
    #[error("the shared key speaks for {holder}, and the command is to be of {issuer}")]
    OtherIssuer {
        /// Who is to command.
        issuer: OperatorId,
        /// Whose key it is.
        holder: OperatorId,
    },
    /// A mission's secret was not shared.
    #[error("the shared key is refused: {0}")]
    SharedKey(#[from] alcub3_server::SharedKeyApprovalError),
    /// A policy was not signed.
    #[error("the policy is refused: {0}")]
    LevelPolicy(#[from] alcub3_server::LevelPolicyIssueError),
    /// A command policy is none.
    #[error("{}: {source}", path.display())]
    CommandPolicyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<alcub3_command_authority::policy::PolicyDocumentError>,
    },
    /// A signed command policy is not its authority's, or not newer.
    #[error(transparent)]
    CommandPolicyOrder(#[from] alcub3_command_authority::policy::PolicyOrderError),
    /// A command policy was not issued.
    #[error(transparent)]
    CommandPolicy(#[from] alcub3_server::CommandPolicyIssueError),
    /// A line is no recorded command.
    #[error("{} line {line} is no recorded command: {source}; record commands with `alcub3 command validate --record FILE`", path.display())]
    Recorded {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// No policy bundle was issued.
    #[error(transparent)]
    PolicyBundle(#[from] alcub3_server::BundleIssueError),
    /// An appraisal policy is none.
    #[error("{}: {source}", path.display())]
    AppraisalPolicyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<alcub3_attestation::appraisal::AppraisalPolicyError>,
    },
    /// An appraisal policy was not taken.
    #[error(transparent)]
    AppraisalPolicy(#[from] alcub3_server::AppraisalPolicyIssueError),
    /// A policy bundle is not followed.
    #[error(transparent)]
    Bundle(#[from] alcub3_fleet_protocol::policy_bundle::PolicyBundleError),
    /// A policy file is none.
    #[error("the policy {}: {source}", path.display())]
    PolicyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<crate::commands::PolicyFileError>,
    },
    /// A file of a backup is not readable.
    #[error("{} is no file of a backup of this kind: {source}", path.display())]
    Backup {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// A storage key stands alone where it is to be known whose it is.
    #[error("{} is a storage key, and nothing says in which TPM it is, if in any", path.display())]
    BareStorageKey {
        /// The file.
        path: PathBuf,
    },
    /// A file is no storage key.
    #[error("{} is no storage key: {source}", path.display())]
    StorageKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: alcub3_crypto::tpm::StructureError,
    },
    /// A receipt is not readable.
    #[error("the receipt is not readable: {source}")]
    Receipt {
        /// What is wrong with it.
        source: DecodeError,
    },
    /// Nothing was named that an auditor's bundle could be checked against.
    #[error(
        "a bundle proves itself to whoever knows a key: name the robot's attestation key (--ak) or the log's (--key)"
    )]
    NoAuditKey,
    /// A checkpoint is refused.
    #[error(transparent)]
    AuditHead(#[from] alcub3_server::AuditHeadRefusal),
    /// The approval keys.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The robot.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// An adapter's session ended, or never began.
    #[error(transparent)]
    Adapter(alcub3_agent::adapter_socket::ClientError),
    /// The robot's keys.
    #[error(transparent)]
    Keys(#[from] alcub3_keys::KeysError),
    /// The robot's state folder.
    #[error(transparent)]
    State(#[from] alcub3_keys::StateError),
    /// A command could not be signed.
    #[error("the command cannot be signed: {0}")]
    SignCommand(#[from] alcub3_command_authority::cose::SignError),
    /// A simulator's certificate could not be made.
    #[error("the simulator's certificate: {0}")]
    Testkit(#[source] alcub3_testkit::TestkitError),
    /// A real chip would have been given a simulator's certificate.
    #[error("this is no simulator, and only a simulator may be given a simulator's certificate")]
    NotASimulator,
    /// Cryptography in software.
    #[error(transparent)]
    Crypto(CryptoError),
    /// An identifier.
    #[error(transparent)]
    Id(alcub3_trust_model::IdError),
    /// A role, command or pattern.
    #[error(transparent)]
    Role(alcub3_command_authority::RoleError),
    /// A command's argument.
    #[error(transparent)]
    Argument(alcub3_command_authority::ArgumentError),
    /// A part of the robot.
    #[error(transparent)]
    Hardware(alcub3_trust_model::hardware::PartError),
    /// A certificate does not read.
    #[error(transparent)]
    Certificate(alcub3_fleet_protocol::certificate::CertificateError),
    /// The robot has no certificate yet.
    #[error("the robot has no certificate yet; run `alcub3 identity create` first")]
    NoCertificate,
    /// No reference values could be made of a log.
    #[error("no reference values can be made of the event log: {0}")]
    Golden(#[source] alcub3_attestation::appraisal::GoldenError),
    /// What is known of the robot's parts is not of the documented form.
    #[error("{}: {source}", path.display())]
    Parts {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A digest of a part that is none.
    #[error("{}: {text:?} is no digest; write it as sha256:HEX", path.display())]
    PartDigest {
        /// The file.
        path: PathBuf,
        /// The text.
        text: String,
    },
    /// A message is malformed.
    #[error(transparent)]
    Message {
        /// What is wrong.
        source: DecodeError,
    },
    /// The system gave no temporary folder.
    #[error("no temporary folder could be made: {0}")]
    Folder(#[source] std::io::Error),
    /// Something that had to hold in the tour did not.
    #[error("the tour ends here, because something did not hold: {0}")]
    Demo(&'static str),
    /// A robot that should be trusted is not.
    #[error("the robot is not trusted: {findings}")]
    Untrusted {
        /// The reasons' codes.
        findings: String,
    },
    /// Not two approvers.
    #[error("an authority is made with exactly two approvers, and {given} were given")]
    Approvers {
        /// How many were given.
        given: usize,
    },
    /// One approver twice.
    #[error("the two approvers have one name or one key")]
    SameApprover,
    /// Neither a log nor a document was named.
    #[error("nothing was named to read")]
    NoInput,
    /// Reference values do not read.
    #[error("{}: {source}", path.display())]
    Reference {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: alcub3_attestation::appraisal::ReferenceError,
    },
    /// A CoRIM does not read, or cannot be written.
    #[error("{}: {source}", path.display())]
    Corim {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<alcub3_attestation::corim::CorimError>,
    },
    /// A file holds no usable root.
    #[error("{}: {reason}", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A word that is no argument.
    #[error("{text:?} is no argument of a command")]
    NotAnArgument {
        /// The word.
        text: String,
    },
    /// An answer could not be written as JSON.
    #[error("the answer cannot be written as JSON: {source}")]
    Json {
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl CliError {
    /// What clap did not understand, without its colours and its list of usages.
    pub(crate) fn usage(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let first = text.split("\n\n").next().unwrap_or_default();
        let message = first.strip_prefix("error: ").unwrap_or(first).split_whitespace();
        Self::Usage {
            message: message.collect::<Vec<_>>().join(" "),
        }
    }
}

/// The message with those of its sources that it does not repeat itself.
pub(crate) fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}
