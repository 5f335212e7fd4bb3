//! Where mission keys are kept: one file for each mission, to which keys are appended, so that a mission's end removes one
//! file whatever the number of its keys. Nothing else reads or writes them.

use super::MissionKeyRecord;
use crate::state::StateFolder;
use crate::{KeysError, Result};
use alcub3_trust_model::{MissionId, MissionKeyId};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const FOLDER: &str = "mission-keys";
const SUFFIX: &str = ".keys";

/// The mission keys of one robot. Clones share its turn.
#[derive(Clone, Debug)]
pub(crate) struct MissionKeyStore {
    folder: Arc<StateFolder>,
    /// One writer at a time: where an append begins is read from the file. Held for the disk alone, never for the chip.
    turn: Arc<Mutex<()>>,
}

impl MissionKeyStore {
    pub(crate) fn new(folder: Arc<StateFolder>) -> Self {
        Self {
            folder,
            turn: Arc::default(),
        }
    }

    fn take_turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps keys of one mission; on return all of them survive a power cut. What a crash cut off of an earlier call was
    /// never acknowledged, and is overwritten.
    pub(crate) fn put(&self, mission: MissionId, keys: &[MissionKeyRecord]) -> Result<()> {
        let _turn = self.take_turn();
        let name = file_of(mission);
        let kept = self.folder.read(&name)?.unwrap_or_default();
        let (_, whole) = frames(&kept);
        let mut added = Vec::new();
        for record in keys {
            let bytes = record.to_canonical();
            // A record is bounded by its blobs: far below what the length can say.
            added.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
            added.extend_from_slice(&bytes);
        }
        Ok(self.folder.append_at(&name, whole, &added)?)
    }

    /// One key of a mission.
    pub(crate) fn get(&self, mission: MissionId, key: MissionKeyId) -> Result<Option<MissionKeyRecord>> {
        Ok(self.list(mission)?.into_iter().find(|record| record.key == key))
    }

    /// The keys of a mission, in the order in which they came.
    pub(crate) fn list(&self, mission: MissionId) -> Result<Vec<MissionKeyRecord>> {
        let name = file_of(mission);
        let kept = self.folder.read(&name)?.unwrap_or_default();
        let (records, _) = frames(&kept);
        let read = records.into_iter().map(MissionKeyRecord::from_canonical);
        read.collect::<std::result::Result<_, _>>()
            .map_err(|source| KeysError::Record { name, source })
    }

    /// How many keys a mission has.
    pub(crate) fn count(&self, mission: MissionId) -> Result<u64> {
        self.count_in(&file_of(mission))
    }

    /// Removes the keys of a mission, and says how many there were.
    pub(crate) fn remove_mission(&self, mission: MissionId) -> Result<u64> {
        self.remove(&file_of(mission))
    }

    /// Removes the keys of every mission that is not among these, and says how many there were: what an end that was cut
    /// short left behind.
    pub(crate) fn remove_all_but(&self, missions: &[MissionId]) -> Result<u64> {
        let kept: Vec<String> = missions.iter().map(|mission| file_of(*mission)).collect();
        let mut removed = 0u64;
        for name in self.folder.list(FOLDER)? {
            let name = format!("{FOLDER}/{name}");
            if !kept.contains(&name) {
                removed = removed.saturating_add(self.remove(&name)?);
            }
        }
        Ok(removed)
    }

    fn remove(&self, name: &str) -> Result<u64> {
        let _turn = self.take_turn();
        // A file that cannot be counted is removed all the same.
        let count = self.count_in(name).unwrap_or(0);
        self.folder.remove(name)?;
        Ok(count)
    }

    fn count_in(&self, name: &str) -> Result<u64> {
        let kept = self.folder.read(name)?.unwrap_or_default();
        Ok(u64::try_from(frames(&kept).0.len()).unwrap_or(u64::MAX))
    }
}

/// The records of a file as far as they are whole, and how many bytes they take.
fn frames(bytes: &[u8]) -> (Vec<&[u8]>, u64) {
    let (mut records, mut rest) = (Vec::new(), bytes);
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((record, tail)) = tail.split_at_checked(length) else {
            break;
        };
        records.push(record);
        rest = tail;
    }
    let whole = bytes.len().saturating_sub(rest.len());
    (records, u64::try_from(whole).unwrap_or(u64::MAX))
}

fn file_of(mission: MissionId) -> String {
    format!("{FOLDER}/{mission}{SUFFIX}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mission_keys::KeyOrigin;
    use alcub3_crypto::HashAlg;
    use alcub3_crypto::tpm::template::PublicTemplate;
    use alcub3_trust_model::{Level, MissionKeyPurpose};

    const MISSION: MissionId = MissionId::new([1; 16]);

    fn record(id: u8) -> MissionKeyRecord {
        let public = PublicTemplate::hmac_key(HashAlg::Sha256, 0, None).to_public();
        MissionKeyRecord {
            key: MissionKeyId::new([id; 16]),
            mission: MISSION,
            level: Level::Cui,
            purpose: MissionKeyPurpose::CommandMac,
            origin: KeyOrigin::Made,
            public: public.unwrap(),
            private: vec![id; 64],
        }
    }

    #[test]
    fn keys_kept_at_once_for_one_mission_are_all_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = MissionKeyStore::new(Arc::new(StateFolder::open(dir.path()).unwrap()));
        std::thread::scope(|threads| {
            for writer in 0..8 {
                let store = store.clone();
                threads.spawn(move || {
                    for key in 0..16 {
                        store.put(MISSION, &[record(writer * 16 + key)]).unwrap();
                    }
                });
            }
        });
        let kept = store.list(MISSION).unwrap();
        assert!((0..128).all(|id| kept.contains(&record(id))));
        assert_eq!(kept.len(), 128);
    }

    #[test]
    fn a_tail_that_a_crash_cut_off_does_not_count() {
        let whole = [&[0, 0, 0, 2][..], b"ab", &[0, 0, 0, 1], b"c"].concat();
        for cut in [&[][..], &[0], &[0, 0, 0, 3], &[0, 0, 0, 3, b'd', b'e'], &[255; 9]] {
            let bytes = [&whole, cut].concat();
            let (records, length) = frames(&bytes);
            assert_eq!((records, length), (vec![&b"ab"[..], b"c"], 11));
        }
    }
}
