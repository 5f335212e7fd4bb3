//! The further keys of a mission: made on demand in the chip, or shared by the authority; kept as blobs, gone with the
//! mission.

mod creating;
mod data;
mod importing;
mod record;
mod store;

pub use creating::mission_key_binding;
pub use data::MissionData;
pub use importing::ParentProof;
pub use record::{KeyOrigin, MissionKeyRecord};
pub(crate) use store::MissionKeyStore;

use crate::robot::RobotKeys;
use crate::{KeysError, Result};
use alcub3_trust_model::{MissionId, MissionKeyId};

impl RobotKeys {
    pub(crate) const fn key_store(&self) -> &MissionKeyStore {
        &self.mission_keys
    }

    /// The further keys of a mission.
    ///
    /// # Errors
    /// [`KeyRefusal::MissionRecord`](crate::KeyRefusal::MissionRecord) where the file is not what this robot wrote; the
    /// folder's.
    pub fn mission_keys(&self, mission: MissionId) -> Result<Vec<MissionKeyRecord>> {
        self.key_store().list(&*self.mission_seal()?, mission)
    }

    /// How many further keys a mission has.
    ///
    /// # Errors
    /// The folder's.
    pub fn mission_key_count(&self, mission: MissionId) -> Result<u64> {
        self.key_store().count(mission)
    }

    /// One further key of a mission.
    ///
    /// # Errors
    /// [`KeysError::NoSuchMissionKey`], or as [`Self::mission_keys`].
    pub fn mission_key_record(&self, mission: MissionId, key: MissionKeyId) -> Result<MissionKeyRecord> {
        let found = self.key_store().get(&*self.mission_seal()?, mission, key)?;
        found.ok_or(KeysError::NoSuchMissionKey { mission, key })
    }
}
