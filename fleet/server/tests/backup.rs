//! What a robot's key may be duplicated to, what two persons see of it, and what stays on record.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_command_authority::Role;
use alcub3_crypto::tpm::{Name, Public, Signature, StorageKeyPair};
use alcub3_crypto::{Curve, SignatureScheme, SigningKey};
use alcub3_fleet_protocol::chip::AdmittedChip;
use alcub3_fleet_protocol::recovery::{RecoveryError, RecoverySet};
use alcub3_server::{
    ApprovalError, ApprovalPurpose, ApprovalVault, BackupDestination, BackupError, BackupParent,
    BackupSubject, ChipRefusal, PRODUCTION_ROOTS, SystemEntropy,
};
use alcub3_trust_model::recovery::Recoverable;
use alcub3_trust_model::{HardwareTier, Level, SessionId};
use support::chips::{admitted, answered, chip_request};
use support::robot::Robot;
use support::{ALG, NOW, Person, World};

const SET: SessionId = SessionId::new([9; 16]);
const HOLDERS: [&str; 3] = ["ann", "ben", "cid"];

/// A robot, and three persons with a chip each.
struct Recovery {
    world: World,
    robot: Robot,
    persons: Vec<Person>,
    chips: Vec<AdmittedChip>,
}

impl Recovery {
    fn new() -> Self {
        let mut robot = Robot::new("rover-1");
        let mut world = World::ready(&mut robot);
        let persons: Vec<Person> = HOLDERS.map(Person::new).into();
        for person in &persons {
            let operator = person.as_operator(Role::Maintainer);
            world.authority.register_operator(operator, NOW).unwrap();
        }
        let admit = |person: &Person| admitted(&mut world, &chip_of(person), person);
        let chips = persons.iter().map(admit).collect();
        Self {
            world,
            robot,
            persons,
            chips,
        }
    }

    fn set(&self) -> RecoverySet {
        self.signed(&self.set_of(&self.chips, Curve::P384).unwrap())
    }

    fn set_of(&self, chips: &[AdmittedChip], curve: Curve) -> Result<RecoverySet, RecoveryError> {
        let robot = self.robot.id.clone();
        RecoverySet::create(SET, robot, curve, (chips, 2), &mut SystemEntropy).map(|(set, _)| set)
    }

    /// The set, signed by the robot's identity key.
    fn signed(&self, set: &RecoverySet) -> RecoverySet {
        signed_by(set, &self.robot.identity_key)
    }

    fn judge(&self, set: RecoverySet) -> Result<(Name, BackupParent), BackupError> {
        self.judge_at(Level::Secret, &BackupDestination::Set(Box::new(set)))
    }

    fn judge_at(
        &self,
        level: Level,
        destination: &BackupDestination,
    ) -> Result<(Name, BackupParent), BackupError> {
        self.world
            .authority
            .judge_backup_parent(&self.robot.id, level, destination)
    }
}

fn chip_of(person: &Person) -> Robot {
    Robot::new(&format!("chip-of-{}", person.id))
}

fn signed_by(set: &RecoverySet, identity: &SigningKey) -> RecoverySet {
    let signature = Signature {
        scheme: SignatureScheme::Ecdsa(ALG),
        bytes: identity.sign(&set.statement()).unwrap(),
    };
    set.clone().signed(signature.to_tpmt())
}

fn subject(robot: &Robot) -> BackupSubject {
    BackupSubject {
        robot: robot.id.clone(),
        level: Level::Secret,
        label: "telemetry".to_owned(),
        key: robot.identity.name(),
    }
}

#[test]
fn two_persons_approve_a_parent_whose_kind_they_see_and_it_stays_on_record() {
    let mut recovery = Recovery::new();
    let set = recovery.set();
    let chip = recovery.chips[0].clone();
    let destinations = [
        (BackupDestination::Set(Box::new(set.clone())), set.parent().name()),
        (
            BackupDestination::Chip(chip.as_bytes().to_vec()),
            chip.storage_key().name(),
        ),
    ];
    let Recovery { world, robot, .. } = &mut recovery;
    for (at, (destination, parent)) in destinations.iter().enumerate() {
        let (authority, vault) = (&mut world.authority, &mut world.vault);
        let proposal = authority
            .propose_backup(subject(robot), destination, vault, NOW)
            .unwrap();
        let seen = proposal.parent().clone();
        let votes = [&world.alice, &world.bob].map(|person| person.vote(proposal.ballot()));
        let approval = authority
            .approve_backup(proposal, &votes, vault, NOW + at as u64)
            .unwrap();
        assert_eq!((approval.parent_name, &approval.parent), (*parent, &seen));
        let two_persons = vault.approval_public(ApprovalPurpose::Rearm).unwrap();
        let signs = |label: &str| {
            let recoverable = Recoverable {
                alg: ALG,
                two_person_key: two_persons.name(),
                robot: robot.id.clone(),
                level: Level::Secret,
                label: label.to_owned(),
            };
            let message = recoverable.duplication_message(robot.identity.name(), *parent);
            let key = two_persons.verifying_key().unwrap();
            approval.signature.verify(&key, &message.unwrap()).is_ok()
        };
        assert!(signs("telemetry") && !signs("commands"));
    }
    let kept = world.authority.backups().unwrap();
    assert_eq!(kept.len(), 2);
    let BackupParent::Set {
        set: id,
        needed,
        holders,
    } = &kept[0].parent
    else {
        panic!("{:?}", kept[0]);
    };
    let names: Vec<&str> = holders.iter().map(|holder| holder.operator.as_str()).collect();
    assert_eq!((*id, *needed, names.as_slice()), (SET, 2, HOLDERS.as_slice()));
    let BackupParent::Chip(recovery_tpm) = &kept[1].parent else {
        panic!("{:?}", kept[1]);
    };
    assert_eq!(
        (recovery_tpm.endorsement_key, recovery_tpm.tier),
        (chip.endorsement_key(), HardwareTier::Simulator)
    );
    assert!(kept.iter().all(|approval| approval.approvers.len() == 2));
}

#[test]
fn one_person_approves_no_duplicate_and_nothing_is_on_record() {
    let mut recovery = Recovery::new();
    let destination = BackupDestination::Set(Box::new(recovery.set()));
    let Recovery { world, robot, .. } = &mut recovery;
    let (authority, vault) = (&mut world.authority, &mut world.vault);
    let proposal = authority
        .propose_backup(subject(robot), &destination, vault, NOW)
        .unwrap();
    let votes = [world.alice.vote(proposal.ballot())];
    let refused = authority.approve_backup(proposal, &votes, vault, NOW);
    assert!(
        matches!(refused, Err(BackupError::Approval(ApprovalError::TooFew { .. }))),
        "{refused:?}"
    );
    assert!(authority.backups().unwrap().is_empty());
}

#[test]
fn a_chip_that_this_authority_does_not_vouch_for_now_is_no_parent() {
    let mut recovery = Recovery::new();
    let chip = recovery.chips[0].clone();
    let judge = |recovery: &Recovery, admission: &[u8]| {
        recovery.judge_at(Level::Secret, &BackupDestination::Chip(admission.to_vec()))
    };
    judge(&recovery, chip.as_bytes()).unwrap();
    for at in 0..chip.as_bytes().len() {
        let mut changed = chip.as_bytes().to_vec();
        changed[at] ^= 1;
        assert!(judge(&recovery, &changed).is_err(), "byte {at}");
    }
    let stranger = SigningKey::generate(Curve::P384).unwrap();
    let forged = judge(&recovery, &chip.admission().sign(&stranger).unwrap());
    assert!(matches!(forged, Err(BackupError::Admission(_))), "{forged:?}");
    // A challenge of the authority's is signed by it too, and is no admission.
    let person = &recovery.persons[0];
    let again = chip_of(person);
    recovery.world.trust(&again);
    let request = chip_request(&again, person, &again.root_public);
    let challenge = recovery.world.authority.challenge_chip(&request, NOW).unwrap();
    assert!(judge(&recovery, &challenge).is_err());

    // The person's next chip takes this one's place.
    let answer = answered(&mut recovery.world, &again, &request);
    let next = recovery.world.authority.admit_chip(&answer, NOW).unwrap();
    let replaced = judge(&recovery, chip.as_bytes());
    assert!(
        matches!(&replaced, Err(BackupError::NotAdmittedNow(who)) if who.as_str() == "ann"),
        "{replaced:?}"
    );
    judge(&recovery, next.as_bytes()).unwrap();
    assert!(matches!(
        recovery.judge(recovery.set()),
        Err(BackupError::NotAdmittedNow(_))
    ));
    // The same chip with another storage key: the one of before counts no more. And the key alone says nothing of the chip.
    let mut chip = again;
    chip.root_public = Robot::new("another-key").root_public;
    let newest = admitted(&mut recovery.world, &chip, &recovery.persons[0]);
    judge(&recovery, newest.as_bytes()).unwrap();
    assert!(judge(&recovery, next.as_bytes()).is_err());
    let mut elsewhere = chip_of(&recovery.persons[0]);
    elsewhere.root_public = chip.root_public.clone();
    admitted(&mut recovery.world, &elsewhere, &recovery.persons[0]);
    assert!(judge(&recovery, newest.as_bytes()).is_err());
}

#[test]
fn a_revoked_chip_is_no_parent_holds_no_share_and_is_never_admitted_again() {
    let mut recovery = Recovery::new();
    let (person, set) = (&recovery.persons[1], recovery.set());
    let chip = chip_of(person);
    let admission = admitted(&mut recovery.world, &chip, person);
    let request = chip_request(&chip, person, &chip.root_public);
    // A challenge that was open when the chip was revoked.
    let open = answered(&mut recovery.world, &chip, &request);
    let authority = &mut recovery.world.authority;
    authority.revoke_chip(&person.id, NOW).unwrap();
    assert!(matches!(authority.chip(&person.id), Err(ChipRefusal::NoChip(_))));
    assert!(matches!(
        authority.revoke_chip(&person.id, NOW),
        Err(ChipRefusal::NoChip(_))
    ));
    assert!(matches!(
        authority.admit_chip(&open, NOW),
        Err(ChipRefusal::Revoked)
    ));
    assert_eq!(authority.chips().unwrap().len(), 2);
    for other in [person, &recovery.persons[2]] {
        let request = chip_request(&chip, other, &chip.root_public);
        let refused = authority.challenge_chip(&request, NOW);
        assert!(matches!(refused, Err(ChipRefusal::Revoked)), "{refused:?}");
    }
    let refused = recovery.judge(set);
    assert!(
        matches!(refused, Err(BackupError::NotAdmittedNow(_))),
        "{refused:?}"
    );
    let refused = recovery.judge_at(
        Level::Secret,
        &BackupDestination::Chip(admission.as_bytes().to_vec()),
    );
    assert!(
        matches!(refused, Err(BackupError::NotAdmittedNow(_))),
        "{refused:?}"
    );
}

#[test]
fn a_set_is_its_robots_own_and_every_byte_of_it_is_signed() {
    let recovery = Recovery::new();
    let set = recovery.set();
    recovery.judge(set.clone()).unwrap();
    let stranger = SigningKey::generate(Curve::P384).unwrap();
    let dressed_up = signed_by(&set, &stranger);
    for refused in [
        recovery.judge(dressed_up),
        recovery.judge(set.clone().signed(Vec::new())),
    ] {
        assert!(
            matches!(&refused, Err(BackupError::Set(RecoveryError::NotOfRobot(robot))) if robot == "rover-1"),
            "{refused:?}"
        );
    }
    let bytes = set.to_canonical();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        if let Ok(changed) = RecoverySet::from_canonical(&changed) {
            assert!(recovery.judge(changed).is_err(), "byte {at}");
        }
    }
    // Made by another robot of the authority's, for itself: its own set, and no parent for this robot's keys.
    let mut recovery = recovery;
    let other = Robot::new("rover-2");
    recovery.world.enrol(&other);
    let made = RecoverySet::create(
        SET,
        other.id.clone(),
        Curve::P384,
        (&recovery.chips, 2),
        &mut SystemEntropy,
    );
    let theirs = signed_by(&made.unwrap().0, &other.identity_key);
    let refused = recovery.judge(theirs.clone());
    assert!(
        matches!(refused, Err(BackupError::Set(RecoveryError::NotOfRobot(_)))),
        "{refused:?}"
    );
    let resigned = recovery.signed(&theirs);
    let refused = recovery.judge(resigned);
    assert!(matches!(refused, Err(BackupError::OtherRobot(_))), "{refused:?}");
}

#[test]
fn what_is_below_the_levels_floor_or_the_robots_own_chip_is_no_parent() {
    let mut recovery = Recovery::new();
    let chip = |chip: &AdmittedChip| BackupDestination::Chip(chip.as_bytes().to_vec());
    // The level's suite: a set of P-256, and a storage key of it.
    let weak = recovery.signed(&recovery.set_of(&recovery.chips, Curve::P256).unwrap());
    let to_weak = BackupDestination::Set(Box::new(weak));
    let refused = recovery.judge_at(Level::Secret, &to_weak);
    assert!(
        matches!(refused, Err(BackupError::ParentBelowFloor(_))),
        "{refused:?}"
    );
    recovery.judge_at(Level::Cui, &to_weak).unwrap();
    // The level's kind of TPM: a vendor's that is not known counts as the weakest, a holder's as a recovery TPM's.
    let virtual_chip = chip_of(&recovery.persons[1]);
    let roots = recovery.world.state().join(PRODUCTION_ROOTS).join("vendor.der");
    std::fs::write(roots, &virtual_chip.root).unwrap();
    let person = &recovery.persons[1];
    let request = chip_request(&virtual_chip, person, &virtual_chip.root_public);
    let answer = answered(&mut recovery.world, &virtual_chip, &request);
    let admitted_now = recovery.world.authority.admit_chip(&answer, NOW).unwrap();
    recovery.chips[1] = admitted_now.clone();
    let set = BackupDestination::Set(Box::new(recovery.set()));
    for to in [chip(&admitted_now), set] {
        let refused = recovery.judge_at(Level::Secret, &to);
        assert!(
            matches!(&refused, Err(BackupError::BelowFloor { operator, .. }) if operator.as_str() == "ben"),
            "{refused:?}"
        );
        recovery.judge_at(Level::Unclassified, &to).unwrap();
    }
    let small = Robot::on(Curve::P256, "small-chip");
    let small = admitted(&mut recovery.world, &small, &recovery.persons[2]);
    let refused = recovery.judge_at(Level::Secret, &chip(&small));
    assert!(
        matches!(refused, Err(BackupError::ParentBelowFloor(_))),
        "{refused:?}"
    );
    recovery.judge_at(Level::Cui, &chip(&small)).unwrap();
    // A level above the robot's.
    let lower = Robot::on(Curve::P256, "rover-2");
    recovery.world.enrol(&lower);
    let authority = &recovery.world.authority;
    let refused = authority.judge_backup_parent(&lower.id, Level::Secret, &chip(&recovery.chips[0]));
    assert!(
        matches!(refused, Err(BackupError::AboveCeiling(_))),
        "{refused:?}"
    );
    // The robot's own chip, as a person's.
    let late = Robot::new("rover-3");
    let own = admitted(&mut recovery.world, &late, &recovery.persons[0]);
    recovery.world.enrol(&late);
    let authority = &recovery.world.authority;
    let refused = authority.judge_backup_parent(&late.id, Level::Secret, &chip(&own));
    assert!(matches!(refused, Err(BackupError::OwnChip(_))), "{refused:?}");
}

#[test]
fn one_chip_is_admitted_for_no_two_persons() {
    let mut recovery = Recovery::new();
    let chip = chip_of(&recovery.persons[0]);
    admitted(&mut recovery.world, &chip, &recovery.persons[0]);
    let request = chip_request(&chip, &recovery.persons[1], &chip.root_public);
    let refused = recovery.world.authority.challenge_chip(&request, NOW);
    assert!(matches!(refused, Err(ChipRefusal::Taken { .. })), "{refused:?}");
    // A challenge that waits is judged again when it is answered.
    let other = chip_of(&recovery.persons[2]);
    recovery.world.trust(&other);
    let [first, second] = [0, 1].map(|at| {
        let request = chip_request(&other, &recovery.persons[at], &other.root_public);
        answered(&mut recovery.world, &other, &request)
    });
    recovery.world.authority.admit_chip(&first, NOW).unwrap();
    let refused = recovery.world.authority.admit_chip(&second, NOW);
    assert!(matches!(refused, Err(ChipRefusal::Taken { .. })), "{refused:?}");
}

#[test]
fn a_set_that_was_not_made_by_the_rules_is_refused_although_its_robot_signed_it() {
    let recovery = Recovery::new();
    let set = recovery.set();
    let replaced = |from: &[u8], to: &[u8]| {
        let bytes = set.to_canonical();
        let at = bytes
            .windows(from.len())
            .position(|window| window == from)
            .unwrap();
        let bytes = [&bytes[..at], to, &bytes[at + from.len()..]].concat();
        recovery.signed(&RecoverySet::from_canonical(&bytes).unwrap())
    };
    let [ann, ben] = [0, 1].map(|at| recovery.chips[at].as_bytes());
    let sized = |bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        [&[0x59], &length[..], bytes].concat()
    };
    let twice = replaced(&sized(ben), &sized(ann));
    let error = recovery.judge(twice);
    assert!(
        matches!(error, Err(BackupError::Set(RecoveryError::SameHolder(_)))),
        "{error:?}"
    );
    let stranger = SigningKey::generate(Curve::P384).unwrap();
    let forged = recovery.chips[1].admission().sign(&stranger).unwrap();
    let error = recovery.judge(replaced(&sized(ben), &sized(&forged)));
    assert!(
        matches!(&error, Err(BackupError::Set(RecoveryError::NotAdmitted { holder, .. })) if holder.as_str() == "ben"),
        "{error:?}"
    );
    // A parent that claims to be in a TPM, as a storage root of one does.
    let root: &Public = &recovery.robot.root_public;
    let error = recovery.judge(replaced(set.parent().as_tpmt_bytes(), root.as_tpmt_bytes()));
    assert!(
        matches!(error, Err(BackupError::Set(RecoveryError::NoSetParent))),
        "{error:?}"
    );
    // Any other key of the right form is a parent by the word of the robot that signed the set.
    let pair = StorageKeyPair::generate(Curve::P384, &mut SystemEntropy).unwrap();
    let (name, _) = recovery
        .judge(replaced(
            set.parent().as_tpmt_bytes(),
            pair.public().as_tpmt_bytes(),
        ))
        .unwrap();
    assert_eq!(name, pair.public().name());
}
