//! The fleet's authority: it enrols robots, judges their evidence, approves missions and rearms, and keeps what each
//! of that rests on.
//!
//! **Does:** keep its state in a locked, versioned folder in which every record is whole or absent; check endorsement
//! certificates and challenge TPMs before it issues anything; issue attestation results, leases, mission tokens and
//! rearm records and purge orders; count the votes of different persons before it asks its own TPM to sign for them.
//!
//! **Does not:** listen on a network, hold the approval keys (they live in a TPM behind [`ApprovalVault`]) or read the
//! clock: every call is handed the time, UTC in milliseconds since 1970.
//!
//! The three most important types: [`Authority`]; [`ApprovalVault`], the approval keys in the authority's TPM;
//! [`StateFolder`](store::StateFolder).
//!
//! Custody of the robots' hierarchy authorisations is sealed at rest with a key file that is kept apart from the state
//! folder: a copy of the folder alone opens nothing, whoever reads both files opens all.
#![forbid(unsafe_code)]

mod admission;
mod appraisal_policy;
mod approval;
mod attestation;
mod audit;
mod audit_heads;
mod authority;
mod backup;
mod backup_parent;
mod certificates;
mod chips;
mod command_policy;
mod endorsement;
mod endorsement_pins;
mod enrolment;
mod entropy;
mod epochs;
mod exchanges;
mod extension;
mod hand_over;
mod level_policy;
mod missions;
mod offline;
mod offline_anchors;
mod operators;
mod origin;
mod platforms;
mod policy_bundle;
mod purge;
mod rearm;
mod receipts;
mod refusal;
mod replacement;
mod restore;
mod robots;
mod secrets;
mod shared_keys;
pub mod store;
mod succession;
mod vault_names;
mod waiting;

pub use appraisal_policy::AppraisalPolicyIssueError;
pub use approval::{
    ApprovalError, ApprovalPurpose, ApprovalVault, Ballot, CountedVote, OperatorVote, count_votes,
    sign_ballot,
};
pub use attestation::{Appraised, AttestationError};
pub use audit::AuditLogError;
pub use audit_heads::{AuditHeadRefusal, HeldHead};
pub use authority::{Authority, AuthorityConfig, AuthorityError};
pub use backup::{BackupApproval, BackupDestination, BackupError, BackupProposal, BackupSubject};
pub use backup_parent::{BackupParent, ParentChip};
pub use certificates::{
    AUTHORITY_CERTIFICATE_MS, CertificateStanding, CertificationError, LOCAL_CERTIFICATE_MS,
};
pub use chips::ChipRefusal;
pub use command_policy::{CommandPolicyIssueError, CommandPolicyProposal};
pub use endorsement::{EndorsementError, PRODUCTION_ROOTS, REVOCATION_LISTS, RootsError, SIMULATOR_ROOTS};
pub use endorsement_pins::PinsError;
pub use enrolment::EnrolmentError;
pub use entropy::SystemEntropy;
pub use exchanges::{EXCHANGE_MS, ExchangeError};
pub use level_policy::LevelPolicyIssueError;
pub use missions::{MissionApprovalError, MissionPlan, MissionProposal};
pub use offline::{OfflineJudged, OfflineRefusal};
pub use operators::{Operator, OperatorError, Operators};
pub use origin::{DEVICE_ROOTS, OriginError};
pub use platforms::{AppraisedPlatform, PlatformPlan, PlatformRearm, PlatformRefusal, PlatformStanding};
pub use policy_bundle::{BundleIssueError, LONGEST_BUNDLE_MS};
pub use purge::{PurgeApprovalError, PurgeProposal, PurgeReceiptError};
pub use rearm::{RearmApprovalError, RearmProposal};
pub use refusal::Refusal;
pub use replacement::{
    ApprovedReplacement, PartElsewhere, Proposed, ReplacementProposal, ReplacementRefusal, Review,
};
pub use restore::RestoreRefusal;
pub use robots::{RobotError, Standing};
pub use secrets::KeyError;
pub use shared_keys::{SharedKeyApprovalError, SharedKeys};
pub use succession::{SuccessionError, SuccessionProposal};
pub use vault_names::VaultNames;
pub use waiting::NoRoom;
