//! The fixtures do what they say, so that a test that uses them tests what it means to.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_testkit::{Attack, CrashPoint, Crashing, Hostile, PowerUp, Swtpm, TestkitError, Tools, When};
use alcub3_tpm::transport::{Transport, TransportError};
use alcub3_tpm::{CommandCode, TpmSpec};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

const GET_RANDOM: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8];
const READ_CLOCK: [u8; 10] = [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x81];
const RANDOM: CommandCode = CommandCode(0x17b);

fn try_ask(
    transport: &mut dyn Transport,
    command: &[u8],
    within: Duration,
) -> Result<Vec<u8>, TransportError> {
    let mut response = Vec::new();
    let result = transport.transmit(command, &mut response, Instant::now() + within);
    assert!(result.is_ok() || response.is_empty());
    result.map(|()| response)
}

fn ask(transport: &mut dyn Transport, command: &[u8]) -> Vec<u8> {
    try_ask(transport, command, Duration::from_secs(20)).unwrap()
}

fn code(response: &[u8]) -> u32 {
    u32::from_be_bytes(response[6..10].try_into().unwrap())
}

/// resetCount and restartCount.
fn counts(transport: &mut dyn Transport) -> (u32, u32) {
    let response = ask(transport, &READ_CLOCK);
    assert_eq!(code(&response), 0);
    let at = |n: usize| u32::from_be_bytes(response[n..n + 4].try_into().unwrap());
    (at(26), at(30))
}

#[test]
fn a_tpm_is_gone_with_its_fixture_even_when_a_transport_is_left() {
    let tpm = Swtpm::start().unwrap();
    let mut transport = tpm.transport();
    let mut second = transport.emergency().unwrap().unwrap();
    assert_eq!(ask(&mut transport, &GET_RANDOM).len(), 20);
    assert_eq!(ask(&mut *second, &GET_RANDOM).len(), 20);
    let process = format!("/proc/{}", tpm.control().pid());
    let state = tpm.state_dir().to_path_buf();
    assert!(Path::new(&process).exists() && state.exists());
    drop(tpm);
    assert!(!Path::new(&process).exists() && !state.exists());
    let error = try_ask(&mut transport, &GET_RANDOM, Duration::from_secs(5)).unwrap_err();
    assert!(matches!(error, TransportError::SwtpmExited { .. }), "{error:?}");
}

#[test]
fn resets_restarts_and_resumes_count_as_they_do_on_a_chip() {
    let tpm = Swtpm::start().unwrap();
    let mut transport = tpm.transport();
    let (resets, restarts) = counts(&mut transport);
    tpm.power_cycle(PowerUp::Clear).unwrap();
    assert_eq!(counts(&mut transport), (resets + 1, 0), "a power cut is a reset");
    tpm.shutdown().unwrap();
    tpm.power_cycle(PowerUp::Clear).unwrap();
    assert_eq!(counts(&mut transport), (resets + 1, 1), "a restart");
    tpm.shutdown().unwrap();
    tpm.power_cycle(PowerUp::Resume).unwrap();
    assert_eq!(counts(&mut transport), (resets + 1, 2), "a resume");
    assert_eq!(restarts, 0);
    tpm.power_cycle(PowerUp::Nothing).unwrap();
    assert_eq!(code(&ask(&mut transport, &GET_RANDOM)), 0x100);
    let error = tpm.power_cycle(PowerUp::Resume).unwrap_err();
    assert!(matches!(error, TestkitError::Refused { .. }), "{error}");
}

#[test]
fn a_killed_tpm_comes_back_with_its_state_for_the_same_transports() {
    let tpm = Swtpm::start().unwrap();
    let mut transport = tpm.transport();
    let (resets, _) = counts(&mut transport);
    let first = tpm.control().pid();
    tpm.kill_and_respawn(PowerUp::Clear).unwrap();
    assert_ne!(tpm.control().pid(), first);
    assert_eq!(counts(&mut transport), (resets + 1, 0));
}

#[test]
fn a_user_who_must_wait_waits_no_longer_than_its_deadline() {
    let tpm = Swtpm::start().unwrap();
    let (mut slow, mut fast) = (Hostile::new(tpm.transport()), tpm.transport());
    let pid = tpm.control().pid().to_string();
    let signal = |name: &str| {
        assert!(
            std::process::Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    };
    signal("-STOP");
    let busy = thread::spawn(move || ask(&mut slow, &GET_RANDOM));
    thread::sleep(Duration::from_millis(50));
    let error = try_ask(&mut fast, &GET_RANDOM, Duration::from_millis(50)).unwrap_err();
    assert!(
        matches!(error, TransportError::DeadlineExceeded { .. }),
        "{error:?}"
    );
    signal("-CONT");
    assert_eq!(busy.join().unwrap().len(), 20);
    assert_eq!(ask(&mut fast, &GET_RANDOM).len(), 20);
}

#[test]
fn tools_and_other_programs_share_a_served_tpm() {
    let tpm = Swtpm::start().unwrap();
    let served = tpm.serve().unwrap();
    let spec: TpmSpec = served.spec().parse().unwrap();
    let (mut outside, mut again) = (spec.open().unwrap(), spec.open().unwrap());
    let mut inside = tpm.transport();
    for _ in 0..3 {
        assert_eq!(ask(&mut *outside, &GET_RANDOM).len(), 20);
        assert_eq!(ask(&mut *again, &GET_RANDOM).len(), 20);
        assert_eq!(ask(&mut inside, &GET_RANDOM).len(), 20);
    }
    if Tools::installed() {
        let tools = served.tools();
        let random = tools.run("getrandom", &["--hex", "8"]).unwrap();
        assert_eq!(random.text().trim().len(), 16);
        tools.run("getrandom", &["-o", "random.bin", "5"]).unwrap();
        assert_eq!(std::fs::read(tools.folder().join("random.bin")).unwrap().len(), 5);
        let error = tools.run("readpublic", &["-c", "0x81010001"]).unwrap_err();
        assert!(
            matches!(&error, TestkitError::ToolFailed { stderr, .. } if !stderr.is_empty()),
            "{error}"
        );
    } else {
        eprintln!("skipped the part with tpm2-tools, which are not installed");
    }
    let error = served.tools().run("no-such-tool", &[]).unwrap_err();
    assert!(matches!(error, TestkitError::ToolMissing { .. }), "{error}");
    let path = served.path().to_path_buf();
    drop(served);
    assert!(!path.exists());
    let error = try_ask(&mut *outside, &GET_RANDOM, Duration::from_secs(5)).unwrap_err();
    assert!(matches!(error, TransportError::Disconnected), "{error:?}");
    assert_eq!(ask(&mut inside, &GET_RANDOM).len(), 20);
}

#[test]
fn a_client_that_breaks_the_protocol_hurts_only_itself() {
    use std::io::{Read, Write};
    let tpm = Swtpm::start().unwrap();
    let served = tpm.serve().unwrap();
    let mut bad = std::os::unix::net::UnixStream::connect(served.path()).unwrap();
    bad.write_all(&[0x80, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 1, 0x7b])
        .unwrap();
    assert_eq!(bad.read(&mut [0; 16]).unwrap(), 0);
    let mut good = served.spec().parse::<TpmSpec>().unwrap().open().unwrap();
    assert_eq!(ask(&mut *good, &GET_RANDOM).len(), 20);
}

fn hostile(tpm: &Swtpm) -> Hostile<alcub3_testkit::SharedTransport> {
    Hostile::new(tpm.transport())
}

#[test]
fn an_attacker_who_only_listens_hears_everything_and_changes_nothing() {
    let tpm = Swtpm::start().unwrap();
    let mut transport = hostile(&tpm);
    let bus = transport.bus();
    let random = ask(&mut transport, &GET_RANDOM);
    let traffic = bus.traffic();
    assert_eq!(traffic.len(), 1);
    assert_eq!(traffic[0].command, GET_RANDOM);
    assert_eq!(
        (traffic[0].genuine.as_ref(), traffic[0].given.as_ref()),
        (Some(&random), Some(&random))
    );
    assert!(bus.carried(&random[12..]) && bus.carried(&GET_RANDOM[2..9]));
    assert!(!bus.carried(b"not this") && !bus.carried(b""));
    assert_eq!((bus.attacked(), bus.sent()), (0, 1));
}

#[test]
fn each_attack_on_a_response_does_what_it_says() {
    let tpm = Swtpm::start().unwrap();
    let mut transport = hostile(&tpm);
    let bus = transport.bus();
    let first = ask(&mut transport, &GET_RANDOM);
    let mut under = |attack: Attack| {
        bus.attack(When::NextOf(RANDOM), attack);
        let given = ask(&mut transport, &GET_RANDOM);
        let passed = bus.traffic().pop().unwrap();
        assert_eq!(passed.given.as_ref(), Some(&given));
        (given, passed.genuine)
    };
    let (given, genuine) = under(Attack::FlipBit(8 * 12 + 7));
    let mut expected = genuine.unwrap();
    expected[12] ^= 1;
    assert_eq!(given, expected);
    let (given, genuine) = under(Attack::Truncate(11));
    assert_eq!(given, genuine.unwrap()[..11]);
    let (given, genuine) = under(Attack::Extend(vec![1, 2]));
    assert_eq!(given, [genuine.unwrap(), vec![1, 2]].concat());
    let (given, genuine) = under(Attack::ReplayEarlier);
    assert_ne!(Some(&given), genuine.as_ref());
    assert!(
        given != first && given.len() == 20,
        "the latest earlier one is replayed"
    );
    let (given, genuine) = under(Attack::ErrorCode(0x922));
    assert_eq!(
        (given.as_slice(), genuine),
        (&[0x80, 1, 0, 0, 0, 10, 0, 0, 9, 0x22][..], None)
    );
    let (given, genuine) = under(Attack::FakeSuccess(vec![0, 1, 7]));
    assert_eq!(
        (given.as_slice(), genuine),
        (&[0x80, 1, 0, 0, 0, 13, 0, 0, 0, 0, 0, 1, 7][..], None)
    );
    let (given, genuine) = under(Attack::Answer(vec![9]));
    assert_eq!((given, genuine), (vec![9], None));
    let begun = Instant::now();
    let (given, genuine) = under(Attack::Delay(Duration::from_millis(30)));
    assert!(begun.elapsed() >= Duration::from_millis(30));
    assert_eq!(Some(given), genuine);
    assert_eq!(bus.attacked(), 8);
}

#[test]
fn attacks_on_a_command_reach_the_tpm_or_keep_it_from_it() {
    let tpm = Swtpm::start().unwrap();
    let mut transport = hostile(&tpm);
    let bus = transport.bus();
    bus.attack(When::Ordinal(1), Attack::FlipCommandBit(8 * 9 + 7));
    assert_eq!(code(&ask(&mut transport, &GET_RANDOM)), 0);
    // 0x17b with its last bit inverted is TPM2_GetCapability, for which these parameters are too few.
    assert_ne!(code(&ask(&mut transport, &GET_RANDOM)), 0);
    bus.attack(When::Always, Attack::DropCommand);
    let short = Duration::from_millis(20);
    let error = try_ask(&mut transport, &GET_RANDOM, short).unwrap_err();
    assert!(
        matches!(error, TransportError::DeadlineExceeded { .. }),
        "{error:?}"
    );
    assert_eq!(bus.traffic().pop().unwrap().genuine, None);
    bus.relent();
    bus.attack(When::Code(RANDOM), Attack::DropResponse);
    let error = try_ask(&mut transport, &GET_RANDOM, short).unwrap_err();
    assert!(
        matches!(error, TransportError::DeadlineExceeded { .. }),
        "{error:?}"
    );
    let passed = bus.traffic().pop().unwrap();
    assert!(passed.genuine.is_some() && passed.given.is_none());
    bus.relent();
    assert_eq!(code(&ask(&mut transport, &GET_RANDOM)), 0);
}

#[test]
fn a_fake_success_has_as_many_sessions_as_its_command() {
    let tpm = Swtpm::start().unwrap();
    let mut transport = hostile(&tpm);
    let session = [2, 0, 0, 0, 0, 2, 0xaa, 0xbb, 1, 0, 3, 1, 2, 3];
    let mut extend = vec![0x80, 2, 0, 0, 0, 0, 0, 0, 1, 0x82, 0, 0, 0, 13, 0, 0, 0, 28];
    extend.extend([session, session].concat());
    extend.extend([0, 0, 0, 0]);
    extend[5] = u8::try_from(extend.len()).unwrap();
    transport
        .bus()
        .attack(When::Always, Attack::FakeSuccess(Vec::new()));
    let given = ask(&mut transport, &extend);
    assert_eq!(given[..2], [0x80, 2]);
    assert_eq!(given.len(), 10 + 4 + 2 * (2 + 32 + 1 + 2 + 32));
    assert_eq!(usize::from(given[5]), given.len());
}

#[test]
fn the_emergency_descriptor_is_under_attack_too() {
    let tpm = Swtpm::start().unwrap();
    let mut transport = hostile(&tpm);
    let mut second = transport.emergency().unwrap().unwrap();
    transport.bus().attack(When::Always, Attack::ErrorCode(0x101));
    assert_eq!(code(&ask(&mut *second, &GET_RANDOM)), 0x101);
    assert_eq!(transport.bus().sent(), 1);
}

#[test]
fn a_crash_happens_before_or_after_the_chosen_command() {
    for (point, extended) in [(CrashPoint::Before(1), false), (CrashPoint::After(1), true)] {
        let tpm = Swtpm::start().unwrap();
        let before = tpm.transport();
        let mut transport = Crashing::new(before, tpm.control(), point);
        let index = define_counter();
        assert_eq!(code(&ask(&mut transport, &index)), 0);
        let error = try_ask(&mut transport, &increment(), Duration::from_secs(5)).unwrap_err();
        assert!(
            matches!(
                error,
                TransportError::SwtpmExited { .. } | TransportError::Disconnected
            ),
            "{error:?}"
        );
        tpm.kill_and_respawn(PowerUp::Clear).unwrap();
        let written = code(&ask(&mut tpm.transport(), &read_counter())) == 0;
        assert_eq!(written, extended, "{point:?}");
    }
}

const INDEX: [u8; 4] = [1, 0x81, 0, 0];

fn with_password(code: u32, handles: &[[u8; 4]], parameters: &[u8]) -> Vec<u8> {
    let mut rest = handles.concat();
    rest.extend([0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
    rest.extend(parameters);
    let size = u32::try_from(10 + rest.len()).unwrap().to_be_bytes();
    [&[0x80, 2], size.as_slice(), &code.to_be_bytes(), &rest].concat()
}

fn define_counter() -> Vec<u8> {
    let attributes: u32 = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 17 | 1 << 18 | 1 << 25;
    let public = [
        &INDEX,
        [0, 0x0b].as_slice(),
        &attributes.to_be_bytes(),
        &[0, 0],
        &[0, 8],
    ]
    .concat();
    let parameters = [&[0, 0, 0, 14], public.as_slice()].concat();
    with_password(0x12a, &[[0x40, 0, 0, 1]], &parameters)
}

fn increment() -> Vec<u8> {
    with_password(0x134, &[INDEX, INDEX], &[])
}

fn read_counter() -> Vec<u8> {
    with_password(0x14e, &[INDEX, INDEX], &[0, 8, 0, 0])
}
