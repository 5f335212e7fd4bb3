//! Purges: who must approve, and what a purged robot may and may not.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_attestation::receipt::PurgeReason;
use alcub3_fleet_protocol::purge::VerifiedPurge;
use alcub3_server::{EnrolmentError, PurgeApprovalError, PurgeReceiptError, RobotError};
use alcub3_trust_model::nv_map::{NvIndex, NvMap};
use alcub3_trust_model::{RobotId, StopId};
use support::approvals::{purge, rearm, stopped_world};
use support::robot::Robot;
use support::{ALG, NOW, World};

#[test]
fn a_purge_takes_two_persons() {
    let (mut world, robot) = stopped_world();
    let propose = |world: &mut World| {
        let session = world.authority.open_purge(&robot.id, NOW).unwrap();
        let request = robot.purge_request(session);
        let again = request.clone();
        let proposal = world.authority.propose_purge(&request, &mut world.vault, NOW);
        // The exchange counts once.
        let used = world.authority.propose_purge(&again, &mut world.vault, NOW);
        assert!(matches!(used, Err(PurgeApprovalError::Exchange(_))));
        proposal.unwrap()
    };
    for twice in [false, true] {
        let proposal = propose(&mut world);
        let mut votes = vec![world.alice.vote(proposal.ballot())];
        if twice {
            votes.push(votes[0].clone());
        }
        let refusal = world
            .authority
            .approve_purge(proposal, &votes, &mut world.vault, NOW)
            .unwrap_err();
        assert!(matches!(refusal, PurgeApprovalError::Approval(_)), "{refusal}");
        assert_eq!((world.vault.signed, world.vault.open_sessions()), (0, 0));
    }
    let proposal = propose(&mut world);
    let votes = [
        world.alice.vote(proposal.ballot()),
        world.bob.vote(proposal.ballot()),
    ];
    let order = world
        .authority
        .approve_purge(proposal, &votes, &mut world.vault, NOW)
        .unwrap();
    let anchors = world.authority.anchors(&mut world.vault).unwrap();
    let map = NvMap::new(ALG).unwrap();
    let verified = VerifiedPurge::verify(&order, &anchors, &map, &robot.id).unwrap();
    assert_eq!(verified.order().approvers.len(), 2);
    // Any changed byte, and it orders nothing.
    for at in (0..order.len()).step_by(5) {
        let mut changed = order.clone();
        changed[at] ^= 1;
        assert!(
            VerifiedPurge::verify(&changed, &anchors, &map, &robot.id).is_err(),
            "{at}"
        );
    }
}

#[test]
fn a_purged_robot_is_served_no_more() {
    let (mut world, robot) = stopped_world();
    let open = world.authority.challenge(&robot.id, NOW).unwrap();
    purge(&mut world, &robot).unwrap();
    let id = robot.id.clone();
    let authority = &mut world.authority;
    let refusals = [
        authority.challenge(&id, NOW).unwrap_err().to_string(),
        authority.open_certificate(&id, NOW).unwrap_err().to_string(),
        authority.open_restore(&id, NOW).unwrap_err().to_string(),
        authority.open_rearm(&id, NOW).unwrap_err().to_string(),
        authority.open_mission(&id, NOW).unwrap_err().to_string(),
        authority.open_extension(&id, NOW).unwrap_err().to_string(),
    ];
    let purged = RobotError::Purged(id.clone()).to_string();
    assert!(refusals.iter().all(|refusal| *refusal == purged), "{refusals:?}");
    let mut robot = robot;
    let late = authority.appraise(&robot.evidence(&open), NOW).unwrap_err();
    assert_eq!(late.to_string(), purged, "an exchange from before the purge");
    // Its enrolment stays for the receipt, and an order that was lost is given again.
    assert!(authority.enrolment(&id).is_ok());
    purge(&mut world, &robot).unwrap();

    let refusal = world.authority.begin_enrolment(&robot.begin(), NOW).unwrap_err();
    assert_eq!(refusal.to_string(), purged, "no receipt, no enrolment");
}

/// A stopped robot that was purged, with the receipts of its stop and of its purge, and the order.
fn purged() -> (World, Robot, [Vec<u8>; 3]) {
    let (mut world, mut robot) = stopped_world();
    let stop = robot.stop(StopId::new([8; 16]));
    let order = purge(&mut world, &robot).unwrap();
    let anew = robot.provisioned_anew("rover-1");
    let receipt = anew.purge_receipt(&order, &stop);
    (world, anew, [stop, order, receipt])
}

fn reasons(world: &mut World, robot: &Robot, receipt: &[u8]) -> Vec<PurgeReason> {
    let verdict = world.authority.take_purge_receipt(&robot.id, receipt, NOW);
    verdict.unwrap().reasons
}

#[test]
fn a_receipt_that_was_judged_lets_the_chip_come_back_once_under_its_name() {
    let (mut world, mut robot, [stop, order, receipt]) = purged();
    let id = robot.id.clone();
    assert!(world.authority.begin_enrolment(&robot.begin(), NOW).is_err());
    assert_eq!(reasons(&mut world, &robot, &receipt), []);
    world.enrol(&robot);
    assert!(world.authority.challenge(&id, NOW).is_ok());
    // It has served; what was approved before fits the new counters no more.
    let again = world
        .authority
        .take_purge_receipt(&id, &receipt, NOW)
        .unwrap_err();
    assert!(matches!(again, PurgeReceiptError::NotOrdered(_)), "{again}");
    robot.set_counter(NvIndex::RobotEpoch, 8);
    assert!(rearm(&mut world, &robot).is_err());
    robot.set_counter(NvIndex::RobotEpoch, 20);
    // The next purge takes a receipt of its own, and no stop of an earlier life stands in for one of this.
    let next = purge(&mut world, &robot).unwrap();
    assert!(world.authority.begin_enrolment(&robot.begin(), NOW).is_err());
    assert!(reasons(&mut world, &robot, &receipt).contains(&PurgeReason::OtherOrder));
    let never_cleared = robot.purge_receipt(&next, &stop);
    assert_eq!(
        reasons(&mut world, &robot, &never_cleared),
        [PurgeReason::NotCleared]
    );
    let of_the_old_order = robot.purge_receipt(&order, &stop);
    assert!(reasons(&mut world, &robot, &of_the_old_order).contains(&PurgeReason::OtherOrder));
    assert!(world.authority.begin_enrolment(&robot.begin(), NOW).is_err());
}

#[test]
fn a_receipt_that_was_judged_lets_the_chip_come_back_once_under_another_name() {
    let (mut world, robot, [.., receipt]) = purged();
    let first = robot.id.clone();
    let mut robot = robot.provisioned_anew("rover-2");
    let taken = world.authority.begin_enrolment(&robot.begin(), NOW).unwrap_err();
    assert!(matches!(taken, EnrolmentError::HardwareTaken { .. }), "{taken}");
    let verdict = world.authority.take_purge_receipt(&first, &receipt, NOW).unwrap();
    assert!(verdict.is_proven(), "{verdict:?}");
    world.enrol(&robot);
    world.enrol(&robot);
    assert!(world.authority.challenge(&robot.id, NOW).is_ok());
    // Its first name is a purged robot's still, and the receipt has served.
    assert!(world.authority.challenge(&first, NOW).is_err());
    for receipt_again in [false, true] {
        if receipt_again {
            world.authority.take_purge_receipt(&first, &receipt, NOW).unwrap();
        }
        robot = robot.provisioned_anew("rover-1");
        assert!(world.authority.begin_enrolment(&robot.begin(), NOW).is_err());
    }
}

#[test]
fn a_receipt_that_proves_no_clearing_brings_nothing_back() {
    let (mut world, mut robot, [stop, order, receipt]) = purged();
    for at in (0..receipt.len()).step_by(11) {
        let mut changed = receipt.clone();
        changed[at] ^= 1;
        assert!(!reasons(&mut world, &robot, &changed).is_empty(), "byte {at}");
    }
    // The chip's counts as they were when the order was asked for, or later.
    robot.clock.reset_count = 3;
    robot.clock.clock_ms = 90_000;
    let receipt = robot.purge_receipt(&order, &stop);
    assert_eq!(reasons(&mut world, &robot, &receipt), [PurgeReason::NotCleared]);
    assert!(world.authority.begin_enrolment(&robot.begin(), NOW).is_err());
    let stranger = RobotId::new("rover-9").unwrap();
    assert!(
        world
            .authority
            .take_purge_receipt(&stranger, &receipt, NOW)
            .is_err()
    );
}
