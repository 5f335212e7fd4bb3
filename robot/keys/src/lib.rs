//! The robot's keys: provisioning, identity, level parents, mission keys, and what a stop does to them in the TPM.
//!
//! What it does: creates and recreates the key hierarchy in the chip, keeps its blobs and records in the state
//! folder, builds mission keys under the policy of DESIGN §4, arms and uses them, keeps managed keys with their lifecycle in
//! a store that the chip vouches for, and performs the TPM part of a stop.
//!
//! What it does not do: decide whether a mission, a rearm or a command is permitted (that is the authority's and
//! `core/*`), or keep any authorisation of the chip's hierarchies after provisioning.
//!
//! The three types to know: [`RobotKeys`] is a provisioned robot's chip and folder, [`Provisioning`] gets it there
//! and resumes after any crash, [`MissionKey`] is a key that only the chip can use and only while its mission lives.
#![forbid(unsafe_code)]

mod audit;
mod clock_watch;
mod command_policy;
mod commander;
mod derivation;
mod error;
mod evidence;
mod hierarchy;
mod identity;
mod journal;
mod level_policy;
mod mission_keys;
mod mission_record;
mod missions;
#[doc(hidden)]
pub mod own_records;
mod person;
mod provisioning;
mod purge;
mod rearm;
mod receipts;
mod record;
mod recovery;
mod refusal;
mod registers;
mod robot;
mod sealing;
mod state;
mod stop;
mod store;

pub use clock_watch::SeenClock;
pub use commander::HeldCommandKey;
pub use derivation::{DERIVED_KEY_LEN, DerivedPurpose, MAX_CONTEXT_LEN};
pub use error::KeysError;
pub use evidence::{PcrCache, QuotedPlatform};
pub use hierarchy::LevelSeeds;
pub use identity::{
    ApprovedReplacement, DeviceKey, DeviceKeySlot, DeviceKeys, IssuedCertificate, LoadedDeviceKey, Restoring,
    restore_request,
};
pub use mission_keys::{KeyOrigin, MissionData, MissionKeyRecord, ParentProof, mission_key_binding};
pub use mission_record::MissionRecord;
pub use missions::{
    MissionGrant, MissionKey, MissionOver, MissionsOnDisk, MovedEnd, RecordFault, RefusedMission,
    ReservedAnchor,
};
pub use person::{PersonTpm, PresentedChip};
pub use provisioning::{
    Custody, Prepared, Provisioning, ProvisioningPlan, ShownEndorsement, show_endorsement,
};
pub use purge::{PURGE_RECEIPT_FILE, resume_purge};
pub use receipts::{CountersBefore, Observed, StopReceipts};
pub use record::{LevelParent, RobotRecord};
pub use recovery::RecoverableKey;
pub use refusal::KeyRefusal;
pub use robot::{KeyOwner, LoadedKeys, RobotKeys};
pub use state::{StateError, StateFolder};
pub use stop::{RobotZeroizer, StoredMissionKeys, event_of};
pub use store::{KeyPlan, StoreError, Swept};

/// A result whose error is a [`KeysError`].
pub type Result<T> = std::result::Result<T, KeysError>;
