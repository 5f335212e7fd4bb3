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

use alcub3_fleet_protocol::rearm::VerifiedRearm;
use alcub3_server::{MissionApprovalError, OperatorVote, PurgeApprovalError, RearmApprovalError, RobotError};
use alcub3_trust_model::Level;
use alcub3_trust_model::nv_map::{NvIndex, NvMap};
use support::approvals::{HOUR, propose, purge, rearm, stopped_world};
use support::robot::Robot;
use support::{ALG, NOW};

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
