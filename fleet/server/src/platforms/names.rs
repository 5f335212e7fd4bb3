//! The names of robots without a TPM over their devices' lives: a sequence that begins anew, and the release of a name.
//!
//! Either begins a new generation of the name, which the record states and the nonces of its exchanges commit to: evidence of before,
//! also in answer to an exchange that is still open, is refused ever after.

use alcub3_audit_log::EntryKind;
use alcub3_fleet_protocol::platform::{RootKind, VerifiedPlatform};
use alcub3_trust_model::RobotId;

use super::record::{self, PlatformStanding};
use super::{PlatformPlan, PlatformRefusal};
use crate::audit::Decision;
use crate::authority::Authority;
use crate::robots::RobotError;

/// Whether what was last seen of a device goes on to count.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Sequence {
    /// Its next number is to be above the last one.
    GoesOn,
    /// Any number is taken next.
    Anew,
}

/// What a name begins with, under its next record.
pub(super) struct Beginning {
    pub(super) standing: PlatformStanding,
    pub(super) generation: u64,
}

impl Authority {
    /// Enrols such a robot again, the same device, whose sequence numbers begin anew: its counter was lost, or claimed the last
    /// number there is. What was seen of it before is not held against it; evidence of before answers nothing any more.
    ///
    /// # Errors
    /// [`PlatformRefusal`]: it is not enrolled, the key is another one, or no level's floor is met.
    pub fn enrol_platform_anew(
        &mut self,
        plan: PlatformPlan,
        now_ms: u64,
    ) -> Result<VerifiedPlatform, PlatformRefusal> {
        self.enrol_platform_as(plan, Sequence::Anew, now_ms)
    }

    /// Releases the name of a robot whose root of trust is no TPM, and its device: each may be enrolled anew, together or apart. A
    /// lease that it was given holds to its end; nothing else of it counts any more.
    ///
    /// # Errors
    /// [`PlatformRefusal::NoPlatform`], or what the folder refused.
    pub fn release_platform(&mut self, robot: &RobotId, now_ms: u64) -> Result<(), PlatformRefusal> {
        let subject = "release of the name of a robot whose root of trust is no TPM";
        let decision = Decision::about(EntryKind::Provision, Some(robot), subject);
        let platform = match self.releasable(robot) {
            Ok(platform) => platform,
            Err(refusal) => return self.on_record(decision, now_ms, Err(refusal)),
        };
        let generation = platform.record().generation();
        self.acting_on_record(decision, now_ms, |authority| {
            // The generation outlives the record, and is there before that is gone.
            record::put_released(&authority.folder, robot, generation)?;
            record::remove(&authority.folder, robot)?;
            Ok(())
        })
    }

    /// The record of a robot that may be released: its stop would be forgotten with it, and the device work again under another name.
    fn releasable(&self, robot: &RobotId) -> Result<VerifiedPlatform, PlatformRefusal> {
        let platform = self.platform_enrolment(robot)?;
        match record::standing(&self.folder, robot)?.stopped_at_ms {
            Some(_) => Err(PlatformRefusal::StillStopped(robot.clone())),
            None => Ok(platform),
        }
    }

    /// A name stays with the device it was first given to until it is released. One that had no root of trust may get one, never
    /// the other way.
    pub(super) fn beginning_of_name(
        &self,
        plan: &PlatformPlan,
        sequence: Sequence,
    ) -> Result<Beginning, PlatformRefusal> {
        match self.enrolment(&plan.robot) {
            Err(RobotError::Unknown(_)) => {}
            Ok(_) => return Err(PlatformRefusal::NameTaken(plan.robot.clone())),
            Err(error) => return Err(error.into()),
        }
        let Some(earlier) = self.find_platform(&plan.robot)? else {
            return self.first_beginning(&plan.robot, sequence);
        };
        let (root, generation) = (earlier.record().root(), earlier.record().generation());
        let is_same = root.kind() == plan.root.kind() && root.device_key() == plan.root.device_key();
        if !is_same && root.kind() != RootKind::None {
            return Err(PlatformRefusal::NameTaken(plan.robot.clone()));
        }
        let standing = match is_same {
            true => record::standing(&self.folder, &plan.robot)?,
            false => PlatformStanding::default(),
        };
        Ok(match (is_same, sequence) {
            (true, Sequence::GoesOn) => Beginning { standing, generation },
            (_, _) => Beginning {
                standing: standing.anew(),
                generation: generation.saturating_add(1),
            },
        })
    }

    fn first_beginning(&self, robot: &RobotId, sequence: Sequence) -> Result<Beginning, PlatformRefusal> {
        if sequence == Sequence::Anew {
            return Err(PlatformRefusal::NoPlatform(robot.clone()));
        }
        let released = record::released(&self.folder, robot)?;
        Ok(Beginning {
            standing: PlatformStanding::default(),
            generation: released.map_or(0, |last| last.saturating_add(1)),
        })
    }
}
