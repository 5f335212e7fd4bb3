//! The managed keys of a robot: their list, and what people do to them.

use super::anchored::{Change, Store};
use super::chip::StoreChip;
use super::making::KeyPlan;
use super::seal::{RecordKey, RecordKind};
use crate::robot::RobotKeys;
use crate::{KeysError, Result};
use alcub3_trust_model::KeyId;
use alcub3_trust_model::managed_key::{
    EndCause, KeyRecord, KeyState, Transition, UseRefusal, purpose_profile,
};
use std::path::{Path, PathBuf};

const FILE: &str = "keys.redb";

/// Where a state folder has its key store.
pub(crate) fn store_path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

fn key_of(id: &KeyId) -> RecordKey {
    RecordKey::new(RecordKind::ManagedKey, id.as_bytes())
}

pub(super) fn put(record: &KeyRecord) -> Change {
    (key_of(&record.id), Some(record.to_canonical()))
}

fn read(store: &Store, key: &RecordKey) -> Result<Option<KeyRecord>> {
    let Some(body) = store.get(key)? else {
        return Ok(None);
    };
    let record = KeyRecord::from_canonical(&body).map_err(|source| KeysError::Record {
        name: key.to_string(),
        source,
    })?;
    Ok(Some(record))
}

pub(super) fn read_all(store: &Store) -> Result<Vec<KeyRecord>> {
    let keys = store.keys(RecordKind::ManagedKey);
    keys.iter()
        .filter_map(|key| read(store, key).transpose())
        .collect()
}

fn find(store: &Store, id: KeyId) -> Result<KeyRecord> {
    read(store, &key_of(&id))?.ok_or(KeysError::NoSuchManagedKey { id })
}

impl RobotKeys {
    pub(crate) fn store_chip(&self) -> StoreChip {
        StoreChip {
            tpm: self.tpm.clone(),
            nv: self.nv,
            storage_root: self.storage_root(),
        }
    }

    pub(super) fn with_store<T>(&self, work: impl FnOnce(&mut Store, &StoreChip) -> Result<T>) -> Result<T> {
        let chip = self.store_chip();
        self.store
            .with(&store_path(self.folder.path()), &chip, |store| work(store, &chip))
    }

    /// All managed keys, the destroyed ones included. Commands: none once the store is open.
    ///
    /// # Errors
    /// [`KeysError::Store`] where the store is refused.
    pub fn managed_keys(&self) -> Result<Vec<KeyRecord>> {
        self.with_store(|store, _| read_all(store))
    }

    /// One managed key. Commands: none once the store is open.
    ///
    /// # Errors
    /// [`KeysError::NoSuchManagedKey`], or as [`Self::managed_keys`].
    pub fn managed_key(&self, id: KeyId) -> Result<KeyRecord> {
        self.with_store(|store, _| find(store, id))
    }

    /// Makes a managed key. NV writes: its anchor's and the store's.
    ///
    /// Commands: 1 NV_Extend, 1 NV_Read, 1 ReadClock, Create, Load, CertifyCreation, 1 NV_Increment, the flushes; for a key
    /// that a stop ends also 2 NV_Read and a parent session for each of Create and Load.
    ///
    /// # Errors
    /// [`KeysError::Stopped`] for a purpose that a stop ends, [`KeysError::NoSuchLevel`], [`KeysError::NoFreeKeyAnchor`],
    /// [`KeysError::MissionPurpose`].
    pub fn create_managed_key(&self, plan: &KeyPlan, now_utc_ms: u64) -> Result<KeyRecord> {
        self.with_store(|store, chip| {
            let made = self.make_key(plan, &read_all(store)?, now_utc_ms)?;
            store.commit(vec![put(&made)], chip)?;
            Ok(made)
        })
    }

    /// Makes the successor of a key. The old key no longer protects anything new, and processes what it protected until
    /// its overlap ends. NV writes and commands: as [`Self::create_managed_key`].
    ///
    /// # Errors
    /// [`KeysError::Use`] for a key that is not active or was rotated before; otherwise as
    /// [`Self::create_managed_key`].
    pub fn rotate_managed_key(&self, id: KeyId, now_utc_ms: u64) -> Result<KeyRecord> {
        self.with_store(|store, chip| {
            let all = read_all(store)?;
            let old = find(store, id)?;
            let (old, new) = self.rotated(&old, &all, now_utc_ms)?;
            store.commit(vec![put(&old), put(&new)], chip)?;
            Ok(new)
        })
    }

    /// The record of a rotated key, and its successor, made in the chip.
    pub(super) fn rotated(
        &self,
        old: &KeyRecord,
        all: &[KeyRecord],
        now_utc_ms: u64,
    ) -> Result<(KeyRecord, KeyRecord)> {
        if old.state != KeyState::Active {
            return Err(UseRefusal::State(old.state).into());
        }
        if !old.protects {
            return Err(UseRefusal::ProtectionOver.into());
        }
        let plan = KeyPlan {
            label: old.label.clone(),
            purpose: old.purpose,
            level: old.level,
            activates_in_ms: 0,
        };
        let new = self.make_key(&plan, all, now_utc_ms)?;
        let overlap = new.made.plus(purpose_profile(old.purpose).overlap_ms);
        let old = KeyRecord {
            protects: false,
            processes_until: old.processes_until.earlier(overlap),
            successor: Some(new.id),
            ..old.clone()
        };
        Ok((old, new))
    }

    /// Activates, suspends or resumes a key. NV writes: the store's. Commands: 1 NV_Increment.
    ///
    /// # Errors
    /// [`KeysError::Transition`] where the state does not allow it.
    pub fn change_managed_key(&self, id: KeyId, transition: Transition) -> Result<KeyRecord> {
        self.with_store(|store, chip| {
            let changed = find(store, id)?.after(transition, EndCause::Ordered)?;
            if !changed.state.lives() {
                self.kill_in_chip([&find(store, id)?])?;
            }
            store.commit(vec![put(&changed)], chip)?;
            Ok(changed)
        })
    }

    /// Revokes a key: the chip does not use it again, and its record says that it is not to be trusted. NV writes: its
    /// anchor's and the store's. Commands: 1 NV_Extend, 1 NV_Increment.
    ///
    /// # Errors
    /// [`KeysError::Transition`] where the state does not allow it.
    pub fn revoke_managed_key(&self, id: KeyId) -> Result<KeyRecord> {
        self.change_managed_key(id, Transition::Revoke)
    }

    /// Destroys a key: the chip does not use it again and its blob is removed. NV writes: its anchor's, unless it was
    /// revoked before, and the store's. Commands: 1 NV_Extend, 1 NV_Increment.
    ///
    /// # Errors
    /// [`KeysError::Transition`] for a key that is destroyed already.
    pub fn destroy_managed_key(&self, id: KeyId) -> Result<KeyRecord> {
        self.change_managed_key(id, Transition::Destroy)
    }

    /// Records as destroyed what the chip will not use again although its record says that it lives: an end that a crash
    /// cut short, or a stop that could not delete. One generation for all. Commands: 1 to 3 NV_Read for each living key;
    /// 1 NV_Increment where one was found.
    ///
    /// # Errors
    /// As [`Self::managed_keys`].
    pub fn bury_dead_keys(&self) -> Result<Vec<KeyRecord>> {
        self.with_store(|store, chip| {
            let mut dead = Vec::new();
            for key in read_all(store)?.into_iter().filter(|key| key.state.lives()) {
                if !self.lives_in_chip(&key)? {
                    dead.push(key.after(Transition::Destroy, EndCause::FoundDead)?);
                }
            }
            if !dead.is_empty() {
                store.commit(dead.iter().map(put).collect(), chip)?;
            }
            Ok(dead)
        })
    }

    /// Removes the blobs of keys that a stop has ended in the chip, and says how many there were. One generation for all.
    /// Commands: 1 NV_Increment, none where there is no such key.
    ///
    /// # Errors
    /// As [`Self::managed_keys`].
    pub(crate) fn delete_stopped_keys(&self, in_scope: impl Fn(&KeyRecord) -> bool) -> Result<u64> {
        let deleted = self.with_store(|store, chip| {
            let mut ended = Vec::new();
            for key in read_all(store)? {
                if key.state.lives() && key.epochs.is_some() && in_scope(&key) {
                    ended.push(put(&key.after(Transition::Destroy, EndCause::Stopped)?));
                }
            }
            let count = u64::try_from(ended.len()).unwrap_or(u64::MAX);
            if count > 0 {
                store.commit(ended, chip)?;
            }
            Ok(count)
        });
        match deleted {
            // There is nothing in it that could be used.
            Err(KeysError::Store(error)) if error.is_refusal() => {
                tracing::warn!(%error, "a stop found no key store to delete from");
                Ok(0)
            }
            other => other,
        }
    }

    /// Gives all managed keys up and makes an empty store: the way out of a store that is refused. Every anchor moves, so
    /// that no key of the old store works again, and the generation moves on. It moves by two: an old store whose last commit
    /// was not counted has the next generation already, and the new one must not share it. Missions go on, their records
    /// under the new store's MAC key; what a crash keeps from that ends with the next start.
    ///
    /// NV writes: every anchor's and two of the store's. Commands: 12 NV_Extend, 1 NV_Increment, 1 Create, 1 Load, 1 HMAC,
    /// 1 NV_Read, a flush; then those of opening it, which counts its generation.
    ///
    /// # Errors
    /// The chip's or the folder's; it can be tried again.
    pub fn start_store_over(&self) -> Result<()> {
        let missions = self.missions_with_keys()?;
        let path = store_path(self.folder.path());
        self.store
            .replace(|| Store::start_over(&path, &self.store_chip()))?;
        // Opening it counts the generation.
        self.with_store(|_, _| Ok(()))?;
        self.keep_missions(&missions)
    }
}
