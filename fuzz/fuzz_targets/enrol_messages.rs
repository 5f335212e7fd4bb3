//! The messages of an enrolment, of admitting a person's chip, and policy bundles. What the authority signs is tried with a right signature around it.
#![no_main]

use alcub3_command_authority::cose::Unsigned;
use alcub3_crypto::{Secret, Suite};
use alcub3_fleet_protocol::chip::{AdmittedChip, ChipAdmission, ChipChallenge, ChipRequest};
use alcub3_fleet_protocol::commander::CommanderKey;
use alcub3_fleet_protocol::enrolment::{CreationData, EnrolChallenge, EnrolRequest, EnrolResponse};
use alcub3_fleet_protocol::policy_bundle::VerifiedBundle;
use alcub3_fleet_protocol::{HierarchyAuthorisations, VerifiedAnchors, VerifiedEnrolment};
use alcub3_fuzz::{WORLD, signed};
use libfuzzer_sys::fuzz_target;

const SUITE: Suite = Suite::EcdsaP256Sha256;

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = EnrolRequest::from_canonical(data) {
        assert_eq!(request.to_canonical(), data);
    }
    if let Ok(response) = EnrolResponse::from_canonical(data) {
        assert_eq!(response.to_canonical(), data);
    }
    if let Ok(custody) = HierarchyAuthorisations::from_secret(&Secret::from_slice(data)) {
        assert_eq!(custody.to_secret().expose(), data);
    }
    let _ = CreationData::parse(data);
    let bytes = signed(data);
    let key = WORLD.authority.verifying_key();
    let given = Unsigned::new(SUITE, data.to_vec()).to_be_signed();
    if let Ok(challenge) = EnrolChallenge::verify(&bytes, &key) {
        assert_eq!(challenge.unsigned(SUITE).to_be_signed(), given);
    }
    if let Ok(request) = ChipRequest::parse(&bytes) {
        assert_eq!(request.unsigned(SUITE).to_be_signed(), given);
        let _ = ChipRequest::verify(&bytes, &key);
    }
    if let Ok(admission) = ChipAdmission::from_canonical(data) {
        assert_eq!(admission.to_canonical(), data);
    }
    if let Ok(chip) = AdmittedChip::verify(&bytes, &key) {
        assert_eq!(chip.admission().to_canonical(), data);
    }
    if let Ok(commander) = CommanderKey::verify(&bytes, &key) {
        assert_eq!(commander.unsigned(SUITE).to_be_signed(), given);
    }
    let _ = ChipChallenge::verify(&bytes, &key, b"request");
    if let Ok(enrolment) = VerifiedEnrolment::verify(&bytes, &key) {
        assert_eq!(enrolment.record().unsigned(SUITE).to_be_signed(), given);
    }
    let _ = VerifiedBundle::verify(&bytes, &key);
    let _ = VerifiedAnchors::verify(&bytes, &key, &WORLD.robot);
});
