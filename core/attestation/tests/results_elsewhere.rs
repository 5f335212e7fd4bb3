//! Results that other implementations verify and find to be what draft-ietf-rats-ear-04 asks: jwcrypto for JWTs, cwt for
//! CWTs, both from PyPI. Without `scripts/validators.sh` these tests say that they skip.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod software_robot;

use alcub3_attestation::appraisal::{Policy, Verdict, appraise};
use alcub3_attestation::ear::{Context, Ear, VerifierId};
use alcub3_crypto::{Curve, SigningKey};
use alcub3_trust_model::HardwareTier;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use software_robot::{NONCE, NOW_MS, Robot, Verifier};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What an implementation said: its exit code, and the claims where that is 0.
struct Answer {
    code: Option<i32>,
    claims: Value,
    stderr: String,
}

/// A script, and the Python that has the libraries for it.
struct Elsewhere {
    python: PathBuf,
    script: PathBuf,
}

impl Elsewhere {
    fn find(script: &str) -> Option<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = here.join("../../target/validators/bin/python");
        if !here.join("../../target/validators/requirements.txt").is_file() {
            println!("skipped: there is no target/validators (scripts/validators.sh)");
            return None;
        }
        Some(Self {
            python,
            script: here.join("tests/results_elsewhere").join(script),
        })
    }

    fn jwcrypto() -> Option<Self> {
        Self::find("jwt.py")
    }

    fn cwt() -> Option<Self> {
        Self::find("cwt_result.py")
    }

    fn ask(&self, request: &Value) -> Answer {
        let mut child = Command::new(&self.python)
            .arg("-B")
            .arg(&self.script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let request = serde_json::to_vec(request).unwrap();
        child.stdin.take().unwrap().write_all(&request).unwrap();
        let output = child.wait_with_output().unwrap();
        Answer {
            code: output.status.code(),
            claims: serde_json::from_slice(&output.stdout).unwrap_or_default(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

const fn algorithm(curve: Curve) -> &'static str {
    match curve {
        Curve::P256 => "ES256",
        Curve::P384 => "ES384",
    }
}

fn jwt_request(token: &str, curve: Curve, key: &SigningKey) -> Value {
    let key = key.verifying_key();
    let (_, x, y) = key.ec_point().unwrap();
    let crv = if curve == Curve::P256 { "P-256" } else { "P-384" };
    let text = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
    let jwk = json!({"kty": "EC", "crv": crv, "x": text(x), "y": text(y)});
    json!({"token": token, "alg": algorithm(curve), "key": jwk})
}

fn cwt_request(token: &[u8], curve: Curve, key: &SigningKey) -> Value {
    let key = key.verifying_key();
    let (_, x, y) = key.ec_point().unwrap();
    json!({"token": hex(token), "alg": algorithm(curve), "x": hex(x), "y": hex(y)})
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn result(robot: &Robot, verdict: &Verdict) -> Ear {
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
    Ear::of(verdict, &context)
}

/// Results of every status: affirmed; with reservations; a robot that is refused, and one of which nothing is proven.
fn results() -> Vec<Ear> {
    let mut robot = Robot::new();
    let verifier = Verifier::of(&robot);
    let good = appraise(&robot.evidence(), &verifier.policy(), NOW_MS);
    let nothing = appraise(b"", &verifier.policy(), NOW_MS);
    robot.tier = HardwareTier::Simulator;
    let refused = appraise(&robot.evidence(), &verifier.policy(), NOW_MS);
    let lenient = Policy {
        min_tier: HardwareTier::Simulator,
        ..verifier.policy()
    };
    let reserved = appraise(&robot.evidence(), &lenient, NOW_MS);
    [good, nothing, refused, reserved]
        .iter()
        .map(|verdict| result(&robot, verdict))
        .collect()
}

#[test]
fn jwts_are_validated_by_jwcrypto_and_changed_ones_are_not() {
    let Some(elsewhere) = Elsewhere::jwcrypto() else {
        return;
    };
    for curve in [Curve::P256, Curve::P384] {
        let key = SigningKey::generate(curve).unwrap();
        let mut last = String::new();
        for ear in results() {
            let token = ear.sign(curve, key.to_pkcs8().expose()).unwrap();
            let answer = elsewhere.ask(&jwt_request(&token, curve, &key));
            assert_eq!(answer.code, Some(0), "{}", answer.stderr);
            assert_eq!(answer.claims, serde_json::to_value(&ear).unwrap());
            last = token;
        }
        let other = SigningKey::generate(curve).unwrap();
        assert_eq!(elsewhere.ask(&jwt_request(&last, curve, &other)).code, Some(1));
        let at = last.find('.').unwrap() + 20;
        let with = if last.as_bytes()[at] == b'A' { "B" } else { "A" };
        let mut changed = last.clone();
        changed.replace_range(at..=at, with);
        assert_eq!(elsewhere.ask(&jwt_request(&changed, curve, &key)).code, Some(1));
    }
}

/// What a CWT's claims are in the words of a JWT.
fn in_words(ear: &Ear) -> Value {
    let mut claims = serde_json::to_value(ear).unwrap();
    claims["eat_nonce"] = hex(&ear.eat_nonce.0).into();
    for (name, result) in &ear.submods {
        if let Some(tier) = result.tier {
            claims["submods"][name]["alcub3.hardware-tier"] = tier.id().into();
        }
    }
    claims
}

#[test]
fn cwts_are_validated_by_cwt_and_changed_ones_are_not() {
    let Some(elsewhere) = Elsewhere::cwt() else {
        return;
    };
    for curve in [Curve::P256, Curve::P384] {
        let key = SigningKey::generate(curve).unwrap();
        let mut last = Vec::new();
        for ear in results() {
            let token = ear.to_cwt(&key).unwrap();
            let answer = elsewhere.ask(&cwt_request(&token, curve, &key));
            assert_eq!(answer.code, Some(0), "{}", answer.stderr);
            assert_eq!(answer.claims, in_words(&ear));
            last = token;
        }
        let other = SigningKey::generate(curve).unwrap();
        assert_eq!(elsewhere.ask(&cwt_request(&last, curve, &other)).code, Some(1));
        let middle = last.len() / 2;
        last[middle] ^= 1;
        assert_eq!(elsewhere.ask(&cwt_request(&last, curve, &key)).code, Some(1));
    }
}

/// The checks of the scripts find what the draft forbids: a result with one claim changed, signed anew, is found out.
#[test]
fn the_checks_of_the_claims_find_what_is_wrong() {
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    let Some(elsewhere) = Elsewhere::jwcrypto() else {
        return;
    };
    let key = SigningKey::generate(Curve::P256).unwrap();
    let good = serde_json::to_value(&results()[0]).unwrap();
    let wrong: [(&str, Value); 7] = [
        ("/eat_profile", "urn:other".into()),
        ("/iat", 1.5.into()),
        ("/eat_nonce", "AAAA".into()),
        ("/ear_verifier_id", json!({"developer": "alcub3"})),
        ("/submods/r1/ear_status", "good".into()),
        ("/submods/r1/ear_trustworthiness_vector/hardware", 32.into()),
        ("/submods/r1/ear_appraisal_policy_ids", json!([])),
    ];
    for (place, value) in wrong {
        let mut claims = good.clone();
        *claims.pointer_mut(place).unwrap() = value;
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("eat+jwt".to_owned());
        let signer = EncodingKey::from_ec_der(key.to_pkcs8().expose());
        let token = jsonwebtoken::encode(&header, &claims, &signer).unwrap();
        let answer = elsewhere.ask(&jwt_request(&token, Curve::P256, &key));
        assert_eq!(answer.code, Some(2), "{place}: {}", answer.stderr);
    }
}
