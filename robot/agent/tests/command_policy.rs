//! A robot and the command policy of its fleet: in force at once and after a restart, and no old disk brings back what was
//! in force before.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/missions.rs"]
mod missions;
mod support;

use alcub3_command_authority::policy::{CommandPolicy, CommandPolicyOrder, PolicyStatement};
use alcub3_crypto::HashAlg;
use alcub3_keys::MissionRecord;
use alcub3_security_hal::GateVerdict;
use alcub3_trust_model::OperatorId;
use missions::audit_names;
use std::path::PathBuf;
use support::{Life, NOW_MS, copy_folder};
use tempfile::TempDir;

/// Movement of so much speed, and nothing else.
fn policy(life: &Life, version: u64, speed: u32) -> Vec<u8> {
    let text = format!(
        "kind = \"command-policy\"\nplatform = [{{ name = \"all\", robots = [\"*\"] }}]\n\
         rights = [{{ role = \"commander\", commands = [\"move.*\"] }}]\nlimit = [{{ max_speed_mm_per_s = {speed} }}]\n"
    );
    let statement = PolicyStatement {
        version,
        issued_at_ms: NOW_MS,
        policy: CommandPolicy::from_toml(text.as_bytes()).unwrap(),
    };
    let approval = life
        .authority
        .two_persons_sign(&statement.approved_message(HashAlg::Sha256));
    order(life, &statement, approval.to_tpmt(), &["alice", "bob"])
}

fn order(life: &Life, statement: &PolicyStatement, approval: Vec<u8>, by: &[&str]) -> Vec<u8> {
    let order = CommandPolicyOrder {
        statement: statement.to_canonical(),
        approval,
        approvers: by.iter().map(|name| OperatorId::new(*name).unwrap()).collect(),
    };
    let key = &life.authority.signing;
    order.unsigned(key.suite()).sign(key).unwrap()
}

/// Why a command of 100 mm/s is refused, if it is.
fn refused(life: &Life, mission: &MissionRecord, sequence: u64) -> Option<&'static str> {
    let operator = &life.authority.operator;
    let envelope = life.envelope(mission, sequence).unsigned(operator.suite());
    let envelope = envelope.sign(operator).unwrap();
    match life.robot().validate(&envelope, Some(NOW_MS)).unwrap() {
        GateVerdict::Admitted(_) => None,
        GateVerdict::Refused(refusal) => Some(refusal.reasons()[0].code()),
    }
}

fn file(life: &Life) -> PathBuf {
    life.path().join("command-policy.cose")
}

fn take(life: &Life, signed: &[u8]) -> Result<u64, &'static str> {
    let taken = life.robot().take_command_policy(signed, NOW_MS);
    taken
        .map(|policy| policy.statement().version)
        .map_err(|error| error.reason_code().unwrap())
}

fn commanded() -> (Life, MissionRecord) {
    let mut life = Life::running();
    let mission = life.start_mission(600_000);
    life.take_lease();
    (life, mission)
}

#[test]
fn a_policy_is_in_force_at_once_and_after_a_restart_and_only_goes_up() {
    let (mut life, mission) = commanded();
    assert_eq!(refused(&life, &mission, 1), None);
    assert_eq!(take(&life, &policy(&life, 3, 99)), Ok(3));
    assert_eq!(refused(&life, &mission, 2), Some("policy-speed"));
    life.open();
    // The robot was not closed in order: its reserved numbers are used.
    assert_eq!(refused(&life, &mission, 65_537), Some("policy-speed"));
    for version in [2, 3] {
        assert_eq!(
            take(&life, &policy(&life, version, 5_000)),
            Err("policy-rolled-back")
        );
    }
    assert!(audit_names(&life, "policy-rolled-back"));
    assert_eq!(take(&life, &policy(&life, 4, 5_000)), Ok(4));
    assert!(audit_names(&life, "command-policy 4 approved by alice, bob"));
}

#[test]
fn one_person_or_another_authority_changes_nothing() {
    let (life, mission) = commanded();
    let statement = PolicyStatement {
        version: 9,
        issued_at_ms: NOW_MS,
        policy: CommandPolicy::from_toml(
            b"kind = \"command-policy\"\nplatform = [{ name = \"all\", robots = [\"*\"] }]",
        )
        .unwrap(),
    };
    let message = statement.approved_message(HashAlg::Sha256);
    let one = life.authority.one_person_signs(&message).to_tpmt();
    assert_eq!(
        take(&life, &order(&life, &statement, one, &["alice", "bob"])),
        Err("policy-not-approved")
    );
    let two = life.authority.two_persons_sign(&message).to_tpmt();
    assert_eq!(
        take(&life, &order(&life, &statement, two.clone(), &["alice"])),
        Err("too-few-votes")
    );
    let mut forged = order(&life, &statement, two.clone(), &["alice", "bob"]);
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(take(&life, &forged), Err("bad-policy"));
    assert_eq!(refused(&life, &mission, 1), None);
    assert_eq!(
        take(&life, &order(&life, &statement, two, &["alice", "bob"])),
        Ok(9)
    );
    assert_eq!(
        refused(&life, &mission, 2),
        Some("policy-role"),
        "a role that is not named"
    );
}

#[test]
fn an_old_file_or_none_leaves_the_robot_without_commands_until_a_newer_policy_comes() {
    let (mut life, mission) = commanded();
    take(&life, &policy(&life, 1, 5_000)).unwrap();
    let old = std::fs::read(file(&life)).unwrap();
    take(&life, &policy(&life, 2, 99)).unwrap();
    life.robot = None;
    std::fs::write(file(&life), old).unwrap();
    life.open();
    assert_eq!(refused(&life, &mission, 1), Some("policy-lost"));
    assert!(audit_names(&life, "policy-lost"));
    life.robot = None;
    std::fs::remove_file(file(&life)).unwrap();
    life.open();
    assert_eq!(refused(&life, &mission, 2), Some("policy-lost"));
    assert!(life.stop().is_complete(), "a stop needs no policy");
    let again = policy(&life, 2, 99);
    assert_eq!(
        take(&life, &again),
        Err("policy-rolled-back"),
        "a newer one is issued"
    );
    assert_eq!(take(&life, &policy(&life, 3, 99)), Ok(3));
}

#[test]
fn an_old_disk_with_its_own_store_brings_back_no_earlier_policy() {
    let (mut life, mission) = commanded();
    take(&life, &policy(&life, 1, 5_000)).unwrap();
    life.robot = None;
    let copy = TempDir::new().unwrap();
    copy_folder(&life.path(), copy.path());
    life.open();
    take(&life, &policy(&life, 2, 99)).unwrap();
    life.robot = None;
    copy_folder(copy.path(), &life.path());
    life.open();
    assert!(refused(&life, &mission, 1).is_some());
    let kept = life.robot().keys().command_policy().unwrap_err();
    // Its counter or its seal gives it away, whichever is looked at first.
    assert!(
        kept.refusal().is_some_and(|code| code.starts_with("store-")),
        "{kept}"
    );
    assert!(
        audit_names(&life, "command-policy"),
        "it is on record why nobody commands"
    );
}
