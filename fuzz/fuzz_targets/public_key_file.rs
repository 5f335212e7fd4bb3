//! Public key files: TPM2B_PUBLIC, TPMT_PUBLIC, PEM.
#![no_main]

use alcub3_attestation::checkquote::public_key;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = public_key(data);
});
