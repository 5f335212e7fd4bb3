//! Attestation results, JWT and CWT: tokens as they come, and claims with a right signature around them.
#![no_main]

use alcub3_attestation::ear::Ear;
use alcub3_crypto::Curve;
use alcub3_fuzz::{NOW_MS, WORLD};
use coset::{CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana};
use libfuzzer_sys::fuzz_target;

/// The claims as a result's CWT, signed by the authority.
fn cwt(claims: &[u8]) -> Vec<u8> {
    let header = HeaderBuilder::new()
        .algorithm(iana::Algorithm::ES256)
        .value(16, "application/eat+cwt".into());
    let message = CoseSign1Builder::new()
        .protected(header.build())
        .payload(claims.to_vec());
    let sign = |covered: &[u8]| WORLD.authority.sign(covered).expect("the authority signs");
    let message = message.create_signature(&[], sign).build();
    message.to_tagged_vec().expect("a message has an encoding")
}

/// The claims of a result, as its CWT has them.
fn claims(result: &Ear) -> Vec<u8> {
    let token = result.to_cwt(&WORLD.authority).expect("the authority signs");
    let message = CoseSign1::from_tagged_slice(&token).expect("a CWT is a COSE_Sign1");
    message.payload.expect("its payload is attached")
}

fuzz_target!(|data: &[u8]| {
    let key = WORLD.authority.verifying_key();
    let now_s = NOW_MS / 1_000;
    assert!(
        Ear::from_cwt(data, &key, now_s).is_err(),
        "a CWT verified that the key never signed"
    );
    if let Ok(result) = Ear::from_cwt(&cwt(data), &key, now_s) {
        assert_eq!(claims(&result), data, "the claims have two encodings");
    }
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
        let token = verified.to_cwt(&WORLD.authority).expect("the authority signs");
        if let Ok(again) = Ear::from_cwt(&token, &key, now_s) {
            assert_eq!(again, verified);
        }
    }
});
