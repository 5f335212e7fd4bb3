//! The universal security HAL: what stands between a command and a robot, and what stops it.
//!
//! **Does:** hold the gates that every command passes; judge commands and refuse them while a stop is in force;
//! run the emergency stop in the order of DESIGN §6, each step attempted whatever became of the others; keep the
//! stop latched until two persons rearm it; keep secrets where a stop wipes them.
//!
//! **Does not:** talk to a TPM, a network or an async runtime: it takes small traits ([`ports`]) that others
//! implement, so no stop can be compiled to wait for one of them. It is a security-triggered protective stop with
//! evidence, not a certified ISO 13850 emergency stop.
//!
//! The three most important types: [`Gates`], closed by one atomic step; [`EmergencyStop`], the order of a stop;
//! [`RearmProof`], without which no gate opens.
#![forbid(unsafe_code)]

pub mod adapter_link;
mod adapters;
mod clock;
mod command_adapter;
mod command_gate;
mod course;
mod gate;
mod guard;
mod isolated;
mod journal;
mod latch;
mod measure;
mod order;
pub mod platform;
pub mod ports;
mod report;
pub mod simulated;
mod stop;
mod vault;

pub use clock::{Clock, SystemClock};
pub use command_adapter::{CommandAdapter, CommandAdapterError};
pub use command_gate::{Admitted, ChipMac, CommandGate, CommandGateError, GateVerdict, ReplayStore};
pub use gate::{Admission, Closures, Gates, OpenError};
pub use journal::{FileStopJournal, JournalError};
pub use latch::{
    EpochSnapshot, LevelApproval, RearmProof, RearmRecord, RearmRefusal, RearmTrust, RearmTrustError,
};
pub use measure::{GateMeasurement, measure_gate};
pub use order::{StopIntent, StopOrder, StopScope};
pub use ports::{AuditSink, MissionKeys, PlatformAdapter, ReceiptMaker, SecretVault, StopJournal, Zeroizer};
pub use report::{
    AdapterRecord, MadeReceipt, PortError, Step, StepOutcome, StepRecord, StopReport, TpmLockOutcome,
};
pub use stop::{EmergencyStop, RecoverError, StopLimits, StopParts};
pub use vault::{MemoryVault, SecretRef, VaultError};
