//! What a provisioned robot remembers of itself: public facts only.

use crate::state::StateFolder;
use crate::{KeysError, Result};
use alcub3_crypto::tpm::Public;
use alcub3_crypto::{Curve, VerifyingKey};
use alcub3_fleet_protocol::VerifiedAnchors;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::hardware::HardwareRecord;
use alcub3_trust_model::{Level, RobotId};

const FILE: &str = "robot.cbor";
const HARDWARE: &str = "hardware.cbor";
/// The hardware record that an approved replacement brought, until it is in the place of the one before.
const NEXT_HARDWARE: &str = "hardware-next.cbor";
const DOMAIN: &str = "alcub3/robot-record/v1";
const VERSION: u64 = 2;
const MOST_LEVELS: usize = 5;

/// One level's keys that the chip makes from its seed; their handles are in the handle map.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LevelParent {
    /// The level.
    pub level: Level,
    /// The storage parent of its mission keys.
    pub public: Public,
    /// The derivation key of its symmetric keys.
    pub kdf: Public,
}

/// The robot's public facts, fixed at provisioning.
#[derive(Clone, Debug)]
pub struct RobotRecord {
    /// The robot.
    pub robot: RobotId,
    /// The curve of all its keys; its hash is the hash of Names, policies and the PCR bank in use.
    pub curve: Curve,
    /// The endorsement key that sessions are salted to.
    pub endorsement_key: Public,
    /// The attestation key.
    pub attestation_key: Public,
    /// The storage root.
    pub storage_root: Public,
    /// The identity key.
    pub identity: Public,
    /// The parents of the levels this robot serves.
    pub parents: Vec<LevelParent>,
    /// The authority's key, which the robot was given before its enrolment.
    pub authority: VerifyingKey,
    /// The authority's last enrolment message, verified: the record and whom to believe.
    pub enrolled: VerifiedAnchors,
}

impl RobotRecord {
    /// The parent of a level.
    ///
    /// # Errors
    /// [`KeysError::NoSuchLevel`].
    pub fn parent(&self, level: Level) -> Result<&LevelParent> {
        self.parents
            .iter()
            .find(|p| p.level == level)
            .ok_or(KeysError::NoSuchLevel { level })
    }

    /// Whether a record is in the folder, and which.
    pub(crate) fn load(folder: &StateFolder) -> Result<Option<Self>> {
        let Some(bytes) = folder.read(FILE)? else {
            return Ok(None);
        };
        let (record, enrolled) = Self::from_canonical(&bytes).map_err(|source| KeysError::Record {
            name: FILE.into(),
            source,
        })?;
        let enrolled = VerifiedAnchors::verify(enrolled, &record.authority, &record.robot)?;
        Ok(Some(record.with(enrolled)))
    }

    pub(crate) fn save(&self, folder: &StateFolder) -> Result<()> {
        Ok(folder.write(FILE, &self.to_canonical())?)
    }

    fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(DOMAIN, VERSION, 9);
        out.u64(2)
            .text(self.robot.as_str())
            .u64(3)
            .u64(self.curve.tpm_id().into());
        let publics = [
            &self.endorsement_key,
            &self.attestation_key,
            &self.storage_root,
            &self.identity,
        ];
        for (key, public) in (4u64..).zip(publics) {
            out.u64(key).bytes(public.as_tpmt_bytes());
        }
        out.u64(8).array(self.parents.len());
        for parent in &self.parents {
            out.array(3)
                .u64(parent.level.id().into())
                .bytes(parent.public.as_tpmt_bytes())
                .bytes(parent.kdf.as_tpmt_bytes());
        }
        out.u64(9)
            .bytes(&self.authority.to_spki_der())
            .u64(10)
            .bytes(self.enrolled.as_bytes());
        out.finish()
    }

    /// Whether the bytes are a record, whatever its enrolment is worth.
    pub(crate) fn is_readable(bytes: &[u8]) -> bool {
        Self::from_canonical(bytes).is_ok()
    }

    fn from_canonical(bytes: &[u8]) -> std::result::Result<(Unverified, &[u8]), DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        fields.key(r, 2, "robot")?;
        let robot = r.text("robot")?;
        let robot = RobotId::new(robot).map_err(|_| r.fault("robot", Fault::Value))?;
        fields.key(r, 3, "curve")?;
        let curve = r.u16("curve")?;
        let curve = Curve::from_tpm_id(curve).ok_or_else(|| r.fault("curve", Fault::Value))?;
        let mut public = |key, field| {
            fields.key(r, key, field)?;
            read_public(r, field)
        };
        let endorsement_key = public(4, "endorsement_key")?;
        let attestation_key = public(5, "attestation_key")?;
        let storage_root = public(6, "storage_root")?;
        let identity = public(7, "identity")?;
        fields.key(r, 8, "parents")?;
        let parents = read_parents(r)?;
        fields.key(r, 9, "authority")?;
        let authority = r.bytes("authority")?;
        let authority =
            VerifyingKey::from_spki_der(authority).map_err(|_| r.fault("authority", Fault::Value))?;
        fields.key(r, 10, "enrolled")?;
        let enrolled = r.bytes("enrolled")?;
        fields.finish(r)?;
        r.finish()?;
        let keys = [endorsement_key, attestation_key, storage_root, identity];
        Ok((
            Unverified {
                robot,
                curve,
                keys,
                parents,
                authority,
            },
            enrolled,
        ))
    }
}

/// Keeps the hardware record that was enrolled.
pub(crate) fn save_hardware(folder: &StateFolder, hardware: &HardwareRecord) -> Result<()> {
    Ok(folder.write(HARDWARE, &hardware.to_canonical())?)
}

/// The hardware record that was enrolled. What the folder holds counts only if it is the one that the authority signed.
pub(crate) fn load_hardware(folder: &StateFolder, enrolled: &VerifiedAnchors) -> Result<HardwareRecord> {
    let binding = enrolled.enrolment().record().hardware_binding;
    for name in [HARDWARE, NEXT_HARDWARE] {
        let Some(bytes) = folder.read(name)? else { continue };
        let record = HardwareRecord::from_canonical(&bytes).map_err(|source| KeysError::Record {
            name: name.into(),
            source,
        })?;
        if record.binding(binding.alg()) == binding {
            return Ok(record);
        }
    }
    Err(KeysError::OtherHardwareRecord)
}

/// Puts an enrolment with other hardware in the place of the one before. The record is what counts: a crash before it is
/// written leaves the robot as it was, and one after it leaves both hardware records, of which the record names one.
pub(crate) fn replace_hardware(
    folder: &StateFolder,
    record: &RobotRecord,
    hardware: &HardwareRecord,
) -> Result<()> {
    folder.write(NEXT_HARDWARE, &hardware.to_canonical())?;
    record.save(folder)?;
    save_hardware(folder, hardware)?;
    Ok(folder.remove(NEXT_HARDWARE)?)
}

/// A record whose enrolment message is not verified yet.
struct Unverified {
    robot: RobotId,
    curve: Curve,
    keys: [Public; 4],
    parents: Vec<LevelParent>,
    authority: VerifyingKey,
}

impl Unverified {
    fn with(self, enrolled: VerifiedAnchors) -> RobotRecord {
        let Self {
            robot,
            curve,
            keys: [endorsement_key, attestation_key, storage_root, identity],
            parents,
            authority,
        } = self;
        RobotRecord {
            robot,
            curve,
            endorsement_key,
            attestation_key,
            storage_root,
            identity,
            parents,
            authority,
            enrolled,
        }
    }
}

fn read_public(r: &mut Reader<'_>, field: &'static str) -> std::result::Result<Public, DecodeError> {
    let bytes = r.bytes(field)?;
    Public::from_tpmt(bytes).map_err(|_| r.fault(field, Fault::Value))
}

fn read_parents(r: &mut Reader<'_>) -> std::result::Result<Vec<LevelParent>, DecodeError> {
    let count = r.array("parents", MOST_LEVELS)?;
    let mut parents = Vec::with_capacity(count);
    for _ in 0..count {
        r.array_of("parent", 3)?;
        let level = r.id_of("level", Level::from_id)?;
        parents.push(LevelParent {
            level,
            public: read_public(r, "parent")?,
            kdf: read_public(r, "kdf")?,
        });
    }
    Ok(parents)
}
