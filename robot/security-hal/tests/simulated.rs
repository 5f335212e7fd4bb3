//! The simulated robot: one seed and one course of commands give one robot; it keeps its limits and stops as it is told.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alcub3_security_hal::platform::{
    Description, DriveLimits, NotExecuted, PlatformCommand, PlatformDriver, PlatformUnit, StopLevel,
    StopPlan, Telemetry,
};
use alcub3_security_hal::simulated::{SimulatedDriver, SimulatedPlan, VirtualClock, simulated};
use alcub3_security_hal::{Clock, PortError, StopScope};
use std::time::Duration;
use support::drive::Driving;
use support::order;

/// A driver that counts how often it was observed.
struct Counted(SimulatedDriver, Arc<AtomicU64>);

impl PlatformDriver for Counted {
    fn describe(&mut self) -> Result<Description, PortError> {
        self.0.describe()
    }

    fn execute(&mut self, command: &PlatformCommand) -> Result<(), NotExecuted> {
        self.0.execute(command)
    }

    fn observe(&mut self) -> Result<Telemetry, PortError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.observe()
    }
}

/// A robot in virtual time, driven through the gate.
struct World {
    driving: Driving,
    clock: VirtualClock,
    observed: Arc<AtomicU64>,
}

impl World {
    fn new(plan: SimulatedPlan, stop: StopLevel) -> Self {
        let clock = VirtualClock::default();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let (driver, brake) = simulated(plan, shared);
        let observed = Arc::new(AtomicU64::new(0));
        let unit = PlatformUnit {
            name: "base".to_owned(),
            driver: Box::new(Counted(driver, observed.clone())),
            brake: Box::new(brake),
            plan: StopPlan {
                robot: stop,
                part: StopLevel::Hold,
            },
        };
        let limits = DriveLimits {
            poll: Duration::from_millis(2),
            execute: Duration::from_secs(5),
            stall_after: Duration::from_secs(10),
        };
        let driving = Driving::new(vec![unit], limits);
        assert!(driving.platforms.await_all(Duration::from_secs(5)));
        Self {
            driving,
            clock,
            observed,
        }
    }

    /// Lets virtual time pass, and gives what the robot is then: the second observation that begins after it has been taken when
    /// the third begins.
    fn after(&self, ms: u64) -> (u32, i64) {
        self.clock.advance_ms(ms);
        let before = self.observed.load(Ordering::SeqCst);
        while self.observed.load(Ordering::SeqCst) < before + 3 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let seen = self.driving.platforms.snapshot();
        (seen.speed_mm_per_s, seen.position.unwrap().longitude_e7_deg)
    }

    fn east(&self, speed: i64) {
        let arguments = [("velocity_x_mm_per_s", speed), ("duration_ms", 60_000)];
        self.driving.command("move.velocity", &arguments).unwrap();
    }
}

#[test]
fn it_moves_as_commanded_and_at_rest_it_stays() {
    let world = World::new(SimulatedPlan::rover(1), StopLevel::ControlledOff);
    let begin = world.after(1_000);
    assert_eq!(begin.0, 0);
    world.east(1_000);
    let (speed, east) = world.after(10_000);
    assert_eq!(speed, 1_000);
    // Ten metres less what the acceleration took, at 7 592 µm to a unit.
    let gone_mm = (east - begin.1) * 7_592 / 1_000;
    assert!((9_600..10_000).contains(&gone_mm), "{gone_mm}");
    world.driving.command("move.hold", &[]).unwrap();
    let at_rest = world.after(2_000);
    assert_eq!(at_rest.0, 0);
    assert_eq!(world.after(5_000), at_rest);
}

#[test]
fn it_goes_to_a_place_and_stays_inside_its_fence() {
    let plan = SimulatedPlan::rover(1);
    let origin = plan.origin;
    let world = World::new(plan, StopLevel::ControlledOff);
    let to = |north: i64| {
        let place = [
            ("latitude_e7_deg", origin.latitude_e7_deg + north),
            ("longitude_e7_deg", origin.longitude_e7_deg + 500),
        ];
        world.driving.command("move.to", &place)
    };
    to(1_000).unwrap();
    world.after(20_000);
    let there = world.driving.platforms.snapshot().position.unwrap();
    assert!((there.latitude_e7_deg - origin.latitude_e7_deg - 1_000).abs() <= 1);
    assert!((there.longitude_e7_deg - origin.longitude_e7_deg - 500).abs() <= 1);
    // A hundred metres are 8 983 units of latitude.
    assert_eq!(to(9_000).unwrap_err().code(), "platform-refused");

    world.east(2_000);
    world.after(60_000);
    let seen = world.driving.platforms.snapshot();
    let out_mm = (seen.position.unwrap().longitude_e7_deg - origin.longitude_e7_deg) * 7_592 / 1_000;
    assert!(out_mm <= 100_000, "{out_mm}");
    assert_eq!(seen.speed_mm_per_s, 0);
    assert!(seen.faults.iter().any(|fault| fault.code == "fence-reached"));
}

#[test]
fn it_refuses_what_is_too_fast_in_all_and_moves_no_more_with_an_empty_battery() {
    let mut plan = SimulatedPlan::rover(1);
    plan.battery_permille = 1;
    let world = World::new(plan, StopLevel::ControlledOff);
    let both = [("velocity_x_mm_per_s", 1_900), ("velocity_y_mm_per_s", 1_900)];
    let refused = world.driving.command("move.velocity", &both).unwrap_err();
    assert!(refused.to_string().contains("too-fast"), "{refused}");
    world.east(2_000);
    world.after(10_000);
    assert_eq!(world.driving.platforms.snapshot().battery_permille, 0);
    assert_eq!(world.after(2_000).0, 0);
    let refused = world.driving.command("move.hold", &[]).unwrap_err();
    assert!(refused.to_string().contains("battery-empty"), "{refused}");
}

#[test]
fn each_stop_level_brings_it_to_rest_and_a_rearmed_robot_moves_again() {
    let way = |level| {
        let world = World::new(SimulatedPlan::rover(1), level);
        world.east(2_000);
        let (speed, before) = world.after(5_000);
        assert_eq!(speed, 2_000);
        let report = world.driving.stop.stop(order(1, StopScope::Robot));
        assert!(report.adapters.iter().all(|adapter| adapter.outcome.is_done()));
        let (speed, after) = world.after(4_000);
        assert_eq!(speed, 0, "{level}");
        assert_eq!(world.after(4_000).1, after);
        world.driving.go();
        world.east(1_000);
        assert_eq!(world.after(1_000).0, 1_000, "after the rearm");
        after - before
    };
    let (hold, controlled, off) = (
        way(StopLevel::Hold),
        way(StopLevel::ControlledOff),
        way(StopLevel::PowerOff),
    );
    assert_eq!(hold, controlled);
    assert!(
        off > controlled,
        "without power it rolls out: {off} against {controlled}"
    );
}

#[test]
fn one_seed_gives_one_robot_and_another_seed_another() {
    let faults = |seed, pieces: &[u64]| -> Vec<Telemetry> {
        let clock = VirtualClock::default();
        let mut plan = SimulatedPlan::rover(seed);
        plan.seconds_per_fault = Some(20);
        let (mut driver, _brake) = simulated(plan, Arc::new(clock.clone()));
        let lived = pieces.iter().map(|ms| {
            clock.advance_ms(*ms);
            driver.observe().unwrap()
        });
        lived.collect()
    };
    let whole = faults(1, &[120_000]);
    // However often it is looked at, it is the same robot.
    assert_eq!(whole.last(), faults(1, &[10, 7, 983, 59_000, 60_000]).last());
    assert!(!whole[0].faults.is_empty());
    let others: Vec<_> = (2..12).map(|seed| faults(seed, &[30_000])).collect();
    assert!(others.iter().any(|other| other[0].faults != others[0][0].faults));
}
