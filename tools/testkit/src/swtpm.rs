//! A TPM for one test.

use crate::TestkitError;
use crate::served::Served;
use crate::shared::{Link, SharedTransport};
use alcub3_tpm::transport::{SwtpmControl, SwtpmOptions, SwtpmTransport, Transport};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long the fixture's own commands may take.
const WITHIN: Duration = Duration::from_secs(30);

/// What of its state folder swtpm needs to go on as the same chip.
const STATE_FILE: &str = "tpm2-00.permall";

const TPM2_STARTUP: u32 = 0x144;
const TPM2_SHUTDOWN: u32 = 0x145;
const TPM_SU_CLEAR: u16 = 0;
const TPM_SU_STATE: u16 = 1;

/// What follows when the TPM has power again.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum PowerUp {
    /// `TPM2_Startup(CLEAR)`: a TPM Reset, or a TPM Restart after `TPM2_Shutdown(STATE)`.
    Clear,
    /// `TPM2_Startup(STATE)`: a TPM Resume; needs `TPM2_Shutdown(STATE)` before.
    Resume,
    /// Nothing: the caller sends `TPM2_Startup`.
    Nothing,
}

/// A swtpm with a state folder of its own; both are gone when this is dropped.
pub struct Swtpm {
    link: Arc<Link>,
    control: Mutex<SwtpmControl>,
    state: TempDir,
}

impl Swtpm {
    /// Starts one, with `TPM2_Startup(CLEAR)` done.
    ///
    /// # Errors
    /// Why it could not be started, `swtpm` not being installed among them.
    pub fn start() -> Result<Self, TestkitError> {
        Self::start_in(state_folder()?)
    }

    /// Starts one on a copy of the state that another, which is gone or idle, left in `folder`: the same chip with the
    /// same keys, as after its power was cut.
    ///
    /// # Errors
    /// As [`start`](Self::start), and when the state cannot be copied.
    pub fn start_from(folder: &Path) -> Result<Self, TestkitError> {
        let state = state_folder()?;
        let copying = "copying a TPM's state";
        std::fs::copy(folder.join(STATE_FILE), state.path().join(STATE_FILE))
            .map_err(TestkitError::io(copying))?;
        Self::start_in(state)
    }

    fn start_in(state: TempDir) -> Result<Self, TestkitError> {
        let transport = SwtpmTransport::start(&SwtpmOptions::in_folder(state.path()))?;
        let control = Mutex::new(transport.control());
        Ok(Self {
            link: Link::new(transport),
            control,
            state,
        })
    }

    /// A channel to the TPM; any number of them share it.
    pub fn transport(&self) -> SharedTransport {
        SharedTransport(Arc::clone(&self.link))
    }

    /// The folder with the TPM's state.
    pub fn state_dir(&self) -> &Path {
        self.state.path()
    }

    /// The handle to the swtpm that runs now; another after [`kill_and_respawn`](Self::kill_and_respawn).
    pub fn control(&self) -> SwtpmControl {
        self.control
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Sends `TPM2_Shutdown(STATE)`, after which a power cycle is an orderly one.
    ///
    /// # Errors
    /// When the TPM refuses.
    pub fn shutdown(&self) -> Result<(), TestkitError> {
        self.send("TPM2_Shutdown", TPM2_SHUTDOWN, TPM_SU_STATE)
    }

    /// Takes the power from the TPM and gives it back: a power cut, unless [`shutdown`](Self::shutdown) came before.
    ///
    /// # Errors
    /// When the TPM refuses what follows.
    pub fn power_cycle(&self, then: PowerUp) -> Result<(), TestkitError> {
        self.control().power_cycle()?;
        self.start_up(then)
    }

    /// Ends the swtpm with SIGKILL, under a command if one is in progress, and starts another on the same state.
    ///
    /// # Errors
    /// When it cannot be started again, or refuses what follows.
    pub fn kill_and_respawn(&self, then: PowerUp) -> Result<(), TestkitError> {
        self.control().kill()?;
        let options = SwtpmOptions::in_folder(self.state.path()).without_startup();
        self.link.replace(Instant::now() + WITHIN, |dead| {
            drop(dead);
            let transport = SwtpmTransport::start(&options)?;
            *self.control.lock().unwrap_or_else(PoisonError::into_inner) = transport.control();
            Ok::<_, TestkitError>(transport)
        })?;
        self.start_up(then)
    }

    /// Serves the TPM to other programs, such as `tpm2-tools` or the command line, while it is used here too.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn serve(&self) -> Result<Served, TestkitError> {
        Served::start(self.transport())
    }

    fn start_up(&self, then: PowerUp) -> Result<(), TestkitError> {
        match then {
            PowerUp::Clear => self.send("TPM2_Startup(CLEAR)", TPM2_STARTUP, TPM_SU_CLEAR),
            PowerUp::Resume => self.send("TPM2_Startup(STATE)", TPM2_STARTUP, TPM_SU_STATE),
            PowerUp::Nothing => Ok(()),
        }
    }

    fn send(&self, command: &'static str, code: u32, parameter: u16) -> Result<(), TestkitError> {
        let bytes = [
            [0x80, 1, 0, 0, 0, 12].as_slice(),
            &code.to_be_bytes(),
            &parameter.to_be_bytes(),
        ]
        .concat();
        let mut response = Vec::new();
        self.transport()
            .transmit(&bytes, &mut response, Instant::now() + WITHIN)?;
        match response
            .get(6..10)
            .and_then(|code| code.try_into().ok())
            .map(u32::from_be_bytes)
        {
            Some(0) => Ok(()),
            other => Err(TestkitError::Refused {
                command,
                code: other.unwrap_or(u32::MAX),
            }),
        }
    }
}

fn state_folder() -> Result<TempDir, TestkitError> {
    let state = tempfile::Builder::new().prefix("alcub3-testkit-").tempdir();
    state.map_err(TestkitError::io("making a folder for the TPM's state"))
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        // A transport of it may still be about; the process must not outlive its state.
        let _ = self.control().kill();
    }
}
