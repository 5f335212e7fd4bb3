//! Every transport against a real swtpm, and what happens when it goes away, is late, or is not there.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_tpm::TpmSpec;
use alcub3_tpm::transport::{
    DeviceTransport, SocketAddress, SocketTransport, SwtpmOptions, SwtpmTransport, Transport, TransportError,
    TransportKind,
};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const GET_RANDOM: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8];
const STARTUP_CLEAR: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
const STARTUP_STATE: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 1];
const SHUTDOWN_STATE: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x45, 0, 1];

/// Without waiting for a deadline, on a busy machine too.
const AT_ONCE: Duration = Duration::from_secs(10);

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn ask(transport: &mut dyn Transport, command: &[u8]) -> Vec<u8> {
    let mut response = Vec::new();
    transport.transmit(command, &mut response, soon()).unwrap();
    response
}

fn code(response: &[u8]) -> u32 {
    u32::from_be_bytes(response[6..10].try_into().unwrap())
}

fn assert_random(transport: &mut dyn Transport) {
    let response = ask(transport, &GET_RANDOM);
    assert_eq!((code(&response), response.len()), (0, 20));
    assert_ne!(response[12..], [0; 8]);
}

fn fails(transport: &mut dyn Transport, deadline: Instant) -> TransportError {
    let mut response = vec![1];
    let error = transport
        .transmit(&GET_RANDOM, &mut response, deadline)
        .unwrap_err();
    assert!(response.is_empty());
    error
}

/// An RSA key takes swtpm tens of milliseconds: long enough to be late.
fn create_primary_rsa() -> Vec<u8> {
    let mut public = vec![
        0, 1, 0, 0x0b, 0, 4, 0, 0x72, 0, 0, 0, 0x10, 0, 0x10, 8, 0, 0, 0, 0, 0,
    ];
    public.extend([0, 0]);
    let mut rest = vec![
        0x40, 0, 0, 7, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0,
    ];
    rest.extend(u16::try_from(public.len()).unwrap().to_be_bytes());
    rest.extend(public);
    rest.extend([0; 6]);
    let size = u32::try_from(10 + rest.len()).unwrap().to_be_bytes();
    [&[0x80, 2], size.as_slice(), &[0, 0, 1, 0x31], &rest].concat()
}

/// A folder of this test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "alcub3-transport-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn swtpm_answers_soon_and_is_gone_with_its_state_after_drop() {
    let begun = Instant::now();
    let mut transport = SwtpmTransport::start(&SwtpmOptions::throwaway()).unwrap();
    assert_random(&mut transport);
    let took = begun.elapsed();
    eprintln!("spawn to first answer: {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(transport.kind(), TransportKind::Swtpm);
    assert!(transport.kind().is_simulator() && transport.canceller().is_none());

    let control = transport.control();
    let process = PathBuf::from(format!("/proc/{}", control.pid()));
    assert!(process.exists() && control.is_running());
    assert_eq!(fs::metadata(control.state_dir()).unwrap().mode() & 0o777, 0o700);
    drop(transport);
    assert!(!process.exists(), "the child is still there");
    assert!(!control.is_running());
    assert!(
        !control.state_dir().exists(),
        "the throwaway state is still there"
    );
    assert!(matches!(
        control.power_cycle().unwrap_err(),
        TransportError::Disconnected
    ));
}

#[test]
fn state_in_a_folder_outlives_the_transport_and_is_locked_meanwhile() {
    let folder = Folder::new();
    let options = SwtpmOptions::in_folder(folder.join("made/for me"));
    let mut first = SwtpmTransport::start(&options).unwrap();
    assert_random(&mut first);
    let error = SwtpmTransport::start(&options).err().unwrap();
    assert!(matches!(error, TransportError::StateLocked { .. }), "{error:?}");
    assert!(error.to_string().contains("--tpm swtpm:DIR"));
    let process = PathBuf::from(format!("/proc/{}", first.control().pid()));
    drop(first);
    assert!(!process.exists());
    assert_random(&mut SwtpmTransport::start(&options).unwrap());
    let state = folder.join("made/for me");
    assert_eq!(fs::metadata(&state).unwrap().mode() & 0o777, 0o700);
    assert_eq!(
        fs::metadata(state.join("tpm2-00.permall")).unwrap().mode() & 0o777,
        0o600
    );
}

#[test]
fn damaged_state_is_named_with_what_swtpm_said() {
    let folder = Folder::new();
    let options = SwtpmOptions::in_folder(&folder.0);
    drop(SwtpmTransport::start(&options).unwrap());
    let file = folder.join("tpm2-00.permall");
    let mut state = fs::read(&file).unwrap();
    state[..16].fill(0x5a);
    fs::write(&file, state).unwrap();
    let error = SwtpmTransport::start(&options).err().unwrap();
    assert!(
        matches!(&error, TransportError::StateCorrupt { stderr, .. } if !stderr.is_empty()),
        "{error:?}"
    );
    assert!(error.to_string().contains("restore it from a copy"), "{error}");
}

#[test]
fn a_missing_or_failing_program_is_told_apart() {
    let missing = SwtpmOptions::throwaway().program("/nonexistent/swtpm");
    let error = SwtpmTransport::start(&missing).err().unwrap();
    assert!(matches!(error, TransportError::SwtpmMissing), "{error:?}");

    let folder = Folder::new();
    let script = folder.join("swtpm");
    fs::write(
        &script,
        "#!/bin/sh\necho first line >&2\necho out of order >&2\nexit 3\n",
    )
    .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    let failing = SwtpmOptions::throwaway().program(script);
    let error = SwtpmTransport::start(&failing).err().unwrap();
    let TransportError::SwtpmExited { status, stderr } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(
        (status.code(), stderr.as_str()),
        (Some(3), "first line\nout of order")
    );

    let error = SwtpmTransport::start(&SwtpmOptions::in_folder(folder.join("a,b")))
        .err()
        .unwrap();
    assert!(matches!(error, TransportError::BadStatePath { .. }), "{error:?}");
}

#[test]
fn after_a_kill_the_next_command_fails_at_once_and_the_state_can_be_used_again() {
    let folder = Folder::new();
    let options = SwtpmOptions::in_folder(&folder.0);
    let mut transport = SwtpmTransport::start(&options).unwrap();
    assert_random(&mut transport);
    transport.control().kill().unwrap();
    for _ in 0..2 {
        let begun = Instant::now();
        let error = fails(&mut transport, soon());
        let TransportError::SwtpmExited { status, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(status.code(), None, "killed by a signal");
        assert!(begun.elapsed() < AT_ONCE);
    }
    assert_random(&mut SwtpmTransport::start(&options).unwrap());
}

/// A stopped swtpm takes a command and does not answer until it goes on.
fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn a_crash_under_a_command_is_noticed_while_waiting() {
    let mut transport = SwtpmTransport::start(&SwtpmOptions::throwaway()).unwrap();
    let control = transport.control();
    signal(control.pid(), "-STOP");
    let killer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        control.kill().unwrap();
    });
    let error = fails(&mut transport, soon());
    assert!(matches!(error, TransportError::SwtpmExited { .. }), "{error:?}");
    killer.join().unwrap();
}

#[test]
fn a_late_answer_is_drained_and_not_given_to_the_next_command() {
    let mut transport = SwtpmTransport::start(&SwtpmOptions::throwaway()).unwrap();
    let (mut response, pid) = (Vec::new(), transport.control().pid());
    signal(pid, "-STOP");
    // Long enough for the command to be sent on a busy machine.
    let short = Instant::now() + Duration::from_millis(500);
    let error = transport
        .transmit(&create_primary_rsa(), &mut response, short)
        .unwrap_err();
    assert!(
        matches!(error, TransportError::DeadlineExceeded { .. }),
        "{error:?}"
    );
    let error = fails(&mut transport, Instant::now());
    assert!(matches!(error, TransportError::Poisoned), "{error:?}");
    signal(pid, "-CONT");
    assert_random(&mut transport);
}

#[test]
fn a_deadline_that_has_passed_sends_nothing() {
    let mut transport = SwtpmTransport::start(&SwtpmOptions::throwaway()).unwrap();
    let begun = Instant::now();
    let error = fails(&mut transport, begun - Duration::from_secs(1));
    assert!(
        matches!(error, TransportError::DeadlineExceeded { .. }),
        "{error:?}"
    );
    assert!(begun.elapsed() < AT_ONCE);
    assert_random(&mut transport);
}

#[test]
fn power_and_locality_are_controlled_beside_the_commands() {
    const INITIALIZE: u32 = 0x100;
    const FAILURE: u32 = 0x101;
    let mut transport = SwtpmTransport::start(&SwtpmOptions::throwaway()).unwrap();
    let control = transport.control();
    control.power_off().unwrap();
    assert_eq!(code(&ask(&mut transport, &GET_RANDOM)), FAILURE);
    control.power_on().unwrap();
    assert_eq!(code(&ask(&mut transport, &GET_RANDOM)), INITIALIZE);
    assert_eq!(code(&ask(&mut transport, &STARTUP_CLEAR)), 0);
    assert_random(&mut transport);
    control.set_locality(3).unwrap();
    let error = control.set_locality(5).unwrap_err();
    assert!(
        matches!(
            error,
            TransportError::ControlRefused {
                command: "CMD_SET_LOCALITY",
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn without_startup_the_caller_chooses_reset_or_resume() {
    let folder = Folder::new();
    let options = SwtpmOptions::in_folder(&folder.0).without_startup();
    let mut transport = SwtpmTransport::start(&options).unwrap();
    assert_ne!(
        code(&ask(&mut transport, &STARTUP_STATE)),
        0,
        "nothing was saved that could be resumed"
    );
    assert_eq!(code(&ask(&mut transport, &STARTUP_CLEAR)), 0);
    assert_eq!(code(&ask(&mut transport, &SHUTDOWN_STATE)), 0);
    transport.control().power_cycle().unwrap();
    assert_eq!(code(&ask(&mut transport, &STARTUP_STATE)), 0);
    assert_random(&mut transport);
}

/// A swtpm that this transport did not start, as a user would.
struct Served {
    child: Child,
    _folder: Folder,
}

impl Served {
    fn start(server: &str) -> Self {
        let folder = Folder::new();
        let child = Command::new("swtpm")
            .args([
                "socket",
                "--tpm2",
                "--flags",
                "not-need-init,startup-clear",
                "--tpmstate",
            ])
            .arg(format!("dir={}", folder.0.display()))
            .args(["--server", server])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            _folder: folder,
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn connect(spec: &str) -> Box<dyn Transport> {
    let spec: TpmSpec = spec.parse().unwrap();
    let until = soon();
    loop {
        match spec.open() {
            Ok(transport) => return transport,
            Err(TransportError::ConnectFailed { .. }) if Instant::now() < until => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_running_simulator_is_reached_over_unix_and_tcp() {
    let folder = Folder::new();
    let path = folder.join("tpm.sock");
    let _served = Served::start(&format!("type=unixio,path={}", path.display()));
    let mut transport = connect(&format!("socket:{}", path.display()));
    assert_random(&mut *transport);
    assert_eq!(transport.kind(), TransportKind::Socket);
    assert!(transport.emergency().unwrap().is_none());

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let served = Served::start(&format!("type=tcp,port={port}"));
    let mut transport = connect(&format!("socket:127.0.0.1:{port}"));
    assert_random(&mut *transport);
    drop(served);
    let error = fails(&mut *transport, soon());
    assert!(matches!(error, TransportError::Disconnected), "{error:?}");
}

#[test]
fn nobody_at_the_address_is_an_error_with_a_remedy() {
    let folder = Folder::new();
    let address = SocketAddress::Unix(folder.join("none"));
    let error = SocketTransport::connect(&address).err().unwrap();
    assert!(matches!(error, TransportError::ConnectFailed { .. }), "{error:?}");
    assert!(
        error.to_string().contains("start it, or correct --tpm socket:"),
        "{error}"
    );
    let address = SocketAddress::Tcp {
        host: "127.0.0.1".into(),
        port: 1,
    };
    let error = SocketTransport::connect(&address).err().unwrap();
    assert!(matches!(error, TransportError::ConnectFailed { .. }), "{error:?}");
}

#[test]
fn a_device_that_is_absent_forbidden_or_no_device_is_never_replaced_by_a_simulator() {
    let folder = Folder::new();
    let open = |path: &Path| TpmSpec::Device(path.into()).open().err().unwrap();
    let error = open(&folder.join("tpmrm0"));
    assert!(matches!(error, TransportError::DeviceAbsent { .. }), "{error:?}");

    let file = folder.join("file");
    fs::write(&file, b"not a chip").unwrap();
    let error = open(&file);
    assert!(matches!(error, TransportError::NotADevice { .. }), "{error:?}");
    assert_eq!(fs::read(&file).unwrap(), b"not a chip");

    let shut = folder.join("shut");
    fs::create_dir(&shut).unwrap();
    fs::write(shut.join("tpm0"), b"").unwrap();
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o000)).unwrap();
    let listed = fs::read_dir(&shut).is_ok();
    let error = open(&shut.join("tpm0"));
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o700)).unwrap();
    if listed {
        eprintln!("skipped: this user may open everything, so a refusal cannot be had");
    } else {
        assert!(
            matches!(error, TransportError::PermissionDenied { .. }),
            "{error:?}"
        );
    }
}

#[test]
fn a_device_file_that_is_no_tpm_gives_an_error_and_no_answer() {
    // /dev/null takes every command and has no response; /dev/zero has endless zeros.
    let mut null = DeviceTransport::open(Path::new("/dev/null")).unwrap();
    assert_eq!(null.kind(), TransportKind::DeviceRaw);
    assert!(null.emergency().unwrap().is_none());
    let error = fails(&mut null, soon());
    assert!(
        matches!(error, TransportError::Truncated { expected: 10, got: 0 }),
        "{error:?}"
    );
    let mut zero = DeviceTransport::open(Path::new("/dev/zero")).unwrap();
    let error = fails(&mut zero, soon());
    assert!(
        matches!(error, TransportError::Truncated { expected: 10, got: 0 }),
        "{error:?}"
    );
}

const OWNER: &str = "ALCUB3_TEST_IS_OWNER";

/// Run as a process of its own by the test below; does nothing when it is run as a test.
#[test]
fn owner_of_a_swtpm_that_is_killed() {
    if std::env::var_os(OWNER).is_none() {
        return;
    }
    let mut transport = SwtpmTransport::start(&SwtpmOptions::throwaway()).unwrap();
    assert_random(&mut transport);
    let control = transport.control();
    println!("\nswtpm {} {}", control.pid(), control.state_dir().display());
    thread::sleep(Duration::from_secs(60));
}

#[test]
fn swtpm_ends_when_its_owner_is_killed() {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "owner_of_a_swtpm_that_is_killed", "--nocapture"])
        .env(OWNER, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let line = lines
        .map(Result::unwrap)
        .find(|line| line.starts_with("swtpm "))
        .unwrap();
    let mut words = line.split(' ').skip(1);
    let process = PathBuf::from(format!("/proc/{}/cmdline", words.next().unwrap()));
    let state = PathBuf::from(words.next().unwrap());
    let alive = || fs::read(&process).is_ok_and(|line| line.starts_with(b"swtpm"));
    assert!(alive());
    owner.kill().unwrap();
    owner.wait().unwrap();
    let until = soon();
    while alive() && Instant::now() < until {
        thread::sleep(Duration::from_millis(2));
    }
    assert!(!alive(), "swtpm outlives its owner");
    // Nobody was left to remove it.
    fs::remove_dir_all(state).unwrap();
}

#[test]
fn many_at_once_end_with_their_owners() {
    let owners: Vec<_> = (0..6)
        .map(|_| {
            thread::spawn(|| {
                let mut transport = SwtpmTransport::start(&SwtpmOptions::throwaway()).unwrap();
                assert_random(&mut transport);
                let control = transport.control();
                // Killed while others start: no other child may hold this one's channel open.
                control.kill().unwrap();
                let begun = Instant::now();
                let error = fails(&mut transport, soon());
                assert!(matches!(error, TransportError::SwtpmExited { .. }), "{error:?}");
                assert!(begun.elapsed() < AT_ONCE);
                control.pid()
            })
        })
        .collect();
    for owner in owners {
        let pid = owner.join().unwrap();
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
