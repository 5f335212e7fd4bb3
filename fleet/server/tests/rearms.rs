//! Rearms: who must approve, what is refused, and that nothing is signed without the votes.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::collections::BTreeMap;

use alcub3_attestation::appraisal::{Reason, Verdict};
use alcub3_attestation::health::HealthState;
use alcub3_attestation::receipt::Outcome;
use alcub3_fleet_protocol::rearm::VerifiedRearm;
use alcub3_server::{MissionApprovalError, OperatorVote, PurgeApprovalError, RearmApprovalError, RobotError};
use alcub3_trust_model::nv_map::{NvIndex, NvMap};
use alcub3_trust_model::{Level, StopId};
use support::approvals::{HOUR, propose, purge, rearm, stopped_world};
use support::robot::Robot;
use support::{ALG, NOW, World};

#[test]
fn two_persons_rearm_the_levels_and_epochs_that_the_tpm_certified() {
    let (mut world, mut robot) = stopped_world();
    let levels = [Level::Unclassified, Level::Secret];
    let session = world.authority.open_rearm(&robot.id, NOW).unwrap();
    let request = robot.rearm_request(session, &levels);
    let proposal = world
        .authority
        .propose_rearm(&request, &mut world.vault, NOW)
        .unwrap();
    assert_eq!((proposal.robot_epoch(), proposal.stops().len()), (8, 1));
    let votes = proposal
        .ballots()
        .map(|(level, ballot)| (level, vec![world.bob.vote(ballot), world.alice.vote(ballot)]))
        .collect();
    let approval = world
        .authority
        .approve_rearm(proposal, &votes, &mut world.vault, NOW)
        .unwrap();

    let anchors = world.authority.anchors(&mut world.vault).unwrap();
    let map = NvMap::new(ALG).unwrap();
    let record = VerifiedRearm::verify(&approval.record, &anchors, &map, &robot.id).unwrap();
    assert!(record.rearms(Level::Secret, 8, 1));
    assert!(!record.rearms(Level::Secret, 9, 1), "a later stop");
    assert!(!record.rearms(Level::Cui, 8, 1), "a level nobody approved");
    assert_eq!(
        world.authority.rearm_record(&robot.id).unwrap(),
        Some(approval.record)
    );

    robot.stopped = false;
    let request = world.authority.challenge(&robot.id, NOW).unwrap();
    let appraised = world.authority.appraise(&robot.evidence(&request), NOW).unwrap();
    assert!(
        appraised.verdict.is_trusted(),
        "{:?}",
        appraised.verdict.findings()
    );
}

#[test]
fn a_rearm_with_one_person_or_a_level_without_votes_signs_nothing() {
    let (mut world, robot) = stopped_world();
    let levels = [Level::Unclassified, Level::Secret];
    for case in 0..3 {
        let session = world.authority.open_rearm(&robot.id, NOW).unwrap();
        let request = robot.rearm_request(session, &levels);
        let proposal = world
            .authority
            .propose_rearm(&request, &mut world.vault, NOW)
            .unwrap();
        let mut votes: BTreeMap<Level, Vec<OperatorVote>> = proposal
            .ballots()
            .map(|(level, ballot)| (level, vec![world.alice.vote(ballot), world.bob.vote(ballot)]))
            .collect();
        let secret = votes.get_mut(&Level::Secret).unwrap();
        match case {
            0 => secret.truncate(1),
            1 => secret[1] = secret[0].clone(),
            _ => drop(votes.remove(&Level::Secret)),
        }
        let refusal = world
            .authority
            .approve_rearm(proposal, &votes, &mut world.vault, NOW)
            .unwrap_err();
        assert!(
            matches!(
                refusal,
                RearmApprovalError::Approval { .. } | RearmApprovalError::NoVotes(Level::Secret)
            ),
            "{refusal}"
        );
        assert_eq!(
            (world.vault.signed, world.vault.open_sessions()),
            (0, 0),
            "not even the level that had its votes"
        );
    }
    assert_eq!(world.authority.rearm_record(&robot.id).unwrap(), None);
}

#[test]
fn epochs_that_another_robots_tpm_certified_rearm_nobody() {
    let (mut world, robot) = stopped_world();
    let mut impostor = Robot::new("rover-1");
    impostor.set_counter(NvIndex::RobotEpoch, 1);
    let session = world.authority.open_rearm(&robot.id, NOW).unwrap();
    let request = impostor.rearm_request(session, &[Level::Cui]);
    let refusal = world
        .authority
        .propose_rearm(&request, &mut world.vault, NOW)
        .unwrap_err();
    assert!(matches!(refusal, RearmApprovalError::Rearm(_)), "{refusal}");
    assert_eq!(world.vault.open_sessions(), 0);
}

#[test]
fn a_successor_is_served_only_above_every_epoch_approved_for_the_lost_robot() {
    let (mut world, lost) = stopped_world();
    rearm(&mut world, &lost).unwrap();
    // The robot itself is not held to what was approved for it.
    rearm(&mut world, &lost).unwrap();
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
    let mut successor = Robot::new("rover-1");
    world.enrol(&successor);
    let reused = |error: &RobotError| {
        matches!(
            error,
            RobotError::EpochOfPredecessor {
                found: 8,
                approved: 8,
                ..
            }
        )
    };
    successor.set_counter(NvIndex::RobotEpoch, 8);
    let refusal = rearm(&mut world, &successor).unwrap_err();
    assert!(
        matches!(&refusal, RearmApprovalError::Robot(error) if reused(error)),
        "{refusal}"
    );
    let refusal = purge(&mut world, &successor).unwrap_err();
    assert!(
        matches!(&refusal, PurgeApprovalError::Robot(error) if reused(error)),
        "{refusal}"
    );
    let refusal = propose(&mut world, &successor, Level::Secret, HOUR).unwrap_err();
    assert!(
        matches!(&refusal, MissionApprovalError::Robot(error) if reused(error)),
        "{refusal}"
    );
    successor.set_counter(NvIndex::RobotEpoch, 9);
    rearm(&mut world, &successor).unwrap();
    purge(&mut world, &successor).unwrap();
}

/// What the authority finds of the robot's evidence of now.
fn judged(world: &mut World, robot: &mut Robot) -> Verdict {
    let request = world.authority.challenge(&robot.id, NOW).unwrap();
    let evidence = robot.evidence(&request);
    world.authority.appraise(&evidence, NOW).unwrap().verdict
}

#[test]
fn a_stop_that_was_seen_is_in_force_after_a_reboot_whatever_the_robot_says_until_it_is_rearmed() {
    let (mut world, mut robot) = stopped_world();
    robot.clock.reset_count += 1;
    robot.boots_anew();
    let honest = judged(&mut world, &mut robot);
    assert!(honest.has(Reason::Stopped) && honest.has(Reason::StopInForce));
    robot.stopped = false;
    let denied = judged(&mut world, &mut robot);
    assert!(denied.has(Reason::StopInForce), "{:?}", denied.findings());
    assert!(!denied.is_trusted() && denied.boot().is_none());
    let mut world = world.restarted();
    assert!(judged(&mut world, &mut robot).has(Reason::StopInForce));
    rearm(&mut world, &robot).unwrap();
    let after = judged(&mut world, &mut robot);
    assert!(after.is_trusted(), "{:?}", after.findings());
}

#[test]
fn a_receipt_that_comes_late_or_again_says_nothing_of_a_robot_that_was_rearmed_since() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    let receipts = [1, 2].map(|stop| robot.stop(StopId::new([stop; 16])));
    let id = robot.id.clone();
    let judge = |world: &mut World, receipt: &[u8]| {
        let judged = world.authority.verify_receipt(&id, receipt, NOW).unwrap();
        assert_eq!(judged.outcome, Outcome::Proven, "{:?}", judged.reasons);
        world.authority.standing(&id).unwrap()
    };
    let stopped = judge(&mut world, &receipts[0]);
    assert_eq!((stopped.stops.len(), stopped.trusted_at_ms), (1, None));
    // The receipt of the second stop is lost on its way.
    rearm(&mut world, &robot).unwrap();
    robot.stopped = false;
    assert!(
        judged(&mut world, &mut robot).has(Reason::StopInForce),
        "no approval named the second stop"
    );
    let shown = judge(&mut world, &receipts[1]);
    assert_eq!(shown.rearmed, shown.stops, "it was counted before the rearm");
    let later = robot.stop(StopId::new([3; 16]));
    robot.stops.pop();
    robot.stopped = false;
    assert!(judged(&mut world, &mut robot).is_trusted());
    let health = |world: &World| world.authority.health(&id, NOW).unwrap().state;
    for receipt in &receipts {
        judge(&mut world, receipt);
        assert_eq!(health(&world), HealthState::Fresh);
    }
    // One that the epoch of the rearm does not cover is in force.
    judge(&mut world, &later);
    assert_eq!(health(&world), HealthState::Failing);
    assert!(judged(&mut world, &mut robot).has(Reason::StopInForce));
}
