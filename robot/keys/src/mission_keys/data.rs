//! Data under a mission's data key: AES-256-GCM, with the key in the chip under the mission's policy.

use super::MissionKeyRecord;
use crate::missions::MissionKey;
use crate::robot::RobotKeys;
use crate::{KeyRefusal, KeysError, Result};
use alcub3_crypto::{AeadKey, Entropy, Secret};
use alcub3_tpm::{OsEntropy, TpmError};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{MissionId, MissionKeyId, MissionKeyPurpose, domain};

const VERSION: u64 = 1;
const NONCE_LEN: usize = 12;
/// More than this is a file, not a message, in bytes.
const MAX_DATA: usize = 64 << 20;

/// Data that opens while its mission runs, and never after.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MissionData {
    /// The mission.
    pub mission: MissionId,
    /// The data key.
    pub key: MissionKeyId,
    /// The nonce, used once with this key.
    pub nonce: [u8; NONCE_LEN],
    /// AES-256-GCM, tag included.
    pub ciphertext: Vec<u8>,
}

impl MissionData {
    /// The bytes.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::MISSION_DATA, VERSION, 4);
        out.u64(2)
            .bytes(self.mission.as_bytes())
            .u64(3)
            .bytes(self.key.as_bytes());
        out.u64(4).bytes(&self.nonce).u64(5).bytes(&self.ciphertext);
        out.finish()
    }

    /// The data of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::MISSION_DATA, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::MISSION_DATA, VERSION)?;
        fields.key(r, 2, "mission")?;
        let mission = MissionId::new(*r.bytes_of("mission")?);
        fields.key(r, 3, "key")?;
        let key = MissionKeyId::new(*r.bytes_of("key")?);
        fields.key(r, 4, "nonce")?;
        let nonce = *r.bytes_of("nonce")?;
        fields.key(r, 5, "ciphertext")?;
        let ciphertext = r.bytes("ciphertext")?;
        if ciphertext.len() > MAX_DATA {
            return Err(r.fault("ciphertext", Fault::TooLong));
        }
        let ciphertext = ciphertext.to_vec();
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            mission,
            key,
            nonce,
            ciphertext,
        })
    }

    fn seal(record: &MissionKeyRecord, key: &Secret, plain: &[u8]) -> Result<Self> {
        let mut nonce = [0; NONCE_LEN];
        OsEntropy.fill(&mut nonce).map_err(TpmError::Entropy)?;
        let associated = associated_data(record.mission, record.key);
        Ok(Self {
            mission: record.mission,
            key: record.key,
            ciphertext: AeadKey::new(key)?.seal(&nonce, &associated, plain)?,
            nonce,
        })
    }

    fn open(&self, key: &Secret) -> Result<Secret> {
        let associated = associated_data(self.mission, self.key);
        Ok(AeadKey::new(key)?.open(&self.nonce, &associated, &self.ciphertext)?)
    }
}

fn associated_data(mission: MissionId, key: MissionKeyId) -> Vec<u8> {
    [
        domain::MISSION_DATA.as_bytes(),
        mission.as_bytes(),
        key.as_bytes(),
    ]
    .concat()
}

impl RobotKeys {
    /// Seals data under a loaded data key. Commands: as [`Self::arm`], 1 Unseal, and a flush.
    ///
    /// # Errors
    /// [`KeyRefusal::Purpose`] for a key of another purpose; the chip's refusal once the mission is over.
    pub fn seal_data(
        &self,
        record: &MissionKeyRecord,
        key: &MissionKey,
        plain: &[u8],
    ) -> Result<MissionData> {
        if plain.len() > MAX_DATA - 16 {
            return Err(KeysError::TooMuchData { most: MAX_DATA - 16 });
        }
        MissionData::seal(record, &self.unseal_data_key(key)?, plain)
    }

    /// Opens data with the loaded data key that it names. Commands: as [`Self::arm`], 1 Unseal, and a flush.
    ///
    /// # Errors
    /// As [`Self::seal_data`], and for data that was changed.
    pub fn open_data(&self, key: &MissionKey, data: &MissionData) -> Result<Secret> {
        data.open(&self.unseal_data_key(key)?)
    }

    /// The purpose that [`Self::seal_data`] and [`Self::open_data`] ask for.
    pub(crate) fn check_purpose(key: &MissionKey, asked: MissionKeyPurpose) -> Result<()> {
        let found = key.purpose();
        if found == asked {
            Ok(())
        } else {
            Err(KeyRefusal::Purpose { asked, found }.into())
        }
    }
}
