//! Who may command a robot to do what, and until when: missions, command envelopes, roles, the replay window,
//! attestation leases, safety limits, the command policy, second persons, and the verdict over all of them.
//!
//! **Does:** build and strictly read the signed structures, verify them into types that only verification makes, and
//! judge a command envelope fail-closed: anything unknown, late or unprovable is refused with its reasons.
//!
//! **Does not:** keep the gate, move a robot, store replay state, talk to a TPM or read a clock; the security HAL
//! hands in the time and the gate's generation and asks again, with [`AuthorizedCommand::revalidate`], before it acts.
//!
//! The three most important types: [`VerifiedMission`], [`Verdict`] (from [`judge`]) and [`AuthorizedCommand`].
#![forbid(unsafe_code)]

mod arguments;
pub mod cose;
mod demand;
mod envelope;
mod explain;
mod group;
mod lease;
mod mission;
mod mission_order;
pub mod policy;
mod reason;
mod replay;
mod role;
mod safety;
mod second;
mod verdict;

pub use arguments::{ArgumentError, Arguments, Value, ValueRef};
pub use envelope::{CommandEnvelope, MAX_ENVELOPE_BYTES, MAX_VALIDITY_MS};
pub use explain::{Explanation, explain};
pub use group::{GroupEnvelope, GroupError, GroupMember, GroupVerdicts, MAX_MEMBERS, MemberVerdict};
pub use lease::{AttestationLease, LeaseError, VerifiedLease};
pub use mission::{ActiveMissions, Issuer, MissionError, MissionToken, VerifiedMission};
pub use mission_order::MissionOrder;
pub use reason::Reason;
pub use replay::{RESERVE_AHEAD, ReplayFault, ReplayWindow, ReplayWindows, Reservation, WINDOW};
pub use role::{CommandClass, CommandName, CommandPattern, Role, RoleError};
pub use safety::{Geofence, SafetyLimits};
pub use second::{CommandApproval, MAX_APPROVAL_BYTES, with_approval};
pub use verdict::{
    AuthorizedCommand, Context, Generation, MAX_CLOCK_SKEW_MS, Pending, Refusal, SessionKeys, Verdict, begin,
    judge,
};
