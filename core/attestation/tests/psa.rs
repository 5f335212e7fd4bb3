//! PSA attestation tokens that other implementations made: which are good, and why the others are not.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_attestation::appraisal::{Reason, Severity};
use alcub3_attestation::ear::{Context, Ear, Judgement, Status, TrustVector, VerifierId};
use alcub3_attestation::evidence::Nonce;
use alcub3_attestation::psa::{
    Accepted, Certification, CertificationLevel, ComponentReference, Endorsement, HashValue, InstanceId,
    LifecycleState, Lifecycles, PlatformReferences, Policy, ReferenceError, References, Verdict, Version,
    appraise, challenge,
};
use alcub3_crypto::{Curve, HashAlg, SigningKey, VerifyingKey};
use alcub3_trust_model::canonical::Encoder;
use alcub3_trust_model::{HardwareTier, RobotId, RobotState};
use coset::TaggedCborSerializable;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

const NOW_MS: u64 = 1_790_000_000_000;
const NONCE: Nonce = Nonce([0x42; 32]);
const CERTIFICATE: &str = "0716053824013-10010";
const APP_SIGNER: [u8; 64] = [0xA2; 64];

struct Vector {
    codes: Vec<String>,
    token: Vec<u8>,
}

struct Vectors {
    p256: VerifyingKey,
    p384: VerifyingKey,
    state: Vec<u8>,
    tokens: BTreeMap<String, Vector>,
    rfc_token: Vec<u8>,
    rfc_key: VerifyingKey,
}

static VECTORS: LazyLock<Vectors> = LazyLock::new(|| {
    let document: serde_json::Value = serde_json::from_str(include_str!("psa_vectors/vectors.json")).unwrap();
    let key = |curve, at: &serde_json::Value| {
        VerifyingKey::from_ec_point(curve, &bytes(&at[0]), &bytes(&at[1])).unwrap()
    };
    let tokens = document["tokens"].as_array().unwrap().iter().map(|token| {
        let codes = serde_json::from_value(token["codes"].clone()).unwrap();
        let name = token["name"].as_str().unwrap().to_owned();
        let token = bytes(&token["token"]);
        (name, Vector { codes, token })
    });
    Vectors {
        p256: key(Curve::P256, &document["keys"]["p256"]),
        p384: key(Curve::P384, &document["keys"]["p384"]),
        state: bytes(&document["state"]),
        tokens: tokens.collect(),
        rfc_token: bytes(&document["rfc9783-sign1"]["token"]),
        rfc_key: key(Curve::P256, &document["rfc9783-sign1"]["key"]),
    }
});

fn bytes(hex: &serde_json::Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn hash(byte: u8, length: usize) -> HashValue {
    HashValue::new(&vec![byte; length]).unwrap()
}

fn reference(kind: &str, signer: HashValue, accepted: Accepted, required: bool) -> ComponentReference {
    ComponentReference {
        kind: Some(kind.to_owned()),
        signer,
        accepted,
        required,
    }
}

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

fn references() -> Vec<ComponentReference> {
    let these = |values: &[HashValue], minimum: Option<&str>| {
        Accepted::Measurements(values.to_vec(), minimum.map(version))
    };
    vec![
        reference("BL", hash(0xA0, 32), these(&[hash(0xB0, 32)], None), true),
        reference(
            "PRoT",
            hash(0xA1, 48),
            these(&[hash(0xB9, 48), hash(0xB1, 48)], Some("2.1")),
            true,
        ),
        reference(
            "PRoT_CONFIG",
            hash(0xA1, 48),
            these(&[hash(0xB2, 32)], None),
            false,
        ),
        reference(
            "App",
            HashValue::new(&APP_SIGNER).unwrap(),
            Accepted::SignedFrom(version("4.0")),
            false,
        ),
    ]
}

/// Everything that a policy borrows.
struct Verifier {
    key: VerifyingKey,
    robot: RobotId,
    implementation: [u8; 32],
    references: References,
    certification: Certification,
}

impl Verifier {
    fn of(key: &VerifyingKey) -> Self {
        let implementation = core::array::from_fn(|at| u8::try_from(at).unwrap());
        let endorsement = |reference: &str, level| Endorsement {
            reference: reference.to_owned(),
            implementation,
            level,
        };
        let endorsements = vec![
            endorsement(CERTIFICATE, CertificationLevel::Two),
            endorsement("0716053824013-10009", CertificationLevel::One),
        ];
        Self {
            key: key.clone(),
            robot: RobotId::new("r1").unwrap(),
            implementation,
            references: References::new(references()).unwrap(),
            certification: Certification::new(Some(CertificationLevel::Two), endorsements).unwrap(),
        }
    }

    fn policy(&self) -> Policy<'_> {
        Policy {
            instance: InstanceId::of_key(&self.key).unwrap(),
            attestation_key: &self.key,
            robot: &self.robot,
            nonce: &NONCE,
            implementation: &self.implementation,
            clients: &[-1],
            lifecycles: Lifecycles::default(),
            references: &self.references,
            certification: &self.certification,
            enrolled_tier: HardwareTier::Firmware,
            min_tier: HardwareTier::Firmware,
            max_state_age_ms: 60_000,
            state: None,
        }
    }
}

fn token(name: &str) -> &'static [u8] {
    &VECTORS.tokens[name].token
}

fn key_of(name: &str) -> &'static VerifyingKey {
    if name.starts_with("es384-nonce") {
        &VECTORS.p384
    } else {
        &VECTORS.p256
    }
}

fn judged(name: &str, change: impl FnOnce(&mut Policy<'_>)) -> Verdict {
    let verifier = Verifier::of(key_of(name));
    let mut policy = verifier.policy();
    change(&mut policy);
    appraise(token(name), &VECTORS.state, &policy, NOW_MS)
}

#[test]
fn every_token_of_other_implementations_is_judged_as_it_was_made() {
    for (name, vector) in &VECTORS.tokens {
        let verdict = judged(name, |_| ());
        assert_eq!(
            verdict.reason_codes(),
            vector.codes,
            "{name}: {:#?}",
            verdict.findings()
        );
        let harmless = ["psa-header-ignored", "psa-claim-unknown"];
        let good = vector.codes.iter().all(|code| harmless.contains(&code.as_str()));
        assert_eq!(verdict.is_trusted(), good, "{name}");
        let unproven = [Reason::PsaChallenge, Reason::PsaInstance, Reason::PsaProfile];
        if unproven.into_iter().any(|reason| verdict.has(reason)) {
            assert!(verdict.attested().is_none(), "{name}");
        }
    }
    assert!(VECTORS.tokens.len() > 100);
}

/// Every reason of a token is given by one of the vectors; those of state, tier and debug have tests of their own.
#[test]
fn every_reason_of_a_token_has_a_vector() {
    let given = |code: &str| {
        VECTORS
            .tokens
            .values()
            .any(|vector| vector.codes.iter().any(|one| one == code))
    };
    let left: Vec<&str> = Reason::ALL
        .iter()
        .map(|reason| reason.code())
        .filter(|code| code.starts_with("psa-") && !given(code))
        .collect();
    assert_eq!(left, ["psa-lifecycle-debug"]);
    let codes: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
    assert_eq!(codes.len(), Reason::ALL.len());
}

#[test]
fn no_changed_byte_of_a_token_is_trusted() {
    for name in ["pycose-es256", "es384-nonce48", "every-claim"] {
        let verifier = Verifier::of(key_of(name));
        let good = token(name);
        for at in 0..good.len() {
            for flip in [0x01, 0x20, 0x80, 0xFF] {
                let mut changed = good.to_vec();
                changed[at] ^= flip;
                let verdict = appraise(&changed, &VECTORS.state, &verifier.policy(), NOW_MS);
                assert!(
                    !verdict.is_trusted() && verdict.attested().is_none(),
                    "{name} {at}"
                );
            }
        }
        let long = [good, &[0; 16 * 1024]].concat();
        let verdict = appraise(&long, &VECTORS.state, &verifier.policy(), NOW_MS);
        let detail = &verdict.findings()[0].detail;
        assert!(
            detail.starts_with(&format!("the token has {} bytes", long.len())),
            "{detail}"
        );
        for length in 0..good.len() {
            assert!(!appraise(&good[..length], &VECTORS.state, &verifier.policy(), NOW_MS).is_trusted());
        }
    }
}

#[test]
fn no_changed_byte_of_the_state_is_trusted() {
    let verifier = Verifier::of(&VECTORS.p256);
    for at in 0..VECTORS.state.len() {
        let mut changed = VECTORS.state.clone();
        changed[at] ^= 0x01;
        let verdict = appraise(token("pycose-es256"), &changed, &verifier.policy(), NOW_MS);
        assert!(
            verdict.has(Reason::PsaChallenge) && verdict.attested().is_none(),
            "{at}"
        );
    }
}

#[test]
fn the_example_of_rfc_9783_holds_but_for_its_challenge() {
    let verifier = Verifier {
        references: References::new(vec![reference(
            "PRoT",
            hash(4, 32),
            Accepted::Measurements(vec![hash(3, 32)], None),
            true,
        )])
        .unwrap(),
        certification: Certification::default(),
        implementation: [0; 32],
        ..Verifier::of(&VECTORS.rfc_key)
    };
    let policy = Policy {
        instance: InstanceId([2; 32]),
        clients: &[i32::MAX],
        ..verifier.policy()
    };
    let verdict = appraise(&VECTORS.rfc_token, &VECTORS.state, &policy, NOW_MS);
    assert_eq!(verdict.reason_codes(), ["psa-challenge"]);
    let mut changed = VECTORS.rfc_token.clone();
    *changed.last_mut().unwrap() ^= 1;
    let verdict = appraise(&changed, &VECTORS.state, &policy, NOW_MS);
    assert_eq!(verdict.reason_codes(), ["psa-signature"]);
}

#[test]
fn what_was_signed_is_told() {
    let verdict = judged("every-claim", |_| ());
    let attested = verdict.attested().unwrap();
    let claims = &attested.claims;
    assert_eq!(claims.client, -1);
    assert_eq!(claims.lifecycle.state, LifecycleState::Secured);
    assert_eq!(claims.boot_seed.as_deref(), Some(&[0, 1, 2, 3, 4, 5, 6, 7][..]));
    assert_eq!(claims.certification.as_deref(), Some(CERTIFICATE));
    assert_eq!(
        claims.verification_service.as_deref(),
        Some("https://verify.example/psa")
    );
    assert_eq!(claims.components.len(), 4);
    assert_eq!(claims.components[0].description.as_deref(), Some("sha-256"));
    assert_eq!(
        attested.state,
        Some(RobotState::from_canonical(&VECTORS.state).unwrap())
    );
    assert_eq!(
        judged("lifecycle-minor", |_| ())
            .attested()
            .unwrap()
            .claims
            .lifecycle
            .minor,
        0xFF
    );
}

#[test]
fn a_challenge_binds_nonce_robot_and_state_in_three_sizes() {
    let robot = RobotId::new("r1").unwrap();
    let mut seen = BTreeSet::new();
    for alg in [HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512] {
        let state = alg.digest(&[b"state"]);
        let good = challenge(alg, &NONCE, &robot, &state).unwrap();
        assert_eq!(good.as_bytes().len(), alg.size());
        let others = [
            challenge(alg, &Nonce([0; 32]), &robot, &state),
            challenge(alg, &NONCE, &RobotId::new("r10").unwrap(), &state),
            challenge(alg, &NONCE, &robot, &alg.digest(&[b"other"])),
        ];
        for digest in others.into_iter().flatten().chain([good]) {
            assert!(seen.insert(digest.to_hex()));
        }
    }
    assert_eq!(seen.len(), 12);
    let sha1 = HashAlg::Sha1.digest(&[]);
    assert!(challenge(HashAlg::Sha1, &NONCE, &robot, &sha1).is_none());
    assert!(challenge(HashAlg::Sha256, &NONCE, &robot, &sha1).is_none());
}

#[test]
fn debug_is_admitted_only_where_the_policy_says_so_and_always_said() {
    let lenient = |policy: &mut Policy<'_>| policy.lifecycles = Lifecycles::SecuredOrNonPsaRotDebug;
    let verdict = judged("lifecycle-debug", lenient);
    assert!(verdict.is_trusted());
    assert_eq!(verdict.reason_codes(), ["psa-lifecycle-debug"]);
    assert_eq!(
        (verdict.status(), verdict.vector().configuration),
        (Status::Warning, 32)
    );
    for name in [
        "lifecycle-unknown",
        "lifecycle-assembly",
        "lifecycle-provisioning",
        "lifecycle-rot-debug",
        "lifecycle-decommissioned",
    ] {
        let verdict = judged(name, lenient);
        assert!(
            verdict.has(Reason::PsaLifecycle) && !verdict.is_trusted(),
            "{name}"
        );
        assert_eq!(verdict.vector().instance_identity, 96);
    }
}

#[test]
fn state_and_tier_are_judged_as_of_a_tpm_robot() {
    let verifier = Verifier::of(&VECTORS.p256);
    let late = appraise(
        token("pycose-es256"),
        &VECTORS.state,
        &verifier.policy(),
        NOW_MS + 60_001,
    );
    assert_eq!(late.reason_codes(), ["state-age"]);
    assert_eq!((late.is_trusted(), late.status()), (true, Status::Warning));
    let verdict = judged("pycose-es256", |policy| {
        policy.enrolled_tier = HardwareTier::Simulator;
    });
    assert_eq!(verdict.reason_codes(), ["simulator", "hardware-tier"]);
    assert_eq!((verdict.is_trusted(), verdict.vector().hardware), (false, 96));
    let verdict = judged("pycose-es256", |policy| {
        policy.enrolled_tier = HardwareTier::Simulator;
        policy.min_tier = HardwareTier::Simulator;
    });
    assert_eq!(
        (verdict.is_trusted(), verdict.status(), verdict.vector().hardware),
        (true, Status::Warning, 32)
    );
}

/// A token over these claims, signed by a software key.
fn signed(key: &SigningKey, claims: Vec<u8>) -> Vec<u8> {
    let header = coset::HeaderBuilder::new().algorithm(coset::iana::Algorithm::ES256);
    let message = coset::CoseSign1Builder::new()
        .protected(header.build())
        .payload(claims);
    let message = message.create_signature(&[], |covered| key.sign(covered).unwrap());
    message.build().to_tagged_vec().unwrap()
}

/// A robot whose PSA root of trust is in software, for states that no vector was made for.
fn answer(robot: &RobotId, state: &[u8]) -> (SigningKey, Vec<u8>) {
    let key = SigningKey::generate(Curve::P256).unwrap();
    let state = HashAlg::Sha256.digest(&[state]);
    let nonce = challenge(HashAlg::Sha256, &NONCE, robot, &state).unwrap();
    let instance = InstanceId::of_key(&key.verifying_key()).unwrap();
    let mut out = Encoder::new();
    out.map(7).u64(10).bytes(nonce.as_bytes());
    out.u64(256).bytes(&[&[1], &instance.0[..]].concat());
    out.u64(265).text(alcub3_attestation::psa::PROFILE);
    out.u64(2394)
        .i64(-1)
        .u64(2395)
        .u64(0x3000)
        .u64(2396)
        .bytes(&[9; 32]);
    out.u64(2399)
        .array(1)
        .map(2)
        .u64(2)
        .bytes(&[3; 32])
        .u64(5)
        .bytes(&[4; 32]);
    let token = signed(&key, out.finish());
    (key, token)
}

fn judged_state(state: &[u8]) -> Verdict {
    let robot = RobotId::new("r1").unwrap();
    let (key, token) = answer(&robot, state);
    let untyped = ComponentReference {
        kind: None,
        ..reference(
            "",
            hash(4, 32),
            Accepted::Measurements(vec![hash(3, 32)], None),
            true,
        )
    };
    let verifier = Verifier {
        implementation: [9; 32],
        references: References::new(vec![untyped]).unwrap(),
        certification: Certification::default(),
        ..Verifier::of(&key.verifying_key())
    };
    appraise(&token, state, &verifier.policy(), NOW_MS)
}

#[test]
fn a_state_that_was_bound_is_still_judged() {
    let good = RobotState::from_canonical(&VECTORS.state).unwrap();
    assert_eq!(judged_state(&VECTORS.state).reason_codes(), [""; 0]);
    let stopped = RobotState {
        stopped: true,
        ..good.clone()
    };
    let verdict = judged_state(&stopped.to_canonical());
    assert_eq!(verdict.reason_codes(), ["stopped"]);
    assert_eq!(
        (verdict.is_trusted(), verdict.vector().configuration),
        (false, 96)
    );
    let other = RobotState {
        robot: RobotId::new("r2").unwrap(),
        ..good
    };
    let verdict = judged_state(&other.to_canonical());
    assert_eq!(verdict.reason_codes(), ["state-robot"]);
    assert_eq!(
        (verdict.is_trusted(), verdict.vector().instance_identity),
        (false, 97)
    );
    let verdict = judged_state(b"\xa0");
    assert_eq!(verdict.reason_codes(), ["state-malformed"]);
    assert!(!verdict.is_trusted() && verdict.attested().unwrap().state.is_none());
}

#[test]
fn certification_is_by_the_named_certificate_or_the_implementation() {
    let strict = |named: &str, minimum| {
        let mut verifier = Verifier::of(&VECTORS.p256);
        let endorsement = Endorsement {
            reference: CERTIFICATE.to_owned(),
            implementation: verifier.implementation,
            level: CertificationLevel::Two,
        };
        verifier.certification = Certification::new(minimum, vec![endorsement]).unwrap();
        appraise(token(named), &VECTORS.state, &verifier.policy(), NOW_MS)
    };
    for (minimum, good) in [
        (None, true),
        (Some(CertificationLevel::One), true),
        (Some(CertificationLevel::Two), true),
        (Some(CertificationLevel::Three), false),
    ] {
        for name in ["pycose-es256", "every-claim"] {
            let verdict = strict(name, minimum);
            assert_eq!(verdict.is_trusted(), good, "{name} {minimum:?}");
            assert_eq!(verdict.has(Reason::PsaCertification), !good);
            assert_eq!(verdict.vector().hardware, if good { 2 } else { 96 });
        }
    }
    let unknown = strict("other-certificate", Some(CertificationLevel::One));
    assert!(unknown.has(Reason::PsaCertification));
}

#[test]
fn versions_are_compared_by_their_numbers() {
    for (less, more) in [
        ("1.9.0", "1.10.0"),
        ("2", "2.0.1"),
        ("1.2.3", "1.2.3+4"),
        ("0", "0.0.1"),
    ] {
        assert!(version(less) < version(more), "{less} {more}");
    }
    assert_eq!(version("2.1"), version("2.1.0"));
    for wrong in [
        "",
        ".",
        "1.",
        "a",
        "1.-2",
        "1..2",
        "4294967296",
        "1.2.3.4.5.6.7.8.9",
        "+1",
    ] {
        assert!(Version::parse(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn references_that_accept_nothing_are_refused() {
    assert_eq!(References::new(Vec::new()), Err(ReferenceError::Empty));
    let nothing = reference("BL", hash(1, 32), Accepted::Measurements(Vec::new(), None), true);
    assert_eq!(
        References::new(vec![references()[0].clone(), nothing]),
        Err(ReferenceError::NoMeasurement(1))
    );
    let endorsement = Endorsement {
        reference: "0716053824013".to_owned(),
        implementation: [0; 32],
        level: CertificationLevel::One,
    };
    assert_eq!(
        Certification::new(None, vec![endorsement]),
        Err(ReferenceError::Certification(0))
    );
    assert!(HashValue::new(&[0; 20]).is_none());
}

const DOCUMENT: &str = r#"{
    "version": 1,
    "implementation": "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    "clients": [-1],
    "lifecycles": "secured",
    "components": [
        {"type": "BL", "signer": "A0", "measurements": ["B0"], "required": true},
        {"type": "App", "signer": "A0", "min-version": "4.0"}
    ],
    "certification": {"minimum": "two", "endorsements": [
        {"reference": "0716053824013-10010", "implementation": "00", "level": "two"}
    ]}
}"#;

/// The document with whole values for the two letters that stand for them.
fn document() -> String {
    let short = [("\"A0\"", "a0"), ("\"B0\"", "b0"), ("\"00\"", "00")];
    short.into_iter().fold(DOCUMENT.to_owned(), |text, (from, byte)| {
        text.replace(from, &format!("\"{}\"", byte.repeat(32)))
    })
}

#[test]
fn references_are_written_and_read_as_a_document_and_a_wrong_one_is_refused() {
    let read = PlatformReferences::from_json(&document()).unwrap();
    assert_eq!(PlatformReferences::from_json(&read.to_json()).unwrap(), read);
    let these = Accepted::Measurements(vec![hash(0xB0, 32)], None);
    let expected = References::new(vec![
        reference("BL", hash(0xA0, 32), these, true),
        reference("App", hash(0xA0, 32), Accepted::SignedFrom(version("4.0")), false),
    ]);
    assert_eq!(Ok(&read.components), expected.as_ref());
    assert_eq!(
        (read.clients.as_slice(), read.lifecycles),
        (&[-1][..], Lifecycles::Secured)
    );
    for (from, to) in [
        ("\"version\": 1", "\"version\": 2"),
        ("\"version\": 1", "\"version\": 1, \"extra\": 1"),
        ("[-1]", "[]"),
        ("\"secured\"", "\"decommissioned\""),
        ("\"min-version\": \"4.0\"", "\"required\": false"),
        ("\"min-version\": \"4.0\"", "\"min-version\": \"four\""),
        ("\"measurements\": [\"B0\"]", "\"measurements\": []"),
        ("\"signer\": \"A0\"", "\"signer\": \"a0a0\""),
        ("\"two\"", "\"four\""),
        ("13-10010", "13"),
        ("101112", "10111"),
    ] {
        assert!(DOCUMENT.contains(from), "{from}");
        let text = document();
        let (from, to) = (whole(from), whole(to));
        assert!(text.contains(&from), "{from}");
        assert!(
            PlatformReferences::from_json(&text.replacen(&from, &to, 1)).is_err(),
            "{to}"
        );
    }
}

fn whole(text: &str) -> String {
    text.replace("\"A0\"", &format!("\"{}\"", "a0".repeat(32)))
        .replace("\"B0\"", &format!("\"{}\"", "b0".repeat(32)))
}

#[test]
fn a_result_of_a_token_is_signed_like_one_of_a_tpm() {
    let verifier = Verifier::of(&VECTORS.p256);
    let signer = SigningKey::generate(Curve::P384).unwrap();
    let context = Context {
        robot: &verifier.robot,
        nonce: &NONCE,
        verifier: VerifierId {
            developer: "alcub3".to_owned(),
            build: "0.1.0".to_owned(),
        },
        policy: "urn:alcub3:policy:test".to_owned(),
        lifetime_s: 60,
    };
    let affirmed = TrustVector {
        instance_identity: 2,
        configuration: 2,
        executables: 3,
        hardware: 2,
    };
    let refused = TrustVector {
        executables: 96,
        ..affirmed
    };
    let unproven = TrustVector {
        instance_identity: 99,
        ..TrustVector::default()
    };
    for (name, status, vector, tier) in [
        (
            "pycose-es256",
            Status::Affirming,
            affirmed,
            Some(HardwareTier::Firmware),
        ),
        (
            "component-measurement",
            Status::Contraindicated,
            refused,
            Some(HardwareTier::Firmware),
        ),
        ("replay", Status::Contraindicated, unproven, None),
        ("other-key", Status::Contraindicated, unproven, None),
    ] {
        let verdict = judged(name, |_| ());
        let ear = Ear::of(&verdict, &context);
        let signed = ear.sign(Curve::P384, signer.to_pkcs8().expose()).unwrap();
        let result = Ear::verify(&signed, &signer.verifying_key(), NOW_MS / 1000).unwrap();
        let result = &result.submods["r1"];
        assert_eq!(
            (result.status, result.vector, result.tier),
            (status, vector, tier),
            "{name}"
        );
        assert_eq!(result.sequence, None);
        let mut codes = VECTORS.tokens[name].codes.clone();
        codes.dedup();
        assert_eq!(result.reasons, codes);
    }
}

#[test]
fn a_finding_names_the_component() {
    let verdict = judged("component-measurement", |_| ());
    let [measured, missing] = verdict.findings() else {
        panic!("{:?}", verdict.findings());
    };
    assert_eq!(measured.component.as_deref(), Some("1 PRoT"));
    assert_eq!(missing.component.as_deref(), Some("PRoT"));
    assert_eq!(measured.severity, Severity::Untrusted);
    let config = judged("component-config", |_| ());
    assert_eq!(config.findings()[0].component.as_deref(), Some("2 PRoT_CONFIG"));
    assert_eq!(
        (config.vector().configuration, config.vector().executables),
        (96, 3)
    );
    let claim = judged("nonce-array", |_| ());
    assert_eq!(claim.findings()[0].component.as_deref(), Some("nonce"));
    assert_eq!(claim.findings()[0].detail, "it is not a byte string");
}

proptest! {
    #[test]
    fn no_claims_make_the_appraisal_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        noise in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        static SIGNER: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(Curve::P256).unwrap());
        let verifier = Verifier::of(&SIGNER.verifying_key());
        let message = coset::CoseSign1::from_tagged_slice(token("every-claim")).unwrap();
        let mut claims = message.payload.unwrap();
        for (at, byte) in changes {
            let at = at.index(claims.len());
            claims[at] = byte;
        }
        for claims in [claims, noise] {
            for bytes in [signed(&SIGNER, claims.clone()), claims] {
                let verdict = appraise(&bytes, &VECTORS.state, &verifier.policy(), NOW_MS);
                // The vector is of another instance's key.
                prop_assert!(!verdict.is_trusted());
            }
        }
    }
}
