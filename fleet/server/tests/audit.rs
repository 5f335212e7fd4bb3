//! The authority's audit log: what it decides and refuses is in it, with its reason code, before anybody is told.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/replacing.rs"]
mod replacing;
mod support;

use alcub3_audit_log::{Entry, EntryKind, Outcome, Piece, pieces};
use alcub3_command_authority::Role;
use alcub3_server::{Authority, AuthorityConfig, Ballot, Refusal};
use alcub3_trust_model::Level;
use replacing::Replacing;
use support::approvals::{HOUR, MISSION, approve, approved_mission, propose};
use support::robot::Robot;
use support::{NOW, Person, World, config, state};

fn entries(world: &World) -> Vec<Entry> {
    let content = std::fs::read(Authority::audit_file(&world.state())).unwrap();
    pieces(&content)
        .map(|piece| match piece {
            Piece::Entry { entry, .. } => *entry,
            Piece::Damaged(bytes) => panic!("{bytes:?}"),
        })
        .collect()
}

/// The last entry: its kind, robot, outcome and only reason.
fn last(world: &World) -> (EntryKind, Option<String>, Outcome, String) {
    let entry = entries(world).pop().unwrap();
    let robot = entry.robot.map(|robot| robot.to_string());
    (entry.kind, robot, entry.outcome, entry.reasons.join(","))
}

fn refused(kind: EntryKind, robot: &str, code: &str) -> (EntryKind, Option<String>, Outcome, String) {
    (kind, Some(robot.to_owned()), Outcome::Refused, code.to_owned())
}

#[test]
fn an_approved_mission_is_on_record_with_who_approved_and_over_a_restart() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    let entries_of = |outcome| {
        let entries = entries(&world).into_iter();
        let of_outcome = entries.filter(|entry| entry.outcome == outcome);
        of_outcome.map(|entry| entry.kind).collect::<Vec<_>>()
    };
    let persons = [EntryKind::Configuration; 3];
    let lasting = [&persons[..], &[EntryKind::Provision, EntryKind::Configuration]].concat();
    assert_eq!(entries_of(Outcome::Unconfirmed), lasting);
    assert_eq!(
        entries_of(Outcome::Done),
        [&lasting[..], &[EntryKind::Attest]].concat()
    );
    approved_mission(&mut world, &robot, Level::Secret);
    let entry = entries(&world).pop().unwrap();
    assert_eq!(
        (entry.kind, entry.outcome),
        (EntryKind::MissionStart, Outcome::Done)
    );
    assert_eq!(entry.subject, format!("mission {MISSION}, votes of alice+bob"));
    assert_eq!((entry.robot.as_ref(), entry.time_ms), (Some(&robot.id), NOW));
    let head = world.authority.audit_head();
    assert_eq!(head.0, u64::try_from(entries(&world).len()).unwrap());
    world = world.restarted();
    assert_eq!(world.authority.audit_head(), head);
}

#[test]
fn what_a_level_or_a_vote_refuses_is_on_record_with_its_code() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    let kind = EntryKind::MissionStart;
    let long = alcub3_trust_model::profile(Level::Cui).max_mission_ms + 1;
    let error = propose(&mut world, &robot, Level::Cui, long).unwrap_err();
    assert_eq!(error.code(), "mission-too-long");
    assert_eq!(last(&world), refused(kind, "rover-1", "mission-too-long"));
    let proposal = propose(&mut world, &robot, Level::Secret, HOUR).unwrap();
    assert_eq!(last(&world).3, "mission-too-long", "a proposal decides nothing");
    let alone = [world.alice.vote(proposal.ballot())];
    approve(&mut world, proposal, &alone).unwrap_err();
    assert_eq!(last(&world), refused(kind, "rover-1", "too-few-votes"));
    let plan = support::approvals::plan(&world);
    let junk = world
        .authority
        .propose_mission(b"junk", &plan, &mut world.vault, NOW);
    assert_eq!(junk.unwrap_err().code(), "malformed-message");
    let malformed = "malformed-message".to_owned();
    assert_eq!(last(&world), (kind, None, Outcome::Refused, malformed));
    // Of robots that nobody enrolled, too.
    let stranger = Robot::new("rover-9");
    world.authority.open_mission(&stranger.id, NOW).unwrap_err();
    assert_eq!(last(&world), refused(kind, "rover-9", "robot-unknown"));
}

#[test]
fn a_second_robot_with_the_same_parts_is_refused_on_record() {
    let (mut world, first, _) = replacing::enrolled("L-1");
    let mut second = replacing::robot("rover-2", "L-2");
    second.inventory = first.inventory;
    world.trust(&second);
    let error = world.authority.begin_enrolment(&second.begin(), NOW).unwrap_err();
    let code = "hardware-identity-part-elsewhere";
    assert_eq!(error.code(), code, "{error}");
    assert_eq!(last(&world), refused(EntryKind::Provision, "rover-2", code));
}

#[test]
fn a_chip_below_every_floor_is_refused_on_record() {
    let robot = Robot::new("rover-1");
    let mut world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let production = AuthorityConfig {
        admit_simulators: false,
        ..config(dir.path())
    };
    world.authority = Authority::create(&state(dir.path()), production).unwrap();
    world.dir = dir;
    world.trust(&robot);
    world.authority.begin_enrolment(&robot.begin(), NOW).unwrap_err();
    let (kind, id, outcome, code) = last(&world);
    assert_eq!(
        (kind, id.as_deref(), outcome),
        (EntryKind::Provision, Some("rover-1"), Outcome::Refused)
    );
    assert_eq!(code, "below-every-floor");
}

#[test]
fn persons_parts_and_judgements_are_on_record() {
    let (mut world, robot, before) = replacing::enrolled("L-1");
    let twin = Person {
        id: world.pilot.id.clone(),
        key: Person::new("x").key,
    };
    world
        .authority
        .register_operator(twin.as_operator(Role::Operator), NOW)
        .unwrap_err();
    let taken = "operator-name-taken".to_owned();
    assert_eq!(
        last(&world),
        (EntryKind::Configuration, None, Outcome::Refused, taken)
    );
    let robot = replacing::replaced(robot, "L-2");
    world.approved(&robot, before);
    let entry = entries(&world).pop().unwrap();
    assert_eq!(
        (entry.outcome, entry.subject.as_str()),
        (Outcome::Done, "replaced parts, votes of alice")
    );
    // A receipt that proves nothing.
    world
        .authority
        .verify_receipt(&robot.id, b"no receipt", NOW)
        .unwrap();
    let entry = entries(&world).pop().unwrap();
    assert_eq!((entry.kind, entry.outcome), (EntryKind::Stop, Outcome::Refused));
    assert!(!entry.reasons.is_empty() && entry.object.is_some());
}

/// What lasts is in the log before it is done, so that a crash or a log that fails right after leaves no change that the log does
/// not know of; who voted is a claim until the vote counts.
#[test]
fn what_lasts_is_on_record_before_it_is_done() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    let ask = |world: &mut World| propose(world, &robot, Level::Secret, HOUR).unwrap();
    let votes = |world: &World, ballot: &Ballot| [world.alice.vote(ballot), world.bob.vote(ballot)];
    let proposal = ask(&mut world);
    let of_another = votes(&world, proposal.ballot());
    let proposal = ask(&mut world);
    approve(&mut world, proposal, &of_another).unwrap_err();
    let proposal = ask(&mut world);
    let own = votes(&world, proposal.ballot());
    approve(&mut world, proposal, &own).unwrap();
    let entries = entries(&world);
    let seen: Vec<_> = entries[entries.len() - 4..]
        .iter()
        .map(|entry| (entry.outcome, entry.subject.split_once(", ").unwrap().1))
        .collect();
    let claimed = "votes in the names of alice+bob";
    let expected = [
        (Outcome::Unconfirmed, claimed),
        (Outcome::Refused, claimed),
        (Outcome::Unconfirmed, claimed),
        (Outcome::Done, "votes of alice+bob"),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn damage_in_the_log_is_named_and_costs_no_other_entry() {
    let mut world = World::new();
    let file = Authority::audit_file(&world.state());
    let mut content = std::fs::read(&file).unwrap();
    content[2] ^= 1;
    std::fs::write(&file, content).unwrap();
    world = world.restarted();
    world
        .authority
        .register_operator(Person::new("carol").as_operator(Role::Operator), NOW + 1)
        .unwrap();
    let content = std::fs::read(&file).unwrap();
    let kept: Vec<_> = pieces(&content).collect();
    assert_eq!(kept.len(), 9);
    assert!(matches!(kept[0], Piece::Damaged(_)));
    let Piece::Entry { entry, .. } = &kept[6] else {
        panic!("{:?}", kept[6])
    };
    assert_eq!((entry.kind, entry.time_ms), (EntryKind::Fault, NOW + 1));
}
