use super::{Entry, ImaLog, ImaReplay, TemplateHashing};
use crate::event_log::describe::hex;
use alcub3_crypto::HashAlg;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a list says, for people and programs: PCR values a bank, then each entry.
///
/// Serializes as `{"entries":N,"violations":N,"altered":null,"banks":{"sha256":{"10":"hex"}},"padded_banks":{…},"list":[…]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImaReport {
    /// Number of entries.
    pub entries: usize,
    /// Entries for which the kernel could not vouch.
    pub violations: usize,
    /// Number of the first entry whose template hash is not that of its data.
    pub altered: Option<usize>,
    /// Bank name to PCR number to value in hexadecimal, where the kernel hashes for each bank (Linux 5.8 and later).
    pub banks: BTreeMap<&'static str, BTreeMap<u8, String>>,
    /// The same where it extends the SHA-1 hash with zeros behind it; the SHA-1 bank is the same either way.
    pub padded_banks: BTreeMap<&'static str, BTreeMap<u8, String>>,
    /// The entries in order.
    pub list: Vec<ImaEntrySummary>,
}

/// One entry in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImaEntrySummary {
    /// Number of the entry, from 0.
    pub index: usize,
    /// PCR number.
    pub pcr: u8,
    /// The kernel's name of the template.
    pub template: &'static str,
    /// What was measured, as people are shown it: escaped, and cut after 256 bytes.
    pub name: String,
    /// The algorithm of its digest.
    pub algorithm: String,
    /// Its digest, in hexadecimal.
    pub digest: String,
    /// Whether it carries a signature.
    pub signed: bool,
    /// Whether the kernel could not vouch for it.
    pub violation: bool,
}

impl ImaReport {
    /// Replays and describes a list.
    #[must_use]
    pub fn of(log: &ImaLog<'_>) -> Self {
        let banks = |hashing| {
            let value = |bank: HashAlg| (bank.name(), values(log, bank, hashing));
            HashAlg::ALL.into_iter().map(value).collect()
        };
        Self {
            entries: log.len(),
            violations: log.entries().filter(Entry::is_violation).count(),
            altered: log.first_altered().map(|entry| entry.index),
            banks: banks(TemplateHashing::OfBank),
            padded_banks: banks(TemplateHashing::PaddedSha1),
            list: log.entries().map(|entry| ImaEntrySummary::of(&entry)).collect(),
        }
    }
}

fn values(log: &ImaLog<'_>, bank: HashAlg, hashing: TemplateHashing) -> BTreeMap<u8, String> {
    let mut replays: BTreeMap<u8, ImaReplay> = BTreeMap::new();
    for entry in log.entries() {
        let replay = replays
            .entry(entry.pcr)
            .or_insert_with(|| ImaReplay::new(bank, hashing));
        replay.extend(&entry);
    }
    let value = |(pcr, replay): (u8, ImaReplay)| (pcr, replay.value().to_hex());
    replays.into_iter().map(value).collect()
}

impl ImaEntrySummary {
    /// Summary of one entry.
    #[must_use]
    pub fn of(entry: &Entry<'_>) -> Self {
        let digest = entry.file_digest();
        Self {
            index: entry.index,
            pcr: entry.pcr,
            template: entry.template.name(),
            name: entry.name_for_people(),
            algorithm: digest.map_or_else(String::new, |digest| digest.algorithm.to_owned()),
            digest: digest.map_or_else(String::new, |digest| hex(digest.digest)),
            signed: !entry.signature().is_empty(),
            violation: entry.is_violation(),
        }
    }
}
