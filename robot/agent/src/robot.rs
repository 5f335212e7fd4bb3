//! A provisioned robot at work.

use crate::audit::AuditFile;
use crate::audit_heads::AuditHeads;
use crate::command_keys::CommandKeys;
use crate::commands::Reservations;
use crate::ending::Ending;
use crate::events::AgentLog;
use crate::expiry::ExpiryTimer;
use crate::registers::Confirmed;
use crate::run::Run;
use crate::{AgentError, Result};
use alcub3_attestation::event_log::agent::AgentEvent;
use alcub3_audit_log::{EntryKind, Outcome};
use alcub3_command_authority::{MissionOrder, VerifiedMission};
use alcub3_crypto::Digest;
use alcub3_keys::{
    CountersBefore, LoadedKeys, MissionOver, MissionRecord, PcrCache, RobotKeys, RobotZeroizer, StateFolder,
};
use alcub3_security_hal::{
    Clock, CommandGate, EmergencyStop, FileStopJournal, Gates, PlatformAdapter, RearmTrust, StopReport,
    SystemClock, Zeroizer,
};
use alcub3_tpm::Tpm;
use alcub3_tpm::ops::ClockReading;
use alcub3_trust_model::hardware::Part;
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::{BootId, HardwareTier, LeaseId, Level, MissionId};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) const JOURNAL: &str = "stops";

/// What makes the robot itself stop.
pub type Adapters = Vec<Box<dyn PlatformAdapter>>;

/// A provisioned robot: its chip, its state folder, its gates.
pub struct Robot {
    pub(crate) keys: RobotKeys,
    pub(crate) folder: Arc<StateFolder>,
    pub(crate) run: Mutex<Run>,
    pub(crate) loaded: LoadedKeys,
    pub(crate) gates: Arc<Gates>,
    pub(crate) stop: EmergencyStop,
    pub(crate) trust: RearmTrust,
    pub(crate) commands: Arc<CommandGate>,
    pub(crate) reservations: Arc<Reservations>,
    pub(crate) audit: AuditFile,
    pub(crate) audit_heads: Mutex<AuditHeads>,
    pub(crate) log: Arc<Mutex<AgentLog>>,
    pub(crate) cache: PcrCache,
    pub(crate) counters: CountersBefore,
    pub(crate) ending: Ending,
    pub(crate) timer: Mutex<Option<ExpiryTimer>>,
    /// The kind of chip, as the chip shows itself: a simulator says so.
    pub(crate) tier: HardwareTier,
    /// The parts that the adapters know.
    pub(crate) adapter_parts: Vec<Part>,
    /// Digest of the hardware record that was last measured.
    pub(crate) hardware: Mutex<Option<Digest>>,
    pub(crate) recovered: Vec<StopReport>,
    pub(crate) registers: Mutex<Confirmed>,
    /// Number of commands that the gate admitted since this robot was opened.
    pub(crate) admitted: AtomicU64,
    /// Whoever holds it reads or writes what is kept of offline evidence.
    pub(crate) offline: Mutex<()>,
    /// Whoever holds it makes evidence. No stop waits for it.
    pub(crate) evidence: Mutex<()>,
}

impl Robot {
    /// Opens a provisioned robot. Stops that a crash cut short are completed first; then the robot runs again for the
    /// levels whose rearm names the epochs its chip holds, and is stopped for all others.
    ///
    /// # Errors
    /// What keeps the robot from being in a state it can explain. A missing or outdated rearm is none: the robot is
    /// then stopped.
    pub fn open(tpm: Tpm, folder: Arc<StateFolder>, adapters: Adapters) -> Result<Self> {
        let keys = RobotKeys::reach(tpm, folder.clone(), PcrMap::DEFAULT)?;
        let journal = folder.path().join(JOURNAL);
        let taken_up = keys.clone().take_up().map_err(AgentError::from);
        taken_up
            .and_then(|keys| Self::open_with(keys, folder, adapters))
            .inspect_err(|_| lock_unfinished(&keys, &journal))
    }

    /// Takes up what the state folder holds: the rearm, the missions that still live, the lease.
    pub(crate) fn resume(&self, clock: &ClockReading) -> Result<()> {
        self.finish_ended_missions(clock)?;
        self.keys.remove_orphaned_keys()?;
        if let Some(record) = self.keys.rearm_record()? {
            let keys = self.keys.clone();
            match self.stop.rearm(&self.trust, &record, move || Ok(keys.epochs()?)) {
                Ok(levels) => self.put_start_on_record(&levels),
                Err(refusal) => tracing::warn!(%refusal, "the robot starts stopped"),
            }
        }
        self.end_armed_sessions_of_a_stop()?;
        for record in self.keys.missions()? {
            self.ending.began(record.owner());
            match self.taken_up(&record) {
                Ok(Some(mission)) if !self.gates.is_level_stopped(record.level) => {
                    self.commands.start_mission(mission)?;
                    if record.suspended {
                        self.commands.obey(&record.mission, MissionOrder::Suspend);
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(mission = %record.mission, %error, "a mission is not taken up");
                }
            }
        }
        self.resume_lease()
    }

    /// That a start opened gates by the rearm in force: where a crash came between its record and the gates, this is the only
    /// entry that says that it took effect.
    fn put_start_on_record(&self, levels: &[Level]) {
        tracing::info!(?levels, "the rearm in force names the epochs of the chip");
        let now_utc_ms = SystemClock::new().utc_ms().unwrap_or_default();
        let subject = "at start".to_owned();
        let mut entry = self
            .audit
            .entry(EntryKind::Rearm, subject, now_utc_ms, Outcome::Done);
        entry.reasons = levels.iter().map(ToString::to_string).collect();
        if let Err(error) = self.audit.append(&entry) {
            tracing::error!(%error, "that the robot runs again is not in the audit log; the approval of it is");
        }
    }

    /// A stop that was cut off between its counter and its PCR, and whose intent somebody removed, left armed sessions
    /// behind (decision 0010): a start that finds the robot or a level stopped ends them.
    fn end_armed_sessions_of_a_stop(&self) -> Result<()> {
        let stopped = |level| self.gates.is_level_stopped(level);
        if !self
            .keys
            .record()
            .parents
            .iter()
            .any(|parent| stopped(parent.level))
        {
            return Ok(());
        }
        let event = AgentEvent::StoppedStart(self.robot().clone());
        self.keys.extend_retire(&event)?;
        self.log().append(&self.folder, event)
    }

    /// The mission of a record, if it may go on: as the authority signed it, with an end that persons approved,
    /// within the level policy in force, and with keys that are believed. None where they are not, and it was ended.
    fn taken_up(&self, record: &MissionRecord) -> Result<Option<VerifiedMission>> {
        if self.ending.end_if_keys_refused(record, None)? {
            return Ok(None);
        }
        self.check_end_approval(record)?;
        let mission = self.verified_mission(record)?;
        self.check_policy(&mission)?;
        Ok(Some(mission))
    }

    /// Ends missions whose end has passed while nobody looked, and removes those that are over in the chip. Where a crash
    /// came between an anchor's move and the retire PCR's extend, what was armed dies now.
    fn finish_ended_missions(&self, clock: &ClockReading) -> Result<()> {
        let refused = self.keys.missions_on_disk()?.refused;
        if let Err(error) = self.ending.end_refused(&refused, None) {
            tracing::error!(%error, "missions are refused and could not be ended; the next sweep tries again");
        }
        let went_back = self.ending.judge_clock(clock)?;
        for (record, over) in self.keys.ended_missions(clock)? {
            tracing::warn!(mission = %record.mission, ?over, "a mission is over");
            if over.is_in_chip() {
                self.forget_ended(&record, over)?;
            } else {
                self.ending.end(&record, over, None)?;
            }
        }
        if let Some(refusal) = went_back {
            for record in self.keys.missions()? {
                self.ending.end(&record, MissionOver::ClockWentBack, None)?;
            }
            self.ending.accept_clock(clock, &refusal, None)?;
        }
        Ok(())
    }

    /// Removes a mission that is over in the chip already.
    fn forget_ended(&self, record: &MissionRecord, over: MissionOver) -> Result<()> {
        let event = AgentEvent::MissionEnded(record.mission);
        if over == MissionOver::Ended && !self.log().contains(&event) {
            self.keys.retire_mission_in_chip(record.mission)?;
            self.log().append(&self.folder, event)?;
        }
        self.ending.forget(record, over, None)
    }

    /// The robot's name.
    pub fn robot(&self) -> &alcub3_trust_model::RobotId {
        &self.keys.record().robot
    }

    /// Its keys.
    pub fn keys(&self) -> &RobotKeys {
        &self.keys
    }

    /// Its audit log.
    pub fn audit(&self) -> &AuditFile {
        &self.audit
    }

    /// Stops of an earlier run that this start completed.
    pub fn recovered_stops(&self) -> &[StopReport] {
        &self.recovered
    }

    /// Whether the whole robot is stopped.
    pub fn is_stopped(&self) -> bool {
        self.gates.is_robot_stopped()
    }

    /// Whether a level is stopped.
    pub fn is_level_stopped(&self, level: Level) -> bool {
        self.gates.is_level_stopped(level)
    }

    /// The present run of the chip.
    pub fn boot(&self) -> BootId {
        self.run().boot
    }

    /// Whether the chip still runs as when this robot was opened: it was not reset, nor restarted.
    pub fn is_of_this_run(&self, clock: &ClockReading) -> bool {
        self.run().is_of(clock.reset_count, clock.restart_count)
    }

    /// The identifier that leases and command envelopes of this run carry.
    pub fn lease_id(&self) -> LeaseId {
        self.run().lease
    }

    pub(crate) fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn command_keys(&self) -> &CommandKeys {
        &self.ending.command_keys
    }

    /// Digest of the hardware record that was last measured.
    pub(crate) fn hardware(&self) -> MutexGuard<'_, Option<Digest>> {
        self.hardware.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn registers(&self) -> MutexGuard<'_, Confirmed> {
        self.registers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, AgentLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A start that cannot go on still completes in the chip what a crash cut short, whatever else the journal holds. The
/// intents stay for the next start.
fn lock_unfinished(keys: &RobotKeys, journal: &Path) {
    let journal = FileStopJournal::open(journal, keys.record().robot.clone());
    let (unfinished, unread) = match journal.and_then(|journal| journal.read_each()) {
        Ok(read) => read,
        Err(error) => {
            tracing::error!(%error, "no unfinished stop can be completed in the chip");
            return;
        }
    };
    for error in unread {
        tracing::error!(%error, "what this file says is unknown; the robot stays stopped");
    }
    for intent in unfinished {
        let outcome = RobotZeroizer::new(keys.clone()).lock(&intent);
        tracing::warn!(
            ?outcome,
            "an unfinished stop was completed in the chip although the start failed"
        );
    }
}

/// Names a mission for the audit log.
pub(crate) fn mission_subject(mission: MissionId) -> String {
    mission.to_string()
}
