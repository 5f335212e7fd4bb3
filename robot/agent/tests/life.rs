//! One robot's life on a real TPM implementation.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_agent::{Asked, PlatformLogs, Surroundings};
use alcub3_attestation::receipt::{Expected, Outcome, verify_receipt};
use alcub3_tpm::ResponseCode;
use support::{Life, NOW_MS, digest, nonce};

/// Whether the chip itself refused, and with which code.
fn refusal(error: &alcub3_keys::KeysError) -> Option<ResponseCode> {
    match error {
        alcub3_keys::KeysError::Tpm(error) => error.response_code().map(ResponseCode::base),
        _ => None,
    }
}

#[test]
fn a_robot_lives_from_provisioning_to_a_proven_stop() {
    let mut life = Life::provisioned();
    assert!(
        life.robot().is_stopped(),
        "a robot that nobody armed must not run"
    );
    life.rearm();
    assert!(!life.robot().is_stopped());
    let mission = life.start_mission(60_000);
    let key = life.key(&mission);
    life.robot().keys().sign(&key, digest()).unwrap();
    life.robot()
        .evidence(
            &Asked::all(nonce(1)),
            &Surroundings::unknown(),
            &PlatformLogs::NONE,
            NOW_MS,
        )
        .unwrap();

    let armed = life.robot().keys().arm(&key).unwrap();
    let report = life.stop();
    assert!(
        report.is_complete(),
        "{:?}",
        report.unconfirmed().collect::<Vec<_>>()
    );
    let refused = life
        .robot()
        .keys()
        .sign_armed(&key, &armed, digest())
        .unwrap_err();
    assert_eq!(refusal(&refused), Some(ResponseCode::PCR_CHANGED));
    assert!(life.robot().keys().arm(&key).is_err());

    let receipt = report.receipt.clone().unwrap();
    let enrolment = life.authority.enrolment();
    let robot = support::robot_id();
    let expected = Expected {
        attestation_key: enrolment.attestation_key(),
        robot: Some(&robot),
        stop: Some(report.stop),
        nv: *enrolment.nv_map(),
        alive_at: None,
        anchor: None,
        pcrs: life.robot().keys().pcrs(),
    };
    let verdict = verify_receipt(&receipt, &expected);
    assert!(verdict.outcome == Outcome::Proven, "{verdict:?}");
}
