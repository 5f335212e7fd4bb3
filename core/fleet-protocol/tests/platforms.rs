//! Records of robots whose root of trust is no TPM, and the messages around their attestation.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use alcub3_attestation::appraisal::StateReferences;
use alcub3_attestation::dice;
use alcub3_attestation::evidence::Nonce;
use alcub3_attestation::psa::{InstanceId, PlatformReferences};
use alcub3_command_authority::cose::{CoseError, Message as Cose, Unsigned};
use alcub3_crypto::{Curve, SigningKey, Suite, VerifyingKey};
use alcub3_fleet_protocol::platform::{
    DiceRoot, PlatformAnswer, PlatformEnrolment, PlatformError, PlatformRequest, PsaRoot, RootEvidence,
    RootKind, RootOfTrust, VerifiedPlatform,
};
use alcub3_trust_model::canonical::Encoder;
use alcub3_trust_model::{BootId, HardwareTier, LeaseId, Level, RobotId, SessionId, domain};

const LAYERS: &str = r#"{"version": 1, "layers": [{"tcg": [{"firmware": [["sha256:0000000000000000000000000000000000000000000000000000000000000000"]]}]}]}"#;
const PSA: &str = r#"{"version": 1, "implementation": "0909090909090909090909090909090909090909090909090909090909090909",
    "clients": [-1, 7], "lifecycles": "secured-or-non-psa-rot-debug",
    "components": [
        {"signer": "0404040404040404040404040404040404040404040404040404040404040404", "min-version": "1.2"},
        {"type": "BL", "signer": "0404040404040404040404040404040404040404040404040404040404040404",
         "measurements": ["0505050505050505050505050505050505050505050505050505050505050505"], "required": true}
    ],
    "certification": {"minimum": "two", "endorsements": [{"reference": "0716053824013-10010", "level": "three",
        "implementation": "0909090909090909090909090909090909090909090909090909090909090909"}]}}"#;

fn key(curve: Curve) -> VerifyingKey {
    SigningKey::generate(curve).unwrap().verifying_key()
}

fn robot() -> RobotId {
    RobotId::new("rover-1").unwrap()
}

fn dice_root() -> RootOfTrust {
    RootOfTrust::Dice(Box::new(DiceRoot {
        device_key: key(Curve::P384),
        roots: vec![key(Curve::P384), key(Curve::P256)],
        references: dice::References::from_json(LAYERS).unwrap(),
    }))
}

fn psa_root() -> RootOfTrust {
    let attestation_key = key(Curve::P256);
    RootOfTrust::Psa(Box::new(PsaRoot {
        instance: InstanceId::of_key(&attestation_key).unwrap(),
        attestation_key,
        references: PlatformReferences::from_json(PSA).unwrap(),
    }))
}

fn record(root: RootOfTrust, tier: HardwareTier) -> Result<PlatformEnrolment, PlatformError> {
    PlatformEnrolment::new(robot(), root, tier, Level::Cui, 7)
}

fn signed(record: &PlatformEnrolment, key: &SigningKey) -> Vec<u8> {
    record.unsigned(key.suite()).sign(key).unwrap()
}

#[test]
fn a_record_counts_whole_from_its_authority_and_for_its_robot() {
    let (authority, stranger) = (SigningKey::generate(Curve::P384).unwrap(), key(Curve::P384));
    for (root, tier) in [
        (dice_root(), HardwareTier::Discrete),
        (psa_root(), HardwareTier::Firmware),
        (RootOfTrust::None, HardwareTier::None),
    ] {
        let record = record(root, tier).unwrap();
        let bytes = signed(&record, &authority);
        let verified = VerifiedPlatform::verify_of(&bytes, &authority.verifying_key(), &robot()).unwrap();
        assert_eq!(verified.record(), &record);
        assert_eq!(verified.as_bytes(), bytes);
        assert!(matches!(
            VerifiedPlatform::verify(&bytes, &stranger),
            Err(PlatformError::Cose(CoseError::BadSignature))
        ));
        let other = RobotId::new("rover-2").unwrap();
        assert!(matches!(
            VerifiedPlatform::verify_of(&bytes, &authority.verifying_key(), &other),
            Err(PlatformError::WrongRobot(_))
        ));
        for at in (0..bytes.len()).step_by(7) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(
                VerifiedPlatform::verify(&changed, &authority.verifying_key()).is_err(),
                "{at}"
            );
        }
    }
}

#[test]
fn a_kind_of_root_of_trust_has_tiers_of_its_own_and_keys_of_a_suite() {
    for (root, good) in [
        (RootOfTrust::None, &[HardwareTier::None][..]),
        (
            dice_root(),
            &[
                HardwareTier::Simulator,
                HardwareTier::Firmware,
                HardwareTier::Discrete,
            ],
        ),
        (
            psa_root(),
            &[
                HardwareTier::Simulator,
                HardwareTier::Firmware,
                HardwareTier::Discrete,
            ],
        ),
    ] {
        for tier in HardwareTier::ALL {
            let made = record(root.clone(), tier);
            assert_eq!(made.is_ok(), good.contains(&tier), "{:?} {tier}", root.kind());
        }
    }
    let RootOfTrust::Dice(mut root) = dice_root() else {
        panic!("it is one of DICE");
    };
    let modulus = [vec![0xff; 255], vec![0x01]].concat();
    root.device_key = VerifyingKey::from_rsa(&modulus, 65_537).unwrap();
    let refused = record(RootOfTrust::Dice(root.clone()), HardwareTier::Firmware);
    assert!(matches!(refused, Err(PlatformError::Key)));
    root.device_key = key(Curve::P256);
    root.roots = vec![key(Curve::P256); 17];
    let refused = record(RootOfTrust::Dice(root.clone()), HardwareTier::Firmware);
    assert!(matches!(refused, Err(PlatformError::Roots(17))));
    root.roots.clear();
    root.references = dice::References::from_json(r#"{"version": 1, "layers": []}"#).unwrap();
    let refused = record(RootOfTrust::Dice(root), HardwareTier::Firmware);
    assert!(matches!(refused, Err(PlatformError::NoLayer)));
}

#[test]
fn a_document_in_a_record_has_one_form() {
    let authority = SigningKey::generate(Curve::P256).unwrap();
    let spki = key(Curve::P256).to_spki_der();
    let record = |layers: &str| {
        let mut out = Encoder::structure(domain::PLATFORM_ENROLMENT, 1, 8);
        out.u64(2).text("rover-1").u64(3).u64(1).u64(4).u64(3);
        out.u64(5).u64(0).u64(6).u64(7).u64(7).bytes(&spki);
        out.u64(8).array(0).u64(9).text(layers);
        let signed = Unsigned::new(Suite::EcdsaP256Sha256, out.finish()).sign(&authority);
        VerifiedPlatform::verify(&signed.unwrap(), &authority.verifying_key())
    };
    let written = dice::References::from_json(LAYERS).unwrap().to_json();
    assert!(record(&written).is_ok());
    for other in [LAYERS, &format!("{written} "), "{}", ""] {
        assert!(record(other).is_err(), "{other}");
    }
}

#[test]
fn messages_have_one_form() {
    for root in RootKind::ALL {
        let request = PlatformRequest {
            session: SessionId::new([1; 16]),
            root,
            nonce: Nonce([2; 32]),
        };
        let bytes = request.to_canonical();
        assert_eq!(PlatformRequest::from_canonical(&bytes).unwrap(), request);
        refused_otherwise(&bytes, |bytes| PlatformRequest::from_canonical(bytes).is_ok());
    }
    for evidence in [
        RootEvidence::None,
        RootEvidence::Dice(vec![1, 2, 3]),
        RootEvidence::Psa {
            token: vec![4],
            state: vec![5, 6],
        },
    ] {
        let answer = PlatformAnswer {
            session: SessionId::new([1; 16]),
            robot: robot(),
            boot: BootId::new([3; 16]),
            lease: LeaseId::new([4; 16]),
            evidence,
        };
        let bytes = answer.to_canonical();
        assert!(PlatformAnswer::is_one(&bytes));
        assert_eq!(PlatformAnswer::from_canonical(&bytes).unwrap(), answer);
        refused_otherwise(&bytes, |bytes| PlatformAnswer::from_canonical(bytes).is_ok());
    }
}

/// Cut, or with a byte behind it.
fn refused_otherwise(bytes: &[u8], reads: impl Fn(&[u8]) -> bool) {
    for end in 0..bytes.len() {
        assert!(!reads(&bytes[..end]), "{end}");
    }
    assert!(!reads(&[bytes, &[0]].concat()));
}

#[test]
fn what_a_state_is_held_to_is_in_the_record_in_one_form() {
    let authority = SigningKey::generate(Curve::P384).unwrap();
    let toml = b"modes = [\"mission\", \"idle\"]\nmax_speed_mm_per_s = 500";
    let json = br#"{"max_speed_mm_per_s": 500, "modes": ["idle", "mission", "idle"]}"#;
    let references = StateReferences::from_bytes(toml).unwrap();
    assert_eq!(StateReferences::from_bytes(json).unwrap(), references);
    let held = |root, tier| record(root, tier).unwrap().holding_state_to(references.clone());
    for (root, tier) in [
        (dice_root(), HardwareTier::Discrete),
        (psa_root(), HardwareTier::Firmware),
    ] {
        let record = held(root, tier).unwrap();
        assert_eq!(record.state(), Some(&references));
        let bytes = signed(&record, &authority);
        let verified = VerifiedPlatform::verify(&bytes, &authority.verifying_key()).unwrap();
        assert_eq!(verified.record(), &record);
        // Another writing of the same: the authority itself signs one only.
        let written = references.to_json();
        let other = written.replace(r#""idle","mission""#, r#""mission","idle""#);
        assert_ne!(other, written);
        let message = Cose::parse(domain::PLATFORM_ENROLMENT, &bytes).unwrap();
        let mut payload = message.payload().to_vec();
        let at = payload
            .windows(written.len())
            .position(|window| window == written.as_bytes())
            .unwrap();
        payload[at..at + written.len()].copy_from_slice(other.as_bytes());
        let bytes = Unsigned::new(authority.suite(), payload)
            .sign(&authority)
            .unwrap();
        assert!(VerifiedPlatform::verify(&bytes, &authority.verifying_key()).is_err());
    }
    assert!(matches!(
        held(RootOfTrust::None, HardwareTier::None),
        Err(PlatformError::NothingProven)
    ));
    let dice = || record(dice_root(), HardwareTier::Discrete).unwrap();
    let empty = StateReferences::from_bytes(b"").unwrap();
    assert!(matches!(
        dice().holding_state_to(empty),
        Err(PlatformError::NoStatePart)
    ));
    let transitions = StateReferences::from_bytes(b"[transitions]\nidle = [\"mission\"]").unwrap();
    assert!(matches!(
        dice().holding_state_to(transitions),
        Err(PlatformError::Transitions)
    ));
}
