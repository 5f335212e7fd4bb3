//! What can go wrong between this process and the TPM.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a command did not get its response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// There is no such device file.
    #[error(
        "no TPM device at {}: enable the TPM (fTPM, PTT) in the firmware settings, check that the kernel driver \
         is loaded (`dmesg | grep -i tpm`), or name another one with --tpm device:PATH", path.display()
    )]
    DeviceAbsent {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The device file, socket or folder may not be used by this user.
    #[error(
        "no permission for {}: for a TPM device add the user to the group `tss` and log in again, else make it \
         readable and writable for this user", path.display()
    )]
    PermissionDenied {
        /// What may not be opened.
        path: PathBuf,
    },
    /// Another program holds the device.
    #[error(
        "the TPM device {} is in use by another program: use /dev/tpmrm0, which can be shared, or stop the other \
         program (`fuser -v {}`)", path.display(), path.display()
    )]
    DeviceBusy {
        /// The device.
        path: PathBuf,
    },
    /// The path is no TPM device.
    #[error("{} is not a TPM character device: name one such as /dev/tpmrm0 with --tpm device:PATH", path.display())]
    NotADevice {
        /// What was named.
        path: PathBuf,
    },
    /// The `swtpm` program is not installed.
    #[error(
        "the program `swtpm` was not found in PATH: install it (package `swtpm`) or use another --tpm SPEC"
    )]
    SwtpmMissing,
    /// The `swtpm` child has ended.
    #[error("swtpm ended with {status}: {}", Tail(stderr))]
    SwtpmExited {
        /// How it ended.
        status: ExitStatus,
        /// The last lines of what it printed on stderr; may be empty.
        stderr: String,
    },
    /// Another swtpm uses the state folder.
    #[error(
        "the TPM state in {} is locked by another swtpm: stop that one or name another folder with --tpm swtpm:DIR",
        path.display()
    )]
    StateLocked {
        /// The state folder.
        path: PathBuf,
    },
    /// swtpm cannot read the state in its folder.
    #[error(
        "the TPM state in {} cannot be used: it was damaged or made by a newer swtpm; restore it from a copy or \
         name an empty folder: {}", path.display(), Tail(stderr)
    )]
    StateCorrupt {
        /// The state folder.
        path: PathBuf,
        /// The last lines of what swtpm printed on stderr.
        stderr: String,
    },
    /// swtpm's control channel answered with an error.
    #[error(
        "swtpm refused the control command {command} with result 0x{result:x}: check swtpm's version and state folder"
    )]
    ControlRefused {
        /// The control command's name.
        command: &'static str,
        /// swtpm's result code.
        result: u32,
    },
    /// Nothing listens at the address.
    #[error("no TPM simulator answers at {address}: start it, or correct --tpm socket:{address}: {source}")]
    ConnectFailed {
        /// The address as it was given.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The response had not arrived when the deadline passed.
    #[error(
        "the TPM did not answer within {after:?}: allow more time; if it never answers, power the chip off and on"
    )]
    DeadlineExceeded {
        /// How long was waited.
        after: Duration,
    },
    /// An earlier response was late or malformed, so the channel is out of step; nothing was sent.
    #[error(
        "the channel to the TPM is out of step after an earlier late or malformed answer, so this command was not \
         sent: allow more time for the late answer to be read away, or open the TPM again"
    )]
    Poisoned,
    /// The other end closed the channel.
    #[error(
        "the channel to the TPM was closed by the other end: open the TPM again; if it persists, see its log"
    )]
    Disconnected,
    /// A message is shorter than its header says or shorter than a header.
    #[error(
        "a TPM message of {got} bytes came where {expected} were expected: the bus, driver or simulator is faulty \
         or hostile; nothing of it was used"
    )]
    Truncated {
        /// What the header or the specification asks for, bytes.
        expected: usize,
        /// What came, bytes.
        got: usize,
    },
    /// A response declares or has more bytes than any chip may send.
    #[error(
        "a TPM response of {declared} bytes was announced, more than allowed here: the bus, driver or \
         simulator is faulty or hostile; nothing of it was used"
    )]
    ResponseTooLong {
        /// The announced or received size, bytes.
        declared: usize,
    },
    /// The state folder cannot be named to swtpm.
    #[error("swtpm cannot use the state folder {}: its path has a comma; choose another folder", path.display())]
    BadStatePath {
        /// The folder.
        path: PathBuf,
    },
    /// The command handed in is not one whole TPM command.
    #[error("a command of {length} bytes is not one whole TPM command of 10 to 4096 bytes; nothing was sent")]
    BadCommand {
        /// Its length, bytes.
        length: usize,
    },
    /// A replayed command is not the one the capture holds.
    #[error(
        "replay: command {ordinal} differs from the capture at byte {offset}: the capture was made by another \
         version or sequence; record it again"
    )]
    ReplayMismatch {
        /// Number of the command, from 0.
        ordinal: usize,
        /// First byte that differs.
        offset: usize,
    },
    /// The capture has no further command.
    #[error("replay: the capture ends after {recorded} commands; record it again")]
    ReplayExhausted {
        /// How many it holds.
        recorded: usize,
    },
    /// The capture file is not valid.
    #[error("the TPM capture is invalid at byte {offset}: {what}; record it again")]
    BadCapture {
        /// Where.
        offset: usize,
        /// What was found.
        what: &'static str,
    },
    /// The operating system refused something else.
    #[error("{what}: {source}; see the operating system's message")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

impl TransportError {
    /// Wraps an I/O error with what was being done.
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}

/// Prints swtpm's last words, or that there were none.
struct Tail<'a>(&'a str);

impl std::fmt::Display for Tail<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.trim() {
            "" => f.write_str("it printed no reason; run `swtpm socket --tpm2` by hand to see one"),
            text => f.write_str(text),
        }
    }
}
