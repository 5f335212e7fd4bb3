//! Replaced parts at the authority: what a robot must prove, and what one person approves.
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

use alcub3_fleet_protocol::replacement::{Replacement, ReplacementError, VerifiedReplacement};
use alcub3_server::{
    ApprovalError, EXCHANGE_MS, ExchangeError, OperatorVote, Proposed, Refusal, ReplacementRefusal,
    RobotError,
};
use alcub3_trust_model::SessionId;
use alcub3_trust_model::hardware::{HardwareReason, HardwareRecord, Inventory, PartClass};
use replacing::{Replacing, enrolled, part, parts, replaced, request, robot, vote, with_hardware};
use support::robot::Robot;
use support::{ALG, NOW, Person, World};
#[test]
fn one_person_approves_a_replaced_part_and_the_record_differs_in_it_alone() {
    let (mut world, robot, before) = enrolled("L-1");
    let first = world.record(&robot);
    let own = world.restored(&robot).0;
    let robot = replaced(robot, "L-2");
    let session = world.authority.open_replacement(&robot.id, NOW).unwrap();
    let asked = request(&robot, &robot, before, session);
    let bytes = asked.to_canonical();
    // Looking at it uses nothing up.
    for _ in 0..2 {
        let review = world.authority.review_replacement(&bytes, NOW).unwrap().unwrap();
        let [difference] = &review.differences[..] else {
            panic!("{review:?}")
        };
        assert_eq!(
            (difference.class, difference.slot.as_str(), difference.reason),
            (PartClass::Sensor, "lidar", HardwareReason::PartExchanged)
        );
        assert_eq!(
            (difference.enrolled.as_deref(), difference.found.as_deref()),
            (Some("L-1"), Some("L-2"))
        );
    }
    let Proposed::Vote(proposal) = world
        .authority
        .propose_replacement(&bytes, &mut world.vault, NOW)
        .unwrap()
    else {
        panic!("approved before")
    };
    assert_eq!(world.record(&robot), first, "nothing is changed before the vote");
    let by = vote(&world.bob, &proposal.review().change);
    let answer = world
        .authority
        .approve_replacement(*proposal, &by, &mut world.vault, NOW + 5)
        .unwrap();
    let record = world.record(&robot);
    assert_eq!(
        record,
        first.with_hardware(robot.hardware().binding(ALG), NOW + 5)
    );
    assert_ne!(record.hardware_binding, first.hardware_binding);
    // The robot takes it, over the enrolment that it has.
    let key = world.authority.verifying_key();
    let taken = VerifiedReplacement::verify(&answer, &key, &own, &asked).unwrap();
    assert_eq!(*taken.enrolled().enrolment().record(), record);
    assert_eq!(*taken.approver(), world.bob.id);
    // A lost disk is given the new record; the sealed authorisation is not in the clear.
    assert_eq!(world.restored(&robot).1, robot.hardware());
    assert!(!answer.windows(32).any(|window| window == [2; 32]));
}

#[test]
fn a_vote_counts_of_an_approver_for_this_change_alone() {
    let (mut world, robot, before) = enrolled("L-1");
    let first = world.record(&robot);
    let robot = replaced(robot, "L-2");
    let stranger = Person::new("mallory");
    type Vote = fn(&World, &Person, &Replacement) -> OperatorVote;
    let votes: [(Vote, &str); 7] = [
        (|world, _, change| vote(&world.pilot, change), "operator"),
        (|_, stranger, change| vote(stranger, change), "unknown"),
        (
            |world, stranger, change| OperatorVote {
                operator: world.alice.id.clone(),
                ..vote(stranger, change)
            },
            "another's key",
        ),
        (
            |world, _, change| {
                vote(
                    &world.alice,
                    &Replacement {
                        session: SessionId::new([9; 16]),
                        ..change.clone()
                    },
                )
            },
            "session",
        ),
        (
            |world, _, change| {
                vote(
                    &world.alice,
                    &Replacement {
                        after: change.before,
                        ..change.clone()
                    },
                )
            },
            "after",
        ),
        (
            |world, _, change| {
                vote(
                    &world.alice,
                    &Replacement {
                        before: change.after,
                        ..change.clone()
                    },
                )
            },
            "before",
        ),
        (
            |world, _, change| {
                vote(
                    &world.alice,
                    &Replacement {
                        robot: Robot::new("rover-2").id,
                        ..change.clone()
                    },
                )
            },
            "robot",
        ),
    ];
    for (cast, what) in votes {
        let proposal = world.proposed(&robot, before);
        let vote = cast(&world, &stranger, &proposal.review().change);
        let refused = world
            .authority
            .approve_replacement(*proposal, &vote, &mut world.vault, NOW)
            .unwrap_err();
        let expected = matches!(
            refused,
            ReplacementRefusal::Approval(
                ApprovalError::BadSignature { .. }
                    | ApprovalError::Unknown(_)
                    | ApprovalError::NotApprover { .. }
            )
        );
        assert!(expected, "{what}: {refused}");
    }
    assert_eq!(world.record(&robot), first);
    assert!(world.authority.replacements(&robot.id).unwrap().is_empty());
    assert_ne!(world.restored(&robot).1, robot.hardware());
}

#[test]
fn an_exchange_counts_once_in_time_and_for_its_robot_and_purpose() {
    let (mut world, one, before) = enrolled("L-1");
    let two = robot("rover-2", "L-5");
    world.enrol(&two);
    let one = replaced(one, "L-2");
    let ask = |world: &mut World, session, now| {
        let bytes = request(&one, &one, before, session).to_canonical();
        let reviewed = world.authority.review_replacement(&bytes, now);
        let proposed = world.authority.propose_replacement(&bytes, &mut world.vault, now);
        let (Err(looked), Err(refused)) = (reviewed, proposed) else {
            panic!("neither is refused alone")
        };
        assert_eq!(looked.code(), refused.code());
        match refused {
            ReplacementRefusal::Exchange(refused) => refused,
            other => panic!("{other}"),
        }
    };
    let session = world.authority.open_replacement(&one.id, NOW).unwrap();
    assert!(matches!(
        ask(&mut world, session, NOW + EXCHANGE_MS + 7),
        ExchangeError::Expired { late_ms: 7 }
    ));
    assert!(matches!(
        ask(&mut world, session, NOW),
        ExchangeError::UnknownOrUsed
    ));
    let others = world.authority.open_replacement(&two.id, NOW).unwrap();
    assert!(matches!(ask(&mut world, others, NOW), ExchangeError::OtherUse));
    let purpose = world.authority.open_certificate(&one.id, NOW).unwrap();
    assert!(matches!(ask(&mut world, purpose, NOW), ExchangeError::OtherUse));
    // A damaged one counts for nobody, and keeps nobody from another.
    let damaged = world.authority.open_replacement(&two.id, NOW).unwrap();
    let path = world.state().join("exchanges").join(damaged.to_string());
    std::fs::write(&path, "nothing").unwrap();
    let session = world.authority.open_replacement(&one.id, NOW).unwrap();
    assert!(!path.exists());
    assert!(matches!(
        ask(&mut world, damaged, NOW),
        ExchangeError::UnknownOrUsed
    ));
    let bytes = request(&one, &one, before, session).to_canonical();
    world.authority.review_replacement(&bytes, NOW).unwrap();
    let stranger = Robot::new("rover-9");
    assert!(matches!(
        world.authority.open_replacement(&stranger.id, NOW),
        Err(ReplacementRefusal::Robot(RobotError::Unknown(_)))
    ));
}

#[test]
fn what_is_not_one_persons_to_approve_is_refused_and_changes_nothing() {
    let (mut world, one, before) = enrolled("L-1");
    let first = world.record(&one);
    // No difference at all.
    let refused = world.asked(&one, before).unwrap_err();
    assert!(matches!(
        refused,
        ReplacementRefusal::Replacement(ReplacementError::NoDifference)
    ));
    // Another board, a board that is gone, one that came.
    for inventory in [
        parts("rover-7", "L-2"),
        Inventory::new()
            .with(part(PartClass::Sensor, "lidar", "L-2"))
            .unwrap(),
        parts("rover-1", "L-2")
            .with(part(PartClass::Mainboard, "second", "B-2"))
            .unwrap(),
    ] {
        let hardware = HardwareRecord {
            inventory,
            ..one.hardware()
        };
        let session = world.authority.open_replacement(&one.id, NOW).unwrap();
        let refused = world.refusal(&with_hardware(&one, hardware, before, session));
        assert!(refused.code().starts_with("hardware-identity-part-"), "{refused}");
    }
    // Another chip's word, and a register that holds something else.
    let (other, one) = (robot("rover-3", "L-2"), replaced(one, "L-2"));
    let session = world.authority.open_replacement(&one.id, NOW).unwrap();
    let forged = request(&one, &other, before, session).to_canonical();
    assert_eq!(world.refusal(&forged).code(), "hardware-not-measured");
    let session = world.authority.open_replacement(&one.id, NOW).unwrap();
    let mut unmeasured = request(&one, &one, before, session);
    unmeasured.measured.insert(0, before);
    assert!(matches!(
        world.refusal(&unmeasured.to_canonical()),
        ReplacementRefusal::Replacement(ReplacementError::Replay)
    ));
    assert_eq!(world.record(&one), first);
    assert!(world.authority.replacements(&one.id).unwrap().is_empty());
}

#[test]
fn a_purged_robot_is_refused_at_every_step() {
    let (mut world, robot, before) = enrolled("L-1");
    let robot = replaced(robot, "L-2");
    let proposal = world.proposed(&robot, before);
    let session = world.authority.open_replacement(&robot.id, NOW).unwrap();
    let asked = request(&robot, &robot, before, session).to_canonical();
    let purge = robot.purge_request(world.authority.open_purge(&robot.id, NOW).unwrap());
    let purge = world
        .authority
        .propose_purge(&purge, &mut world.vault, NOW)
        .unwrap();
    let votes = [world.alice.vote(purge.ballot()), world.bob.vote(purge.ballot())];
    world
        .authority
        .approve_purge(purge, &votes, &mut world.vault, NOW)
        .unwrap();
    let by = vote(&world.alice, &proposal.review().change);
    let late = world
        .authority
        .approve_replacement(*proposal, &by, &mut world.vault, NOW)
        .unwrap_err();
    let opened = world.authority.open_replacement(&robot.id, NOW).unwrap_err();
    for refused in [late, opened, world.refusal(&asked)] {
        assert_eq!(refused.code(), "purged", "{refused}");
    }
    assert!(world.authority.replacements(&robot.id).unwrap().is_empty());
}

#[test]
fn a_part_that_another_robots_record_names_is_shown_and_signed_with_the_change() {
    let (mut world, one, before) = enrolled("L-1");
    let two = robot("rover-2", "L-2");
    world.enrol(&two);
    let one = replaced(one, "L-2");
    let proposal = world.proposed(&one, before);
    let review = proposal.review();
    assert_eq!(review.elsewhere.len(), 1);
    assert_eq!(
        (&review.elsewhere[0].holder, review.elsewhere[0].serial.as_str()),
        (&two.id, "L-2")
    );
    assert_eq!(review.change.elsewhere, std::slice::from_ref(&two.id));
    let unaware = vote(
        &world.alice,
        &Replacement {
            elsewhere: Vec::new(),
            ..review.change.clone()
        },
    );
    let refused = world
        .authority
        .approve_replacement(*proposal, &unaware, &mut world.vault, NOW)
        .unwrap_err();
    assert_eq!(refused.code(), "vote-signature");
    world.approved(&one, before);
    let kept = world.authority.replacements(&one.id).unwrap().remove(0);
    assert_eq!(kept.elsewhere, [two.id]);
}
