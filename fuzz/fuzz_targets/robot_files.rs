//! What a robot reads back from its disk: stop intents, rearm records, reserved sequence numbers.
#![no_main]

use alcub3_command_authority::Reservation;
use alcub3_security_hal::{RearmRecord, StopIntent};
use libfuzzer_sys::fuzz_target;

macro_rules! one_encoding {
    ($data:expr, $($message:ty),+) => {$(
        if let Ok(message) = <$message>::from_canonical($data) {
            assert_eq!(message.to_canonical(), $data, stringify!($message));
        }
    )+};
}

fuzz_target!(|data: &[u8]| {
    one_encoding!(data, RearmRecord, Reservation, StopIntent);
});
