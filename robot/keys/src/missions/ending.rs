//! The end of a mission in the chip, and finding missions that are over there.

use super::RecordFault;
use crate::Result;
use crate::mission_record::MissionRecord;
use crate::robot::RobotKeys;
use alcub3_attestation::event_log::agent::AgentEvent;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_tpm::ops::ClockReading;
use alcub3_tpm::{Chip, Lane, TpmError};
use alcub3_trust_model::MissionId;
use alcub3_trust_model::nv_map::{MissionAnchor, NvIndex};
use std::collections::BTreeMap;

/// Why a mission is over.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum MissionOver {
    /// Its anchor has moved on.
    Ended,
    /// An epoch has moved on: the robot or its level was stopped.
    Stopped,
    /// The chip was reset more often than its level allows.
    Resets,
    /// Its end on the TPM's clock has passed.
    ChipClock,
    /// Its end in wall time has passed.
    WallClock,
    /// The chip's clock went back: its state is an older one.
    ClockWentBack,
    /// What the disk says of it is not believed.
    Record(RecordFault),
}

impl MissionOver {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Ended,
        Self::Stopped,
        Self::Resets,
        Self::ChipClock,
        Self::WallClock,
        Self::ClockWentBack,
        Self::Record(RecordFault::Edited),
        Self::Record(RecordFault::RolledBack),
        Self::Record(RecordFault::KeysEdited),
        Self::Record(RecordFault::KeysRolledBack),
        Self::Record(RecordFault::StoreRefused),
        Self::Record(RecordFault::StoreUnavailable),
    ];

    /// The reason code, stable across releases.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Ended => "completed",
            Self::Stopped => "stopped",
            Self::Resets => "tpm-resets",
            Self::ChipClock => "tpm-clock",
            Self::WallClock => "wall-clock",
            Self::ClockWentBack => "clock-went-back",
            Self::Record(fault) => fault.code(),
        }
    }

    /// Whether the chip has ended it already: the counter that says so has moved.
    pub const fn is_in_chip(self) -> bool {
        matches!(
            self,
            Self::Ended | Self::Stopped | Self::Record(RecordFault::RolledBack)
        )
    }

    /// The reason of a code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|over| over.code() == code)
    }
}

impl RobotKeys {
    /// Ends a mission in the chip: its anchor moves, armed sessions die. Commands: 1 NV_Increment, 1 PCR_Extend,
    /// whatever the number of its keys. The caller then logs the event and deletes the record.
    ///
    /// # Errors
    /// The chip's; ending can then be tried again.
    pub fn end_mission_in_chip(&self, record: &MissionRecord) -> Result<()> {
        let event = retire_event(&self.banks, record.mission);
        let (handle, retire) = (
            self.nv.spec(NvIndex::MissionAnchor(record.anchor)).handle,
            self.pcrs.retire(),
        );
        self.run(Lane::Command, move |chip| {
            end_in_chip(chip, handle, retire, &event)
        })
    }

    /// Missions that have a record and whose keys the chip will never let be used again: a crash cut their end short,
    /// their end on the TPM's clock has passed, or the records are an old disk's. `clock` was read now. Commands: 1 NV_Read
    /// for each counter that their policies name.
    ///
    /// # Errors
    /// The chip's or the folder's.
    pub fn ended_missions(&self, clock: &ClockReading) -> Result<Vec<(MissionRecord, MissionOver)>> {
        let mut counters = BTreeMap::new();
        let mut ended = Vec::new();
        for record in self.missions()? {
            if let Some(over) = self.over(&record, clock, &mut counters)? {
                ended.push((record, over));
            }
        }
        Ok(ended)
    }

    fn over(
        &self,
        record: &MissionRecord,
        clock: &ClockReading,
        counters: &mut BTreeMap<u32, u64>,
    ) -> Result<Option<MissionOver>> {
        let named = [
            (
                NvIndex::MissionAnchor(record.anchor),
                record.anchor_value,
                MissionOver::Ended,
            ),
            (NvIndex::RobotEpoch, record.robot_epoch, MissionOver::Stopped),
            (
                NvIndex::LevelEpoch(record.level),
                record.level_epoch,
                MissionOver::Stopped,
            ),
        ];
        for (index, value, over) in named {
            let now = match counters.get(&index.handle()) {
                Some(known) => *known,
                None => self.counter(index)?.value,
            };
            counters.insert(index.handle(), now);
            if now != value {
                // An end counts once. An anchor further on has had missions since.
                let since = over == MissionOver::Ended && now != value.saturating_add(1);
                let rolled_back = MissionOver::Record(RecordFault::RolledBack);
                return Ok(Some(if since { rolled_back } else { over }));
            }
        }
        Ok(record.over_by(clock))
    }

    /// Moves every anchor that no believed mission lives by: the first half of ending missions whose records are not
    /// believed, since what they say of their anchors is not believed either. Commands: 1 NV_Increment for each.
    ///
    /// # Errors
    /// The chip's or the folder's.
    pub fn move_unclaimed_anchors(&self) -> Result<()> {
        let claimed: Vec<MissionAnchor> = self.missions()?.iter().map(|record| record.anchor).collect();
        let unclaimed: Vec<u32> = MissionAnchor::all()
            .filter(|anchor| !claimed.contains(anchor))
            .map(|anchor| self.nv.spec(NvIndex::MissionAnchor(anchor)).handle)
            .collect();
        self.run(Lane::Command, move |chip| {
            unclaimed.iter().try_for_each(|anchor| chip.nv_increment(*anchor))
        })
    }

    /// The second half of [`Self::end_mission_in_chip`], for a mission whose anchor has moved already.
    /// Commands: 1 PCR_Extend.
    ///
    /// # Errors
    /// The chip's.
    pub fn retire_mission_in_chip(&self, mission: MissionId) -> Result<()> {
        self.extend_retire(&AgentEvent::MissionEnded(mission))
    }

    /// Ends every policy session that was armed before, whoever armed it, without touching a counter; the event is for the
    /// agent's log. Commands: 1 PCR_Extend.
    ///
    /// # Errors
    /// The chip's.
    pub fn extend_retire(&self, event: &AgentEvent) -> Result<()> {
        let event: Vec<Digest> = self.banks.iter().map(|bank| event.digest(*bank)).collect();
        let retire = self.pcrs.retire().into();
        self.run(Lane::Command, move |chip| chip.pcr_extend(retire, &event))
    }
}

fn end_in_chip(
    chip: &mut Chip,
    anchor: u32,
    retire: u8,
    event: &[Digest],
) -> std::result::Result<(), TpmError> {
    chip.nv_increment(anchor)?;
    chip.pcr_extend(retire.into(), event)
}

/// What is extended into the retire PCR when a mission ends, in every bank.
fn retire_event(banks: &[HashAlg], mission: MissionId) -> Vec<Digest> {
    let event = AgentEvent::MissionEnded(mission);
    banks.iter().map(|bank| event.digest(*bank)).collect()
}
