//! Attestation results as CWT: one form, checked offline, and refused when anything about them is changed.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod software_robot;

use alcub3_attestation::appraisal::{Policy, appraise};
use alcub3_attestation::ear::{Context, EAR_PROFILE, Ear, EarError, PROFILE, Status, VerifierId};
use alcub3_crypto::{Curve, SigningKey};
use alcub3_trust_model::HardwareTier;
use alcub3_trust_model::canonical::{Encoder, Fault};
use coset::{CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana};
use proptest::prelude::*;
use software_robot::{NONCE, NOW_MS, Robot, Verifier};
use std::sync::LazyLock;

const NOW_S: u64 = NOW_MS / 1000;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(Curve::P256).unwrap());

fn result(evidence: Option<&[u8]>) -> Ear {
    let robot = Robot::new();
    let verifier = Verifier::of(&robot);
    let own = robot.evidence();
    let verdict = appraise(evidence.unwrap_or(&own), &verifier.policy(), NOW_MS);
    let context = Context {
        robot: &robot.id,
        nonce: &NONCE,
        verifier: VerifierId {
            developer: "alcub3".to_owned(),
            build: "0.1.0".to_owned(),
        },
        policy: "urn:alcub3:policy:test".to_owned(),
        lifetime_s: 60,
    };
    Ear::of(&verdict, &context)
}

/// A result of three robots whose names are in another order by length than by letters.
fn fleet() -> Ear {
    let mut ear = result(None);
    let (good, bad) = (ear.submods["r1"].clone(), result(Some(b"")).submods["r1"].clone());
    ear.submods.insert("zz".to_owned(), bad);
    ear.submods.insert("arm-07".to_owned(), good);
    ear
}

#[test]
fn a_cwt_is_signed_and_verifies_on_both_curves() {
    for curve in [Curve::P256, Curve::P384] {
        let key = SigningKey::generate(curve).unwrap();
        for ear in [result(None), result(Some(b"")), fleet()] {
            let token = ear.to_cwt(&key).unwrap();
            assert_eq!(Ear::from_cwt(&token, &key.verifying_key(), NOW_S).unwrap(), ear);
            let other = SigningKey::generate(curve).unwrap().verifying_key();
            assert!(matches!(
                Ear::from_cwt(&token, &other, NOW_S),
                Err(EarError::Signature(_))
            ));
            let jwt = ear.sign(curve, key.to_pkcs8().expose()).unwrap();
            assert_eq!(Ear::verify(&jwt, &key.verifying_key(), NOW_S).unwrap(), ear);
            assert!(token.len() < jwt.len());
        }
    }
    let p384 = SigningKey::generate(Curve::P384).unwrap().verifying_key();
    assert!(matches!(
        Ear::from_cwt(&result(None).to_cwt(&KEY).unwrap(), &p384, NOW_S),
        Err(EarError::Header(_))
    ));
}

#[test]
fn a_cwt_holds_for_its_time_only() {
    let token = result(None).to_cwt(&KEY).unwrap();
    for (now, holds) in [
        (NOW_S - 1, false),
        (NOW_S, true),
        (NOW_S + 59, true),
        (NOW_S + 60, false),
    ] {
        let read = Ear::from_cwt(&token, &KEY.verifying_key(), now);
        assert_eq!(read.is_ok(), holds, "{now}");
        assert!(holds || matches!(read, Err(EarError::Time { .. })));
    }
}

#[test]
fn no_changed_byte_of_a_cwt_is_accepted() {
    let (token, key) = (fleet().to_cwt(&KEY).unwrap(), KEY.verifying_key());
    for at in 0..token.len() {
        for flip in [0x01, 0x20, 0x80, 0xFF] {
            let mut changed = token.clone();
            changed[at] ^= flip;
            assert!(Ear::from_cwt(&changed, &key, NOW_S).is_err(), "{at}");
        }
        assert!(Ear::from_cwt(&token[..at], &key, NOW_S).is_err());
    }
    let long = [&token[..], &[0]].concat();
    assert!(matches!(
        Ear::from_cwt(&long, &key, NOW_S),
        Err(EarError::Cose(_))
    ));
    let long = [&token[..], &vec![0; 64 * 1024]].concat();
    assert!(matches!(
        Ear::from_cwt(&long, &key, NOW_S),
        Err(EarError::TooLong(_))
    ));
    // The same message with its outer head in two bytes: the same values, another form.
    let other_form = [&[0xD2, 0x98, 0x04], &token[2..]].concat();
    assert!(matches!(
        Ear::from_cwt(&other_form, &key, NOW_S),
        Err(EarError::Header(_))
    ));
}

fn headers() -> HeaderBuilder {
    HeaderBuilder::new().algorithm(iana::Algorithm::ES256)
}

fn typed() -> HeaderBuilder {
    headers().value(16, "application/eat+cwt".into())
}

fn signed(protected: HeaderBuilder, unprotected: HeaderBuilder, payload: Vec<u8>) -> Vec<u8> {
    let message = CoseSign1Builder::new()
        .protected(protected.build())
        .unprotected(unprotected.build())
        .payload(payload);
    let message = message.create_signature(&[], |covered| KEY.sign(covered).unwrap());
    message.build().to_tagged_vec().unwrap()
}

fn payload(ear: &Ear) -> Vec<u8> {
    let message = CoseSign1::from_tagged_slice(&ear.to_cwt(&KEY).unwrap()).unwrap();
    message.payload.unwrap()
}

fn read(payload: Vec<u8>) -> Result<Ear, EarError> {
    let token = signed(typed(), HeaderBuilder::new(), payload);
    Ear::from_cwt(&token, &KEY.verifying_key(), NOW_S)
}

#[test]
fn other_headers_are_refused_though_they_are_signed() {
    let none = HeaderBuilder::new;
    let other_type = "another type than application/eat+cwt";
    let more = "more than its algorithm and type";
    let es384 = || none().algorithm(iana::Algorithm::ES384);
    let cases = [
        (
            typed().add_critical(iana::HeaderParameter::Alg),
            none(),
            "critical extensions",
        ),
        (headers(), none(), other_type),
        (headers().value(16, "application/cwt".into()), none(), other_type),
        (typed().value(33, 1.into()), none(), other_type),
        (
            es384().value(16, "application/eat+cwt".into()),
            none(),
            "another algorithm than the key's",
        ),
        (typed().key_id(vec![1]), none(), more),
        (typed(), none().key_id(vec![1]), more),
        (
            headers(),
            none().value(16, "application/eat+cwt".into()),
            other_type,
        ),
    ];
    for (protected, unprotected, expected) in cases {
        let token = signed(protected, unprotected, payload(&result(None)));
        let read = Ear::from_cwt(&token, &KEY.verifying_key(), NOW_S);
        assert!(
            matches!(read, Err(EarError::Header(found)) if found == expected),
            "{read:?}"
        );
    }
    assert!(read(payload(&result(None))).is_ok());
}

/// What a hand-written claims-set has in place of a good value.
#[derive(Clone, Copy, Default)]
struct Odd {
    profile: Option<&'static str>,
    appraisal_profile: Option<&'static str>,
    nonce_bytes: Option<usize>,
    status: Option<u64>,
    hardware: Option<i64>,
    policies: Option<usize>,
    reason_key: Option<i64>,
    more_top: bool,
    more_in_result: Option<i64>,
    twice: bool,
    float_iat: bool,
    trailing: bool,
}

fn claims(odd: Odd) -> Vec<u8> {
    let mut out = Encoder::new();
    out.map(if odd.more_top { 7 } else { 6 })
        .u64(4)
        .u64(NOW_S + 60)
        .u64(6);
    if odd.float_iat {
        let so_far = out.finish();
        return [&so_far[..], &[0xF9, 0x00, 0x00]].concat();
    }
    out.u64(NOW_S)
        .u64(10)
        .bytes(&vec![0x42; odd.nonce_bytes.unwrap_or(32)]);
    out.u64(265).text(odd.profile.unwrap_or(EAR_PROFILE));
    out.u64(266).map(if odd.twice { 2 } else { 1 });
    for _ in 0..if odd.twice { 2 } else { 1 } {
        appraisal(out.text("r1"), odd);
    }
    if odd.more_top {
        out.u64(1002).bytes(b"evidence");
    }
    out.u64(1004).map(2).u64(0).text("alcub3").u64(1).text("0.1.0");
    if odd.trailing {
        out.u64(0);
    }
    out.finish()
}

fn appraisal(out: &mut Encoder, odd: Odd) {
    out.map(5 + usize::from(odd.more_in_result.is_some()));
    out.u64(265).text(odd.appraisal_profile.unwrap_or(PROFILE));
    out.u64(1000).u64(odd.status.unwrap_or(2));
    out.u64(1001).map(4).u64(0).i64(2).u64(1).i64(2).u64(2).i64(3);
    out.u64(4)
        .i64(odd.hardware.unwrap_or(2))
        .u64(1003)
        .array(odd.policies.unwrap_or(1));
    for _ in 0..odd.policies.unwrap_or(1) {
        out.text("urn:alcub3:policy:test");
    }
    out.i64(odd.reason_key.unwrap_or(-76_001)).array(0);
    if let Some(key) = odd.more_in_result {
        out.i64(key).u64(1);
    }
}

fn fault(odd: Odd) -> (&'static str, Fault) {
    match read(claims(odd)) {
        Err(EarError::Cwt(error)) => (error.field, error.fault),
        other => panic!("{other:?}"),
    }
}

#[test]
fn claims_of_another_form_are_refused_by_name() {
    let plain = Odd::default();
    assert_eq!(
        read(claims(plain)).unwrap().submods["r1"].status,
        Status::Affirming
    );
    for odd in [
        Odd {
            profile: Some("tag:ietf.org,2026:rats/ear#03"),
            ..plain
        },
        Odd {
            appraisal_profile: Some("urn:alcub3:attest-result:v2"),
            ..plain
        },
    ] {
        assert!(matches!(read(claims(odd)), Err(EarError::Profile(_))));
    }
    let unknown = read(claims(Odd {
        more_in_result: Some(-76_005),
        ..plain
    }));
    assert!(
        matches!(unknown, Err(EarError::UnknownClaim(-76_005))),
        "{unknown:?}"
    );
    let cases = [
        (
            Odd {
                nonce_bytes: Some(31),
                ..plain
            },
            "eat_nonce",
            Fault::Value,
        ),
        (
            Odd {
                status: Some(3),
                ..plain
            },
            "ear_status",
            Fault::Value,
        ),
        (
            Odd {
                hardware: Some(128),
                ..plain
            },
            "hardware",
            Fault::Value,
        ),
        (
            Odd {
                hardware: Some(-129),
                ..plain
            },
            "hardware",
            Fault::Value,
        ),
        (
            Odd {
                policies: Some(0),
                ..plain
            },
            "ear_appraisal_policy_ids",
            Fault::Value,
        ),
        (
            Odd {
                policies: Some(2),
                ..plain
            },
            "ear_appraisal_policy_ids",
            Fault::TooLong,
        ),
        (
            Odd {
                reason_key: Some(-76_002),
                ..plain
            },
            "alcub3.reasons",
            Fault::Missing,
        ),
        (
            Odd {
                more_top: true,
                ..plain
            },
            "ear_verifier_id",
            Fault::UnknownField(1002),
        ),
        (Odd { twice: true, ..plain }, "submods", Fault::Order),
        (
            Odd {
                float_iat: true,
                ..plain
            },
            "iat",
            Fault::Type,
        ),
        (
            Odd {
                trailing: true,
                ..plain
            },
            "end",
            Fault::Trailing(1),
        ),
    ];
    for (odd, field, expected) in cases {
        assert_eq!(fault(odd), (field, expected));
    }
}

#[test]
fn a_status_is_never_better_than_the_worst_part() {
    let mut robot = Robot::new();
    robot.tier = HardwareTier::Virtual;
    let verifier = Verifier::of(&robot);
    let policy = Policy {
        min_tier: HardwareTier::Virtual,
        ..verifier.policy()
    };
    let verdict = appraise(&robot.evidence(), &policy, NOW_MS);
    assert!(verdict.is_trusted() && verdict.findings().is_empty());
    let context = Context {
        robot: &robot.id,
        nonce: &NONCE,
        verifier: VerifierId {
            developer: "alcub3".to_owned(),
            build: "0.1.0".to_owned(),
        },
        policy: "urn:alcub3:policy:test".to_owned(),
        lifetime_s: 60,
    };
    let result = &Ear::of(&verdict, &context).submods["r1"];
    assert_eq!((result.status, result.vector.hardware), (Status::Warning, 32));
}

proptest! {
    #[test]
    fn no_claims_make_a_reader_panic_and_what_is_read_has_one_form(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        noise in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut changed = payload(&fleet());
        for (at, byte) in changes {
            let at = at.index(changed.len());
            changed[at] = byte;
        }
        for bytes in [changed, noise] {
            prop_assert!(Ear::from_cwt(&bytes, &KEY.verifying_key(), NOW_S).is_err());
            if let Ok(ear) = read(bytes.clone()) {
                prop_assert_eq!(payload(&ear), bytes);
            }
        }
    }
}
