//! Evidence of DICE platforms. An input is evidence, or one certificate: all of a chain is parsed before any of it is proven.
#![no_main]

use alcub3_attestation::dice::{Evidence, Policy, Statement, appraise};
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
    };
    let verdict = appraise(evidence, &policy, NOW_MS);
    assert!(
        verdict.attested().is_none(),
        "a chain held that the key never signed"
    );
    assert_eq!(verdict.findings().len(), 1, "the first failure ends it");
}
