//! Typed operations on one TPM: what each costs in commands is in its documentation and asserted by a test.
//!
//! A command that takes or returns a secret carries it encrypted; buffers that held one are wiped. Whatever the chip
//! returns is checked before it is used: Names are recomputed, public areas compared with their templates, attestation
//! messages with what was asked.

mod attesting;
mod audit;
mod cache;
mod capability;
mod chip_info;
mod clock;
mod credential;
mod emergency;
mod hierarchy;
mod keys;
mod lifecycle;
mod lockout;
mod nv;
mod nv_public;
mod objects;
mod pcr;
mod policy;
mod policy_inputs;
mod random;
mod sealing;
mod signing;
mod wire;

pub use attesting::Attestation;
pub(crate) use cache::Cache;
pub use capability::Capability;
pub use chip_info::{Algorithm, ChipInfo, ChipKind, ChipLimits, FipsBits};
pub use clock::ClockReading;
pub use emergency::StopCommands;
pub use keys::{Hierarchy, Key, PersistentKey};
pub use lockout::LockoutState;
pub use nv::NvAccess;
pub use nv_public::{NvPublic, nv_attribute};
pub use objects::{Created, CreatedPrimary, Creation, Duplicated};
pub use pcr::{PcrSelect, PcrValues};
pub use policy_inputs::{Approval, PolicyInputs, SecretProof, SignedApproval};
pub use sealing::{SealOptions, Sealed};
pub use signing::VerifiedTicket;
