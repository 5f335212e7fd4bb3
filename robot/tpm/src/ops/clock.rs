//! The chip's clock (TPM 2.0 Part 1, 36; Part 3, 29).

use super::keys::Hierarchy;
use crate::{Auth, Chip, Protect, Result};
use tpm2_protocol::frame::{
    TpmClockSetCommand, TpmClockSetResponse, TpmReadClockCommand, TpmReadClockResponse,
};

/// What the clock says. It does not run without power.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct ClockReading {
    /// Milliseconds since power came.
    pub time_ms: u64,
    /// Milliseconds of powered time since the owner was last cleared; never goes back while `safe`.
    pub clock_ms: u64,
    /// Resets since the owner was last cleared.
    pub reset_count: u32,
    /// Restarts and resumes since the last reset.
    pub restart_count: u32,
    /// Whether no larger clock value was reported before the last power loss.
    pub safe: bool,
}

impl Chip {
    /// Reads the clock. Commands: 1 ReadClock.
    ///
    /// # Errors
    /// What the chip refuses.
    pub fn read_clock(&mut self) -> Result<ClockReading> {
        let command = TpmReadClockCommand {
            handles: Default::default(),
        };
        let answer: TpmReadClockResponse = self.call(&command, &[], &[], Protect::Integrity)?;
        let clock = answer.current_time.clock_info;
        Ok(ClockReading {
            time_ms: answer.current_time.time.value(),
            clock_ms: clock.clock.value(),
            reset_count: clock.reset_count.value(),
            restart_count: clock.restart_count.value(),
            safe: bool::from(clock.safe),
        })
    }

    /// Sets the clock forward, in milliseconds. Commands: 1 ClockSet.
    ///
    /// # Errors
    /// VALUE for a time that is not ahead; BAD_AUTH or AUTH_FAIL for a wrong value.
    pub fn clock_set(&mut self, owner: Auth<'_>, clock_ms: u64) -> Result<()> {
        let command = TpmClockSetCommand {
            handles: Default::default(),
            new_time: clock_ms.into(),
        };
        let targets = [Hierarchy::Owner.target()];
        self.call::<_, TpmClockSetResponse>(&command, &targets, &[owner], Protect::Integrity)?;
        Ok(())
    }
}
