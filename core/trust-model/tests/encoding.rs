//! Deterministic CBOR, identifiers, labels and the robot's state: what is written is read, and nothing else.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;

use alcub3_crypto::HashAlg;
use alcub3_trust_model::canonical::{Encoder, Fault, Fields, Reader};
use alcub3_trust_model::nv_map::Register;
use alcub3_trust_model::{
    AttestationKind, BootId, FaultSeverity, Integrity, Labels, Level, Marking, MissionId, OperationalMode,
    OperatorId, Payload, PlatformType, Position, ReportedFault, RobotId, RobotState, SensorCalibration,
    StopId, SubsystemFirmware,
};
use proptest::prelude::*;

fn state() -> RobotState {
    let digest = |what: &[u8]| HashAlg::Sha256.digest(&[what]);
    let firmware = |subsystem: &str, image| SubsystemFirmware {
        subsystem: subsystem.to_owned(),
        version: "2.1.0".to_owned(),
        image,
    };
    RobotState {
        robot: RobotId::new("rover-17").unwrap(),
        boot: BootId::new([1; 16]),
        time_ms: 1_790_000_000_123,
        kind: AttestationKind::Mission(MissionId::new([2; 16])),
        platform: PlatformType::BostonDynamicsSpot,
        mode: OperationalMode::Mission,
        stopped: false,
        level: Level::Cui,
        missions: vec![MissionId::new([2; 16]), MissionId::new([3; 16])],
        software: "alcub3 0.1.0".to_owned(),
        firmware: vec![firmware("arm", None), firmware("legs", Some(digest(b"image")))],
        calibration: vec![SensorCalibration {
            sensor: "lidar-front".to_owned(),
            calibration: digest(b"calibration"),
        }],
        hardware: HashAlg::Sha384.digest(&[b"hardware"]),
        payload: vec![Payload {
            name: "gripper".to_owned(),
            mass_g: 1700,
        }],
        command_sequence: 12,
        faults: vec![ReportedFault {
            subsystem: "arm".to_owned(),
            code: "E-42".to_owned(),
            severity: FaultSeverity::Degraded,
        }],
        speed_mm_per_s: 1200,
        battery_permille: 875,
        position: Some(Position {
            latitude_e7_deg: -338_523_410,
            longitude_e7_deg: 1_512_108_050,
            altitude_mm: -40,
        }),
        maintained_at_ms: Some(1_789_000_000_000),
    }
}

#[test]
fn state_survives_its_encoding() {
    for state in [
        state(),
        RobotState {
            position: None,
            maintained_at_ms: None,
            missions: vec![],
            firmware: vec![],
            kind: AttestationKind::Emergency,
            ..state()
        },
    ] {
        assert_eq!(RobotState::from_canonical(&state.to_canonical()).unwrap(), state);
    }
}

#[test]
fn state_is_the_same_bytes_whatever_order_missions_come_in() {
    let mut shuffled = state();
    shuffled.missions = vec![
        MissionId::new([3; 16]),
        MissionId::new([2; 16]),
        MissionId::new([3; 16]),
    ];
    assert_eq!(shuffled.to_canonical(), state().to_canonical());
    assert_eq!(shuffled.digest(HashAlg::Sha384), state().digest(HashAlg::Sha384));
}

/// Parts come in ascending order and once each, by what they are of; what a register measures follows from them alone.
#[test]
fn parts_have_one_order_and_are_named_in_printing_ascii() {
    let mut shuffled = state();
    shuffled.firmware.reverse();
    shuffled.firmware.push(shuffled.firmware[0].clone());
    assert_eq!(shuffled.to_canonical(), state().to_canonical());
    let measured = |state: &RobotState, register| state.measured(register, HashAlg::Sha256);
    for register in Register::ALL {
        assert_eq!(
            measured(&shuffled, register),
            measured(&state(), register),
            "{register:?}"
        );
    }
    let mut other = state();
    other.firmware[0].version = "2.1.1".to_owned();
    assert_ne!(
        measured(&other, Register::SubsystemFirmware),
        measured(&state(), Register::SubsystemFirmware)
    );
    assert_eq!(
        measured(&other, Register::SensorCalibration),
        measured(&state(), Register::SensorCalibration)
    );
    let fault = |change: fn(&mut RobotState)| {
        let mut wrong = state();
        change(&mut wrong);
        RobotState::from_canonical(&wrong.to_canonical())
            .unwrap_err()
            .fault
    };
    assert_eq!(fault(|state| state.firmware[0].subsystem.clear()), Fault::Value);
    assert_eq!(fault(|state| state.payload[0].name.push('\n')), Fault::Value);
    assert_eq!(fault(|state| state.faults[0].code.push('é')), Fault::Value);
    assert_eq!(
        fault(|state| state.calibration[0].sensor = "x".repeat(65)),
        Fault::TooLong
    );
}

/// A changed byte either is refused or gives another state: no two encodings of one state exist.
#[test]
fn state_has_one_encoding() {
    let bytes = state().to_canonical();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            if let Ok(other) = RobotState::from_canonical(&changed) {
                assert_ne!(other, state(), "byte {at} bit {bit}");
                assert_eq!(other.to_canonical(), changed, "byte {at} bit {bit}");
            }
        }
    }
}

#[test]
fn state_refuses_what_follows_what_is_cut_and_what_is_unknown() {
    let bytes = state().to_canonical();
    let fault = |bytes: &[u8]| RobotState::from_canonical(bytes).unwrap_err().fault;
    assert_eq!(fault(&[bytes.as_slice(), &[0]].concat()), Fault::Trailing(1));
    for length in 0..bytes.len() {
        RobotState::from_canonical(&bytes[..length]).unwrap_err();
    }
    let mut newer = bytes.clone();
    let version = 1 + 1 + 2 + "alcub3/robot-state/v1".len() - 1;
    assert_eq!(newer[version..version + 2], [1, 1]);
    newer[version + 1] = 2;
    assert_eq!(fault(&newer), Fault::UnknownVersion(2));
    let mut more = bytes.clone();
    more[0] += 1;
    more.extend([24, 99, 0]);
    assert_eq!(fault(&more), Fault::UnknownField(99));
    let mut fewer = RobotState {
        position: None,
        maintained_at_ms: None,
        ..state()
    }
    .to_canonical();
    fewer[0] -= 1;
    let cut = fewer.len() - 4; // battery: key 19, value 0x19 0x03 0x6b
    fewer.truncate(cut);
    assert_eq!(fault(&fewer), Fault::Missing);
    let other_domain = String::from_utf8_lossy(&bytes).into_owned();
    assert!(other_domain.contains("alcub3/robot-state/v1"));
    let mut other = bytes;
    other[5] = b'x';
    assert_eq!(fault(&other), Fault::Domain);
}

#[test]
fn reader_refuses_every_form_that_is_not_canonical() {
    let number = |bytes: &[u8]| Reader::new("test", bytes).u64("n");
    assert_eq!(number(&[0x17]), Ok(23));
    for long in [
        &[0x18, 23][..],
        &[0x19, 0, 24],
        &[0x1A, 0, 0, 1, 0],
        &[0x1B, 0, 0, 0, 0, 0, 1, 0, 0],
    ] {
        assert_eq!(
            number(long).unwrap_err().fault,
            Fault::NotCanonical,
            "{long:02x?}"
        );
    }
    for reserved in [0x1C, 0x1D, 0x1E, 0x1F] {
        number(&[reserved, 0, 0]).unwrap_err();
    }
    Reader::new("test", &[0x5F, 0xFF]).bytes("b").unwrap_err();
    assert_eq!(
        Reader::new("test", &[0x9F, 0xFF])
            .array("a", 9)
            .unwrap_err()
            .fault,
        Fault::NotCanonical
    );
    assert_eq!(
        Reader::new("test", &[0xBF, 0xFF]).map("m", 9).unwrap_err().fault,
        Fault::NotCanonical
    );
    Reader::new("test", &[0xF8, 21]).bool("b").unwrap_err();
    assert_eq!(
        Reader::new("test", &[0xF7]).bool("b").unwrap_err().fault,
        Fault::Type
    );
    assert_eq!(
        Reader::new("test", &[0x62, 0xC3, 0x28])
            .text("t")
            .unwrap_err()
            .fault,
        Fault::Utf8
    );
    assert_eq!(
        Reader::new("test", &[0x5B, 255, 255, 255, 255, 255, 255, 255, 255])
            .bytes("b")
            .unwrap_err()
            .fault,
        Fault::Truncated
    );
    assert_eq!(
        Reader::new("test", &[0x9A, 0xFF, 0xFF, 0xFF, 0xFF])
            .array("a", 4)
            .unwrap_err()
            .fault,
        Fault::TooLong
    );
    let mut out_of_order = Reader::new("test", &[0xA2, 2, 0, 1, 0]);
    let mut fields = Fields::open(&mut out_of_order).unwrap();
    fields.key(&mut out_of_order, 2, "two").unwrap();
    out_of_order.u64("two").unwrap();
    assert_eq!(fields.finish(&mut out_of_order).unwrap_err().fault, Fault::Order);
}

/// RFC 8949, Appendix A.
#[test]
fn encoder_writes_the_examples_of_the_rfc() {
    let number = |n: u64| {
        let mut out = Encoder::new();
        out.u64(n);
        hex::encode(out.finish())
    };
    let cases = [
        (0, "00"),
        (23, "17"),
        (24, "1818"),
        (1000, "1903e8"),
        (1_000_000, "1a000f4240"),
    ];
    for (n, expected) in cases {
        assert_eq!(number(n), expected);
    }
    assert_eq!(number(u64::MAX), "1bffffffffffffffff");
    let mut out = Encoder::new();
    out.i64(-1)
        .i64(-100)
        .bytes(&[1, 2, 3, 4])
        .text("\u{6c34}")
        .array(3)
        .u64(1)
        .u64(2)
        .u64(3)
        .map(1)
        .u64(1)
        .bool(true);
    assert_eq!(
        hex::encode(out.finish()),
        "20386344010203 0463e6b0b483010203a101f5".replace(' ', "")
    );
}

#[test]
fn identifiers_are_checked() {
    for good in ["a", "Rover-17.alpha_2", &"x".repeat(64)] {
        assert_eq!(RobotId::new(good).unwrap().as_str(), good);
    }
    for bad in ["", "-a", ".a", "a b", "ä", "a/b", "a\n", &"x".repeat(65)] {
        RobotId::new(bad).unwrap_err();
        OperatorId::new(bad).unwrap_err();
    }
    let text = "00010203-0405-0607-0809-0a0b0c0d0e0f";
    let stop: StopId = text.parse().unwrap();
    assert_eq!(stop.to_string(), text);
    assert_eq!(text.replace('-', "").parse(), Ok(stop));
    for bad in [
        "",
        "00",
        "0001020304050607-08090a0b0c0d0e0f",
        "g0010203-0405-0607-0809-0a0b0c0d0e0f",
        "00010203-0405-0607-0809-0a0b0c0d0e0f0",
    ] {
        bad.parse::<StopId>().unwrap_err();
    }
    assert_eq!(serde_json::to_string(&stop).unwrap(), format!("{text:?}"));
    assert!(serde_json::from_str::<RobotId>("\"a b\"").is_err());
}

fn labels(level: Level, compartments: &[&str], dissemination: &[&str], integrity: Integrity) -> Labels {
    let set = |names: &[&str]| {
        names
            .iter()
            .map(|name| Marking::new(*name).unwrap())
            .collect::<BTreeSet<_>>()
    };
    Labels {
        level,
        compartments: set(compartments),
        dissemination: set(dissemination),
        integrity,
    }
}

#[test]
fn data_flows_up_and_commands_flow_down() {
    let low = labels(Level::Cui, &[], &[], Integrity::SafetyCritical);
    let high = labels(Level::Secret, &["ALPHA"], &["NOFORN"], Integrity::Operational);
    assert!(high.can_read(&low) && !low.can_read(&high));
    assert!(low.can_write(&high) && !high.can_write(&low));
    assert!(low.may_command(&high) && !high.may_command(&low));
    let beside = labels(Level::Secret, &["BETA"], &["NOFORN"], Integrity::Operational);
    assert!(!high.can_read(&beside) && !beside.can_read(&high));
    let joined = high.join(&beside);
    assert!(joined.can_read(&high) && joined.can_read(&beside));
    assert_eq!(low.join(&high).integrity, Integrity::Operational);
    for bad in ["", " A", "A ", "a", "Ä", &"A".repeat(33)] {
        Marking::new(bad).unwrap_err();
    }
}

#[test]
fn labels_are_read_strictly() {
    let label = labels(
        Level::Secret,
        &["ALPHA", "BETA"],
        &["REL TO USA"],
        Integrity::MissionCritical,
    );
    let mut out = Encoder::new();
    label.encode(&mut out);
    let bytes = out.finish();
    assert_eq!(Labels::decode(&mut Reader::new("labels", &bytes)).unwrap(), label);
    let mut twice = Encoder::new();
    twice
        .array(4)
        .u64(3)
        .array(2)
        .text("ALPHA")
        .text("ALPHA")
        .array(0)
        .u64(1);
    assert_eq!(
        Labels::decode(&mut Reader::new("labels", &twice.finish()))
            .unwrap_err()
            .fault,
        Fault::Order
    );
    let mut unknown = Encoder::new();
    unknown.array(4).u64(5).array(0).array(0).u64(1);
    assert_eq!(
        Labels::decode(&mut Reader::new("labels", &unknown.finish()))
            .unwrap_err()
            .fault,
        Fault::Value
    );
}

proptest! {
    /// What is written is read.
    #[test]
    fn numbers_and_strings_survive(n in any::<u64>(), i in any::<i64>(), b in prop::collection::vec(any::<u8>(), 0..300), t in ".{0,80}", flag in any::<bool>()) {
        let mut out = Encoder::new();
        out.array(5).u64(n).i64(i).bytes(&b).text(&t).bool(flag);
        let bytes = out.finish();
        let mut r = Reader::new("test", &bytes);
        r.array_of("all", 5).unwrap();
        prop_assert_eq!(r.u64("n").unwrap(), n);
        prop_assert_eq!(r.i64("i").unwrap(), i);
        prop_assert_eq!(r.bytes("b").unwrap(), b.as_slice());
        prop_assert_eq!(r.text("t").unwrap(), t.as_str());
        prop_assert_eq!(r.bool("f").unwrap(), flag);
        r.finish().unwrap();
    }

    /// Nothing makes the reader panic, and whatever it accepts is the one encoding.
    #[test]
    fn any_bytes_are_refused_or_canonical(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(state) = RobotState::from_canonical(&bytes) {
            prop_assert_eq!(state.to_canonical(), bytes);
        }
    }

    /// The order of labels is one: reading is transitive and antisymmetric.
    #[test]
    fn labels_form_an_order(levels in prop::collection::vec((0u8..5, 0usize..8, 0usize..8), 3)) {
        let marks = ["A", "B", "C"];
        let pick = |mask: usize| marks.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, m)| *m).collect::<Vec<_>>();
        let made: Vec<Labels> = levels.iter().map(|(l, c, d)| labels(Level::from_id(*l).unwrap(), &pick(*c), &pick(*d), Integrity::Operational)).collect();
        let (a, b, c) = (&made[0], &made[1], &made[2]);
        prop_assert!(a.can_read(a));
        prop_assert!(!(a.can_read(b) && b.can_read(c)) || a.can_read(c));
        prop_assert!(!(a.can_read(b) && b.can_read(a)) || a == b);
        prop_assert_eq!(a.can_read(b), b.can_write(a));
    }
}
