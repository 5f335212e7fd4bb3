//! The sweep: what the schedule says is due is done, in one generation.

use super::anchored::{Change, Store};
use super::managed::{put, read_all};
use crate::robot::RobotKeys;
use crate::{KeysError, Result};
use alcub3_tpm::Lane;
use alcub3_trust_model::KeyId;
use alcub3_trust_model::managed_key::{Due, EndCause, KeyRecord, Now, Transition, due};
use std::collections::BTreeMap;

/// One thing that was due.
#[derive(Debug)]
pub struct Swept {
    /// The key.
    pub id: KeyId,
    /// What was due.
    pub due: Due,
    /// The key that took its place, or why what was due could not be done.
    pub outcome: std::result::Result<Option<KeyId>, KeysError>,
}

impl RobotKeys {
    /// Does what is due by the TPM's clock, and by the wall clock where it is known: begins, rotates, expires and destroys
    /// keys. What cannot be done now (a rotation while the robot is stopped) is said, and is due again.
    ///
    /// NV writes: one of the store's if anything was done, and one for each anchor of a key that is made or ends.
    /// Commands: 1 ReadClock; those of making each successor; 1 NV_Extend for each end; 1 NV_Increment.
    ///
    /// # Errors
    /// As [`Self::managed_keys`].
    pub fn sweep_managed_keys(&self, utc_ms: Option<u64>) -> Result<Vec<Swept>> {
        let clock_ms = self.run(Lane::Background, |chip| chip.read_clock())?.clock_ms;
        let now = Now { clock_ms, utc_ms };
        self.with_store(|store, chip| {
            let (swept, changes) = self.sweep(store, &now)?;
            if !changes.is_empty() {
                store.commit(changes, chip)?;
            }
            Ok(swept)
        })
    }

    fn sweep(&self, store: &Store, now: &Now) -> Result<(Vec<Swept>, Vec<Change>)> {
        let before = read_all(store)?;
        let mut keys: BTreeMap<KeyId, KeyRecord> = before.iter().map(|key| (key.id, key.clone())).collect();
        let mut swept = Vec::new();
        for (id, due) in due(&before, now) {
            let outcome = self.do_one(&mut keys, id, due, now);
            swept.push(Swept { id, due, outcome });
        }
        let changed = keys.values().filter(|key| !before.contains(key));
        Ok((swept, changed.map(put).collect()))
    }

    fn do_one(
        &self,
        keys: &mut BTreeMap<KeyId, KeyRecord>,
        id: KeyId,
        due: Due,
        now: &Now,
    ) -> Result<Option<KeyId>> {
        let key = keys.get(&id).cloned().ok_or(KeysError::NoSuchManagedKey { id })?;
        let changed = match due {
            Due::Activate => key.after(Transition::Activate, EndCause::Ordered)?,
            Due::Expire => key.after(Transition::Expire, EndCause::Expired)?,
            Due::Destroy => {
                self.kill_in_chip([&key])?;
                key.after(Transition::Destroy, EndCause::Expired)?
            }
            Due::Rotate => {
                let all: Vec<KeyRecord> = keys.values().cloned().collect();
                let utc_ms = now.utc_ms.unwrap_or(key.protects_until.utc_ms);
                let (old, new) = self.rotated(&key, &all, utc_ms)?;
                let successor = new.id;
                keys.insert(new.id, new);
                keys.insert(id, old);
                return Ok(Some(successor));
            }
        };
        keys.insert(id, changed);
        Ok(None)
    }
}
