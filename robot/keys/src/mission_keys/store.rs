//! Where mission keys are kept: one file for each, in a folder for each mission. Nothing else reads or writes them.

use super::MissionKeyRecord;
use crate::state::StateFolder;
use crate::{KeysError, Result};
use alcub3_trust_model::{MissionId, MissionKeyId};
use std::sync::Arc;

const FOLDER: &str = "mission-keys";

/// The mission keys of one robot.
#[derive(Clone, Debug)]
pub(crate) struct MissionKeyStore(Arc<StateFolder>);

impl MissionKeyStore {
    pub(crate) fn new(folder: Arc<StateFolder>) -> Self {
        Self(folder)
    }

    /// Keeps keys of one mission; on return all of them survive a power cut.
    pub(crate) fn put(&self, mission: MissionId, keys: &[MissionKeyRecord]) -> Result<()> {
        let files = keys
            .iter()
            .map(|record| (file_of(record.key), record.to_canonical()));
        Ok(self.0.write_all(&folder_of(mission), files)?)
    }

    /// One key of a mission.
    pub(crate) fn get(&self, mission: MissionId, key: MissionKeyId) -> Result<Option<MissionKeyRecord>> {
        let name = format!("{}/{}", folder_of(mission), file_of(key));
        self.read(&name)
    }

    /// The keys of a mission.
    pub(crate) fn list(&self, mission: MissionId) -> Result<Vec<MissionKeyRecord>> {
        let folder = folder_of(mission);
        let names = self.0.list(&folder)?;
        let read = names.iter().map(|name| self.read(&format!("{folder}/{name}")));
        read.filter_map(Result::transpose).collect()
    }

    /// How many keys a mission has.
    pub(crate) fn count(&self, mission: MissionId) -> Result<u64> {
        let names = self.0.list(&folder_of(mission))?;
        Ok(u64::try_from(names.len()).unwrap_or(u64::MAX))
    }

    /// Removes the keys of a mission, and says how many there were.
    pub(crate) fn remove_mission(&self, mission: MissionId) -> Result<u64> {
        let count = self.count(mission)?;
        self.0.remove_folder(&folder_of(mission))?;
        Ok(count)
    }

    /// Removes the keys of every mission that is not among these, and says how many there were: what an end that was cut
    /// short left behind.
    pub(crate) fn remove_all_but(&self, missions: &[MissionId]) -> Result<u64> {
        let mut removed = 0u64;
        for name in self.0.list(FOLDER)? {
            let kept = missions.iter().any(|mission| mission.to_string() == name);
            if !kept {
                let folder = format!("{FOLDER}/{name}");
                let count = self.0.list(&folder)?.len();
                self.0.remove_folder(&folder)?;
                removed = removed.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
            }
        }
        Ok(removed)
    }

    fn read(&self, name: &str) -> Result<Option<MissionKeyRecord>> {
        let Some(bytes) = self.0.read(name)? else {
            return Ok(None);
        };
        MissionKeyRecord::from_canonical(&bytes)
            .map(Some)
            .map_err(|source| KeysError::Record {
                name: name.into(),
                source,
            })
    }
}

fn folder_of(mission: MissionId) -> String {
    format!("{FOLDER}/{mission}")
}

fn file_of(key: MissionKeyId) -> String {
    format!("{key}.cbor")
}
