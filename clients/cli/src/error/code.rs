//! The word for programs that each error has.

use super::CliError;
use alcub3_agent::AgentError;
use alcub3_keys::KeysError;
use alcub3_tpm::TpmError;
use alcub3_tpm::transport::TransportError;

impl CliError {
    /// A word for programs.
    pub(crate) fn code(&self) -> &'static str {
        if let Some(error) = self.tpm_error() {
            return tpm_code(error);
        }
        if let Some(refusal) = self.key_refusal() {
            return refusal.code();
        }
        match self {
            Self::Usage { .. } => "usage",
            Self::NoStateFolder => "no-state-folder",
            Self::SelfTest { .. } => "self-test",
            Self::Read { .. } => "unreadable-file",
            Self::Write { .. } => "unwritable-file",
            Self::TooLong { .. } => "file-too-long",
            Self::EventLog { .. } => "bad-event-log",
            Self::Ima(error) => error.code(),
            Self::Tpm(_) => "tpm",
            Self::SealedFile { .. } => "bad-sealed-file",
            Self::PublicKey { .. } | Self::NvMap { .. } | Self::NotPem { .. } | Self::KeyFile { .. } => {
                "bad-key"
            }
            Self::KeyExists { .. } => "key-exists",
            Self::KeyExposed { .. } => "key-exposed",
            Self::Json { .. } => "output",
            Self::Approvers { .. }
            | Self::SameApprover
            | Self::NoInput
            | Self::NoVote
            | Self::Agent(AgentError::NotDeclared { .. })
            | Self::OtherIssuer { .. }
            | Self::NotAnArgument { .. } => "usage",
            Self::Reference { .. } | Self::Root { .. } | Self::Token { .. } => "bad-value",
            Self::Authority(_) | Self::Operator(_) | Self::RobotRecords(_) => "authority",
            Self::Attestation(_) => "attestation",
            Self::Mission(_) => "mission-refused",
            Self::Rearm(_) => "rearm-refused",
            Self::Replacement(refusal) => refusal.code(),
            Self::OtherChange => "other-change",
            Self::Agent(
                error @ (AgentError::RegisterUnexplained | AgentError::Keys(KeysError::Replacement(_))),
            ) => error.reason_code().unwrap_or("replacement-refused"),
            Self::Purge(_) | Self::PurgeReceipt(_) => "purge-refused",
            Self::Receipt { .. } => "bad-receipt",
            Self::Duplication(_) | Self::BareStorageKey { .. } => "duplication-refused",
            Self::Succession(_) => "succession-refused",
            Self::Chip(_) | Self::ChipMessage { .. } => "chip-refused",
            Self::Keys(KeysError::Recovery(_)) | Self::Agent(AgentError::Keys(KeysError::Recovery(_))) => {
                "recovery-refused"
            }
            Self::CommanderMessage { .. } => "commander-refused",
            Self::HeldKey { .. } => "bad-key",
            Self::SharedKey(_) => "shared-key-refused",
            Self::Keys(KeysError::OtherCommander) => "other-tpm",
            Self::LevelPolicy(_) | Self::PolicyFile { .. } => "bad-policy",
            Self::Backup { .. } | Self::StorageKey { .. } => "bad-backup",
            Self::Vault(_) => "authority-tpm",
            Self::Agent(AgentError::Link(_)) => "enrolment-refused",
            Self::Agent(_) | Self::Keys(_) | Self::State(_) => "robot",
            Self::Certificate(_) => "bad-certificate",
            Self::NoCertificate => "no-certificate",
            Self::SignCommand(_) | Self::Crypto(_) => "cryptography",
            Self::Testkit(_) | Self::NotASimulator => "simulator",
            Self::Id(_) | Self::Role(_) | Self::Argument(_) | Self::Hardware(_) | Self::Message { .. } => {
                "bad-value"
            }
            Self::Golden(_) => "bad-event-log",
            Self::Folder(_) => "no-temporary-folder",
            Self::Demo(_) => "not-proven",
            Self::Untrusted { .. } => "untrusted",
        }
    }
}

fn tpm_code(error: &TpmError) -> &'static str {
    match error {
        TpmError::Open(error) | TpmError::Transport { source: error, .. } => transport_code(error),
        TpmError::Refused { .. } => "tpm-refused",
        TpmError::Malformed { .. } | TpmError::Forged { .. } => "tpm-not-trusted",
        TpmError::Unsupported { .. } => "tpm-lacks-it",
        _ => "tpm",
    }
}

fn transport_code(error: &TransportError) -> &'static str {
    match error {
        TransportError::DeviceAbsent { .. } => "tpm-absent",
        TransportError::PermissionDenied { .. } => "tpm-permission",
        TransportError::DeviceBusy { .. } | TransportError::StateLocked { .. } => "tpm-busy",
        TransportError::SwtpmMissing => "swtpm-missing",
        _ => "tpm-unavailable",
    }
}
