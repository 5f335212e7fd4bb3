//! Health tests on the chip's random bytes (NIST SP 800-90B §4.4), over bytes, with a false-alarm rate of 2^-20.
//!
//! The chip's output is conditioned and should carry 8 bits of min-entropy a byte. The tests assume H = 4, so that on a
//! good chip a false alarm is out of reach (six equal bytes in a row come once in 2^40 samples, decades at 1 KB/s), while
//! a generator that has lost half of its entropy or is stuck is found.
//!
//! - Repetition count (§4.4.1): C = 1 + ⌈20 / H⌉ = 6 equal samples in a row.
//! - Adaptive proportion (§4.4.2): window W = 512; C = 1 + CRITBINOM(W, 2^-H, 1 - 2^-20) = 62 occurrences of the window's
//!   first sample, itself included.
//! - Start-up (§4.3): both tests over 1024 samples, which are thrown away, before the first byte is given out.

/// Samples of the start-up test: two whole windows.
pub(crate) const STARTUP_SAMPLES: usize = 1024;
const REPETITION_CUTOFF: u32 = 6;
const WINDOW: u32 = 512;
const PROPORTION_CUTOFF: u32 = 62;

/// Which test failed.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum HealthFailure {
    Repetition,
    Proportion,
}

impl HealthFailure {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Repetition => "repetition count",
            Self::Proportion => "adaptive proportion",
        }
    }
}

/// The running state of both tests. A failure stays.
#[derive(Debug, Default)]
pub(crate) struct RandomHealth {
    last: Option<u8>,
    repeated: u32,
    proportion: Option<Proportion>,
    tested: usize,
    failed: Option<HealthFailure>,
}

/// A window of the adaptive proportion test.
#[derive(Debug)]
struct Proportion {
    sample: u8,
    seen: u32,
    count: u32,
}

impl RandomHealth {
    /// Whether the start-up test is behind us.
    pub(crate) fn is_started(&self) -> bool {
        self.tested >= STARTUP_SAMPLES
    }

    /// Tests all bytes; none may be used if one fails.
    pub(crate) fn test(&mut self, bytes: &[u8]) -> Result<(), HealthFailure> {
        for byte in bytes {
            self.step(*byte);
        }
        self.tested = self.tested.saturating_add(bytes.len());
        self.failed.map_or(Ok(()), Err)
    }

    fn step(&mut self, byte: u8) {
        self.repeated = if self.last == Some(byte) {
            self.repeated.saturating_add(1)
        } else {
            1
        };
        self.last = Some(byte);
        if self.repeated >= REPETITION_CUTOFF {
            self.failed.get_or_insert(HealthFailure::Repetition);
        }
        let window = self.proportion.get_or_insert(Proportion {
            sample: byte,
            seen: 0,
            count: 0,
        });
        window.seen += 1;
        window.count += u32::from(window.sample == byte);
        if window.count >= PROPORTION_CUTOFF {
            self.failed.get_or_insert(HealthFailure::Proportion);
        }
        if window.seen == WINDOW {
            self.proportion = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator of our own (splitmix64), so that the test needs no seed from outside.
    fn stream(len: usize, map: impl Fn(u64) -> u8) -> Vec<u8> {
        let mut state: u64 = 0x1234_5678_9abc_def0;
        (0..len)
            .map(|_| {
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = state;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                map(z ^ (z >> 31))
            })
            .collect()
    }

    #[test]
    fn a_sound_source_passes_a_megabyte() {
        let mut health = RandomHealth::default();
        assert!(!health.is_started());
        assert_eq!(health.test(&stream(1 << 20, |z| z.to_le_bytes()[0])), Ok(()));
        assert!(health.is_started());
    }

    #[test]
    fn a_stuck_source_fails_at_the_cutoff_and_stays_failed() {
        let mut health = RandomHealth::default();
        assert_eq!(health.test(&[7; 5]), Ok(()));
        assert_eq!(health.test(&[7]), Err(HealthFailure::Repetition));
        assert_eq!(
            health.test(&stream(64, |z| z.to_le_bytes()[0])),
            Err(HealthFailure::Repetition)
        );
    }

    #[test]
    fn a_source_of_two_bits_a_byte_fails_the_proportion_test_within_a_window() {
        // Four values, never six times in a row by construction of the mapping's interleave.
        let biased: Vec<u8> = stream(1024, |z| (z.to_le_bytes()[0] & 3) + 1)
            .iter()
            .enumerate()
            .map(|(i, b)| if i % 5 == 4 { 9 } else { *b })
            .collect();
        assert_eq!(
            RandomHealth::default().test(&biased),
            Err(HealthFailure::Proportion)
        );
    }

    #[test]
    fn a_window_counts_its_first_sample_only() {
        let mut health = RandomHealth::default();
        // 61 occurrences of the first sample spread over the window: one below the cutoff.
        let other = |i: u32| u8::try_from(i % 251).unwrap() | 1;
        let mut window: Vec<u8> = (0..512)
            .map(|i| if i % 8 == 0 && i < 61 * 8 { 0 } else { other(i) })
            .collect();
        assert_eq!(window.iter().filter(|b| **b == 0).count(), 61);
        assert_eq!(health.test(&window), Ok(()));
        window[1] = 0;
        assert_eq!(
            RandomHealth::default().test(&window),
            Err(HealthFailure::Proportion)
        );
    }

    #[test]
    fn the_cutoffs_follow_from_the_formulae() {
        let alpha = 2f64.powi(-20);
        assert_eq!(f64::from(REPETITION_CUTOFF), 1.0 + (20.0f64 / 4.0).ceil());
        // CRITBINOM: the least k with P(X <= k) >= 1 - alpha for X ~ B(512, 1/16).
        let p = 1.0f64 / 16.0;
        let mut term = (1.0 - p).powi(512);
        let (mut cumulative, mut k) = (term, 0u32);
        while cumulative < 1.0 - alpha {
            k += 1;
            term *= f64::from(512 - k + 1) / f64::from(k) * p / (1.0 - p);
            cumulative += term;
        }
        assert_eq!(PROPORTION_CUTOFF, 1 + k);
    }
}
