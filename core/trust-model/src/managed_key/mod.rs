//! Managed keys: keys that live longer than a mission, each for one purpose, with a lifecycle and a schedule.
//!
//! Everything here is data and decisions over it: what a purpose permits, which states follow each other, what is due,
//! and the policy by which the chip itself enforces purpose, end and destruction.

mod encrypted;
mod lifecycle;
mod policy;
mod purpose;
mod record;
mod schedule;
mod store_header;

pub use encrypted::Encrypted;
pub use lifecycle::{IllegalTransition, KeyState, LEGAL_TRANSITIONS, Transition};
pub use policy::{AnchorBinding, ManagedPolicyInput, managed_policy};
pub use purpose::{KeyKind, KeyPurpose, KeyUse, PurposeParseError, PurposeProfile, purpose_profile};
pub use record::{EndCause, KeyBlob, KeyRecord, Moment, UseRefusal};
pub use schedule::{Due, Now, due};
pub use store_header::StoreHeader;
