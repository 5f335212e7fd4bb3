//! Stopping a robot that an agent holds, whatever else is going on: the real binary, its sockets and its stop program.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::agent::{Agent, said};
use support::fleet::Fleet;
use support::slow_tpm::SlowTpm;

const SOON: Duration = Duration::from_secs(10);

/// A stop takes the machine's program and two TPM commands; the rest is this machine's being busy with other tests.
const AT_ONCE: Duration = Duration::from_secs(2);

#[test]
fn a_stop_without_a_named_agent_reaches_the_one_that_holds_the_robot() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    let agent = Agent::start(&fleet, "");
    agent.arm();
    let stopped = fleet.yes("estop --reason safety-violation");
    assert_eq!(
        (&stopped["complete"], &stopped["agent"]),
        (&true.into(), &true.into())
    );
    assert!(agent.is_stopped());
    assert_eq!(agent.told(), ["SAFETY_VIOLATION"]);
    // One that was killed leaves its socket's name behind, and the robot to whoever opens it.
    drop(agent);
    let stopped = fleet.yes("estop");
    assert_eq!(
        (&stopped["complete"], &stopped["agent"]),
        (&true.into(), &().into())
    );
}

#[test]
fn a_stop_that_somebody_made_in_the_tpm_alone_closes_the_gate_and_stops_the_machine() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    let agent = Agent::start(&fleet, "[every]\ncheck-tpm-s = 1");
    agent.arm();
    thread::sleep(Duration::from_millis(1500));
    assert!(!agent.is_stopped(), "a rearm is no stop");
    std::fs::remove_file(fleet.path().join("robot/stop-socket")).unwrap();
    let alone = fleet.no("estop");
    assert_eq!(alone["direct"], true);
    agent.wait(SOON, "the agent follows", |agent| {
        agent.is_stopped() && agent.told() == ["MANUAL_TRIGGER"]
    });
    agent.arm();
    assert!(!agent.is_stopped());
}

/// Its queue of callers is full, and nobody takes them in.
#[test]
fn an_agent_that_stands_still_delays_no_stop_in_the_tpm() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    let agent = Agent::start(&fleet, "");
    agent.arm();
    agent.signal("STOP");
    let path = fleet.path().join("stop.sock");
    for _ in 0..300 {
        let path = path.clone();
        thread::spawn(move || {
            let caller = UnixStream::connect(path);
            thread::sleep(Duration::from_secs(20));
            drop(caller);
        });
    }
    thread::sleep(Duration::from_millis(300));
    let since = Instant::now();
    let alone = fleet.no("estop");
    assert_eq!(alone["direct"], true, "{alone}");
    assert!(since.elapsed() < Duration::from_secs(6), "{:?}", since.elapsed());
    // Once it goes on it hears those who waited, and follows the stop.
    agent.signal("CONT");
    agent.wait(Duration::from_secs(20), "the agent follows", Agent::is_stopped);
}

/// Callers of another user who say nothing, as fast as they can.
const FLOOD: &str = "import socket,sys,collections
held=collections.deque()
while True:
    try:
        s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); held.append(s)
    except OSError: pass
    if len(held)>200: held.popleft().close()";

struct Flood(std::process::Child);

impl Flood {
    fn start(socket: &std::path::Path) -> Self {
        let flood = std::process::Command::new("setpriv")
            .args(["--reuid=65534", "--clear-groups", "python3", "-c", FLOOD])
            .arg(socket)
            .spawn();
        Self(flood.unwrap())
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Callers who say nothing come as fast as they can, before, beside and after each of those who stop the robot: of his own user, and
/// where this test may have one, of another.
#[test]
fn a_flood_of_silent_callers_pushes_nobody_out_who_speaks() {
    use std::os::unix::fs::PermissionsExt;
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    let agent = Agent::start(&fleet, "");
    agent.arm();
    std::fs::set_permissions(fleet.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (path, over) = (fleet.path().join("stop.sock"), AtomicBool::new(false));
    let id = std::process::Command::new("id").arg("-u").output().unwrap();
    let is_root = id.stdout == b"0\n";
    let flood = is_root.then(|| [Flood::start(&path), Flood::start(&path)]);
    thread::scope(|threads| {
        if !is_root {
            threads.spawn(|| {
                let mut held = std::collections::VecDeque::new();
                while !over.load(Ordering::SeqCst) {
                    held.extend(UnixStream::connect(&path));
                    if held.len() > 100 {
                        held.pop_front();
                    }
                }
            });
        }
        for stop in 0..20 {
            let since = Instant::now();
            let mut caller = UnixStream::connect(&path).unwrap();
            if is_root && stop % 2 == 1 {
                // Who is slow with his word, but not silent for long, is heard as well.
                thread::sleep(Duration::from_millis(50));
            }
            let _ = caller.write_all(b"stop\n");
            agent.wait(AT_ONCE, "a stop in a flood", |agent| agent.told().len() > stop);
            assert!(since.elapsed() < AT_ONCE, "{stop}: {:?}", since.elapsed());
        }
        over.store(true, Ordering::SeqCst);
    });
    drop(flood);
    assert!(agent.is_stopped());
}

/// What connections of the interface hold are descriptors of the process, and so are the pipes of its stop programs.
#[test]
fn connections_that_say_nothing_take_no_stop_away() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    let agent = Agent::start(&fleet, "");
    agent.arm();
    let pid = agent.process.id().to_string();
    let limited = std::process::Command::new("prlimit")
        .args(["--pid", &pid, "--nofile=256:256"])
        .status();
    assert!(limited.unwrap().success());
    let idle: Vec<UnixStream> = (0..600)
        .filter_map(|_| UnixStream::connect(fleet.path().join("agent.sock")).ok())
        .collect();
    assert!(idle.len() > 200);
    let answer = said(&fleet, "stop.sock", b"stop\n");
    assert!(answer.contains("every step is confirmed"), "{answer}");
    assert_eq!(agent.told(), ["MANUAL_TRIGGER"]);
}

/// All that the interface may have at work waits for a TPM that says nothing. The machine is stopped all the same.
#[test]
fn a_stop_over_the_interface_waits_for_no_other_request_and_the_stop_socket_goes_last() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    let tpm = SlowTpm::before(fleet.robot.path(), fleet.path().join("slow.sock"));
    let mut agent = Agent::begin(&fleet, &tpm.spec(), "");
    agent.wait_until_it_serves();
    agent.arm();
    tpm.set_silent(true);
    let asked: Vec<UnixStream> = (0..32)
        .map(|_| {
            let mut caller = UnixStream::connect(fleet.path().join("agent.sock")).unwrap();
            let request = b"POST /v1/rearm/requests HTTP/1.1\r\nhost: agent\r\ncontent-type: application/json\r\n\
                            content-length: 66\r\n\r\n{\"session\":\"00000000000000000000000000000000\",\"levels\":[\"SECRET\"] }";
            caller.write_all(request).unwrap();
            caller
        })
        .collect();
    thread::sleep(Duration::from_millis(500));
    let mut caller = UnixStream::connect(fleet.path().join("agent.sock")).unwrap();
    caller
        .write_all(b"POST /v1/stop HTTP/1.1\r\nhost: agent\r\ncontent-length: 0\r\n\r\n")
        .unwrap();
    agent.wait(AT_ONCE, "a stop beside slow work", |agent| {
        agent.told().len() == 1
    });
    // It is told to end, and cannot yet: whoever asks for a stop is still heard.
    agent.signal("TERM");
    thread::sleep(Duration::from_secs(1));
    let mut late = UnixStream::connect(fleet.path().join("stop.sock")).unwrap();
    late.write_all(b"stop network-intrusion\n").unwrap();
    tpm.set_silent(false);
    agent.wait(SOON, "a stop while it ends", |agent| agent.told().len() == 2);
    drop(asked);
    let since = Instant::now();
    while agent.process.try_wait().unwrap().is_none() {
        assert!(since.elapsed() < Duration::from_secs(25), "it does not end");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A TPM may take its time. The machine is stopped at once, and the robot in its TPM as soon as it is open.
#[test]
fn a_stop_before_the_robot_is_open_brakes_the_machine_and_is_completed_then() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    fleet.armed();
    let tpm = SlowTpm::before(fleet.robot.path(), fleet.path().join("slow.sock"));
    tpm.set_silent(true);
    let mut agent = Agent::begin(&fleet, &tpm.spec(), "");
    agent.wait(SOON, "the stop socket is there", |agent| {
        UnixStream::connect(agent.fleet.path().join("stop.sock")).is_ok()
    });
    let since = Instant::now();
    let answer = said(&fleet, "stop.sock", b"stop safety-violation\n");
    assert!(answer.starts_with("braked: 1 of 1 "), "{answer}");
    assert!(since.elapsed() < AT_ONCE);
    assert_eq!(agent.told(), ["SAFETY_VIOLATION"]);
    // Killed before it could be completed: the next agent does.
    agent.process.kill().unwrap();
    agent.process.wait().unwrap();
    tpm.set_silent(false);
    let agent = Agent::start(&fleet, "");
    assert!(agent.is_stopped());
    assert_eq!(agent.told(), ["SAFETY_VIOLATION", "SAFETY_VIOLATION"]);
    let receipts = support::agent::get(&fleet, "/v1/stops");
    assert!(receipts.contains("\"receipts\":[\""), "{receipts}");
    agent.arm();
    assert!(
        !agent.is_stopped(),
        "it was completed, and is not asked for again"
    );
}
