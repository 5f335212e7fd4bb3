//! The decisions of alcub3 as data: identifiers, classification levels and their profiles, labels, the robot's
//! state, the maps of PCRs, NV indices and persistent handles, the key policies and the domain strings.
//!
//! **Does:** hold one table for each thing that several parts must agree on, so that sealing, extending and
//! appraising cannot disagree; compute what follows from the tables alone (an NV index's public area, a mission
//! key's policy, a state's digest); read and write the deterministic CBOR that every signed structure uses.
//!
//! **Does not:** talk to a TPM, verify signatures, read a clock or decide on a command.
//!
//! The three most important types: [`Level`], whose [`profile`] sets every floor and limit;
//! [`nv_map::NvIndex`], the table of NV indices; [`RobotState`], what a quote binds.
#![forbid(unsafe_code)]

mod attestation_kind;
pub mod canonical;
pub mod danger;
pub mod domain;
pub mod handle_map;
pub mod hardware;
mod ids;
mod labels;
mod level;
mod level_profiles;
pub mod managed_key;
mod mission_key;
pub mod nv_map;
pub mod pcr_map;
pub mod policies;
pub mod recovery;
mod robot_state;
mod stop_cause;
mod tier;

pub use attestation_kind::{AttestationKind, KindParseError};
pub use ids::{
    BootId, FleetId, IdError, KeyId, KeyLabel, LeaseId, MissionId, MissionKeyId, OperatorId, RobotId,
    SessionId, StopId,
};
pub use labels::{Integrity, LabelError, Labels, Marking};
pub use level::{BelowFloor, Level, LevelParseError, LevelProfile, profile};
pub use level_profiles::{LevelProfiles, ProfileError};
pub use mission_key::{MissionKeyPurpose, PurposeParseError};
pub use robot_state::{
    FaultSeverity, OperationalMode, Payload, PlatformParseError, PlatformType, Position, ReportedFault,
    RobotState, SensorCalibration, SubsystemFirmware,
};
pub use stop_cause::{CauseParseError, StopCause};
pub use tier::{HardwareTier, TierParseError};
