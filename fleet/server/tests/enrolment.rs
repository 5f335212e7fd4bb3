//! Enrolment with the authority: nothing is issued before the TPM proved itself.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::fs;

use alcub3_audit_log::{Outcome, Piece, pieces};
use alcub3_crypto::tpm::{Public, PublicTemplate};
use alcub3_crypto::{Curve, SigningKey};
use alcub3_fleet_protocol::endorsement::pin_digest;
use alcub3_server::store::{StateFolder, StoreError};
use alcub3_server::{
    Authority, AuthorityError, EXCHANGE_MS, EndorsementError, EnrolmentError, KeyError, OperatorError,
    Refusal, RobotError, SIMULATOR_ROOTS,
};
use alcub3_trust_model::hardware::{HardwareRecord, Inventory, Part, PartClass, PartSource};
use alcub3_trust_model::{HardwareTier, Level, RobotId};
use support::robot::{Robot, sized, with_point};
use support::{NOW, Person, World, config, rover, state};

#[test]
fn an_enrolled_robot_is_recorded_with_its_custody_and_survives_a_restart() {
    let mut world = World::new();
    let robot = Robot::new("rover-1");
    world.enrol(&robot);
    let record = world.authority.enrolment(&robot.id).unwrap().record().clone();
    assert_eq!(record.tier, HardwareTier::Simulator);
    assert_eq!(
        record.ceiling,
        Level::TopSecret,
        "admitted as a simulator, with a P-384 key"
    );
    assert_eq!(record.attestation_key, robot.ak);

    let state = world.state();
    drop(world.authority);
    let authority = Authority::open(&state).unwrap();
    assert_eq!(authority.robots().unwrap(), ["rover-1"]);
    assert_eq!(authority.enrolment(&robot.id).unwrap().record(), &record);
    let custody = authority.custody(&robot.id).unwrap();
    assert_eq!(custody.owner.expose(), robot.custody.owner.expose());
    assert_eq!(custody.lockout.expose(), robot.custody.lockout.expose());
    assert_eq!(authority.operators().iter().count(), 3);
}

#[test]
fn the_weakest_link_of_the_endorsement_is_on_record() {
    let mut world = World::new();
    let robot = Robot::new("rover-1");
    world.enrol(&robot);
    let content = fs::read(Authority::audit_file(&world.state())).unwrap();
    let reasons: Vec<(Outcome, Vec<String>)> = pieces(&content)
        .filter_map(|piece| match piece {
            Piece::Entry { entry, .. } if entry.subject == "enrolment" => {
                Some((entry.outcome, entry.reasons))
            }
            _ => None,
        })
        .collect();
    // Its root signs with P-384 and SHA-384.
    let said = vec!["endorsement-chain-192".to_owned()];
    assert_eq!(
        reasons,
        [(Outcome::Unconfirmed, said.clone()), (Outcome::Done, said)]
    );
}

/// Whoever has one TPM, or the certificate of one, asks as often as he likes.
#[test]
fn a_flood_of_enrolments_that_are_begun_and_never_answered_drops_no_honest_one_in_its_round_trip() {
    let mut world = World::new();
    let (honest, flooder) = (Robot::new("rover-1"), Robot::new("rover-2"));
    world.trust(&honest);
    world.trust(&flooder);
    let message = honest.begin();
    let challenge = world.authority.begin_enrolment(&message, NOW).unwrap();
    let flood = flooder.begin();
    let refused: Vec<EnrolmentError> = (0..200)
        .filter_map(|_| world.authority.begin_enrolment(&flood, NOW + 1).err())
        .collect();
    assert!(refused.len() > 100);
    assert!(refused.iter().all(|refusal| refusal.code() == "too-many-waiting"));
    let response = honest.answer(&message, &challenge, &world.authority.verifying_key());
    let at = NOW + 10_000;
    world
        .authority
        .finish_enrolment(&response, &mut world.vault, at)
        .unwrap();

    // The flooder may still enrol once its first attempts are behind their round trip, in time only.
    let at = NOW + 60_000;
    let challenge = world.authority.begin_enrolment(&flood, at).unwrap();
    let response = flooder.answer(&flood, &challenge, &world.authority.verifying_key());
    let late = world
        .authority
        .finish_enrolment(&response, &mut world.vault, at + EXCHANGE_MS);
    assert!(matches!(late, Err(EnrolmentError::NotWaiting)));
}

#[test]
fn a_second_robot_with_the_same_board_or_chip_is_refused() {
    let mut world = World::new();
    let part = |serial: &str| Part {
        class: PartClass::Mainboard,
        slot: "board_serial".to_owned(),
        serial: serial.to_owned(),
        source: PartSource::Machine,
    };
    let on_board = |name: &str, serial: &str| {
        let mut robot = Robot::new(name);
        robot.inventory = Inventory::new().with(part(serial)).unwrap();
        robot
    };
    let mut first = on_board("rover-1", "BOARD-1");
    world.enrol(&first);
    let second = on_board("rover-2", "BOARD-1");
    let refused = world.authority.begin_enrolment(&second.begin(), NOW).unwrap_err();
    assert!(
        matches!(&refused, EnrolmentError::HardwareTaken { holder, part: found }
            if *holder == first.id && *found == part("BOARD-1")),
        "{refused}"
    );
    assert!(
        refused
            .to_string()
            .starts_with("hardware-identity-part-elsewhere")
    );
    // The same chip under another name, on a board that nobody has.
    first.id = second.id;
    first.inventory = Inventory::new().with(part("BOARD-3")).unwrap();
    let refused = world.authority.begin_enrolment(&first.begin(), NOW).unwrap_err();
    assert!(
        matches!(&refused, EnrolmentError::HardwareTaken { part, .. } if part.class == PartClass::SecurityModule),
        "{refused}"
    );
    // Another board is another robot; and a robot may be enrolled again.
    let third = on_board("rover-3", "BOARD-2");
    world.enrol(&third);
    world.enrol(&third);
}

/// A certificate and a pin are of the key alone: in an area of the robot's own making it would have as many Names as it likes.
#[test]
fn a_chip_has_one_name_whatever_area_its_key_is_shown_in() {
    let mut world = World::new();
    let (mut robot, mut other) = (Robot::new("rover-1"), Robot::new("rover-3"));
    world.enrol(&robot);
    fs::write(world.state().join(SIMULATOR_ROOTS).join("o.der"), &other.root).unwrap();
    // noDA, which no template of an endorsement key has.
    let in_other_area = |ek: &Public| {
        let mut area = ek.as_tpmt_bytes().to_vec();
        area[6] ^= 0x04;
        Public::from_tpmt(&area).unwrap()
    };
    robot.id = RobotId::new("rover-2").unwrap();
    robot.ek = in_other_area(&robot.ek);
    let refused = world.authority.begin_enrolment(&robot.begin(), NOW).unwrap_err();
    assert!(
        matches!(&refused, EnrolmentError::HardwareTaken { holder, .. } if holder.as_str() == "rover-1"),
        "{refused}"
    );
    // Nor is one enrolled in such an area at first, by its certificate or by a pin.
    other.ek = in_other_area(&other.ek);
    let pin = pin_digest(&other.ek.verifying_key().unwrap());
    let tier = HardwareTier::Simulator;
    world
        .authority
        .pin_endorsement(&other.id, pin, tier, NOW)
        .unwrap();
    for certificate in [other.certificate.clone(), Vec::new()] {
        other.certificate = certificate;
        let refused = world.authority.begin_enrolment(&other.begin(), NOW).unwrap_err();
        assert!(
            matches!(refused, EnrolmentError::Endorsement(EndorsementError::Template)),
            "{refused}"
        );
    }
}

/// The two templates of P-256 differ in nothing that a credential depends on: a key of the one opens it for the other's Name.
#[test]
fn a_chip_enrolled_by_one_template_is_known_by_the_other() {
    let mut world = World::new();
    let key = SigningKey::generate(Curve::P256).unwrap().verifying_key();
    let (_, x, y) = key.ec_point().unwrap();
    let low = PublicTemplate::ek_ecc_p256().into_tpmt_bytes();
    let low = [&low[..low.len() - 68], &sized(x), &sized(y)].concat();
    let mut robot = Robot::new("rover-2");
    robot.certificate.clear();
    robot.ek = with_point(PublicTemplate::ek_ecc_p256_high(), &key);
    let held = HardwareRecord {
        endorsement_key: Public::from_tpmt(&low).unwrap().name(),
        ..robot.hardware()
    };
    let state = world.state();
    drop(world.authority);
    let folder = StateFolder::open(&state).unwrap();
    folder.put("hardware", "rover-1", &held.to_canonical()).unwrap();
    drop(folder);
    world.authority = Authority::open(&state).unwrap();
    let (pin, tier) = (pin_digest(&key), HardwareTier::Simulator);
    world
        .authority
        .pin_endorsement(&robot.id, pin, tier, NOW)
        .unwrap();
    let refused = world.authority.begin_enrolment(&robot.begin(), NOW).unwrap_err();
    assert!(
        matches!(&refused, EnrolmentError::HardwareTaken { holder, part }
            if holder.as_str() == "rover-1" && part.class == PartClass::SecurityModule),
        "{refused}"
    );
}

#[test]
fn custody_at_rest_opens_with_the_key_file_that_is_kept_apart_only() {
    let mut world = World::new();
    let robot = Robot::new("rover-1");
    world.enrol(&robot);
    let sealed = fs::read(world.state().join("custody/rover-1")).unwrap();
    assert!(
        !sealed.windows(32).any(|window| window == [1; 32]),
        "the owner authorisation lies in the clear"
    );
    let other = robot_custody_under_another_name(&world);
    assert!(
        matches!(other, Err(EnrolmentError::Custody(KeyError::Crypto(_)))),
        "{other:?}"
    );

    let seal = world.dir.path().join("seal.key");
    let (state, moved) = (world.state(), world.dir.path().join("away.key"));
    drop(world.authority);
    fs::rename(&seal, &moved).unwrap();
    assert!(matches!(
        Authority::open(&state),
        Err(AuthorityError::Keys(KeyError::Io { .. }))
    ));
    fs::write(&seal, [9; 32]).unwrap();
    {
        use std::os::unix::fs::PermissionsExt;
        assert!(
            matches!(
                Authority::open(&state),
                Err(AuthorityError::Keys(KeyError::Open(_)))
            ),
            "0644 by default"
        );
        fs::set_permissions(&seal, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let wrong_key = Authority::open(&state).unwrap();
    assert!(matches!(
        wrong_key.custody(&robot.id),
        Err(EnrolmentError::Custody(KeyError::Crypto(_)))
    ));
}

fn robot_custody_under_another_name(world: &World) -> Result<(), EnrolmentError> {
    let folder = world.state().join("custody");
    fs::copy(folder.join("rover-1"), folder.join("rover-2")).unwrap();
    world
        .authority
        .custody(&alcub3_trust_model::RobotId::new("rover-2").unwrap())
        .map(|_| ())
}

#[test]
fn a_wrong_proof_issues_nothing_and_ends_the_exchange() {
    let mut world = World::new();
    let robot = Robot::new("rover-1");
    fs::write(world.state().join(SIMULATOR_ROOTS).join("r.der"), &robot.root).unwrap();
    let message = robot.begin();
    let challenge = world.authority.begin_enrolment(&message, NOW).unwrap();
    let good = robot.answer(&message, &challenge, &world.authority.verifying_key());
    let mut bad = good.clone();
    let at = bad.len() - 1;
    bad[at] ^= 1;
    let refusal = world
        .authority
        .finish_enrolment(&bad, &mut world.vault, NOW)
        .unwrap_err();
    assert!(matches!(refusal, EnrolmentError::Exchange(_)), "{refusal}");
    assert!(world.authority.robots().unwrap().is_empty());
    let again = world
        .authority
        .finish_enrolment(&good, &mut world.vault, NOW)
        .unwrap_err();
    assert!(
        matches!(again, EnrolmentError::NotWaiting),
        "one answer to one challenge: {again}"
    );
}

#[test]
fn certificates_without_a_root_and_of_another_key_are_refused() {
    let mut world = World::new();
    let (mut robot, other) = (Robot::new("rover-1"), Robot::new("rover-2"));
    let refusal = world.authority.begin_enrolment(&robot.begin(), NOW).unwrap_err();
    assert!(
        matches!(refusal, EnrolmentError::Endorsement(_)),
        "no roots: {refusal}"
    );
    fs::write(world.state().join(SIMULATOR_ROOTS).join("r.der"), &other.root).unwrap();
    robot.certificate = other.certificate;
    let refusal = world.authority.begin_enrolment(&robot.begin(), NOW).unwrap_err();
    assert!(refusal.to_string().contains("another key"), "{refusal}");
}

#[test]
fn a_name_stays_with_its_tpm() {
    let mut world = World::new();
    let (robot, impostor) = (Robot::new("rover-1"), Robot::new("rover-1"));
    world.enrol(&robot);
    world.enrol(&robot);
    fs::write(world.state().join(SIMULATOR_ROOTS).join("i.der"), &impostor.root).unwrap();
    let refusal = world
        .authority
        .begin_enrolment(&impostor.begin(), NOW)
        .unwrap_err();
    assert!(matches!(refusal, EnrolmentError::NameTaken(_)), "{refusal}");
}

#[test]
fn two_persons_give_a_lost_robots_name_to_another_tpm_and_one_does_not() {
    let mut world = World::new();
    let (lost, successor) = (Robot::new("rover-1"), Robot::new("rover-1"));
    world.enrol(&lost);
    fs::write(world.state().join(SIMULATOR_ROOTS).join("i.der"), &successor.root).unwrap();
    let begins = |world: &mut World, robot: &Robot| world.authority.begin_enrolment(&robot.begin(), NOW);
    for persons in [1, 2] {
        assert!(begins(&mut world, &successor).is_err());
        let proposal = world
            .authority
            .propose_succession(&lost.id, &mut world.vault, NOW)
            .unwrap();
        let mut votes = vec![
            world.alice.vote(proposal.ballot()),
            world.bob.vote(proposal.ballot()),
        ];
        votes.truncate(persons);
        let released = world
            .authority
            .approve_succession(proposal, &votes, &mut world.vault, NOW);
        assert_eq!(released.is_ok(), persons == 2);
    }
    world.enrol(&successor);
    // The name is the successor's now, and stays with it.
    let refusal = begins(&mut world, &lost).unwrap_err();
    assert!(matches!(refusal, EnrolmentError::NameTaken(_)), "{refusal}");
}

#[test]
fn a_release_that_two_persons_did_not_sign_gives_the_name_to_nobody() {
    let mut world = World::new();
    let (lost, successor) = (Robot::new("rover-1"), Robot::new("rover-1"));
    world.enrol(&lost);
    fs::write(world.state().join(SIMULATOR_ROOTS).join("i.der"), &successor.root).unwrap();
    let proposal = world
        .authority
        .propose_succession(&lost.id, &mut world.vault, NOW)
        .unwrap();
    let votes = [
        world.alice.vote(proposal.ballot()),
        world.bob.vote(proposal.ballot()),
    ];
    world
        .authority
        .approve_succession(proposal, &votes, &mut world.vault, NOW)
        .unwrap();
    let state = world.state();
    drop(world.authority);
    let folder = StateFolder::open(&state).unwrap();
    let key = lost.id.as_str();
    let mut forged = folder.get("successions", key).unwrap().unwrap();
    *forged.last_mut().unwrap() ^= 1;
    folder.put("successions", key, &forged).unwrap();
    drop(folder);
    world.authority = Authority::open(&state).unwrap();
    let message = successor.begin();
    let challenge = world.authority.begin_enrolment(&message, NOW).unwrap();
    let response = successor.answer(&message, &challenge, &world.authority.verifying_key());
    let refusal = world
        .authority
        .finish_enrolment(&response, &mut world.vault, NOW)
        .unwrap_err();
    assert!(matches!(refusal, EnrolmentError::NameTaken(_)), "{refusal}");
}

#[test]
fn an_authority_of_real_chips_admits_no_simulator() {
    let dir = tempfile::tempdir().unwrap();
    let mut production = config(dir.path());
    production.admit_simulators = false;
    let mut authority = Authority::create(&state(dir.path()), production).unwrap();
    let robot = Robot::new("rover-1");
    fs::write(state(dir.path()).join(SIMULATOR_ROOTS).join("r.der"), &robot.root).unwrap();
    let refusal = authority.begin_enrolment(&robot.begin(), NOW).unwrap_err();
    assert!(refusal.to_string().contains("simulator"), "{refusal}");
}

#[test]
fn one_key_is_one_person_and_names_are_given_once() {
    let mut world = World::new();
    let mut twin = Person::new("alice-again").as_operator(alcub3_command_authority::Role::Approver);
    twin.key = world.alice.key.verifying_key();
    assert!(matches!(
        world.authority.register_operator(twin, NOW),
        Err(OperatorError::KeyTaken { .. })
    ));
    let renamed = Person::new("alice").as_operator(alcub3_command_authority::Role::Approver);
    assert!(matches!(
        world.authority.register_operator(renamed, NOW),
        Err(OperatorError::NameTaken(_))
    ));
}

#[test]
fn the_folder_explains_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = state(dir.path());
    assert!(matches!(
        Authority::open(&path),
        Err(AuthorityError::Store(StoreError::Absent(_)))
    ));
    let mut inside = config(dir.path());
    inside.seal_file = path.join("seal.key");
    assert!(matches!(
        Authority::create(&path, inside),
        Err(AuthorityError::Keys(KeyError::NotApart(_)))
    ));
    fs::remove_dir_all(&path).unwrap();
    let authority = Authority::create(&path, config(dir.path())).unwrap();
    let held = Authority::open(&path).err().unwrap().to_string();
    assert!(held.contains("in use by process"), "{held}");
    let unknown = authority.enrolment(&rover()).unwrap_err();
    assert!(matches!(unknown, RobotError::Unknown(_)));
    {
        use std::os::unix::fs::PermissionsExt;
        for file in ["keys/signing.p8", "keys/custody.hpke", "../seal.key"] {
            let mode = fs::metadata(path.join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }
}
