//! Adapters out of process: who is let in, what ends a session, and that a stop reaches the platform whatever else goes on.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

#[path = "../../security-hal/tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use alcub3_agent::adapter_socket::{
    AdapterClient, AdapterSocket, AlarmSink, EndpointError, LinkTimes, socket_adapter,
};
use alcub3_security_hal::adapter_link::{
    AdapterHandshake, Channel, FrameReader, LinkKey, ToAdapter, ToAgent, frame, parse, to_bytes,
};
use alcub3_security_hal::platform::{
    AdapterTrouble, DriveLimits, PlatformBrake, PlatformDriver, PlatformStop, PlatformUnit, StopLevel,
    StopPlan,
};
use alcub3_security_hal::simulated::{SimulatedDriver, SimulatedPlan, simulated};
use alcub3_security_hal::{Clock, PortError, StopScope, SystemClock};
use serde_json::json;
use support::drive::Driving;
use support::order;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(10);

fn limits() -> DriveLimits {
    DriveLimits {
        poll: Duration::from_millis(10),
        ..DriveLimits::default()
    }
}

/// An agent that waits for one adapter.
struct Agent {
    _folder: Arc<TempDir>,
    socket: AdapterSocket,
    driving: Driving,
    alarms: Receiver<(String, String)>,
}

impl Agent {
    fn waiting() -> Self {
        Self::waiting_in(Arc::new(TempDir::new().unwrap()))
    }

    fn waiting_in(folder: Arc<TempDir>) -> Self {
        let socket = AdapterSocket::own(folder.path().join("base"));
        let (alarm, alarms) = channel();
        let alarm = Mutex::new(alarm);
        let sink: AlarmSink = Box::new(move |code, text| {
            let _ = alarm.lock().unwrap().send((code.to_owned(), text.to_owned()));
        });
        let (driver, brake) = socket_adapter(socket.clone(), LinkTimes::default(), Some(sink)).unwrap();
        let unit = PlatformUnit {
            name: "base".to_owned(),
            driver: Box::new(driver),
            brake: Box::new(brake),
            plan: StopPlan::default(),
        };
        Self {
            _folder: folder,
            socket,
            driving: Driving::new(vec![unit], limits()),
            alarms,
        }
    }

    fn await_trouble(&self, wanted: Option<&str>) -> Option<AdapterTrouble> {
        let begun = Instant::now();
        loop {
            let found = self.driving.platforms.troubles().remove(0).1;
            if found.as_ref().map(AdapterTrouble::code) == wanted {
                return found;
            }
            assert!(begun.elapsed() < SOON, "{found:?} instead of {wanted:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn key(&self) -> LinkKey {
        let begun = Instant::now();
        loop {
            let text = fs::read_to_string(self.socket.key_path()).unwrap_or_default();
            if let Some(key) = LinkKey::from_text(&text)
                && self.socket.socket_path().exists()
            {
                return key;
            }
            assert!(begun.elapsed() < SOON, "no key");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn connect(&self) -> Raw {
        let begun = Instant::now();
        loop {
            if let Ok(stream) = UnixStream::connect(self.socket.socket_path()) {
                stream.set_read_timeout(Some(SOON)).unwrap();
                return Raw {
                    stream,
                    reader: FrameReader::new(),
                };
            }
            assert!(begun.elapsed() < SOON, "nobody listens");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// An adapter in the hands of the test, described and well.
    fn raw_adapter(&self) -> RawAdapter {
        let key = self.key();
        let mut drive = self.connect();
        let session = drive.prove(&key, Channel::Drive, "").unwrap();
        let mut stop = self.connect();
        stop.prove(&key, Channel::Stop, &session).unwrap();
        let (mut driver, _) = simulated_robot();
        drive.send(&ToAgent::describe(&driver.describe().unwrap()));
        drive.send(&ToAgent::telemetry(&driver.observe().unwrap()));
        self.await_trouble(None);
        RawAdapter { drive, stop, driver }
    }
}

/// A connection in the hands of the test.
struct Raw {
    stream: UnixStream,
    reader: FrameReader,
}

struct RawAdapter {
    drive: Raw,
    stop: Raw,
    driver: SimulatedDriver,
}

impl RawAdapter {
    /// Lives on two threads, answering nothing, until the value that is given is dropped or the agent ends the session.
    fn live(&self) -> Arc<AtomicBool> {
        let alive = Arc::new(AtomicBool::new(true));
        for raw in [&self.drive, &self.stop] {
            let (mut stream, alive) = (raw.stream.try_clone().unwrap(), alive.clone());
            thread::spawn(move || {
                let beat = frame(&to_bytes(&ToAgent::Beat { count: 0 }));
                while alive.load(Ordering::SeqCst) && stream.write_all(&beat).is_ok() {
                    thread::sleep(Duration::from_millis(50));
                }
            });
        }
        alive
    }
}

impl Raw {
    fn send(&mut self, message: &ToAgent) {
        self.send_bytes(&to_bytes(message));
    }

    fn send_bytes(&mut self, message: &[u8]) {
        // The agent may have ended the connection already: then it is read why.
        let _ = self.stream.write_all(&frame(message));
    }

    /// The next message but beats; none where the connection is closed.
    fn receive(&mut self) -> Option<ToAdapter> {
        let mut piece = [0; 4096];
        loop {
            while let Some(message) = self.reader.next_frame().unwrap() {
                match parse::<ToAdapter>(&message).unwrap() {
                    ToAdapter::Beat { .. } => {}
                    other => return Some(other),
                }
            }
            match self.stream.read(&mut piece) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.reader.push(&piece[..count]),
            }
        }
    }

    /// The code with which the agent ends the connection.
    fn refusal(&mut self) -> String {
        match self.receive() {
            Some(ToAdapter::Refused { code, text }) => {
                assert!(!text.is_empty());
                assert_eq!(self.receive(), None, "told, and then closed");
                code
            }
            other => panic!("no refusal: {other:?}"),
        }
    }

    fn prove(&mut self, key: &LinkKey, channel: Channel, session: &str) -> Result<String, String> {
        let (end, hello) = AdapterHandshake::begin(key, channel, session, [3; 32]);
        self.send(&hello);
        let challenge = match self.receive().unwrap() {
            ToAdapter::Refused { code, .. } => return Err(code),
            challenge => challenge,
        };
        let (proof, _) = end
            .on_challenge(&to_bytes(&challenge))
            .map_err(|refusal| refusal.code().to_owned())?;
        self.send(&proof);
        match self.receive().unwrap() {
            ToAdapter::Welcome { session, .. } => Ok(session),
            ToAdapter::Refused { code, .. } => Err(code),
            other => panic!("no welcome: {other:?}"),
        }
    }
}

fn simulated_robot() -> (SimulatedDriver, alcub3_security_hal::simulated::SimulatedBrake) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    simulated(SimulatedPlan::rover(7), clock)
}

/// A brake that says when it was called.
struct Telling<B> {
    brake: B,
    called: Arc<AtomicU64>,
    begun: Instant,
}

impl<B: PlatformBrake> PlatformBrake for Telling<B> {
    fn stop(&mut self, stop: &PlatformStop) -> Result<(), PortError> {
        let now_ns = u64::try_from(self.begun.elapsed().as_nanos()).unwrap();
        self.called.store(now_ns, Ordering::SeqCst);
        self.brake.stop(stop)
    }
}

/// The simulated robot behind the socket, on a thread, for some sessions; when its brake was called last.
fn simulated_client(agent: &Agent, sessions: usize) -> (Arc<AtomicU64>, Instant) {
    agent.key();
    let (called, begun) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let (driver, brake) = simulated_robot();
    let brake = Telling {
        brake,
        called: called.clone(),
        begun,
    };
    let (socket, key) = (agent.socket.socket_path(), agent.socket.key_path());
    thread::spawn(move || {
        let mut client = AdapterClient::new(&socket, &key, driver, brake);
        for _ in 0..sessions {
            let ended = client.serve();
            println!("client: {ended}");
            thread::sleep(Duration::from_millis(20));
        }
    });
    (called, begun)
}

fn east(agent: &Agent) -> Result<(), &'static str> {
    let arguments = [("velocity_x_mm_per_s", 1_000)];
    let done = agent.driving.command("move.velocity", &arguments);
    done.map_err(|refusal| refusal.code())
}

fn await_speed(agent: &Agent, wanted: impl Fn(u32) -> bool) {
    let begun = Instant::now();
    while !wanted(agent.driving.platforms.snapshot().speed_mm_per_s) {
        assert!(begun.elapsed() < SOON, "{:?}", agent.driving.platforms.snapshot());
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn the_simulated_robot_is_driven_stopped_and_driven_again_over_the_socket() {
    let agent = Agent::waiting();
    assert_eq!(east(&agent), Err("adapter-not-connected"));
    simulated_client(&agent, 1);
    agent.await_trouble(None);
    let described = agent.driving.platforms.description("base").unwrap();
    assert_eq!(described.identity.serial, "SIM-00000007");
    assert_eq!(described.inventory.parts.len(), 2);
    east(&agent).unwrap();
    await_speed(&agent, |speed| speed == 1_000);
    let report = agent.driving.stop.stop(order(1, StopScope::Robot));
    assert!(report.adapters.iter().all(|adapter| adapter.outcome.is_done()));
    await_speed(&agent, |speed| speed == 0);
    agent.driving.go();
    east(&agent).unwrap();
    await_speed(&agent, |speed| speed == 1_000);
    let beyond = agent
        .driving
        .command("move.velocity", &[("velocity_x_mm_per_s", 2_001)]);
    assert_eq!(beyond.unwrap_err().code(), "platform-limit");
}

#[test]
fn folder_socket_and_key_are_the_agents_alone_and_gone_while_a_session_lasts() {
    let agent = Agent::waiting();
    agent.key();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&agent.socket.folder), 0o700);
    assert_eq!(mode(&agent.socket.key_path()), 0o600);
    assert_eq!(mode(&agent.socket.socket_path()), 0o600);
    let first = fs::read(agent.socket.key_path()).unwrap();
    let adapter = agent.raw_adapter();
    assert!(!agent.socket.key_path().exists());
    assert!(!agent.socket.socket_path().exists());
    drop(adapter);
    agent.await_trouble(Some("adapter-lost"));
    agent.key();
    assert_ne!(
        fs::read(agent.socket.key_path()).unwrap(),
        first,
        "each session has its own"
    );
}

#[test]
fn a_folder_that_others_may_enter_or_own_is_refused() {
    let folder = TempDir::new().unwrap();
    let open = folder.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
    let start = |path: &Path| socket_adapter(AdapterSocket::own(path), LinkTimes::default(), None).err();
    assert!(matches!(
        start(&open),
        Some(EndpointError::Open { mode: 0o755, .. })
    ));
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path(), &link).unwrap();
    assert!(matches!(start(&link), Some(EndpointError::NotOurs(_))));
}

#[test]
fn a_peer_of_another_user_is_told_and_turned_away() {
    let folder = TempDir::new().unwrap();
    let own = fs::metadata(folder.path()).unwrap().uid();
    let socket = AdapterSocket {
        user: Some(own + 1),
        ..AdapterSocket::own(folder.path().join("base"))
    };
    let _halves = socket_adapter(socket.clone(), LinkTimes::default(), None).unwrap();
    let stream = UnixStream::connect(socket.socket_path()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut raw = Raw {
        stream,
        reader: FrameReader::new(),
    };
    assert_eq!(raw.refusal(), "peer-user");
}

#[test]
fn who_does_not_hold_the_key_or_says_something_else_is_told_and_turned_away() {
    let agent = Agent::waiting();
    let wrong = LinkKey::from_text(&"11".repeat(32)).unwrap();
    // An adapter with another key sees that this is not its agent; one that goes on regardless is turned away.
    assert_eq!(
        agent.connect().prove(&wrong, Channel::Drive, ""),
        Err("not-authentic".to_owned())
    );
    let mut forger = agent.connect();
    forger.send(&AdapterHandshake::begin(&wrong, Channel::Drive, "", [3; 32]).1);
    assert!(matches!(forger.receive(), Some(ToAdapter::Challenge { .. })));
    forger.send(&ToAgent::Proof {
        proof: "00".repeat(32),
    });
    assert_eq!(forger.refusal(), "not-authentic");

    let hello =
        json!({"type": "hello", "version": 9, "channel": "drive", "session": "", "nonce": "22".repeat(32)});
    let mut other = agent.connect();
    other.send_bytes(hello.to_string().as_bytes());
    assert_eq!(other.refusal(), "version-unknown");
    let mut early = agent.connect();
    early.send(&ToAgent::Beat { count: 0 });
    assert_eq!(early.refusal(), "message-unexpected");
    let mut silent = agent.connect();
    assert_eq!(silent.refusal(), "silent");
    let mut long = agent.connect();
    long.stream.write_all(&u32::MAX.to_be_bytes()).unwrap();
    assert_eq!(long.refusal(), "frame-too-long");
    // After all of them the adapter itself is let in.
    simulated_client(&agent, 1);
    agent.await_trouble(None);
}

#[test]
fn a_stop_connection_of_another_session_is_refused() {
    let agent = Agent::waiting();
    let key = agent.key();
    let mut drive = agent.connect();
    drive.prove(&key, Channel::Drive, "").unwrap();
    let refused = agent.connect().prove(&key, Channel::Stop, &"00".repeat(16));
    assert_eq!(refused, Err("other-session".to_owned()));
}

#[test]
fn what_is_malformed_unexpected_or_too_much_ends_the_session_and_is_told() {
    let cases: [(&str, &[u8], usize); 5] = [
        ("message-malformed", br#"{"type":"beat","count":1,"more":2}"#, 1),
        ("message-unexpected", br#"{"type":"stopped","number":1}"#, 1),
        ("message-unexpected", br#"{"type":"done","number":99}"#, 1),
        (
            "telemetry-refused",
            br#"{"type":"telemetry","telemetry":{"speed_mm_per_s":0,"battery_permille":1001,"payload":[],"faults":[]}}"#,
            1,
        ),
        ("too-many-messages", br#"{"type":"beat","count":1}"#, 600),
    ];
    for (code, message, times) in cases {
        let agent = Agent::waiting();
        let mut adapter = agent.raw_adapter();
        for _ in 0..times {
            adapter.drive.send_bytes(message);
        }
        assert_eq!(adapter.drive.refusal(), code);
        assert_eq!(adapter.stop.receive(), None, "both connections end");
        agent.await_trouble(Some("adapter-lost"));
        assert_eq!(east(&agent), Err("adapter-lost"));
    }
}

#[test]
fn silence_on_either_connection_ends_the_session_within_its_bound() {
    for silent in [Channel::Drive, Channel::Stop] {
        let agent = Agent::waiting();
        let mut adapter = agent.raw_adapter();
        let begun = Instant::now();
        let (living, dead) = match silent {
            Channel::Drive => (&mut adapter.stop, &mut adapter.drive),
            Channel::Stop => (&mut adapter.drive, &mut adapter.stop),
        };
        let mut stream = living.stream.try_clone().unwrap();
        thread::spawn(move || {
            let beat = frame(&to_bytes(&ToAgent::Beat { count: 0 }));
            while stream.write_all(&beat).is_ok() {
                thread::sleep(Duration::from_millis(50));
            }
        });
        assert_eq!(dead.refusal(), "silent");
        agent.await_trouble(Some("adapter-lost"));
        let noticed = begun.elapsed();
        // The timeout, one look, and what a busy machine adds.
        assert!(noticed < Duration::from_millis(500 + 100 + 400), "{noticed:?}");
    }
}

#[test]
fn an_adapter_that_does_not_answer_commands_or_stops_is_unconfirmed_and_loses_its_session() {
    let agent = Agent::waiting();
    let mut adapter = agent.raw_adapter();
    let alive = adapter.live();
    let unanswered = agent.driving.command("move.hold", &[]).unwrap_err();
    assert!(!unanswered.is_certain(), "{unanswered}");
    assert!(matches!(
        adapter.drive.receive(),
        Some(ToAdapter::Command { number: 1, .. })
    ));
    let begun = Instant::now();
    let report = agent.driving.stop.stop(order(1, StopScope::Robot));
    let base = report
        .adapters
        .iter()
        .find(|adapter| adapter.adapter == "base")
        .unwrap();
    assert!(!base.outcome.is_done());
    assert!(base.outcome.to_string().contains("250 ms"), "{}", base.outcome);
    let Some(ToAdapter::Stop(stop)) = adapter.stop.receive() else {
        panic!("no stop")
    };
    assert_eq!((stop.number, stop.level), (1, StopLevel::ControlledOff));
    assert_eq!(adapter.stop.receive(), None, "the platform has to stop by itself");
    assert!(begun.elapsed() < Duration::from_secs(2));
    agent.await_trouble(Some("adapter-lost"));
    alive.store(false, Ordering::SeqCst);
}

#[test]
fn a_platform_can_ask_for_a_stop_and_refuse_a_command_in_its_own_words() {
    let agent = Agent::waiting();
    let mut adapter = agent.raw_adapter();
    let alive = adapter.live();
    let (code, text) = ("bumper".to_owned(), "something was hit".to_owned());
    adapter.drive.send(&ToAgent::Alarm {
        code: code.clone(),
        text: text.clone(),
    });
    assert_eq!(agent.alarms.recv_timeout(SOON).unwrap(), (code, text));
    thread::scope(|threads| {
        threads.spawn(|| {
            for code in ["door-open", "stopped"] {
                let Some(ToAdapter::Command { number, .. }) = adapter.drive.receive() else {
                    panic!("no command")
                };
                let (code, text) = (code.to_owned(), "close the door".to_owned());
                adapter.drive.send(&ToAgent::NotDone { number, code, text });
            }
        });
        assert_eq!(east(&agent), Err("platform-refused"));
        assert_eq!(east(&agent), Err("platform-stopped"));
    });
    alive.store(false, Ordering::SeqCst);
}

#[test]
fn telemetry_that_is_not_renewed_is_not_believed() {
    let agent = Agent::waiting();
    let adapter = agent.raw_adapter();
    let alive = adapter.live();
    let trouble = agent.await_trouble(Some("adapter-lost")).unwrap();
    assert!(trouble.to_string().contains("1000 ms"), "{trouble}");
    alive.store(false, Ordering::SeqCst);
}

#[test]
fn an_agent_that_goes_stops_the_platform_and_the_next_one_drives_it_again() {
    let folder = Arc::new(TempDir::new().unwrap());
    let agent = Agent::waiting_in(folder.clone());
    let (called, _) = simulated_client(&agent, 200);
    agent.await_trouble(None);
    assert!(
        UnixStream::connect(agent.socket.socket_path()).is_err(),
        "nobody else is let in while a session lasts"
    );
    agent.driving.stop.stop(order(1, StopScope::Robot));
    agent.driving.go();
    east(&agent).unwrap();
    let before = called.load(Ordering::SeqCst);
    drop(agent);
    let begun = Instant::now();
    while called.load(Ordering::SeqCst) == before {
        assert!(begun.elapsed() < SOON, "the platform did not stop");
        thread::sleep(Duration::from_millis(1));
    }
    // The next agent has told its adapter of no stop yet, and its commands are obeyed.
    let agent = Agent::waiting_in(folder);
    agent.await_trouble(None);
    east(&agent).unwrap();
    await_speed(&agent, |speed| speed == 1_000);
}

#[test]
fn a_stop_reaches_the_platform_in_time_under_a_flood() {
    let agent = Agent::waiting();
    let mut adapter = agent.raw_adapter();
    let flooding = Arc::new(AtomicBool::new(true));
    // As much as an adapter may say, and somebody who tries to connect all the time.
    let (mut stream, go, telemetry) = (
        adapter.drive.stream.try_clone().unwrap(),
        flooding.clone(),
        frame(&to_bytes(&ToAgent::telemetry(&adapter.driver.observe().unwrap()))),
    );
    thread::spawn(move || {
        while go.load(Ordering::SeqCst) && stream.write_all(&telemetry).is_ok() {
            thread::sleep(Duration::from_micros(2_300));
        }
    });
    let (path, go) = (agent.socket.socket_path(), flooding.clone());
    thread::spawn(move || {
        while go.load(Ordering::SeqCst) {
            let _ = UnixStream::connect(&path);
            thread::sleep(Duration::from_micros(200));
        }
    });
    let (mut stop, go) = (adapter.stop.stream.try_clone().unwrap(), flooding.clone());
    let mut beats = adapter.stop.stream.try_clone().unwrap();
    let beat = frame(&to_bytes(&ToAgent::Beat { count: 0 }));
    thread::spawn(move || {
        while go.load(Ordering::SeqCst) && beats.write_all(&beat).is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    // What reads the stops answers each at once.
    let answering = thread::spawn(move || {
        let mut stops = 0;
        while let Some(message) = adapter.stop.receive() {
            if let ToAdapter::Stop(order) = message {
                stops += 1;
                let stopped = ToAgent::Stopped { number: order.number };
                stop.write_all(&frame(&to_bytes(&stopped))).unwrap();
            }
            if stops == 200 {
                break;
            }
        }
        adapter
    });
    let mut returned: Vec<u64> = (0..200)
        .map(|round| {
            let report = agent.driving.stop.stop(order(round, StopScope::Robot));
            let base = report
                .adapters
                .iter()
                .find(|adapter| adapter.adapter == "base")
                .unwrap();
            assert!(base.outcome.is_done(), "{}", base.outcome);
            base.returned_ns.unwrap()
        })
        .collect();
    drop(answering.join());
    flooding.store(false, Ordering::SeqCst);
    returned.sort_unstable();
    println!(
        "there and back: p50 {} ns, p99 {} ns",
        returned[100], returned[197]
    );
    assert!(returned[100] < 1_000_000, "the median is {} ns", returned[100]);
    assert!(returned[197] < 10_000_000, "p99 is {} ns", returned[197]);
}

/// The example of the documentation, as a process.
struct Example(Child);

impl Example {
    fn start(agent: &Agent) -> Option<Self> {
        agent.key();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/adapter.py");
        assert!(script.exists());
        let child = Command::new("python3")
            .arg(script)
            .arg(&agent.socket.folder)
            .stderr(Stdio::inherit())
            .spawn();
        match child {
            Ok(child) => Some(Self(child)),
            Err(error) => {
                println!("skipped: python3: {error}");
                None
            }
        }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_adapter_in_plain_python_is_driven_stopped_killed_and_comes_back() {
    let agent = Agent::waiting();
    let Some(example) = Example::start(&agent) else {
        return;
    };
    agent.await_trouble(None);
    let described = agent.driving.platforms.description("base").unwrap();
    assert_eq!(described.identity.serial, "CART-7");
    assert_eq!(agent.driving.platforms.snapshot().battery_permille, 640);
    east(&agent).unwrap();
    await_speed(&agent, |speed| speed == 1_000);
    let mut returned: Vec<u64> = (0..100)
        .map(|round| {
            let report = agent.driving.stop.stop(order(round, StopScope::Robot));
            let base = report
                .adapters
                .iter()
                .find(|adapter| adapter.adapter == "base")
                .unwrap();
            assert!(base.outcome.is_done(), "{}", base.outcome);
            base.returned_ns.unwrap()
        })
        .collect();
    returned.sort_unstable();
    println!(
        "python, there and back: p50 {} ns, p99 {} ns",
        returned[50], returned[98]
    );
    assert!(returned[50] < 10_000_000, "the median is {} ns", returned[50]);
    await_speed(&agent, |speed| speed == 0);
    agent.driving.go();
    east(&agent).unwrap();
    await_speed(&agent, |speed| speed == 1_000);

    let begun = Instant::now();
    drop(example);
    agent.await_trouble(Some("adapter-lost"));
    assert!(
        begun.elapsed() < Duration::from_millis(500),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(east(&agent), Err("adapter-lost"));
    let report = agent.driving.stop.stop(order(1, StopScope::Robot));
    assert!(!report.adapters[0].outcome.is_done(), "nobody was told");

    let _again = Example::start(&agent);
    agent.await_trouble(None);
    agent.driving.go();
    east(&agent).unwrap();
}
