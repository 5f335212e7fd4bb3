//! A part of a robot is replaced, on a real TPM implementation: named, asked for, approved by one person, taken, and the same
//! robot goes on.
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

use alcub3_agent::{AgentError, DeclaredAnew};
use alcub3_fleet_protocol::replacement::{ReplacementError, ReplacementGrant};
use alcub3_keys::{DeviceKeySlot, KeysError, StateFolder};
use alcub3_testkit::PowerUp;
use alcub3_trust_model::hardware::{HardwareReason, Part, PartClass, Sameness};
use repaired::{Repaired, STICK, identity_files, new_lidar, put_files, write};
use std::fs;
use std::path::Path;
use support::{Life, SoftAuthority, board, digest};
use tempfile::TempDir;

#[test]
fn a_replaced_part_is_named_approved_by_one_person_and_taken_by_the_same_robot() {
    let mut repaired = Repaired::new();
    repaired.life.rearm();
    let mission = repaired.life.start_mission(600_000);
    let before = repaired.life.robot().identity().unwrap();
    let record = repaired.life.robot().keys().record().clone();
    write(repaired.machine.path(), STICK, "camera 2\n");
    let verdict = repaired.measured();
    assert_eq!(verdict.sameness, Sameness::NeedsOnePerson);
    assert!(repaired.audit().contains("hardware-part-exchanged"));

    let answer = repaired.approved(&new_lidar("L-2"));
    let taken = repaired.life.take_replacement(&answer).unwrap();
    assert_eq!(taken.approver.as_str(), "alice");
    let replaced: Vec<_> = taken.differences.iter().map(|part| part.class).collect();
    assert_eq!(replaced, [PartClass::Sensor, PartClass::UsbDevice]);
    assert!(repaired.audit().contains("approved by alice"));
    assert_eq!(repaired.measured().sameness, Sameness::Same);

    // The same robot, with the same keys; its mission goes on.
    let now = repaired.life.robot().keys().record();
    assert_eq!(now.identity, record.identity);
    assert_eq!(now.attestation_key, record.attestation_key);
    assert_ne!(
        now.enrolled.enrolment().record().hardware_binding,
        record.enrolled.enrolment().record().hardware_binding
    );
    let key = repaired.life.key(&mission);
    repaired.life.robot().keys().sign(&key, digest()).unwrap();
    drop(key);

    // The certificates of before count until there are new ones, for the new hardware.
    assert!(!repaired.life.robot().is_identity_current().unwrap());
    assert_eq!(repaired.life.robot().identity().unwrap().local, before.local);
    let after = repaired.life.create_identity().unwrap();
    assert!(repaired.life.robot().is_identity_current().unwrap());
    assert_eq!(after.initial.public, before.initial.public);
    assert_ne!(after.initial.issued, before.initial.issued);
    assert_ne!(after.initial.creation.data, before.initial.creation.data);
    assert_ne!(after.local.public, before.local.public);
    assert_eq!(repaired.life.authority.issued.len(), 4);
    // Nothing is left to be got.
    repaired.life.create_identity().unwrap();
    assert_eq!(repaired.life.authority.issued.len(), 4);
    for left in [
        "hardware-next.cbor",
        "replacement.cbor",
        "identity/initial-next.cbor",
    ] {
        assert!(!repaired.life.path().join(left).exists(), "{left}");
    }

    repaired
        .life
        .reopen_after(|swtpm| swtpm.power_cycle(PowerUp::Clear).unwrap());
    assert_eq!(repaired.measured().sameness, Sameness::Same);
}

#[test]
fn another_board_or_no_difference_is_not_approved_and_changes_nothing() {
    let mut repaired = Repaired::new();
    let files = |repaired: &Repaired| {
        let mut files = identity_files(&repaired.life.path());
        files.remove(Path::new("replacement.cbor"));
        files
    };
    let before = files(&repaired);
    let refused = |repaired: &mut Repaired, declared: &DeclaredAnew| {
        let (request, session) = repaired.ask(declared);
        repaired
            .life
            .authority
            .approve_replacement(&request, session)
            .unwrap_err()
            .to_string()
    };
    let none = DeclaredAnew::default();
    assert!(refused(&mut repaired, &none).contains("nothing to approve"));
    write(
        repaired.machine.path(),
        "sys/class/dmi/id/board_serial",
        "BOARD-2\n",
    );
    let message = refused(&mut repaired, &new_lidar("L-2"));
    let code = HardwareReason::IdentityPartExchanged.code();
    assert!(message.contains(code), "{message}");
    assert_eq!(files(&repaired), before);
}

#[test]
fn an_answer_to_another_request_or_of_another_authority_changes_nothing() {
    let mut repaired = Repaired::new();
    assert!(matches!(
        repaired.life.take_replacement(b"nothing was asked"),
        Err(AgentError::Keys(KeysError::NoReplacementAsked))
    ));
    assert!(repaired.audit().contains("not-asked"));
    let first = repaired.approved(&new_lidar("L-2"));
    // Asked again: the first answer is for another exchange.
    let (request, session) = repaired.ask(&new_lidar("L-2"));
    let before = identity_files(&repaired.life.path());
    let refusal = |repaired: &mut Repaired, answer: &[u8]| {
        let before = repaired.audit().len();
        let refused = repaired.life.take_replacement(answer);
        let Err(AgentError::Keys(KeysError::Replacement(refused))) = refused else {
            panic!("{refused:?}")
        };
        assert!(repaired.audit()[before..].contains(refused.code()), "{refused}");
        refused
    };
    assert!(matches!(
        refusal(&mut repaired, &first),
        ReplacementError::Other("exchange")
    ));
    // The same contents, signed by a key that the robot did not pin.
    let grant = repaired.life.authority.repeat_replacement(&request, session);
    let forged = SoftAuthority::new().sign_replacement(&grant);
    assert!(matches!(
        refusal(&mut repaired, &forged),
        ReplacementError::Cose(_)
    ));
    assert_eq!(identity_files(&repaired.life.path()), before);
    // The right one still counts, once.
    let answer = repaired.life.authority.sign_replacement(&grant);
    repaired.life.take_replacement(&answer).unwrap();
    assert!(matches!(
        repaired.life.take_replacement(&answer),
        Err(AgentError::Keys(KeysError::NoReplacementAsked))
    ));
}

#[test]
fn what_is_sealed_to_another_chip_opens_in_none_and_changes_nothing() {
    let mut repaired = Repaired::new();
    let answer = repaired.approved(&new_lidar("L-2"));
    let mut other = Life::provisioned();
    let gone = DeclaredAnew {
        gone: vec![(PartClass::Mainboard, "board".to_owned())],
        parts: Vec::new(),
    };
    let (request, session) = other.ask_replacement(None, &gone).unwrap();
    let sealed_elsewhere = other.authority.repeat_replacement(&request, session);
    let (request, session) = repaired.ask(&new_lidar("L-2"));
    let own = repaired.life.authority.repeat_replacement(&request, session);
    let mixed = ReplacementGrant {
        credential: sealed_elsewhere.credential,
        endorsement: sealed_elsewhere.endorsement,
        ..own.clone()
    };
    let before = identity_files(&repaired.life.path());
    let mixed = repaired.life.authority.sign_replacement(&mixed);
    let refused = repaired.life.take_replacement(&mixed).unwrap_err();
    assert!(
        matches!(refused, AgentError::Keys(KeysError::Tpm(_))),
        "{refused}"
    );
    assert_eq!(identity_files(&repaired.life.path()), before);
    assert!(repaired.life.take_replacement(&answer).is_err());
    let own = repaired.life.authority.sign_replacement(&own);
    repaired.life.take_replacement(&own).unwrap();
}

#[test]
fn a_renewal_that_was_under_way_begins_anew_for_the_new_hardware() {
    let mut repaired = Repaired::new();
    // The grant of the next local key is lost: it waits, bound to the old parts.
    repaired.life.authority.cut = true;
    repaired.life.renew_identity().unwrap_err();
    repaired.life.authority.cut = false;
    let folder = repaired.life.path();
    let waiting = fs::read(folder.join("identity/local-next.cbor")).unwrap();
    let answer = repaired.approved(&new_lidar("L-2"));
    repaired.life.take_replacement(&answer).unwrap();
    let keys = repaired.life.robot().keys();
    assert!(keys.next_device_key(DeviceKeySlot::NextLocal).unwrap().is_none());
    let identity = repaired.life.create_identity().unwrap();
    assert!(repaired.life.robot().is_identity_current().unwrap());
    assert_ne!(identity.local.to_canonical(), waiting);
}

#[test]
fn an_old_disk_gets_no_certificate_and_is_given_the_approved_enrolment_again() {
    let mut repaired = Repaired::new();
    let folder = repaired.life.path();
    let old = identity_files(&folder);
    let answer = repaired.approved(&new_lidar("L-2"));
    repaired.life.take_replacement(&answer).unwrap();
    repaired.life.create_identity().unwrap();
    repaired.life.robot = None;
    put_files(&folder, &old);
    repaired.life.open();
    // The robot believes its old enrolment; its authority does not.
    let refused = repaired.life.renew_identity().unwrap_err();
    assert!(matches!(refused, AgentError::Link(_)), "{refused}");
    assert_eq!(repaired.life.authority.issued.len(), 4);
    let (request, session) = repaired.ask(&new_lidar("L-2"));
    let grant = repaired.life.authority.repeat_replacement(&request, session);
    let answer = repaired.life.authority.sign_replacement(&grant);
    repaired.life.take_replacement(&answer).unwrap();
    repaired.life.create_identity().unwrap();
    assert!(repaired.life.robot().is_identity_current().unwrap());
}

#[test]
fn a_lost_disk_comes_back_with_the_approved_hardware() {
    let mut repaired = Repaired::new();
    let answer = repaired.approved(&new_lidar("L-2"));
    repaired.life.take_replacement(&answer).unwrap();
    let life = &mut repaired.life;
    let identity = life.robot().keys().record().identity.clone();
    life.robot = None;
    life.folder = TempDir::new().unwrap();
    let state = StateFolder::open(life.folder.path()).unwrap();
    let pinned = life.authority.signing.verifying_key();
    let (tpm, robot) = (life.tpm.clone(), support::robot_id());
    let back = alcub3_agent::recover(&tpm, &state, &robot, pinned, &mut life.authority).unwrap();
    drop(state);
    assert_eq!(back.identity, identity);
    life.open();
    life.create_identity().unwrap();
    let enrolled = life.robot().keys().enrolled_hardware().unwrap();
    assert!(enrolled.inventory.declared().any(|part| part.serial == "L-2"));
    assert!(life.robot().is_identity_current().unwrap());
}

#[test]
fn a_register_that_the_folder_does_not_explain_proves_nothing_until_the_next_boot() {
    let mut repaired = Repaired::new();
    repaired.measured();
    repaired.life.robot = None;
    fs::remove_file(repaired.life.path().join("registers/hardware-inventory.cbor")).unwrap();
    repaired.life.open();
    let root = repaired.machine.path().to_owned();
    let refused = repaired.life.ask_replacement(Some(&root), &new_lidar("L-2"));
    let refused = refused.unwrap_err();
    assert!(matches!(refused, AgentError::RegisterUnexplained), "{refused}");
    assert_eq!(refused.reason_code(), Some("hardware-not-measured"));
    repaired
        .life
        .reopen_after(|swtpm| swtpm.power_cycle(PowerUp::Clear).unwrap());
    let answer = repaired.approved(&new_lidar("L-2"));
    repaired.life.take_replacement(&answer).unwrap();
}

#[test]
fn a_declared_part_is_declared_anew_or_gone_and_no_other() {
    let mut repaired = Repaired::new();
    let gone = |class, slot: &str| DeclaredAnew {
        gone: vec![(class, slot.to_owned())],
        ..DeclaredAnew::default()
    };
    let root = repaired.machine.path().to_owned();
    for unknown in [
        gone(PartClass::Sensor, "radar"),
        gone(PartClass::UsbDevice, "1-3"),
    ] {
        let refused = repaired.life.ask_replacement(Some(&root), &unknown).unwrap_err();
        assert!(matches!(refused, AgentError::NotDeclared { .. }), "{refused}");
    }
    // A machine's part is not declared over.
    let over = DeclaredAnew {
        parts: vec![Part {
            class: PartClass::UsbDevice,
            slot: "1-3".to_owned(),
            ..board("claimed")
        }],
        gone: Vec::new(),
    };
    let refused = repaired.life.ask_replacement(Some(&root), &over).unwrap_err();
    assert!(matches!(refused, AgentError::Part(_)), "{refused}");
    let answer = repaired.approved(&gone(PartClass::Sensor, "lidar"));
    let taken = repaired.life.take_replacement(&answer).unwrap();
    assert_eq!(taken.differences[0].reason, HardwareReason::PartMissing);
    assert_eq!(repaired.measured().sameness, Sameness::Same);
}
