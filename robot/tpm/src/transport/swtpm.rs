//! A `swtpm` child of this process, over a socket pair: no port and no path to reach it by.

use super::channel::{Channel, Framing};
use super::os;
use super::swtpm_control::SwtpmControl;
use super::{Transport, TransportError, TransportKind};
use std::fmt::Write as _;
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long swtpm may take from its start to its first answer; seen are 5 to 17 ms.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// How long swtpm may take to end by itself after its data channel was closed.
const END_WITHIN: Duration = Duration::from_secs(2);

/// How to start a swtpm.
#[derive(Clone, Debug)]
pub struct SwtpmOptions {
    state: Option<PathBuf>,
    startup: bool,
    program: PathBuf,
}

impl SwtpmOptions {
    /// A new TPM whose state is deleted when the transport is dropped.
    pub fn throwaway() -> Self {
        Self {
            state: None,
            startup: true,
            program: "swtpm".into(),
        }
    }

    /// The TPM whose state is in `folder`; the folder is made, for this user only, where it is absent.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self {
            state: Some(folder.into()),
            ..Self::throwaway()
        }
    }

    /// Leaves `TPM2_Startup` to the caller, so that a restart or a resume (`TPM_SU_STATE`) can be had.
    #[must_use]
    pub fn without_startup(mut self) -> Self {
        self.startup = false;
        self
    }

    /// Another program than the `swtpm` in PATH.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }
}

/// The data channel of a swtpm child; swtpm ends when this is dropped, or when this process ends in any way,
/// because either closes the only other end of its channel (`--terminate`).
pub struct SwtpmTransport {
    channel: Channel<UnixStream>,
    control: SwtpmControl,
    state: StateFolder,
}

impl SwtpmTransport {
    /// Starts swtpm and waits until it is ready.
    ///
    /// # Errors
    /// [`TransportError::SwtpmMissing`], [`StateLocked`](TransportError::StateLocked),
    /// [`StateCorrupt`](TransportError::StateCorrupt), [`PermissionDenied`](TransportError::PermissionDenied),
    /// [`BadStatePath`](TransportError::BadStatePath), [`SwtpmExited`](TransportError::SwtpmExited) with what it
    /// printed, or [`Io`](TransportError::Io).
    pub fn start(options: &SwtpmOptions) -> Result<Self, TransportError> {
        let state = StateFolder::prepare(options.state.as_deref())?;
        let (data, control) = spawn(options, state.path())?;
        let transport = Self {
            channel: Channel::new(data, Framing::Stream),
            control,
            state,
        };
        match transport.control.wait_until_ready(READY_WITHIN) {
            Ok(()) => Ok(transport),
            Err(TransportError::Disconnected) => Err(transport.startup_failure()),
            Err(error) => Err(error),
        }
    }

    /// A handle to its power, locality and life for any thread.
    pub fn control(&self) -> SwtpmControl {
        self.control.clone()
    }

    fn startup_failure(&self) -> TransportError {
        match self.control.last_words(END_WITHIN) {
            Some((status, stderr)) => match explain(&stderr, self.state.path()) {
                Some(error) => error,
                None => TransportError::SwtpmExited { status, stderr },
            },
            None => TransportError::Disconnected,
        }
    }
}

impl Transport for SwtpmTransport {
    fn transmit(
        &mut self,
        command: &[u8],
        response: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<(), TransportError> {
        let error = match self.channel.transmit(command, response, deadline) {
            Err(TransportError::Disconnected) => TransportError::Disconnected,
            other => return other,
        };
        match self.control.last_words(Duration::from_millis(200)) {
            Some((status, stderr)) => Err(TransportError::SwtpmExited { status, stderr }),
            None => Err(error),
        }
    }

    fn kind(&self) -> TransportKind {
        TransportKind::Swtpm
    }
}

impl Drop for SwtpmTransport {
    fn drop(&mut self) {
        // A swtpm whose state is deleted anyway need not be waited for.
        let grace = if self.state.throwaway {
            Duration::ZERO
        } else {
            END_WITHIN
        };
        if let Err(error) = self.channel.file().shutdown(std::net::Shutdown::Both) {
            tracing::debug!(%error, "swtpm's data channel was closed already");
        }
        self.control.end(grace);
    }
}

/// Starts the child; the parent's ends of its two channels.
fn spawn(options: &SwtpmOptions, state: &Path) -> Result<(UnixStream, SwtpmControl), TransportError> {
    let pair = || UnixStream::pair().map_err(TransportError::io("making a socket pair for swtpm"));
    let (data, data_child) = pair()?;
    let (control, control_child) = pair()?;
    let (stderr, stderr_child) = pair()?;
    // A child that prints more than the socket holds must not block on it, nor this process on reading.
    for stream in [&data, &stderr, &stderr_child] {
        stream
            .set_nonblocking(true)
            .map_err(TransportError::io("preparing a socket for swtpm"))?;
    }
    let mut command = Command::new(&options.program);
    command
        .args(["socket", "--tpm2", "--terminate", "--flags"])
        .arg(if options.startup {
            "not-need-init,startup-clear"
        } else {
            "not-need-init"
        })
        .arg("--tpmstate")
        .arg(state_argument(state)?)
        .args(["--fd", &data_child.as_raw_fd().to_string()])
        .args([
            "--ctrl",
            &format!("type=unixio,clientfd={}", control_child.as_raw_fd()),
        ])
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(OwnedFd::from(stderr_child));
    os::inherit(&mut command, vec![data_child.into(), control_child.into()]);
    let child = command
        .spawn()
        .map_err(|error| spawn_error(error, &options.program))?;
    // Dropping the command closes this process's copies of the child's ends, so that its end is noticed.
    drop(command);
    Ok((data, SwtpmControl::new(child, control, stderr, state)))
}

fn state_argument(state: &Path) -> Result<std::ffi::OsString, TransportError> {
    if state.as_os_str().as_encoded_bytes().contains(&b',') {
        return Err(TransportError::BadStatePath { path: state.into() });
    }
    let mut argument = std::ffi::OsString::from("dir=");
    argument.push(state);
    argument.push(",mode=0600");
    Ok(argument)
}

fn spawn_error(source: io::Error, program: &Path) -> TransportError {
    match source.kind() {
        ErrorKind::NotFound => TransportError::SwtpmMissing,
        ErrorKind::PermissionDenied => TransportError::PermissionDenied { path: program.into() },
        _ => TransportError::Io {
            what: "starting swtpm",
            source,
        },
    }
}

/// What swtpm 0.7 prints when it cannot use a state folder.
fn explain(stderr: &str, state: &Path) -> Option<TransportError> {
    let path = state.to_path_buf();
    let says = |part: &str| stderr.contains(part);
    if says("Could not lock access to lockfile") {
        Some(TransportError::StateLocked { path })
    } else if says("Permission denied") {
        Some(TransportError::PermissionDenied { path })
    } else if says("Entering failure mode") || says("Unmarshal") {
        Some(TransportError::StateCorrupt {
            path,
            stderr: stderr.to_owned(),
        })
    } else {
        None
    }
}

/// The folder of a TPM's state; a throwaway one is deleted with this.
struct StateFolder {
    path: PathBuf,
    throwaway: bool,
}

impl StateFolder {
    fn prepare(given: Option<&Path>) -> Result<Self, TransportError> {
        let (path, throwaway) = match given {
            Some(path) => (path.to_path_buf(), false),
            None => (std::env::temp_dir().join(random_name()?), true),
        };
        // Without `recursive` an existing folder is an error: a throwaway one must be new, whoever made it.
        let made = DirBuilder::new().mode(0o700).recursive(!throwaway).create(&path);
        made.map_err(|source| match source.kind() {
            ErrorKind::PermissionDenied => TransportError::PermissionDenied { path: path.clone() },
            _ => TransportError::Io {
                what: "making the folder for swtpm's state",
                source,
            },
        })?;
        Ok(Self { path, throwaway })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StateFolder {
    fn drop(&mut self) {
        if self.throwaway
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(folder = %self.path.display(), %error, "a throwaway TPM's state was left behind");
        }
    }
}

fn random_name() -> Result<String, TransportError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| TransportError::Io {
        what: "reading the system's random generator",
        source: io::Error::other(error.to_string()),
    })?;
    let mut name = String::from("alcub3-swtpm-");
    for byte in random {
        let _ = write!(name, "{byte:02x}");
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_swtpm_prints_becomes_an_error_with_a_remedy() {
        let state = Path::new("/var/lib/tpm");
        let of = |stderr| explain(stderr, state);
        let locked = "swtpm: SWTPM_NVRAM_Lock_Dir: Could not lock access to lockfile: Resource temporarily unavailable";
        assert!(matches!(of(locked), Some(TransportError::StateLocked { .. })));
        let denied = "swtpm: SWTPM_NVRAM_Lock_Dir: Could not open lockfile: Permission denied";
        assert!(matches!(
            of(denied),
            Some(TransportError::PermissionDenied { .. })
        ));
        let damaged = "libtpms/tpm2: Entering failure mode; code: 8, location: NvPowerOn line 126";
        assert!(matches!(of(damaged), Some(TransportError::StateCorrupt { .. })));
        assert!(of("swtpm: something else").is_none());
    }

    #[test]
    fn a_throwaway_folder_is_new_private_and_removed() {
        let folder = StateFolder::prepare(None).unwrap();
        let other = StateFolder::prepare(None).unwrap();
        assert_ne!(folder.path(), other.path());
        let path = folder.path().to_path_buf();
        fs::write(path.join("tpm2-00.permall"), b"state").unwrap();
        drop(folder);
        assert!(!path.exists() && other.path().exists());
    }
}
