//! When an entry is on the disk, and when a checkpoint leaves the robot: policies over a time that is handed in.

use alcub3_trust_model::Level;

/// When a decision may take effect.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum Durability {
    /// Once its entry is on the disk.
    Durable,
    /// At once: the disk is at most so far behind.
    Bounded {
        /// How far, in milliseconds.
        within_ms: u32,
    },
}

impl Durability {
    /// The class of decisions at a level: all but those that are released to anyone are on the disk first.
    pub const fn of(level: Level) -> Self {
        match level {
            Level::Unclassified => Self::Bounded { within_ms: 500 },
            Level::Cui | Level::Confidential | Level::Secret | Level::TopSecret => Self::Durable,
        }
    }

    /// What an entry says of it: see [`crate::Entry::within_ms`].
    pub const fn within_ms(self) -> Option<u32> {
        match self {
            Self::Durable => None,
            Self::Bounded { within_ms } => Some(within_ms),
        }
    }
}

/// The longest between two checkpoints that leave the robot while it has a link, in milliseconds.
pub const CHECKPOINT_MS: u64 = 60_000;
/// When the next is due after one that left: there is time for tries that fail.
const DUE_MS: u64 = 40_000;
/// The pause after a try that failed.
const RETRY_MS: u64 = 5_000;
/// With so many new entries a checkpoint is made, with a link or without: a start reads no more than what is behind the last.
pub const CHECKPOINT_ENTRIES: u64 = 65_536;

/// What is due.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Due {
    /// Nothing before this time, in milliseconds.
    At(u64),
    /// A checkpoint is to be made; and to be sent, where there is a link.
    Make,
    /// The last checkpoint is to be sent: nothing was added since.
    Send,
}

/// When a log's checkpoints are made and leave.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CheckpointSchedule {
    /// Entries under the last checkpoint that was made.
    made: u64,
    /// When the last left, and how many entries it has.
    left: Option<(u64, u64)>,
    /// When a try failed last.
    failed_ms: Option<u64>,
}

impl CheckpointSchedule {
    /// The schedule of a log whose last checkpoint has `made` entries.
    pub const fn new(made: u64) -> Self {
        Self {
            made,
            left: None,
            failed_ms: None,
        }
    }

    /// What is due at a time of a clock that only goes forward, in milliseconds, for a log of `size` entries.
    pub fn due(&self, now_ms: u64, size: u64, has_link: bool) -> Due {
        if let Some(failed_ms) = self.failed_ms
            && now_ms < failed_ms.saturating_add(RETRY_MS)
        {
            return Due::At(failed_ms.saturating_add(RETRY_MS));
        }
        let added = size.saturating_sub(self.made);
        if added >= CHECKPOINT_ENTRIES {
            return Due::Make;
        }
        let due_ms = match self.left {
            Some((left_ms, _)) => left_ms.saturating_add(DUE_MS),
            None => now_ms,
        };
        match (has_link, now_ms < due_ms, added) {
            // Without a link the next look is when one would be due with it.
            (false, _, _) => Due::At(due_ms.max(now_ms.saturating_add(RETRY_MS))),
            (true, true, _) => Due::At(due_ms),
            (true, false, 0) => Due::Send,
            (true, false, _) => Due::Make,
        }
    }

    /// Whether a log of `size` entries has some that are under no checkpoint.
    pub const fn is_behind(&self, size: u64) -> bool {
        size > self.made
    }

    /// A checkpoint of so many entries was made.
    pub const fn made(&mut self, size: u64) {
        self.made = size;
        self.failed_ms = None;
    }

    /// The last checkpoint left the robot and was taken.
    pub const fn left(&mut self, now_ms: u64) {
        self.left = Some((now_ms, self.made));
        self.failed_ms = None;
    }

    /// A checkpoint could not be made or sent.
    pub const fn failed(&mut self, now_ms: u64) {
        self.failed_ms = Some(now_ms);
    }

    /// How many entries the last checkpoint has that left, and when it did.
    pub const fn last_left(&self) -> Option<(u64, u64)> {
        self.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a schedule in steps of a millisecond-clock that jumps as it is told; gives when checkpoints left.
    fn run(hours: u64, link: impl Fn(u64) -> bool, works: impl Fn(u64) -> bool) -> Vec<u64> {
        let (mut schedule, mut left, mut now_ms, mut size) = (CheckpointSchedule::new(0), Vec::new(), 0, 1);
        while now_ms < hours * 3_600_000 {
            size += now_ms % 3;
            match schedule.due(now_ms, size, link(now_ms)) {
                Due::At(next) => {
                    assert!(next > now_ms, "it would spin");
                    now_ms = next.min(now_ms + 1_000);
                    continue;
                }
                Due::Make if works(now_ms) => schedule.made(size),
                Due::Send if works(now_ms) => {}
                Due::Make | Due::Send => {
                    schedule.failed(now_ms);
                    continue;
                }
            }
            if link(now_ms) {
                schedule.left(now_ms);
                left.push(now_ms);
            }
            now_ms += 1;
        }
        left
    }

    fn longest_gap(left: &[u64]) -> u64 {
        left.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
    }

    #[test]
    fn a_checkpoint_leaves_every_minute_while_there_is_a_link() {
        let left = run(6, |_| true, |_| true);
        assert!(left[0] < 1_000 && longest_gap(&left) <= CHECKPOINT_MS);
        // Two tries of three fail.
        let left = run(6, |_| true, |now_ms| now_ms / 5_000 % 3 == 0);
        assert!(longest_gap(&left) <= CHECKPOINT_MS, "{}", longest_gap(&left));
    }

    #[test]
    fn a_link_that_comes_back_is_used_at_once() {
        let minutes_on = |now_ms: u64| now_ms / 60_000 % 10 < 3;
        let left = run(3, minutes_on, |_| true);
        for begin in (0..18).map(|round| round * 600_000) {
            let first = left.iter().find(|at| **at >= begin).unwrap();
            assert!(first - begin <= RETRY_MS + 1_000, "{begin}: {first}");
        }
        assert!(left.iter().all(|at| minutes_on(*at)));
    }

    #[test]
    fn without_a_link_a_checkpoint_is_made_when_much_was_added() {
        let mut schedule = CheckpointSchedule::new(5);
        assert!(matches!(
            schedule.due(0, CHECKPOINT_ENTRIES + 4, false),
            Due::At(_)
        ));
        assert_eq!(schedule.due(0, CHECKPOINT_ENTRIES + 5, false), Due::Make);
        schedule.made(CHECKPOINT_ENTRIES + 5);
        assert!(matches!(
            schedule.due(0, CHECKPOINT_ENTRIES + 6, false),
            Due::At(_)
        ));
        assert_eq!(schedule.due(0, CHECKPOINT_ENTRIES + 5, true), Due::Send);
    }

    #[test]
    fn only_what_anyone_may_know_takes_effect_before_it_is_on_the_disk() {
        for level in Level::ALL {
            let durable = Durability::of(level) == Durability::Durable;
            assert_eq!(durable, level > Level::Unclassified);
            assert_eq!(Durability::of(level).within_ms().is_none(), durable);
        }
    }
}
