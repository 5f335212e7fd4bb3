//! SubjectPublicKeyInfo in DER: a key that parses is written to the same key.
#![no_main]

use alcub3_crypto::VerifyingKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(key) = VerifyingKey::from_spki_der(data) else {
        return;
    };
    let written = key.to_spki_der();
    let again = VerifyingKey::from_spki_der(&written).expect("a written key parses");
    assert_eq!(again.to_spki_der(), written);
});
