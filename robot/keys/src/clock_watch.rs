//! The chip's clock as it was last seen, so that a chip whose state was put back is found out.
//!
//! `clock` stands still without power and `safe` is NO for a while after a power cut (DESIGN §4): neither is held
//! against the chip. A lower reset count is, and so is a lower clock without a reset, or one that the chip calls safe.

use crate::robot::RobotKeys;
use crate::state::StateFolder;
use crate::{KeyRefusal, KeysError, Result};
use alcub3_tpm::Lane;
use alcub3_tpm::ops::ClockReading;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Reader};

const FILE: &str = "clock.cbor";
const DOMAIN: &str = "alcub3/seen-clock/v1";
const VERSION: u64 = 1;
/// How far the clock moves between two writes of what was seen, in milliseconds: a bound on the disk's wear.
const STEP_MS: u64 = 10_000;

/// The highest reset count and clock that this robot has seen.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct SeenClock {
    /// TPMS_CLOCK_INFO.resetCount.
    pub reset_count: u32,
    /// TPMS_CLOCK_INFO.clock, in milliseconds.
    pub clock_ms: u64,
}

impl SeenClock {
    const fn of(now: &ClockReading) -> Self {
        Self {
            reset_count: now.reset_count,
            clock_ms: now.clock_ms,
        }
    }

    /// Whether a reading is of an older state of the chip than the one seen.
    pub const fn went_back(&self, now: &ClockReading) -> bool {
        let lower = now.clock_ms < self.clock_ms;
        let was_reset = now.reset_count > self.reset_count;
        now.reset_count < self.reset_count || lower && (now.safe || !was_reset)
    }

    const fn is_overtaken_by(&self, now: &ClockReading) -> bool {
        now.reset_count > self.reset_count || now.clock_ms >= self.clock_ms.saturating_add(STEP_MS)
    }

    /// The record's bytes.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(DOMAIN, VERSION, 2);
        out.u64(2).u64(self.reset_count.into()).u64(3).u64(self.clock_ms);
        out.finish()
    }

    /// The record of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        fields.key(r, 2, "reset_count")?;
        let reset_count = r.u32("reset_count")?;
        fields.key(r, 3, "clock_ms")?;
        let clock_ms = r.u64("clock_ms")?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            reset_count,
            clock_ms,
        })
    }

    fn load(folder: &StateFolder) -> Result<Option<Self>> {
        let read = folder.read(FILE)?.map(|bytes| Self::from_canonical(&bytes));
        read.transpose().map_err(|source| KeysError::Record {
            name: FILE.into(),
            source,
        })
    }
}

impl RobotKeys {
    /// The chip's clock, compared with what was seen of it. Commands: 1 ReadClock.
    ///
    /// # Errors
    /// [`KeyRefusal::ClockWentBack`]; the chip's or the folder's.
    pub fn observed_clock(&self) -> Result<ClockReading> {
        let now = self.run(Lane::Background, |chip| chip.read_clock())?;
        self.judge_clock(&now)?;
        Ok(now)
    }

    /// Compares a reading with what was seen, and remembers it where it is ahead. Commands: none.
    ///
    /// # Errors
    /// As [`Self::observed_clock`].
    pub fn judge_clock(&self, now: &ClockReading) -> Result<()> {
        match SeenClock::load(&self.folder)? {
            Some(seen) if seen.went_back(now) => Err(KeysError::from(KeyRefusal::ClockWentBack {
                reset_count: now.reset_count,
                clock_ms: now.clock_ms,
                seen_reset_count: seen.reset_count,
                seen_clock_ms: seen.clock_ms,
            })),
            Some(seen) if !seen.is_overtaken_by(now) => Ok(()),
            _ => self.accept_clock(now),
        }
    }

    /// Takes a reading for what is seen from now on, also where it went back: once every mission of before has ended.
    ///
    /// # Errors
    /// The folder's.
    pub fn accept_clock(&self, now: &ClockReading) -> Result<()> {
        Ok(self.folder.write(FILE, &SeenClock::of(now).to_canonical())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: SeenClock = SeenClock {
        reset_count: 5,
        clock_ms: 1_000,
    };

    fn reading(reset_count: u32, clock_ms: u64, safe: bool) -> ClockReading {
        ClockReading {
            time_ms: 0,
            clock_ms,
            reset_count,
            restart_count: 0,
            safe,
        }
    }

    #[test]
    fn only_an_older_state_of_the_chip_went_back() {
        for (now, back) in [
            (reading(5, 1_000, true), false),
            (reading(5, 2_000, true), false),
            (reading(6, 2_000, true), false),
            (reading(6, 10, false), false),
            (reading(6, 10, true), true),
            (reading(5, 999, true), true),
            (reading(5, 999, false), true),
            (reading(4, 2_000, true), true),
        ] {
            assert_eq!(SEEN.went_back(&now), back, "{now:?}");
        }
    }

    #[test]
    fn the_record_has_one_encoding() {
        let bytes = SEEN.to_canonical();
        assert_eq!(SeenClock::from_canonical(&bytes).unwrap(), SEEN);
        assert!((0..bytes.len()).all(|end| SeenClock::from_canonical(&bytes[..end]).is_err()));
    }
}
