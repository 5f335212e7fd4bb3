//! What an authority keeps of approved replacements, and what a crash, a lost answer or an old disk changes.
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

use alcub3_server::{OperatorVote, Proposed, Refusal, ReplacementRefusal};
use replacing::{Replacing, enrolled, replaced, vote};
use support::robot::Robot;
use support::{ALG, NOW, World};
#[test]
fn who_approved_what_is_on_record_over_a_restart_and_can_be_checked() {
    let (mut world, robot, before) = enrolled("L-1");
    let robot = replaced(robot, "L-2");
    world.approved(&robot, before);
    world = world.restarted();
    let [kept] = &world.authority.replacements(&robot.id).unwrap()[..] else {
        panic!("one replacement")
    };
    assert_eq!((&kept.approver, kept.approved_at_ms), (&world.alice.id, NOW + 5));
    assert_eq!(kept.differences()[0].found.as_deref(), Some("L-2"));
    let key = world.alice.key.verifying_key();
    let message = kept.change(ALG).message();
    key.verify(key.native_scheme(), &message, &kept.signature)
        .unwrap();
    let other = Robot::new("rover-2");
    assert!(world.authority.replacements(&other.id).unwrap().is_empty());
}

#[test]
fn an_answer_that_was_lost_and_an_old_disk_are_answered_anew_without_a_vote() {
    let (mut world, robot, before) = enrolled("L-1");
    let robot = replaced(robot, "L-2");
    world.approved(&robot, before);
    let record = world.record(&robot);
    world = world.restarted();
    // The robot did not get the answer, or its old disk was put back: its enrolment names the old parts.
    let Proposed::Approved { approver, .. } = world.asked(&robot, before).unwrap() else {
        panic!("no vote is needed")
    };
    assert_eq!(approver, world.alice.id);
    // A robot that has the approved enrolment is told that nothing differs.
    let after = robot.hardware().binding(ALG);
    let refused = world.asked(&robot, after).unwrap_err();
    assert_eq!(refused.code(), "hardware-same");
    assert_eq!(world.record(&robot), record);
    assert_eq!(world.authority.replacements(&robot.id).unwrap().len(), 1);
}

#[test]
fn an_old_disk_with_the_old_parts_is_no_word_for_them() {
    let (mut world, robot, before) = enrolled("L-1");
    let robot = replaced(robot, "L-2");
    world.approved(&robot, before);
    let record = world.record(&robot);
    // Old enrolment, old parts: the authority goes by its own newest record, and asks for a vote as for any other change.
    let old = replaced(robot, "L-1");
    let proposal = world.proposed(&old, before);
    let change = &proposal.review().change;
    assert_eq!((change.before, change.after), (record.hardware_binding, before));
    assert_eq!(world.record(&old), record);
    // The vote for the first change is none for this one.
    let kept = world.authority.replacements(&old.id).unwrap().remove(0);
    let first = OperatorVote {
        operator: kept.approver,
        signature: kept.signature,
    };
    let refused = world
        .authority
        .approve_replacement(*proposal, &first, &mut world.vault, NOW)
        .unwrap_err();
    assert_eq!(refused.code(), "vote-signature");
    assert_eq!(world.restored(&old).1.binding(ALG), record.hardware_binding);
}

#[test]
fn a_proposal_over_a_record_that_changed_meanwhile_is_outdated() {
    let (mut world, robot, before) = enrolled("L-1");
    let robot = replaced(robot, "L-2");
    let early = world.proposed(&robot, before);
    let robot = replaced(robot, "L-3");
    world.approved(&robot, before);
    let record = world.record(&robot);
    let by = vote(&world.alice, &early.review().change);
    let refused = world
        .authority
        .approve_replacement(*early, &by, &mut world.vault, NOW)
        .unwrap_err();
    assert!(matches!(refused, ReplacementRefusal::Outdated(_)), "{refused}");
    assert_eq!(world.record(&robot), record);
}

#[test]
fn a_crash_after_the_approval_is_finished_at_the_next_start() {
    let (mut world, robot, before) = enrolled("L-1");
    let path = |world: &World, collection: &str| world.state().join(collection).join("rover-1");
    let old = ["hardware", "robots"].map(|name| std::fs::read(path(&world, name)).unwrap());
    let robot = replaced(robot, "L-2");
    world.approved(&robot, before);
    let record = world.record(&robot);
    // The approval is on record, and neither or only the first of the two files was written.
    for written in [0, 1] {
        for (name, content) in ["hardware", "robots"].iter().zip(&old).skip(written) {
            std::fs::write(path(&world, name), content).unwrap();
        }
        world = world.restarted();
        assert_eq!(world.record(&robot), record);
        assert_eq!(world.restored(&robot).1, robot.hardware());
        let asked = world.asked(&robot, before).unwrap();
        assert!(matches!(asked, Proposed::Approved { .. }), "it can be finished");
    }
    // A crash before the approval was on record leaves nothing of it: it is begun again.
    for (name, content) in ["hardware", "robots"].iter().zip(&old) {
        std::fs::write(path(&world, name), content).unwrap();
    }
    std::fs::remove_dir_all(world.state().join("replacements")).unwrap();
    world = world.restarted();
    assert_eq!(world.record(&robot).hardware_binding, before);
    assert!(matches!(world.asked(&robot, before).unwrap(), Proposed::Vote(_)));
}

#[test]
fn what_was_finished_does_not_come_back_over_a_newer_enrolment() {
    let (mut world, robot, before) = enrolled("L-1");
    let robot = replaced(robot, "L-2");
    world.approved(&robot, before);
    // Put back by another approval, then enrolled anew: each start leaves the newest.
    let robot = replaced(robot, "L-1");
    let known = world.record(&robot).hardware_binding;
    world.approved(&robot, known);
    let record = world.record(&robot);
    assert_eq!(record.hardware_binding, before);
    world = world.restarted();
    assert_eq!(world.record(&robot), record);
    // Another robot's are its own, also where its name begins with this one's.
    let other = replacing::robot("rover-1.b", "L-7");
    world.enrol(&other);
    let known = world.record(&other).hardware_binding;
    let other = replaced(other, "L-8");
    world.approved(&other, known);
    assert_eq!(world.authority.replacements(&robot.id).unwrap().len(), 2);
    // A record that does not read is named for its robot, and keeps the authority from nothing else.
    let session = world.authority.replacements(&robot.id).unwrap().remove(0).session;
    let kept = world.state().join("replacements");
    std::fs::write(kept.join(format!("{}.{session}", robot.id)), "nothing").unwrap();
    world = world.restarted();
    assert_eq!(world.record(&robot), record);
    world.authority.replacements(&robot.id).unwrap_err();
    assert_eq!(world.authority.replacements(&other.id).unwrap().len(), 1);
    assert!(matches!(
        world.asked(&other, known).unwrap(),
        Proposed::Approved { .. }
    ));
}
