//! Robots whose root of trust is no TPM, on the command line.

mod answer;
mod judged;
mod offline;
mod roots;

pub(super) use answer::{PlatformCommand, run};
pub(super) use judged::Judged;
pub(super) use offline::{Offline, run as appraise};
pub(super) use roots::{DiceArgs, Found, PsaArgs};
