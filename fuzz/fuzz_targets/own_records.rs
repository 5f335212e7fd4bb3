//! The records that only the keys read, a robot's and a commander's: what is accepted has one encoding.
#![no_main]

use alcub3_keys::HeldCommandKey;
use alcub3_keys::own_records::reencoded;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(bytes) = reencoded(data) {
        assert_eq!(bytes, data);
    }
    if let Ok(held) = HeldCommandKey::from_canonical(data) {
        assert_eq!(held.to_canonical(), data);
    }
});
