//! Work that must not take others down with it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::report::{PortError, StepOutcome};

/// Runs work; an error and a panic both become the outcome that says so.
pub(crate) fn attempt<T>(work: impl FnOnce() -> Result<T, PortError>) -> Result<T, StepOutcome> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(StepOutcome::failed(error)),
        Err(_) => Err(StepOutcome::Panicked),
    }
}
