//! The agent as a service: the real binary holds a robot, and the command line speaks with it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::agent::{Agent, get, said, spawned};
use support::assert_error;
use support::fleet::Fleet;

/// The words by which the shipped unit starts the agent, its environment's settings, and how it is told of.
fn unit() -> std::collections::BTreeMap<String, String> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../robot/agent/alcub3-agent.service"
    );
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.into(), value.into()))
        .collect()
}

#[test]
fn the_agent_attests_runs_a_mission_stops_and_stays_stopped_over_a_kill() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    let mut agent = Agent::start(&fleet, "");
    agent.arm();
    let mission = agent.mission();
    let id = mission["mission"].as_str().unwrap();
    assert_eq!(
        agent.yes(&format!("mission show {id}"))["issuers"][0]["operator"],
        "carol"
    );
    assert_eq!(agent.yes("mission list")["missions"].as_array().unwrap().len(), 1);
    fleet.sign(&mission, 1, 500, "one.cose");
    assert_eq!(agent.yes("command validate one.cose")["admitted"], true);
    let again = agent.no("command validate one.cose");
    assert!(
        again["reasons"][0].as_str().unwrap().starts_with("replay-used"),
        "{again}"
    );
    fleet.sign(&mission, 2, 500, "two.cose");
    let stopped = agent.yes("estop --reason network-intrusion --receipt receipt.cbor");
    assert_eq!(
        (&stopped["complete"], &stopped["scope"]),
        (&true.into(), &"robot".into())
    );
    let stops = std::fs::read_to_string(fleet.path().join("stops")).unwrap();
    assert_eq!(stops, "NETWORK_INTRUSION\n");
    for _ in 0..2 {
        assert_eq!(agent.no("command validate two.cose")["admitted"], false);
        agent.kill_and_start();
        assert!(get(&fleet, "/v1/robot").contains("\"stopped\":true"));
    }
    // Two persons and a fresh attestation; the mission of before is gone.
    agent.arm();
    assert_eq!(agent.no("command validate two.cose")["admitted"], false);
    let mission = agent.mission();
    // A process that was killed leaves no word of which numbers it used: they count from those that it had reserved.
    // One far beyond them is refused, and that is on record.
    fleet.sign(&mission, 1_000_000, 500, "far.cose");
    let far = agent.no("command validate far.cose");
    assert!(
        far["reasons"][0]
            .as_str()
            .unwrap()
            .starts_with("replay-not-reserved"),
        "{far}"
    );
    fleet.sign(&mission, 66_000, 500, "three.cose");
    assert_eq!(agent.yes("command validate three.cose")["admitted"], true);
    let completed = format!("mission complete {}", mission["mission"].as_str().unwrap());
    assert_eq!(agent.yes(&completed)["completed"], true);
    assert!(agent.end() < Duration::from_secs(5));
    for socket in ["agent.sock", "stop.sock"] {
        assert!(!fleet.path().join(socket).exists(), "{socket} is left behind");
    }
    // What the agent held, the command line may open again; numbers go on where they ended.
    assert_eq!(fleet.yes("identity show")["stopped"], false);
}

#[test]
fn started_as_the_unit_starts_it_the_agent_says_that_it_is_ready_lives_reloads_and_ends() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    drop(Agent::start(&fleet, "uids = []"));
    let unit = unit();
    let told = UnixDatagram::bind(fleet.path().join("notify")).unwrap();
    told.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let hear = || {
        let mut message = [0; 256];
        let count = told.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..count]).trim().to_owned()
    };
    let words = unit["ExecStart"].replace("/etc/alcub3/agent.toml", "agent.toml");
    let (_, arguments) = words.split_once(' ').unwrap();
    let binary = env!("CARGO_BIN_EXE_alcub3");
    // As the service manager does: without new privileges, and told which process is watched.
    let script = format!(
        "export WATCHDOG_PID=$$; exec setpriv --no-new-privs --bounding-set=-all -- {binary} {arguments}"
    );
    let process = std::process::Command::new("sh")
        .args(["-c", &script])
        .env("NOTIFY_SOCKET", fleet.path().join("notify"))
        .env("WATCHDOG_USEC", "400000")
        .current_dir(fleet.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut agent = Agent {
        fleet: &fleet,
        process,
    };
    assert_eq!((hear().as_str(), unit["Type"].as_str()), ("READY=1", "notify"));
    assert_eq!(hear(), "WATCHDOG=1");
    assert_eq!(hear(), "WATCHDOG=1");
    // Who may use the interface is read again at SIGHUP; a wrong file changes nothing.
    let pid = agent.process.id().to_string();
    let signal = |name: &str| {
        let sent = std::process::Command::new("kill").args([name, &pid]).status();
        assert!(sent.unwrap().success());
    };
    assert!(unit["ExecReload"].contains("-HUP"));
    std::fs::write(fleet.path().join("agent.toml"), "nonsense").unwrap();
    signal("-HUP");
    assert_eq!(hear(), "WATCHDOG=1");
    assert!(get(&fleet, "/healthz").ends_with("{\"healthy\":true}"));
    signal("-TERM");
    while hear() != "STOPPING=1" {}
    assert!(agent.process.wait().unwrap().success());
}

#[test]
fn a_chip_that_starts_anew_ends_the_agent_and_the_next_is_trusted_again() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    let mut agent = Agent::start(&fleet, "[every]\ncheck-tpm-s = 1");
    agent.arm();
    agent.yes("attest");
    fleet
        .robot_swtpm
        .power_cycle(alcub3_testkit::PowerUp::Clear)
        .unwrap();
    let since = Instant::now();
    let ended = loop {
        if let Some(status) = agent.process.try_wait().unwrap() {
            break status;
        }
        assert!(since.elapsed() < Duration::from_secs(20), "the agent goes on");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(!ended.success(), "the service manager starts what failed");
    let log = std::fs::read_to_string(fleet.path().join("agent.log")).unwrap();
    assert!(log.contains("was started anew"), "{log}");
    fleet.boot();
    agent.process = spawned(&fleet);
    agent.wait_until_it_serves();
    assert_eq!(agent.yes("attest")["trusted"], true);
}

#[test]
fn the_shipped_unit_gives_the_agent_no_more_than_it_needs() {
    let unit = unit();
    for (key, value) in [
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateNetwork", "yes"),
        ("DevicePolicy", "closed"),
        ("DeviceAllow", "/dev/tpmrm0 rw"),
        ("RestrictAddressFamilies", "AF_UNIX"),
        ("LimitMEMLOCK", "infinity"),
        ("LimitCORE", "0"),
        ("Restart", "always"),
        ("WatchdogSec", "20"),
    ] {
        assert_eq!(unit[key], value, "{key}");
    }
}

#[test]
fn anyone_stops_the_robot_by_its_socket_however_many_are_silent_on_it() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    let agent = Agent::start(&fleet, "");
    agent.arm();
    let silent: Vec<UnixStream> = (0..200)
        .map(|_| UnixStream::connect(fleet.path().join("stop.sock")).unwrap())
        .collect();
    assert!(said(&fleet, "stop.sock", b"GET / HTTP/1.1\r\n\r\n").starts_with("error: "));
    assert!(get(&fleet, "/v1/robot").contains("\"stopped\":false"));
    let since = Instant::now();
    let answer = said(&fleet, "stop.sock", b"stop safety-violation\n");
    assert!(
        answer.starts_with("stopped ") && answer.contains("every step"),
        "{answer}"
    );
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    assert!(get(&fleet, "/v1/robot").contains("\"stopped\":true"));
    drop(silent);
}

#[test]
fn the_interface_says_how_the_robot_is_and_what_is_wrong_with_a_request() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    let agent = Agent::start(&fleet, "uids = [4242]");
    assert!(get(&fleet, "/healthz").ends_with("{\"healthy\":true}"));
    agent.arm();
    agent.yes("attest");
    let metrics = get(&fleet, "/metrics");
    for line in [
        "alcub3_stopped 0",
        "alcub3_tpm_answers 1",
        "alcub3_evidence_total 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    for (request, status, code) in [
        ("GET /v1/nothing HTTP/1.1", "404", "not-found"),
        ("PUT /v1/robot HTTP/1.1", "405", "method-not-allowed"),
        ("POST /v1/evidence HTTP/1.1", "422", "malformed-message"),
        ("POST /v1/lease HTTP/1.1", "422", "lease"),
        (
            "POST /v1/missions/approvals?session=00000000000000000000000000000000 HTTP/1.1",
            "409",
            "not-asked",
        ),
        (
            "GET /v1/stops/00000000000000000000000000000000/receipt HTTP/1.1",
            "404",
            "no-receipt",
        ),
    ] {
        let text = format!("{request}\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        let answer = said(&fleet, "agent.sock", text.as_bytes());
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{request}: {answer}"
        );
        assert!(
            answer.contains(&format!("\"error\":\"{code}")),
            "{request}: {answer}"
        );
    }
    // A second agent, and the command line itself, find the robot held.
    let second = fleet.run("--json agent --config agent.toml");
    assert_ne!(second.code, 0);
    assert_error(
        &fleet.run("--json --agent nowhere.sock mission list"),
        69,
        "agent-absent",
    );
    let given = fleet.run("--json --agent agent.sock attest --eventlog boot.log");
    assert_error(&given, 2, "usage");
}

#[test]
fn a_configuration_with_an_unknown_key_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    for (text, names) in [
        ("stat = \"x\"", "unknown field `stat`"),
        ("[api]\nsockets = \"x\"", "unknown field `sockets`"),
        ("[every]\nsweep-keys-s = 0", "every.sweep-keys-s is 0"),
        (
            "[api]\nsocket = \"/a\"\n[stop]\nsocket = \"/a\"",
            "api.socket and stop.socket",
        ),
        ("tpm = \"abacus\"", "tpm"),
        ("[[stop.program]]\nname = \"b\"\nprogram = \"brake\"", "absolute"),
    ] {
        std::fs::write(&path, text).unwrap();
        let run = support::alcub3(["--json", "agent", "--check", "--config", path.to_str().unwrap()]);
        assert_error(&run, 70, "bad-configuration");
        assert!(run.stdout.contains(names), "{text}: {}", run.stdout);
    }
    std::fs::write(&path, "").unwrap();
    let run = support::alcub3(["--json", "agent", "--check", "--config", path.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}", run.stdout);
}

#[test]
fn a_running_mission_is_extended_suspended_resumed_and_handed_over_through_the_agent() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    fleet.yes("authority operator key dora.key");
    fleet.yes("authority operator add dora --role commander --key dora.key.pub --level SECRET --integrity operational");
    let agent = Agent::start(&fleet, "");
    agent.arm();
    let mission = agent.mission();
    let (id, lease) = (
        mission["mission"].as_str().unwrap(),
        mission["lease"].as_str().unwrap(),
    );
    let approve = "--approve alice=alice.key --approve bob=bob.key";
    let longer = agent.yes(&format!("mission extend {id} --duration-s 1200 {approve}"));
    let later = longer["not_after_ms"].as_u64().unwrap() - mission["not_after_ms"].as_u64().unwrap();
    assert_eq!(later, 600_000);
    let alone = fleet.run(&format!(
        "--json --agent agent.sock mission hand-over {id} --to dora=mission.*,move.* --approve alice=alice.key"
    ));
    assert_error(&alone, 1, "too-few-votes");
    let handed = agent.yes(&format!(
        "mission hand-over {id} --to dora=mission.*,move.* {approve}"
    ));
    assert_eq!(handed["issuers"].as_array().unwrap().len(), 1);
    assert_eq!(handed["issuers"][0]["operator"], "dora");
    fleet.sign(&mission, 1, 500, "carols.cose");
    let carols = agent.no("command validate carols.cose");
    assert_eq!(carols["codes"][0], "issuer-unknown");
    let order = |name: &str, sequence: u64| {
        fleet.yes(&format!(
            "command sign {name} --robot r1 --mission {id} --lease {lease} --issuer dora --key dora.key --sequence {sequence} \
             --level SECRET --out dora.cose"
        ));
    };
    order("mission.suspend", 1);
    assert_eq!(agent.yes("command validate dora.cose")["admitted"], true);
    assert_eq!(agent.yes(&format!("mission show {id}"))["suspended"], true);
    order("move.hold", 2);
    let refused = agent.no("command validate dora.cose");
    assert_eq!(refused["codes"][0], "mission-suspended");
    order("mission.resume", 3);
    assert_eq!(agent.yes("command validate dora.cose")["admitted"], true);
    order("move.hold", 4);
    assert_eq!(agent.yes("command validate dora.cose")["admitted"], true);
}

/// Who carries messages between the robot and its authority carries the heads of its log as well.
#[test]
fn heads_of_the_audit_log_leave_through_the_agent_and_the_authority_follows_them() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    let agent = Agent::start(&fleet, "");
    agent.arm();
    let first = agent.yes("audit checkpoint --report report");
    fleet.yes("authority checkpoint report");
    agent.mission();
    let held = first["size"].as_u64().unwrap();
    // Soon after one no other is made: each counts up in the chip.
    let again = agent.yes(&format!("audit checkpoint --report report --held {held}"));
    assert_eq!(again["size"], first["size"]);
    std::thread::sleep(Duration::from_secs(10));
    let further = agent.yes(&format!("audit checkpoint --report report --held {held}"));
    assert!(further["size"].as_u64().unwrap() > held);
    let taken = fleet.yes("authority checkpoint report");
    assert_eq!(taken["size"], further["size"], "{taken}");
    let wrong = said(
        &fleet,
        "agent.sock",
        b"POST /v1/audit/report HTTP/1.1\r\nhost: agent\r\nconnection: close\r\ncontent-length: 9\r\n\r\n{\"had\":1}",
    );
    assert!(wrong.starts_with("HTTP/1.1 400 "), "{wrong}");
}
