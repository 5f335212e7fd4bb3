//! Whether a robot is under a stop, as its authority knows it: by the robot epoch of its TPM, which every stop counts up and
//! every rearm names.

use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};

/// How a robot stands with its stops. A stop in force is always above the epoch that was rearmed last: there is no other value.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct StopStanding {
    rearmed: Option<u64>,
    in_force: Option<u64>,
}

impl StopStanding {
    /// `rearmed` is the epoch that two persons rearmed last, `stopped` the one that the TPM was left at by a stop: what the rearm
    /// that ends it would have to name, or the least that this can be. A stop that is not above the rearm is over.
    pub fn new(rearmed: Option<u64>, stopped: Option<u64>) -> Self {
        let in_force = stopped.filter(|stopped| rearmed.is_none_or(|rearmed| *stopped > rearmed));
        Self { rearmed, in_force }
    }

    /// A stop whose epoch nobody certified is in force: only a rearm above the last one ends it.
    pub fn stopped_since(rearmed: Option<u64>) -> Self {
        match rearmed.map(|rearmed| rearmed.checked_add(1)) {
            Some(Some(next)) => Self::new(rearmed, Some(next)),
            // No epoch is above the last one there is: the rearm is not said, and no later one can be.
            Some(None) => Self::new(None, rearmed),
            None => Self::new(None, Some(1)),
        }
    }

    /// The epoch that a rearm would have to name, or a later one, where a stop is in force.
    pub const fn in_force(&self) -> Option<u64> {
        self.in_force
    }

    /// The epoch that was rearmed last.
    pub const fn rearmed(&self) -> Option<u64> {
        self.rearmed
    }

    /// Whether this says that a stop which was named with an epoch is over.
    pub fn ends(&self, epoch: u64) -> bool {
        self.rearmed.is_some_and(|rearmed| rearmed >= epoch)
    }

    /// Two lists of at most one epoch each.
    pub(crate) fn encode(&self, out: &mut Encoder) {
        for epoch in [self.rearmed, self.in_force] {
            out.array(usize::from(epoch.is_some()));
            if let Some(epoch) = epoch {
                out.u64(epoch);
            }
        }
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut epoch = |field| match r.array(field, 1)? {
            0 => Ok(None),
            _ => r.u64(field).map(Some),
        };
        let (rearmed, stopped) = (epoch("rearmed_epoch")?, epoch("stopped_epoch")?);
        let standing = Self::new(rearmed, stopped);
        // Which of the two would hold is not for a reader to guess.
        match standing.in_force == stopped {
            true => Ok(standing),
            false => Err(r.fault("stopped_epoch", Fault::Value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<StopStanding, DecodeError> {
        let mut r = Reader::new("test", bytes);
        let standing = StopStanding::decode(&mut r)?;
        r.finish()?;
        Ok(standing)
    }

    fn written(standing: StopStanding) -> Vec<u8> {
        let mut out = Encoder::new();
        standing.encode(&mut out);
        out.finish()
    }

    #[test]
    fn every_standing_reads_back_exactly_and_has_one_form() {
        let cases = [
            (StopStanding::default(), 2),
            (StopStanding::new(Some(7), None), 3),
            (StopStanding::new(None, Some(1)), 3),
            (StopStanding::new(Some(7), Some(8)), 4),
            (StopStanding::new(Some(u64::MAX - 1), Some(u64::MAX)), 20),
        ];
        for (standing, length) in cases {
            let bytes = written(standing);
            assert_eq!((read(&bytes).unwrap(), bytes.len()), (standing, length));
            for cut in 0..bytes.len() {
                assert!(read(&bytes[..cut]).is_err());
            }
        }
    }

    #[test]
    fn a_stop_that_is_over_and_in_force_at_once_is_refused() {
        // [7], [7] and [7], [6].
        for stopped in [7, 6] {
            assert!(read(&[0x81, 7, 0x81, stopped]).is_err());
        }
        assert!(read(&[0x82, 7, 8, 0x80]).is_err(), "more than one epoch");
    }

    #[test]
    fn a_stop_ends_with_a_rearm_that_names_its_epoch_or_a_later_one() {
        assert_eq!(StopStanding::new(Some(7), Some(7)).in_force(), None);
        assert_eq!(StopStanding::new(Some(7), Some(8)).in_force(), Some(8));
        assert_eq!(StopStanding::stopped_since(Some(7)).in_force(), Some(8));
        assert_eq!(StopStanding::stopped_since(None).in_force(), Some(1));
        let last = StopStanding::stopped_since(Some(u64::MAX));
        assert_eq!((last.rearmed(), last.in_force()), (None, Some(u64::MAX)));
        let rearmed = StopStanding::new(Some(7), None);
        assert!(rearmed.ends(7) && rearmed.ends(6) && !rearmed.ends(8));
        assert!(!StopStanding::default().ends(0));
    }
}
