//! Starting, stopping and testing the chip (TPM 2.0 Part 3, 9 and 10).

use crate::{Chip, Protect, Result};
use tpm2_protocol::data::TpmSu;
use tpm2_protocol::frame::{
    TpmSelfTestCommand, TpmSelfTestResponse, TpmShutdownCommand, TpmShutdownResponse, TpmStartupCommand,
    TpmStartupResponse,
};

impl Chip {
    /// Starts a chip after power came: firmware's task on a real machine. `clear` for a reset or restart, else a resume
    /// after an orderly `shutdown(false)`. Everything loaded before is gone. Commands: 1 Startup.
    ///
    /// # Errors
    /// INITIALIZE where it was started already, VALUE where there is no state to resume.
    pub fn startup(&mut self, clear: bool) -> Result<()> {
        let startup_type = if clear { TpmSu::Clear } else { TpmSu::State };
        let command = TpmStartupCommand {
            handles: Default::default(),
            startup_type,
        };
        self.forget_volatile_state();
        self.call::<_, TpmStartupResponse>(&command, &[], &[], Protect::Integrity)?;
        Ok(())
    }

    /// Tells the chip that power will go: its clock stays safe. `clear` for a reset, else so that a restart or resume
    /// can follow. Commands: 1 Shutdown.
    ///
    /// # Errors
    /// What the chip refuses.
    pub fn shutdown(&mut self, clear: bool) -> Result<()> {
        let shutdown_type = if clear { TpmSu::Clear } else { TpmSu::State };
        let command = TpmShutdownCommand {
            handles: Default::default(),
            shutdown_type,
        };
        self.call::<_, TpmShutdownResponse>(&command, &[], &[], Protect::Integrity)?;
        Ok(())
    }

    /// Lets the chip test itself: everything if `full`, else what was not tested yet. Commands: 1 SelfTest.
    ///
    /// # Errors
    /// FAILURE where a test failed.
    pub fn self_test(&mut self, full: bool) -> Result<()> {
        let command = TpmSelfTestCommand {
            handles: Default::default(),
            full_test: full.into(),
        };
        self.call::<_, TpmSelfTestResponse>(&command, &[], &[], Protect::Integrity)?;
        Ok(())
    }
}
