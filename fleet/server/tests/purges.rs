//! Purges: who must approve, and what a purged robot may and may not.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_fleet_protocol::purge::VerifiedPurge;
use alcub3_server::{PurgeApprovalError, RobotError};
use alcub3_trust_model::nv_map::NvMap;
use support::approvals::{purge, stopped_world};
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
