//! The robot's state in canonical CBOR: one state has one encoding.
#![no_main]

use alcub3_trust_model::RobotState;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(state) = RobotState::from_canonical(data) else {
        return;
    };
    assert_eq!(state.to_canonical(), data);
});
