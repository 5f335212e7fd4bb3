//! UEFI event logs: parsing, replay over every bank, each event's digests, and the facts of the boot.
#![no_main]

use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::event_log::agent::AgentEvent;
use alcub3_attestation::event_log::boot_facts::BootFacts;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(log) = EventLog::parse(data) else { return };
    for event in log.events() {
        assert!(event.pcr < 24, "an event names PCR {}", event.pcr);
        let _ = AgentEvent::decode(event.data);
    }
    for bank in log.banks() {
        let facts = BootFacts::of(&log, bank);
        let _ = facts.map(|facts| facts.claims());
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
