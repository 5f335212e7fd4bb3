//! Missions that run: their end is moved. Who must approve, what is refused.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_attestation::receipt::{Outcome, ReceiptReason};
use alcub3_command_authority::VerifiedMission;
use alcub3_fleet_protocol::NotLiving;
use alcub3_fleet_protocol::extension::ExtensionError;
use alcub3_server::{MissionApprovalError, MissionProposal};
use alcub3_trust_model::nv_map::{MissionAnchor, NvIndex};
use alcub3_trust_model::{Level, MissionId};
use support::approvals::{HOUR, MISSION, approve, approved_mission};
use support::robot::Robot;
use support::{NOW, World};

fn propose_extension(
    world: &mut World,
    robot: &Robot,
    mission: (MissionId, Level),
    duration_ms: u64,
    now_ms: u64,
) -> Result<MissionProposal, MissionApprovalError> {
    let session = world.authority.open_extension(&robot.id, now_ms).unwrap();
    let request = robot.extension_request(session, mission, duration_ms);
    world
        .authority
        .propose_extension(&request, &mut world.vault, now_ms)
}

#[test]
fn an_end_is_moved_by_as_many_persons_as_the_level_takes_and_no_further_than_it_allows() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    let mission = approved_mission(&mut world, &robot, Level::Secret);
    let before = world.authority.mission(&MISSION).unwrap().unwrap();
    // Counted from the start, whenever it is asked for.
    let too_long = propose_extension(&mut world, &robot, mission, 4 * HOUR + 1, NOW + 10_000);
    assert!(
        matches!(
            &too_long,
            Err(MissionApprovalError::Extension(ExtensionError::TooLong { .. }))
        ),
        "{too_long:?}"
    );
    let earlier = propose_extension(&mut world, &robot, mission, HOUR, NOW);
    assert!(
        matches!(
            &earlier,
            Err(MissionApprovalError::Extension(ExtensionError::NotLater))
        ),
        "{earlier:?}"
    );
    let proposal = propose_extension(&mut world, &robot, mission, 4 * HOUR, NOW + 10_000).unwrap();
    let alone = [world.alice.vote(proposal.ballot())];
    let refused = approve(&mut world, proposal, &alone).unwrap_err();
    assert!(matches!(refused, MissionApprovalError::Approval(_)), "{refused}");
    assert_eq!(world.authority.mission(&MISSION).unwrap(), Some(before));

    let proposal = propose_extension(&mut world, &robot, mission, 4 * HOUR, NOW + 10_000).unwrap();
    let votes = [
        world.alice.vote(proposal.ballot()),
        world.bob.vote(proposal.ballot()),
    ];
    let approval = approve(&mut world, proposal, &votes).unwrap();
    let verified =
        VerifiedMission::as_approved(&approval.token, &world.authority.verifying_key(), &robot.id).unwrap();
    let token = verified.token();
    assert_eq!(token.not_after_ms, token.not_before_ms + 4 * HOUR);
    assert_eq!(token.end_clock_ms, robot.clock.clock_ms + 4 * HOUR);
    assert_eq!(world.authority.mission(&MISSION).unwrap(), Some(approval.token));
    // There is nothing left to ask for.
    let again = propose_extension(&mut world, &robot, mission, 4 * HOUR, NOW + 10_000);
    assert!(
        matches!(again, Err(MissionApprovalError::Extension(_))),
        "{again:?}"
    );
}

#[test]
fn a_mission_that_is_over_or_unknown_is_not_extended() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    let mission = approved_mission(&mut world, &robot, Level::Cui);
    let unknown = propose_extension(
        &mut world,
        &robot,
        (MissionId::new([5; 16]), Level::Cui),
        2 * HOUR,
        NOW,
    );
    assert!(
        matches!(unknown, Err(MissionApprovalError::Unknown(_))),
        "{unknown:?}"
    );
    let clock = robot.clock.clock_ms;
    robot.clock.clock_ms = clock + HOUR;
    let ended = propose_extension(&mut world, &robot, mission, 2 * HOUR, NOW);
    assert!(
        matches!(
            &ended,
            Err(MissionApprovalError::Extension(ExtensionError::NotLiving(
                NotLiving::Ended
            )))
        ),
        "{ended:?}"
    );
    robot.clock.clock_ms = clock;
    robot.set_counter(NvIndex::MissionAnchor(MissionAnchor::new(2).unwrap()), 99);
    let over = propose_extension(&mut world, &robot, mission, 2 * HOUR, NOW);
    assert!(
        matches!(
            &over,
            Err(MissionApprovalError::Extension(ExtensionError::NotLiving(
                NotLiving::OverInChip
            )))
        ),
        "{over:?}"
    );
    assert_eq!(world.vault.open_sessions(), 0);
}

#[test]
fn a_mission_that_a_stop_has_killed_is_not_extended() {
    for index in [NvIndex::RobotEpoch, NvIndex::LevelEpoch(Level::Cui)] {
        let mut robot = Robot::new("rover-1");
        let mut world = World::ready(&mut robot);
        let mission = approved_mission(&mut world, &robot, Level::Cui);
        // Another level's stop is none of this mission's.
        robot.set_counter(NvIndex::LevelEpoch(Level::Secret), 2);
        propose_extension(&mut world, &robot, mission, 2 * HOUR, NOW).unwrap();
        robot.set_counter(index, 2);
        let stopped = propose_extension(&mut world, &robot, mission, 2 * HOUR, NOW).unwrap_err();
        let said = |error: &ExtensionError| {
            error.code() == "mission-stopped" && error.to_string().contains(error.code())
        };
        assert!(
            matches!(&stopped, MissionApprovalError::Extension(error) if said(error)),
            "{index:?}: {stopped}"
        );
        // An epoch of another level does not stand in for the mission's own.
        let session = world.authority.open_extension(&robot.id, NOW).unwrap();
        let request = robot.extension_request(session, (MISSION, Level::Secret), 2 * HOUR);
        let other = world.authority.propose_extension(&request, &mut world.vault, NOW);
        assert!(
            matches!(
                &other,
                Err(MissionApprovalError::Extension(ExtensionError::NotLiving(
                    NotLiving::Counter(_)
                )))
            ),
            "{other:?}"
        );
    }
}

#[test]
fn two_extensions_at_once_do_not_undo_each_other() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    let mission = approved_mission(&mut world, &robot, Level::Cui);
    let first = propose_extension(&mut world, &robot, mission, 3 * HOUR, NOW).unwrap();
    let second = propose_extension(&mut world, &robot, mission, 2 * HOUR, NOW).unwrap();
    let votes = [world.bob.vote(first.ballot())];
    approve(&mut world, first, &votes).unwrap();
    let votes = [world.bob.vote(second.ballot())];
    let refused = approve(&mut world, second, &votes).unwrap_err();
    assert!(
        matches!(refused, MissionApprovalError::ChangedMeanwhile(_)),
        "{refused}"
    );
    assert_eq!(world.vault.open_sessions(), 0);
}

/// Root can have any counter certified at any time: only who knows the mission's anchor can tell what its receipt proves.
#[test]
fn a_missions_receipt_is_judged_by_the_anchor_it_was_approved_under() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    let mission = approved_mission(&mut world, &robot, Level::Cui);
    let anchor = MissionAnchor::new(2).unwrap();
    let alive_at = {
        let (token, key) = (
            world.authority.mission(&MISSION).unwrap().unwrap(),
            world.authority.verifying_key(),
        );
        let verified = VerifiedMission::as_approved(&token, &key, &robot.id).unwrap();
        assert_eq!(verified.token().anchor, anchor);
        verified.token().anchor_value
    };
    let mut judged = |anchor, values| {
        let receipt = robot.stop_mission(mission.0, anchor, values);
        let verdict = world.authority.verify_receipt(&robot.id, &receipt, NOW).unwrap();
        (verdict.outcome, verdict.reasons)
    };
    assert_eq!(
        judged(anchor, (alive_at, alive_at + 1)),
        (Outcome::Proven, vec![])
    );
    assert_eq!(
        judged(anchor, (alive_at - 1, alive_at)),
        (Outcome::Refused, vec![ReceiptReason::StillAlive])
    );
    assert_eq!(
        judged(MissionAnchor::new(3).unwrap(), (alive_at, alive_at + 1)),
        (Outcome::Refused, vec![ReceiptReason::Anchor])
    );
}
