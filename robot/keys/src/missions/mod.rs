//! Missions: an anchor in the chip, a record on the disk, keys under the mission policy, and their end.

mod ahead;
mod ending;
mod fault;
mod files;
mod starting;
mod using;

pub use ending::MissionOver;
pub use fault::RecordFault;
pub(crate) use files::MissionFiles;
pub use files::{MissionsOnDisk, RefusedMission};
pub use using::MissionKey;
pub(crate) use using::tag_of;

use crate::mission_keys::MissionKeyRecord;
use crate::mission_record::MissionRecord;
use crate::robot::{RobotKeys, read_counter};
use crate::store::{Seal, StoreError, store_path};
use crate::{KeyRefusal, KeysError, Result};
use alcub3_crypto::tpm::Signature;
use alcub3_tpm::Lane;
use alcub3_trust_model::nv_map::{MISSION_ANCHOR_COUNT, MissionAnchor, NvIndex};
use alcub3_trust_model::{Level, MissionId};
use std::sync::Arc;
use std::sync::atomic::Ordering;

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

    /// The MAC key under which the records of missions and their keys are: the key store's. Commands: none once the store
    /// was opened, which every start does.
    pub(crate) fn mission_seal(&self) -> Result<Arc<Seal>> {
        self.store
            .seal(&store_path(self.folder.path()), &self.store_chip())
    }

    /// What the disk says of missions, and what of it is believed. One record that is not keeps none of the others.
    ///
    /// # Errors
    /// The folder's or the chip's.
    pub fn missions_on_disk(&self) -> Result<MissionsOnDisk> {
        let mut on_disk = MissionsOnDisk::default();
        let ids = self.mission_files.ids()?;
        if ids.is_empty() {
            return Ok(on_disk);
        }
        let seal = match self.mission_seal() {
            Err(KeysError::Store(error)) => {
                let fault = unvouched(&error);
                let refused = ids.iter().map(|id| self.mission_files.unvouched(*id, fault));
                let refused: Result<Vec<Option<RefusedMission>>> = refused.collect();
                on_disk.refused = refused?.into_iter().flatten().collect();
                return Ok(on_disk);
            }
            seal => seal?,
        };
        for id in ids {
            match self.mission_files.read(&seal, id)? {
                Some(Ok(record)) => on_disk.believed.push(record),
                Some(Err(refused)) => on_disk.refused.push(refused),
                None => {}
            }
        }
        Ok(on_disk)
    }

    /// The active missions, by identifier: those whose records are believed.
    ///
    /// # Errors
    /// As [`Self::missions_on_disk`].
    pub fn missions(&self) -> Result<Vec<MissionRecord>> {
        Ok(self.missions_on_disk()?.believed)
    }

    /// The missions that have a record, believed or not. Commands: none.
    ///
    /// # Errors
    /// The folder's.
    pub fn mission_ids(&self) -> Result<Vec<MissionId>> {
        self.mission_files.ids()
    }

    /// One active mission.
    ///
    /// # Errors
    /// [`KeysError::NoSuchMission`]; [`KeyRefusal::MissionRecord`] where its record is not believed; the folder's or the
    /// chip's.
    pub fn mission(&self, mission: MissionId) -> Result<MissionRecord> {
        if !self.mission_files.ids()?.contains(&mission) {
            return Err(KeysError::NoSuchMission { mission });
        }
        let refused = |fault| KeysError::from(KeyRefusal::MissionRecord { mission, fault });
        let seal = self.mission_seal().map_err(|error| match error {
            KeysError::Store(error) => refused(unvouched(&error)),
            other => other,
        })?;
        match self.mission_files.read(&seal, mission)? {
            Some(Ok(record)) => Ok(record),
            Some(Err(found)) => Err(refused(found.fault)),
            None => Err(KeysError::NoSuchMission { mission }),
        }
    }

    /// Deletes the records of missions in scope with all their keys, and says how many keys there were. They are dead in
    /// the chip already. A record that is not believed is in no scope.
    ///
    /// # Errors
    /// The folder's; what could be deleted is.
    pub fn delete_missions(&self, in_scope: impl Fn(&MissionRecord) -> bool) -> Result<u64> {
        let missions = self.missions()?.into_iter();
        let ended: Vec<MissionId> = missions.filter(in_scope).map(|record| record.mission).collect();
        self.delete_by_id(&ended)
    }

    /// Deletes what the disk holds of missions, believed or not, and says how many keys there were.
    ///
    /// # Errors
    /// The folder's; what could be deleted is.
    pub fn delete_by_id(&self, missions: &[MissionId]) -> Result<u64> {
        let mut keys = 0u64;
        for mission in missions {
            let further = self.key_store().remove_mission(*mission)?;
            keys = keys.saturating_add(further).saturating_add(1);
        }
        self.mission_files.remove(missions)?;
        Ok(keys)
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
        self.mission_files.write(&*self.mission_seal()?, &record)?;
        Ok(record)
    }

    /// Keeps that a mission is suspended, or is not any more. Commands: none.
    ///
    /// # Errors
    /// As [`Self::move_mission_end`].
    pub fn set_mission_suspended(&self, mission: MissionId, suspended: bool) -> Result<()> {
        let record = MissionRecord {
            suspended,
            ..self.mission(mission)?
        };
        self.mission_files.write(&*self.mission_seal()?, &record)
    }

    /// Puts a mission's record of before back where its moved end was not taken.
    ///
    /// # Errors
    /// The folder's, or the store's seal.
    pub fn put_back_mission(&self, before: &MissionRecord) -> Result<()> {
        self.mission_files.write(&*self.mission_seal()?, before)
    }

    /// Removes every record and every further key that is left of any mission: after a stop of the whole robot.
    pub(crate) fn remove_keys_of_stopped(&self) -> Result<u64> {
        let left = self.delete_by_id(&self.mission_ids()?)?;
        Ok(left.saturating_add(self.key_store().remove_all_but(&[])?))
    }

    /// Removes keys whose mission has no record: what an end that was cut short left behind.
    ///
    /// # Errors
    /// The folder's.
    pub fn remove_orphaned_keys(&self) -> Result<u64> {
        self.key_store().remove_all_but(&self.mission_ids()?)
    }

    /// Writes the records of missions and their keys anew under the present MAC key.
    pub(crate) fn keep_missions(&self, missions: &[(MissionRecord, Vec<MissionKeyRecord>)]) -> Result<()> {
        let seal = self.mission_seal()?;
        for (record, keys) in missions {
            self.key_store().remove_mission(record.mission)?;
            self.key_store().begin(&seal, record.mission)?;
            self.key_store().put(&seal, record.mission, keys)?;
            self.mission_files.write(&seal, record)?;
        }
        Ok(())
    }

    /// The missions that are believed, with their keys.
    pub(crate) fn missions_with_keys(&self) -> Result<Vec<(MissionRecord, Vec<MissionKeyRecord>)>> {
        let mut whole = Vec::new();
        for record in self.missions()? {
            match self.mission_keys(record.mission) {
                Ok(keys) => whole.push((record, keys)),
                // The next start, or whoever uses one of its keys, finds the same and ends it.
                Err(KeysError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(whole)
    }
}

/// What it means for missions that the store, whose MAC key vouches for their records, gives none.
fn unvouched(error: &StoreError) -> RecordFault {
    if error.is_refusal() {
        RecordFault::StoreRefused
    } else {
        RecordFault::StoreUnavailable
    }
}
