//! Missions: an anchor in the chip, a record on the disk, keys under the mission policy, and their end.

mod ahead;
mod ending;
mod starting;
mod using;

pub use ending::MissionOver;
pub use using::MissionKey;

use crate::mission_record::MissionRecord;
use crate::robot::{RobotKeys, read_counter};
use crate::{KeysError, Result};
use alcub3_crypto::tpm::Signature;
use alcub3_tpm::Lane;
use alcub3_trust_model::nv_map::{MISSION_ANCHOR_COUNT, MissionAnchor, NvIndex};
use alcub3_trust_model::{Level, MissionId};
use std::sync::atomic::Ordering;

const FOLDER: &str = "missions";

/// An anchor taken for a mission: its new value has never been before and, once moved, never returns.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct ReservedAnchor {
    /// Which.
    pub anchor: MissionAnchor,
    /// Its value while the mission lives.
    pub value: u64,
}

/// What the authority granted.
#[derive(Clone, Debug)]
pub struct MissionGrant {
    /// The mission.
    pub mission: MissionId,
    /// Its level.
    pub level: Level,
    /// Its anchor.
    pub anchor: ReservedAnchor,
    /// The robot's epoch for which it was granted.
    pub robot_epoch: u64,
    /// Its level's epoch for which it was granted.
    pub level_epoch: u64,
    /// When it ends on the TPM's clock, in milliseconds.
    pub end_clock_ms: u64,
    /// The last resetCount at which its key works.
    pub max_reset_count: u32,
    /// The approval key's signature over that end.
    pub end_approval: Signature,
    /// The mission token, as signed by the authority.
    pub token: Vec<u8>,
}
/// A later end of a mission, as the authority approved it.
#[derive(Clone, Debug)]
pub struct MovedEnd {
    /// When it ends on the TPM's clock, in milliseconds.
    pub end_clock_ms: u64,
    /// The approval key's signature over that end.
    pub end_approval: Signature,
    /// The token that says so, as signed by the authority.
    pub token: Vec<u8>,
}

impl RobotKeys {
    /// Takes a free anchor and counts it up. Commands: 1 NV_Increment, 1 NV_Read.
    ///
    /// # Errors
    /// [`KeysError::NoFreeAnchor`] when as many missions are active as there are anchors.
    pub fn reserve_anchor(&self) -> Result<ReservedAnchor> {
        let taken: Vec<MissionAnchor> = self.missions()?.iter().map(|m| m.anchor).collect();
        // In turn, so that missions asked for before one of them is granted do not take each other's anchor.
        let first = usize::from(self.next_anchor.fetch_add(1, Ordering::Relaxed));
        let mut in_turn: Vec<MissionAnchor> = MissionAnchor::all().collect();
        in_turn.rotate_left(first % usize::from(MISSION_ANCHOR_COUNT));
        let free = in_turn.into_iter().find(|anchor| !taken.contains(anchor));
        let anchor = free.ok_or(KeysError::NoFreeAnchor {
            count: MISSION_ANCHOR_COUNT,
        })?;
        let (nv, index) = (self.nv, NvIndex::MissionAnchor(anchor));
        let counter = self.run(Lane::Background, move |chip| {
            chip.nv_increment(nv.spec(index).handle)?;
            read_counter(chip, nv, index)
        })?;
        Ok(ReservedAnchor {
            anchor,
            value: counter.value,
        })
    }

    /// The active missions, by identifier.
    ///
    /// # Errors
    /// The folder's, or a record that is not readable.
    pub fn missions(&self) -> Result<Vec<MissionRecord>> {
        self.folder
            .list(FOLDER)?
            .iter()
            .filter_map(|name| self.read_record(&format!("{FOLDER}/{name}")).transpose())
            .collect()
    }

    /// One active mission.
    ///
    /// # Errors
    /// [`KeysError::NoSuchMission`], or as [`Self::missions`].
    pub fn mission(&self, mission: MissionId) -> Result<MissionRecord> {
        let known = self
            .missions()?
            .into_iter()
            .find(|record| record.mission == mission);
        known.ok_or(KeysError::NoSuchMission { mission })
    }

    /// None where it was deleted since the folder was listed: an end or a stop may come at any time.
    fn read_record(&self, name: &str) -> Result<Option<MissionRecord>> {
        let Some(bytes) = self.folder.read(name)? else {
            return Ok(None);
        };
        let record = MissionRecord::from_canonical(&bytes).map_err(|source| KeysError::Record {
            name: name.into(),
            source,
        })?;
        Ok(Some(record))
    }

    /// Deletes the records of missions in scope with all their keys, and says how many keys there were. They are dead in
    /// the chip already.
    ///
    /// # Errors
    /// The folder's; what could be deleted is.
    pub fn delete_missions(&self, in_scope: impl Fn(&MissionRecord) -> bool) -> Result<u64> {
        let names = self
            .folder
            .list(FOLDER)?
            .into_iter()
            .map(|name| format!("{FOLDER}/{name}"));
        let (mut ended, mut keys) = (Vec::new(), 0u64);
        let mut unreadable = None;
        for name in names {
            match self.read_record(&name) {
                Ok(Some(record)) if in_scope(&record) => {
                    let further = self.key_store().remove_mission(record.mission)?;
                    keys = keys.saturating_add(further).saturating_add(1);
                    ended.push(name);
                }
                Ok(_) => {}
                Err(error) => unreadable = Some(error),
            }
        }
        self.folder.remove_all(FOLDER, &ended)?;
        unreadable.map_or(Ok(keys), Err)
    }

    /// Takes a later end that the authority approved: its approval, its time, its token. Commands: none.
    ///
    /// # Errors
    /// [`KeysError::NoSuchMission`]; the folder's.
    pub fn move_mission_end(&self, mission: MissionId, moved: MovedEnd) -> Result<MissionRecord> {
        let record = MissionRecord {
            end_clock_ms: moved.end_clock_ms,
            end_approval: moved.end_approval.to_tpmt(),
            moved: Some(moved.token),
            ..self.mission(mission)?
        };
        self.folder.write(&file_of(mission), &record.to_canonical())?;
        Ok(record)
    }

    /// Removes every further key of every mission: after a stop of the whole robot.
    pub(crate) fn remove_keys_of_stopped(&self) -> Result<u64> {
        self.key_store().remove_all_but(&[])
    }

    /// Removes keys whose mission has no record: what an end that was cut short left behind.
    ///
    /// # Errors
    /// The folder's.
    pub fn remove_orphaned_keys(&self) -> Result<u64> {
        let missions: Vec<MissionId> = self.missions()?.iter().map(|record| record.mission).collect();
        self.key_store().remove_all_but(&missions)
    }
}

fn file_of(mission: MissionId) -> String {
    format!("{FOLDER}/{mission}.cbor")
}
