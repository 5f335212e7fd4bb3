//! The wrappers over a real swtpm: counting, capture and replay, a chip's latencies.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_tpm::CommandCode;
use alcub3_tpm::transport::{
    Capture, ChipModel, Counted, Exchange, Outcome, Recorded, Replay, SwtpmOptions, SwtpmTransport, Timed,
    TimedMode, Transport, TransportError, TransportKind,
};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

const GET_RANDOM: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8];
const READ_CLOCK: [u8; 10] = [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x81];

fn swtpm() -> SwtpmTransport {
    SwtpmTransport::start(&SwtpmOptions::throwaway()).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn ask(transport: &mut dyn Transport, command: &[u8]) -> Vec<u8> {
    let mut response = Vec::new();
    transport.transmit(command, &mut response, soon()).unwrap();
    response
}

#[test]
fn commands_are_counted_by_code_and_in_order() {
    let mut transport = Counted::new(swtpm());
    let counts = transport.counts();
    for command in [&GET_RANDOM[..], &READ_CLOCK, &GET_RANDOM] {
        ask(&mut transport, command);
    }
    let (random, clock) = (CommandCode(0x17b), CommandCode(0x181));
    assert_eq!((counts.total(), counts.of(random), counts.of(clock)), (3, 2, 1));
    assert_eq!(counts.log(), [random, clock, random]);
    assert_eq!(counts.since(1), [clock, random]);
    assert_eq!(counts.since(3), []);
    assert_eq!(
        counts.by_code().into_iter().collect::<Vec<_>>(),
        [(random, 2), (clock, 1)]
    );
    counts.reset();
    assert_eq!((counts.total(), counts.log()), (0, Vec::new()));
}

#[test]
fn a_capture_survives_its_file_and_replays_the_same_answers() {
    let path = std::env::temp_dir().join(format!("alcub3-capture-{}", std::process::id()));
    let mut transport = Recorded::to_file(swtpm(), &path).unwrap();
    let tape = transport.tape();
    let answers = [ask(&mut transport, &GET_RANDOM), ask(&mut transport, &READ_CLOCK)];
    assert!(
        Capture::read_from(&path).is_err(),
        "without its end record a capture is not whole"
    );
    tape.finish().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert!(
        matches!(Recorded::to_file(swtpm(), &path), Err(TransportError::Io { .. })),
        "never overwritten"
    );

    let capture = Capture::read_from(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(capture.kind, TransportKind::Swtpm);
    assert_eq!(capture.exchanges.len(), tape.capture().exchanges.len());
    let mut replay = Replay::new(capture);
    assert!(replay.kind().is_simulator());
    assert_eq!(
        [ask(&mut replay, &GET_RANDOM), ask(&mut replay, &READ_CLOCK)],
        answers
    );
    let error = replay.transmit(&GET_RANDOM, &mut Vec::new(), soon()).unwrap_err();
    assert!(
        matches!(error, TransportError::ReplayExhausted { recorded: 2 }),
        "{error:?}"
    );
}

fn capture() -> Capture {
    let exchange = |outcome| Exchange {
        at: Duration::from_micros(5),
        took: Duration::from_micros(7),
        command: GET_RANDOM.to_vec(),
        outcome,
    };
    let outcomes = [
        Outcome::Response(vec![0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0]),
        Outcome::DeadlineExceeded,
        Outcome::Disconnected,
        Outcome::Failed,
    ];
    Capture {
        kind: TransportKind::DeviceRaw,
        exchanges: outcomes.map(exchange).into(),
    }
}

#[test]
fn a_replay_stops_at_the_first_command_that_differs() {
    let mut replay = Replay::new(capture());
    ask(&mut replay, &GET_RANDOM);
    let mut other = GET_RANDOM;
    other[11] = 9;
    let error = replay.transmit(&other, &mut Vec::new(), soon()).unwrap_err();
    assert!(
        matches!(
            error,
            TransportError::ReplayMismatch {
                ordinal: 1,
                offset: 11
            }
        ),
        "{error:?}"
    );
    let error = replay.transmit(&READ_CLOCK, &mut Vec::new(), soon()).unwrap_err();
    assert!(
        matches!(
            error,
            TransportError::ReplayMismatch {
                ordinal: 1,
                offset: 5
            }
        ),
        "{error:?}"
    );
    let mut fail = || replay.transmit(&GET_RANDOM, &mut Vec::new(), soon()).unwrap_err();
    assert!(matches!(fail(), TransportError::DeadlineExceeded { .. }));
    assert!(matches!(fail(), TransportError::Disconnected));
    assert!(matches!(fail(), TransportError::Poisoned));
    assert_eq!(replay.remaining(), 0);
}

#[test]
fn a_capture_that_is_not_exactly_one_is_refused() {
    let good = capture().to_bytes();
    assert_eq!(Capture::from_bytes(&good).unwrap(), capture());
    for cut in 0..good.len() {
        let error = Capture::from_bytes(&good[..cut]).unwrap_err();
        assert!(
            matches!(error, TransportError::BadCapture { .. }),
            "cut at {cut}: {error:?}"
        );
    }
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Capture::from_bytes(&bytes)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    assert!(with(0, b'A').contains("not a TPM capture"));
    assert!(with(19, 2).contains("unknown version"));
    assert!(with(20, 9).contains("unknown kind of transport"));
    assert!(with(21, 2).contains("unknown kind of record"));
    assert!(with(38, 1).contains("longer than 4096"));
    assert!(with(54, 9).contains("unknown outcome"));
    assert!(with(good.len() - 1, 3).contains("wrong number of records"));
    assert!(
        Capture::from_bytes(&[good.as_slice(), &[0]].concat())
            .unwrap_err()
            .to_string()
            .contains("after the end")
    );
}

#[test]
fn accounted_time_is_the_model_s_and_costs_none() {
    // Far more than a busy machine needs for as many commands.
    let model = ChipModel {
        other_ms: 60_000,
        ..ChipModel::SLB9672
    };
    let mut transport = Timed::new(swtpm(), model, TimedMode::Account);
    let clock = transport.clock();
    let begun = Instant::now();
    for _ in 0..100 {
        ask(&mut transport, &READ_CLOCK);
    }
    assert_eq!(clock.elapsed(), Duration::from_secs(6000));
    assert!(begun.elapsed() < Duration::from_secs(6000));
    assert!(clock.inner() <= begun.elapsed() && clock.inner() > Duration::ZERO);
    clock.reset();
    assert_eq!(clock.elapsed(), Duration::ZERO);
}

#[test]
fn slept_time_is_at_least_the_model_s_and_a_late_answer_stays_with_its_command() {
    // The chip is still busy long after the first deadline, also where a busy machine notices that late.
    let model = ChipModel {
        other_ms: 1500,
        ..ChipModel::SLB9672
    };
    let mut transport = Timed::new(swtpm(), model, TimedMode::Sleep);
    let begun = Instant::now();
    ask(&mut transport, &READ_CLOCK);
    assert!(begun.elapsed() >= Duration::from_millis(1500));
    let mut response = Vec::new();
    let mut within = |ms| {
        transport.transmit(
            &READ_CLOCK,
            &mut response,
            Instant::now() + Duration::from_millis(ms),
        )
    };
    assert!(matches!(within(20), Err(TransportError::DeadlineExceeded { .. })));
    assert!(matches!(within(1), Err(TransportError::Poisoned)));
    assert!(within(60_000).is_ok());
}

#[test]
fn the_kernel_s_swaps_are_charged_for_what_is_held() {
    let start_session = [
        &[
            0x80, 1, 0, 0, 0, 43, 0, 0, 1, 0x76, 0x40, 0, 0, 7, 0x40, 0, 0, 7, 0, 16,
        ][..],
        &[7; 16],
        &[0, 0, 1, 0, 0x10, 0, 0x0b],
    ]
    .concat();
    let mut transport = Timed::new(swtpm(), ChipModel::SLB9672, TimedMode::Account).with_kernel_swaps();
    let clock = transport.clock();
    let response = ask(&mut transport, &start_session);
    assert_eq!(response[6..10], [0; 4]);
    assert_eq!(clock.elapsed(), Duration::from_millis(5));
    ask(&mut transport, &READ_CLOCK);
    assert_eq!(clock.elapsed(), Duration::from_millis(10 + 17));
    let mut flush = vec![0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x65];
    flush.extend(&response[10..14]);
    ask(&mut transport, &flush);
    clock.reset();
    ask(&mut transport, &READ_CLOCK);
    assert_eq!(clock.elapsed(), Duration::from_millis(5));
}
