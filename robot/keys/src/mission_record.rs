//! A mission's record in the state folder.

use crate::missions::MissionOver;
use crate::robot::KeyOwner;
use crate::{KeyRefusal, KeysError};
use alcub3_crypto::Digest;
use alcub3_crypto::tpm::Public;
use alcub3_tpm::ops::{Attestation, ClockReading};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::nv_map::MissionAnchor;
use alcub3_trust_model::{Level, MissionId};

const DOMAIN: &str = "alcub3/mission-record/v1";
const VERSION: u64 = 1;
const MAX_BLOB: usize = 2048;

/// A mission as the robot keeps it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MissionRecord {
    /// The mission.
    pub mission: MissionId,
    /// Its level.
    pub level: Level,
    /// Its anchor.
    pub anchor: MissionAnchor,
    /// Its policy's values.
    pub anchor_value: u64,
    /// When it ends on the TPM's clock, in milliseconds.
    pub end_clock_ms: u64,
    /// The approval of that end (TPMT_SIGNATURE).
    pub end_approval: Vec<u8>,
    /// The robot's epoch at creation.
    pub robot_epoch: u64,
    /// The level's epoch at creation.
    pub level_epoch: u64,
    /// Digest of the PCRs at creation.
    pub pcr_digest: Digest,
    /// The last resetCount at which the key works.
    pub max_reset_count: u32,
    /// The key's public area.
    pub public: Public,
    /// The key's private area, encrypted by the level parent (contents of TPM2B_PRIVATE).
    pub private: Vec<u8>,
    /// TPMS_CREATION_DATA of the key.
    pub creation: Vec<u8>,
    /// The AK's certification of the key's creation.
    pub certification: (Vec<u8>, Vec<u8>),
    /// The token that the mission began with.
    pub token: Vec<u8>,
    /// The token that moved its end, where it was moved.
    pub moved: Option<Vec<u8>>,
    /// Whether it is suspended: none of its commands is accepted until it is resumed.
    pub suspended: bool,
}

impl MissionRecord {
    /// The token in force: the last one that the authority signed for the mission.
    pub fn token_in_force(&self) -> &[u8] {
        self.moved.as_ref().unwrap_or(&self.token)
    }

    /// Whose keys are its keys.
    pub fn owner(&self) -> KeyOwner {
        KeyOwner {
            mission: self.mission,
            level: self.level,
        }
    }

    /// That the mission is not over by a reading of the chip's clock.
    ///
    /// # Errors
    /// [`KeyRefusal::Over`] says why it is.
    pub fn check_runs(&self, clock: &ClockReading) -> Result<(), KeysError> {
        let mission = self.mission;
        self.over_by(clock)
            .map_or(Ok(()), |over| Err(KeyRefusal::Over { mission, over }.into()))
    }

    /// Why the mission is over by a reading of the chip's clock, if it is.
    pub fn over_by(&self, clock: &ClockReading) -> Option<MissionOver> {
        if clock.reset_count > self.max_reset_count {
            Some(MissionOver::Resets)
        } else if clock.clock_ms >= self.end_clock_ms {
            Some(MissionOver::ChipClock)
        } else {
            None
        }
    }

    /// The record's bytes.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(
            DOMAIN,
            VERSION,
            15 + usize::from(self.moved.is_some()) + usize::from(self.suspended),
        );
        out.u64(2)
            .bytes(self.mission.as_bytes())
            .u64(3)
            .u64(self.level.id().into());
        out.u64(4)
            .u64(self.anchor.number().into())
            .u64(5)
            .u64(self.anchor_value);
        out.u64(6).u64(self.end_clock_ms).u64(7).bytes(&self.end_approval);
        out.u64(8).u64(self.robot_epoch).u64(9).u64(self.level_epoch);
        out.u64(10)
            .digest(&self.pcr_digest)
            .u64(11)
            .u64(self.max_reset_count.into());
        out.u64(12)
            .bytes(self.public.as_tpmt_bytes())
            .u64(13)
            .bytes(&self.private);
        out.u64(14).bytes(&self.creation);
        out.u64(15)
            .array(2)
            .bytes(&self.certification.0)
            .bytes(&self.certification.1);
        out.u64(16).bytes(&self.token);
        if let Some(moved) = &self.moved {
            out.u64(17).bytes(moved);
        }
        if self.suspended {
            out.u64(18).u64(1);
        }
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
        macro_rules! field {
            ($key:literal, $name:literal, $read:expr) => {{
                fields.key(r, $key, $name)?;
                $read(&mut *r, $name)?
            }};
        }
        fn number(r: &mut Reader<'_>, field: &'static str) -> std::result::Result<u64, DecodeError> {
            r.u64(field)
        }
        let record = Self {
            mission: field!(2, "mission", |r: &mut Reader<'_>, f| r
                .bytes_of(f)
                .map(|b| MissionId::new(*b))),
            level: field!(3, "level", |r: &mut Reader<'_>, f| r.id_of(f, Level::from_id)),
            anchor: field!(4, "anchor", |r: &mut Reader<'_>, f| r
                .id_of(f, MissionAnchor::new)),
            anchor_value: field!(5, "anchor_value", number),
            end_clock_ms: field!(6, "end_clock_ms", number),
            end_approval: field!(7, "end_approval", blob),
            robot_epoch: field!(8, "robot_epoch", number),
            level_epoch: field!(9, "level_epoch", number),
            pcr_digest: field!(10, "pcr_digest", |r: &mut Reader<'_>, f| r.digest(f)),
            max_reset_count: field!(11, "max_reset_count", |r: &mut Reader<'_>, f| r.u32(f)),
            public: field!(12, "public", |r: &mut Reader<'_>, f| {
                let bytes = r.bytes(f)?;
                Public::from_tpmt(bytes).map_err(|_| r.fault(f, Fault::Value))
            }),
            private: field!(13, "private", blob),
            creation: field!(14, "creation", blob),
            certification: field!(15, "certification", |r: &mut Reader<'_>, f| {
                r.array_of(f, 2)?;
                Ok((blob(r, f)?, blob(r, f)?))
            }),
            token: field!(16, "token", blob),
            moved: if fields.optional(r, 17, "moved")? {
                Some(blob(r, "moved")?)
            } else {
                None
            },
            suspended: if fields.optional(r, 18, "suspended")? {
                r.id_of("suspended", |one| (one == 1).then_some(true))?
            } else {
                false
            },
        };
        fields.finish(r)?;
        r.finish()?;
        Ok(record)
    }
}

fn blob(r: &mut Reader<'_>, field: &'static str) -> std::result::Result<Vec<u8>, DecodeError> {
    let bytes = r.bytes(field)?;
    if bytes.len() > 8 * MAX_BLOB {
        Err(r.fault(field, Fault::TooLong))
    } else {
        Ok(bytes.to_vec())
    }
}

/// A certification as the TPM returned it.
impl From<&MissionRecord> for Attestation {
    fn from(record: &MissionRecord) -> Self {
        Self {
            message: record.certification.0.clone(),
            signature: record.certification.1.clone(),
        }
    }
}
