//! The highest epoch that was approved under each robot's name. Approvals name a level, a robot's name and epochs, and no
//! chip: those of a robot that lost its name would fit its successor at the same epoch, so that the successor has to be above.

use alcub3_trust_model::RobotId;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Reader};

use crate::robots::RobotError;
use crate::store::StateFolder;

const COLLECTION: &str = "epochs";
const DOMAIN: &str = "alcub3/authority-epochs/v1";
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
}
