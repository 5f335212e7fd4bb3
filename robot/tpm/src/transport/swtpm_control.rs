//! A swtpm child process: its control channel, its end, and its last words.
//!
//! The control protocol (`swtpm_ioctls(3)`): a big-endian command code and payload out, a big-endian result in.
//! Its CMD_CANCEL_TPM_CMD is of no use here: swtpm reads the control channel only between TPM commands (seen with
//! 0.7.1: answered after the command it should have cancelled, which had succeeded), so there is no canceller.

use super::TransportError;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a control command may take; it waits for the TPM command in progress.
const CONTROL_WITHIN: Duration = Duration::from_secs(30);

/// How much of what swtpm printed is kept for an error, bytes.
const LAST_WORDS: usize = 2048;

/// A control command: code and name.
struct Control(u32, &'static str);

const GET_CAPABILITY: Control = Control(0x01, "CMD_GET_CAPABILITY");
const INIT: Control = Control(0x02, "CMD_INIT");
const SET_LOCALITY: Control = Control(0x05, "CMD_SET_LOCALITY");
const STOP: Control = Control(0x0e, "CMD_STOP");

/// A handle to a swtpm child by which its power, its locality and its life are controlled from any thread.
#[derive(Clone)]
pub struct SwtpmControl(Arc<Process>);

struct Process {
    pid: u32,
    state: PathBuf,
    control: Mutex<ControlChannel>,
    life: Mutex<Life>,
}

struct ControlChannel {
    stream: UnixStream,
    in_step: bool,
}

struct Life {
    child: Child,
    ended: Option<ExitStatus>,
    stderr: UnixStream,
    words: Vec<u8>,
}

impl SwtpmControl {
    pub(super) fn new(child: Child, control: UnixStream, stderr: UnixStream, state: &Path) -> Self {
        Self(Arc::new(Process {
            pid: child.id(),
            state: state.into(),
            control: Mutex::new(ControlChannel {
                stream: control,
                in_step: true,
            }),
            life: Mutex::new(Life {
                child,
                ended: None,
                stderr,
                words: Vec::new(),
            }),
        }))
    }

    /// The child's process number.
    pub fn pid(&self) -> u32 {
        self.0.pid
    }

    /// The folder with the TPM's state.
    pub fn state_dir(&self) -> &Path {
        &self.0.state
    }

    /// Sets the locality of the commands that follow.
    ///
    /// # Errors
    /// [`TransportError::ControlRefused`] for a locality above 4, or what broke the control channel.
    pub fn set_locality(&self, locality: u8) -> Result<(), TransportError> {
        self.call(SET_LOCALITY, &[locality])
    }

    /// Takes the power from the TPM: every command then answers `TPM_RC_FAILURE`.
    ///
    /// # Errors
    /// What broke the control channel.
    pub fn power_off(&self) -> Result<(), TransportError> {
        self.call(STOP, &[])
    }

    /// Gives the TPM power (`_TPM_Init`): the next command must be `TPM2_Startup`.
    ///
    /// # Errors
    /// [`TransportError::ControlRefused`] when the state cannot be read, or what broke the control channel.
    pub fn power_on(&self) -> Result<(), TransportError> {
        self.call(INIT, &0u32.to_be_bytes())
    }

    /// Takes the power away and gives it back. Without a `TPM2_Shutdown` before, this is a power cut; the next
    /// command must be `TPM2_Startup`, with CLEAR, or with STATE after a `TPM2_Shutdown(STATE)`.
    ///
    /// # Errors
    /// As [`power_off`](Self::power_off) and [`power_on`](Self::power_on).
    pub fn power_cycle(&self) -> Result<(), TransportError> {
        self.power_off()?;
        self.power_on()
    }

    /// Ends swtpm with SIGKILL, as a crash would, and returns when it is gone.
    ///
    /// # Errors
    /// [`TransportError::Io`] when the operating system refuses.
    pub fn kill(&self) -> Result<(), TransportError> {
        self.life().end_within(Duration::ZERO).map(|_| ())
    }

    /// Whether swtpm still runs.
    pub fn is_running(&self) -> bool {
        self.life().poll().is_ok_and(|ended| ended.is_none())
    }

    /// Waits until swtpm answers on its control channel.
    pub(super) fn wait_until_ready(&self, within: Duration) -> Result<(), TransportError> {
        self.exchange(GET_CAPABILITY, &[], &mut [0; 8], within)
    }

    /// Lets it end by itself, its data channel being closed, and ends it by force after `grace`.
    pub(super) fn end(&self, grace: Duration) {
        if let Err(error) = self.life().end_within(grace) {
            tracing::warn!(pid = self.0.pid, %error, "swtpm could not be ended");
        }
    }

    /// How it ended and what it printed, where it has ended or does so within `grace`.
    pub(super) fn last_words(&self, grace: Duration) -> Option<(ExitStatus, String)> {
        let mut life = self.life();
        let status = life.wait_until(Instant::now() + grace).ok()??;
        Some((status, life.read_words()))
    }

    fn call(&self, control: Control, payload: &[u8]) -> Result<(), TransportError> {
        let name = control.1;
        let mut result = [0; 4];
        self.exchange(control, payload, &mut result, CONTROL_WITHIN)?;
        match u32::from_be_bytes(result) {
            0 => Ok(()),
            result => Err(TransportError::ControlRefused {
                command: name,
                result,
            }),
        }
    }

    fn exchange(
        &self,
        Control(code, _): Control,
        payload: &[u8],
        answer: &mut [u8],
        within: Duration,
    ) -> Result<(), TransportError> {
        let mut channel = lock(&self.0.control);
        if !channel.in_step {
            return Err(TransportError::Poisoned);
        }
        channel.in_step = false;
        channel.exchange(&[&code.to_be_bytes(), payload].concat(), answer, within)?;
        channel.in_step = true;
        Ok(())
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        lock(&self.0.life)
    }
}

/// A panic of another thread while it held the lock changes nothing in what the lock guards.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ControlChannel {
    fn exchange(
        &mut self,
        request: &[u8],
        answer: &mut [u8],
        within: Duration,
    ) -> Result<(), TransportError> {
        let failed = |source: io::Error| match source.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => TransportError::DeadlineExceeded { after: within },
            ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
                TransportError::Disconnected
            }
            _ => TransportError::Io {
                what: "talking to swtpm's control channel",
                source,
            },
        };
        self.stream.set_read_timeout(Some(within)).map_err(failed)?;
        self.stream.write_all(request).map_err(failed)?;
        self.stream.read_exact(answer).map_err(failed)
    }
}

impl Life {
    fn poll(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended)
    }

    fn wait_until(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        let mut pause = Duration::from_micros(100);
        loop {
            let ended = self.poll()?;
            if ended.is_some() || Instant::now() >= deadline {
                return Ok(ended);
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }

    fn end_within(&mut self, grace: Duration) -> Result<ExitStatus, TransportError> {
        let failed = TransportError::io;
        if let Some(status) = self
            .wait_until(Instant::now() + grace)
            .map_err(failed("waiting for swtpm to end"))?
        {
            return Ok(status);
        }
        self.child.kill().map_err(failed("ending swtpm"))?;
        let status = self.child.wait().map_err(failed("waiting for swtpm to end"))?;
        self.ended = Some(status);
        Ok(status)
    }

    /// What swtpm printed, the end of it. The descriptor does not block.
    fn read_words(&mut self) -> String {
        let mut piece = [0; 1024];
        while let Ok(n @ 1..) = self.stderr.read(&mut piece) {
            self.words.extend_from_slice(piece.get(..n).unwrap_or_default());
            let surplus = self.words.len().saturating_sub(LAST_WORDS);
            self.words.drain(..surplus);
        }
        String::from_utf8_lossy(&self.words).trim().to_owned()
    }
}
