//! How a start puts a robot together: its run and log, its gate, what a stop works on; then what was cut short is completed.

use crate::audit::AuditFile;
use crate::audit_heads::AuditHeads;
use crate::commands::Reservations;
use crate::ending::Ending;
use crate::events::AgentLog;
use crate::robot::{Adapters, JOURNAL, Robot};
use crate::run::Run;
use crate::stopping::LoggedReceipts;
use crate::{AgentError, Result};
use alcub3_attestation::event_log::agent::AgentEvent;
use alcub3_command_authority::ReplayWindows;
use alcub3_crypto::Digest;
use alcub3_keys::{
    CountersBefore, LoadedKeys, PcrCache, RobotKeys, RobotZeroizer, StateFolder, StopReceipts,
    StoredMissionKeys,
};
use alcub3_security_hal::{
    Clock, CommandGate, EmergencyStop, FileStopJournal, Gates, MemoryVault, RearmTrust, SecretVault,
    StopIntent, StopJournal, StopLimits, StopParts, SystemClock,
};
use alcub3_tpm::Lane;
use alcub3_trust_model::hardware::{Part, PartSource};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::{BootId, Integrity, Labels, Level};
use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// What judges commands, all of it closed yet.
struct Gate {
    gates: Arc<Gates>,
    reservations: Arc<Reservations>,
    commands: Arc<CommandGate>,
}

impl Robot {
    pub(crate) fn open_with(
        keys: RobotKeys,
        folder: Arc<StateFolder>,
        mut adapters: Adapters,
    ) -> Result<Self> {
        let adapter_parts = parts_of(&mut adapters);
        let (clock, tier) = keys.tpm().run(Lane::Background, OPEN_TIMEOUT, |chip| {
            Ok((chip.read_clock()?, chip.chip_info()?.kind.tier()))
        })?;
        let pcrs_now = keys.stop_pcrs()?;
        let (run, log) = open_log(&keys, &folder, (clock.reset_count, clock.restart_count), pcrs_now)?;
        let audit = AuditFile::open(folder.path(), keys.record().robot.clone(), run.boot)?
            .labelled(robot_labels(&keys));
        let audit_heads = AuditHeads::open(&keys, &audit)?;
        let gate = closed_gate(&keys, &folder, &run)?;
        let counters = certified_counters(&keys, &folder, run.boot)?;
        let ending = Ending::new(
            keys.clone(),
            folder.clone(),
            gate.commands.clone(),
            LoadedKeys::default(),
            audit.clone(),
            log.clone(),
        );
        let mut robot = Self {
            stop: emergency_stop(&ending, &gate.gates, &counters, adapters)?,
            trust: RearmTrust::pin(keys.record().robot.clone(), keys.nv(), &keys.anchors().rearm)?,
            loaded: ending.loaded.clone(),
            keys,
            folder,
            run: Mutex::new(run),
            gates: gate.gates,
            commands: gate.commands,
            reservations: gate.reservations,
            audit,
            audit_heads: Mutex::new(audit_heads),
            log,
            cache: PcrCache::default(),
            counters,
            ending,
            timer: Mutex::default(),
            tier,
            adapter_parts,
            hardware: Mutex::default(),
            registers: Mutex::default(),
            admitted: AtomicU64::default(),
            recovered: Vec::new(),
            offline: Mutex::default(),
            evidence: Mutex::default(),
        };
        robot.recovered = robot.stop.recover()?;
        robot.resume(&clock)?;
        let now_utc_ms = SystemClock::new().utc_ms();
        robot.take_up_keys(now_utc_ms)?;
        robot.take_up_policy(now_utc_ms)?;
        Ok(robot)
    }
}

/// The gate for commands: no level runs and no mission is in it, and what was reserved of sequence numbers is used.
fn closed_gate(keys: &RobotKeys, folder: &Arc<StateFolder>, run: &Run) -> Result<Gate> {
    let gates = Arc::new(Gates::new_closed());
    let reservations = Arc::new(Reservations::new(folder.clone()));
    let commands = Arc::new(CommandGate::new(
        gates.clone(),
        keys.record().robot.clone(),
        robot_labels(keys),
        *keys.profiles(),
        ReplayWindows::restored(run.lease, &reservations.load()?),
        reservations.clone(),
    ));
    Ok(Gate {
        gates,
        reservations,
        commands,
    })
}

/// What the counters of stops hold before any, as the chip certifies it for their receipts.
fn certified_counters(keys: &RobotKeys, folder: &StateFolder, boot: BootId) -> Result<CountersBefore> {
    let counters = CountersBefore::new(keys.clone(), boot);
    for index in counters_of_stops(keys, folder)? {
        counters.certify(index)?;
    }
    Ok(counters)
}

/// The stop with all that it works on, in no scope stopped or running yet.
fn emergency_stop(
    robot: &Ending,
    gates: &Arc<Gates>,
    counters: &CountersBefore,
    adapters: Adapters,
) -> Result<EmergencyStop> {
    let keys = &robot.keys;
    let journal = robot.folder.path().join(JOURNAL);
    let receipts = StopReceipts::prepare(keys.clone(), counters.clone())?;
    let parts = StopParts {
        adapters,
        vault: Box::new(vec![
            Box::new(robot.commands.clone()) as Box<dyn SecretVault>,
            Box::new(MemoryVault::new(gates.clone())),
        ]),
        journal: Box::new(FileStopJournal::open(&journal, keys.record().robot.clone())?),
        zeroizer: Box::new(RobotZeroizer::new(keys.clone())),
        keys: Box::new(StoredMissionKeys::new(keys.clone(), robot.loaded.clone())),
        receipts: Box::new(LoggedReceipts::new(
            receipts,
            robot.folder.clone(),
            robot.log.clone(),
            keys.pcrs(),
        )),
        audit: Box::new(robot.audit.clone()),
        clock: Arc::new(SystemClock::new()),
    };
    Ok(EmergencyStop::new(gates.clone(), parts, StopLimits::default())?)
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
