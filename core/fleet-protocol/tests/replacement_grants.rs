//! Replaced parts: what the robot takes of its authority.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod fixture;
#[path = "fixture/replacing.rs"]
mod replacing;

use alcub3_crypto::{Secret, SigningKey};
use alcub3_fleet_protocol::EnrolmentRecord;
use alcub3_fleet_protocol::endorsement::EndorsementBasis;
use alcub3_fleet_protocol::replacement::{ReplacementError, ReplacementGrant, ReplacementRequest};
use alcub3_trust_model::{HardwareTier, Level, RobotId, SessionId};
use fixture::{Counting, Fleet, NOW_MS, SoftChip, authorisations};
use replacing::{CURVE, SESSION, World};
#[test]
fn the_robot_takes_a_newer_enrolment_that_differs_in_its_hardware_alone() {
    let world = World::new();
    let request = world.request(&[world.lidar("L-2")]);
    let approved = world.approved(&request);
    let taken = world.taken(&request, &approved).unwrap();
    assert_eq!(taken.approver().as_str(), "alice");
    assert_eq!(*taken.enrolled().enrolment().record(), approved);
    let other = |change: &dyn Fn(&mut EnrolmentRecord)| {
        let mut record = approved.clone();
        change(&mut record);
        world.taken(&request, &record).unwrap_err()
    };
    let elsewhere = SoftChip::new(CURVE).request();
    let changes: [&dyn Fn(&mut EnrolmentRecord); 8] = [
        &|record| record.issued_at_ms = NOW_MS,
        &|record| record.ceiling = Level::Secret,
        &|record| record.tier = HardwareTier::Firmware,
        &|record| record.identity = elsewhere.identity.clone(),
        &|record| record.attestation_key = elsewhere.attestation_key.clone(),
        &|record| record.endorsement_key = elsewhere.endorsement_key.name(),
        &|record| record.endorsement = EndorsementBasis::Certificate(CURVE.hash().digest(&[b"other"])),
        &|record| record.hardware_binding = world.lidar("L-3").binding(CURVE.hash()),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let refused = other(change);
        assert!(
            matches!(refused, ReplacementError::Differs(_)),
            "{number}: {refused}"
        );
    }
    assert!(matches!(
        other(&|record| record.robot = RobotId::new("rover-18").unwrap()),
        ReplacementError::Record(_)
    ));
    assert!(matches!(
        other(&|record| *record = world.record.clone()),
        ReplacementError::AlreadyTaken
    ));
    // Whom the robot believes stays as it is.
    let anchors = Fleet {
        signing: SigningKey::from_pkcs8(world.fleet.signing.to_pkcs8().expose()).unwrap(),
        ..Fleet::new(CURVE)
    };
    let (answer, _) = world.grant(&request, world.message(&anchors, SESSION, &approved));
    assert!(matches!(
        world.verified(&answer, &request),
        Err(ReplacementError::Differs("trust anchors"))
    ));
}

#[test]
fn an_answer_is_believed_of_the_pinned_authority_for_this_request_alone() {
    let world = World::new();
    let request = world.request(&[world.lidar("L-2")]);
    let approved = world.approved(&request);
    let message = world.message(&world.fleet, SESSION, &approved);
    let (answer, grant) = world.grant(&request, message);
    for index in (0..answer.len()).step_by(7) {
        let mut changed = answer.clone();
        changed[index] ^= 1;
        assert!(world.verified(&changed, &request).is_err(), "byte {index}");
    }
    let stranger = Fleet::new(CURVE).signing;
    let forged = grant.unsigned(stranger.suite()).sign(&stranger).unwrap();
    assert!(matches!(
        world.verified(&forged, &request),
        Err(ReplacementError::Cose(_))
    ));
    let later = ReplacementRequest {
        session: SessionId::new([8; 16]),
        ..request.clone()
    };
    assert!(matches!(
        world.verified(&answer, &later),
        Err(ReplacementError::Other("exchange"))
    ));
    let other = ReplacementRequest {
        robot: RobotId::new("rover-18").unwrap(),
        ..request.clone()
    };
    assert!(matches!(
        world.verified(&answer, &other),
        Err(ReplacementError::Other("robot"))
    ));
    let mixed = ReplacementGrant {
        session: SessionId::new([8; 16]),
        ..grant
    };
    let signing = &world.fleet.signing;
    let mixed = mixed.unsigned(signing.suite()).sign(signing).unwrap();
    assert!(matches!(
        world.verified(&mixed, &request),
        Err(ReplacementError::Other("exchange"))
    ));
    // An enrolment from another exchange in a grant for this one.
    let (mixed, _) = world.grant(
        &request,
        world.message(&world.fleet, SessionId::new([8; 16]), &approved),
    );
    assert!(matches!(
        world.verified(&mixed, &request),
        Err(ReplacementError::Other("exchange"))
    ));
}

#[test]
fn the_endorsement_authorisation_is_sealed_and_no_other_is_given() {
    let world = World::new();
    let request = world.request(&[world.lidar("L-2")]);
    let (answer, _) = world.grant(
        &request,
        world.message(&world.fleet, SESSION, &world.approved(&request)),
    );
    let custody = authorisations();
    for value in [&custody.owner, &custody.endorsement, &custody.lockout] {
        let clear = value.expose();
        assert!(!answer.windows(clear.len()).any(|window| window == clear));
    }
    // With the secret that was drawn it opens to the endorsement authorisation alone; with another it does not.
    let taken = world.verified(&answer, &request).unwrap();
    let mut drawn = Counting(3, Vec::new());
    let mut secret = Secret::zeroed(32);
    alcub3_crypto::Entropy::fill(&mut drawn, secret.expose_mut()).unwrap();
    assert_eq!(
        taken.endorsement(&secret).unwrap().expose(),
        custody.endorsement.expose()
    );
    assert!(taken.endorsement(&Secret::from_slice(&[9; 32])).is_err());
}
