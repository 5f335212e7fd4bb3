//! TPMT_SIGNATURE: what parses is written and parsed to the same.
#![no_main]

use alcub3_crypto::tpm::{Name, Signature};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(signature) = Signature::from_tpmt_signature(data) {
        let again = Signature::from_tpmt_signature(&signature.to_tpmt()).expect("a written signature parses");
        assert_eq!(again.bytes, signature.bytes);
    }
    if let Ok(name) = Name::from_bytes(data) {
        assert_eq!(name.as_bytes(), data);
    }
});
