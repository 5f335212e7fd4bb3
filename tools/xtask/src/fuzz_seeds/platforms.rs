//! Seeds of robots whose root of trust is no TPM: records, messages, and references in JSON.

use alcub3_attestation::dice;
use alcub3_attestation::evidence::Nonce;
use alcub3_attestation::psa::{InstanceId, PlatformReferences};
use alcub3_crypto::{Curve, SigningKey};
use alcub3_fleet_protocol::platform::{
    DiceRoot, PlatformAnswer, PlatformEnrolment, PlatformRequest, PsaRoot, RootEvidence, RootKind,
    RootOfTrust,
};
use alcub3_trust_model::{BootId, HardwareTier, LeaseId, Level, RobotId};

use super::authority::payload;
use super::fleet::{P256, SESSION};
use super::{Seed, SeedResult, seed};

const LAYERS: &str = r#"{"version": 1, "layers": [
    {"tcg": [{"vendor": "Rover Works", "type": "415050", "min-svn": 5, "may-omit-mode": true,
        "firmware": [["sha256:0000000000000000000000000000000000000000000000000000000000000000"]]}]},
    {"open-profile": {"code": [], "configurations": [], "authorities": [], "profile": "rover.1"}}
]}"#;
const PSA: &str = r#"{"version": 1, "clients": [-1], "lifecycles": "secured",
    "implementation": "0909090909090909090909090909090909090909090909090909090909090909",
    "components": [
        {"type": "PRoT", "signer": "0404040404040404040404040404040404040404040404040404040404040404",
         "measurements": ["0303030303030303030303030303030303030303030303030303030303030303"], "required": true},
        {"signer": "0404040404040404040404040404040404040404040404040404040404040404", "min-version": "1.2+3"}
    ],
    "certification": {"minimum": "two", "endorsements": [{"reference": "0716053824013-10010", "level": "two",
        "implementation": "0909090909090909090909090909090909090909090909090909090909090909"}]}}"#;

pub(super) fn seeds() -> SeedResult<Vec<Seed>> {
    let mut seeds = vec![seed("platforms", "references", PSA.as_bytes().to_vec())];
    for kind in RootKind::ALL {
        let request = PlatformRequest {
            session: SESSION,
            root: kind,
            nonce: Nonce([7; 32]),
        };
        let answer = PlatformAnswer {
            session: SESSION,
            robot: RobotId::new("robot-17")?,
            boot: BootId::new([3; 16]),
            lease: LeaseId::new([5; 16]),
            evidence: evidence(kind),
        };
        seeds.push(seed(
            "platforms",
            format!("request-{kind}"),
            request.to_canonical(),
        ));
        seeds.push(seed("platforms", format!("answer-{kind}"), answer.to_canonical()));
        seeds.push(seed("platforms", format!("record-{kind}"), record(kind)?));
    }
    Ok(seeds)
}

fn evidence(kind: RootKind) -> RootEvidence {
    match kind {
        RootKind::None => RootEvidence::None,
        RootKind::Dice => RootEvidence::Dice(vec![1; 40]),
        RootKind::Psa => RootEvidence::Psa {
            token: vec![2; 40],
            state: vec![3; 40],
        },
    }
}

fn record(kind: RootKind) -> SeedResult<Vec<u8>> {
    let authority = SigningKey::generate(Curve::P256)?;
    let key = SigningKey::generate(Curve::P384)?.verifying_key();
    let (root, tier) = match kind {
        RootKind::None => (RootOfTrust::None, HardwareTier::None),
        RootKind::Dice => {
            let root = DiceRoot {
                device_key: key,
                roots: vec![authority.verifying_key()],
                references: dice::References::from_json(LAYERS)?,
            };
            (RootOfTrust::Dice(Box::new(root)), HardwareTier::Discrete)
        }
        RootKind::Psa => {
            let root = PsaRoot {
                instance: InstanceId::of_key(&key).ok_or("the key is on a curve")?,
                attestation_key: key,
                references: PlatformReferences::from_json(PSA)?,
            };
            (RootOfTrust::Psa(Box::new(root)), HardwareTier::Firmware)
        }
    };
    let record = PlatformEnrolment::new(RobotId::new("robot-17")?, root, tier, Level::Cui, 7)?;
    payload(&record.unsigned(P256).sign(&authority)?)
}
