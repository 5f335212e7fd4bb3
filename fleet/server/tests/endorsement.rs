//! What vouches for an endorsement key: revocation lists, and pins where there is no certificate.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::fs;

use alcub3_crypto::HashAlg;
use alcub3_fleet_protocol::endorsement::{EndorsementBasis, pin_digest};
use alcub3_server::{
    Authority, AuthorityConfig, EndorsementError, EnrolmentError, PRODUCTION_ROOTS, PinsError,
    REVOCATION_LISTS, Refusal,
};
use alcub3_trust_model::{HardwareTier, Level};
use support::robot::Robot;
use support::{NOW, World, config, state};

/// NOW is in 2026.
const CURRENT: (i32, i32) = (2026, 2027);

fn put_list(world: &World, list: &[u8]) {
    fs::write(world.state().join(REVOCATION_LISTS).join("vendor.crl"), list).unwrap();
}

fn world_with(change: impl FnOnce(&mut AuthorityConfig)) -> World {
    let mut world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    change(&mut config);
    world.authority = Authority::create(&state(dir.path()), config).unwrap();
    world.dir = dir;
    world
}

fn code(world: &mut World, robot: &Robot) -> &'static str {
    world
        .authority
        .begin_enrolment(&robot.begin(), NOW)
        .unwrap_err()
        .code()
}

#[test]
fn a_chip_whose_certificate_was_revoked_does_not_enrol_and_one_on_no_list_does() {
    let mut world = World::new();
    let robot = Robot::new("rover-1");
    world.trust(&robot);
    put_list(&world, &robot.revocation_list(true, CURRENT));
    assert_eq!(code(&mut world, &robot), "endorsement-revoked");
    put_list(&world, &robot.revocation_list(false, (2024, 2025)));
    assert_eq!(code(&mut world, &robot), "revocation-list-unusable");
    put_list(&world, b"no list");
    assert_eq!(code(&mut world, &robot), "authority");
    put_list(&world, &robot.revocation_list(false, CURRENT));
    world.enrol(&robot);
    let certificate = HashAlg::Sha256.digest(&[&robot.certificate]);
    let basis = |world: &World| world.authority.enrolment(&robot.id).unwrap().record().endorsement;
    assert_eq!(basis(&world), EndorsementBasis::Certificate(certificate));
    fs::remove_file(world.state().join(REVOCATION_LISTS).join("vendor.crl")).unwrap();
    world.enrol(&robot);
    assert_eq!(basis(&world), EndorsementBasis::CertificateUnlisted(certificate));
}

#[test]
fn an_authority_that_requires_lists_refuses_without_and_remembers_it() {
    let mut world = world_with(|config| config.require_revocation_lists = true);
    let robot = Robot::new("rover-1");
    world.trust(&robot);
    assert_eq!(code(&mut world, &robot), "revocation-list-missing");
    let mut world = world.restarted();
    assert_eq!(code(&mut world, &robot), "revocation-list-missing");
    put_list(&world, &robot.revocation_list(false, CURRENT));
    world.authority.begin_enrolment(&robot.begin(), NOW).unwrap();
}

#[test]
fn a_chip_without_a_certificate_enrols_by_its_pinned_key_alone_and_counts_as_pinned() {
    let mut world = world_with(|config| config.admit_simulators = false);
    let mut robot = Robot::new("rover-1");
    robot.certificate.clear();
    let key = pin_digest(&robot.ek.verifying_key().unwrap());
    let refused = world.authority.begin_enrolment(&robot.begin(), NOW).unwrap_err();
    assert_eq!(refused.code(), "endorsement-not-pinned");
    assert!(refused.to_string().contains(&key.to_hex()), "{refused}");
    let pin = |world: &mut World, name: &str, key, tier| {
        let id = alcub3_trust_model::RobotId::new(name).unwrap();
        world.authority.pin_endorsement(&id, key, tier, NOW)
    };
    // Another's pin, and a pin of another key.
    pin(&mut world, "rover-2", key, HardwareTier::Firmware).unwrap();
    assert_eq!(code(&mut world, &robot), "endorsement-not-pinned");
    let other = HashAlg::Sha256.digest(&[b"other"]);
    pin(&mut world, "rover-1", other, HardwareTier::Firmware).unwrap();
    let refused = world.authority.begin_enrolment(&robot.begin(), NOW).unwrap_err();
    assert!(
        matches!(&refused, EnrolmentError::Endorsement(EndorsementError::OtherPin { pinned, found, .. })
            if **pinned == other && **found == key),
        "{refused}"
    );
    for tier in [HardwareTier::Discrete, HardwareTier::None] {
        let refused = pin(&mut world, "rover-1", key, tier).unwrap_err();
        assert_eq!(refused.code(), "endorsement-pin-tier");
    }
    pin(&mut world, "rover-1", key, HardwareTier::Firmware).unwrap();
    assert_eq!(world.authority.endorsement_pins().unwrap().len(), 2);
    // The pin outlives the authority's restart; what it says is signed.
    let mut world = world.restarted();
    world.enrol(&robot);
    let record = world.authority.enrolment(&robot.id).unwrap().record().clone();
    assert_eq!(record.endorsement, EndorsementBasis::PinnedKey(key));
    assert_eq!(record.tier, HardwareTier::Firmware);
    let needs_a_chip = |level: Level| alcub3_trust_model::profile(level).min_tier == HardwareTier::Discrete;
    assert!(!needs_a_chip(record.ceiling) && Level::ALL.into_iter().any(needs_a_chip));
    // Removed, it lets nobody in again.
    world.authority.unpin_endorsement(&robot.id, NOW).unwrap();
    assert_eq!(code(&mut world, &robot), "endorsement-not-pinned");
    assert!(matches!(
        world.authority.unpin_endorsement(&robot.id, NOW),
        Err(PinsError::NoPin(_))
    ));
}

/// A challenge waits for as long as the robot likes: what vouches for its chip is judged when it is enrolled as well.
#[test]
fn what_counts_no_more_when_the_robot_answers_enrols_nobody() {
    let mut world = World::new();
    let mut robot = Robot::new("rover-1");
    world.trust(&robot);
    let finished = |world: &mut World, robot: &Robot, change: &dyn Fn(&mut World)| {
        let message = robot.begin();
        let challenge = world.authority.begin_enrolment(&message, NOW).unwrap();
        change(world);
        let response = robot.answer(&message, &challenge, &world.authority.verifying_key());
        let refused = world
            .authority
            .finish_enrolment(&response, &mut world.vault, NOW)
            .unwrap_err();
        assert!(world.authority.robots().unwrap().is_empty());
        refused.code()
    };
    let list = robot.revocation_list(true, CURRENT);
    let revoked = finished(&mut world, &robot, &|world| put_list(world, &list));
    assert_eq!(revoked, "endorsement-revoked");
    robot.certificate.clear();
    let (id, key) = (robot.id.clone(), pin_digest(&robot.ek.verifying_key().unwrap()));
    world
        .authority
        .pin_endorsement(&id, key, HardwareTier::Firmware, NOW)
        .unwrap();
    let unpinned = finished(&mut world, &robot, &|world| {
        world.authority.unpin_endorsement(&id, NOW).unwrap();
    });
    assert_eq!(unpinned, "endorsement-not-pinned");
}

#[test]
fn a_pin_is_no_way_around_a_certificate_that_does_not_hold() {
    let mut world = World::new();
    let robot = Robot::new("rover-1");
    let key = pin_digest(&robot.ek.verifying_key().unwrap());
    world
        .authority
        .pin_endorsement(&robot.id, key, HardwareTier::Firmware, NOW)
        .unwrap();
    // The certificate has no root here.
    assert_eq!(code(&mut world, &robot), "endorsement");
    fs::write(world.state().join(PRODUCTION_ROOTS).join("r.der"), &robot.root).unwrap();
    world.authority.begin_enrolment(&robot.begin(), NOW).unwrap();
}

#[test]
fn a_pin_that_the_authority_did_not_sign_or_signed_for_another_counts_for_nothing() {
    let mut world = World::new();
    let mut robot = Robot::new("rover-1");
    robot.certificate.clear();
    let key = pin_digest(&robot.ek.verifying_key().unwrap());
    let other = alcub3_trust_model::RobotId::new("rover-2").unwrap();
    for id in [&robot.id, &other] {
        world
            .authority
            .pin_endorsement(id, key, HardwareTier::Firmware, NOW)
            .unwrap();
    }
    let folder = world.state().join("endorsement-pins");
    let (own, others) = (folder.join("rover-1"), folder.join("rover-2"));
    let signed = fs::read(&own).unwrap();
    fs::copy(&others, &own).unwrap();
    assert_eq!(code(&mut world, &robot), "authority");
    for at in 0..signed.len() {
        let mut changed = signed.clone();
        changed[at] ^= 1;
        fs::write(&own, changed).unwrap();
        assert_eq!(code(&mut world, &robot), "authority", "byte {at}");
    }
    fs::write(&own, signed).unwrap();
    world.authority.begin_enrolment(&robot.begin(), NOW).unwrap();
}
