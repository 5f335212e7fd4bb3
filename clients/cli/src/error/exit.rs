//! How the process ends with each error.

use super::CliError;
use crate::agent_client::AgentCallError;
use crate::authority_vault::VaultError;
use crate::exit::Exit;
use alcub3_agent::AgentError;
use alcub3_agent::adapter_socket::ClientError;
use alcub3_keys::{KeyRefusal, KeysError};
use alcub3_server::{CertificationError, EnrolmentError, Refusal, RestoreRefusal};
use alcub3_tpm::TpmError;

impl CliError {
    /// How the process ends.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. }
            | Self::Approvers { .. }
            | Self::SameApprover
            | Self::NoInput
            | Self::NoAuditKey
            | Self::NoVote
            | Self::OtherIssuer { .. }
            | Self::Agent(AgentError::NotDeclared { .. })
            | Self::NotAnArgument { .. } => Exit::Usage,
            Self::AgentCall(AgentCallError::Unreachable { .. }) => Exit::Unavailable,
            Self::AgentCall(AgentCallError::Refused {
                may_succeed_later: false,
                ..
            }) => Exit::No,
            _ if self.tpm_error().is_some_and(is_unavailable) => Exit::Unavailable,
            Self::Adapter(ClientError::Absent { .. }) => Exit::Unavailable,
            // Somebody was looked for, and nothing was judged.
            Self::RobotRecords(_) => Exit::Failure,
            _ if self
                .authority_refusal()
                .is_some_and(|refusal| !refusal.is_failure()) =>
            {
                Exit::No
            }
            _ if self.key_refusal().is_some() => Exit::No,
            Self::Agent(error) if error.reason_code().is_some() => Exit::No,
            Self::Demo(_)
            | Self::Untrusted { .. }
            | Self::OtherChange
            | Self::OtherParent { .. }
            | Self::NoStorageKey { .. }
            | Self::ChipMessage { .. }
            | Self::BareStorageKey { .. }
            | Self::CommanderMessage { .. }
            | Self::PolicyFile { .. }
            | Self::AppraisalPolicyFile { .. }
            | Self::CommandPolicyFile { .. }
            | Self::CommandPolicyOrder(_)
            | Self::Bundle(_)
            | Self::Agent(AgentError::Gate(_))
            | Self::Keys(
                KeysError::Recovery(_)
                | KeysError::LevelPolicy(_)
                | KeysError::Stopped
                | KeysError::BelowFloor(_),
            )
            | Self::Agent(AgentError::Keys(KeysError::Recovery(_) | KeysError::LevelPolicy(_))) => Exit::No,
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

    /// Why the authority refuses something, or could not judge it.
    pub(super) fn authority_refusal(&self) -> Option<&dyn Refusal> {
        match self {
            Self::Operator(error) => Some(error),
            Self::RobotRecords(error) => Some(error),
            Self::Attestation(error) => Some(error),
            Self::AuditHead(error) => Some(error),
            Self::Platform(error) => Some(error),
            Self::Mission(error) => Some(error),
            Self::Rearm(error) => Some(error),
            Self::Replacement(error) => Some(error),
            Self::Purge(error) => Some(error),
            Self::PurgeReceipt(error) => Some(error),
            Self::Duplication(error) => Some(error),
            Self::Succession(error) => Some(error),
            Self::Chip(error) => Some(error),
            Self::EndorsementPin(error) => Some(error),
            Self::SharedKey(error) => Some(error),
            Self::LevelPolicy(error) => Some(error),
            Self::CommandPolicy(error) => Some(error),
            Self::AppraisalPolicy(error) => Some(error),
            Self::Offline(error) => Some(error),
            Self::PolicyBundle(error) => Some(error),
            Self::Agent(AgentError::Link(answer)) => {
                let answer = answer.0.as_ref();
                let enrolment = answer.downcast_ref::<EnrolmentError>();
                let certificate = || answer.downcast_ref::<CertificationError>().map(as_refusal);
                let restore = || answer.downcast_ref::<RestoreRefusal>().map(as_refusal);
                enrolment.map(as_refusal).or_else(certificate).or_else(restore)
            }
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

fn as_refusal<R: Refusal>(refusal: &R) -> &dyn Refusal {
    refusal
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
