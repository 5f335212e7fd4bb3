//! Several users of one TPM, one command at a time, as the kernel's device gives them.

use alcub3_tpm::transport::{SwtpmTransport, Transport, TransportError, TransportKind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The place where the transport is while nobody uses it.
#[derive(Default)]
pub(crate) struct Link {
    resting: Mutex<Option<SwtpmTransport>>,
    returned: Condvar,
}

impl Link {
    pub(crate) fn new(transport: SwtpmTransport) -> Arc<Self> {
        Arc::new(Self {
            resting: Mutex::new(Some(transport)),
            returned: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<SwtpmTransport>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody uses the transport; none at the deadline.
    fn take(&self, deadline: Instant) -> Option<SwtpmTransport> {
        let mut resting = self.lock();
        loop {
            if let Some(transport) = resting.take() {
                return Some(transport);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.returned.wait_timeout(resting, left);
            resting = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn put(&self, transport: SwtpmTransport) {
        *self.lock() = Some(transport);
        self.returned.notify_one();
    }

    /// Gives the link's transport, once nobody uses it, to `exchange`, which hands back the one to go on with.
    pub(crate) fn replace<E>(
        &self,
        deadline: Instant,
        exchange: impl FnOnce(SwtpmTransport) -> Result<SwtpmTransport, E>,
    ) -> Result<(), E>
    where
        E: From<TransportError>,
    {
        let Some(transport) = self.take(deadline) else {
            return Err(TransportError::DeadlineExceeded {
                after: std::time::Duration::ZERO,
            }
            .into());
        };
        self.put(exchange(transport)?);
        Ok(())
    }
}

/// One user's channel to a [`crate::Swtpm`]; [`Transport::emergency`] gives another.
///
/// It stays usable when the swtpm was killed and started again, as a descriptor does when a chip loses its power:
/// what the chip held in memory is gone.
#[derive(Clone)]
pub struct SharedTransport(pub(crate) Arc<Link>);

impl Transport for SharedTransport {
    fn transmit(
        &mut self,
        command: &[u8],
        response: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<(), TransportError> {
        response.clear();
        let begun = Instant::now();
        let Some(mut transport) = self.0.take(deadline) else {
            return Err(TransportError::DeadlineExceeded {
                after: begun.elapsed(),
            });
        };
        let result = transport.transmit(command, response, deadline);
        self.0.put(transport);
        result
    }

    fn emergency(&mut self) -> Result<Option<Box<dyn Transport>>, TransportError> {
        Ok(Some(Box::new(self.clone())))
    }

    fn kind(&self) -> TransportKind {
        TransportKind::Swtpm
    }
}
