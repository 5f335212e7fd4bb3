//! Commands through a robot's gate to a simulated platform, and what the platform says in what the robot signs and records.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/missions.rs"]
mod missions;
mod support;

use alcub3_agent::adapter_socket::{AdapterClient, AdapterSocket, LinkTimes, socket_adapter};
use alcub3_agent::{AdapterRecords, Asked, CarriedOut, PlatformLogs, Robot, Surroundings};
use alcub3_attestation::evidence::Evidence;
use alcub3_command_authority::{Arguments, CommandEnvelope, CommandName, MissionOrder};
use alcub3_keys::{MissionRecord, StateFolder};
use alcub3_security_hal::platform::{
    Description, DriveLimits, NotExecuted, PlatformBrake, PlatformCommand, PlatformDriver, PlatformUnit,
    Platforms, StopPlan, Telemetry,
};
use alcub3_security_hal::simulated::{SimulatedDriver, SimulatedPlan, simulated};
use alcub3_security_hal::{Clock, PortError, SystemClock};
use alcub3_trust_model::RobotState;
use missions::audit_names;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::{Life, NOW_MS, nonce};

const SOON: Duration = Duration::from_secs(10);

/// Real nanoseconds, and the tests' wall time.
struct TestClock(SystemClock);

impl Clock for TestClock {
    fn monotonic_ns(&self) -> u64 {
        self.0.monotonic_ns()
    }

    fn utc_ms(&self) -> Option<u64> {
        Some(NOW_MS)
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(TestClock(SystemClock::new()))
}

/// A running robot with one platform, on a mission, with a lease.
struct World {
    life: Life,
    platforms: Platforms,
    mission: MissionRecord,
}

impl World {
    fn new(driver: impl PlatformDriver + 'static, brake: impl PlatformBrake + 'static) -> Self {
        let mut life = Life::running();
        let unit = PlatformUnit {
            name: "base".to_owned(),
            driver: Box::new(driver),
            brake: Box::new(brake),
            plan: StopPlan::default(),
        };
        let (platforms, brakes) = Platforms::start(vec![unit], clock(), DriveLimits::default()).unwrap();
        assert!(platforms.await_all(SOON));
        life.robot = None;
        let folder = Arc::new(StateFolder::open(life.folder.path()).unwrap());
        life.robot = Some(Robot::open(life.tpm.clone(), folder, brakes).unwrap());
        let records = AdapterRecords::new(life.robot().audit().clone());
        platforms.watch(Box::new(records)).unwrap();
        let mission = life.start_mission(60_000);
        life.take_lease();
        Self {
            life,
            platforms,
            mission,
        }
    }

    fn carry_out(&self, sequence: u64) -> CarriedOut {
        self.carry_out_as(sequence, |_| ())
    }

    fn order(&self, sequence: u64, order: MissionOrder) -> CarriedOut {
        self.carry_out_as(sequence, |envelope| {
            envelope.command = CommandName::new(order.name()).unwrap();
            envelope.arguments = Arguments::new();
        })
    }

    fn carry_out_as(&self, sequence: u64, change: impl FnOnce(&mut CommandEnvelope)) -> CarriedOut {
        let operator = &self.life.authority.operator;
        let mut envelope = self.life.envelope(&self.mission, sequence);
        change(&mut envelope);
        let signed = envelope.unsigned(operator.suite()).sign(operator).unwrap();
        self.life
            .robot()
            .carry_out(&self.platforms, &signed, Some(NOW_MS))
            .unwrap()
    }

    fn state(&self) -> RobotState {
        let surroundings = Surroundings::of_platforms(self.platforms.snapshot(), None);
        let asked = Asked::all(nonce(1));
        let evidence = self
            .life
            .robot()
            .evidence(&asked, &surroundings, &PlatformLogs::NONE, NOW_MS)
            .unwrap();
        let evidence = Evidence::from_canonical(&evidence).unwrap();
        RobotState::from_canonical(evidence.state).unwrap()
    }

    /// Waits until the platform is as wanted, and gives the state that was signed then.
    fn await_state(&self, wanted: impl Fn(&RobotState) -> bool) -> RobotState {
        let begun = Instant::now();
        loop {
            let state = self.state();
            if wanted(&state) {
                return state;
            }
            assert!(begun.elapsed() < SOON, "{state:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A driver that can be made to hang, as one whose bus does.
struct Mortal(SimulatedDriver, Arc<AtomicBool>);

impl PlatformDriver for Mortal {
    fn describe(&mut self) -> Result<Description, PortError> {
        self.0.describe()
    }

    fn execute(&mut self, command: &PlatformCommand) -> Result<(), NotExecuted> {
        self.0.execute(command)
    }

    fn observe(&mut self) -> Result<Telemetry, PortError> {
        while self.1.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        self.0.observe()
    }
}

#[test]
fn a_command_moves_the_platform_and_the_signed_state_says_so_until_a_stop() {
    let (driver, brake) = simulated(SimulatedPlan::rover(7), Arc::new(SystemClock::new()));
    let world = World::new(driver, brake);
    assert!(matches!(world.carry_out(1), CarriedOut::Done));
    let state = world.await_state(|state| state.speed_mm_per_s == 100);
    assert_eq!(state.command_sequence, 1);
    assert_eq!(state.firmware.len(), 3);
    assert_eq!(state.calibration.len(), 2);
    assert_eq!(state.payload.len(), 1);
    assert!(state.position.is_some());
    assert!(state.faults.is_empty());

    let report = world.life.stop();
    assert!(
        report.is_complete(),
        "{:?}",
        report.unconfirmed().collect::<Vec<_>>()
    );
    let CarriedOut::Refused(refusal) = world.carry_out(2) else {
        panic!("a command after a stop")
    };
    assert_eq!(refusal.reasons()[0].code(), "emergency-stop");
    let state = world.await_state(|state| state.speed_mm_per_s == 0);
    assert!(state.stopped);
}

#[test]
fn a_suspended_mission_stands_still_and_moves_again_once_it_is_resumed() {
    let (driver, brake) = simulated(SimulatedPlan::rover(7), Arc::new(SystemClock::new()));
    let world = World::new(driver, brake);
    assert!(matches!(world.carry_out(1), CarriedOut::Done));
    world.await_state(|state| state.speed_mm_per_s > 0);
    let suspended = world.order(2, MissionOrder::Suspend);
    assert!(matches!(suspended, CarriedOut::Done), "{suspended:?}");
    world.await_state(|state| state.speed_mm_per_s == 0);
    let CarriedOut::Refused(refusal) = world.carry_out(3) else {
        panic!("the mission is suspended");
    };
    assert_eq!(refusal.reasons()[0].code(), "mission-suspended");
    // It has nothing to do for this.
    assert!(matches!(world.order(4, MissionOrder::Resume), CarriedOut::Done));
    assert!(matches!(world.carry_out(5), CarriedOut::Done));
    world.await_state(|state| state.speed_mm_per_s > 0);
}

#[test]
fn an_adapter_that_is_lost_is_on_record_in_the_state_and_takes_no_commands() {
    let folder = tempfile::TempDir::new().unwrap();
    let socket = AdapterSocket::own(folder.path().join("base"));
    let (driver, brake) = socket_adapter(socket.clone(), LinkTimes::default(), None).unwrap();
    let hangs = Arc::new(AtomicBool::new(false));
    let _client = {
        let (driver, brake) = simulated(SimulatedPlan::rover(7), Arc::new(SystemClock::new()));
        let driver = Mortal(driver, hangs.clone());
        let mut client = AdapterClient::new(&socket.socket_path(), &socket.key_path(), driver, brake);
        thread::spawn(move || client.serve())
    };
    let world = World::new(driver, brake);
    assert!(matches!(world.carry_out(1), CarriedOut::Done));
    world.await_state(|state| state.speed_mm_per_s == 100);
    assert!(!audit_names(&world.life, "adapter-lost"));

    // The process that drives the platform hangs: it says nothing any more.
    hangs.store(true, Ordering::SeqCst);
    world.await_state(|state| state.faults.iter().any(|fault| fault.code == "adapter-lost"));
    let begun = Instant::now();
    while !audit_names(&world.life, "adapter-lost") {
        assert!(begun.elapsed() < SOON, "not on record");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(audit_names(&world.life, "adapter base"));
    let CarriedOut::NotCarriedOut(refusal) = world.carry_out(2) else {
        panic!("a command to an adapter that is lost")
    };
    assert_eq!(refusal.code(), "adapter-lost");
    hangs.store(false, Ordering::SeqCst);
}
