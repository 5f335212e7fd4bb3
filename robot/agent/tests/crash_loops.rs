//! swtpm, and the robot's own process, killed with SIGKILL at every step of provisioning, mission start and stop: the
//! next start finds a state it can explain, nothing is left behind, and a stop that was acknowledged stays in force.
//!
//! `ALCUB3_CRASH_ROUNDS` sets how many rounds are run where a loop is not over every command (10 by default).
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/crash.rs"]
mod crash;
#[path = "support/reach.rs"]
mod reach;
mod support;

use alcub3_agent::{AgentError, Robot, provision};
use alcub3_attestation::receipt::Outcome;
use alcub3_keys::{KeysError, MissionRecord, RobotRecord, StateFolder};
use alcub3_security_hal::{Step, StopReport, StopScope};
use alcub3_testkit::{PowerUp, SimulatorCa, Swtpm};
use alcub3_tpm::transport::Transport;
use alcub3_tpm::{Lane, ResponseCode};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::{Integrity, Labels, Level, StopCause, handle_map};
use crash::{Among, Dying, Room, Side, Trigger};
use reach::{log_explains_the_pcrs, refusal};
use std::collections::BTreeSet;
use std::sync::Arc;
use support::{LEVEL, LONG, Life, NOW_MS, SoftAuthority, certify_ek, digest, open_tpm, request};
use tempfile::TempDir;

fn rounds() -> usize {
    let given = std::env::var("ALCUB3_CRASH_ROUNDS").ok();
    given.map_or(10, |rounds| {
        rounds.parse().expect("ALCUB3_CRASH_ROUNDS is a number")
    })
}

/// What provisioning puts into a chip, and nothing else.
fn expected_handles() -> (BTreeSet<u32>, BTreeSet<u32>) {
    let persistent = [
        handle_map::EK,
        handle_map::ATTESTATION_KEY,
        handle_map::STORAGE_ROOT,
        handle_map::IDENTITY,
        handle_map::level_parent(Level::Unclassified),
        handle_map::level_parent(Level::Cui),
        handle_map::level_kdf(Level::Unclassified),
        handle_map::level_kdf(Level::Cui),
    ];
    (NvIndex::all().map(NvIndex::handle).collect(), persistent.into())
}

fn assert_only_the_map(room: &Room) {
    let (nv, persistent) = expected_handles();
    // The EK certificate was there before us.
    let ours: BTreeSet<u32> = room
        .nv
        .iter()
        .copied()
        .filter(|index| index >> 16 != 0x01c0)
        .collect();
    assert_eq!(ours, nv);
    assert_eq!(room.nv.len(), nv.len() + 1);
    assert_eq!(
        room.persistent.iter().copied().collect::<BTreeSet<_>>(),
        persistent
    );
}

/// A chip before provisioning, and what to provision it with.
struct Blank {
    swtpm: Swtpm,
    folder: TempDir,
    authority: SoftAuthority,
}

impl Blank {
    fn new() -> Self {
        let swtpm = Swtpm::start().unwrap();
        certify_ek(&open_tpm(swtpm.transport()).0, &SimulatorCa::new().unwrap());
        Self {
            swtpm,
            folder: TempDir::new().unwrap(),
            authority: SoftAuthority::new(),
        }
    }

    fn provision(&mut self, transport: impl Transport + 'static) -> Result<RobotRecord, AgentError> {
        let (tpm, _) = open_tpm(transport);
        let folder = StateFolder::open(self.folder.path()).unwrap();
        let request = request(&self.authority);
        provision(&tpm, &folder, &request, &mut self.authority)
    }

    /// Provisions with the chip dying as armed; whether it died.
    fn provision_dying(&mut self, ordinal: u64, side: Side, among: Among) -> bool {
        let (dying, trigger) = Dying::new(&self.swtpm);
        trigger.arm(ordinal, side, among);
        let result = self.provision(dying);
        let died = trigger.fired();
        if died {
            self.swtpm.kill_and_respawn(PowerUp::Clear).unwrap();
        } else {
            result.unwrap();
        }
        died
    }

    /// What the chip holds half-way.
    fn state(&self) -> (Vec<u32>, Vec<u32>, [bool; 3]) {
        let (tpm, _) = open_tpm(self.swtpm.transport());
        tpm.run(Lane::Background, LONG, |chip| {
            let set = chip.lockout_state()?;
            let authorised = [set.owner_auth_set, set.endorsement_auth_set, set.lockout_auth_set];
            Ok((chip.handles(0x0100_0000)?, chip.handles(0x8100_0000)?, authorised))
        })
        .unwrap()
    }

    /// The next start: it goes on with the same plan, or finds that all was done.
    fn resume(&mut self) {
        match self.provision(self.swtpm.transport()) {
            Ok(_) | Err(AgentError::Keys(KeysError::AlreadyProvisioned { .. })) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// A robot that can be used, with the authority as its owner and nothing left behind.
    fn assert_provisioned(&self, expected: &Room) {
        assert!(!self.folder.path().join("provisioning.cbor").exists());
        let (tpm, _) = open_tpm(self.swtpm.transport());
        let folder = Arc::new(StateFolder::open(self.folder.path()).unwrap());
        let robot = Robot::open(tpm.clone(), folder, Vec::new()).unwrap();
        assert!(robot.is_stopped());
        let custody = self.authority.enrolled.as_ref().unwrap().custody.clone();
        let room = tpm
            .run(Lane::Background, LONG, move |chip| {
                use alcub3_tpm::ops::Hierarchy;
                let values = [
                    (Hierarchy::Owner, &custody.owner),
                    (Hierarchy::Endorsement, &custody.endorsement),
                    (Hierarchy::Lockout, &custody.lockout),
                ];
                for (hierarchy, value) in values {
                    chip.change_hierarchy_auth(hierarchy, value, value)?;
                }
                assert!(!chip.lockout_state()?.in_lockout);
                Room::of(chip)
            })
            .unwrap();
        assert_only_the_map(&room);
        assert_eq!(&room, expected);
    }
}

/// The room of a robot that nothing ever happened to, and how many commands its provisioning took.
fn undisturbed() -> (Room, u64) {
    let mut blank = Blank::new();
    let (dying, trigger) = Dying::new(&blank.swtpm);
    trigger.arm(u64::MAX, Side::Before, Among::All);
    blank.provision(dying).unwrap();
    let commands = trigger.sent();
    let (tpm, _) = open_tpm(blank.swtpm.transport());
    let folder = Arc::new(StateFolder::open(blank.folder.path()).unwrap());
    let robot = Robot::open(tpm.clone(), folder, Vec::new()).unwrap();
    let room = tpm.run(Lane::Background, LONG, Room::of).unwrap();
    drop(robot);
    (room, commands)
}

#[test]
fn provisioning_goes_on_after_a_crash_at_each_of_its_changes() {
    let (expected, _) = undisturbed();
    for side in Side::BOTH {
        // One robot, whose chip dies at every change that provisioning makes in it, one after the other; where a start
        // leads to a state that was there before, the next one gets one change further.
        let mut blank = Blank::new();
        let mut seen = vec![blank.state()];
        let (mut crashes, mut ordinal) = (0, 0);
        while blank.provision_dying(ordinal, side, Among::Lasting) {
            crashes += 1;
            assert!(crashes < 300, "provisioning makes no progress");
            let state = blank.state();
            if seen.contains(&state) {
                ordinal += 1;
            } else {
                seen.push(state);
                ordinal = 0;
            }
        }
        // Three authorisations, 32 indices, 8 persistent keys.
        assert!(seen.len() > 38, "{}", seen.len());
        blank.assert_provisioned(&expected);
    }
}

#[test]
fn provisioning_goes_on_after_a_crash_at_any_command() {
    let (expected, commands) = undisturbed();
    let points = usize::try_from(commands).unwrap() * 2;
    let wanted = rounds().min(points);
    for round in 0..wanted {
        let point = round * points / wanted;
        let mut blank = Blank::new();
        let ordinal = u64::try_from(point / 2).unwrap();
        assert!(blank.provision_dying(ordinal, Side::of(point), Among::All));
        blank.resume();
        blank.assert_provisioned(&expected);
    }
}

/// A robot whose chip can die.
struct Fragile {
    life: Life,
    trigger: Trigger,
    room: Room,
    epoch: u64,
}

impl Fragile {
    fn new() -> Self {
        let life = Life::running();
        let (room, epoch) = (life.room(), 0);
        assert_only_the_map(&room);
        let trigger = Trigger::default();
        let mut fragile = Self {
            life,
            trigger,
            room,
            epoch,
        };
        fragile.open_fragile();
        fragile
    }

    fn open_fragile(&mut self) {
        self.life.robot = None;
        let (dying, trigger) = Dying::new(&self.life.swtpm);
        (self.life.tpm, self.life.counts) = open_tpm(dying);
        self.trigger = trigger;
        self.life.open();
        if self.life.robot().is_stopped() {
            self.life.rearm();
        }
        self.epoch = self.robot_epoch();
    }

    fn robot_epoch(&self) -> u64 {
        let keys = self.life.robot().keys();
        keys.counter(NvIndex::RobotEpoch).unwrap().value
    }

    /// The next start after the chip died: nothing is in it that was not there before.
    fn recover(&mut self) {
        self.life
            .reopen_after(|swtpm| swtpm.kill_and_respawn(PowerUp::Clear).unwrap());
        assert_eq!(self.life.room(), self.room);
        assert!(log_explains_the_pcrs(&self.life));
        assert!(!self.life.chip(|chip| chip.lockout_state()).unwrap().in_lockout);
    }

    /// A mission start while the chip dies as armed.
    fn start_dying(&mut self, ordinal: u64, side: Side) -> Result<MissionRecord, AgentError> {
        let session = self.life.next_session();
        self.trigger.arm(ordinal, side, Among::All);
        let robot = self.life.robot();
        let (start, request) =
            robot.mission_request(session, Labels::new(LEVEL, Integrity::Operational), 60_000)?;
        let approval = self.life.authority.approve_mission(&request, session, 60_000);
        robot.start_mission(&start, &approval, NOW_MS)
    }

    /// Every mission that is there works, and all of them are ended.
    fn missions_are_whole(&mut self) -> Vec<MissionRecord> {
        let missions = self.life.robot().keys().missions().unwrap();
        for record in &missions {
            let key = self.life.key(record);
            self.life.robot().keys().sign(&key, digest()).unwrap();
            self.life
                .robot()
                .complete_mission(record.mission, NOW_MS)
                .unwrap();
        }
        assert!(self.life.robot().keys().missions().unwrap().is_empty());
        missions
    }

    /// One mission start with a crash; false once the crash would come after its end.
    fn mission_round(&mut self, ordinal: u64, side: Side) -> bool {
        let result = self.start_dying(ordinal, side);
        let died = self.trigger.fired();
        self.recover();
        let missions = self.missions_are_whole();
        match &result {
            Ok(record) => assert_eq!(
                missions,
                std::slice::from_ref(record),
                "a mission that was granted is there"
            ),
            Err(_) => assert!(died && missions.len() <= 1),
        }
        assert_eq!(self.life.room(), self.room);
        self.open_fragile();
        died
    }

    /// One stop with a crash; false once the crash would come after its end.
    fn stop_round(&mut self, ordinal: u64, side: Side) -> bool {
        let record = self.life.start_mission(60_000);
        let key = self.life.key(&record);
        let armed = self.life.robot().keys().arm(&key).unwrap();
        self.trigger.arm(ordinal, side, Among::All);
        let report = self.life.stop();
        let died = self.trigger.fired();
        drop((key, armed));
        assert!(self.life.robot().is_stopped());
        self.recover();
        self.stop_is_in_force(&report, &record);
        self.open_fragile();
        died
    }

    fn stop_is_in_force(&self, report: &StopReport, record: &MissionRecord) {
        let robot = self.life.robot();
        assert!(robot.is_stopped() && robot.is_level_stopped(LEVEL));
        assert!(self.robot_epoch() > self.epoch);
        assert!(robot.keys().missions().unwrap().is_empty());
        assert!(robot.keys().load_mission_key(record.mission).is_err());
        let acknowledged = is_acknowledged(report);
        let recovered: Vec<_> = robot.recovered_stops().iter().map(|done| done.stop).collect();
        if acknowledged {
            assert!(recovered.is_empty(), "a stop that was through is not done again");
            assert_eq!(self.robot_epoch(), self.epoch + 1);
        } else {
            assert_eq!(
                recovered,
                [report.stop],
                "the unfinished intent is completed at the start"
            );
            let completed = &robot.recovered_stops()[0];
            assert!(completed.is_complete(), "{completed:?}");
            let verdict = self.life.judge(completed);
            assert!(verdict.outcome == Outcome::Proven, "{verdict:?}");
        }
        if let Some(receipt) = robot.receipt(report.stop).unwrap() {
            assert!(!receipt.is_empty());
        }
    }
}

fn is_acknowledged(report: &StopReport) -> bool {
    let done = |step| report.step(step).is_some_and(|record| record.outcome.is_done());
    done(Step::PcrExtended) && done(Step::CounterIncremented)
}

#[test]
fn a_mission_start_is_whole_or_not_there_after_a_crash_at_every_command() {
    let mut fragile = Fragile::new();
    for side in Side::BOTH {
        let crashes = (0..)
            .take_while(|ordinal| fragile.mission_round(*ordinal, side))
            .count();
        assert!(crashes > 15, "{crashes}");
    }
}

#[test]
fn a_stop_is_in_force_after_a_crash_at_every_command() {
    let mut fragile = Fragile::new();
    for side in Side::BOTH {
        let crashes = (0..)
            .take_while(|ordinal| fragile.stop_round(*ordinal, side))
            .count();
        assert!(crashes >= 5, "{crashes}");
    }
}

#[test]
fn rounds_of_crashes_leave_the_same_free_slots_and_nv() {
    let mut fragile = Fragile::new();
    for round in 0..rounds() {
        let ordinal = u64::try_from(round).unwrap() * 7;
        if round.is_multiple_of(3) {
            fragile.stop_round(ordinal % 6, Side::of(round));
        } else {
            fragile.mission_round(ordinal % 20, Side::of(round));
        }
        assert_eq!(fragile.life.room(), fragile.room, "after {round} rounds");
    }
}

/// What a stop of less than the robot leaves after a crash at one of its commands.
fn narrow_stop_round(fragile: &mut Fragile, of_level: bool, ordinal: u64, side: Side) -> bool {
    let record = fragile.life.start_mission(60_000);
    let other = fragile.life.start_mission(60_000);
    let scope = if of_level {
        StopScope::Level(LEVEL)
    } else {
        fragile.life.robot().mission_scope(record.mission).unwrap()
    };
    fragile.trigger.arm(ordinal, side, Among::All);
    let report = fragile
        .life
        .robot()
        .stop(scope, StopCause::ManualTrigger, NOW_MS)
        .unwrap();
    let died = fragile.trigger.fired();
    fragile.recover();
    let life = &mut fragile.life;
    let recovered: Vec<_> = life
        .robot()
        .recovered_stops()
        .iter()
        .map(|done| done.stop)
        .collect();
    let expected = if is_acknowledged(&report) {
        Vec::new()
    } else {
        vec![report.stop]
    };
    assert_eq!(recovered, expected, "{report:?}");
    assert!(life.robot().recovered_stops().iter().all(StopReport::is_complete));
    assert!(log_explains_the_pcrs(life));
    assert!(!life.robot().is_stopped());
    assert_eq!(life.robot().is_level_stopped(LEVEL), of_level);
    if of_level {
        life.rearm();
    } else {
        let key = life.key(&other);
        life.robot().keys().sign(&key, digest()).unwrap();
        life.robot().complete_mission(other.mission, NOW_MS).unwrap();
    }
    let key = life.load_stolen(&record).unwrap();
    assert_eq!(
        refusal(&life.robot().keys().sign(&key, digest()).unwrap_err()),
        Some(ResponseCode::POLICY)
    );
    assert!(life.robot().keys().missions().unwrap().is_empty());
    drop(key);
    fragile.open_fragile();
    died
}

#[test]
fn a_stop_of_a_level_or_a_mission_is_in_force_after_a_crash_at_every_command() {
    let mut fragile = Fragile::new();
    for (of_level, side) in [
        (false, Side::Before),
        (false, Side::After),
        (true, Side::Before),
        (true, Side::After),
    ] {
        let crashes = (0..)
            .take_while(|ordinal| narrow_stop_round(&mut fragile, of_level, *ordinal, side))
            .count();
        assert!(crashes >= 5, "{crashes}");
    }
}

#[test]
fn a_mission_is_ended_or_goes_on_after_a_crash_at_every_command_of_its_end() {
    let mut fragile = Fragile::new();
    for side in Side::BOTH {
        let mut crashes = 0;
        for ordinal in 0.. {
            let record = fragile.life.start_mission(60_000);
            fragile.trigger.arm(ordinal, side, Among::All);
            let ended = fragile.life.robot().complete_mission(record.mission, NOW_MS);
            let died = fragile.trigger.fired();
            fragile.recover();
            let life = &mut fragile.life;
            assert!(log_explains_the_pcrs(life));
            if life.robot().keys().missions().unwrap().is_empty() {
                let key = life.load_stolen(&record).unwrap();
                assert!(life.robot().keys().sign(&key, digest()).is_err());
            } else {
                assert!(ended.is_err(), "an acknowledged end holds");
                fragile.missions_are_whole();
            }
            fragile.open_fragile();
            if !died {
                break;
            }
            crashes += 1;
        }
        assert!(crashes >= 2, "{crashes}");
    }
}
