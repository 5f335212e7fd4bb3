//! What somebody outside holds of a log, and whether what the log shows now goes on from there.

use crate::{Checkpoint, ConsistencyProof, ProofError};

/// Why a log does not go on from the head that was held before.
#[derive(Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum Divergence {
    /// It has fewer entries than before.
    #[error(
        "the log was rolled back or cut: it has {now} entries, and had {held}; those from entry {now} on are missing"
    )]
    RolledBack {
        /// What it had.
        held: u64,
        /// What it shows.
        now: u64,
    },
    /// As many entries, another root.
    #[error("the log was forked: its {size} entries are others than before")]
    Forked {
        /// How many.
        size: u64,
    },
    /// No proof that the entries held are the first of those now.
    #[error(
        "the log was forked, or does not prove otherwise: its first {held} entries are not shown to be those of before ({source})"
    )]
    NotConsistent {
        /// What it had.
        held: u64,
        /// What does not hold.
        source: ProofError,
    },
    /// Another log.
    #[error("the checkpoint is of the log {now}, and before it was of {held}")]
    Origin {
        /// The log of before.
        held: String,
        /// The one it names.
        now: String,
    },
}

impl Divergence {
    /// The reason code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::RolledBack { .. } => "audit-rolled-back",
            Self::Forked { .. } | Self::NotConsistent { .. } => "audit-forked",
            Self::Origin { .. } => "audit-other-log",
        }
    }
}

impl Checkpoint {
    /// Whether a later checkpoint goes on from this one: same log, not smaller, and proven to begin with these entries.
    ///
    /// # Errors
    /// [`Divergence`] says where it does not.
    pub fn leads_to(&self, now: &Self, proof: &ConsistencyProof) -> Result<(), Divergence> {
        if self.origin() != now.origin() {
            return Err(Divergence::Origin {
                held: self.origin().to_owned(),
                now: now.origin().to_owned(),
            });
        }
        if now.size() < self.size() {
            return Err(Divergence::RolledBack {
                held: self.size(),
                now: now.size(),
            });
        }
        if now.size() == self.size() {
            return if now.root() == self.root() {
                Ok(())
            } else {
                Err(Divergence::Forked { size: now.size() })
            };
        }
        let not_consistent = |source| Divergence::NotConsistent {
            held: self.size(),
            source,
        };
        if (proof.first, proof.second) != (self.size(), now.size()) {
            return Err(not_consistent(ProofError::Sizes {
                first: proof.first,
                second: proof.second,
            }));
        }
        proof.verify(self.root(), now.root()).map_err(not_consistent)
    }
}

/// What the chip's counter says of the head that the robot holds.
#[derive(Copy, Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum CountFault {
    /// The chip counted heads that the disk does not hold.
    #[error(
        "the audit log was rolled back: the chip counted {counted} heads, the last one on the disk is number {held}"
    )]
    RolledBack {
        /// The number of the last head on the disk.
        held: u64,
        /// What the chip counted.
        counted: u64,
    },
    /// The disk holds a head that the chip has not counted.
    #[error("the audit log is not this chip's: its last head is number {held}, the chip counted {counted}")]
    OtherChip {
        /// The number of the last head on the disk.
        held: u64,
        /// What the chip counted.
        counted: u64,
    },
    /// There is a checkpoint, and no head that the chip certified.
    #[error("the audit log has a checkpoint, and no head that the chip certified: its record was removed")]
    Removed,
}

impl CountFault {
    /// Judges what the chip counted. `held` is the number of the last head on the disk, `begun` of one that was being certified when a
    /// crash came.
    ///
    /// # Errors
    /// [`CountFault`].
    pub fn judge(
        held: Option<u64>,
        begun: Option<u64>,
        has_checkpoint: bool,
        counted: u64,
    ) -> Result<(), Self> {
        match held {
            None if has_checkpoint => Err(Self::Removed),
            _ if begun == Some(counted) && held.is_none_or(|held| held.checked_add(1) == begun) => Ok(()),
            Some(held) if held == counted => Ok(()),
            Some(held) if held < counted => Err(Self::RolledBack { held, counted }),
            Some(held) => Err(Self::OtherChip { held, counted }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chips_count_tells_a_crash_from_a_rollback() {
        let judge = CountFault::judge;
        assert_eq!(judge(Some(7), None, true, 7), Ok(()));
        assert_eq!(judge(Some(7), Some(8), true, 7), Ok(()), "before it was counted");
        assert_eq!(judge(Some(7), Some(8), true, 8), Ok(()), "after it was counted");
        let rolled_back = |counted| Err(CountFault::RolledBack { held: 7, counted });
        assert_eq!(judge(Some(7), None, true, 8), rolled_back(8));
        assert_eq!(judge(Some(7), Some(8), true, 9), rolled_back(9));
        assert_eq!(
            judge(Some(7), Some(9), true, 9),
            rolled_back(9),
            "an intent that was made up"
        );
        assert_eq!(
            judge(Some(7), None, true, 6),
            Err(CountFault::OtherChip { held: 7, counted: 6 })
        );
        assert_eq!(judge(None, None, false, 30), Ok(()), "no head yet");
        assert_eq!(judge(None, Some(30), false, 30), Ok(()), "the first one");
        assert_eq!(judge(None, None, true, 30), Err(CountFault::Removed));
        assert_eq!(judge(None, Some(30), true, 30), Err(CountFault::Removed));
    }
}
