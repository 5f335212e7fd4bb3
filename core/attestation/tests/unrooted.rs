//! A platform without any root of trust is judged as exactly that.
#![allow(clippy::unwrap_used)]

use alcub3_attestation::ear::{Context, Ear, Status, Submodule, TrustVector, VerifierId};
use alcub3_attestation::evidence::Nonce;
use alcub3_attestation::unrooted::{Policy, Verdict, appraise};
use alcub3_crypto::{Curve, SigningKey};
use alcub3_trust_model::{HardwareTier, RobotId};

const NOW_MS: u64 = 1_790_000_000_000;

fn judge(enrolled_tier: HardwareTier, min_tier: HardwareTier) -> Verdict {
    appraise(
        &Policy {
            enrolled_tier,
            min_tier,
        },
        NOW_MS,
    )
}

/// The result, signed and verified.
fn result(verdict: &Verdict) -> Submodule {
    let robot = RobotId::new("cart-1").unwrap();
    let context = Context {
        robot: &robot,
        nonce: &Nonce([1; 32]),
        verifier: VerifierId {
            developer: "alcub3".to_owned(),
            build: "test".to_owned(),
        },
        policy: "urn:alcub3:policy:unrooted".to_owned(),
        lifetime_s: 60,
    };
    let key = SigningKey::generate(Curve::P256).unwrap();
    let token = Ear::of(verdict, &context)
        .sign(Curve::P256, key.to_pkcs8().expose())
        .unwrap();
    let verified = Ear::verify(&token, &key.verifying_key(), NOW_MS / 1000).unwrap();
    verified.submods.get("cart-1").unwrap().clone()
}

#[test]
fn where_it_is_admitted_nothing_is_said_of_it() {
    let verdict = judge(HardwareTier::None, HardwareTier::None);
    assert!(verdict.is_admitted());
    let result = result(&verdict);
    assert_eq!(result.status, Status::None);
    assert_eq!(result.vector, TrustVector::default());
    assert_eq!(result.reasons, ["no-root-of-trust"]);
    assert_eq!((result.tier, result.sequence), (Some(HardwareTier::None), None));
}

#[test]
fn where_a_root_of_trust_is_asked_for_it_is_contraindicated() {
    for floor in &HardwareTier::ALL[1..] {
        let verdict = judge(HardwareTier::None, *floor);
        assert!(!verdict.is_admitted());
        let result = result(&verdict);
        assert_eq!(result.status, Status::Contraindicated);
        assert_eq!(result.reasons, ["no-root-of-trust", "hardware-tier"]);
        assert_eq!((result.vector.hardware, result.vector.instance_identity), (96, 0));
        assert_eq!(result.tier, Some(HardwareTier::None));
    }
}

#[test]
fn a_robot_that_had_a_root_of_trust_cannot_do_without() {
    for enrolled in &HardwareTier::ALL[1..] {
        let result = result(&judge(*enrolled, HardwareTier::None));
        assert_eq!(result.status, Status::Contraindicated);
        assert_eq!(result.reasons, ["no-root-of-trust", "root-withheld"]);
        assert_eq!(result.vector.instance_identity, 97);
    }
}
