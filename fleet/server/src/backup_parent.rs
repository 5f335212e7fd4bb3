//! What a robot's key may be duplicated to: an admitted recovery TPM, or a recovery set that the robot made for holders with
//! admitted chips. A storage key that nothing vouches for is neither.

use alcub3_crypto::tpm::{Name, Public};
use alcub3_crypto::{Curve, Suite};
use alcub3_fleet_protocol::VerifiedEnrolment;
use alcub3_fleet_protocol::chip::AdmittedChip;
use alcub3_fleet_protocol::recovery::{RecoverySet, VerifiedSet};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{HardwareTier, Level, OperatorId, RobotId, SessionId};

use crate::authority::Authority;
use crate::backup::{BackupDestination, BackupError};

/// The most holders a set has.
const MAX_HOLDERS: usize = 16;

/// A chip that a duplicate or a share is wrapped to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParentChip {
    /// Whose it is.
    pub operator: OperatorId,
    /// The Name of its endorsement key.
    pub endorsement_key: Name,
    /// The kind of TPM.
    pub tier: HardwareTier,
}

/// A duplicate's parent, as the authority found it to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BackupParent {
    /// The storage key of a recovery TPM. It never leaves that chip.
    Chip(ParentChip),
    /// The parent of a recovery set, made in the robot's memory; its private part comes back from shares alone.
    Set {
        /// The set.
        set: SessionId,
        /// How many holders are needed.
        needed: u8,
        /// The holders, in the order of their shares.
        holders: Vec<ParentChip>,
    },
}

impl Authority {
    /// Judges what a key of a robot's level is to be duplicated to. Gives the parent's Name, and what it is.
    ///
    /// # Errors
    /// [`BackupError`]: not enrolled, a level above its ceiling, or what of the parent is not as it must be, and whose.
    pub fn judge_backup_parent(
        &self,
        robot: &RobotId,
        level: Level,
        destination: &BackupDestination,
    ) -> Result<(Name, BackupParent), BackupError> {
        let enrolment = &self.active(robot)?;
        if level > enrolment.record().ceiling {
            return Err(BackupError::AboveCeiling(level));
        }
        let key = self.verifying_key();
        match destination {
            BackupDestination::Chip(admission) => {
                let chip = AdmittedChip::verify(admission, &key)?;
                self.check_suite(level, curve_of(chip.storage_key()))?;
                let parent = self.judge_chip(enrolment, level, &chip)?;
                Ok((chip.storage_key().name(), BackupParent::Chip(parent)))
            }
            BackupDestination::Set(set) => {
                let verified =
                    VerifiedSet::verify(RecoverySet::clone(set), &key, &enrolment.record().identity)?;
                let set = verified.set();
                if set.robot() != robot {
                    return Err(BackupError::OtherRobot(set.robot().clone()));
                }
                self.check_suite(level, Some(verified.curve()))?;
                let holders = verified.holders().iter();
                let holders = holders.map(|chip| self.judge_chip(enrolment, level, chip));
                let parent = BackupParent::Set {
                    set: set.set(),
                    needed: set.needed(),
                    holders: holders.collect::<Result<_, _>>()?,
                };
                Ok((set.parent().name(), parent))
            }
        }
    }

    /// A chip that is admitted now, fit for the level, and not the robot's own: that one is lost with the robot.
    fn judge_chip(
        &self,
        enrolment: &VerifiedEnrolment,
        level: Level,
        chip: &AdmittedChip,
    ) -> Result<ParentChip, BackupError> {
        let operator = chip.operator().clone();
        if !self.is_admitted_now(chip)? {
            return Err(BackupError::NotAdmittedNow(operator));
        }
        if chip.endorsement_key() == enrolment.record().endorsement_key {
            return Err(BackupError::OwnChip(operator));
        }
        let profile = self.profile_for(level, chip.tier());
        if let Err(source) = profile.check_tier(chip.tier()) {
            return Err(BackupError::BelowFloor { operator, source });
        }
        Ok(ParentChip {
            operator,
            endorsement_key: chip.endorsement_key(),
            tier: chip.tier(),
        })
    }

    fn check_suite(&self, level: Level, curve: Option<Curve>) -> Result<(), BackupError> {
        let curve = curve.ok_or(BackupError::NoCurve)?;
        let profiles = self.profiles();
        Ok(profiles.of(level).check_suite(Suite::of_curve(curve))?)
    }
}

fn curve_of(public: &Public) -> Option<Curve> {
    public.ec_point().map(|(curve, _, _)| curve)
}

impl ParentChip {
    fn encode(&self, out: &mut Encoder) {
        out.array(3)
            .text(self.operator.as_str())
            .bytes(self.endorsement_key.as_bytes())
            .u64(self.tier.id().into());
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.array_of("chip", 3)?;
        let operator = r.text("operator")?;
        let operator = OperatorId::new(operator).map_err(|_| r.fault("operator", Fault::Value))?;
        let name = r.bytes("endorsement_key")?;
        Ok(Self {
            operator,
            endorsement_key: Name::from_bytes(name).map_err(|_| r.fault("endorsement_key", Fault::Value))?,
            tier: r.id_of("tier", HardwareTier::from_id)?,
        })
    }
}

impl BackupParent {
    /// One array: a chip alone, or set, number and chips.
    pub(crate) fn encode(&self, out: &mut Encoder) {
        match self {
            Self::Chip(chip) => {
                out.array(1);
                chip.encode(out);
            }
            Self::Set { set, needed, holders } => {
                out.array(3).bytes(set.as_bytes()).u64((*needed).into());
                out.array(holders.len());
                for holder in holders {
                    holder.encode(out);
                }
            }
        }
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if r.array("parent", 3)? == 1 {
            return Ok(Self::Chip(ParentChip::decode(r)?));
        }
        let set = SessionId::new(*r.bytes_of("set")?);
        let needed = r.u64("needed")?;
        let needed = u8::try_from(needed).map_err(|_| r.fault("needed", Fault::Value))?;
        let count = r.array("holders", MAX_HOLDERS)?;
        let holders = (0..count).map(|_| ParentChip::decode(r));
        Ok(Self::Set {
            set,
            needed,
            holders: holders.collect::<Result<_, _>>()?,
        })
    }
}
