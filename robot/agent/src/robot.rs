//! A provisioned robot at work.

use crate::audit::AuditFile;
use crate::command_keys::CommandKeys;
use crate::commands::Reservations;
use crate::ending::Ending;
use crate::events::AgentLog;
use crate::expiry::ExpiryTimer;
use crate::run::Run;
use crate::stopping::LoggedReceipts;
use crate::{AgentError, Result};
use alcub3_attestation::event_log::agent::AgentEvent;
use alcub3_command_authority::{ReplayWindows, VerifiedMission};
use alcub3_crypto::Digest;
use alcub3_keys::{
    CountersBefore, LoadedKeys, MissionOver, MissionRecord, PcrCache, RobotKeys, RobotZeroizer, StateFolder,
    StopReceipts, StoredMissionKeys,
};
use alcub3_security_hal::{
    Clock, CommandGate, EmergencyStop, FileStopJournal, Gates, MemoryVault, PlatformAdapter, RearmTrust,
    SecretVault, StopIntent, StopJournal, StopLimits, StopParts, StopReport, SystemClock, Zeroizer,
};
use alcub3_tpm::ops::ClockReading;
use alcub3_tpm::{Lane, Tpm};
use alcub3_trust_model::hardware::{Part, PartSource};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::{BootId, HardwareTier, Integrity, Labels, LeaseId, Level, MissionId};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const JOURNAL: &str = "stops";
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

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
    hardware: Mutex<Option<Digest>>,
    recovered: Vec<StopReport>,
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

    fn open_with(keys: RobotKeys, folder: Arc<StateFolder>, mut adapters: Adapters) -> Result<Self> {
        let adapter_parts = parts_of(&mut adapters);
        let (clock, tier) = keys.tpm().run(Lane::Background, OPEN_TIMEOUT, |chip| {
            Ok((chip.read_clock()?, chip.chip_info()?.kind.tier()))
        })?;
        let pcrs_now = keys.stop_pcrs()?;
        let (run, log) = open_log(&keys, &folder, (clock.reset_count, clock.restart_count), pcrs_now)?;
        let robot_id = keys.record().robot.clone();
        let audit = AuditFile::open(folder.path(), robot_id.clone(), run.boot)?;
        let gates = Arc::new(Gates::new_closed());
        let loaded = LoadedKeys::default();
        let reservations = Arc::new(Reservations::new(folder.clone()));
        let commands = Arc::new(CommandGate::new(
            gates.clone(),
            robot_id.clone(),
            robot_labels(&keys),
            *keys.profiles(),
            ReplayWindows::restored(run.lease, &reservations.load()?),
            reservations.clone(),
        ));
        let counters = CountersBefore::new(keys.clone(), run.boot);
        for index in counters_of_stops(&keys, &folder)? {
            counters.certify(index)?;
        }
        let receipts = StopReceipts::prepare(keys.clone(), counters.clone())?;
        let parts = StopParts {
            adapters,
            vault: Box::new(vec![
                Box::new(commands.clone()) as Box<dyn SecretVault>,
                Box::new(MemoryVault::new(gates.clone())),
            ]),
            journal: Box::new(FileStopJournal::open(
                &folder.path().join(JOURNAL),
                robot_id.clone(),
            )?),
            zeroizer: Box::new(RobotZeroizer::new(keys.clone())),
            keys: Box::new(StoredMissionKeys::new(keys.clone(), loaded.clone())),
            receipts: Box::new(LoggedReceipts::new(
                receipts,
                folder.clone(),
                log.clone(),
                keys.pcrs(),
            )),
            audit: Box::new(audit.clone()),
            clock: Arc::new(SystemClock::new()),
        };
        let stop = EmergencyStop::new(gates.clone(), parts, StopLimits::default())?;
        let trust = RearmTrust::pin(robot_id, keys.nv(), &keys.anchors().rearm)?;
        let run = Mutex::new(run);
        let ending = Ending::new(
            keys.clone(),
            folder.clone(),
            commands.clone(),
            loaded.clone(),
            audit.clone(),
            log.clone(),
        );
        let mut robot = Self {
            keys,
            folder,
            run,
            loaded,
            gates,
            stop,
            trust,
            commands,
            reservations,
            audit,
            log,
            cache: PcrCache::default(),
            counters,
            ending,
            timer: Mutex::default(),
            tier,
            adapter_parts,
            hardware: Mutex::default(),
            recovered: Vec::new(),
        };
        robot.recovered = robot.stop.recover()?;
        robot.resume(&clock)?;
        robot.take_up_keys(SystemClock::new().utc_ms())?;
        Ok(robot)
    }

    /// Takes up what the state folder holds: the rearm, the missions that still live, the lease.
    fn resume(&self, clock: &ClockReading) -> Result<()> {
        self.finish_ended_missions(clock)?;
        self.keys.remove_orphaned_keys()?;
        if let Some(record) = self.keys.rearm_record()? {
            let keys = self.keys.clone();
            match self.stop.rearm(&self.trust, &record, move || Ok(keys.epochs()?)) {
                Ok(levels) => tracing::info!(?levels, "the rearm in force names the epochs of the chip"),
                Err(refusal) => tracing::warn!(%refusal, "the robot starts stopped"),
            }
        }
        self.end_armed_sessions_of_a_stop()?;
        for record in self.keys.missions()? {
            self.ending.began(record.owner());
            match self.taken_up(&record) {
                Ok(Some(mission)) if !self.gates.is_level_stopped(record.level) => {
                    self.commands.start_mission(mission)?;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(mission = %record.mission, %error, "a mission is not taken up");
                }
            }
        }
        self.resume_lease()
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

    pub(crate) fn log(&self) -> MutexGuard<'_, AgentLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The parts that the adapters know. One that does not answer names none: its parts are then missing from the inventory
/// and the comparison says so, and the robot that it can stop still starts.
fn parts_of(adapters: &mut Adapters) -> Vec<Part> {
    let mut parts = Vec::new();
    for adapter in adapters {
        match adapter.parts() {
            Ok(known) => parts.extend(known.into_iter().map(|part| Part {
                source: PartSource::Adapter,
                ..part
            })),
            Err(error) => {
                tracing::warn!(adapter = adapter.name(), %error, "the adapter does not name its parts");
            }
        }
    }
    parts
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

/// The counters that a stop may move: the robot's, its levels', the anchors of its missions, and those of stops that were
/// not finished, whose missions may be gone.
fn counters_of_stops(keys: &RobotKeys, folder: &StateFolder) -> Result<BTreeSet<NvIndex>> {
    let levels = keys
        .record()
        .parents
        .iter()
        .map(|parent| NvIndex::LevelEpoch(parent.level));
    let missions = keys
        .missions()?
        .into_iter()
        .map(|record| NvIndex::MissionAnchor(record.anchor));
    let unfinished = unfinished_stops(keys, folder)?
        .into_iter()
        .map(|intent| intent.order().scope.counter());
    Ok([NvIndex::RobotEpoch]
        .into_iter()
        .chain(levels)
        .chain(missions)
        .chain(unfinished)
        .collect())
}

fn unfinished_stops(keys: &RobotKeys, folder: &StateFolder) -> Result<Vec<StopIntent>> {
    let mut journal = FileStopJournal::open(&folder.path().join(JOURNAL), keys.record().robot.clone())?;
    journal.unfinished().map_err(AgentError::Port)
}

/// The robot's own labels: the highest level it has keys of; it obeys issuers that are at least operational.
fn robot_labels(keys: &RobotKeys) -> Labels {
    let highest = keys.record().parents.iter().map(|parent| parent.level).max();
    Labels::new(highest.unwrap_or(Level::Unclassified), Integrity::Operational)
}

/// The run and the agent's log, brought in line with what the PCRs hold after a crash.
fn open_log(
    keys: &RobotKeys,
    folder: &Arc<StateFolder>,
    counts: (u32, u32),
    now: [Digest; 2],
) -> Result<(Run, Arc<Mutex<AgentLog>>)> {
    let mut log = AgentLog::load(folder)?;
    let pending = pending_events(keys, folder)?;
    let map = keys.pcrs();
    let spans = |baseline: &[Digest; 2]| {
        let pcrs = [map.lockdown(), map.retire()].into_iter();
        pcrs.zip(*baseline)
            .zip(now)
            .map(|((pcr, from), to)| (pcr, from, to))
    };
    let resumed = |baseline: &[Digest; 2]| spans(baseline).all(|span| log.explains(&map, span, &pending));
    let (run, without_events) = Run::open(folder, counts, now, resumed)?;
    if without_events {
        log.clear(folder)?;
    }
    let mut explained = true;
    for span in spans(&run.baseline) {
        if !log.reconcile(folder, &map, span, &pending)? {
            explained = false;
            tracing::warn!(error = %AgentError::UnexplainedPcr { pcr: span.0 }, "attestation will be refused");
        }
    }
    if explained {
        log.starts_at(run.baseline);
    }
    Ok((run, Arc::new(Mutex::new(log))))
}

/// Events that may have been extended without an entry in the log: unfinished stops, and missions that were ending.
fn pending_events(keys: &RobotKeys, folder: &StateFolder) -> Result<Vec<AgentEvent>> {
    let unfinished = unfinished_stops(keys, folder)?;
    let stops = unfinished
        .iter()
        .map(|intent| AgentEvent::Stop(alcub3_keys::event_of(intent)));
    let missions = keys.mission_ids()?.into_iter().map(AgentEvent::MissionEnded);
    let start = AgentEvent::StoppedStart(keys.record().robot.clone());
    Ok(stops.chain(missions).chain([start]).collect())
}

/// Names a mission for the audit log.
pub(crate) fn mission_subject(mission: MissionId) -> String {
    mission.to_string()
}
