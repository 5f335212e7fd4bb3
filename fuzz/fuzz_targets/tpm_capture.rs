//! Captures of what passed over a transport, and sealed objects on disk: what is accepted has one encoding.
#![no_main]

use alcub3_tpm::ops::Sealed;
use alcub3_tpm::transport::Capture;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(capture) = Capture::from_bytes(data) {
        assert_eq!(capture.to_bytes(), data);
    }
    if let Ok(sealed) = Sealed::from_bytes(data) {
        assert_eq!(sealed.to_bytes(), data);
    }
});
