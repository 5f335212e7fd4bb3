//! The highest epoch that was approved under each robot's name. Approvals name a level, a robot's name and epochs, and no
//! chip: those of a robot that lost its name would fit its successor at the same epoch, so that the successor has to be above.

use alcub3_attestation::attest::ClockInfo;
use alcub3_crypto::{Digest, HashAlg, VerifyingKey};
use alcub3_trust_model::RobotId;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Reader};

use crate::robots::RobotError;
use crate::store::{StateFolder, StoreError};

const COLLECTION: &str = "epochs";
const DOMAIN: &str = "alcub3/authority-epochs/v1";
const REARMED: &str = "rearmed-epochs";
const REARMED_DOMAIN: &str = "alcub3/authority-rearmed-epoch/v1";
const VERSION: u64 = 1;

/// What is kept under one name.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
struct Approved {
    /// The highest robot epoch that was approved, on whichever chip.
    highest: u64,
    /// The highest one that was approved on a chip which has lost the name.
    predecessors: u64,
}

impl Approved {
    fn encode(self) -> Vec<u8> {
        let mut out = Encoder::structure(DOMAIN, VERSION, 2);
        out.u64(2).u64(self.highest).u64(3).u64(self.predecessors);
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        fields.key(r, 2, "highest")?;
        let highest = r.u64("highest")?;
        fields.key(r, 3, "predecessors")?;
        let predecessors = r.u64("predecessors")?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            highest,
            predecessors,
        })
    }

    fn load(folder: &StateFolder, robot: &RobotId) -> Result<Self, RobotError> {
        let Some(bytes) = folder.get(COLLECTION, robot.as_str())? else {
            return Ok(Self::default());
        };
        Self::decode(&bytes).map_err(|source| RobotError::Epochs {
            robot: robot.clone(),
            source,
        })
    }
}

/// Notes an epoch, before the approval that names it is given out.
pub(crate) fn note_approved(folder: &StateFolder, robot: &RobotId, epoch: u64) -> Result<(), RobotError> {
    let approved = Approved::load(folder, robot)?;
    if epoch <= approved.highest {
        return Ok(());
    }
    let highest = epoch;
    Ok(folder.put(
        COLLECTION,
        robot.as_str(),
        &Approved { highest, ..approved }.encode(),
    )?)
}

/// The highest epoch that persons approved for a robot; 0 where none was.
pub(crate) fn approved(folder: &StateFolder, robot: &RobotId) -> Result<u64, RobotError> {
    Ok(Approved::load(folder, robot)?.highest)
}

/// Another chip takes the name: nothing that was approved so far may fit it.
pub(crate) fn succeed(folder: &StateFolder, robot: &RobotId) -> Result<(), RobotError> {
    let mut approved = Approved::load(folder, robot)?;
    approved.predecessors = approved.highest;
    Ok(folder.put(COLLECTION, robot.as_str(), &approved.encode())?)
}

/// That a robot's certified epoch is above every one approved for the robots that had its name before.
pub(crate) fn check(folder: &StateFolder, robot: &RobotId, found: u64) -> Result<(), RobotError> {
    let approved = Approved::load(folder, robot)?.predecessors;
    if approved == 0 || found > approved {
        return Ok(());
    }
    Err(RobotError::EpochOfPredecessor {
        robot: robot.clone(),
        found,
        approved,
    })
}

/// What two persons last rearmed, of one chip: stops that it counted no later, and stops that it knew before, are over.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Rearmed {
    /// The robot's epoch.
    pub(crate) epoch: u64,
    /// Its boots (resetCount, restartCount) and its clock in milliseconds when it certified that epoch; none of what an earlier
    /// version noted.
    pub(crate) at: Option<(u32, u32, u64)>,
}

impl Rearmed {
    /// What was quoted at this clock came before the rearm.
    pub(crate) fn is_behind(&self, clock: ClockInfo) -> bool {
        self.at.is_some_and(|at| reading(clock) < at)
    }
}

const fn reading(clock: ClockInfo) -> (u32, u32, u64) {
    (clock.reset_count, clock.restart_count, clock.clock_ms)
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Noted {
    rearmed: Rearmed,
    /// Digest of the attestation key, which is of one chip: another chip's counter says nothing of this one's.
    chip: Digest,
}

impl Noted {
    fn encode(&self) -> Vec<u8> {
        let Rearmed { epoch, at } = self.rearmed;
        let mut out = Encoder::structure(REARMED_DOMAIN, VERSION, 2 + usize::from(at.is_some()));
        out.u64(2).u64(epoch).u64(3).digest(&self.chip);
        if let Some((resets, restarts, clock_ms)) = at {
            out.u64(4)
                .array(3)
                .u64(resets.into())
                .u64(restarts.into())
                .u64(clock_ms);
        }
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(REARMED_DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(REARMED_DOMAIN, VERSION)?;
        fields.key(r, 2, "epoch")?;
        let epoch = r.u64("epoch")?;
        fields.key(r, 3, "chip")?;
        let chip = r.digest("chip")?;
        let at = if fields.optional(r, 4, "at")? {
            r.array_of("at", 3)?;
            Some((r.u32("resets")?, r.u32("restarts")?, r.u64("clock_ms")?))
        } else {
            None
        };
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            rearmed: Rearmed { epoch, at },
            chip,
        })
    }
}

fn chip(attestation_key: &VerifyingKey) -> Digest {
    HashAlg::Sha256.digest(&[&attestation_key.to_spki_der()])
}

/// Notes the epoch of a rearm, and the chip's clock when it certified that.
pub(crate) fn note_rearmed(
    folder: &StateFolder,
    robot: &RobotId,
    attestation_key: &VerifyingKey,
    (epoch, clock): (u64, ClockInfo),
) -> Result<(), StoreError> {
    let (chip, at) = (chip(attestation_key), Some(reading(clock)));
    let rearmed = Rearmed { epoch, at };
    folder.put(REARMED, robot.as_str(), &Noted { rearmed, chip }.encode())
}

/// The last rearm of the chip with this key; nothing where it has none.
pub(crate) fn rearmed(
    folder: &StateFolder,
    robot: &RobotId,
    attestation_key: &VerifyingKey,
) -> Result<Option<Rearmed>, RobotError> {
    let Some(bytes) = folder.get(REARMED, robot.as_str())? else {
        return Ok(None);
    };
    let noted = Noted::decode(&bytes).map_err(|source| RobotError::Epochs {
        robot: robot.clone(),
        source,
    })?;
    Ok((noted.chip == chip(attestation_key)).then_some(noted.rearmed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_reads_back_exactly() {
        let approved = Approved {
            highest: 9,
            predecessors: 7,
        };
        let bytes = approved.encode();
        assert_eq!(Approved::decode(&bytes).unwrap(), approved);
        for cut in 0..bytes.len() {
            assert!(Approved::decode(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn a_rearmed_epoch_reads_back_exactly() {
        let chip = HashAlg::Sha256.digest(&[b"key"]);
        for at in [None, Some((2, 1, 700))] {
            let rearmed = Rearmed { epoch: 9, at };
            let noted = Noted { rearmed, chip };
            let bytes = noted.encode();
            assert_eq!(Noted::decode(&bytes).unwrap(), noted);
            for cut in 0..bytes.len() {
                assert!(Noted::decode(&bytes[..cut]).is_err());
            }
        }
    }

    #[test]
    fn what_was_quoted_before_the_rearm_is_behind_it_and_nothing_else_is() {
        let clock = |reset_count, restart_count, clock_ms| ClockInfo {
            clock_ms,
            reset_count,
            restart_count,
            safe: true,
        };
        let at = Some((2, 1, 700));
        let rearmed = Rearmed { epoch: 9, at };
        assert!(
            [clock(2, 1, 699), clock(2, 0, 900), clock(1, 7, 900)]
                .iter()
                .all(|c| rearmed.is_behind(*c))
        );
        assert!(
            ![clock(2, 1, 700), clock(2, 2, 1), clock(3, 0, 1)]
                .iter()
                .any(|c| rearmed.is_behind(*c))
        );
        let unknown = Rearmed { at: None, ..rearmed };
        assert!(!unknown.is_behind(clock(0, 0, 0)));
    }
}
