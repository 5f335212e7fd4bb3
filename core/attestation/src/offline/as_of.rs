//! When a link was made: no earlier than its predecessor, no later than it was received, and as far apart from its neighbours as
//! the TPM's clock says.

use crate::attest::ClockInfo;
use serde::Serialize;

/// Of so many parts of a stretch on the TPM's clock, at least [`REAL_PARTS`] passed in truth: its clock may be fast by 15 %, and
/// may be set another 15 % faster (TPM 2.0 Library Part 1, §36).
const CLOCK_PARTS: u64 = 4;
const REAL_PARTS: u64 = 3;

/// The time that a judgement is of, UTC in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct AsOf {
    /// Not before this time.
    pub earliest_ms: u64,
    /// Not after this time.
    pub latest_ms: u64,
    /// What the robot's own clock said, where the signed state says it.
    pub claimed_ms: Option<u64>,
}

impl AsOf {
    /// The best guess: what the robot says, as far as that can be.
    #[must_use]
    pub fn at_ms(&self) -> u64 {
        let claimed = self.claimed_ms.unwrap_or(self.latest_ms);
        claimed
            .min(self.latest_ms)
            .max(self.earliest_ms.min(self.latest_ms))
    }

    /// How far the truth may be from [`Self::at_ms`], in milliseconds.
    #[must_use]
    pub fn uncertainty_ms(&self) -> u64 {
        let at = self.at_ms();
        at.abs_diff(self.earliest_ms).max(at.abs_diff(self.latest_ms))
    }

    /// Whether no time fits: the TPM's clock went on for longer than there was time.
    #[must_use]
    pub const fn is_contradictory(&self) -> bool {
        self.earliest_ms > self.latest_ms
    }
}

/// How much time passed at least between two readings, in milliseconds. Nothing is known over a reset: the clock stands still
/// without power.
const fn passed(from: ClockInfo, to: ClockInfo) -> u64 {
    if from.reset_count != to.reset_count {
        return 0;
    }
    to.clock_ms.saturating_sub(from.clock_ms) / CLOCK_PARTS * REAL_PARTS
}

/// The bounds of links whose clocks and claims these are, in order: behind a reading that is no older than `quoted_after_ms`, all
/// made after `after_ms` and before `received_ms`.
pub(super) fn bounds(
    (before, quoted_after_ms): (ClockInfo, u64),
    links: &[(ClockInfo, Option<u64>)],
    after_ms: u64,
    received_ms: u64,
) -> Vec<AsOf> {
    let mut bounds = Vec::with_capacity(links.len());
    let (mut last, mut reached) = (before, quoted_after_ms);
    for (clock, claimed_ms) in links {
        reached = reached.saturating_add(passed(last, *clock)).max(after_ms);
        last = *clock;
        bounds.push(AsOf {
            earliest_ms: reached,
            latest_ms: received_ms,
            claimed_ms: *claimed_ms,
        });
    }
    let mut next: Option<(ClockInfo, u64)> = None;
    for (bound, (clock, _)) in bounds.iter_mut().zip(links).rev() {
        if let Some((later, latest_ms)) = next {
            bound.latest_ms = latest_ms.saturating_sub(passed(*clock, later));
        }
        next = Some((*clock, bound.latest_ms));
    }
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn clock(reset_count: u32, clock_ms: u64) -> ClockInfo {
        ClockInfo {
            clock_ms,
            reset_count,
            restart_count: 0,
            safe: true,
        }
    }

    #[test]
    fn a_link_is_after_its_predecessor_before_its_successor_and_as_far_apart_as_the_clock_says() {
        let links = [
            (clock(1, 500_000), Some(1_450_000)),
            (clock(1, 900_000), None),
            (clock(2, 5_000_000), Some(9)),
        ];
        let found = bounds((clock(1, 100_000), 1_000_000), &links, 1_100_000, 3_000_000);
        let pair = |at: usize| (found[at].earliest_ms, found[at].latest_ms);
        // 400 s on the chip's clock are at least 300 s.
        assert_eq!(pair(0), (1_300_000, 2_700_000));
        assert_eq!(pair(1), (1_600_000, 3_000_000));
        // Nothing is known over a reset but the order.
        assert_eq!(pair(2), (1_600_000, 3_000_000));
        assert_eq!(found[0].at_ms(), 1_450_000);
        assert_eq!(found[0].uncertainty_ms(), 1_250_000);
        assert_eq!(found[1].at_ms(), 3_000_000, "it claims nothing");
        assert_eq!(found[2].at_ms(), 1_600_000, "as far as the claim can be");
    }

    #[test]
    fn a_clock_that_went_on_longer_than_there_was_time_fits_no_time() {
        let links = [(clock(1, 9_000_000), None)];
        let found = bounds((clock(1, 0), 1_000_000), &links, 1_000_000, 2_000_000);
        assert!(found[0].is_contradictory());
        assert_eq!(found[0].at_ms(), 2_000_000);
    }
}
