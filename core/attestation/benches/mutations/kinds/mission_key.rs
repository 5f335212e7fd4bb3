//! A mission key that an attestation key certified, with its public area.

use super::receipts::change_signed;
use crate::campaign::random::Random;
use crate::campaign::{Change, Judgement, Kind, Parts, twins};
use crate::software_robot::{BANK, Robot};
use alcub3_attestation::certify::Signed;
use alcub3_attestation::mission_key::{MissionKeyError, accept};
use alcub3_crypto::tpm::policy::{Assertion, Policy};
use alcub3_crypto::tpm::{Name, Public, PublicTemplate, attribute};
use alcub3_crypto::{Curve, SigningKey, VerifyingKey};

const BOUND: u32 = attribute::FIXED_TPM | attribute::FIXED_PARENT | attribute::SENSITIVE_DATA_ORIGIN;
const EXTRA: [u8; 32] = [0x17; 32];

fn policy(code: u32) -> Policy {
    Policy::new(BANK, vec![Assertion::CommandCode(code)]).unwrap()
}

/// The TPM2B_PUBLIC of a new key with these attributes and this policy.
fn public(attributes: u32, policy: &Policy) -> Vec<u8> {
    let template = PublicTemplate::signing_key(Curve::P256, attributes, Some(&policy.digest()));
    let mut area = template.into_tpmt_bytes();
    area.truncate(area.len() - 4);
    let key = SigningKey::generate(Curve::P256).unwrap().verifying_key();
    let (_, x, y) = key.ec_point().unwrap();
    for coordinate in [x, y] {
        area.extend([0, 32]);
        area.extend(coordinate);
    }
    Public::from_tpmt(&area).unwrap().to_tpm2b()
}

/// Message, signature and public area of a key that a robot's attestation key certified.
fn certified_key(robot: &Robot, extra: &[u8], public: Vec<u8>) -> Parts {
    let name = Public::from_tpm2b(&public).unwrap().name();
    let sized = |name: &Name| [&[0, 34], name.as_bytes()].concat();
    let qualified = Name::of_public(BANK, b"its parents");
    let message = robot.attest(0x8017, extra, &[sized(&name), sized(&qualified)].concat());
    let signature = robot.sign(&message);
    vec![message, signature, public]
}

struct Setting {
    what: String,
    key: VerifyingKey,
    extra: [u8; 32],
    policy: Policy,
}

impl Setting {
    fn judge(&self, parts: &Parts) -> Judgement {
        let signed = Signed {
            message: parts[0].clone(),
            signature: parts[1].clone(),
        };
        match accept(&self.key, &signed, &self.extra, &parts[2], &self.policy) {
            Ok(key) => {
                Judgement::Accepted(format!("{:02x?} {:02x?}", parts[0], key.public().as_tpmt_bytes()))
            }
            Err(error) => Judgement::Refused(code(&error)),
        }
    }
}

fn code(error: &MissionKeyError) -> String {
    let debug = match error {
        MissionKeyError::Certification(source) => format!("certification {source:?}"),
        other => format!("{other:?}"),
    };
    debug
        .split(['(', '{'])
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

pub fn certified() -> Kind {
    let (robot, ours) = (Robot::new(), policy(0x015d));
    let sign = BOUND | attribute::SIGN;
    let genuine = certified_key(&robot, &EXTRA, public(sign, &ours));
    let donors = vec![
        certified_key(&robot, &[0x18; 32], public(sign, &ours)),
        certified_key(&Robot::new(), &EXTRA, public(sign, &ours)),
        certified_key(&robot, &EXTRA, public(sign, &policy(0x0155))),
        certified_key(&robot, &EXTRA, public(sign | attribute::USER_WITH_AUTH, &ours)),
        certified_key(&robot, &EXTRA, public(sign | attribute::RESTRICTED, &ours)),
        certified_key(
            &robot,
            &EXTRA,
            public(attribute::SIGN | attribute::SENSITIVE_DATA_ORIGIN, &ours),
        ),
    ];
    let setting = |what: &str, key: &VerifyingKey, extra, code| Setting {
        what: what.to_owned(),
        key: key.clone(),
        extra,
        policy: policy(code),
    };
    let key = robot.verifying_key();
    let mut settings = vec![
        setting("the genuine verifier", &key, EXTRA, 0x015d),
        setting(
            "another robot's key",
            &Robot::new().verifying_key(),
            EXTRA,
            0x015d,
        ),
        setting("another policy", &key, EXTRA, 0x0155),
    ];
    for bit in 0..256 {
        let mut extra = EXTRA;
        extra[bit / 8] ^= 1 << (bit % 8);
        settings.push(setting(
            &format!("a mission with bit {bit} flipped"),
            &key,
            extra,
            0x015d,
        ));
    }
    let (changing, comparing) = (genuine.clone(), genuine.clone());
    Kind {
        name: "mission-key",
        part_names: vec!["certification", "signature", "public area"],
        genuine,
        others: settings
            .iter()
            .skip(1)
            .map(|setting| setting.what.clone())
            .collect(),
        fields: Box::new(move |random| field(&changing, &donors, random)),
        judge: Box::new(move |parts, verifier| settings[verifier].judge(parts)),
        same_meaning: Box::new(move |parts| {
            let rest = parts[0] == comparing[0] && parts[2] == comparing[2];
            (rest && twins::same(&comparing[1], &parts[1])).then_some(twins::CLASS)
        }),
    }
}

fn field(genuine: &Parts, donors: &[Parts], random: &mut Random) -> Change {
    let mut parts = genuine.clone();
    let what = match random.below(4) {
        0 => {
            let (at, mask) = (random.below(donors.len()), random.next() % 8);
            for part in (0..3).filter(|part| mask >> part & 1 == 1) {
                parts[part].clone_from(&donors[at][part]);
            }
            format!("parts {mask:#x} of donor {at}")
        }
        1 => {
            let mut signed = Signed {
                message: parts[0].clone(),
                signature: parts[1].clone(),
            };
            let what = change_signed(&mut signed, random)?;
            (parts[0], parts[1]) = (signed.message, signed.signature);
            what
        }
        2 => {
            // Size, type and nameAlg stand before the attributes.
            let bits = u32::from_be_bytes(random.array()) & attribute::DEFINED;
            parts[2][6..10].copy_from_slice(&bits.to_be_bytes());
            format!("attributes {bits:#010x}")
        }
        _ => {
            let digest = random.array::<32>();
            let at = *random.pick(&[12, genuine[2].len() - 32, genuine[2].len() - 66]);
            parts[2][at..at + 32].copy_from_slice(&digest);
            format!("policy or coordinate at {at} {digest:02x?}")
        }
    };
    Some((what, parts))
}
