//! What an event log may not be, and values worked out by hand.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_attestation::event_log::{
    EventLog, EventLogError, EventType, Format,
    agent::{AgentEvent, StopEvent, StopScope},
    builder::{Boot, Builder},
};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::nv_map::MissionAnchor;
use alcub3_trust_model::{Level, MissionId, RobotId, StopCause, StopId};

const SHA256: HashAlg = HashAlg::Sha256;

fn log() -> Builder {
    Builder::new(&[SHA256]).unwrap()
}

fn legacy(pcr: u32, kind: u32, data: &[u8]) -> Vec<u8> {
    let size = u32::try_from(data.len()).unwrap();
    let sha1 = HashAlg::Sha1.digest(&[data]);
    [
        &pcr.to_le_bytes()[..],
        &kind.to_le_bytes(),
        sha1.as_bytes(),
        &size.to_le_bytes(),
        data,
    ]
    .concat()
}

#[test]
fn replay_extends_in_order_and_leaves_the_rest_zero() {
    let bytes = log()
        .event(4, EventType::IPL, b"one")
        .event(4, EventType::IPL, b"two")
        .clone()
        .finish();
    let parsed = EventLog::parse(&bytes).unwrap();
    let replay = parsed.replay().unwrap();
    let by_hand = Digest::zero(SHA256)
        .extend(SHA256.digest(&[b"one"]).as_bytes())
        .extend(SHA256.digest(&[b"two"]).as_bytes());
    assert_eq!(replay.value(SHA256, 4), Some(by_hand));
    assert_eq!(replay.value(SHA256, 5), Some(Digest::zero(SHA256)));
    assert_eq!(replay.value(SHA256, 24), None);
    assert_eq!(replay.value(HashAlg::Sha384, 4), None);
    assert_eq!(parsed.format(), Format::CryptoAgile);
}

#[test]
fn startup_locality_is_pcr_0s_initial_value() {
    let bytes = log()
        .startup_locality(3)
        .event(0, EventType::S_CRTM_VERSION, b"v")
        .clone()
        .finish();
    let replay = EventLog::parse(&bytes).unwrap().replay().unwrap();
    let mut initial = [0_u8; 32];
    initial[31] = 3;
    let by_hand = Digest::from_slice(SHA256, &initial)
        .unwrap()
        .extend(SHA256.digest(&[b"v"]).as_bytes());
    assert_eq!(replay.value(SHA256, 0), Some(by_hand));
    assert_eq!(replay.startup_locality(), 3);
}

#[test]
fn an_h_crtm_event_starts_pcr_0_at_four() {
    let mut builder = log();
    let bytes = builder
        .event(0, EventType::EFI_HCRTM_EVENT, b"HCRTM")
        .startup_locality(4)
        .clone()
        .finish();
    let replay = EventLog::parse(&bytes).unwrap().replay().unwrap();
    let mut initial = [0_u8; 32];
    initial[31] = 4;
    let by_hand = Digest::from_slice(SHA256, &initial)
        .unwrap()
        .extend(SHA256.digest(&[b"HCRTM"]).as_bytes());
    assert_eq!(replay.value(SHA256, 0), Some(by_hand));
}

#[test]
fn a_late_or_contradicting_initial_value_is_refused() {
    let late = log()
        .event(0, EventType::S_CRTM_VERSION, b"v")
        .startup_locality(3)
        .clone()
        .finish();
    let twice = log().startup_locality(3).startup_locality(0).clone().finish();
    let odd = log().startup_locality(2).clone().finish();
    let hcrtm = log()
        .event(0, EventType::IPL, b"x")
        .event(0, EventType::EFI_HCRTM_EVENT, b"H")
        .clone()
        .finish();
    let long = log().no_action(0, b"StartupLocality\0\x03\0").clone().finish();
    for bytes in [late, twice, odd, hcrtm, long] {
        let error = EventLog::parse(&bytes).unwrap().replay().unwrap_err();
        assert!(matches!(error, EventLogError::InitialValue { .. }), "{error}");
    }
}

#[test]
fn no_action_events_are_not_extended() {
    let bytes = log().no_action(0, b"SP800-155 Event\0 and more").clone().finish();
    let replay = EventLog::parse(&bytes).unwrap().replay().unwrap();
    assert_eq!(replay.value(SHA256, 0), Some(Digest::zero(SHA256)));
}

#[test]
fn the_legacy_format_replays_sha1() {
    let bytes = [
        legacy(0, 8, b"v"),
        legacy(0, 3, b"StartupLocality\0"),
        legacy(7, 4, &[0; 4]),
    ]
    .concat();
    let error = EventLog::parse(&bytes).unwrap().replay().unwrap_err();
    assert!(
        matches!(error, EventLogError::InitialValue { at, .. } if at.event == 1),
        "{error}"
    );

    let bytes = [legacy(0, 8, b"v"), legacy(7, 4, &[0; 4])].concat();
    let parsed = EventLog::parse(&bytes).unwrap();
    assert_eq!(parsed.format(), Format::Legacy);
    let sha1 = HashAlg::Sha1;
    let by_hand = Digest::zero(sha1).extend(sha1.digest(&[&[0; 4]]).as_bytes());
    assert_eq!(parsed.replay().unwrap().value(sha1, 7), Some(by_hand));
}

#[test]
fn a_pcr_that_does_not_exist_is_refused_with_its_place() {
    let bytes = log()
        .event(1, EventType::IPL, b"a")
        .event(24, EventType::IPL, b"b")
        .clone()
        .finish();
    let error = EventLog::parse(&bytes).unwrap_err();
    assert!(
        matches!(error, EventLogError::Pcr { at, pcr: 24 } if at.event == 2),
        "{error}"
    );
    assert!(error.to_string().starts_with("event 2 at offset "));
}

#[test]
fn digests_must_be_exactly_the_announced_ones() {
    let both = [SHA256, HashAlg::Sha384];
    let good = Builder::new(&both)
        .unwrap()
        .event(1, EventType::IPL, b"a")
        .clone()
        .finish();
    let first = EventLog::parse(&good).unwrap().events()[1].position.offset;
    let change = |at: usize, value: u8| {
        let mut bad = good.clone();
        bad[first + at] = value;
        EventLog::parse(&bad).unwrap_err()
    };
    assert!(matches!(
        change(8, 1),
        EventLogError::DigestCount {
            found: 1,
            announced: 2,
            ..
        }
    ));
    assert!(matches!(
        change(8, 3),
        EventLogError::DigestCount {
            found: 3,
            announced: 2,
            ..
        }
    ));
    assert!(matches!(
        change(12, 4),
        EventLogError::DigestAlgorithm { algorithm: 4, .. }
    ));
    // The second digest claims to be SHA-256 as well.
    assert!(matches!(
        change(46, 0x0b),
        EventLogError::DigestAlgorithm { algorithm: 0x0b, .. }
    ));
}

#[test]
fn a_damaged_header_is_refused() {
    let good = log().event(1, EventType::IPL, b"a").clone().finish();
    for (at, value, what) in [
        (0, 1, "PCR index"),
        (8, 1, "digest"),
        (32 + 24, 0, "number of algorithms"),
        (32 + 24, 9, "number of algorithms"),
        (32 + 30, 31, "digest size"),
        (29, 0xff, "event data"),
    ] {
        let mut bad = good.clone();
        bad[at] = value;
        let error = EventLog::parse(&bad).unwrap_err().to_string();
        assert!(
            error.contains(what) && error.starts_with("event 0 at offset 0"),
            "{at}: {error}"
        );
    }
    assert_eq!(EventLog::parse(&[]).unwrap_err(), EventLogError::Empty);
}

fn stop_event(scope: StopScope) -> StopEvent {
    let robot = RobotId::new("r1").unwrap();
    StopEvent {
        stop: StopId::new([7; 16]),
        robot,
        scope,
        cause: StopCause::SafetyViolation,
        called_utc_ms: 1_790_000_000_000,
    }
}

#[test]
fn agent_events_round_trip_and_no_changed_byte_means_the_same() {
    let mission = MissionId::new([9; 16]);
    let events = [
        AgentEvent::Stop(stop_event(StopScope::Robot)),
        AgentEvent::Stop(stop_event(StopScope::Level(Level::Secret))),
        AgentEvent::Stop(stop_event(StopScope::Mission(
            mission,
            MissionAnchor::new(3).unwrap(),
        ))),
        AgentEvent::MissionEnded(mission),
    ];
    for event in events {
        let data = event.encode();
        assert_eq!(AgentEvent::decode(&data).unwrap(), event);
        for at in 0..data.len() {
            let mut changed = data.clone();
            changed[at] ^= 0x40;
            assert_ne!(
                AgentEvent::decode(&changed).ok(),
                Some(event.clone()),
                "byte {at}"
            );
        }
        assert!(AgentEvent::decode(&data[..data.len() - 1]).is_err());
        assert!(AgentEvent::decode(&[data.as_slice(), &[0]].concat()).is_err());
    }
}

#[test]
fn a_stop_event_extends_the_digest_of_its_message() {
    let event = AgentEvent::Stop(stop_event(StopScope::Robot));
    let bytes = log().agent(13, &event).clone().finish();
    let replay = EventLog::parse(&bytes).unwrap().replay().unwrap();
    let by_hand = Digest::zero(SHA256).extend(SHA256.digest(&[&event.message()]).as_bytes());
    assert_eq!(replay.value(SHA256, 13), Some(by_hand));
    // {0: domain, 1: 1, 2: stop, 3: "r1", 4: 1, 5: time}
    let expected = [
        &[0xa6, 0x00, 0x74][..],
        b"alcub3/stop-event/v1",
        &[0x01, 0x01, 0x02, 0x50],
        &[7; 16],
        &[0x03, 0x62, b'r', b'1', 0x04, 0x01, 0x05, 0x1b],
        &1_790_000_000_000_u64.to_be_bytes(),
    ];
    assert_eq!(event.message(), expected.concat());
}

#[test]
fn a_built_boot_describes_itself() {
    let bytes = log().uefi_boot(&Boot::default()).clone().finish();
    let report = alcub3_attestation::event_log::ReplayReport::of(&EventLog::parse(&bytes).unwrap()).unwrap();
    let described: Vec<&str> = report
        .events
        .iter()
        .map(|event| event.description.as_str())
        .collect();
    for expected in [
        "SecureBoot (8be4df61-93ca-11d2-aa0d-00e098032b8c) = 01",
        "shimx64.efi",
        "kernel_cmdline: ",
    ] {
        assert!(
            described.iter().any(|text| text.contains(expected)),
            "{expected} not in {described:#?}"
        );
    }
    let json: Vec<String> = report.banks["sha256"].keys().map(ToString::to_string).collect();
    assert_eq!(json, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "14"]);
}
