//! The simulated robot as a process of its own, driven by an agent's end of the adapter socket.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_agent::adapter_socket::{AdapterSocket, LinkTimes, socket_adapter};
use alcub3_security_hal::SystemClock;
use alcub3_security_hal::platform::{AdapterTrouble, DriveLimits, PlatformUnit, Platforms, StopPlan};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use support::{alcub3, assert_error, command};

const SOON: Duration = Duration::from_secs(20);

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(socket: &AdapterSocket) -> Process {
    let mut command = command();
    command.args(["sim", "robot", "--seed", "41", "--folder"]);
    command.arg(&socket.folder).stdout(Stdio::null());
    Process(command.spawn().unwrap())
}

fn await_trouble(platforms: &Platforms, wanted: Option<&str>) {
    let begun = Instant::now();
    while platforms.troubles()[0].1.as_ref().map(AdapterTrouble::code) != wanted {
        assert!(begun.elapsed() < SOON, "{:?}", platforms.troubles());
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn the_simulated_robot_is_a_process_that_an_agent_drives_loses_and_finds_again() {
    let folder = tempfile::TempDir::new().unwrap();
    let socket = AdapterSocket::own(folder.path().join("base"));
    let (driver, brake) = socket_adapter(socket.clone(), LinkTimes::default(), None).unwrap();
    let unit = PlatformUnit {
        name: "base".to_owned(),
        driver: Box::new(driver),
        brake: Box::new(brake),
        plan: StopPlan::default(),
    };
    let clock = Arc::new(SystemClock::new());
    let (platforms, _brakes) = Platforms::start(vec![unit], clock, DriveLimits::default()).unwrap();
    let process = start(&socket);
    await_trouble(&platforms, None);
    let described = platforms.description("base").unwrap();
    assert_eq!(described.identity.serial, "SIM-00000041");
    assert_eq!(platforms.snapshot().speed_mm_per_s, 0);
    drop(process);
    await_trouble(&platforms, Some("adapter-lost"));
    let _again = start(&socket);
    await_trouble(&platforms, None);
}

#[test]
fn without_an_agent_it_says_what_is_missing() {
    let folder = tempfile::TempDir::new().unwrap();
    let missing = folder.path().to_str().unwrap().to_owned();
    let run = alcub3(["--json", "sim", "robot", "--once", "--folder", &missing]);
    assert_error(&run, 69, "adapter-session");
}
