//! Attestation results: tokens as they come, and claims with a right signature around them.
#![no_main]

use alcub3_attestation::ear::Ear;
use alcub3_crypto::Curve;
use alcub3_fuzz::{NOW_MS, WORLD};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let key = WORLD.authority.verifying_key();
    let now_s = NOW_MS / 1_000;
    if let Ok(token) = std::str::from_utf8(data) {
        assert!(
            Ear::verify(token, &key, now_s).is_err(),
            "a token verified that the key never signed"
        );
    }
    let Ok(result) = serde_json::from_slice::<Ear>(data) else {
        return;
    };
    let pkcs8 = WORLD.authority.to_pkcs8();
    let Ok(token) = result.sign(Curve::P256, pkcs8.expose()) else {
        return;
    };
    if let Ok(verified) = Ear::verify(&token, &key, now_s) {
        assert_eq!(verified, result);
        assert!(result.iat <= result.exp, "valid before it was issued");
    }
});
