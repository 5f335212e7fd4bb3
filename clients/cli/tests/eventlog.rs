//! `alcub3 eventlog` as its users call it: real logs against `tpm2_eventlog`, and what is refused.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_attestation::event_log::builder::{Boot, Builder};
use alcub3_crypto::HashAlg;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{alcub3, assert_error, data, installed};

type Banks = BTreeMap<String, BTreeMap<String, String>>;

fn real_logs() -> Vec<PathBuf> {
    let Some(root) = data() else { return Vec::new() };
    let logs = std::fs::read_dir(root.join("eventlogs"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    logs.chain([root.join("evidence/x86-server/binary_bios_measurements")])
        .collect()
}

/// The `pcrs:` part of what `tpm2_eventlog` prints.
fn oracle(log: &Path) -> Banks {
    let output = Command::new("tpm2_eventlog").arg(log).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let yaml = String::from_utf8(output.stdout).unwrap();
    let (_, pcrs) = yaml.split_once("\npcrs:\n").unwrap();
    let (mut banks, mut bank) = (Banks::new(), String::new());
    for line in pcrs.lines() {
        let (name, value) = line.trim().split_once(':').unwrap();
        if value.is_empty() {
            bank = name.to_owned();
        } else {
            let value = value.trim().trim_start_matches("0x");
            banks
                .entry(bank.clone())
                .or_default()
                .insert(name.trim().to_owned(), value.to_owned());
        }
    }
    banks
}

fn ours(log: &Path) -> (Banks, u64) {
    let run = alcub3(["--json".as_ref(), "eventlog".as_ref(), log.as_os_str()]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    let json = run.json();
    (
        serde_json::from_value(json["banks"].clone()).unwrap(),
        json["entries"].as_u64().unwrap(),
    )
}

fn built(banks: &[HashAlg]) -> Vec<u8> {
    Builder::new(banks)
        .unwrap()
        .uefi_boot(&Boot::default())
        .clone()
        .finish()
}

#[test]
fn every_bank_of_every_real_log_equals_tpm2_eventlog() {
    if !installed(&["tpm2_eventlog"]) {
        return;
    }
    for log in real_logs() {
        let (banks, entries) = ours(&log);
        assert_eq!(banks, oracle(&log), "{}", log.display());
        assert!(!banks.is_empty() && entries > 10, "{}", log.display());
    }
}

#[test]
fn a_log_made_by_our_own_generator_equals_tpm2_eventlog() {
    if !installed(&["tpm2_eventlog"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    std::fs::write(&log, built(&HashAlg::ALL)).unwrap();
    let (banks, _) = ours(&log);
    assert_eq!(banks, oracle(&log));
    assert_eq!(banks.len(), 4);
}

#[test]
fn people_see_each_bank_and_on_request_the_events() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    std::fs::write(&log, built(&[HashAlg::Sha256, HashAlg::Sha384])).unwrap();
    let (banks, _) = ours(&log);
    let short = alcub3(["eventlog".as_ref(), log.as_os_str()]);
    assert_eq!((short.code, short.stderr.as_str()), (0, ""));
    for values in banks.values().flat_map(BTreeMap::values) {
        assert!(
            short.stdout.contains(values),
            "{values} is missing in {}",
            short.stdout
        );
    }
    assert!(!short.stdout.contains('\x1b'), "no colour in a pipe");
    let long = alcub3(["eventlog".as_ref(), "--events".as_ref(), log.as_os_str()]);
    assert!(long.stdout.contains("EV_SEPARATOR") && !short.stdout.contains("EV_SEPARATOR"));
}

#[test]
fn a_cut_log_an_absent_file_and_foreign_bytes_are_errors_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let log = built(&[HashAlg::Sha256]);
    let cases: [(&str, Vec<u8>); 5] = [
        ("cut", log[..log.len() - 5].to_vec()),
        ("longer", [&log[..], &[1]].concat()),
        ("padded", [&log[..], &[0; 100]].concat()),
        ("text", b"1234567890 this is no event log, is it?".repeat(5)),
        ("empty", Vec::new()),
    ];
    for (name, bytes) in cases {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        assert_error(
            &alcub3(["--json".as_ref(), "eventlog".as_ref(), path.as_os_str()]),
            70,
            "bad-event-log",
        );
        let text = alcub3(["eventlog".as_ref(), path.as_os_str()]);
        assert_eq!((text.code, text.stdout.as_str()), (70, ""));
        assert!(
            text.stderr.contains(name) && text.stderr.contains("remedy:"),
            "{}",
            text.stderr
        );
    }
    let absent = folder.path().join("absent");
    assert_error(
        &alcub3(["eventlog".as_ref(), absent.as_os_str(), "--json".as_ref()]),
        70,
        "unreadable-file",
    );
    assert_error(
        &alcub3(["--json".as_ref(), "eventlog".as_ref(), folder.path().as_os_str()]),
        70,
        "unreadable-file",
    );
}

#[test]
fn every_cut_of_a_real_log_ends_in_an_answer_or_an_error_never_in_a_crash() {
    let Some(log) = real_logs().into_iter().next() else {
        return;
    };
    let bytes = std::fs::read(log).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut");
    for length in (0..bytes.len()).step_by(bytes.len() / 40) {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let run = alcub3(["--json".as_ref(), "eventlog".as_ref(), path.as_os_str()]);
        assert!(matches!(run.code, 0 | 70), "{length}: {}", run.code);
        run.json();
    }
}

#[test]
fn facts_and_claims_are_told_and_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("boot.log");
    let boot = Builder::new(&[HashAlg::Sha256])
        .unwrap()
        .uefi_boot(&Boot::default())
        .clone();
    std::fs::write(&log, boot.finish()).unwrap();
    let told = alcub3(["--json", "eventlog", "--facts", log.to_str().unwrap()]);
    let json = told.json();
    assert_eq!(json["facts"]["bank"], "sha256");
    assert_eq!(json["facts"]["boot"]["secure_boot"], true);
    assert_eq!(json["facts"]["claims"][4]["name"], "secure-boot");
    assert!(alcub3(["--json", "eventlog", log.to_str().unwrap()]).json()["facts"].is_null());
    let text = alcub3(["eventlog", "--facts", log.to_str().unwrap()]).stdout;
    for shown in ["shimx64.efi", "command line", "secure-boot", "not shown"] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    let out = folder.path().join("references");
    let learn = |claim: &str| {
        let words = [
            "--json",
            "reference",
            "learn",
            "--eventlog",
            log.to_str().unwrap(),
        ];
        alcub3([&words[..], &["--claim", claim, "-o", out.to_str().unwrap()]].concat())
    };
    assert_eq!(learn("secure-boot").code, 0);
    assert!(std::fs::read_to_string(&out).unwrap().contains("claims = "));
    assert_error(&learn("sekure-boot"), 2, "usage");
}
