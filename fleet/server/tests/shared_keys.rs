//! A mission's shared secret: for which robots it is wrapped, and for whose chip.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_command_authority::{Role, VerifiedMission};
use alcub3_crypto::Curve;
use alcub3_crypto::tpm::{Public, attribute};
use alcub3_fleet_protocol::commander::CommanderKey;
use alcub3_fleet_protocol::shared_key::{SharedKeyError, VerifiedSharedKey};
use alcub3_server::{
    ApprovalPurpose, ApprovalVault, ChipRefusal, EXCHANGE_MS, Refusal, SharedKeyApprovalError,
};
use alcub3_trust_model::{Level, SessionId};
use support::approvals::{HOUR, MISSION, approved_mission};
use support::chips::{admitted, answered, chip_request};
use support::robot::{BOUND, Robot};
use support::{NOW, Person, World};

/// A robot with a mission of a level, and the parent that its rearm opens.
fn sharing(level: Level) -> (World, Robot, Public) {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    approved_mission(&mut world, &robot, level);
    let rearm = world
        .vault
        .approval_public(ApprovalPurpose::Rearm)
        .unwrap()
        .name();
    let parent = robot.level_parent(rearm, level, BOUND | attribute::NO_DA);
    (world, robot, parent)
}

/// The pilot's chip is admitted, and is given what is shared with the pilot.
fn admit_pilot(world: &mut World) -> Robot {
    let chip = Robot::new("pilots-chip");
    world.trust(&chip);
    let request = chip_request(&chip, &world.pilot, &chip.root_public);
    let answer = answered(world, &chip, &request);
    world.authority.admit_chip(&answer, NOW).unwrap();
    chip
}

fn open(world: &mut World, robot: &Robot) -> SessionId {
    world.authority.open_shared_key(&robot.id, NOW).unwrap()
}

#[test]
fn a_secret_is_wrapped_for_a_proven_parent_and_said_to_be_an_issuers() {
    let (mut world, robot, parent) = sharing(Level::Secret);
    let session = open(&mut world, &robot);
    let request = robot.shared_key_request(session, MISSION, &parent, Level::Secret);
    let chip = admit_pilot(&mut world);
    let issuer = world.pilot.id.clone();
    let requests = [request.to_canonical()];
    let shared = world
        .authority
        .share_mission_key(&requests, Some(&issuer), &mut world.vault, NOW)
        .unwrap();
    let (to, message) = &shared.messages[0];
    assert_eq!((to, shared.messages.len()), (&robot.id, 1));
    let token = world.authority.mission(&MISSION).unwrap().unwrap();
    let key = world.authority.verifying_key();
    let mission = VerifiedMission::as_approved(&token, &key, &robot.id).unwrap();
    let verified = VerifiedSharedKey::verify(message, &key, mission.token(), session).unwrap();
    assert_eq!(verified.key().issuer.as_ref(), Some(&issuer));
    let public = &verified.key().wrapped.public;
    let copied = attribute::FIXED_TPM | attribute::FIXED_PARENT | attribute::USER_WITH_AUTH;
    assert_eq!(public.attributes() & copied, 0);
    for at in 0..message.len() {
        let mut changed = message.clone();
        changed[at] ^= 1;
        let verified = VerifiedSharedKey::verify(&changed, &key, mission.token(), session);
        assert!(verified.is_err(), "byte {at}");
    }
    let command = shared.commander.unwrap();
    let command = CommanderKey::verify(&command, &key).unwrap();
    assert_eq!(
        (&command.operator, command.missions.as_slice()),
        (&issuer, [(robot.id.clone(), MISSION)].as_slice())
    );
    assert!(chip.root_public.name_alg() == command.wrapped.public.name_alg());
    let again = world
        .authority
        .share_mission_key(&requests, Some(&issuer), &mut world.vault, NOW);
    assert!(
        matches!(again, Err(SharedKeyApprovalError::Exchange(_))),
        "an exchange counts once"
    );
}

#[test]
fn nothing_is_wrapped_for_what_is_not_proven() {
    let (mut world, robot, parent) = sharing(Level::Cui);
    let rearm = world
        .vault
        .approval_public(ApprovalPurpose::Rearm)
        .unwrap()
        .name();
    let user = BOUND | attribute::NO_DA | attribute::USER_WITH_AUTH;
    let parents = [
        (
            "opened by a password",
            robot.level_parent(rearm, Level::Cui, user),
        ),
        (
            "of another level",
            robot.level_parent(rearm, Level::Secret, BOUND),
        ),
        (
            "of another rearm key",
            robot.level_parent(parent.name(), Level::Cui, BOUND),
        ),
        (
            "that may leave its chip",
            robot.level_parent(rearm, Level::Cui, attribute::NO_DA),
        ),
    ];
    let issuer = world.pilot.id.clone();
    let share = |world: &mut World, request: Vec<u8>| {
        world
            .authority
            .share_mission_key(&[request], Some(&issuer), &mut world.vault, NOW)
    };
    for (what, other) in parents {
        let session = open(&mut world, &robot);
        let request = robot.shared_key_request(session, MISSION, &other, Level::Cui);
        let refused = share(&mut world, request.to_canonical());
        let source = SharedKeyError::OtherParent;
        assert!(
            matches!(&refused, Err(SharedKeyApprovalError::Request { source: found, .. }) if found.to_string() == source.to_string()),
            "{what}: {refused:?}"
        );
    }
    // Certified and quoted for another exchange, or with the PCRs of another level.
    let (session, other) = (open(&mut world, &robot), open(&mut world, &robot));
    let mut request = robot.shared_key_request(other, MISSION, &parent, Level::Cui);
    request.session = session;
    assert!(share(&mut world, request.to_canonical()).is_err());
    let session = open(&mut world, &robot);
    let request = robot.shared_key_request(session, MISSION, &parent, Level::Secret);
    assert!(share(&mut world, request.to_canonical()).is_err());
    // A parent that was swapped after it was certified.
    let session = open(&mut world, &robot);
    let mut request = robot.shared_key_request(session, MISSION, &parent, Level::Cui);
    request.parent = robot.level_parent(rearm, Level::Cui, BOUND | attribute::NO_DA);
    assert!(share(&mut world, request.to_canonical()).is_err());
    let nobody = world
        .authority
        .share_mission_key(&[], None, &mut world.vault, NOW);
    assert!(matches!(nobody, Err(SharedKeyApprovalError::Nobody)));
}

#[test]
fn a_command_key_without_an_issuer_of_the_mission_is_refused() {
    let (mut world, robot, parent) = sharing(Level::Cui);
    for issuer in [None, Some(world.alice.id.clone())] {
        let session = open(&mut world, &robot);
        let request = robot.shared_key_request(session, MISSION, &parent, Level::Cui);
        let refused = world.authority.share_mission_key(
            &[request.to_canonical()],
            issuer.as_ref(),
            &mut world.vault,
            NOW,
        );
        assert!(
            matches!(
                &refused,
                Err(SharedKeyApprovalError::Request {
                    source: SharedKeyError::Issuer,
                    ..
                })
            ),
            "{refused:?}"
        );
    }
}

#[test]
fn a_persons_chip_is_admitted_when_its_storage_key_is_proven_and_only_then() {
    let (mut world, robot, parent) = sharing(Level::Cui);
    let chip = Robot::new("pilots-chip");
    let request = chip_request(&chip, &world.pilot, &chip.root_public);
    let unknown = world.authority.challenge_chip(&request, NOW);
    assert!(
        matches!(unknown, Err(ChipRefusal::Endorsement(_))),
        "no root vouches for it"
    );
    world.trust(&chip);
    // A storage key that may leave its chip, or that signs, is none.
    for other in [&parent, &chip.ak] {
        let mut bytes = other.as_tpmt_bytes().to_vec();
        bytes[7] &= !0x02;
        let loose = Public::from_tpmt(&bytes).unwrap();
        let request = chip_request(&chip, &world.pilot, &loose);
        let refused = world.authority.challenge_chip(&request, NOW);
        assert!(matches!(refused, Err(ChipRefusal::Protocol(_))), "{refused:?}");
    }
    let mut request = request;
    let answer = answered(&mut world, &chip, &request);
    let late = world.authority.admit_chip(&answer, NOW + EXCHANGE_MS);
    assert!(matches!(late, Err(ChipRefusal::Expired { .. })), "{late:?}");
    let again = world.authority.admit_chip(&answer, NOW);
    assert!(matches!(again, Err(ChipRefusal::NotWaiting)), "{again:?}");
    for at in 0..answer.len() {
        let mut changed = answered(&mut world, &chip, &request);
        changed[at] ^= 1;
        assert!(world.authority.admit_chip(&changed, NOW).is_err(), "byte {at}");
    }
    let session = open(&mut world, &robot);
    let asked = robot.shared_key_request(session, MISSION, &parent, Level::Cui);
    let pilot = world.pilot.id.clone();
    let refused =
        world
            .authority
            .share_mission_key(&[asked.to_canonical()], Some(&pilot), &mut world.vault, NOW);
    assert!(
        matches!(
            refused,
            Err(SharedKeyApprovalError::Commander(ChipRefusal::NoChip(_)))
        ),
        "{refused:?}"
    );
    for at in 0..request.len() {
        request[at] ^= 1;
        assert!(
            world.authority.challenge_chip(&request, NOW).is_err(),
            "byte {at}"
        );
        request[at] ^= 1;
    }
    let admitted = admit_pilot(&mut world);
    let chip = world.authority.chip(&pilot).unwrap();
    assert_eq!(*chip.storage_key(), admitted.root_public);
}

fn registered(world: &mut World, name: &str) -> Person {
    let person = Person::new(name);
    let operator = person.as_operator(Role::Operator);
    world.authority.register_operator(operator, NOW).unwrap();
    person
}

/// Whoever has an old chip and a request of then brings it back in no place of the newer one.
#[test]
fn a_request_that_is_not_newer_than_the_last_one_taken_brings_no_chip_back() {
    let mut world = World::new();
    let [old, new] = ["old-chip", "new-chip"].map(Robot::new);
    world.trust(&old);
    world.trust(&new);
    let person = registered(&mut world, "erin");
    let replayed = chip_request(&old, &person, &old.root_public);
    // Challenged before the newer one is admitted, and answered after it.
    let waiting = answered(&mut world, &old, &replayed);
    admitted(&mut world, &new, &person);
    assert!(world.authority.admit_chip(&waiting, NOW).is_err());
    let refused = world.authority.challenge_chip(&replayed, NOW).unwrap_err();
    assert_eq!(refused.code(), "chip-request-old", "{refused}");
    let now = world.authority.chip(&person.id).unwrap();
    assert_eq!(now.endorsement_key(), new.ek.name());
    // Nor once the newer one is revoked, and over a restart.
    world.authority.revoke_chip(&person.id, NOW).unwrap();
    world = world.restarted();
    let refused = world.authority.challenge_chip(&replayed, NOW).unwrap_err();
    assert_eq!(refused.code(), "chip-request-old", "{refused}");
    let early = chip_request(&old, &person, &old.root_public);
    let refused = world.authority.challenge_chip(&early, NOW - HOUR).unwrap_err();
    assert_eq!(refused.code(), "chip-request-future", "{refused}");
    admitted(&mut world, &old, &person);
}

#[test]
fn a_chip_is_one_persons_and_shows_one_kind_of_endorsement_key() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    let chip = Robot::new("pilots-chip");
    let [erin, frank] = ["erin", "frank"].map(|name| registered(&mut world, name));
    admitted(&mut world, &chip, &erin);
    let refused = |world: &mut World, chip: &Robot| {
        let request = chip_request(chip, &frank, &chip.root_public);
        let refused = world.authority.challenge_chip(&request, NOW).unwrap_err();
        refused.code()
    };
    assert_eq!(refused(&mut world, &chip), "chip-taken");
    assert_eq!(refused(&mut world, &robot), "chip-taken");
    // The endorsement keys of one chip do not name each other.
    let mut other = Robot::new("another-chip");
    other.ek = Robot::on(Curve::P256, "on-p256").root_public;
    assert_eq!(refused(&mut world, &other), "endorsement-kind");
    // Nor is it another chip where its key is shown in an area of another Name: here with noDA.
    let mut shown = Robot::new("pilots-chip");
    shown.root.clone_from(&chip.root);
    shown.certificate.clone_from(&chip.certificate);
    let mut area = chip.ek.as_tpmt_bytes().to_vec();
    area[6] ^= 0x04;
    shown.ek = Public::from_tpmt(&area).unwrap();
    assert_eq!(refused(&mut world, &shown), "chip-taken");
    world.authority.revoke_chip(&erin.id, NOW).unwrap();
    assert_eq!(refused(&mut world, &chip), "chip-revoked");
    assert_eq!(refused(&mut world, &shown), "chip-revoked");
}
