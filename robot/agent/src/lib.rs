//! The robot's agent: wires the chip, the keys and the security HAL into one robot.
//!
//! What it does: drives provisioning against an authority, makes evidence for a verifier's nonce, starts and ends
//! missions, judges commands, stops and rearms, and keeps what each of these must remember in the state folder.
//!
//! What it does not do: talk to a network (the caller carries its messages), or decide what `core/*` decides.
//!
//! The three types to know: [`Robot`] is a provisioned robot at work, [`provision`] makes one, [`AuthorityLink`] is
//! how the caller connects it to its authority.
#![forbid(unsafe_code)]

mod active_missions;
pub mod adapter_socket;
mod attester;
mod audit;
mod audit_heads;
mod command_keys;
mod command_policy;
mod commands;
pub mod daemon;
mod driving;
mod ending;
mod error;
mod events;
mod expiry;
mod extension;
mod hand_over;
mod hardware;
mod identity;
pub mod inventory;
mod judged_command;
mod level_keys;
mod managed_keys;
mod mission_ends;
mod mission_keys;
mod missions;
mod offline;
mod on_record;
mod opening;
mod peers;
mod platform_logs;
mod provision;
mod purging;
mod refused;
mod registers;
mod replacement;
mod robot;
mod run;
mod stopping;
mod suspending;
mod tls;

pub use active_missions::{ActiveIssuer, ActiveMission, EndedMission, MissionList};
pub use attester::{Asked, Surroundings};
pub use audit::{AuditFile, AuditReader, VerifiedLog};
pub use audit_heads::{AuditKeeper, AuditLink, AuditLinkNow};
pub use driving::{AdapterRecords, CarriedOut};
pub use error::AgentError;
pub use identity::{Identity, IdentityLink, recover};
pub use managed_keys::KeySweeper;
pub use mission_ends::{MissionEnd, MissionEnds};
pub use missions::MissionStart;
pub use offline::{OfflineError, OfflineGatherer, OfflineStatus, SurroundingsNow, TakenAnswer};
pub use peers::{PEER_EXCHANGE_MS, PeerError, PeerJudged};
pub use platform_logs::{LogSource, PlatformLogs};
pub use provision::{AuthorityLink, LinkError, ProvisionRequest, provision};
pub use replacement::{DeclaredAnew, TakenReplacement};
pub use robot::{Adapters, Robot};
pub use tls::TlsIdentity;

/// A result whose error is an [`AgentError`].
pub type Result<T> = std::result::Result<T, AgentError>;
