//! The robot's TPM 2.0: transports, one owner thread per chip, sessions, object slots, typed operations.
//!
//! What it does: turns calls such as "quote these PCRs" into as few TPM commands as possible, protects each
//! with an HMAC session salted to a pinned key, checks every response, and schedules callers on four lanes of
//! which the emergency lane is served before the next command of any other.
//!
//! What it does not do: decide anything (that is `core/*`), keep files (that is `robot/keys`), or fall back to
//! software when the chip is absent.
//!
//! The three types to know: [`Chip`] runs typed operations on one TPM, [`Tpm`] is the cloneable handle by
//! which many callers share one, and [`TpmError`] names command, cause and remedy.
#![warn(missing_docs)]

mod chip;
mod command;
mod entropy;
mod error;
mod executor;
mod meanings;
mod policy_session;
mod random_health;
mod session;
mod slots;

pub mod doctor;
pub mod ops;
pub mod spec;
pub mod transport;

pub use chip::{Auth, Chip, ChipOptions, Protect, SaltKey, Target};
pub use command::{CommandCode, CommandShape};
pub use entropy::OsEntropy;
pub use error::{ResponseCode, ResponseSubject, TpmError};
pub use executor::{Lane, Pending, Tpm, TpmOptions};
pub use policy_session::PolicySession;
pub use slots::{Object, SlotUsage};
pub use spec::TpmSpec;

/// A result whose error is a [`TpmError`].
pub type Result<T> = std::result::Result<T, TpmError>;
