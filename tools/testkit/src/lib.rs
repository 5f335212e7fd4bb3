//! What tests of the TPM layer need: a swtpm of their own, tools to check results with, hostile buses, crashes.
//!
//! What it does: starts throwaway TPMs and serves them to other programs, runs `tpm2-tools` on them, issues
//! endorsement certificates that say they are a simulator's, puts an attacker or a crash between a caller and
//! its TPM.
//!
//! What it does not do: run in production. Nothing but tests, benchmarks and `sim` may depend on it.
//!
//! The three types to know: [`Swtpm`] is a TPM for one test, [`Hostile`] is an attacker on its bus, and
//! [`SimulatorCa`] certifies its endorsement key.
#![warn(missing_docs)]

mod ca;
mod error;
mod fault;
mod hostile;
mod platform;
mod served;
mod shared;
mod swtpm;
mod tools;

pub use ca::{
    DeviceKind, EK_CERTIFICATE_P256, EK_CERTIFICATE_P384, EK_CERTIFICATE_RSA2048, Quirk, SimulatorCa,
};
pub use error::TestkitError;
pub use fault::{CrashPoint, Crashing};
pub use hostile::{Attack, Bus, Hostile, Passed, When};
pub use served::Served;
pub use shared::SharedTransport;
pub use swtpm::{PowerUp, Swtpm};
pub use tools::{ToolOutput, Tools};
