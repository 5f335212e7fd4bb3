//! An attestation result: a JWT that others check offline.

use crate::campaign::random::Random;
use crate::campaign::{Change, Judgement, Kind, Parts, twins};
use crate::software_robot::{NONCE, NOW_MS, Robot, Verifier};
use alcub3_attestation::appraisal::appraise;
use alcub3_attestation::ear::{Context, Ear, EarError, VerifierId};
use alcub3_attestation::evidence::Nonce;
use alcub3_crypto::{Curve, SigningKey, VerifyingKey};
use alcub3_trust_model::RobotId;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};

const NOW_S: u64 = NOW_MS / 1000;

fn sign(robot: &RobotId, evidence: &Robot, nonce: &Nonce, key: &SigningKey) -> Vec<u8> {
    let verdict = appraise(&evidence.evidence(), &Verifier::of(evidence).policy(), NOW_MS);
    let context = Context {
        robot,
        nonce,
        verifier: VerifierId {
            developer: "alcub3".to_owned(),
            build: "0.1.0".to_owned(),
        },
        policy: "urn:alcub3:policy:test".to_owned(),
        lifetime_s: 60,
    };
    let token = Ear::of(&verdict, &context).sign(Curve::P256, key.to_pkcs8().expose());
    token.unwrap().into_bytes()
}

fn judge(token: &[u8], key: &VerifyingKey, now_s: u64) -> Judgement {
    let Ok(text) = core::str::from_utf8(token) else {
        return Judgement::Refused("not text".to_owned());
    };
    match Ear::verify(text, key, now_s) {
        Ok(ear) => Judgement::Accepted(format!("{ear:?}")),
        Err(EarError::Jwt(source)) => {
            let debug = format!("jwt {:?}", source.kind());
            Judgement::Refused(debug.split('(').next().unwrap_or_default().to_owned())
        }
        Err(other) => {
            let debug = format!("{other:?}");
            let name = debug.split(|c: char| !c.is_alphanumeric()).next();
            Judgement::Refused(name.unwrap_or_default().to_owned())
        }
    }
}

pub fn token() -> Kind {
    let (robot, key) = (Robot::new(), SigningKey::generate(Curve::P256).unwrap());
    let strangers_key = SigningKey::generate(Curve::P256).unwrap();
    let another_key = SigningKey::generate(Curve::P256).unwrap();
    let genuine = sign(&robot.id, &robot, &NONCE, &key);
    let mut bad = robot.clone();
    bad.nonce = Nonce([0; 32]);
    let donors = [
        sign(&robot.id, &bad, &NONCE, &key),
        sign(&RobotId::new("r2").unwrap(), &robot, &NONCE, &key),
        sign(&robot.id, &robot, &Nonce([0x43; 32]), &key),
        sign(&robot.id, &robot, &NONCE, &strangers_key),
    ];
    let public = key.verifying_key();
    let others: [(&str, VerifyingKey, u64); 5] = [
        ("another verifier's key", another_key.verifying_key(), NOW_S),
        (
            "a P-384 key",
            SigningKey::generate(Curve::P384).unwrap().verifying_key(),
            NOW_S,
        ),
        ("a second too early", public.clone(), NOW_S - 1),
        ("a second too late", public.clone(), NOW_S + 60),
        ("a day later", public.clone(), NOW_S + 86_400),
    ];
    let (changing, comparing) = (genuine.clone(), genuine.clone());
    Kind {
        name: "result",
        part_names: vec!["token"],
        genuine: vec![genuine],
        others: others.iter().map(|(what, ..)| (*what).to_owned()).collect(),
        fields: Box::new(move |random| field(&changing, &donors, random)),
        judge: Box::new(move |parts, verifier| match verifier.checked_sub(1) {
            None => judge(&parts[0], &public, NOW_S),
            Some(other) => judge(&parts[0], &others[other].1, others[other].2),
        }),
        same_meaning: Box::new(move |parts| same_meaning(&comparing, parts)),
    }
}

fn pieces(token: &[u8]) -> Option<[Vec<u8>; 3]> {
    let pieces: Vec<Vec<u8>> = token.split(|byte| *byte == b'.').map(<[u8]>::to_vec).collect();
    pieces.try_into().ok()
}

/// Claims, header or signature changed, and nothing signed anew.
fn field(genuine: &[u8], donors: &[Vec<u8>], random: &mut Random) -> Change {
    let mut token = pieces(genuine)?;
    let what = match random.below(5) {
        0 => {
            // A whole result of this verifier is genuine of what it says; parts of two are not.
            let (at, part) = (random.below(donors.len()), random.below(3));
            token[part] = pieces(&donors[at])?[part].clone();
            format!("part {part} of donor {at}")
        }
        1 => {
            let mut header: Value = serde_json::from_slice(&BASE64.decode(&token[0]).ok()?).ok()?;
            let what = change_header(&mut header, random);
            token[0] = BASE64.encode(header.to_string()).into_bytes();
            if random.below(4) == 0 {
                token[2].clear();
            }
            format!("{what}, {} of signature", token[2].len())
        }
        2 => {
            let signature = twins::twin(&BASE64.decode(&token[2]).ok()?);
            token[2] = BASE64.encode(signature).into_bytes();
            "the signature's twin".to_owned()
        }
        _ => {
            let mut claims: Value = serde_json::from_slice(&BASE64.decode(&token[1]).ok()?).ok()?;
            let what = change_claims(&mut claims, random)?;
            token[1] = BASE64.encode(claims.to_string()).into_bytes();
            what
        }
    };
    Some((what, vec![token.join(&b'.')]))
}

fn change_header(header: &mut Value, random: &mut Random) -> String {
    match random.below(4) {
        0 => header["alg"] = (*random.pick(&["none", "HS256", "ES384", "RS256", "PS256", "EdDSA"])).into(),
        1 => header["typ"] = (*random.pick(&["JWT", "at+jwt", "eat+cwt"])).into(),
        2 => header["crit"] = json!(["b64"]),
        _ => header["kid"] = random.next().into(),
    }
    header.to_string()
}

fn change_claims(claims: &mut Value, random: &mut Random) -> Option<String> {
    match random.below(6) {
        0 => {
            let time = *random.pick(&["iat", "exp"]);
            claims[time] = random.near(claims[time].as_u64()?).into();
        }
        1 => {
            let nonce: String = random
                .bytes(32)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            claims["eat_nonce"] = nonce.into();
        }
        2 => {
            let result = claims["submods"].as_object_mut()?.remove("r1")?;
            claims["submods"] = json!({ format!("r{}", random.next() % 100_000): result });
        }
        3 => {
            claims["submods"]["r1"]["alcub3.sequence"] = (random.next() >> 1).into();
        }
        4 => {
            let part = *random.pick(&["instance-identity", "configuration", "executables", "hardware"]);
            let value = i8::try_from(random.below(128)).unwrap();
            claims["submods"]["r1"]["ear.trustworthiness-vector"][part] = value.into();
        }
        _ => {
            let status = *random.pick(&["none", "warning", "contraindicated"]);
            claims["submods"]["r1"]["ear.status"] = status.into();
        }
    }
    Some(claims.to_string())
}

fn same_meaning(genuine: &[u8], parts: &Parts) -> Option<&'static str> {
    let (genuine, changed) = (pieces(genuine)?, pieces(&parts[0])?);
    let signature = |token: &[Vec<u8>; 3]| BASE64.decode(&token[2]).ok();
    let twin = twins::twin(&signature(&genuine)?) == signature(&changed)?;
    (genuine[..2] == changed[..2] && twin).then_some(twins::CLASS)
}
