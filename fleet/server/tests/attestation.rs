//! Attestation with the authority: each request counts once, and only good evidence earns a lease.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_attestation::appraisal::Reason;
use alcub3_attestation::ear::Ear;
use alcub3_attestation::receipt::Outcome;
use alcub3_command_authority::VerifiedLease;
use alcub3_fleet_protocol::attestation::EvidenceMessage;
use alcub3_server::{AttestationError, Authority, EXCHANGE_MS, ExchangeError};
use alcub3_trust_model::{BootId, RobotId, StopId};
use support::robot::Robot;
use support::{NOW, World};

fn used(error: &AttestationError) -> bool {
    matches!(error, AttestationError::Exchange(ExchangeError::UnknownOrUsed))
}

#[test]
fn good_evidence_earns_a_result_and_a_lease_that_others_can_check() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::new();
    world.enrol(&robot);
    let request = world.authority.challenge(&robot.id, NOW).unwrap();
    let appraised = world.authority.appraise(&robot.evidence(&request), NOW).unwrap();
    assert!(
        appraised.verdict.is_trusted(),
        "{:?}",
        appraised.verdict.findings()
    );
    let key = world.authority.verifying_key();
    let ear = Ear::verify(&appraised.ear, &key, NOW / 1000).unwrap();
    assert_eq!(
        ear.submods["rover-1"].policy, "urn:alcub3:policy:admits-simulators",
        "it says what it admits"
    );
    let lease = appraised.answer.lease.unwrap();
    let lease =
        VerifiedLease::verify(&lease, &key, &robot.id, robot.boot(), &world.authority.profiles()).unwrap();
    assert!(lease.lease().not_after_ms > NOW);
    assert_eq!(
        world.authority.standing(&robot.id).unwrap().trusted_at_ms,
        Some(NOW)
    );
}

#[test]
fn a_replayed_answer_counts_never_again_not_even_after_a_restart() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::new();
    world.enrol(&robot);
    let request = world.authority.challenge(&robot.id, NOW).unwrap();
    let evidence = robot.evidence(&request);
    world.authority.appraise(&evidence, NOW).unwrap();
    assert!(used(&world.authority.appraise(&evidence, NOW).unwrap_err()));

    let fresh = world.authority.challenge(&robot.id, NOW).unwrap();
    let mut replay = EvidenceMessage::from_canonical(&evidence).unwrap();
    replay.session = fresh.session;
    let appraised = world.authority.appraise(&replay.to_canonical(), NOW).unwrap();
    assert!(
        appraised.verdict.has(Reason::Binding),
        "the old quote under a new exchange"
    );
    assert!(appraised.answer.lease.is_none());

    let open = world.authority.challenge(&robot.id, NOW).unwrap();
    let answer = robot.evidence(&open);
    let state = world.state();
    drop(world.authority);
    let mut authority = Authority::open(&state).unwrap();
    assert!(used(&authority.appraise(&evidence, NOW).unwrap_err()));
    assert!(
        authority.appraise(&answer, NOW).unwrap().verdict.is_trusted(),
        "an open exchange outlives a restart"
    );
}

#[test]
fn late_foreign_and_surplus_exchanges_do_not_count() {
    let (mut robot, other) = (Robot::new("rover-1"), Robot::new("rover-2"));
    let mut world = World::new();
    world.enrol(&robot);
    world.enrol(&other);
    let request = world.authority.challenge(&robot.id, NOW).unwrap();
    let late = world
        .authority
        .appraise(&robot.evidence(&request), NOW + EXCHANGE_MS)
        .unwrap_err();
    assert!(
        matches!(late, AttestationError::Exchange(ExchangeError::Expired { .. })),
        "{late}"
    );

    let others = world.authority.challenge(&other.id, NOW).unwrap();
    let stolen = world
        .authority
        .appraise(&robot.evidence(&others), NOW)
        .unwrap_err();
    assert!(
        matches!(stolen, AttestationError::Exchange(ExchangeError::OtherUse)),
        "{stolen}"
    );

    let first = world.authority.challenge(&robot.id, NOW).unwrap();
    for later in 1..=8 {
        world.authority.challenge(&robot.id, NOW + later).unwrap();
    }
    assert!(used(
        &world
            .authority
            .appraise(&robot.evidence(&first), NOW + 9)
            .unwrap_err()
    ));
    let stranger = RobotId::new("rover-9").unwrap();
    assert!(matches!(
        world.authority.challenge(&stranger, NOW),
        Err(AttestationError::Robot(_))
    ));
}

#[test]
fn evidence_that_goes_back_is_untrusted_and_lowers_nothing() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    let seen = world.authority.standing(&robot.id).unwrap().last_seen.unwrap();
    robot.sequence = 0;
    let request = world.authority.challenge(&robot.id, NOW).unwrap();
    let appraised = world.authority.appraise(&robot.evidence(&request), NOW).unwrap();
    assert!(appraised.verdict.has(Reason::Sequence));
    assert!(appraised.answer.lease.is_none());
    let standing = world.authority.standing(&robot.id).unwrap();
    assert_eq!(standing.last_seen, Some(seen));
    assert_eq!(
        standing.trusted_at_ms, None,
        "an untrusted verdict ends the trust of before"
    );
}

#[test]
fn a_message_of_another_boot_than_the_signed_state_earns_nothing() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    let request = world.authority.challenge(&robot.id, NOW).unwrap();
    let mut message = EvidenceMessage::from_canonical(&robot.evidence(&request)).unwrap();
    message.boot = BootId::new([8; 16]);
    let refusal = world
        .authority
        .appraise(&message.to_canonical(), NOW)
        .unwrap_err();
    assert!(matches!(refusal, AttestationError::OtherBoot));
}

#[test]
fn a_stop_in_the_evidence_is_seen_and_in_force() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    robot.stops.push(StopId::new([5; 16]));
    let request = world.authority.challenge(&robot.id, NOW).unwrap();
    let appraised = world.authority.appraise(&robot.evidence(&request), NOW).unwrap();
    assert!(
        appraised.verdict.has(Reason::StopInForce),
        "a robot that denies its stop"
    );
    assert!(appraised.answer.lease.is_none());
    assert_eq!(
        world.authority.standing(&robot.id).unwrap().stops,
        [StopId::new([5; 16])]
    );
}

#[test]
fn a_proven_receipt_is_noted_and_a_changed_one_is_not() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    let stop = StopId::new([6; 16]);
    let receipt = robot.stop(stop);
    let mut changed = receipt.clone();
    let at = changed.len() / 2;
    changed[at] ^= 1;
    let verdict = world.authority.verify_receipt(&robot.id, &changed, NOW).unwrap();
    assert_eq!(verdict.outcome, Outcome::Refused);
    assert!(world.authority.standing(&robot.id).unwrap().stops.is_empty());

    let verdict = world.authority.verify_receipt(&robot.id, &receipt, NOW).unwrap();
    assert_eq!(
        verdict.outcome,
        Outcome::Proven,
        "{:?} {:?}",
        verdict.reasons,
        verdict.unconfirmed
    );
    assert_eq!((verdict.epoch_before, verdict.epoch_after), (Some(1), Some(2)));
    let standing = world.authority.standing(&robot.id).unwrap();
    assert_eq!((standing.stops, standing.trusted_at_ms), (vec![stop], None));

    let other = Robot::new("rover-2");
    world.enrol(&other);
    let verdict = world.authority.verify_receipt(&other.id, &receipt, NOW).unwrap();
    assert_eq!(verdict.outcome, Outcome::Refused, "another robot's receipt");
}
