//! An approved replacement whose taking is cut short: the robot is as it was or as it is to be.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/repaired.rs"]
mod repaired;
mod support;

use alcub3_agent::AgentError;
use alcub3_fleet_protocol::replacement::ReplacementError;
use alcub3_keys::KeysError;
use repaired::{Files, Repaired, identity_files, new_lidar, put_files};
use std::fs;
use std::path::Path;

#[test]
fn a_disk_that_refuses_a_file_leaves_the_robot_as_it_was_or_as_it_is_to_be() {
    for (name, is_taken) in [
        ("identity/initial-next.cbor", false),
        ("hardware-next.cbor", false),
        ("robot.cbor", false),
        ("hardware.cbor", true),
    ] {
        let mut repaired = Repaired::new();
        let folder = repaired.life.path();
        let answer = repaired.approved(&new_lidar("L-2"));
        let robot = fs::read(folder.join("robot.cbor")).unwrap();
        // A folder is where the new file would be written.
        let obstacle = folder.join(format!("{name}.new"));
        fs::create_dir(&obstacle).unwrap();
        repaired.life.take_replacement(&answer).unwrap_err();
        assert_eq!(
            fs::read(folder.join("robot.cbor")).unwrap() != robot,
            is_taken,
            "{name}"
        );
        let enrolled = repaired.life.robot().keys().enrolled_hardware().unwrap();
        let has = |serial: &str| enrolled.inventory.declared().any(|part| part.serial == serial);
        assert_eq!((has("L-1"), has("L-2")), (!is_taken, is_taken), "{name}");
        fs::remove_dir(&obstacle).unwrap();
        assert_eq!(
            repaired.life.take_replacement(&answer).is_ok(),
            !is_taken,
            "{name}"
        );
        repaired.life.create_identity().unwrap();
        assert!(repaired.life.robot().is_identity_current().unwrap());
    }
}

#[test]
fn a_crash_at_each_file_leaves_the_robot_as_it_was_or_as_it_is_to_be() {
    let mut repaired = Repaired::new();
    let folder = repaired.life.path();
    let answer = repaired.approved(&new_lidar("L-2"));
    let before = identity_files(&folder);
    repaired.life.take_replacement(&answer).unwrap();
    let after = identity_files(&folder);
    let initial = Path::new("identity/initial-next.cbor");
    let hardware = Path::new("hardware.cbor");
    let next = Path::new("hardware-next.cbor");
    let robot = Path::new("robot.cbor");
    // In the order in which they are written.
    let mut files = before.clone();
    let mut states = vec![files.clone()];
    let mut step = |change: &dyn Fn(&mut Files)| {
        change(&mut files);
        states.push(files.clone());
    };
    step(&|files| drop(files.insert(initial.to_owned(), after[initial].clone())));
    step(&|files| drop(files.insert(next.to_owned(), after[hardware].clone())));
    step(&|files| drop(files.insert(robot.to_owned(), after[robot].clone())));
    step(&|files| drop(files.insert(hardware.to_owned(), after[hardware].clone())));
    step(&|files| drop(files.remove(next)));
    step(&|files| drop(files.remove(Path::new("replacement.cbor"))));
    assert_eq!(
        states.last().unwrap(),
        &after,
        "the steps are those of the program"
    );
    for (number, state) in states.iter().enumerate() {
        repaired.life.robot = None;
        put_files(&folder, state);
        repaired.life.open();
        let is_new = state[robot] == after[robot];
        let expected = if is_new { &after } else { &before };
        let enrolled = repaired.life.robot().keys().enrolled_hardware().unwrap();
        assert_eq!(enrolled.to_canonical(), expected[hardware], "step {number}");
        let taken = repaired.life.take_replacement(&answer);
        match (number, taken) {
            (0..=2, Ok(_)) => {}
            (3..=5, Err(AgentError::Keys(KeysError::Replacement(ReplacementError::AlreadyTaken)))) => {}
            (6, Err(AgentError::Keys(KeysError::NoReplacementAsked))) => {}
            other => panic!("{other:?}"),
        }
        repaired.life.create_identity().unwrap();
        assert!(repaired.life.robot().is_identity_current().unwrap());
    }
}

#[test]
fn a_crash_between_the_certificate_and_its_place_asks_for_no_second_one() {
    let mut repaired = Repaired::new();
    let answer = repaired.approved(&new_lidar("L-2"));
    // An initial key that was made for parts which the robot has not taken is not certified.
    let folder = repaired.life.path();
    let before = identity_files(&folder);
    repaired.life.take_replacement(&answer).unwrap();
    let next = Path::new("identity/initial-next.cbor");
    let made = fs::read(folder.join(next)).unwrap();
    let taken = identity_files(&folder);
    repaired.life.robot = None;
    put_files(&folder, &before);
    fs::write(folder.join(next), &made).unwrap();
    repaired.life.open();
    repaired.life.create_identity().unwrap();
    assert_eq!(repaired.life.authority.issued.len(), 2);

    repaired.life.robot = None;
    put_files(&folder, &taken);
    repaired.life.open();
    let identity = repaired.life.create_identity().unwrap();
    assert_eq!(repaired.life.authority.issued.len(), 4);
    repaired.life.robot = None;
    fs::write(folder.join(next), identity.initial.to_canonical()).unwrap();
    fs::write(
        folder.join("identity/initial.cbor"),
        &before[Path::new("identity/initial.cbor")],
    )
    .unwrap();
    repaired.life.open();
    let again = repaired.life.create_identity().unwrap();
    assert_eq!((again.initial, again.local), (identity.initial, identity.local));
    assert_eq!(repaired.life.authority.issued.len(), 4);
}
