//! PSA attestation tokens: as they come, and claims with a right signature around them.
#![no_main]

use alcub3_attestation::psa::challenge;
use alcub3_crypto::HashAlg;
use alcub3_fuzz::{PSA_NONCE, PSA_STATE, WORLD, judge_psa, signed};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    assert!(
        judge_psa(data).attested().is_none(),
        "a token verified that the key never signed"
    );
    let verdict = judge_psa(&signed(data));
    assert!(!verdict.is_trusted(), "a robot without a state is trusted");
    if let Some(attested) = verdict.attested() {
        let answered = HashAlg::ALL.into_iter().any(|alg| {
            let expected = challenge(alg, &PSA_NONCE, &WORLD.robot, &alg.digest(&[PSA_STATE]));
            expected.is_some_and(|expected| expected.as_bytes() == attested.claims.nonce.as_bytes())
        });
        assert!(answered, "another challenge was taken for ours");
    }
});
