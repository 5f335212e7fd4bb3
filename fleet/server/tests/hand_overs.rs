//! A mission is handed over: who must approve, whom it may be handed to, what is refused.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_command_authority::{CommandPattern, Role, VerifiedMission};
use alcub3_fleet_protocol::hand_over::HandOverRequest;
use alcub3_server::{MissionApprovalError, MissionProposal, Refusal};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::{Level, MissionId, OperatorId};
use support::approvals::{HOUR, MISSION, approve, approved_mission};
use support::robot::Robot;
use support::{NOW, Person, World};

/// An operator who takes missions over.
fn relief(world: &mut World) -> OperatorId {
    let person = Person::new("relief");
    let operator = person.as_operator(Role::Operator);
    world.authority.register_operator(operator, NOW).unwrap();
    person.id
}

fn mission_of(world: &World, robot: &Robot) -> VerifiedMission {
    let signed = world.authority.mission(&MISSION).unwrap().unwrap();
    VerifiedMission::as_approved(&signed, &world.authority.verifying_key(), &robot.id).unwrap()
}

fn request(world: &mut World, robot: &Robot, mission: (MissionId, Level)) -> Vec<u8> {
    let session = world.authority.open_hand_over(&robot.id, NOW).unwrap();
    let in_force = *mission_of(world, robot).digest();
    robot.hand_over_request(session, mission, in_force)
}

fn propose(
    world: &mut World,
    robot: &Robot,
    mission: (MissionId, Level),
    to: &OperatorId,
) -> Result<MissionProposal, MissionApprovalError> {
    let request = request(world, robot, mission);
    let to = [(to.clone(), vec![CommandPattern::new("move.*").unwrap()])];
    world
        .authority
        .propose_hand_over(&request, &to, &mut world.vault, NOW)
}

fn code(refused: Result<MissionProposal, MissionApprovalError>) -> &'static str {
    refused.unwrap_err().code()
}

#[test]
fn a_mission_is_handed_over_by_as_many_persons_as_its_level_takes_and_nothing_else_changes() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    let mission = approved_mission(&mut world, &robot, Level::Secret);
    let before = mission_of(&world, &robot);
    let relief = relief(&mut world);
    let proposal = propose(&mut world, &robot, mission, &relief).unwrap();
    let alone = [world.alice.vote(proposal.ballot())];
    approve(&mut world, proposal, &alone).unwrap_err();
    assert_eq!(mission_of(&world, &robot).digest(), before.digest());

    let proposal = propose(&mut world, &robot, mission, &relief).unwrap();
    let votes = [
        world.alice.vote(proposal.ballot()),
        world.bob.vote(proposal.ballot()),
    ];
    approve(&mut world, proposal, &votes).unwrap();
    let handed = mission_of(&world, &robot);
    let token = handed.token();
    assert_eq!(token.issuers.len(), 1);
    assert_eq!(token.issuers[0].operator, relief);
    assert_eq!(token.replaces.as_ref(), Some(before.digest()));
    assert_eq!(token.not_after_ms, before.token().not_after_ms);
    assert_eq!(token.end_clock_ms, before.token().end_clock_ms);
    assert_eq!(token.limits, before.token().limits);
}

#[test]
fn a_mission_is_handed_to_registered_and_cleared_operators_who_do_not_approve() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    let mission = approved_mission(&mut world, &robot, Level::Secret);
    let nobody = OperatorId::new("nobody").unwrap();
    assert_eq!(
        code(propose(&mut world, &robot, mission, &nobody)),
        "issuer-unknown"
    );
    let alice = world.alice.id.clone();
    assert_eq!(
        code(propose(&mut world, &robot, mission, &alice)),
        "issuer-approves"
    );
    let request = request(&mut world, &robot, mission);
    let to_nobody = world
        .authority
        .propose_hand_over(&request, &[], &mut world.vault, NOW);
    assert_eq!(code(to_nobody), "mission-token");
    assert_eq!(world.vault.open_sessions(), 0);
}

#[test]
fn what_does_not_live_or_is_not_of_this_exchange_is_not_handed_over() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    let mission = approved_mission(&mut world, &robot, Level::Cui);
    let relief = relief(&mut world);
    let to = [(relief.clone(), vec![CommandPattern::new("move.*").unwrap()])];
    // What the robot has in force is certified with the rest.
    let session = world.authority.open_hand_over(&robot.id, NOW).unwrap();
    let in_force = *mission_of(&world, &robot).digest();
    let honest = robot.hand_over_request(session, mission, in_force);
    let mut request = HandOverRequest::from_canonical(&honest).unwrap();
    request.in_force = alcub3_crypto::HashAlg::Sha256.digest(&[b"another"]);
    let forged = world
        .authority
        .propose_hand_over(&request.to_canonical(), &to, &mut world.vault, NOW);
    assert_eq!(code(forged), "not-handed-over");
    let used = world
        .authority
        .propose_hand_over(&honest, &to, &mut world.vault, NOW);
    assert_eq!(code(used), "exchange", "each counts once");

    let clock = robot.clock.clock_ms;
    robot.clock.clock_ms = clock + HOUR;
    assert_eq!(
        code(propose(&mut world, &robot, mission, &relief)),
        "not-handed-over"
    );
    robot.clock.clock_ms = clock;
    robot.set_counter(NvIndex::RobotEpoch, 2);
    assert_eq!(
        code(propose(&mut world, &robot, mission, &relief)),
        "mission-stopped"
    );
    assert_eq!(world.vault.open_sessions(), 0);
}

#[test]
fn a_hand_over_and_a_later_end_at_once_do_not_undo_each_other() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    let mission = approved_mission(&mut world, &robot, Level::Cui);
    let relief = relief(&mut world);
    let first = *mission_of(&world, &robot).digest();
    let handed = propose(&mut world, &robot, mission, &relief).unwrap();
    let session = world.authority.open_extension(&robot.id, NOW).unwrap();
    let request = robot.extension_request(session, mission, 3 * HOUR);
    let later = world
        .authority
        .propose_extension(&request, &mut world.vault, NOW)
        .unwrap();
    let votes = [world.bob.vote(later.ballot())];
    approve(&mut world, later, &votes).unwrap();
    let votes = [world.bob.vote(handed.ballot())];
    let refused = approve(&mut world, handed, &votes).unwrap_err();
    assert_eq!(refused.code(), "mission-changed-meanwhile");
    // Asked anew by a robot that the later end never reached, the hand-over brings both.
    let session = world.authority.open_hand_over(&robot.id, NOW).unwrap();
    let request = robot.hand_over_request(session, mission, first);
    let to = [(relief, vec![CommandPattern::new("move.*").unwrap()])];
    let both = world
        .authority
        .propose_hand_over(&request, &to, &mut world.vault, NOW)
        .unwrap();
    assert_eq!(both.token().replaces, Some(first));
    assert_eq!(both.token().not_after_ms, both.token().not_before_ms + 3 * HOUR);
}
