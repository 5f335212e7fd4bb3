//! The files of missions: one record each, under a tag of the key store's MAC key. Nothing else reads or writes them.

use super::fault::RecordFault;
use crate::Result;
use crate::mission_record::MissionRecord;
use crate::state::{StateError, StateFolder};
use crate::store::{RecordKey, RecordKind, Seal};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::{Level, MissionId};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const FOLDER: &str = "missions";
const SUFFIX: &str = ".cbor";

/// A mission whose record is not believed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RefusedMission {
    /// The mission, as its file is named.
    pub mission: MissionId,
    /// What is wrong.
    pub fault: RecordFault,
    /// The level that the record claims, if it can be read at all. Good for telling people, and for nothing else.
    pub claimed_level: Option<Level>,
    /// SHA-256 of what was found, for the audit log.
    pub found: Digest,
}

impl RefusedMission {
    fn new(mission: MissionId, fault: RecordFault, bytes: &[u8]) -> Self {
        let claimed = HashAlg::ALL.iter().find_map(|alg| {
            let body = bytes.get(8 + alg.size()..)?;
            MissionRecord::from_canonical(body).ok()
        });
        Self {
            mission,
            fault,
            claimed_level: claimed.map(|record| record.level),
            found: HashAlg::Sha256.digest(&[bytes]),
        }
    }
}

/// The missions that the disk holds.
#[derive(Clone, Debug, Default)]
pub struct MissionsOnDisk {
    /// Whose record this robot wrote last.
    pub believed: Vec<MissionRecord>,
    /// The others.
    pub refused: Vec<RefusedMission>,
}

/// The mission files of one robot. Clones share what was seen of them.
#[derive(Clone, Debug)]
pub(crate) struct MissionFiles {
    folder: Arc<StateFolder>,
    /// The tag of each record that was last read or written: within one run an older record is told by it, with no
    /// command of the chip. Held while a file is read or written, never for the chip.
    seen: Arc<Mutex<BTreeMap<MissionId, Digest>>>,
}

impl MissionFiles {
    pub(crate) fn new(folder: Arc<StateFolder>) -> Self {
        Self {
            folder,
            seen: Arc::default(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<MissionId, Digest>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The missions that have a file, in order. What is not named as a mission's file is none of ours.
    pub(crate) fn ids(&self) -> Result<Vec<MissionId>> {
        let names = self.folder.list(FOLDER)?;
        let ids = names.iter().filter_map(|name| {
            let id = name.strip_suffix(SUFFIX)?;
            MissionId::from_str(id).ok()
        });
        Ok(ids.collect())
    }

    /// A mission's record; none where there is no file, also where it was deleted since the folder was listed: an end or a
    /// stop may come at any time.
    pub(crate) fn read(
        &self,
        seal: &Seal,
        mission: MissionId,
    ) -> Result<Option<std::result::Result<MissionRecord, RefusedMission>>> {
        let mut seen = self.seen();
        let Some(bytes) = self.bytes(mission)? else {
            return Ok(None);
        };
        let judged = match opened(seal, mission, &bytes) {
            Some((tag, record)) if *seen.entry(mission).or_insert(tag) == tag => Ok(record),
            Some(_) => Err(RecordFault::RolledBack),
            None => Err(RecordFault::Edited),
        };
        Ok(Some(
            judged.map_err(|fault| RefusedMission::new(mission, fault, &bytes)),
        ))
    }

    /// A mission whose record nothing vouches for; none where there is no file.
    pub(crate) fn unvouched(&self, mission: MissionId, fault: RecordFault) -> Result<Option<RefusedMission>> {
        let bytes = self.bytes(mission)?;
        Ok(bytes.map(|bytes| RefusedMission::new(mission, fault, &bytes)))
    }

    /// The bytes of a mission's file. A file that cannot be read is none that this robot wrote.
    fn bytes(&self, mission: MissionId) -> Result<Option<Vec<u8>>> {
        match self.folder.read(&file_of(mission)) {
            Err(error @ (StateError::TooLong { .. } | StateError::Io { .. })) => {
                tracing::error!(%mission, %error, "a mission's record is not readable");
                Ok(Some(Vec::new()))
            }
            read => Ok(read?),
        }
    }

    /// Keeps a record; on return it survives a power cut.
    pub(crate) fn write(&self, seal: &Seal, record: &MissionRecord) -> Result<()> {
        let mission = record.mission;
        let (key, body) = (key_of(mission), record.to_canonical());
        let bytes = seal.sealed(&key, record.anchor_value, &body);
        let mut seen = self.seen();
        // Where writing fails, either record may be there: the next look says which.
        seen.remove(&mission);
        self.folder.write(&file_of(mission), &bytes)?;
        seen.insert(mission, seal.record(&key, record.anchor_value, &body));
        Ok(())
    }

    /// Removes the files of missions, with one flush for all.
    pub(crate) fn remove(&self, missions: &[MissionId]) -> Result<()> {
        let names: Vec<String> = missions.iter().copied().map(file_of).collect();
        let mut seen = self.seen();
        self.folder.remove_all(FOLDER, &names)?;
        for mission in missions {
            seen.remove(mission);
        }
        Ok(())
    }
}

/// What a file says, if this robot wrote it for this mission.
fn opened(seal: &Seal, mission: MissionId, bytes: &[u8]) -> Option<(Digest, MissionRecord)> {
    let (generation, tag, body) = seal.open_generation(&key_of(mission), bytes)?;
    let record = MissionRecord::from_canonical(body).ok()?;
    let fits = record.mission == mission && record.anchor_value == generation;
    fits.then_some((tag, record))
}

fn key_of(mission: MissionId) -> RecordKey {
    RecordKey::new(RecordKind::Mission, mission.as_bytes())
}

fn file_of(mission: MissionId) -> String {
    format!("{FOLDER}/{mission}{SUFFIX}")
}
