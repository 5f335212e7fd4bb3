//! The end of a mission, whatever ends it: in the gate, in memory, in the chip, in the logs; and who wants to know.

use crate::audit::AuditFile;
use crate::command_keys::CommandKeys;
use crate::events::AgentLog;
use crate::mission_ends::{EndWriter, MissionEnd};
use crate::robot::mission_subject;
use crate::{AgentError, Result};
use alcub3_attestation::event_log::agent::AgentEvent;
use alcub3_audit_log::{EntryKind, Outcome};
use alcub3_command_authority::VerifiedMission;
use alcub3_crypto::Digest;
use alcub3_keys::{
    KeyOwner, KeyRefusal, KeysError, LoadedKeys, MissionOver, MissionRecord, RobotKeys, StateFolder,
};
use alcub3_security_hal::CommandGate;
use alcub3_tpm::Lane;
use alcub3_tpm::ops::ClockReading;
use alcub3_trust_model::MissionId;
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const CLOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// What the end of a mission works on. Cloning shares it, so that a timer ends missions as callers do.
#[derive(Clone)]
pub(crate) struct Ending {
    pub(crate) keys: RobotKeys,
    pub(crate) folder: Arc<StateFolder>,
    pub(crate) commands: Arc<CommandGate>,
    pub(crate) loaded: LoadedKeys,
    pub(crate) audit: AuditFile,
    pub(crate) log: Arc<Mutex<AgentLog>>,
    pub(crate) command_keys: CommandKeys,
    turn: Arc<Mutex<()>>,
    ends: EndWriter,
    /// The missions whose end nobody was told yet.
    running: Arc<Mutex<Vec<KeyOwner>>>,
    /// Missions over in the chip whose end is not on disk yet: trying again costs the chip no further write.
    retired: Arc<Mutex<BTreeSet<MissionId>>>,
    watchers: Arc<Mutex<Vec<Sender<MissionEnd>>>>,
}

/// What a sweep found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Swept {
    /// What ended.
    pub(crate) ended: Vec<MissionEnd>,
    /// In how many milliseconds the next mission ends, by whichever clock is earlier; none where there is none.
    pub(crate) next_in_ms: Option<u64>,
}

impl Ending {
    pub(crate) fn new(
        keys: RobotKeys,
        folder: Arc<StateFolder>,
        commands: Arc<CommandGate>,
        loaded: LoadedKeys,
        audit: AuditFile,
        log: Arc<Mutex<AgentLog>>,
    ) -> Self {
        Self {
            keys,
            folder,
            commands,
            loaded,
            audit,
            log,
            command_keys: CommandKeys::default(),
            turn: Arc::default(),
            ends: EndWriter::default(),
            running: Arc::default(),
            retired: Arc::default(),
            watchers: Arc::default(),
        }
    }

    /// One end, or one change of an end, at a time. A stop never waits here.
    pub(crate) fn take_turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn subscribe(&self) -> Receiver<MissionEnd> {
        let (sender, receiver) = channel();
        self.watchers().push(sender);
        receiver
    }

    fn watchers(&self) -> MutexGuard<'_, Vec<Sender<MissionEnd>>> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody who listens still.
    fn tell(&self, end: &MissionEnd) {
        self.watchers()
            .retain(|watcher| watcher.send(end.clone()).is_ok());
    }

    /// Ends a mission by its identifier: it was completed. Commands: 1 NV_Increment, 1 PCR_Extend, and flushes.
    pub(crate) fn complete(&self, mission: MissionId, now_utc_ms: u64) -> Result<()> {
        let _turn = self.take_turn();
        let record = self.keys.mission(mission)?;
        self.end(&record, MissionOver::Ended, Some(now_utc_ms))
    }

    /// Ends the missions whose end has passed, by the chip's clock and reset count or in wall time. Where the chip's clock
    /// went back, all of them end: nothing that it says of their ends can be believed. One that cannot be ended keeps none
    /// of the others. Commands: 1 ReadClock where there is a mission; 2 and the flushes for each one that ends.
    pub(crate) fn sweep(&self, now_utc_ms: Option<u64>) -> Result<Swept> {
        let _turn = self.take_turn();
        let on_disk = self.keys.missions_on_disk()?;
        let mut swept = Swept::default();
        let mut failed = None;
        match self.end_refused(&on_disk.refused, now_utc_ms) {
            Ok(ended) => swept.ended = ended,
            Err(error) => failed = Some(error),
        }
        let records = on_disk.believed;
        if records.is_empty() {
            return failed.map_or(Ok(swept), Err);
        }
        let clock = self
            .keys
            .tpm()
            .run(Lane::Background, CLOCK_TIMEOUT, |chip| chip.read_clock())?;
        let went_back = self.judge_clock(&clock)?;
        for record in records {
            let left_ms = self.left_ms(&record, &clock, now_utc_ms);
            let over = match record.over_by(&clock) {
                _ if went_back.is_some() => Some(MissionOver::ClockWentBack),
                None if left_ms == 0 => Some(MissionOver::WallClock),
                over => over,
            };
            if let Some(over) = over {
                match self.end(&record, over, now_utc_ms) {
                    Ok(()) => swept.ended.push(MissionEnd::of(&record, over, now_utc_ms)),
                    Err(error) => failed = Some(error),
                }
            } else {
                let next = swept.next_in_ms.map_or(left_ms, |next| next.min(left_ms));
                swept.next_in_ms = Some(next);
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        if let Some(refusal) = went_back {
            self.accept_clock(&clock, &refusal, now_utc_ms)?;
        }
        Ok(swept)
    }

    /// How long a mission still lasts, by whichever clock is earlier, in milliseconds.
    fn left_ms(&self, record: &MissionRecord, clock: &ClockReading, now_utc_ms: Option<u64>) -> u64 {
        let by_chip = record.end_clock_ms.saturating_sub(clock.clock_ms);
        let (authority, robot) = (&self.keys.anchors().authority, &self.keys.record().robot);
        let verified = VerifiedMission::as_approved(record.token_in_force(), authority, robot);
        let by_wall = verified
            .ok()
            .zip(now_utc_ms)
            .map(|(mission, now)| mission.token().not_after_ms.saturating_sub(now));
        by_wall.map_or(by_chip, |by_wall| by_wall.min(by_chip))
    }

    /// How the chip's clock went back, if it did. The caller ends every mission, and then [accepts](Self::accept_clock) the
    /// clock.
    pub(crate) fn judge_clock(&self, clock: &ClockReading) -> Result<Option<KeyRefusal>> {
        match self.keys.judge_clock(clock) {
            Ok(()) => Ok(None),
            Err(KeysError::Refused {
                source: source @ KeyRefusal::ClockWentBack { .. },
            }) => {
                tracing::error!(error = %source, "every mission ends");
                Ok(Some(source))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Puts on record that the clock went back, and takes it for what is seen from then on. Only once every mission has
    /// ended: whoever looks at the clock before that finds that it went back.
    pub(crate) fn accept_clock(
        &self,
        clock: &ClockReading,
        refusal: &KeyRefusal,
        now_utc_ms: Option<u64>,
    ) -> Result<()> {
        let (subject, time_ms) = ("tpm-clock".to_owned(), now_utc_ms.unwrap_or(0));
        let mut entry = self
            .audit
            .entry(EntryKind::Fault, subject, time_ms, Outcome::Refused);
        entry.reasons = vec![refusal.code().to_owned()];
        self.audit.append(&entry)?;
        Ok(self.keys.accept_clock(clock)?)
    }

    /// Ends a mission everywhere. Where the chip refuses, the mission stays on record and can be ended again; the gate and
    /// the memory have given it up already.
    pub(crate) fn end(
        &self,
        record: &MissionRecord,
        over: MissionOver,
        now_utc_ms: Option<u64>,
    ) -> Result<()> {
        self.give_up(record.mission);
        self.retire(record)?;
        self.forget(record, over, now_utc_ms)
    }

    /// Takes a mission out of the gate and of the memory.
    pub(crate) fn give_up(&self, mission: MissionId) {
        self.commands.end_mission(&mission);
        self.loaded.forget(|owner| owner.mission == mission);
        self.command_keys.forget(mission);
    }

    /// Ends a mission in the chip and enters it into the agent's log. Commands: 1 NV_Increment, 1 PCR_Extend; where that
    /// fails 1 PCR_Read, since the PCR may have been extended all the same; none where the chip did it before and the disk
    /// refused.
    fn retire(&self, record: &MissionRecord) -> Result<()> {
        self.retire_by(record.mission, || self.keys.end_mission_in_chip(record))
    }

    pub(crate) fn retire_by(
        &self,
        mission: MissionId,
        in_chip: impl FnOnce() -> std::result::Result<(), KeysError>,
    ) -> Result<()> {
        let event = AgentEvent::MissionEnded(mission);
        // Held over the chip's commands, so that whoever compares log and PCR finds both or neither. Of a stop only the
        // receipt waits for it.
        let mut log = self.log();
        if self.retired().contains(&mission) {
            return log.save(&self.folder);
        }
        let Err(failed) = in_chip() else {
            self.retired().insert(mission);
            return log.append(&self.folder, event);
        };
        let caught_up = self
            .keys
            .stop_pcrs()
            .map_err(AgentError::from)
            .and_then(|now| log.catch_up(&self.folder, &self.keys.pcrs(), now, &[event]));
        if let Err(error) = caught_up {
            tracing::warn!(%error, "the agent's log may lack an extend; the next start finds it");
        }
        Err(failed.into())
    }

    pub(crate) fn retired(&self) -> MutexGuard<'_, BTreeSet<MissionId>> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what is left of a mission that is over in the chip, and puts its end on record.
    pub(crate) fn forget(
        &self,
        record: &MissionRecord,
        over: MissionOver,
        now_utc_ms: Option<u64>,
    ) -> Result<()> {
        let end = MissionEnd::of(record, over, now_utc_ms);
        self.put_on_record(record.mission, Some(&end), (over, None), now_utc_ms)
    }

    /// Puts the end of a mission on record, with `found`, what its file was where it was not believed, and removes what is
    /// left of it. `end` is none where nobody knows enough of the mission to tell it.
    pub(crate) fn put_on_record(
        &self,
        mission: MissionId,
        end: Option<&MissionEnd>,
        (over, found): (MissionOver, Option<Digest>),
        now_utc_ms: Option<u64>,
    ) -> Result<()> {
        if let Some(end) = end {
            self.ends.add(&self.folder, end.clone())?;
        }
        self.keys.delete_by_id(&[mission])?;
        let (subject, time_ms) = (mission_subject(mission), now_utc_ms.unwrap_or(0));
        let mut entry = self
            .audit
            .entry(EntryKind::MissionEnd, subject, time_ms, Outcome::Done);
        entry.reasons = vec![over.code().to_owned()];
        entry.object = found;
        self.audit.append(&entry)?;
        self.retired().remove(&mission);
        self.running().retain(|owner| owner.mission != mission);
        if let Some(end) = end {
            self.tell(end);
        }
        Ok(())
    }

    /// Missions whose records a stop removed are told like any other end. The stop itself has its report and its audit
    /// entry.
    pub(crate) fn tell_stopped(&self, now_utc_ms: u64) -> Result<()> {
        let left = self.keys.mission_ids()?;
        let mut running = self.running();
        let stopped = running.iter().filter(|owner| !left.contains(&owner.mission));
        for owner in stopped.copied().collect::<Vec<_>>() {
            running.retain(|other| *other != owner);
            let end = MissionEnd {
                mission: owner.mission,
                level: owner.level,
                over: MissionOver::Stopped,
                at_utc_ms: Some(now_utc_ms),
            };
            self.ends.add(&self.folder, end.clone())?;
            self.tell(&end);
        }
        Ok(())
    }

    /// A mission runs from now on.
    pub(crate) fn began(&self, owner: KeyOwner) {
        self.running().push(owner);
    }

    pub(crate) fn running(&self) -> MutexGuard<'_, Vec<KeyOwner>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, AgentLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up a mission that was started in the chip and could not be put on record. The caller has the turn.
    pub(crate) fn abandon(&self, record: &MissionRecord) {
        self.commands.end_mission(&record.mission);
        let ended = self.retire(record);
        let deleted = self.keys.delete_by_id(&[record.mission]);
        if ended.is_err() || deleted.is_err() {
            tracing::warn!(mission = %record.mission, "the next start removes what is left of the mission");
        }
    }
}
