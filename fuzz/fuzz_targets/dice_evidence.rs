//! Evidence of DICE platforms, and references of their layers in JSON. An input is evidence, or one certificate (all of a chain
//! is parsed before any of it is proven), or references.
#![no_main]

use alcub3_attestation::dice::{Evidence, Policy, References, Statement, appraise};
use alcub3_attestation::evidence::Nonce;
use alcub3_fuzz::{NOW_MS, WORLD};
use alcub3_trust_model::HardwareTier;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(evidence) = Evidence::from_canonical(data) {
        assert_eq!(evidence.to_canonical(), data);
        if let Ok(statement) = Statement::from_canonical(evidence.statement) {
            assert_eq!(statement.to_canonical(), evidence.statement);
        }
    }
    judge(data);
    // The same bytes as a certificate, so that its parser is reached without the frame around it.
    let alone = Evidence {
        chain: vec![data],
        statement: &[],
        signature: &[],
        state: &[],
    };
    judge(&alone.to_canonical());
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(references) = References::from_json(text) {
        let again = References::from_json(&references.to_json()).expect("written references parse");
        assert_eq!(again, references);
    }
});

fn judge(evidence: &[u8]) {
    let key = WORLD.authority.verifying_key();
    let policy = Policy {
        device_key: &key,
        roots: &[],
        robot: &WORLD.robot,
        nonce: &Nonce([0; 32]),
        layers: &[],
        enrolled_tier: HardwareTier::Firmware,
        min_tier: HardwareTier::Firmware,
        last_sequence: None,
        max_state_age_ms: 60_000,
        state: None,
    };
    let verdict = appraise(evidence, &policy, NOW_MS);
    assert!(
        verdict.attested().is_none(),
        "a chain held that the key never signed"
    );
    assert_eq!(verdict.findings().len(), 1, "the first failure ends it");
}
