//! Missions that run: their end is moved, their secret is shared. Who must approve, what is refused.
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
use alcub3_crypto::tpm::{Public, attribute};
use alcub3_fleet_protocol::extension::ExtensionError;
use alcub3_fleet_protocol::shared_key::{SharedKeyError, VerifiedSharedKey};
use alcub3_server::{
    ApprovalPurpose, ApprovalVault, MissionApprovalError, MissionProposal, SharedKeyApprovalError,
};
use alcub3_trust_model::nv_map::{MissionAnchor, NvIndex};
use alcub3_trust_model::{Level, MissionId, SessionId};
use support::approvals::{HOUR, MISSION, approve, propose};
use support::robot::{BOUND, Robot};
use support::{NOW, World};

fn approved_mission(world: &mut World, robot: &Robot, level: Level) -> (MissionId, Level) {
    let proposal = propose(world, robot, level, HOUR).unwrap();
    let mut votes = vec![world.alice.vote(proposal.ballot())];
    if level >= Level::Secret {
        votes.push(world.bob.vote(proposal.ballot()));
    }
    approve(world, proposal, &votes).unwrap();
    (MISSION, level)
}

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
            Err(MissionApprovalError::Extension(ExtensionError::Ended))
        ),
        "{ended:?}"
    );
    robot.clock.clock_ms = clock;
    robot.set_counter(NvIndex::MissionAnchor(MissionAnchor::new(2).unwrap()), 99);
    let over = propose_extension(&mut world, &robot, mission, 2 * HOUR, NOW);
    assert!(
        matches!(
            &over,
            Err(MissionApprovalError::Extension(ExtensionError::OverInChip))
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
                Err(MissionApprovalError::Extension(ExtensionError::Counter(_)))
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
        matches!(refused, MissionApprovalError::MovedMeanwhile(_)),
        "{refused}"
    );
    assert_eq!(world.vault.open_sessions(), 0);
}

/// A robot with a mission of a level, and the parent that its rearm opens.
fn sharing(level: Level) -> (World, Robot, Public) {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    approved_mission(&mut world, &robot, level);
    let rearm = world
        .vault
        .approval_public(ApprovalPurpose::Rearm)
        .unwrap()
        .name();
    let parent = robot.level_parent(rearm, level, BOUND | attribute::NO_DA);
    (world, robot, parent)
}

fn open(world: &mut World, robot: &Robot) -> SessionId {
    world.authority.open_shared_key(&robot.id, NOW).unwrap()
}

#[test]
fn a_secret_is_wrapped_for_a_proven_parent_and_said_to_be_an_issuers() {
    let (mut world, robot, parent) = sharing(Level::Secret);
    let session = open(&mut world, &robot);
    let request = robot.shared_key_request(session, MISSION, &parent, Level::Secret);
    let issuer = world.pilot.id.clone();
    let requests = [request.to_canonical()];
    let shared = world
        .authority
        .share_mission_key(&requests, Some(&issuer), None, &mut world.vault, NOW)
        .unwrap();
    let (to, message) = &shared.messages[0];
    assert_eq!((to, shared.messages.len()), (&robot.id, 1));
    let token = world.authority.mission(&MISSION).unwrap().unwrap();
    let key = world.authority.verifying_key();
    let mission = VerifiedMission::as_approved(&token, &key, &robot.id).unwrap();
    let verified = VerifiedSharedKey::verify(message, &key, mission.token(), session).unwrap();
    assert_eq!(verified.key().issuer.as_ref(), Some(&issuer));
    let public = &verified.key().wrapped.public;
    let copied = attribute::FIXED_TPM | attribute::FIXED_PARENT | attribute::USER_WITH_AUTH;
    assert_eq!(public.attributes() & copied, 0);
    for at in 0..message.len() {
        let mut changed = message.clone();
        changed[at] ^= 1;
        let verified = VerifiedSharedKey::verify(&changed, &key, mission.token(), session);
        assert!(verified.is_err(), "byte {at}");
    }
    let again = world
        .authority
        .share_mission_key(&requests, Some(&issuer), None, &mut world.vault, NOW);
    assert!(
        matches!(again, Err(SharedKeyApprovalError::Exchange(_))),
        "an exchange counts once"
    );
}

#[test]
fn nothing_is_wrapped_for_what_is_not_proven() {
    let (mut world, robot, parent) = sharing(Level::Cui);
    let rearm = world
        .vault
        .approval_public(ApprovalPurpose::Rearm)
        .unwrap()
        .name();
    let user = BOUND | attribute::NO_DA | attribute::USER_WITH_AUTH;
    let parents = [
        (
            "opened by a password",
            robot.level_parent(rearm, Level::Cui, user),
        ),
        (
            "of another level",
            robot.level_parent(rearm, Level::Secret, BOUND),
        ),
        (
            "of another rearm key",
            robot.level_parent(parent.name(), Level::Cui, BOUND),
        ),
        (
            "that may leave its chip",
            robot.level_parent(rearm, Level::Cui, attribute::NO_DA),
        ),
    ];
    let issuer = world.pilot.id.clone();
    let share = |world: &mut World, request: Vec<u8>| {
        world
            .authority
            .share_mission_key(&[request], Some(&issuer), None, &mut world.vault, NOW)
    };
    for (what, other) in parents {
        let session = open(&mut world, &robot);
        let request = robot.shared_key_request(session, MISSION, &other, Level::Cui);
        let refused = share(&mut world, request.to_canonical());
        let source = SharedKeyError::OtherParent;
        assert!(
            matches!(&refused, Err(SharedKeyApprovalError::Request { source: found, .. }) if found.to_string() == source.to_string()),
            "{what}: {refused:?}"
        );
    }
    // Certified and quoted for another exchange, or with the PCRs of another level.
    let (session, other) = (open(&mut world, &robot), open(&mut world, &robot));
    let mut request = robot.shared_key_request(other, MISSION, &parent, Level::Cui);
    request.session = session;
    assert!(share(&mut world, request.to_canonical()).is_err());
    let session = open(&mut world, &robot);
    let request = robot.shared_key_request(session, MISSION, &parent, Level::Secret);
    assert!(share(&mut world, request.to_canonical()).is_err());
    // A parent that was swapped after it was certified.
    let session = open(&mut world, &robot);
    let mut request = robot.shared_key_request(session, MISSION, &parent, Level::Cui);
    request.parent = robot.level_parent(rearm, Level::Cui, BOUND | attribute::NO_DA);
    assert!(share(&mut world, request.to_canonical()).is_err());
    let nobody = world
        .authority
        .share_mission_key(&[], None, None, &mut world.vault, NOW);
    assert!(matches!(nobody, Err(SharedKeyApprovalError::Nobody)));
}

#[test]
fn a_command_key_without_an_issuer_of_the_mission_is_refused() {
    let (mut world, robot, parent) = sharing(Level::Cui);
    for issuer in [None, Some(world.alice.id.clone())] {
        let session = open(&mut world, &robot);
        let request = robot.shared_key_request(session, MISSION, &parent, Level::Cui);
        let refused = world.authority.share_mission_key(
            &[request.to_canonical()],
            issuer.as_ref(),
            None,
            &mut world.vault,
            NOW,
        );
        assert!(
            matches!(
                &refused,
                Err(SharedKeyApprovalError::Request {
                    source: SharedKeyError::Issuer,
                    ..
                })
            ),
            "{refused:?}"
        );
    }
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
        let verdict = world.authority.verify_receipt(&robot.id, &receipt).unwrap();
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
