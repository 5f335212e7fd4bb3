//! The agent's own events: what is accepted has one encoding.
#![no_main]

use alcub3_attestation::event_log::agent::AgentEvent;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(event) = AgentEvent::from_message(data) {
        assert_eq!(event.message(), data);
    }
    if let Ok(event) = AgentEvent::decode(data) {
        assert_eq!(event.encode(), data);
    }
});
