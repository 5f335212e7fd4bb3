//! What persons are asked to approve: missions, rearms, purges.

use alcub3_command_authority::{CommandPattern, SafetyLimits};
use alcub3_fleet_protocol::mission::MissionApproval;
use alcub3_server::{
    MissionApprovalError, MissionPlan, MissionProposal, OperatorVote, PurgeApprovalError, RearmApprovalError,
};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::{Level, MissionId, StopId};

use super::robot::Robot;
use super::{NOW, World};

pub const HOUR: u64 = 3_600_000;
pub const MISSION: MissionId = MissionId::new([4; 16]);

pub fn plan(world: &World) -> MissionPlan {
    let limits = SafetyLimits {
        max_speed_mm_per_s: 2_000,
        max_turn_mdeg_per_s: 90_000,
        max_duration_ms: 10_000,
        geofence: None,
    };
    let allowed = vec![CommandPattern::new("move.*").unwrap()];
    MissionPlan {
        issuers: vec![(world.pilot.id.clone(), allowed)],
        limits,
    }
}

pub fn propose(
    world: &mut World,
    robot: &Robot,
    level: Level,
    duration_ms: u64,
) -> Result<MissionProposal, MissionApprovalError> {
    let session = world.authority.open_mission(&robot.id, NOW).unwrap();
    let request = robot.mission_request(session, MISSION, level, duration_ms);
    let plan = plan(world);
    world
        .authority
        .propose_mission(&request, &plan, &mut world.vault, NOW)
}

pub fn approve(
    world: &mut World,
    proposal: MissionProposal,
    votes: &[OperatorVote],
) -> Result<MissionApproval, MissionApprovalError> {
    world
        .authority
        .approve_mission(proposal, votes, &mut world.vault, NOW)
}

/// A mission of a level, approved by as many persons as it takes.
pub fn approved_mission(world: &mut World, robot: &Robot, level: Level) -> (MissionId, Level) {
    let proposal = propose(world, robot, level, HOUR).unwrap();
    let mut votes = vec![world.alice.vote(proposal.ballot())];
    if level >= Level::Secret {
        votes.push(world.bob.vote(proposal.ballot()));
    }
    approve(world, proposal, &votes).unwrap();
    (MISSION, level)
}

pub fn stopped_world() -> (World, Robot) {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    robot.stops.push(StopId::new([5; 16]));
    robot.stopped = true;
    robot.set_counter(NvIndex::RobotEpoch, 8);
    let request = world.authority.challenge(&robot.id, NOW).unwrap();
    assert!(
        !world
            .authority
            .appraise(&robot.evidence(&request), NOW)
            .unwrap()
            .verdict
            .is_trusted()
    );
    (world, robot)
}

/// Orders a purge; gives the order.
pub fn purge(world: &mut World, robot: &Robot) -> Result<Vec<u8>, PurgeApprovalError> {
    let session = world.authority.open_purge(&robot.id, NOW)?;
    let request = robot.purge_request(session);
    let proposal = world.authority.propose_purge(&request, &mut world.vault, NOW)?;
    let votes = [
        world.alice.vote(proposal.ballot()),
        world.bob.vote(proposal.ballot()),
    ];
    world
        .authority
        .approve_purge(proposal, &votes, &mut world.vault, NOW)
}

pub fn rearm(world: &mut World, robot: &Robot) -> Result<(), RearmApprovalError> {
    let session = world.authority.open_rearm(&robot.id, NOW)?;
    let request = robot.rearm_request(session, &[Level::Secret]);
    let proposal = world.authority.propose_rearm(&request, &mut world.vault, NOW)?;
    let votes = proposal
        .ballots()
        .map(|(level, ballot)| (level, vec![world.bob.vote(ballot), world.alice.vote(ballot)]))
        .collect();
    world
        .authority
        .approve_rearm(proposal, &votes, &mut world.vault, NOW)?;
    Ok(())
}
