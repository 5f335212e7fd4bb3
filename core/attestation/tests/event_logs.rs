//! Replay of real logs, compared bank by bank and PCR by PCR with `tpm2_eventlog`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(clippy::print_stdout)]

use alcub3_attestation::event_log::{
    EventLog, EventLogError, ReplayReport,
    builder::{Boot, Builder},
};
use alcub3_crypto::HashAlg;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

type Banks = BTreeMap<String, BTreeMap<u8, String>>;

fn data() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    root.is_dir().then_some(root)
}

fn real_logs() -> Vec<PathBuf> {
    let Some(root) = data() else {
        println!("skipped: no real data beside the checkout");
        return Vec::new();
    };
    let mut logs: Vec<PathBuf> = std::fs::read_dir(root.join("eventlogs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    logs.push(root.join("evidence/x86-server/binary_bios_measurements"));
    logs.sort();
    logs
}

/// What `tpm2_eventlog` says: the values, and the number of events; `None` where the tool is absent.
fn oracle(path: &Path) -> Option<(Banks, usize)> {
    let output = Command::new("tpm2_eventlog").arg(path).output().ok()?;
    assert!(
        output.status.success(),
        "{path:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let yaml = String::from_utf8_lossy(&output.stdout).into_owned();
    let (events, pcrs) = yaml.split_once("\npcrs:\n").unwrap();
    let count = events
        .lines()
        .filter(|line| line.trim_start_matches("- ").trim().starts_with("PCRIndex:"))
        .count();
    let (mut banks, mut bank) = (Banks::new(), String::new());
    for line in pcrs.lines() {
        match line.trim().split_once(':').unwrap() {
            (name, "") => bank = name.to_owned(),
            (pcr, value) => {
                let value = value.trim().trim_start_matches("0x").to_owned();
                banks
                    .entry(bank.clone())
                    .or_default()
                    .insert(pcr.trim().parse().unwrap(), value);
            }
        }
    }
    Some((banks, count))
}

fn replayed(bytes: &[u8]) -> (Banks, usize) {
    let report = ReplayReport::of(&EventLog::parse(bytes).unwrap()).unwrap();
    let banks = report
        .banks
        .into_iter()
        .map(|(name, values)| (name.to_owned(), values))
        .collect();
    (banks, report.entries)
}

#[test]
fn every_bank_and_pcr_equals_tpm2_eventlog() {
    let mut compared = 0;
    for path in real_logs() {
        let Some((banks, events)) = oracle(&path) else {
            println!("skipped: tpm2_eventlog is not installed");
            return;
        };
        let (ours, entries) = replayed(&std::fs::read(&path).unwrap());
        assert_eq!(ours, banks, "{path:?}");
        assert_eq!(entries, events, "{path:?}");
        assert!(!ours.is_empty());
        compared += 1;
    }
    println!("{compared} logs compared");
}

#[test]
fn built_logs_are_accepted_by_tpm2_eventlog() {
    let folder = tempfile::tempdir().unwrap();
    let all = [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512];
    for banks in [&all[..], &all[1..2], &all[1..3]] {
        let mut log = Builder::new(banks).unwrap();
        let bytes = log.uefi_boot(&Boot::default()).clone().finish();
        let path = folder.path().join("log");
        std::fs::write(&path, &bytes).unwrap();
        let Some((expected, events)) = oracle(&path) else {
            println!("skipped: tpm2_eventlog is not installed");
            return;
        };
        let (ours, entries) = replayed(&bytes);
        assert_eq!(ours, expected);
        assert_eq!(entries, events);
        assert_eq!(ours.len(), banks.len());
    }
}

#[test]
fn every_truncation_of_a_real_log_is_refused_or_a_whole_number_of_events() {
    for path in real_logs() {
        let bytes = std::fs::read(&path).unwrap();
        let whole = EventLog::parse(&bytes).unwrap();
        let ends: Vec<usize> = whole.events().iter().map(|event| event.position.offset).collect();
        for length in (0..bytes.len()).step_by(7) {
            let parsed = EventLog::parse(&bytes[..length]);
            assert_eq!(
                parsed.is_ok(),
                ends.contains(&length) && length > 0,
                "{path:?} cut to {length}"
            );
        }
    }
}

#[test]
fn filler_after_the_log_is_refused_with_the_length_to_cut_to() {
    let log = Builder::new(&[HashAlg::Sha256])
        .unwrap()
        .uefi_boot(&Boot::default())
        .clone()
        .finish();
    for value in [0x00, 0xff] {
        let mut padded = log.clone();
        padded.resize(log.len() + 64, value);
        let error = EventLog::parse(&padded).unwrap_err();
        assert!(
            matches!(error, EventLogError::Filler { at, .. } if at.offset == log.len()),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .contains(&format!("cut the file to {} bytes", log.len()))
        );
    }
}
