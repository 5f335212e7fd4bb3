//! The time of day.

use std::time::{SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// UTC in milliseconds since 1970; 0 for a clock before that, with which everything signed is not valid yet.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A time in milliseconds since 1970 as RFC 3339 writes it, to the second; the number where it has no such form.
pub(crate) fn written(utc_ms: u64) -> String {
    let seconds = i64::try_from(utc_ms / 1000).ok();
    let time = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    time.and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| utc_ms.to_string())
}
