//! Missions and rearms: who must approve, what is refused, and that nothing is signed without the votes.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::collections::BTreeMap;

use alcub3_command_authority::{CommandPattern, Role, SafetyLimits, VerifiedMission};
use alcub3_crypto::tpm::Signature;
use alcub3_fleet_protocol::purge::VerifiedPurge;
use alcub3_fleet_protocol::rearm::VerifiedRearm;
use alcub3_server::{
    ApprovalError, ApprovalPurpose, ApprovalVault, Authority, ExchangeError, MissionApprovalError,
    MissionPlan, MissionProposal, OperatorVote, PurgeApprovalError, RearmApprovalError, RobotError,
};
use alcub3_trust_model::nv_map::{NvIndex, NvMap};
use alcub3_trust_model::policies::{head_policy, mission_end_message};
use alcub3_trust_model::{Level, LevelProfiles, MissionId, OperatorId, StopId};
use support::robot::Robot;
use support::{ALG, NOW, Person, World};

const HOUR: u64 = 3_600_000;

fn plan(world: &World) -> MissionPlan {
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

fn propose(
    world: &mut World,
    robot: &Robot,
    level: Level,
    duration_ms: u64,
) -> Result<MissionProposal, MissionApprovalError> {
    let session = world.authority.open_mission(&robot.id, NOW).unwrap();
    let request = robot.mission_request(session, MissionId::new([4; 16]), level, duration_ms);
    let plan = plan(world);
    world
        .authority
        .propose_mission(&request, &plan, &mut world.vault, NOW)
}

fn approve(
    world: &mut World,
    proposal: MissionProposal,
    votes: &[OperatorVote],
) -> Result<alcub3_fleet_protocol::mission::MissionApproval, MissionApprovalError> {
    world.authority.approve_mission(proposal, votes, &mut world.vault)
}

#[test]
fn two_persons_approve_a_secret_mission_and_the_robot_accepts_it() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    robot.set_counter(NvIndex::RobotEpoch, 7);
    let proposal = propose(&mut world, &robot, Level::Secret, HOUR).unwrap();
    assert_eq!(world.vault.signed, 0, "nothing is signed before the votes");
    let votes = [
        world.alice.vote(proposal.ballot()),
        world.bob.vote(proposal.ballot()),
    ];
    let approval = approve(&mut world, proposal, &votes).unwrap();

    let mission =
        VerifiedMission::verify(&approval.token, &world.authority.verifying_key(), &robot.id).unwrap();
    let token = mission.token();
    assert_eq!(
        (token.robot_epoch, token.reset_count, token.allowed_resets),
        (7, 3, 0)
    );
    assert_eq!(
        token.end_clock_ms,
        robot.clock.clock_ms + HOUR,
        "counted from the certified clock"
    );
    let head = head_policy(ALG, token.end_clock_ms).unwrap().digest();
    let key = world
        .vault
        .approval_public(ApprovalPurpose::MissionByTwo)
        .unwrap()
        .verifying_key()
        .unwrap();
    let signature = Signature::from_tpmt_signature(&approval.end_approval).unwrap();
    signature
        .verify(&key, &mission_end_message(&head, &token.mission))
        .unwrap();
    assert_eq!(
        world.authority.mission(&token.mission).unwrap(),
        Some(approval.token)
    );
}

#[test]
fn a_level_of_one_person_takes_one_vote() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    let proposal = propose(&mut world, &robot, Level::Cui, HOUR).unwrap();
    assert_eq!(proposal.ballot().purpose, ApprovalPurpose::MissionByOne);
    let votes = [world.bob.vote(proposal.ballot())];
    approve(&mut world, proposal, &votes).unwrap();
}

#[test]
fn votes_that_do_not_count_sign_nothing() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    type Votes = fn(&World, &MissionProposal) -> Vec<OperatorVote>;
    let cases: [(&str, Votes); 7] = [
        ("the same person twice", |world, proposal| {
            vec![
                world.alice.vote(proposal.ballot()),
                world.alice.vote(proposal.ballot()),
            ]
        }),
        ("one person alone", |world, proposal| {
            vec![world.alice.vote(proposal.ballot())]
        }),
        ("nobody", |_, _| Vec::new()),
        ("an operator", |world, proposal| {
            vec![
                world.alice.vote(proposal.ballot()),
                world.pilot.vote(proposal.ballot()),
            ]
        }),
        ("a stranger", |world, proposal| {
            vec![
                world.alice.vote(proposal.ballot()),
                Person::new("mallory").vote(proposal.ballot()),
            ]
        }),
        ("a forged name", |world, proposal| {
            let mut forged = world.alice.vote(proposal.ballot());
            forged.operator = OperatorId::new("bob").unwrap();
            vec![world.alice.vote(proposal.ballot()), forged]
        }),
        ("a vote on another ballot", |world, proposal| {
            let mut other = proposal.ballot().clone();
            other.nonce_tpm[0] ^= 1;
            vec![world.alice.vote(proposal.ballot()), world.bob.vote(&other)]
        }),
    ];
    for (what, votes) in cases {
        let proposal = propose(&mut world, &robot, Level::Secret, HOUR).unwrap();
        let votes = votes(&world, &proposal);
        let refusal = approve(&mut world, proposal, &votes).unwrap_err();
        assert!(
            matches!(refusal, MissionApprovalError::Approval(_)),
            "{what}: {refusal}"
        );
        assert_eq!(
            (world.vault.signed, world.vault.open_sessions()),
            (0, 0),
            "{what}"
        );
        assert_eq!(
            world.authority.mission(&MissionId::new([4; 16])).unwrap(),
            None,
            "{what}"
        );
    }
    let proposal = propose(&mut world, &robot, Level::Secret, HOUR).unwrap();
    let twice = [
        world.alice.vote(proposal.ballot()),
        world.alice.vote(proposal.ballot()),
    ];
    let refusal = approve(&mut world, proposal, &twice).unwrap_err();
    assert!(
        matches!(
            refusal,
            MissionApprovalError::Approval(ApprovalError::SamePerson(_))
        ),
        "{refusal}"
    );
}

#[test]
fn a_vault_that_signs_something_else_is_found_out() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    world.vault.faithless = true;
    let proposal = propose(&mut world, &robot, Level::Cui, HOUR).unwrap();
    let votes = [world.bob.vote(proposal.ballot())];
    let refusal = approve(&mut world, proposal, &votes).unwrap_err();
    assert!(
        matches!(
            refusal,
            MissionApprovalError::Approval(ApprovalError::WrongSignature(_))
        ),
        "{refusal}"
    );
}

#[test]
fn what_a_level_does_not_allow_is_refused_before_anybody_votes() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    for duration in [0, 4 * HOUR + 1, u64::MAX] {
        let refusal = propose(&mut world, &robot, Level::Secret, duration).unwrap_err();
        assert!(
            matches!(refusal, MissionApprovalError::Duration { .. }),
            "{duration}: {refusal}"
        );
    }
    let mut no_issuer = plan(&world);
    no_issuer.issuers.clear();
    let mut approver = plan(&world);
    approver.issuers[0].0 = world.alice.id.clone();
    let mut unknown = plan(&world);
    unknown.issuers[0].0 = OperatorId::new("mallory").unwrap();
    let low = Person::new("low");
    let mut operator = low.as_operator(Role::Operator);
    operator.labels.level = Level::Cui;
    world.authority.register_operator(operator).unwrap();
    let mut uncleared = plan(&world);
    uncleared.issuers[0].0 = low.id;
    for (plan, says) in [
        (no_issuer, "no issuer"),
        (approver, "approver"),
        (unknown, "no registered"),
        (uncleared, "not cleared"),
    ] {
        let session = world.authority.open_mission(&robot.id, NOW).unwrap();
        let request = robot.mission_request(session, MissionId::new([4; 16]), Level::Secret, HOUR);
        let refusal = world
            .authority
            .propose_mission(&request, &plan, &mut world.vault, NOW)
            .unwrap_err();
        assert!(refusal.to_string().contains(says), "{refusal}");
    }
    assert_eq!(world.vault.open_sessions(), 0);
}

#[test]
fn missions_need_a_fresh_attestation_a_fresh_exchange_and_a_fresh_identifier() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    let plan = plan(&world);
    let session = world.authority.open_mission(&robot.id, NOW).unwrap();
    let request = robot.mission_request(session, MissionId::new([4; 16]), Level::Secret, HOUR);
    let stale = world
        .authority
        .propose_mission(&request, &plan, &mut world.vault, NOW + 30_001)
        .unwrap_err();
    assert!(matches!(stale, MissionApprovalError::NotFresh { .. }), "{stale}");
    let again = world
        .authority
        .propose_mission(&request, &plan, &mut world.vault, NOW)
        .unwrap_err();
    assert!(
        matches!(
            again,
            MissionApprovalError::Exchange(ExchangeError::UnknownOrUsed)
        ),
        "{again}"
    );

    let proposal = propose(&mut world, &robot, Level::Cui, HOUR).unwrap();
    let votes = [world.bob.vote(proposal.ballot())];
    approve(&mut world, proposal, &votes).unwrap();
    let used = propose(&mut world, &robot, Level::Cui, HOUR).unwrap_err();
    assert!(matches!(used, MissionApprovalError::Used(_)), "{used}");
}

#[test]
fn certifications_of_another_exchange_prove_nothing() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    let plan = plan(&world);
    let old = world.authority.open_mission(&robot.id, NOW).unwrap();
    let session = world.authority.open_mission(&robot.id, NOW).unwrap();
    let request = robot.mission_request(old, MissionId::new([4; 16]), Level::Secret, HOUR);
    let mut request = alcub3_fleet_protocol::mission::MissionRequest::from_canonical(&request).unwrap();
    request.session = session;
    let refusal = world
        .authority
        .propose_mission(&request.to_canonical(), &plan, &mut world.vault, NOW)
        .unwrap_err();
    assert!(matches!(refusal, MissionApprovalError::Request(_)), "{refusal}");
}

fn stopped_world() -> (World, Robot) {
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
fn a_level_policy_asks_for_fewer_resets_and_shorter_missions_also_after_a_restart() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    let mut rows = *LevelProfiles::builtin().rows();
    for row in &mut rows {
        row.max_mission_ms = row.max_mission_ms.min(HOUR);
        row.allowed_resets = 0;
    }
    let stricter = LevelProfiles::tightened(rows).unwrap();
    world.authority.issue_level_policy(stricter, NOW).unwrap();
    assert_eq!(world.authority.profiles(), stricter);
    let proposal = propose(&mut world, &robot, Level::Cui, HOUR).unwrap();
    let votes = [world.bob.vote(proposal.ballot())];
    let approval = approve(&mut world, proposal, &votes).unwrap();
    let key = world.authority.verifying_key();
    let mission = VerifiedMission::verify(&approval.token, &key, &robot.id).unwrap();
    assert_eq!(mission.token().allowed_resets, 0);
    assert!(propose(&mut world, &robot, Level::Cui, HOUR + 1).is_err());
    // The next one has a higher version.
    world
        .authority
        .issue_level_policy(LevelProfiles::builtin(), NOW)
        .unwrap();
    assert_eq!(world.authority.level_policy().unwrap().policy().version, 2);
    world.authority.issue_level_policy(stricter, NOW).unwrap();
    let state = world.state();
    drop(world.authority);
    let authority = Authority::open(&state).unwrap();
    assert_eq!(authority.profiles(), stricter);
    assert_eq!(authority.level_policy().unwrap().policy().version, 3);
}

fn purge(world: &mut World, robot: &Robot) -> Result<(), PurgeApprovalError> {
    let session = world.authority.open_purge(&robot.id, NOW)?;
    let request = robot.purge_request(session);
    let proposal = world.authority.propose_purge(&request, &mut world.vault, NOW)?;
    let votes = [
        world.alice.vote(proposal.ballot()),
        world.bob.vote(proposal.ballot()),
    ];
    world
        .authority
        .approve_purge(proposal, &votes, &mut world.vault, NOW)?;
    Ok(())
}

fn rearm(world: &mut World, robot: &Robot) -> Result<(), RearmApprovalError> {
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

#[test]
fn a_successor_is_served_only_above_every_epoch_approved_for_the_lost_robot() {
    let (mut world, lost) = stopped_world();
    rearm(&mut world, &lost).unwrap();
    // The robot itself is not held to what was approved for it.
    rearm(&mut world, &lost).unwrap();
    let proposal = world
        .authority
        .propose_succession(&lost.id, &mut world.vault)
        .unwrap();
    let votes = [
        world.alice.vote(proposal.ballot()),
        world.bob.vote(proposal.ballot()),
    ];
    world
        .authority
        .approve_succession(proposal, &votes, &mut world.vault)
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

#[test]
fn a_purged_robot_is_served_no_more_until_it_is_provisioned_and_enrolled_anew() {
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

    let message = robot.begin();
    let challenge = world.authority.begin_enrolment(&message, NOW).unwrap();
    let response = robot.answer(&message, &challenge, &world.authority.verifying_key());
    let refusal = world
        .authority
        .finish_enrolment(&response, &mut world.vault, NOW)
        .unwrap_err();
    assert_eq!(refusal.to_string(), purged, "the keys that were to be cleared");
    world.enrol(&robot.provisioned_anew());
    assert!(world.authority.challenge(&id, NOW).is_ok());
}
