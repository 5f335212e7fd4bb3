//! Crashes at a chosen command, to prove that a start after any crash finds its way.

use alcub3_tpm::transport::{Cancel, SwtpmControl, Transport, TransportError, TransportKind};
use std::time::Instant;

/// When the swtpm is killed; commands are counted from 0.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum CrashPoint {
    /// Before this command reaches the TPM.
    Before(u64),
    /// After the TPM has done this command, before the caller hears of it.
    After(u64),
}

/// A transport whose swtpm is killed (SIGKILL) at one command.
///
/// The way to try every crash: run the operation with `Before(0)`, `After(0)`, `Before(1)`, … until it succeeds.
pub struct Crashing<T> {
    inner: T,
    control: SwtpmControl,
    point: CrashPoint,
    next: u64,
}

impl<T: Transport> Crashing<T> {
    /// Kills the swtpm behind `control`, which is the one behind `inner`, at `point`.
    pub fn new(inner: T, control: SwtpmControl, point: CrashPoint) -> Self {
        Self {
            inner,
            control,
            point,
            next: 0,
        }
    }
}

impl<T: Transport> Transport for Crashing<T> {
    fn transmit(
        &mut self,
        command: &[u8],
        response: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<(), TransportError> {
        let ordinal = self.next;
        self.next += 1;
        if self.point == CrashPoint::Before(ordinal) {
            self.control.kill()?;
        }
        self.inner.transmit(command, response, deadline)?;
        if self.point == CrashPoint::After(ordinal) {
            self.control.kill()?;
            response.clear();
            return Err(TransportError::Disconnected);
        }
        Ok(())
    }

    fn canceller(&self) -> Option<Box<dyn Cancel>> {
        self.inner.canceller()
    }

    fn kind(&self) -> TransportKind {
        self.inner.kind()
    }
}
