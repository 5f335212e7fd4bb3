//! What an authority and a robot say to each other when the robot lost its disk, or when parts of it were replaced.
#![no_main]

use std::sync::LazyLock;

use alcub3_attestation::certify::Signed;
use alcub3_crypto::tpm::{Public, PublicTemplate};
use alcub3_crypto::{Curve, HashAlg, Secret, SigningKey, VerifyingKey};
use alcub3_fleet_protocol::endorsement::EndorsementBasis;
use alcub3_fleet_protocol::replacement::{ReplacementRequest, VerifiedReplacement};
use alcub3_fleet_protocol::restore::{RestoreGrant, RestoreRequest};
use alcub3_fleet_protocol::{EnrolmentRecord, TrustAnchors, VerifiedAnchors};
use alcub3_fuzz::{NOW_MS, SESSION, WORLD, signed};
use alcub3_trust_model::hardware::{HardwareRecord, Inventory};
use alcub3_trust_model::{HardwareTier, Level};
use libfuzzer_sys::fuzz_target;

/// The enrolment of the world's robot, and what it asked for.
static OWN: LazyLock<(VerifiedAnchors, ReplacementRequest)> = LazyLock::new(own);

fn public(key: &VerifyingKey) -> Public {
    let template = PublicTemplate::external(key, HashAlg::Sha256);
    template.to_public().expect("a public area")
}

fn another() -> Public {
    public(&SigningKey::generate(Curve::P256).expect("a key").verifying_key())
}

const fn unsigned() -> Signed {
    Signed {
        message: Vec::new(),
        signature: Vec::new(),
    }
}

fn own() -> (VerifiedAnchors, ReplacementRequest) {
    let (authority, alg) = (&WORLD.authority, HashAlg::Sha256);
    let hardware = HardwareRecord {
        endorsement_key: another().name(),
        endorsement_certificate: alg.digest(&[b"certificate"]),
        inventory: Inventory::new(),
    };
    let record = EnrolmentRecord {
        robot: WORLD.robot.clone(),
        endorsement_key: hardware.endorsement_key,
        endorsement: EndorsementBasis::Certificate(hardware.endorsement_certificate),
        attestation_key: another(),
        identity: another(),
        hardware_binding: alg.digest(&[b"before"]),
        tier: HardwareTier::Simulator,
        ceiling: Level::Cui,
        issued_at_ms: NOW_MS,
        origin: Default::default(),
    };
    let suite = authority.suite();
    let signed_record = record.unsigned(suite).sign(authority).expect("signed");
    let anchors = TrustAnchors {
        authority: authority.verifying_key(),
        mission_by_one: another(),
        mission_by_two: another(),
        rearm: another(),
    };
    let message = anchors.unsigned(SESSION, &signed_record, suite);
    let message = message.sign(authority).expect("signed");
    let enrolled = VerifiedAnchors::verify(&message, &authority.verifying_key(), &WORLD.robot);
    let request = ReplacementRequest {
        session: SESSION,
        robot: WORLD.robot.clone(),
        enrolled: record.hardware_binding,
        measured: vec![hardware.binding(alg)],
        hardware,
        register: unsigned(),
        storage_root: another(),
        certification: unsigned(),
    };
    (enrolled.expect("an enrolment"), request)
}

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = RestoreRequest::from_canonical(data) {
        assert_eq!(request.to_canonical(), data);
    }
    if let Ok(request) = ReplacementRequest::from_canonical(data) {
        assert_eq!(request.to_canonical(), data);
    }
    let key = WORLD.authority.verifying_key();
    let (enrolled, replaced) = &*OWN;
    let asked = RestoreRequest {
        session: SESSION,
        robot: WORLD.robot.clone(),
        storage_root: replaced.storage_root.clone(),
        certification: unsigned(),
    };
    let bytes = signed(data);
    if let Ok(grant) = RestoreGrant::verify(&bytes, &key, &asked) {
        let _ = grant.contents(&key);
        let _ = grant.authorisations(&Secret::from_slice(&[7; 32]));
    }
    // Nobody but the authority signs an enrolment that a grant could hold.
    assert!(VerifiedReplacement::verify(&bytes, &key, enrolled, replaced).is_err());
});
