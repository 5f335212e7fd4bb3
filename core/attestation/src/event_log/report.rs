use super::{Event, EventLog, EventLogError, Replay, describe};
use alcub3_crypto::{Digest, HashAlg};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a log says, for people and programs: PCR values a bank, then each event.
///
/// Serializes as `{"format":…,"entries":N,"banks":{"sha256":{"0":"hex"…}},"startup_locality":…,
/// "unsupported_banks":[…],"events":[…]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplayReport {
    /// `sha1` or `crypto-agile`.
    pub format: &'static str,
    /// Number of events, the header included.
    pub entries: usize,
    /// Bank name to PCR number to value in hexadecimal; PCRs the log names.
    pub banks: BTreeMap<&'static str, BTreeMap<u8, String>>,
    /// Locality of TPM2_Startup, PCR 0's initial value.
    pub startup_locality: u8,
    /// Announced banks that cannot be replayed here, by name.
    pub unsupported_banks: Vec<String>,
    /// The events in order.
    pub events: Vec<EventSummary>,
}

/// One event in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventSummary {
    /// Number of the event, from 0.
    pub index: usize,
    /// PCR number.
    pub pcr: u8,
    /// The TCG's name of the type, or its number in hexadecimal.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Whether it was extended into the PCR.
    pub extended: bool,
    /// Bank name to digest in hexadecimal.
    pub digests: BTreeMap<String, String>,
    /// Size of the event's data in bytes.
    pub data_bytes: usize,
    /// A short description of the data.
    pub description: String,
}

impl ReplayReport {
    /// Replays and describes a log.
    ///
    /// # Errors
    /// As [`EventLog::replay`].
    pub fn of(log: &EventLog<'_>) -> Result<Self, EventLogError> {
        let replay = log.replay()?;
        let unknown = log
            .algorithms()
            .iter()
            .filter(|a| HashAlg::from_tpm_id(a.algorithm).is_none());
        Ok(Self {
            format: log.format().name(),
            entries: log.events().len(),
            banks: banks(&replay),
            startup_locality: replay.startup_locality(),
            unsupported_banks: unknown.map(super::AlgorithmSize::name).collect(),
            events: log.events().iter().map(EventSummary::of).collect(),
        })
    }
}

fn banks(replay: &Replay) -> BTreeMap<&'static str, BTreeMap<u8, String>> {
    let hex = |(pcr, value): (u8, Digest)| (pcr, value.to_hex());
    let bank = |bank: &super::ReplayedBank| (bank.alg().name(), bank.touched().map(hex).collect());
    replay.banks().iter().map(bank).collect()
}

impl EventSummary {
    /// Summary of one event.
    #[must_use]
    pub fn of(event: &Event<'_>) -> Self {
        let name = |algorithm| HashAlg::from_tpm_id(algorithm).map(|alg| alg.name().to_owned());
        let digests = event.digests().iter().map(|(algorithm, digest)| {
            (
                name(*algorithm).unwrap_or_else(|| format!("{algorithm:#06x}")),
                describe::hex(digest),
            )
        });
        Self {
            index: event.position.event,
            pcr: event.pcr,
            event_type: event.event_type.to_string(),
            extended: event.is_extended(),
            digests: digests.collect(),
            data_bytes: event.data.len(),
            description: describe::describe(event),
        }
    }
}
