//! The records in a robot's folder that only the robot's keys read: what is accepted has one encoding.
#![no_main]

use alcub3_keys::own_records::reencoded;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(bytes) = reencoded(data) {
        assert_eq!(bytes, data);
    }
});
