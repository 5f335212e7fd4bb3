//! The time that the parts of this crate are handed.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A clock. The monotonic time orders and measures; the wall time is for people and for envelopes' expiry.
pub trait Clock: Send + Sync {
    /// Nanoseconds since a fixed moment of this process. Never goes back.
    fn monotonic_ns(&self) -> u64;
    /// UTC in milliseconds since 1970; nothing when the clock is known to be wrong.
    fn utc_ms(&self) -> Option<u64>;
}

/// The operating system's clock.
#[derive(Clone, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn utc_ms(&self) -> Option<u64> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(since.as_millis()).ok()
    }
}
