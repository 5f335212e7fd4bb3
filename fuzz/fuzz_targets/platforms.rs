//! Robots whose root of trust is no TPM: their messages, records with a right signature, answers judged by such a record, and PSA
//! references in JSON. What is accepted has one encoding, and no answer that the fuzzer makes is trusted.
#![no_main]

use alcub3_attestation::evidence::Nonce;
use alcub3_attestation::psa::PlatformReferences;
use alcub3_command_authority::cose::Unsigned;
use alcub3_crypto::Suite;
use alcub3_fleet_protocol::platform::{
    Expected, PlatformAnswer, PlatformRequest, RootEvidence, VerifiedPlatform,
};
use alcub3_fuzz::{NOW_MS, WORLD, signed};
use alcub3_trust_model::HardwareTier;
use libfuzzer_sys::fuzz_target;

const SUITE: Suite = Suite::EcdsaP256Sha256;

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = PlatformRequest::from_canonical(data) {
        assert_eq!(request.to_canonical(), data);
    }
    if let Ok(answer) = PlatformAnswer::from_canonical(data) {
        assert!(PlatformAnswer::is_one(data));
        assert_eq!(answer.to_canonical(), data);
    }
    if let Ok(verified) = VerifiedPlatform::verify(&signed(data), &WORLD.authority.verifying_key()) {
        let given = Unsigned::new(SUITE, data.to_vec()).to_be_signed();
        assert_eq!(verified.record().unsigned(SUITE).to_be_signed(), given);
        judge(&verified, data);
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(references) = PlatformReferences::from_json(text) {
        let again = PlatformReferences::from_json(&references.to_json()).expect("written references parse");
        assert_eq!(again, references);
    }
});

/// Nothing that no device signed is trusted, by whatever record.
fn judge(verified: &VerifiedPlatform, data: &[u8]) {
    let expected = Expected {
        nonce: &Nonce([7; 32]),
        min_tier: HardwareTier::None,
        last_sequence: None,
        max_state_age_ms: 60_000,
    };
    let record = verified.record();
    for evidence in [
        RootEvidence::None,
        RootEvidence::Dice(data.to_vec()),
        RootEvidence::Psa {
            token: data.to_vec(),
            state: data.to_vec(),
        },
    ] {
        match record.appraise(&evidence, &expected, NOW_MS) {
            Ok(verdict) => assert!(!verdict.judgement().is_trusted()),
            Err(other) => assert_ne!(other.enrolled, other.sent),
        }
    }
}
