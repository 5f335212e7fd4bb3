//! The end of a mission in the chip, and finding missions that are over there.

use crate::Result;
use crate::mission_record::MissionRecord;
use crate::robot::RobotKeys;
use alcub3_attestation::event_log::agent::AgentEvent;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_tpm::{Chip, Lane, TpmError};
use alcub3_trust_model::MissionId;
use alcub3_trust_model::nv_map::NvIndex;

/// Why a mission that has a record is over in the chip.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum MissionOver {
    /// Its anchor has moved on.
    Ended,
    /// An epoch has moved on: the robot or its level was stopped.
    Stopped,
    /// The chip was reset more often than its level allows.
    Resets,
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
    /// the records are an old disk's. Commands: 1 ReadClock and up to 3 NV_Read for each mission.
    ///
    /// # Errors
    /// The chip's or the folder's.
    pub fn ended_missions(&self) -> Result<Vec<(MissionRecord, MissionOver)>> {
        let mut ended = Vec::new();
        for record in self.missions()? {
            if let Some(over) = self.over(&record)? {
                ended.push((record, over));
            }
        }
        Ok(ended)
    }

    fn over(&self, record: &MissionRecord) -> Result<Option<MissionOver>> {
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
            if self.counter(index)?.value != value {
                return Ok(Some(over));
            }
        }
        let clock = self.run(Lane::Background, |chip| chip.read_clock())?;
        let over = clock.reset_count > record.max_reset_count;
        Ok(over.then_some(MissionOver::Resets))
    }

    /// The second half of [`Self::end_mission_in_chip`], for a mission whose anchor has moved already.
    /// Commands: 1 PCR_Extend.
    ///
    /// # Errors
    /// The chip's.
    pub fn retire_mission_in_chip(&self, record: &MissionRecord) -> Result<()> {
        let event = retire_event(&self.banks, record.mission);
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
