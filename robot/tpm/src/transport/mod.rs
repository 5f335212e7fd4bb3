//! Channels to a TPM: one command out, one response in, with a deadline.
//!
//! Every transport here refuses to give the response of one command as the answer to another: once a deadline
//! has passed before the whole response was read, the channel is out of step and says [`TransportError::Poisoned`]
//! until the late response was read away or the channel is opened again.
//!
//! There is no fallback from one kind of channel to another. [`TransportKind::is_simulator`] says whether what
//! answers is a program instead of a chip.

mod channel;
mod counted;
mod device;
mod error;
mod os;
mod recorded;
mod socket;
mod swaps;
mod swtpm;
mod swtpm_control;
mod timed;

pub use counted::{COUNTED_LOG, Counted, Counts};
pub use device::{DEFAULT_DEVICE, DeviceTransport};
pub use error::TransportError;
pub use recorded::{Capture, Exchange, Outcome, Recorded, Replay, Tape};
pub use socket::{SocketAddress, SocketTransport};
pub use swtpm::{SwtpmOptions, SwtpmTransport};
pub use swtpm_control::SwtpmControl;
pub use timed::{ChipModel, ModelClock, Timed, TimedMode};

use std::time::Instant;

/// The longest command or response of any chip this crate talks to, bytes (`TPM_PT_MAX_COMMAND_SIZE` is 4096 at most).
pub const MAX_MESSAGE: usize = 4096;

/// The header of every command and response (TPM 2.0 Part 1, 18): tag, size, code; bytes.
pub const HEADER: usize = 10;

/// One command out, one response in. Blocking, with a deadline. Owned by one thread.
pub trait Transport: Send {
    /// Sends `command` (a whole TPM command, at most [`MAX_MESSAGE`] bytes) and reads the whole response into
    /// `response`, which is cleared first.
    ///
    /// # Errors
    /// Whatever kept the whole response from arriving before `deadline`; `response` is then empty.
    fn transmit(
        &mut self,
        command: &[u8],
        response: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<(), TransportError>;

    /// A handle by which another thread asks the chip to give up the command in progress; `None` where the
    /// transport cannot. A cancelled command answers `TPM_RC_CANCELED`, or as usual when it was too late.
    fn canceller(&self) -> Option<Box<dyn Cancel>> {
        None
    }

    /// A second, independent descriptor to the same chip for the emergency lane; `None` where there is only one
    /// channel.
    ///
    /// # Errors
    /// When there can be a second descriptor but it could not be opened.
    fn emergency(&mut self) -> Result<Option<Box<dyn Transport>>, TransportError> {
        Ok(None)
    }

    /// What kind of chip channel this is.
    fn kind(&self) -> TransportKind;
}

/// Asks a chip to give up the command in progress.
pub trait Cancel: Send + Sync {
    /// Asks; does not wait for the command to end.
    ///
    /// # Errors
    /// When the request could not be delivered.
    fn cancel(&self) -> Result<(), TransportError>;
}

/// What is at the other end of a transport.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum TransportKind {
    /// `/dev/tpmrm0`: the kernel swaps objects and sessions around every command.
    DeviceResourceManager,
    /// `/dev/tpm0`: the chip as it is, for one program at a time.
    DeviceRaw,
    /// A `swtpm` this process started.
    Swtpm,
    /// A simulator that was running already, reached over TCP or a UNIX socket.
    Socket,
}

impl TransportKind {
    /// Whether a program answers instead of a chip, so that evidence made over it must say so.
    pub const fn is_simulator(self) -> bool {
        matches!(self, Self::Swtpm | Self::Socket)
    }
}

impl<T: Transport + ?Sized> Transport for Box<T> {
    fn transmit(
        &mut self,
        command: &[u8],
        response: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<(), TransportError> {
        (**self).transmit(command, response, deadline)
    }

    fn canceller(&self) -> Option<Box<dyn Cancel>> {
        (**self).canceller()
    }

    fn emergency(&mut self) -> Result<Option<Box<dyn Transport>>, TransportError> {
        (**self).emergency()
    }

    fn kind(&self) -> TransportKind {
        (**self).kind()
    }
}
