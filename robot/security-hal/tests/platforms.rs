//! Adapters in process: what is refused and why, and that a stop waits for none of them.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use alcub3_security_hal::platform::{
    AdapterEvents, AdapterTrouble, Description, DescriptionFault, DriveLimits, DriveRefusal, NotExecuted,
    PlatformBrake, PlatformCommand, PlatformDriver, PlatformStop, PlatformUnit, Platforms, StopLevel,
    StopPlan, Telemetry,
};
use alcub3_security_hal::simulated::{SimulatedPlan, VirtualClock, simulated};
use alcub3_security_hal::{Clock, PortError, StopScope};
use alcub3_trust_model::{FaultSeverity, Position};
use support::drive::{Driving, NOW, clock, short};
use support::order;

const SOON: Duration = Duration::from_secs(5);

/// What a test makes an adapter do.
#[derive(Default)]
struct Manner {
    stalls: AtomicBool,
    fails: AtomicBool,
    refuses: AtomicBool,
    panics: AtomicBool,
    serial: AtomicU64,
    executed: Mutex<Vec<PlatformCommand>>,
    stops: Mutex<Vec<PlatformStop>>,
}

impl Manner {
    fn stall(&self) {
        while self.stalls.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// An adapter around the simulated robot's description.
struct Half(Arc<Manner>);

impl PlatformDriver for Half {
    fn describe(&mut self) -> Result<Description, PortError> {
        self.0.stall();
        if self.0.fails.load(Ordering::SeqCst) {
            return Err("the bus is silent".into());
        }
        assert!(!self.0.panics.load(Ordering::SeqCst), "on purpose");
        let serial = self.0.serial.load(Ordering::SeqCst);
        let clock: Arc<dyn Clock> = Arc::new(VirtualClock::default());
        simulated(SimulatedPlan::rover(serial), clock).0.describe()
    }

    fn execute(&mut self, command: &PlatformCommand) -> Result<(), NotExecuted> {
        self.0.stall();
        if self.0.refuses.load(Ordering::SeqCst) {
            let (code, text) = ("door-open".to_owned(), "close the door".to_owned());
            return Err(NotExecuted::Refused { code, text });
        }
        self.0.executed.lock().unwrap().push(command.clone());
        Ok(())
    }

    fn observe(&mut self) -> Result<Telemetry, PortError> {
        Ok(Telemetry {
            battery_permille: 700,
            ..Telemetry::default()
        })
    }
}

impl PlatformBrake for Half {
    fn stop(&mut self, stop: &PlatformStop) -> Result<(), PortError> {
        self.0.stops.lock().unwrap().push(stop.clone());
        Ok(())
    }
}

fn unit(name: &str, manner: &Arc<Manner>) -> PlatformUnit {
    PlatformUnit {
        name: name.to_owned(),
        driver: Box::new(Half(manner.clone())),
        brake: Box::new(Half(manner.clone())),
        plan: StopPlan::default(),
    }
}

fn driving() -> (Driving, Arc<Manner>) {
    let manner = Arc::new(Manner::default());
    let driving = Driving::new(vec![unit("base", &manner)], short());
    assert!(driving.platforms.await_all(SOON));
    (driving, manner)
}

fn code(done: Result<(), DriveRefusal>) -> &'static str {
    done.map_or_else(|refusal| refusal.code(), |()| "done")
}

/// Waits until the adapter has this trouble, by its code.
fn await_trouble(platforms: &Platforms, wanted: Option<&str>) {
    let begun = Instant::now();
    loop {
        let found = platforms.troubles()[0].1.as_ref().map(AdapterTrouble::code);
        if found == wanted {
            return;
        }
        assert!(begun.elapsed() < SOON, "{found:?} instead of {wanted:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_admitted_command_reaches_the_adapter_that_takes_it_with_its_arguments() {
    let (driving, manner) = driving();
    driving
        .command("move.velocity", &[("velocity_x_mm_per_s", 500)])
        .unwrap();
    let executed = manner.executed.lock().unwrap();
    assert_eq!(executed.len(), 1);
    assert_eq!(executed[0].name().as_str(), "move.velocity");
    assert_eq!(executed[0].arguments().iter().count(), 1);
    assert_eq!(executed[0].after_stops(), 0);
}

#[test]
fn what_a_platform_does_not_take_is_refused_with_its_reason() {
    let (driving, manner) = driving();
    let refused = |command, arguments: &[(&str, i64)]| code(driving.command(command, arguments));
    assert_eq!(refused("move.jump", &[]), "platform-command-unknown");
    assert_eq!(
        refused("move.velocity", &[("velocity_x_mm_per_s", 2_001)]),
        "platform-limit"
    );
    assert_eq!(
        refused("move.velocity", &[("heading_mdeg", 1)]),
        "platform-argument-unknown"
    );
    assert_eq!(
        refused("move.to", &[("latitude_e7_deg", 1)]),
        "platform-argument-missing"
    );
    manner.refuses.store(true, Ordering::SeqCst);
    assert_eq!(refused("move.hold", &[]), "platform-refused");
    assert!(manner.executed.lock().unwrap().is_empty());
}

#[test]
fn a_command_that_a_stop_overtook_is_not_handed_out() {
    let (driving, manner) = driving();
    let admitted = driving.admitted("move.hold", &[]);
    driving.stop.stop(order(1, StopScope::Robot));
    assert_eq!(
        code(driving.platforms.execute(&driving.gate, admitted)),
        "emergency-stop"
    );
    assert!(manner.executed.lock().unwrap().is_empty());

    driving.go();
    driving.command("move.hold", &[]).unwrap();
    assert_eq!(manner.executed.lock().unwrap()[0].after_stops(), 1);
    let stops = manner.stops.lock().unwrap();
    assert_eq!((stops[0].number, stops[0].level), (1, StopLevel::ControlledOff));
}

#[test]
fn an_adapter_that_stalls_is_noticed_within_the_bound_and_takes_no_commands() {
    let (driving, manner) = driving();
    let (events, told) = recorder();
    driving.platforms.watch(events).unwrap();
    manner.stalls.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    let (adapter, trouble) = told.recv_timeout(SOON).unwrap();
    let noticed = begun.elapsed();
    assert_eq!((adapter.as_str(), trouble), ("base", Some("adapter-stalled")));
    // The bound, and what a busy machine adds to it.
    assert!(
        noticed < short().noticed_within() + Duration::from_millis(300),
        "{noticed:?}"
    );
    assert_eq!(code(driving.command("move.hold", &[])), "adapter-stalled");

    manner.stalls.store(false, Ordering::SeqCst);
    assert_eq!(told.recv_timeout(SOON).unwrap().1, None);
    driving.command("move.hold", &[]).unwrap();
    assert_eq!(manner.executed.lock().unwrap().len(), 1);
}

#[test]
fn a_command_that_was_given_up_is_not_begun_when_the_adapter_comes_back() {
    let manner = Arc::new(Manner::default());
    let patient = DriveLimits {
        stall_after: Duration::from_secs(60),
        ..short()
    };
    let driving = Driving::new(vec![unit("base", &manner)], patient);
    assert!(driving.platforms.await_all(SOON));
    manner.stalls.store(true, Ordering::SeqCst);
    thread::sleep(Duration::from_millis(50));
    // The driver is in its own call: the command waits behind it, and is given up.
    assert_eq!(code(driving.command("move.hold", &[])), "adapter-stalled");
    assert_eq!(code(driving.command("move.hold", &[])), "adapter-busy");
    manner.stalls.store(false, Ordering::SeqCst);
    thread::sleep(Duration::from_millis(100));
    assert!(manner.executed.lock().unwrap().is_empty());
    driving.command("move.hold", &[]).unwrap();
}

#[test]
fn a_command_that_was_begun_and_not_answered_is_unconfirmed() {
    let manner = Arc::new(Manner::default());
    let seldom = DriveLimits {
        poll: Duration::from_secs(30),
        stall_after: Duration::from_secs(60),
        ..short()
    };
    let driving = Driving::new(vec![unit("base", &manner)], seldom);
    assert!(driving.platforms.await_all(SOON));
    thread::sleep(Duration::from_millis(20));
    manner.stalls.store(true, Ordering::SeqCst);
    let refusal = driving.command("move.hold", &[]).unwrap_err();
    manner.stalls.store(false, Ordering::SeqCst);
    assert_eq!(refusal.code(), "command-unconfirmed");
    assert!(!refusal.is_certain());
}

#[test]
fn lost_panicking_and_exchanged_adapters_take_no_commands() {
    let (driving, manner) = driving();
    manner.fails.store(true, Ordering::SeqCst);
    await_trouble(&driving.platforms, Some("adapter-lost"));
    assert_eq!(code(driving.command("move.hold", &[])), "adapter-lost");
    manner.fails.store(false, Ordering::SeqCst);
    await_trouble(&driving.platforms, None);
    manner.panics.store(true, Ordering::SeqCst);
    await_trouble(&driving.platforms, Some("adapter-panicked"));
    assert_eq!(code(driving.command("move.hold", &[])), "adapter-panicked");
    manner.panics.store(false, Ordering::SeqCst);
    await_trouble(&driving.platforms, None);
    manner.serial.store(9, Ordering::SeqCst);
    await_trouble(&driving.platforms, Some("adapter-identity-changed"));
    assert_eq!(
        code(driving.command("move.hold", &[])),
        "adapter-identity-changed"
    );
}

#[test]
fn one_that_never_described_its_platform_is_not_connected() {
    let manner = Arc::new(Manner::default());
    manner.fails.store(true, Ordering::SeqCst);
    let driving = Driving::new(vec![unit("base", &manner)], short());
    await_trouble(&driving.platforms, Some("adapter-not-connected"));
    assert_eq!(code(driving.command("move.hold", &[])), "adapter-not-connected");
}

#[test]
fn a_stalled_adapter_delays_no_stop_of_others_nor_its_own_brake() {
    let (stalled, well) = (Arc::new(Manner::default()), Arc::new(Manner::default()));
    let units = vec![unit("stalled", &stalled), unit("well", &well)];
    let driving = Driving::new(units, short());
    assert!(driving.platforms.await_all(SOON));
    stalled.stalls.store(true, Ordering::SeqCst);
    thread::sleep(Duration::from_millis(20));
    let mut called: Vec<u64> = (0..200)
        .map(|round| {
            let report = driving.stop.stop(order(round, StopScope::Robot));
            assert!(report.adapters.iter().all(|adapter| adapter.outcome.is_done()));
            report.adapters_called_ns().unwrap()
        })
        .collect();
    called.sort_unstable();
    let (p50, p99) = (called[100], called[197]);
    stalled.stalls.store(false, Ordering::SeqCst);
    assert!(p50 < 1_000_000, "the median is {p50} ns");
    assert!(p99 < 10_000_000, "p99 is {p99} ns");
    assert_eq!(well.stops.lock().unwrap().len(), 200);
    assert_eq!(stalled.stops.lock().unwrap().len(), 200);
}

#[test]
fn what_several_adapters_say_is_one_state_with_their_troubles_as_faults() {
    let (base, arm) = (Arc::new(Manner::default()), Arc::new(Manner::default()));
    arm.fails.store(true, Ordering::SeqCst);
    let (platforms, _) =
        Platforms::start(vec![unit("base", &base), unit("arm", &arm)], clock(), short()).unwrap();
    let begun = Instant::now();
    while platforms.description("base").is_none() && begun.elapsed() < SOON {
        thread::sleep(Duration::from_millis(1));
    }
    let seen = platforms.snapshot();
    assert_eq!(seen.battery_permille, 700);
    assert_eq!(seen.firmware.len(), 3);
    assert_eq!(seen.calibration.len(), 2);
    assert_eq!(seen.faults.len(), 1);
    assert_eq!(seen.faults[0].subsystem, "arm");
    assert_eq!(seen.faults[0].code, "adapter-not-connected");
    assert_eq!(seen.faults[0].severity, FaultSeverity::Critical);

    arm.fails.store(false, Ordering::SeqCst);
    assert!(platforms.await_all(SOON));
    let twice = platforms.snapshot().faults;
    assert!(
        twice.iter().all(|fault| fault.code == "adapter-part-twice"),
        "{twice:?}"
    );
}

#[test]
fn descriptions_and_telemetry_that_cannot_be_are_refused() {
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::new(NOW));
    let good = simulated(SimulatedPlan::rover(1), clock).0.describe().unwrap();
    good.check().unwrap();
    let fault = |change: fn(&mut Description)| {
        let mut changed = good.clone();
        change(&mut changed);
        changed.check().unwrap_err()
    };
    assert_eq!(fault(|d| d.capabilities.stops.clear()), DescriptionFault::NoStop);
    assert!(matches!(
        fault(|d| d.identity.serial = "é".to_owned()),
        DescriptionFault::Text { .. }
    ));
    assert!(matches!(
        fault(|d| d.inventory.firmware.push(d.inventory.firmware[0].clone())),
        DescriptionFault::Twice { .. }
    ));
    assert!(matches!(
        fault(|d| d.inventory.calibration = vec![d.inventory.calibration[0].clone(); 65]),
        DescriptionFault::TooMany { .. }
    ));
    let telemetry = |change: fn(&mut Telemetry)| {
        let mut changed = Telemetry::default();
        change(&mut changed);
        changed.check().unwrap_err()
    };
    assert!(matches!(
        telemetry(|t| t.battery_permille = 1001),
        DescriptionFault::Range { .. }
    ));
    let nowhere = Position {
        latitude_e7_deg: 900_000_001,
        longitude_e7_deg: 0,
        altitude_mm: 0,
    };
    let lost = Telemetry {
        position: Some(nowhere),
        ..Telemetry::default()
    };
    assert!(matches!(lost.check(), Err(DescriptionFault::Range { .. })));
}

type Told = (String, Option<&'static str>);
struct Recorder(Sender<Told>);

fn recorder() -> (Box<dyn AdapterEvents>, Receiver<Told>) {
    let (events, told) = channel();
    (Box::new(Recorder(events)), told)
}

impl AdapterEvents for Recorder {
    fn changed(&mut self, adapter: &str, trouble: Option<&AdapterTrouble>) {
        let _ = self
            .0
            .send((adapter.to_owned(), trouble.map(AdapterTrouble::code)));
    }
}
