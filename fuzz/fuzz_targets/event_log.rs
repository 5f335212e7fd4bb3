//! UEFI event logs: parsing, replay over every bank, and each event's digests.
#![no_main]

use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::event_log::agent::AgentEvent;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(log) = EventLog::parse(data) else { return };
    for event in log.events() {
        assert!(event.pcr < 24, "an event names PCR {}", event.pcr);
        let _ = AgentEvent::decode(event.data);
    }
    let Ok(replay) = log.replay() else { return };
    for alg in log.banks() {
        for pcr in 0..24 {
            assert!(
                replay.value(alg, pcr).is_some(),
                "the log's bank has no PCR {pcr}"
            );
        }
    }
});
