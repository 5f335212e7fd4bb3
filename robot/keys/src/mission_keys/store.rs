//! Where mission keys are kept: one file for each mission, to which keys are appended, and one that says how many of them
//! were acknowledged, so that a mission's end removes two files whatever the number of its keys. Each key and each number is
//! under a tag of the key store's MAC key, a key with its mission and its place. Nothing else reads or writes them.

use super::MissionKeyRecord;
use crate::missions::RecordFault;
use crate::state::StateFolder;
use crate::store::{RecordKey, RecordKind, Seal};
use crate::{KeyRefusal, KeysError, Result};
use alcub3_trust_model::{MissionId, MissionKeyId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const FOLDER: &str = "mission-keys";
const SUFFIX: &str = ".keys";
const COUNT_SUFFIX: &str = ".count";

/// The mission keys of one robot. Clones share its turn.
#[derive(Clone, Debug)]
pub(crate) struct MissionKeyStore {
    folder: Arc<StateFolder>,
    /// One writer at a time: where an append begins is read from the file. Held for the disk alone, never for the chip. In it
    /// is how many keys of each mission were last read or written: within one run an older file is told by it.
    seen: Arc<Mutex<BTreeMap<MissionId, u64>>>,
}

impl MissionKeyStore {
    pub(crate) fn new(folder: Arc<StateFolder>) -> Self {
        Self {
            folder,
            seen: Arc::default(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<MissionId, u64>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says of a mission that begins that it has no keys: from then on a missing file is one that somebody took away.
    pub(crate) fn begin(&self, seal: &Seal, mission: MissionId) -> Result<()> {
        self.write_count(&mut self.seen(), seal, mission, 0)
    }

    /// Keeps keys of one mission; on return all of them survive a power cut. What a crash cut off of an earlier call was
    /// never acknowledged, and is overwritten.
    pub(crate) fn put(&self, seal: &Seal, mission: MissionId, keys: &[MissionKeyRecord]) -> Result<()> {
        let mut seen = self.seen();
        let name = file_of(mission);
        let kept = self.folder.read(&name)?.unwrap_or_default();
        let before = self.read_count(&mut seen, seal, mission)?;
        let (rows, whole) = frames(&kept, before);
        if length(&rows) < before {
            return Err(refused(mission, RecordFault::KeysEdited));
        }
        let mut added = Vec::new();
        for (place, record) in (before..).zip(keys) {
            let row = seal.sealed(&key_of(mission), place, &record.to_canonical());
            // A record is bounded by its blobs: far below what the length can say.
            added.extend_from_slice(&u32::try_from(row.len()).unwrap_or(u32::MAX).to_be_bytes());
            added.extend_from_slice(&row);
        }
        self.folder.append_at(&name, whole, &added)?;
        self.write_count(&mut seen, seal, mission, before.saturating_add(length(keys)))
    }

    /// One key of a mission.
    pub(crate) fn get(
        &self,
        seal: &Seal,
        mission: MissionId,
        key: MissionKeyId,
    ) -> Result<Option<MissionKeyRecord>> {
        Ok(self
            .list(seal, mission)?
            .into_iter()
            .find(|record| record.key == key))
    }

    /// The keys of a mission, in the order in which they came.
    pub(crate) fn list(&self, seal: &Seal, mission: MissionId) -> Result<Vec<MissionKeyRecord>> {
        let mut seen = self.seen();
        let kept = self.folder.read(&file_of(mission))?.unwrap_or_default();
        let count = self.read_count(&mut seen, seal, mission)?;
        let (rows, _) = frames(&kept, count);
        let read = (0..).zip(&rows).map(|(place, row)| {
            let (found, _, body) = seal.open_generation(&key_of(mission), row)?;
            let record = MissionKeyRecord::from_canonical(body).ok()?;
            (found == place && record.mission == mission).then_some(record)
        });
        let read: Option<Vec<MissionKeyRecord>> = read.collect();
        read.filter(|records| length(records) == count)
            .ok_or_else(|| refused(mission, RecordFault::KeysEdited))
    }

    /// How many keys a mission has acknowledged.
    fn read_count(
        &self,
        seen: &mut BTreeMap<MissionId, u64>,
        seal: &Seal,
        mission: MissionId,
    ) -> Result<u64> {
        let row = self.folder.read(&count_file_of(mission))?.unwrap_or_default();
        let (count, ..) = seal
            .open_generation(&count_key_of(mission), &row)
            .ok_or_else(|| refused(mission, RecordFault::KeysEdited))?;
        if *seen.entry(mission).or_insert(count) == count {
            Ok(count)
        } else {
            Err(refused(mission, RecordFault::KeysRolledBack))
        }
    }

    fn write_count(
        &self,
        seen: &mut BTreeMap<MissionId, u64>,
        seal: &Seal,
        mission: MissionId,
        count: u64,
    ) -> Result<()> {
        // Where writing fails, either number may be there: the next look says which.
        seen.remove(&mission);
        let row = seal.sealed(&count_key_of(mission), count, &[]);
        self.folder.write(&count_file_of(mission), &row)?;
        seen.insert(mission, count);
        Ok(())
    }

    /// How many keys a mission's file has, whoever wrote them.
    pub(crate) fn count(&self, mission: MissionId) -> Result<u64> {
        self.count_in(&file_of(mission))
    }

    /// Removes the keys of a mission, and says how many there were.
    pub(crate) fn remove_mission(&self, mission: MissionId) -> Result<u64> {
        let mut seen = self.seen();
        seen.remove(&mission);
        let count = self.remove(&file_of(mission))?;
        self.folder.remove(&count_file_of(mission))?;
        Ok(count)
    }

    /// Removes the keys of every mission that is not among these, and says how many there were: what an end that was cut
    /// short left behind.
    pub(crate) fn remove_all_but(&self, missions: &[MissionId]) -> Result<u64> {
        let mut seen = self.seen();
        seen.retain(|mission, _| missions.contains(mission));
        let names = |mission: &MissionId| [file_of(*mission), count_file_of(*mission)];
        let kept: Vec<String> = missions.iter().flat_map(names).collect();
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
        // A file that cannot be counted is removed all the same.
        let keys = name.ends_with(SUFFIX);
        let count = if keys { self.count_in(name).unwrap_or(0) } else { 0 };
        self.folder.remove(name)?;
        Ok(count)
    }

    fn count_in(&self, name: &str) -> Result<u64> {
        let kept = self.folder.read(name)?.unwrap_or_default();
        Ok(length(&frames(&kept, u64::MAX).0))
    }
}

fn refused(mission: MissionId, fault: RecordFault) -> KeysError {
    KeyRefusal::MissionRecord { mission, fault }.into()
}

fn length<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}

/// The first `most` rows of a file as far as they are whole, and how many bytes they take.
fn frames(bytes: &[u8], most: u64) -> (Vec<&[u8]>, u64) {
    let (mut rows, mut rest) = (Vec::new(), bytes);
    while length(&rows) < most
        && let Some((length, tail)) = rest.split_first_chunk::<4>()
    {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((row, tail)) = tail.split_at_checked(length) else {
            break;
        };
        rows.push(row);
        rest = tail;
    }
    let whole = bytes.len().saturating_sub(rest.len());
    (rows, u64::try_from(whole).unwrap_or(u64::MAX))
}

fn key_of(mission: MissionId) -> RecordKey {
    RecordKey::new(RecordKind::MissionKey, mission.as_bytes())
}

fn count_key_of(mission: MissionId) -> RecordKey {
    RecordKey::new(RecordKind::MissionKeyCount, mission.as_bytes())
}

fn file_of(mission: MissionId) -> String {
    format!("{FOLDER}/{mission}{SUFFIX}")
}

fn count_file_of(mission: MissionId) -> String {
    format!("{FOLDER}/{mission}{COUNT_SUFFIX}")
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::mission_keys::KeyOrigin;
    use alcub3_crypto::tpm::template::PublicTemplate;
    use alcub3_crypto::{HashAlg, Secret};
    use alcub3_trust_model::{Level, MissionKeyPurpose};
    use std::path::PathBuf;
    use tempfile::TempDir;

    const MISSION: MissionId = MissionId::new([1; 16]);

    fn seal() -> Seal {
        Seal::new(HashAlg::Sha256, &Secret::from_slice(&[7; 32]))
    }

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

    /// A store with the first keys of a mission.
    struct Kept {
        dir: TempDir,
        store: MissionKeyStore,
    }

    impl Kept {
        fn with_keys(count: u8) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let store = MissionKeyStore::new(Arc::new(StateFolder::open(dir.path()).unwrap()));
            store.begin(&seal(), MISSION).unwrap();
            let keys: Vec<_> = (0..count).map(record).collect();
            store.put(&seal(), MISSION, &keys).unwrap();
            Self { dir, store }
        }

        fn paths(&self) -> [PathBuf; 2] {
            [file_of(MISSION), count_file_of(MISSION)].map(|name| self.dir.path().join(name))
        }

        fn bytes(&self) -> [Vec<u8>; 2] {
            self.paths().map(|path| std::fs::read(path).unwrap())
        }

        fn write(&self, files: &[Vec<u8>; 2]) {
            for (path, bytes) in self.paths().iter().zip(files) {
                std::fs::write(path, bytes).unwrap();
            }
        }

        /// What is found by a process that knows nothing of before.
        fn anew(&self) -> Result<Vec<MissionKeyRecord>> {
            let folder = self.store.folder.clone();
            MissionKeyStore::new(folder).list(&seal(), MISSION)
        }
    }

    fn fault(result: Result<impl std::fmt::Debug>) -> RecordFault {
        match result {
            Err(KeysError::Refused {
                source: KeyRefusal::MissionRecord { fault, .. },
            }) => fault,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_kept_at_once_for_one_mission_are_all_kept() {
        let kept = Kept::with_keys(0);
        std::thread::scope(|threads| {
            for writer in 0..8 {
                let store = kept.store.clone();
                threads.spawn(move || {
                    for key in 0..16 {
                        store.put(&seal(), MISSION, &[record(writer * 16 + key)]).unwrap();
                    }
                });
            }
        });
        let keys = kept.anew().unwrap();
        assert!((0..128).all(|id| keys.contains(&record(id))));
        assert_eq!(keys.len(), 128);
    }

    #[test]
    fn a_tail_that_a_crash_cut_off_does_not_count_and_is_overwritten() {
        let whole = Kept::with_keys(2);
        let [keys, count] = whole.bytes();
        let next = Kept::with_keys(3).bytes()[0][keys.len()..].to_vec();
        for tail in [&[][..], &[0], &[0; 40], &[255; 9], &next[..20], &next] {
            whole.write(&[[&keys, tail].concat(), count.clone()]);
            assert_eq!(whole.anew().unwrap(), [record(0), record(1)]);
        }
        whole.store.put(&seal(), MISSION, &[record(9)]).unwrap();
        assert_eq!(whole.anew().unwrap(), [record(0), record(1), record(9)]);
    }

    #[test]
    fn no_changed_byte_of_what_was_acknowledged_is_believed() {
        let kept = Kept::with_keys(2);
        let genuine = kept.bytes();
        for file in 0..2 {
            for at in 0..genuine[file].len() {
                let mut changed = genuine.clone();
                changed[file][at] ^= 1;
                kept.write(&changed);
                assert_eq!(fault(kept.anew()), RecordFault::KeysEdited, "{file} {at}");
            }
            let mut cut = genuine.clone();
            cut[file].pop();
            kept.write(&cut);
            assert_eq!(fault(kept.anew()), RecordFault::KeysEdited);
            let put = MissionKeyStore::new(kept.store.folder.clone()).put(&seal(), MISSION, &[record(5)]);
            assert_eq!(fault(put), RecordFault::KeysEdited);
        }
        for path in kept.paths() {
            kept.write(&genuine);
            std::fs::remove_file(path).unwrap();
            assert_eq!(fault(kept.anew()), RecordFault::KeysEdited);
        }
    }

    #[test]
    fn keys_in_another_order_or_of_another_mission_are_found_out() {
        let kept = Kept::with_keys(2);
        let [keys, count] = kept.bytes();
        let (first, second) = keys.split_at(keys.len() / 2);
        for changed in [[second, first].concat(), [first, first].concat()] {
            kept.write(&[changed, count.clone()]);
            assert_eq!(fault(kept.anew()), RecordFault::KeysEdited);
        }
        kept.write(&[keys, count]);
        let other = MissionId::new([2; 16]);
        for (from, to) in kept.paths().iter().zip([file_of(other), count_file_of(other)]) {
            std::fs::rename(from, kept.dir.path().join(to)).unwrap();
        }
        let store = MissionKeyStore::new(kept.store.folder);
        assert_eq!(fault(store.list(&seal(), other)), RecordFault::KeysEdited);
    }

    #[test]
    fn an_older_file_is_found_out_within_a_run() {
        let kept = Kept::with_keys(1);
        let older = kept.bytes();
        kept.store.put(&seal(), MISSION, &[record(1)]).unwrap();
        kept.write(&older);
        assert_eq!(
            fault(kept.store.list(&seal(), MISSION)),
            RecordFault::KeysRolledBack
        );
        let put = kept.store.put(&seal(), MISSION, &[record(2)]);
        assert_eq!(fault(put), RecordFault::KeysRolledBack);
    }
}
