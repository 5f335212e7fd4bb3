//! Attestation results: signed, checked offline, and refused when anything about them is changed.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod software_robot;

use alcub3_attestation::appraisal::{Policy, Verdict, appraise};
use alcub3_attestation::ear::{Context, EAR_PROFILE, Ear, EarError, PROFILE, Status, VerifierId};
use alcub3_crypto::{Curve, SigningKey};
use alcub3_trust_model::HardwareTier;
use software_robot::{NONCE, NOW_MS, Robot, Verifier};

const NOW_S: u64 = NOW_MS / 1000;

fn claims(robot: &Robot, verdict: &Verdict) -> Ear {
    let verifier = VerifierId {
        developer: "alcub3".to_owned(),
        build: "0.1.0".to_owned(),
    };
    let policy = "urn:alcub3:policy:test".to_owned();
    Ear::of(
        verdict,
        &Context {
            robot: &robot.id,
            nonce: &NONCE,
            verifier,
            policy,
            lifetime_s: 60,
        },
    )
}

fn judged(robot: &Robot) -> Verdict {
    appraise(&robot.evidence(), &Verifier::of(robot).policy(), NOW_MS)
}

#[test]
fn a_result_is_signed_and_verifies_on_both_curves() {
    let robot = Robot::new();
    let ear = claims(&robot, &judged(&robot));
    assert_eq!(ear.eat_profile, EAR_PROFILE);
    assert_eq!(ear.submods["r1"].eat_profile, PROFILE);
    assert_eq!(ear.submods["r1"].status, Status::Affirming);
    assert_eq!(ear.submods["r1"].vector.executables, 3);
    for curve in [Curve::P256, Curve::P384] {
        let key = SigningKey::generate(curve).unwrap();
        let token = ear.sign(curve, key.to_pkcs8().expose()).unwrap();
        assert_eq!(Ear::verify(&token, &key.verifying_key(), NOW_S).unwrap(), ear);
        let other = SigningKey::generate(curve).unwrap();
        assert!(matches!(
            Ear::verify(&token, &other.verifying_key(), NOW_S),
            Err(EarError::Jwt(_))
        ));
    }
    let key = SigningKey::generate(Curve::P256).unwrap();
    assert!(ear.sign(Curve::P384, key.to_pkcs8().expose()).is_err());
}

#[test]
fn a_result_holds_for_its_time_only() {
    let robot = Robot::new();
    let ear = claims(&robot, &judged(&robot));
    let key = SigningKey::generate(Curve::P256).unwrap();
    let token = ear.sign(Curve::P256, key.to_pkcs8().expose()).unwrap();
    for (now, holds) in [
        (NOW_S - 1, false),
        (NOW_S, true),
        (NOW_S + 59, true),
        (NOW_S + 60, false),
    ] {
        assert_eq!(
            Ear::verify(&token, &key.verifying_key(), now).is_ok(),
            holds,
            "{now}"
        );
    }
}

#[test]
fn no_changed_character_of_a_token_is_accepted() {
    let robot = Robot::new();
    let key = SigningKey::generate(Curve::P256).unwrap();
    let token = claims(&robot, &judged(&robot))
        .sign(Curve::P256, key.to_pkcs8().expose())
        .unwrap();
    for at in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'Q' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(
            changed == token || Ear::verify(&changed, &key.verifying_key(), NOW_S).is_err(),
            "{at}"
        );
    }
}

#[test]
fn the_status_follows_the_verdict() {
    let mut robot = Robot::new();
    robot.tier = HardwareTier::Simulator;
    let verdict = judged(&robot);
    let result = claims(&robot, &verdict).submods["r1"].clone();
    assert_eq!(
        (result.status, result.vector.hardware),
        (Status::Contraindicated, 96)
    );
    assert_eq!(result.reasons, ["simulator", "hardware-tier"]);
    let verifier = Verifier::of(&robot);
    let lenient = Policy {
        min_tier: HardwareTier::Simulator,
        ..verifier.policy()
    };
    let verdict = appraise(&robot.evidence(), &lenient, NOW_MS);
    let result = claims(&robot, &verdict).submods["r1"].clone();
    assert_eq!((result.status, result.vector.hardware), (Status::Warning, 32));
    let verdict = appraise(b"", &verifier.policy(), NOW_MS);
    let result = claims(&robot, &verdict).submods["r1"].clone();
    assert_eq!(
        (result.status, result.vector.instance_identity),
        (Status::Contraindicated, 99)
    );
    assert_eq!((result.sequence, result.tier), (None, None));
}

#[test]
fn unknown_claims_profiles_and_types_are_refused() {
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    let robot = Robot::new();
    let ear = claims(&robot, &judged(&robot));
    let key = SigningKey::generate(Curve::P256).unwrap();
    let signer = EncodingKey::from_ec_der(key.to_pkcs8().expose());
    let mut header = Header::new(Algorithm::ES256);
    header.typ = Some("eat+jwt".to_owned());
    let verify = |header: &Header, claims: &serde_json::Value| {
        let token = jsonwebtoken::encode(header, claims, &signer).unwrap();
        Ear::verify(&token, &key.verifying_key(), NOW_S)
    };
    let good = serde_json::to_value(&ear).unwrap();
    assert!(verify(&header, &good).is_ok());
    let mut unknown = good.clone();
    unknown["admin"] = true.into();
    assert!(matches!(verify(&header, &unknown), Err(EarError::Jwt(_))));
    let mut other = good.clone();
    other["eat_profile"] = "urn:other".into();
    assert!(matches!(verify(&header, &other), Err(EarError::Profile(_))));
    let mut other = good.clone();
    other["submods"]["r1"]["eat_profile"] = "urn:alcub3:attest-result:v2".into();
    assert!(matches!(verify(&header, &other), Err(EarError::Profile(_))));
    let mut short = good.clone();
    short["eat_nonce"] = "AAAA".into();
    assert!(matches!(verify(&header, &short), Err(EarError::Jwt(_))));
    let mut plain = header.clone();
    plain.typ = Some("JWT".to_owned());
    assert!(matches!(verify(&plain, &good), Err(EarError::Header(_))));
    let mut critical = header;
    critical.crit = Some(vec!["x".to_owned()]);
    assert!(matches!(verify(&critical, &good), Err(EarError::Header(_))));
}
