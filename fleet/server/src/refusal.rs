//! Why the authority refused something, as a word for programs and for the audit log.

use crate::appraisal_policy::AppraisalPolicyIssueError;
use crate::approval::ApprovalError;
use crate::attestation::AttestationError;
use crate::audit_heads::AuditHeadRefusal;
use crate::backup::BackupError;
use crate::certificates::CertificationError;
use crate::chips::ChipRefusal;
use crate::command_policy::CommandPolicyIssueError;
use crate::endorsement::EndorsementError;
use crate::endorsement_pins::PinsError;
use crate::enrolment::EnrolmentError;
use crate::exchanges::ExchangeError;
use crate::level_policy::LevelPolicyIssueError;
use crate::missions::MissionApprovalError;
use crate::offline::OfflineRefusal;
use crate::operators::OperatorError;
use crate::origin::OriginError;
use crate::platforms::PlatformRefusal;
use crate::policy_bundle::BundleIssueError;
use crate::purge::{PurgeApprovalError, PurgeReceiptError};
use crate::rearm::RearmApprovalError;
use crate::replacement::ReplacementRefusal;
use crate::restore::RestoreRefusal;
use crate::robots::RobotError;
use crate::shared_keys::SharedKeyApprovalError;
use crate::succession::SuccessionError;
use alcub3_attestation::appraisal::Reason;
use alcub3_attestation::ek_certificate::EkError;
use alcub3_attestation::ek_certificate::device::DeviceError;
use alcub3_attestation::ek_certificate::platform::PlatformError;
use alcub3_audit_log::Outcome;
use alcub3_fleet_protocol::appraisal_policy::SignedAppraisalPolicyError;
use alcub3_fleet_protocol::certificate::CertificateError;
use alcub3_fleet_protocol::endorsement::PinError;
use alcub3_fleet_protocol::enrolment::EnrolError;
use alcub3_fleet_protocol::replacement::ReplacementError;
use alcub3_fleet_protocol::restore::RestoreError;
use alcub3_trust_model::hardware::HardwareReason;

/// The state folder or a record in it.
const STATE: &str = "authority";
/// The authority's own TPM.
const VAULT: &str = "authority-tpm";
/// Signing or randomness.
const CRYPTOGRAPHY: &str = "cryptography";
const MALFORMED: &str = "malformed-message";
const TOO_FEW_VOTES: &str = "too-few-votes";
const ENDORSEMENT: &str = "endorsement";

/// An error of the authority that has a reason code.
pub trait Refusal: std::error::Error {
    /// The reason code, stable across releases.
    fn code(&self) -> &'static str;

    /// Whether something failed here, so that nothing was judged of what was asked.
    fn is_failure(&self) -> bool {
        [STATE, VAULT, CRYPTOGRAPHY].contains(&self.code())
    }

    /// What the audit log says came of what was asked.
    fn outcome(&self) -> Outcome {
        if self.is_failure() {
            Outcome::Failed
        } else {
            Outcome::Refused
        }
    }
}

impl Refusal for OriginError {
    fn code(&self) -> &'static str {
        match self {
            Self::Device(DeviceError::Revocation(error)) => of_lists(error).unwrap_or("device-certificate"),
            Self::Platform(PlatformError::Revocation(error)) => {
                of_lists(error).unwrap_or("platform-certificate")
            }
            Self::Device(_) => "device-certificate",
            Self::Platform(_) | Self::NoEndorsement => "platform-certificate",
            Self::Endorsement(error) => of_lists(error).unwrap_or(ENDORSEMENT),
        }
    }
}

fn of_lists(error: &EkError) -> Option<&'static str> {
    match error {
        EkError::Revoked { .. } => Some("origin-revoked"),
        EkError::ListNotCurrent { .. } | EkError::ListSignature { .. } | EkError::ListAlgorithm { .. } => {
            Some("revocation-list-unusable")
        }
        EkError::NotListed { .. } => Some("revocation-list-missing"),
        _ => None,
    }
}

impl Refusal for EndorsementError {
    fn code(&self) -> &'static str {
        match self {
            Self::Certificate(EkError::Revoked { .. }) => "endorsement-revoked",
            Self::Certificate(
                EkError::ListNotCurrent { .. }
                | EkError::ListSignature { .. }
                | EkError::ListAlgorithm { .. },
            ) => "revocation-list-unusable",
            Self::Certificate(EkError::NotListed { .. }) => "revocation-list-missing",
            Self::Certificate(_) | Self::OtherKey | Self::Template | Self::Key(_) => ENDORSEMENT,
            Self::NotPinned { .. } => "endorsement-not-pinned",
            Self::OtherPin { .. } => "endorsement-other-pin",
            Self::Pins(error) => error.code(),
        }
    }
}

impl Refusal for PinsError {
    fn code(&self) -> &'static str {
        match self {
            Self::Pin(PinError::Tier(_)) => "endorsement-pin-tier",
            Self::NoPin(_) => "no-endorsement-pin",
            Self::Pin(_) | Self::OtherRobot { .. } | Self::Name(_) | Self::Store(_) => STATE,
            Self::Sign(_) => CRYPTOGRAPHY,
        }
    }
}

impl Refusal for RobotError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "robot-unknown",
            Self::Purged(_) => "purged",
            Self::NoReference(_) => "no-reference",
            Self::EpochOfPredecessor { .. } => "epoch-of-predecessor",
            _ => STATE,
        }
    }
}

impl Refusal for ExchangeError {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownOrUsed | Self::OtherUse | Self::Expired { .. } => "exchange",
            Self::Record(_) | Self::Store(_) => STATE,
            Self::Entropy(_) => CRYPTOGRAPHY,
        }
    }
}

impl Refusal for AuditHeadRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Report { source, .. } => source.code(),
            Self::Message(_) => MALFORMED,
            Self::Robot(error) => error.code(),
            Self::Store(_) => STATE,
        }
    }
}

impl Refusal for OfflineRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Message(_) => MALFORMED,
            Self::Robot(error) => error.code(),
            Self::Anchor(_) => "offline-anchor",
            Self::OtherQueue => "offline-other-queue",
            Self::Sign(_) => CRYPTOGRAPHY,
            Self::Store(_) => STATE,
        }
    }
}

impl Refusal for ApprovalError {
    fn code(&self) -> &'static str {
        match self {
            Self::Vault(_) | Self::WrongSignature(_) => VAULT,
            Self::TooFew { .. } => TOO_FEW_VOTES,
            Self::TooMany { .. } => "too-many-votes",
            Self::SamePerson(_) => "same-person-twice",
            Self::Unknown(_) => "approver-unknown",
            Self::NotApprover { .. } => "not-an-approver",
            Self::BadSignature { .. } => "vote-signature",
        }
    }
}

impl Refusal for EnrolmentError {
    fn code(&self) -> &'static str {
        match self {
            Self::Exchange(EnrolError::NoLevel { .. }) => "below-every-floor",
            Self::Exchange(EnrolError::Message(_) | EnrolError::Cose(_)) | Self::Message(_) => MALFORMED,
            Self::Exchange(EnrolError::Proof) => "proof",
            Self::Exchange(EnrolError::Sign(_) | EnrolError::Entropy(_)) => CRYPTOGRAPHY,
            Self::Exchange(_) => "enrolment-refused",
            Self::Endorsement(error) => error.code(),
            Self::Origin(error) => error.code(),
            Self::NotWaiting => "exchange",
            Self::NoRoom(_) => "too-many-waiting",
            Self::NameTaken(_) | Self::NameOfPlatform(_) => "name-taken",
            Self::HardwareTaken { .. } => HardwareReason::IdentityPartElsewhere.code(),
            Self::Robot(error) => error.code(),
            Self::Vault(_) => VAULT,
            Self::Roots(_)
            | Self::Custody(_)
            | Self::NoCustody(_)
            | Self::Certificates(_)
            | Self::Store(_) => STATE,
        }
    }
}

impl Refusal for RestoreRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Proof(RestoreError::Sign(_) | RestoreError::Entropy(_)) => CRYPTOGRAPHY,
            Self::Proof(_) => "restore-refused",
            Self::Message(_) => MALFORMED,
            Self::Exchange(error) => error.code(),
            Self::Robot(error) => error.code(),
            Self::Custody(error) => error.code(),
            Self::Vault(_) => VAULT,
            Self::Store(_) => STATE,
        }
    }
}

impl Refusal for CertificationError {
    fn code(&self) -> &'static str {
        match self {
            Self::Certificate(CertificateError::Sign(_) | CertificateError::Build(_)) => CRYPTOGRAPHY,
            Self::Certificate(_) | Self::NotGranted(_) => "certificate-refused",
            Self::Message(_) => MALFORMED,
            Self::Exchange(error) => error.code(),
            Self::Robot(error) => error.code(),
            Self::Entropy(_) => CRYPTOGRAPHY,
            Self::Record { .. } | Self::Store(_) => STATE,
        }
    }
}

impl Refusal for AttestationError {
    fn code(&self) -> &'static str {
        match self {
            Self::Message(_) => MALFORMED,
            Self::Exchange(error) => error.code(),
            Self::Robot(error) => error.code(),
            Self::OtherBoot => "other-boot",
            Self::PlatformForgotten => "platform-forgotten",
            Self::BelowFloor(below) => below.code(),
            Self::Result(_) | Self::Lease(_) => CRYPTOGRAPHY,
        }
    }
}

impl Refusal for PlatformRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Message(_) => MALFORMED,
            Self::Exchange(error) => error.code(),
            Self::Robot(error) => error.code(),
            Self::Record(_) => "platform-refused",
            Self::NoPlatform(_) => "robot-unknown",
            Self::NameTaken(_) => "name-taken",
            Self::DeviceTaken(_) => "device-elsewhere",
            Self::OtherRoot(_) => "other-root-of-trust",
            Self::OtherBoot => "other-boot",
            Self::NoSuite => "suite-too-weak",
            Self::BelowFloor(below) => below.code(),
            Self::NotStopped(_) => "not-stopped",
            Self::StillStopped(_) => "stop-in-force",
            Self::StoppedAgain(_) => "stopped-again",
            Self::EnrolledAnew(_) => "enrolled-anew",
            Self::Approval(error) => error.code(),
            Self::Vault(_) => VAULT,
            Self::Result(_) | Self::Sign(_) => CRYPTOGRAPHY,
        }
    }
}

impl Refusal for MissionApprovalError {
    fn code(&self) -> &'static str {
        match self {
            Self::Message(_) => MALFORMED,
            Self::Exchange(error) => error.code(),
            Self::Robot(error) => error.code(),
            Self::Request(_) => "mission-request",
            Self::Extension(error) => error.code(),
            Self::HandOver(error) => error.code(),
            Self::Unknown(_) => "mission-unknown",
            Self::ChangedMeanwhile(_) => "mission-changed-meanwhile",
            Self::Used(_) => "mission-used",
            Self::Duration { duration_ms: 0, .. } => "mission-empty",
            Self::Duration { .. } => "mission-too-long",
            Self::RobotFloor(below) | Self::Suite(below) => below.code(),
            Self::NotFresh { .. } => "attestation-not-fresh",
            Self::UnknownIssuer(_) => "issuer-unknown",
            Self::ApproverIssues(_) => "issuer-approves",
            Self::NotCleared(_) => "issuer-not-cleared",
            Self::Integrity(_) => "issuer-integrity",
            Self::Token(error) => error.code(),
            Self::Approval(error) => error.code(),
            Self::Vault(_) => VAULT,
            Self::Policy(_) | Self::Sign(_) => CRYPTOGRAPHY,
            Self::Store(_) => STATE,
        }
    }
}

impl Refusal for RearmApprovalError {
    fn code(&self) -> &'static str {
        match self {
            Self::Message(_) => MALFORMED,
            Self::Exchange(error) => error.code(),
            Self::Robot(error) => error.code(),
            Self::Rearm(_) => "rearm-refused",
            Self::Approval { source, .. } => source.code(),
            Self::NoVotes(_) => TOO_FEW_VOTES,
            Self::Vault(_) => VAULT,
            Self::Policy(_) | Self::Sign(_) => CRYPTOGRAPHY,
            Self::Store(_) => STATE,
        }
    }
}

impl Refusal for PurgeApprovalError {
    fn code(&self) -> &'static str {
        match self {
            Self::Message(_) => MALFORMED,
            Self::Exchange(error) => error.code(),
            Self::Robot(error) => error.code(),
            Self::Purge(_) => "purge-refused",
            Self::Approval(error) => error.code(),
            Self::Certificates(error) => error.code(),
            Self::Vault(_) => VAULT,
            Self::Policy(_) | Self::Sign(_) => CRYPTOGRAPHY,
            Self::Store(_) => STATE,
        }
    }
}

impl Refusal for PurgeReceiptError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotOrdered(_) => "purge-not-ordered",
            Self::Robot(error) => error.code(),
            Self::Record(_) | Self::Store(_) => STATE,
        }
    }
}

impl Refusal for ReplacementRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Message(_) => MALFORMED,
            Self::Replacement(ReplacementError::Sign(_) | ReplacementError::Entropy(_)) => CRYPTOGRAPHY,
            Self::Replacement(error) => error.code(),
            Self::Exchange(error) => error.code(),
            Self::Robot(error) => error.code(),
            Self::Outdated(_) => "outdated",
            Self::Approval(error) => error.code(),
            Self::Custody(error) => error.code(),
            Self::Vault(_) => VAULT,
            Self::Unanswered(_) => "approved-unanswered",
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            // The approval is in force; only its answer is missing.
            Self::Unanswered(_) => Outcome::Done,
            _ if self.is_failure() => Outcome::Failed,
            _ => Outcome::Refused,
        }
    }
}

impl Refusal for SharedKeyApprovalError {
    fn code(&self) -> &'static str {
        match self {
            Self::Message(_) => MALFORMED,
            Self::Exchange(error) => error.code(),
            Self::Robot(error) => error.code(),
            Self::Mission(error) => error.code(),
            Self::Commander(error) => error.code(),
            Self::Request { .. } | Self::Nobody | Self::Approver(_) | Self::Secret(_) => "shared-key-refused",
            Self::CommanderTier { .. } => "tpm-kind-too-weak",
            Self::Sign(_) => CRYPTOGRAPHY,
            Self::Vault(_) => VAULT,
        }
    }
}

impl Refusal for SuccessionError {
    fn code(&self) -> &'static str {
        match self {
            Self::Robot(error) => error.code(),
            Self::Approval(error) => error.code(),
            Self::Certificates(error) => error.code(),
            Self::Vault(_) => VAULT,
            Self::Store(_) => STATE,
        }
    }
}

impl Refusal for ChipRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Message(_) => MALFORMED,
            Self::Protocol(_) | Self::NotWaiting | Self::Expired { .. } => "chip-refused",
            Self::Unknown(_) => "operator-unknown",
            Self::Endorsement(error) => error.code(),
            Self::Simulator => "tpm-kind-too-weak",
            Self::Revoked => "chip-revoked",
            Self::EndorsementKind { .. } => "endorsement-kind",
            Self::Taken { .. } => "chip-taken",
            Self::OldRequest { .. } => "chip-request-old",
            Self::FutureRequest { .. } => "chip-request-future",
            Self::Robots(error) => error.code(),
            Self::Proof => "proof",
            Self::NoChip(_) => "no-chip",
            _ => STATE,
        }
    }
}

impl Refusal for BackupError {
    fn code(&self) -> &'static str {
        match self {
            Self::Robot(error) => error.code(),
            Self::Chip(error) => error.code(),
            Self::Approval(error) => error.code(),
            Self::BelowFloor { source, .. } | Self::ParentBelowFloor(source) => source.code(),
            Self::Vault(_) => VAULT,
            Self::Policy(_) => CRYPTOGRAPHY,
            Self::Record(_) | Self::Store(_) => STATE,
            _ => "duplication-refused",
        }
    }
}

impl Refusal for LevelPolicyIssueError {
    fn code(&self) -> &'static str {
        match self {
            Self::Policy(_) => "bad-policy",
            Self::Sign(_) => CRYPTOGRAPHY,
            Self::Store(_) => STATE,
        }
    }
}

impl Refusal for CommandPolicyIssueError {
    fn code(&self) -> &'static str {
        match self {
            Self::Policy(error) => error.code(),
            Self::Approval(error) => error.code(),
            Self::Vault(_) => VAULT,
            Self::Sign(_) => CRYPTOGRAPHY,
            Self::Store(_) => STATE,
        }
    }
}

impl Refusal for AppraisalPolicyIssueError {
    fn code(&self) -> &'static str {
        match self {
            Self::Policy(SignedAppraisalPolicyError::RolledBack { .. }) => "policy-rolled-back",
            Self::Policy(_) => "bad-policy",
            Self::Sign(_) => CRYPTOGRAPHY,
            Self::Store(_) => STATE,
        }
    }
}

impl Refusal for BundleIssueError {
    fn code(&self) -> &'static str {
        match self {
            Self::Lifetime | Self::Bundle(_) => "bad-bundle",
            Self::Robot(error) => error.code(),
            Self::BelowFloor { source, .. } => source.code(),
            Self::NoClass { .. } => Reason::PolicyClass.code(),
            Self::Sign(_) => CRYPTOGRAPHY,
            Self::Store(_) => STATE,
        }
    }
}

impl Refusal for OperatorError {
    fn code(&self) -> &'static str {
        match self {
            Self::NameTaken(_) => "operator-name-taken",
            Self::KeyTaken { .. } => "operator-key-taken",
            Self::Record { .. } | Self::Key { .. } | Self::Store(_) => STATE,
        }
    }
}
