//! The names of robots without a TPM over their devices' lives: sequences that begin anew, releases, and evidence of before.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_audit_log::{Entry, EntryKind, Outcome, Piece, pieces};
use alcub3_fleet_protocol::platform::VerifiedPlatform;
use alcub3_server::{Authority, EnrolmentError, Refusal};
use alcub3_trust_model::RobotId;
use support::devices::{DiceDevice, PsaDevice, unrooted};
use support::robot::Robot;
use support::{NOW, World};

fn id(name: &str) -> RobotId {
    RobotId::new(name).unwrap()
}

/// Asks a device and gives its answer, which nobody judged yet.
fn asked(world: &mut World, device: &mut DiceDevice) -> Vec<u8> {
    let request = world.authority.challenge_platform(&device.id, NOW).unwrap();
    device.answer(&request)
}

/// Whether an answer is trusted, and for which reasons not.
fn judged(world: &mut World, answer: &[u8]) -> (bool, Vec<&'static str>) {
    let judged = world.authority.appraise_platform(answer, NOW).unwrap();
    let judgement = judged.verdict.judgement();
    assert_eq!(judgement.is_trusted(), judged.answer.lease.is_some());
    (judgement.is_trusted(), judgement.reason_codes())
}

fn attest(world: &mut World, device: &mut DiceDevice) -> (bool, Vec<&'static str>) {
    let answer = asked(world, device);
    judged(world, &answer)
}

fn entries(world: &World, robot: &RobotId) -> Vec<Entry> {
    let content = std::fs::read(Authority::audit_file(&world.state())).unwrap();
    let entries = pieces(&content).map(|piece| match piece {
        Piece::Entry { entry, .. } => *entry,
        Piece::Damaged(bytes) => panic!("{bytes:?}"),
    });
    let of_robot = entries.filter(|entry| entry.robot.as_ref() == Some(robot));
    of_robot
        .filter(|entry| entry.kind == EntryKind::Provision)
        .collect()
}

#[test]
fn a_sequence_begins_anew_at_the_authoritys_word_alone_and_evidence_of_before_counts_no_more() {
    let mut world = World::new();
    let mut device = DiceDevice::new("ros2-1");
    world.authority.enrol_platform(device.plan(), NOW).unwrap();
    // It claims the last number there is: nothing is above it.
    device.sequence = u64::MAX - 1;
    assert!(attest(&mut world, &mut device).0);
    device.sequence = 6;
    assert_eq!(attest(&mut world, &mut device), (false, vec!["sequence"]));
    // To be enrolled again changes nothing of that.
    world.authority.enrol_platform(device.plan(), NOW).unwrap();
    assert_eq!(attest(&mut world, &mut device), (false, vec!["sequence"]));
    // Evidence that was asked for before, and is shown after: its exchange is open, its sequence number would do.
    let held_back = asked(&mut world, &mut device);
    let record = world.authority.enrol_platform_anew(device.plan(), NOW).unwrap();
    assert_eq!(record.record().generation(), 1);
    let mut world = world.restarted();
    assert_eq!(judged(&mut world, &held_back), (false, vec!["binding"]));
    device.sequence = 0;
    assert!(attest(&mut world, &mut device).0);
    device.sequence = 0;
    assert_eq!(attest(&mut world, &mut device), (false, vec!["sequence"]));
    // It is the same generation until it begins anew again.
    let record = world.authority.enrol_platform(device.plan(), NOW).unwrap();
    assert_eq!(record.record().generation(), 1);

    let entries = entries(&world, &device.id);
    let anew: Vec<&Entry> = entries
        .iter()
        .filter(|entry| entry.subject.ends_with("whose sequence numbers begin anew"))
        .collect();
    let outcomes: Vec<Outcome> = anew.iter().map(|entry| entry.outcome).collect();
    assert_eq!(outcomes, [Outcome::Unconfirmed, Outcome::Done]);
}

#[test]
fn a_sequence_begins_anew_only_of_the_device_that_has_the_name() {
    let mut world = World::new();
    let device = DiceDevice::new("ros2-1");
    let refusal =
        |world: &mut World, plan| world.authority.enrol_platform_anew(plan, NOW).unwrap_err().code();
    assert_eq!(refusal(&mut world, device.plan()), "robot-unknown");
    world.authority.enrol_platform(device.plan(), NOW).unwrap();
    assert_eq!(refusal(&mut world, PsaDevice::new("ros2-1").plan()), "name-taken");
    assert_eq!(
        world
            .authority
            .platform_enrolment(&device.id)
            .unwrap()
            .record()
            .generation(),
        0
    );
}

#[test]
fn a_released_name_and_its_device_are_free_and_nothing_of_before_counts_again() {
    let mut world = World::new();
    let mut device = DiceDevice::new("ros2-1");
    let refused = world.authority.release_platform(&device.id, NOW).unwrap_err();
    assert_eq!(refused.code(), "robot-unknown");
    world.authority.enrol_platform(device.plan(), NOW).unwrap();
    assert!(attest(&mut world, &mut device).0);
    let held_back = asked(&mut world, &mut device);
    world.authority.release_platform(&device.id, NOW).unwrap();
    assert!(world.authority.platforms().unwrap().is_empty());
    let request = world.authority.challenge_platform(&device.id, NOW).unwrap_err();
    assert_eq!(request.code(), "robot-unknown");

    // The same device under the same name: an exchange of before is open, and its answer was never judged.
    let mut world = world.restarted();
    let record = world.authority.enrol_platform(device.plan(), NOW).unwrap();
    assert_eq!(record.record().generation(), 1);
    assert_eq!(judged(&mut world, &held_back), (false, vec!["binding"]));
    device.sequence = 0;
    assert!(attest(&mut world, &mut device).0, "it begins with nothing seen");
    // Released again, the generation goes on; another device gets the name, and the device another name.
    world.authority.release_platform(&device.id, NOW).unwrap();
    let other = PsaDevice::new("ros2-1");
    let record = world.authority.enrol_platform(other.plan(), NOW).unwrap();
    assert_eq!(record.record().generation(), 2);
    let mut renamed = DiceDevice::new("ros2-7");
    world.authority.enrol_platform(renamed.plan(), NOW).unwrap();
    assert!(attest(&mut world, &mut renamed).0);

    let entries = entries(&world, &id("ros2-1"));
    let released: Vec<(Outcome, String)> = entries
        .iter()
        .filter(|entry| entry.subject.starts_with("release of the name"))
        .map(|entry| (entry.outcome, entry.reasons.join(",")))
        .collect();
    let done = [
        (Outcome::Unconfirmed, String::new()),
        (Outcome::Done, String::new()),
    ];
    let refused = (Outcome::Refused, "robot-unknown".to_owned());
    assert_eq!(released, [&[refused][..], &done, &done].concat());
}

#[test]
fn a_released_name_may_go_to_a_robot_with_a_tpm_and_one_without_a_root_of_trust_gets_a_new_generation_with_one()
 {
    let mut world = World::new();
    world.authority.enrol_platform(unrooted("rover-1"), NOW).unwrap();
    let robot = Robot::new("rover-1");
    world.trust(&robot);
    let refused = world.authority.begin_enrolment(&robot.begin(), NOW);
    assert!(matches!(refused, Err(EnrolmentError::NameOfPlatform(_))));
    world.authority.release_platform(&robot.id, NOW).unwrap();
    world.enrol(&robot);
    world.authority.enrol_platform(unrooted("dji-1"), NOW).unwrap();
    let rooted = PsaDevice::new("dji-1").plan();
    let record = world.authority.enrol_platform(rooted, NOW).unwrap();
    assert_eq!(record.record().generation(), 1);
}

/// The generation is in what the authority signs, and in what the device signs.
#[test]
fn the_generation_is_signed_and_in_every_nonce() {
    let mut world = World::new();
    let device = DiceDevice::new("ros2-1");
    let first = world.authority.enrol_platform(device.plan(), NOW).unwrap();
    let second = world.authority.enrol_platform_anew(device.plan(), NOW).unwrap();
    let key = world.authority.verifying_key();
    let read = VerifiedPlatform::verify_of(second.as_bytes(), &key, &device.id).unwrap();
    assert_eq!(read.record().generation(), 1);
    let random = alcub3_attestation::evidence::Nonce([7; 32]);
    let nonces = [&first, &second].map(|platform| platform.record().nonce(&random));
    assert_ne!(nonces[0], nonces[1]);
    assert_ne!(nonces[0], random);
    // Another name's nonce is another one as well.
    let other = DiceDevice::new("ros2-2").plan();
    world.authority.release_platform(&device.id, NOW).unwrap();
    let other = world.authority.enrol_platform(other, NOW).unwrap();
    assert_ne!(other.record().nonce(&random), nonces[0]);
}
