//! The word for programs that each error has.

use super::CliError;
use crate::agent_client::AgentCallError;
use alcub3_agent::AgentError;
use alcub3_keys::KeysError;
use alcub3_tpm::TpmError;
use alcub3_tpm::transport::TransportError;

impl CliError {
    /// A word for programs.
    pub(crate) fn code(&self) -> &str {
        if let Some(error) = self.tpm_error() {
            return tpm_code(error);
        }
        if let Some(refusal) = self.key_refusal() {
            return refusal.code();
        }
        match self {
            Self::Usage { .. } => "usage",
            Self::AgentCall(AgentCallError::Refused { code, .. }) => code,
            Self::AgentCall(AgentCallError::Unreachable { .. }) => "agent-absent",
            Self::AgentCall(AgentCallError::Misunderstood { .. }) => "agent",
            Self::Daemon(_) => "agent",
            Self::DaemonConfig(_) => "bad-configuration",
            Self::NoStateFolder => "no-state-folder",
            Self::SelfTest { .. } => "self-test",
            Self::Adapter(_) => "adapter-session",
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
            | Self::NoAuditKey
            | Self::NoVote
            | Self::Agent(AgentError::NotDeclared { .. })
            | Self::OtherIssuer { .. }
            | Self::NotAnArgument { .. } => "usage",
            Self::Reference { .. }
            | Self::Corim { .. }
            | Self::PlatformReferences { .. }
            | Self::Root { .. } => "bad-value",
            Self::Authority(_) => "authority",
            Self::Operator(_)
            | Self::RobotRecords(_)
            | Self::Attestation(_)
            | Self::AuditHead(_)
            | Self::Platform(_)
            | Self::Mission(_)
            | Self::Rearm(_)
            | Self::Replacement(_)
            | Self::Purge(_)
            | Self::PurgeReceipt(_)
            | Self::Duplication(_)
            | Self::Succession(_)
            | Self::Chip(_)
            | Self::EndorsementPin(_)
            | Self::SharedKey(_)
            | Self::Offline(_)
            | Self::PolicyBundle(_)
            | Self::LevelPolicy(_)
            | Self::CommandPolicy(_)
            | Self::AppraisalPolicy(_) => self.authority_code("authority"),
            Self::OtherChange => "other-change",
            Self::OtherParent { .. } => "other-recovery-parent",
            Self::NoStorageKey { .. } => "duplication-refused",
            Self::Receipt { .. } => "bad-receipt",
            Self::BareStorageKey { .. } => "duplication-refused",
            Self::ChipMessage { .. } => "chip-refused",
            Self::Keys(KeysError::Recovery(_)) | Self::Agent(AgentError::Keys(KeysError::Recovery(_))) => {
                "recovery-refused"
            }
            Self::CommanderMessage { .. } => "commander-refused",
            Self::HeldKey { .. } => "bad-key",
            Self::Keys(KeysError::OtherCommander) => "other-tpm",
            Self::Bundle(error) => error.code(),
            Self::CommandPolicyOrder(error) => error.code(),
            Self::Recorded { .. } => "bad-value",
            Self::AppraisalPolicyFile { .. }
            | Self::CommandPolicyFile { .. }
            | Self::PolicyFile { .. }
            | Self::Keys(KeysError::LevelPolicy(_))
            | Self::Agent(AgentError::Keys(KeysError::LevelPolicy(_))) => "bad-policy",
            Self::Backup { .. } | Self::StorageKey { .. } => "bad-backup",
            Self::Vault(_) => "authority-tpm",
            Self::Agent(AgentError::Link(_)) => self.authority_code("enrolment-refused"),
            Self::Agent(error) => error.reason_code().unwrap_or("robot"),
            Self::Keys(KeysError::BelowFloor(below)) => below.code(),
            Self::Keys(KeysError::Stopped) => "emergency-stop",
            Self::Keys(_) | Self::State(_) => "robot",
            Self::Certificate(_) => "bad-certificate",
            Self::NoCertificate => "no-certificate",
            Self::SignCommand(_) | Self::Crypto(_) => "cryptography",
            Self::Testkit(_) | Self::NotASimulator => "simulator",
            Self::Id(_)
            | Self::Role(_)
            | Self::Argument(_)
            | Self::Hardware(_)
            | Self::Parts { .. }
            | Self::PartDigest { .. }
            | Self::Message { .. } => "bad-value",
            Self::Golden(_) => "bad-event-log",
            Self::Folder(_) => "no-temporary-folder",
            Self::Demo(_) => "not-proven",
            Self::Untrusted { .. } => "untrusted",
        }
    }

    /// The reason code of the authority; `otherwise` where it gave none.
    fn authority_code(&self, otherwise: &'static str) -> &'static str {
        self.authority_refusal()
            .map_or(otherwise, |refusal| refusal.code())
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
