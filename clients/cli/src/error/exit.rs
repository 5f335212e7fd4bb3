//! How the process ends with each error.

use super::CliError;
use crate::authority_vault::VaultError;
use crate::exit::Exit;
use alcub3_agent::AgentError;
use alcub3_keys::{KeyRefusal, KeysError};
use alcub3_tpm::TpmError;

impl CliError {
    /// How the process ends.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. }
            | Self::Approvers { .. }
            | Self::SameApprover
            | Self::NoInput
            | Self::NoVote
            | Self::OtherIssuer { .. }
            | Self::Agent(AgentError::NotDeclared { .. })
            | Self::NotAnArgument { .. } => Exit::Usage,
            _ if self.tpm_error().is_some_and(is_unavailable) => Exit::Unavailable,
            Self::Demo(_) | Self::Untrusted { .. } | Self::Mission(_) | Self::Rearm(_) | Self::Purge(_) => {
                Exit::No
            }
            Self::Chip(_)
            | Self::ChipMessage { .. }
            | Self::BareStorageKey { .. }
            | Self::CommanderMessage { .. }
            | Self::SharedKey(_) => Exit::No,
            Self::Replacement(_)
            | Self::OtherChange
            | Self::Agent(AgentError::RegisterUnexplained | AgentError::Keys(KeysError::Replacement(_))) => {
                Exit::No
            }
            Self::Duplication(_)
            | Self::Succession(_)
            | Self::Keys(KeysError::Recovery(_))
            | Self::Agent(AgentError::Keys(KeysError::Recovery(_))) => Exit::No,
            Self::PolicyFile { .. }
            | Self::LevelPolicy(_)
            | Self::Keys(KeysError::LevelPolicy(_))
            | Self::Agent(AgentError::Keys(KeysError::LevelPolicy(_))) => Exit::No,
            Self::Keys(KeysError::Stopped) | Self::Agent(AgentError::Keys(KeysError::Stopped)) => Exit::No,
            _ if self.key_refusal().is_some() => Exit::No,
            Self::Agent(
                AgentError::Extension(_)
                | AgentError::SharedKey(_)
                | AgentError::Rearm(_)
                | AgentError::RearmRecord(_)
                | AgentError::Gate(_)
                | AgentError::Link(_),
            ) => Exit::No,
            _ => Exit::Failure,
        }
    }

    /// Why the robot refuses something of a mission key, with its reason code.
    pub(super) fn key_refusal(&self) -> Option<&KeyRefusal> {
        match self {
            Self::Keys(KeysError::Refused { source })
            | Self::Agent(AgentError::Keys(KeysError::Refused { source })) => Some(source),
            _ => None,
        }
    }

    /// What a TPM said, however deep it lies.
    pub(super) fn tpm_error(&self) -> Option<&TpmError> {
        match self {
            Self::Tpm(error)
            | Self::Vault(VaultError::Tpm(error))
            | Self::Keys(KeysError::Tpm(error))
            | Self::Agent(AgentError::Tpm(error) | AgentError::Keys(KeysError::Tpm(error))) => Some(error),
            _ => None,
        }
    }
}

/// Whether what is missing is the TPM itself.
fn is_unavailable(error: &TpmError) -> bool {
    matches!(
        error,
        TpmError::Open(_)
            | TpmError::Transport { .. }
            | TpmError::DeadlineExceeded { .. }
            | TpmError::OwnerGone
    )
}
