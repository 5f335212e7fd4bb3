//! What the service manager is told (sd_notify(3)), and the pulse by which it sees that the agent lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// Tells the service manager; without one there is nobody to tell.
pub(super) fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        tracing::warn!(%error, "the service manager was not told");
    }
}

/// How often the service manager wants to hear from the agent; nothing where it does not.
pub(super) fn watchdog() -> Option<Duration> {
    let mut microseconds = 0;
    let asked = sd_notify::watchdog_enabled(false, &mut microseconds);
    asked.then(|| Duration::from_micros(microseconds))
}

/// When a part of the agent was last seen at work.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    begun: Instant,
    beat_ms: Arc<AtomicU64>,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            begun: Instant::now(),
            beat_ms: Arc::default(),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn beat(&self) {
        self.beat_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Whether it was at work within that time.
    pub(super) fn is_alive(&self, within: Duration) -> bool {
        let silent_ms = self.now_ms().saturating_sub(self.beat_ms.load(Ordering::Relaxed));
        Duration::from_millis(silent_ms) <= within
    }
}
