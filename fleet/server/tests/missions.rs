//! Missions: who must approve, what is refused, and that nothing is signed without the votes.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_command_authority::{Role, VerifiedMission};
use alcub3_crypto::tpm::Signature;
use alcub3_server::{
    ApprovalError, ApprovalPurpose, ApprovalVault, ExchangeError, MissionApprovalError, MissionProposal,
    OperatorVote,
};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::policies::{head_policy, mission_end_message};
use alcub3_trust_model::{Level, MissionId, OperatorId};
use support::approvals::{HOUR, approve, plan, propose};
use support::robot::Robot;
use support::{ALG, NOW, Person, World};

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
        VerifiedMission::as_approved(&approval.token, &world.authority.verifying_key(), &robot.id).unwrap();
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
    world.authority.register_operator(operator, NOW).unwrap();
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
