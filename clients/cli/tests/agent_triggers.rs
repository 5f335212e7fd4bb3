//! What stops a robot that an agent holds, beside people at a command line: buttons, heartbeats that do not come, detectors.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use hmac_of_python::beat;
use std::io::Write;
use std::time::Duration;
use support::agent::{Agent, get, said};
use support::fleet::Fleet;

const SOON: Duration = Duration::from_secs(10);

/// Beats as a program makes them that shares no code with the agent.
mod hmac_of_python {
    use super::{Fleet, get, said};

    const BEAT: &str = "import hmac,sys;name,session,number=sys.argv[1:4];\
        print(hmac.new(bytes([7]*32),f'alcub3/heartbeat/v1\\0{name}\\0{session}\\0{number}'.encode(),'sha256').hexdigest())";

    pub(super) fn beat(fleet: &Fleet, number: u64) -> String {
        let answer = get(fleet, "/v1/heartbeats");
        let session = answer.split('"').nth(3).unwrap().to_owned();
        let made = std::process::Command::new("python3")
            .args(["-c", BEAT, "tablet", &session, &number.to_string()])
            .output();
        let proof = String::from_utf8(made.unwrap().stdout).unwrap();
        let body = format!("{{\"number\":{number},\"proof\":\"{}\"}}", proof.trim());
        let request = format!(
            "POST /v1/heartbeats/tablet HTTP/1.1\r\nhost: agent\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        said(fleet, "agent.sock", request.as_bytes())
    }
}

fn on_record(fleet: &Fleet, text: &str) -> bool {
    let log = std::fs::read(fleet.path().join("robot/audit.log")).unwrap();
    log.windows(text.len()).any(|window| window == text.as_bytes())
}

/// As the kernel tells of a key: two longs of time, type, code, value.
fn press(key: u16) -> Vec<u8> {
    let mut event = vec![0; 16];
    event.extend_from_slice(&1u16.to_ne_bytes());
    event.extend_from_slice(&key.to_ne_bytes());
    event.extend_from_slice(&1i32.to_ne_bytes());
    event
}

#[test]
fn a_button_stops_the_robot_and_one_that_is_lost_keeps_it_stopped() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    let made = std::process::Command::new("mkfifo")
        .arg(fleet.path().join("button"))
        .status();
    assert!(made.unwrap().success());
    let button = "[[stop.button]]\nname = \"cabinet\"\ndevice = \"button\"\nkey = 148";
    let agent = Agent::start(&fleet, button);
    let mut device = std::fs::OpenOptions::new()
        .write(true)
        .open(fleet.path().join("button"))
        .unwrap();
    agent.arm();
    device.write_all(&press(30)).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(!agent.is_stopped(), "another key");
    device.write_all(&press(148)).unwrap();
    agent.wait(SOON, "the button stops it", |agent| {
        agent.is_stopped() && agent.told() == ["MANUAL_TRIGGER"]
    });
    agent.wait(SOON, "that is on record", |agent| {
        on_record(agent.fleet, "asked for by button cabinet")
    });
    agent.arm();
    drop(device);
    agent.wait(SOON, "its loss stops it", |agent| {
        agent.is_stopped() && agent.told().last().unwrap() == "SYSTEM_FAILURE"
    });
    agent.wait(SOON, "that is on record", |agent| {
        on_record(agent.fleet, "the loss of button cabinet")
    });
}

#[test]
fn a_heartbeat_that_is_silent_stops_the_robot_and_no_old_one_counts_for_it() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    std::fs::write(fleet.path().join("tablet.key"), "07".repeat(32)).unwrap();
    let heartbeat = "[[stop.heartbeat]]\nname = \"tablet\"\nkey-file = \"tablet.key\"\nwithin-ms = 3000";
    let agent = Agent::start(&fleet, heartbeat);
    let first = beat(&fleet, 1);
    assert!(first.contains("\"taken\":true"), "{first}");
    assert!(beat(&fleet, 1).starts_with("HTTP/1.1 403 "), "it counts once");
    agent.arm();
    // It comes for longer than it may be silent.
    for number in 2..10 {
        std::thread::sleep(Duration::from_millis(600));
        assert!(beat(&fleet, number).contains("\"taken\":true"));
    }
    assert!(!agent.is_stopped());
    agent.wait(SOON, "its silence stops it", |agent| {
        agent.is_stopped() && agent.told() == ["SYSTEM_FAILURE"]
    });
    agent.wait(SOON, "that is on record", |agent| {
        on_record(agent.fleet, "the silence of heartbeat tablet")
    });
}

/// Whatever a detector sends, it stops.
#[test]
fn an_intrusion_detectors_webhook_stops_the_robot_whatever_its_body_is() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    let agent = Agent::start(&fleet, "");
    let long = format!("{{\"alert\":\"{}\"}}", "x".repeat(2 << 20));
    let bodies = [
        (
            "falco",
            "{\"rule\":\"Terminal shell in container\",\"priority\":\"Critical\"}",
        ),
        ("suricata", "not json"),
        ("falco?cause=no-such", ""),
        ("falco", long.as_str()),
    ];
    for (at, (source, body)) in bodies.iter().enumerate() {
        agent.arm();
        let request = format!(
            "POST /v1/stop/by/{source} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut detector = std::os::unix::net::UnixStream::connect(fleet.path().join("agent.sock")).unwrap();
        // The agent may answer, and close, before it has read all of a body that is too long.
        let _ = detector.write_all(request.as_bytes());
        agent.wait(SOON, "a detector stops it", |agent| agent.told().len() == at + 1);
        assert_eq!(agent.told()[at], "NETWORK_INTRUSION");
        assert!(agent.is_stopped());
    }
    agent.wait(SOON, "that is on record", |agent| {
        on_record(agent.fleet, "asked for by falco (user ")
    });
    agent.arm();
    let other = b"POST /v1/stop/by/gate?cause=unauthorized-access HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n";
    let told = said(&fleet, "agent.sock", other);
    assert!(told.contains("\"complete\":true"), "{told}");
    assert_eq!(agent.told().last().unwrap(), "UNAUTHORIZED_ACCESS");
    // A plain stop is as deaf to what comes with it.
    agent.arm();
    let request = format!(
        "POST /v1/stop HTTP/1.1\r\nhost: agent\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{long}",
        long.len()
    );
    let mut caller = std::os::unix::net::UnixStream::connect(fleet.path().join("agent.sock")).unwrap();
    let _ = caller.write_all(request.as_bytes());
    agent.wait(SOON, "a stop with a long body", |agent| {
        agent.told().len() == bodies.len() + 2
    });
}
