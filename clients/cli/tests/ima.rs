//! `alcub3 ima` as its users call it: real lists, the quote of a real server, and what is refused.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_attestation::checkquote::{parse_pcr_file, write_pcr_file};
use alcub3_attestation::pcr::{PcrSelection, PcrValues};
use alcub3_crypto::{Digest, HashAlg};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use support::{Run, alcub3, assert_error, data};

/// Entries of the server's list, which was read in one go with its quote.
const ENTRIES: usize = 780;

fn server() -> Option<PathBuf> {
    Some(data()?.join("evidence/x86-server"))
}

fn ima(arguments: &[&OsStr]) -> Run {
    alcub3(["--json".as_ref(), "ima".as_ref()].iter().chain(arguments))
}

fn with_quote(list: &Path, pcrs: &Path) -> Run {
    ima(&[list.as_ref(), "--pcrs".as_ref(), pcrs.as_ref()])
}

/// The same file of values, as from a machine where nothing was extended into PCR 10.
fn empty_pcr_10(file: &[u8]) -> Vec<u8> {
    let values = parse_pcr_file(file).unwrap();
    let emptied = values.iter().map(|(bank, pcr, value)| match pcr {
        10 => Digest::zero(bank),
        _ => *value,
    });
    write_pcr_file(&PcrValues::new(*values.selection(), emptied.collect()).unwrap())
}

#[test]
fn the_servers_quote_is_explained_by_its_list() {
    let Some(server) = server() else { return };
    let (list, pcrs) = (
        server.join("ascii_runtime_measurements"),
        server.join("quote.pcrs"),
    );
    let run = with_quote(&list, &pcrs);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let json = run.json();
    assert_eq!(json["entries"], ENTRIES);
    let banks = json["quoted"].as_object().unwrap();
    assert!(!banks.is_empty());
    for (bank, quoted) in banks {
        assert_eq!(quoted["explained"], true, "{bank}");
        assert_eq!(quoted["entries"], ENTRIES, "{bank}");
    }
    let text = alcub3([
        "ima".as_ref(),
        list.as_os_str(),
        "--pcrs".as_ref(),
        pcrs.as_os_str(),
    ]);
    assert!(
        text.stdout.contains("is as quoted after 780 of 780 entries"),
        "{}",
        text.stdout
    );
}

#[test]
fn a_list_that_lost_or_changed_an_entry_does_not_explain_the_quote() {
    let Some(server) = server() else { return };
    let whole = std::fs::read_to_string(server.join("ascii_runtime_measurements")).unwrap();
    let pcrs = server.join("quote.pcrs");
    let folder = tempfile::tempdir().unwrap();
    let mut lines: Vec<_> = whole.lines().collect();
    let removed = lines.remove(400);
    let path = folder.path().join("list");
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    let run = with_quote(&path, &pcrs);
    assert_eq!(run.code, 1);
    assert_eq!(run.json()["altered"], serde_json::Value::Null);
    assert!(
        run.json()["quoted"]
            .as_object()
            .unwrap()
            .values()
            .all(|bank| bank["explained"] == false)
    );

    let renamed = removed.rsplit_once('/').unwrap().0.to_owned() + "/harmless";
    lines.insert(400, &renamed);
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    let run = ima(&[path.as_ref()]);
    assert_eq!((run.code, &run.json()["altered"]), (1, &400.into()));
    let text = alcub3(["ima".as_ref(), path.as_os_str()]);
    assert!(
        text.stdout.contains("entry 400 is not what the TPM was given"),
        "{}",
        text.stdout
    );
}

#[test]
fn an_empty_pcr_beside_entries_is_named_bypass_and_is_no_explanation() {
    let Some(server) = server() else { return };
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("pcrs");
    std::fs::write(
        &empty,
        empty_pcr_10(&std::fs::read(server.join("quote.pcrs")).unwrap()),
    )
    .unwrap();
    let list = server.join("ascii_runtime_measurements");
    let run = with_quote(&list, &empty);
    assert_eq!(run.code, 1);
    for bank in run.json()["quoted"].as_object().unwrap().values() {
        assert_eq!(
            (&bank["bypass"], &bank["explained"]),
            (&true.into(), &false.into())
        );
    }
    let text = alcub3([
        "ima".as_ref(),
        list.as_os_str(),
        "--pcrs".as_ref(),
        empty.as_os_str(),
    ]);
    assert!(text.stdout.contains("bypass"), "{}", text.stdout);
}

#[test]
fn the_list_of_entries_says_what_was_measured() {
    let Some(root) = data() else { return };
    let list = root.join("ima/ima-sig.txt");
    let short = alcub3(["ima".as_ref(), list.as_os_str()]);
    let long = alcub3(["ima".as_ref(), "--list".as_ref(), list.as_os_str()]);
    assert_eq!((short.code, long.code), (0, 0), "{}", short.stdout);
    assert!(long.stdout.contains("boot_aggregate") && !short.stdout.contains("boot_aggregate"));
    assert!(!long.stdout.contains('\x1b'), "no colour in a pipe");
    let json = ima(&[list.as_ref()]).json();
    let entries = json["list"].as_array().unwrap();
    assert_eq!(
        entries.len(),
        usize::try_from(json["entries"].as_u64().unwrap()).unwrap()
    );
    assert!(entries.iter().any(|entry| entry["signed"] == true));
}

#[test]
fn what_is_no_list_or_no_quote_of_it_is_an_error_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    std::fs::write(&list, b"10 this is no list\n").unwrap();
    assert_error(&ima(&[list.as_ref()]), 70, "bad-ima-list");
    let of_bank = format!("10 {} ima-ng sha256:{} /init\n", "1".repeat(64), "2".repeat(64));
    std::fs::write(&list, of_bank).unwrap();
    let text = alcub3(["ima".as_ref(), list.as_os_str()]);
    let remedy = "remedy: read the kernel's file of one bank";
    assert!(text.stderr.contains(remedy), "{}", text.stderr);
    assert_error(
        &ima(&[list.as_ref(), "--hash".as_ref(), "md5".as_ref()]),
        2,
        "usage",
    );
    assert_error(
        &ima(&[folder.path().join("absent").as_ref()]),
        70,
        "unreadable-file",
    );

    std::fs::write(&list, b"").unwrap();
    let pcrs = folder.path().join("pcrs");
    std::fs::write(&pcrs, b"no values").unwrap();
    assert_error(&with_quote(&list, &pcrs), 70, "bad-pcr-file");
    let without = PcrSelection::of(HashAlg::Sha256, &[0, 7]).unwrap();
    let values = PcrValues::new(without, vec![Digest::zero(HashAlg::Sha256); 2]).unwrap();
    std::fs::write(&pcrs, write_pcr_file(&values)).unwrap();
    assert_error(&with_quote(&list, &pcrs), 70, "pcr-not-quoted");
}
