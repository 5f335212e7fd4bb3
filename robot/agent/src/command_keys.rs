//! Which command key in the chip stands for whose commands.

use alcub3_keys::MissionKeyRecord;
use alcub3_trust_model::{MissionId, MissionKeyId, MissionKeyPurpose, OperatorId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type ByIssuer = BTreeMap<OperatorId, MissionKeyId>;

/// The command keys of the missions whose keys were looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommandKeys(Arc<Mutex<BTreeMap<MissionId, ByIssuer>>>);

impl CommandKeys {
    /// The key of an issuer on a mission. The mission's keys are read the first time, and known then.
    pub(crate) fn of<E>(
        &self,
        mission: MissionId,
        issuer: &OperatorId,
        read: impl FnOnce() -> Result<Vec<MissionKeyRecord>, E>,
    ) -> Result<Option<MissionKeyId>, E> {
        if let Some(known) = self.lock().get(&mission) {
            return Ok(known.get(issuer).copied());
        }
        let found: ByIssuer = read()?.iter().filter_map(stands_for).collect();
        let key = found.get(issuer).copied();
        self.lock().insert(mission, found);
        Ok(key)
    }

    /// A key came in.
    pub(crate) fn add(&self, record: &MissionKeyRecord) {
        if let Some((issuer, key)) = stands_for(record)
            && let Some(known) = self.lock().get_mut(&record.mission)
        {
            known.insert(issuer, key);
        }
    }

    /// A mission ended.
    pub(crate) fn forget(&self, mission: MissionId) {
        self.lock().remove(&mission);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<MissionId, ByIssuer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stands_for(record: &MissionKeyRecord) -> Option<(OperatorId, MissionKeyId)> {
    let issuer = record.issuer()?.clone();
    (record.purpose == MissionKeyPurpose::CommandMac).then_some((issuer, record.key))
}
