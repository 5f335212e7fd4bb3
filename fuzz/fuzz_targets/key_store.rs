//! What the key store holds, and what managed keys encrypt.
#![no_main]

use alcub3_trust_model::managed_key::{Encrypted, KeyRecord, StoreHeader};
use libfuzzer_sys::fuzz_target;

macro_rules! one_encoding {
    ($data:expr, $($message:ty),+) => {$(
        if let Ok(message) = <$message>::from_canonical($data) {
            assert_eq!(message.to_canonical(), $data, stringify!($message));
        }
    )+};
}

fuzz_target!(|data: &[u8]| {
    one_encoding!(data, KeyRecord, StoreHeader, Encrypted);
});
