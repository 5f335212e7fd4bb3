//! The time of day.

use std::time::{SystemTime, UNIX_EPOCH};

/// UTC in milliseconds since 1970; 0 for a clock before that, with which everything signed is not valid yet.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
