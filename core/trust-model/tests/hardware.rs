//! The hardware binding record: one encoding, and what makes a robot another one.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_crypto::tpm::Name;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::hardware::{
    HardwareReason, HardwareRecord, Inventory, MAX_PARTS, Part, PartClass, PartError, PartSource, Sameness,
    Tolerance, compare, is_placeholder, shared_identity, tolerance,
};

fn digest(text: &str) -> Digest {
    HashAlg::Sha256.digest(&[text.as_bytes()])
}

fn part(class: PartClass, slot: &str, serial: &str) -> Part {
    Part {
        class,
        slot: slot.to_owned(),
        serial: serial.to_owned(),
        source: PartSource::Machine,
    }
}

fn record(parts: impl IntoIterator<Item = Part>) -> HardwareRecord {
    HardwareRecord {
        endorsement_key: Name::of_digest(&digest("ek")),
        endorsement_certificate: digest("certificate"),
        inventory: Inventory::new().with_all(parts).unwrap(),
    }
}

fn rover() -> [Part; 3] {
    [
        part(PartClass::Mainboard, "board_serial", "B-1"),
        part(PartClass::MotorController, "left", "M-1"),
        part(PartClass::Sensor, "lidar", "L-1"),
    ]
}

#[test]
fn a_record_has_one_encoding_whatever_the_order_of_its_parts() {
    let one = record(rover());
    let [board, motor, sensor] = rover();
    let other = record([sensor, board, motor]);
    assert_eq!(one.to_canonical(), other.to_canonical());
    let bytes = one.to_canonical();
    assert_eq!(HardwareRecord::from_canonical(&bytes).unwrap(), one);
    for at in 0..bytes.len() {
        assert!(HardwareRecord::from_canonical(&bytes[..at]).is_err());
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        if let Ok(read) = HardwareRecord::from_canonical(&changed) {
            assert_ne!(read.binding(HashAlg::Sha256), one.binding(HashAlg::Sha256));
        }
    }
    assert!(HardwareRecord::from_canonical(&[bytes, vec![0]].concat()).is_err());
}

#[test]
fn parts_in_another_order_or_twice_are_refused() {
    let twice = Inventory::new().with_all([rover()[0].clone(), rover()[0].clone()]);
    assert!(matches!(twice, Err(PartError::Twice { .. })));
    let module = part(PartClass::SecurityModule, "tpm", "1");
    assert_eq!(Inventory::new().with(module), Err(PartError::SecurityModule));
    for (slot, serial) in [("", "1"), ("a", ""), ("a", "b\n"), ("a", &"x".repeat(257))] {
        let wrong = Inventory::new().with(part(PartClass::Sensor, slot, serial));
        assert!(matches!(wrong, Err(PartError::Text { .. })), "{slot:?}");
    }
    let many = (0..=MAX_PARTS).map(|number| part(PartClass::Sensor, &format!("{number}"), "1"));
    assert_eq!(Inventory::new().with_all(many), Err(PartError::TooMany));
    // The encoding of two parts swapped.
    let ab = record([
        part(PartClass::Sensor, "a", "1"),
        part(PartClass::Sensor, "b", "2"),
    ])
    .to_canonical();
    let text = |slot: u8, serial: u8| vec![0x84, 5, 0x61, slot, 0x61, serial, 0];
    let (a, b) = (text(b'a', b'1'), text(b'b', b'2'));
    let at = ab.windows(a.len()).position(|window| window == a).unwrap();
    let swapped = [&ab[..at], &b, &a].concat();
    assert!(HardwareRecord::from_canonical(&swapped).is_err());
}

#[test]
fn the_tolerance_of_each_class_is_stated() {
    for class in PartClass::ALL {
        let expected = match class.name() {
            "security-module" | "system" | "mainboard" => Tolerance::AnotherRobot,
            "network-interface" | "motor-controller" | "sensor" | "usb-device" => Tolerance::OnePerson,
            other => panic!("{other} has no stated tolerance"),
        };
        assert_eq!(tolerance(class), expected, "{}", class.name());
        assert_eq!(PartClass::from_name(class.name()), Some(class));
        assert_eq!(PartClass::from_id(class.id()), Some(class));
    }
}

#[test]
fn a_replaced_part_needs_one_person_and_another_board_is_another_robot() {
    use HardwareReason as Reason;
    let enrolled = record(rover());
    let [board, motor, sensor] = rover();
    let exchanged = |part: &Part| Part {
        serial: "other".to_owned(),
        ..part.clone()
    };
    let cases = [
        (
            vec![board.clone(), motor.clone(), sensor.clone()],
            Sameness::Same,
            vec![],
        ),
        (
            vec![board.clone(), exchanged(&motor), sensor.clone()],
            Sameness::NeedsOnePerson,
            vec![Reason::PartExchanged],
        ),
        (
            vec![board.clone(), motor.clone()],
            Sameness::NeedsOnePerson,
            vec![Reason::PartMissing],
        ),
        (
            vec![exchanged(&board), motor.clone(), exchanged(&sensor)],
            Sameness::AnotherRobot,
            vec![Reason::IdentityPartExchanged, Reason::PartExchanged],
        ),
        (
            vec![motor.clone(), sensor.clone()],
            Sameness::AnotherRobot,
            vec![Reason::IdentityPartMissing],
        ),
    ];
    for (parts, sameness, reasons) in cases {
        let verdict = compare(&enrolled, &record(parts));
        assert_eq!(verdict.sameness, sameness);
        let found: Vec<_> = verdict
            .differences
            .iter()
            .map(|difference| difference.reason)
            .collect();
        assert_eq!(found, reasons);
    }
    let added = compare(&record([motor]), &enrolled);
    let found: Vec<_> = added
        .differences
        .iter()
        .map(|difference| difference.reason)
        .collect();
    assert_eq!(found, [Reason::IdentityPartAdded, Reason::PartAdded]);
}

#[test]
fn another_security_module_is_another_robot() {
    let enrolled = record(rover());
    let chip = HardwareRecord {
        endorsement_key: Name::of_digest(&digest("another")),
        ..enrolled.clone()
    };
    assert_eq!(compare(&enrolled, &chip).sameness, Sameness::AnotherRobot);
    assert_ne!(enrolled.binding(HashAlg::Sha256), chip.binding(HashAlg::Sha256));
}

#[test]
fn one_board_or_one_chip_is_one_robot() {
    let one = record(rover());
    let elsewhere = HardwareRecord {
        endorsement_key: Name::of_digest(&digest("another")),
        ..one.clone()
    };
    // The same board under another slot's name is the same board.
    let renamed = HardwareRecord {
        inventory: Inventory::new()
            .with(part(PartClass::Mainboard, "other_slot", "B-1"))
            .unwrap(),
        ..elsewhere
    };
    for other in [&elsewhere, &renamed] {
        let shared = shared_identity(&one, other).unwrap();
        assert_eq!(
            (shared.class, shared.serial.as_str()),
            (PartClass::Mainboard, "B-1")
        );
    }
    let bare = HardwareRecord {
        inventory: Inventory::new(),
        ..one
    };
    assert_eq!(
        shared_identity(&one, &bare).unwrap().class,
        PartClass::SecurityModule
    );
    // A sensor may be bought twice by serial numbers that its maker gives twice.
    let sensors = HardwareRecord {
        inventory: Inventory::new().with(rover()[2].clone()).unwrap(),
        ..elsewhere
    };
    assert_eq!(shared_identity(&one, &sensors), None);
}

#[test]
fn numbers_that_identify_nothing_are_known() {
    for nothing in [
        "",
        "  ",
        "To Be Filled By O.E.M.",
        "Default string",
        "FFFFFFFF",
        "None",
    ] {
        assert!(is_placeholder(nothing), "{nothing:?}");
    }
    for real in ["PF3ABC12", "f0", "NONE-17"] {
        assert!(!is_placeholder(real), "{real:?}");
    }
}
