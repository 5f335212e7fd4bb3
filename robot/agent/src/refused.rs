//! Missions whose records are not believed: each of them ends, by itself, with its reason on record, and the others go on.

use crate::ending::Ending;
use crate::mission_ends::MissionEnd;
use crate::robot::Robot;
use crate::{AgentError, Result};
use alcub3_keys::{KeyRefusal, KeysError, MissionOver, MissionRecord, RecordFault, RefusedMission};
use alcub3_trust_model::MissionId;

impl Ending {
    /// Ends the missions whose records are refused: in the gate, in the chip, on the disk, on record. Which anchors they
    /// live by nobody knows, so every anchor moves that no believed mission lives by. Where the store that vouches for the
    /// records cannot be read at present, they stay. The caller has the turn, or is alone. Commands: 1 NV_Increment for each
    /// anchor, 1 PCR_Extend for each mission; none where the chip did it before and the disk refused.
    pub(crate) fn end_refused(
        &self,
        refused: &[RefusedMission],
        now_utc_ms: Option<u64>,
    ) -> Result<Vec<MissionEnd>> {
        let due: Vec<&RefusedMission> = refused.iter().filter(|one| one.fault.is_verdict()).collect();
        for one in &due {
            tracing::error!(mission = %one.mission, problem = one.fault.problem(), "a mission is refused, and ends");
            self.give_up(one.mission);
        }
        let living: Vec<&RefusedMission> = {
            let retired = self.retired();
            let lives = |one: &&&RefusedMission| !retired.contains(&one.mission);
            due.iter().filter(lives).copied().collect()
        };
        if !living.is_empty() {
            self.keys.move_unclaimed_anchors()?;
        }
        let mut ended = Vec::new();
        for one in due {
            self.retire_by(one.mission, || self.keys.retire_mission_in_chip(one.mission))?;
            let over = MissionOver::Record(one.fault);
            let end = self.told_of(one, over, now_utc_ms);
            self.put_on_record(one.mission, end.as_ref(), (over, Some(one.found)), now_utc_ms)?;
            ended.extend(end);
        }
        Ok(ended)
    }

    /// What is told of a refused mission's end: its level as this run knew it, or else as its record claims.
    fn told_of(&self, one: &RefusedMission, over: MissionOver, at_utc_ms: Option<u64>) -> Option<MissionEnd> {
        let known = self
            .running()
            .iter()
            .find(|owner| owner.mission == one.mission)
            .map(|owner| owner.level);
        Some(MissionEnd {
            mission: one.mission,
            level: known.or(one.claimed_level)?,
            over,
            at_utc_ms,
        })
    }

    /// Ends a mission whose file of keys is refused, while its record, and so its anchor, is believed.
    pub(crate) fn end_if_keys_refused(
        &self,
        record: &MissionRecord,
        now_utc_ms: Option<u64>,
    ) -> Result<bool> {
        let fault = match self.keys.mission_keys(record.mission) {
            Err(error) => fault_of(&error).ok_or(error)?,
            Ok(_) => return Ok(false),
        };
        tracing::error!(mission = %record.mission, problem = fault.problem(), "a mission is refused, and ends");
        self.end(record, MissionOver::Record(fault), now_utc_ms)?;
        Ok(true)
    }

    /// Ends a mission that was found not to be believed when it was used.
    fn end_found(&self, mission: MissionId, now_utc_ms: Option<u64>) -> Result<()> {
        let _turn = self.take_turn();
        match self.keys.mission(mission) {
            Ok(record) => self.end_if_keys_refused(&record, now_utc_ms).map(|_| ()),
            Err(_) => {
                let mut refused = self.keys.missions_on_disk()?.refused;
                refused.retain(|one| one.mission == mission);
                self.end_refused(&refused, now_utc_ms).map(|_| ())
            }
        }
    }
}

impl Robot {
    /// Where an operation found a mission that is not believed, the mission ends now.
    pub(crate) fn end_if_refused<T>(&self, result: &Result<T>, now_utc_ms: Option<u64>) {
        if let Err(AgentError::Keys(KeysError::Refused {
            source: KeyRefusal::MissionRecord { mission, .. },
        })) = result
            && let Err(error) = self.ending.end_found(*mission, now_utc_ms)
        {
            tracing::error!(%mission, %error, "the mission is refused and could not be ended; it is tried again");
        }
    }
}

fn fault_of(error: &KeysError) -> Option<RecordFault> {
    match error {
        KeysError::Refused {
            source: KeyRefusal::MissionRecord { fault, .. },
        } => Some(*fault),
        _ => None,
    }
}
