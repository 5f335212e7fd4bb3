//! What robots and their fleet's authority say to each other: versioned messages in deterministic CBOR, and the state
//! machines of an enrolment.
//!
//! **Does:** write and strictly read every message; drive both sides of an enrolment without touching a network; turn
//! what a robot's TPM certified into types that only verification makes ([`mission::CertifiedMission`],
//! [`rearm::CertifiedEpochs`]), and the authority's words likewise ([`VerifiedEnrolment`], [`rearm::VerifiedRearm`],
//! [`purge::VerifiedPurge`], [`replacement::VerifiedReplacement`]).
//!
//! **Does not:** send or receive, keep state between runs, talk to a TPM, validate EK certificates (that is
//! `alcub3-attestation`; its result is handed in) or decide whom to admit.
//!
//! The three most important types: [`enrolment::Robot`] and [`enrolment::Authority`], the two machines, and
//! [`VerifiedEnrolment`].
#![forbid(unsafe_code)]

pub mod appraisal_policy;
pub mod attestation;
pub mod audit;
mod binding;
pub mod certificate;
mod certified;
pub mod chip;
pub mod commander;
pub mod endorsement;
pub mod enrolment;
pub mod extension;
pub mod hand_over;
pub mod level_policy;
mod living_mission;
pub mod mission;
pub mod offline;
pub mod origin;
pub mod platform;
pub mod policy_bundle;
pub mod purge;
pub mod rearm;
mod record;
pub mod recovery;
pub mod replacement;
pub mod restore;
mod sealed;
pub mod shared_key;
mod stop_standing;
mod wire;

pub use binding::{device_key_binding, identity_binding};
pub use certified::{CertifiedCounter, CounterError};
pub use enrolment::custody::HierarchyAuthorisations;
pub use living_mission::NotLiving;
pub use record::{EnrolmentRecord, RecordError, TrustAnchors, VerifiedAnchors, VerifiedEnrolment};
pub use stop_standing::StopStanding;
