//! How fast messages may come.

use super::LinkRefusal;

/// The most messages in one second of one connection.
pub(super) const MOST_PER_SECOND: u32 = 500;
const SECOND_MS: u64 = 1000;

/// Counts messages in seconds that begin with the first message of each.
#[derive(Debug, Default)]
pub(super) struct Pace {
    since_ms: u64,
    count: u32,
}

impl Pace {
    pub(super) fn count(&mut self, now_ms: u64) -> Result<(), LinkRefusal> {
        if now_ms.saturating_sub(self.since_ms) >= SECOND_MS {
            *self = Self {
                since_ms: now_ms,
                count: 0,
            };
        }
        self.count = self.count.saturating_add(1);
        if self.count > MOST_PER_SECOND {
            Err(LinkRefusal::TooMany(MOST_PER_SECOND))
        } else {
            Ok(())
        }
    }
}
