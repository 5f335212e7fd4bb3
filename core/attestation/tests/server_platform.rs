//! A real server's quote, UEFI log and IMA list in one appraisal.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod tpm_tools;

use alcub3_attestation::appraisal::{Finding, Reason, ReferenceValues, RuntimeReferences, appraise_platform};
use alcub3_attestation::checkquote::{self, Files};
use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::evidence::RuntimeLog;
use alcub3_attestation::ima::ImaLog;
use alcub3_attestation::quote::VerifiedQuote;
use alcub3_crypto::HashAlg;

struct Server {
    quote: VerifiedQuote,
    uefi: Vec<u8>,
    ima: Vec<u8>,
}

impl Server {
    fn read() -> Option<Self> {
        let folder = tpm_tools::data()?.join("evidence/x86-server");
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        let quote = checkquote::check(&Files {
            public_key: &read("ak.pub"),
            message: &read("quote.msg"),
            signature: &read("quote.sig"),
            pcrs: &read("quote.pcrs"),
            hash: None,
            nonce: b"Sb7tNlqsd32uI1ZPWtDs",
        });
        Some(Self {
            quote: quote.unwrap(),
            uefi: read("binary_bios_measurements"),
            ima: read("ascii_runtime_measurements"),
        })
    }

    fn golden(&self) -> ReferenceValues {
        let boot = ReferenceValues::golden(&EventLog::parse(&self.uefi).unwrap(), HashAlg::Sha256);
        let runtime = RuntimeReferences::golden(&ImaLog::parse(&self.ima).unwrap());
        boot.unwrap().with_runtime(runtime.unwrap())
    }

    fn appraise(&self, uefi: &[u8], ima: &[u8], references: &ReferenceValues) -> Vec<Finding> {
        let runtime = RuntimeLog {
            first: 0,
            entries: ima,
        };
        appraise_platform(&self.quote, uefi, Some(&runtime), references)
    }
}

fn reasons(findings: &[Finding]) -> Vec<Reason> {
    findings.iter().map(|finding| finding.reason).collect()
}

#[test]
fn the_servers_quote_boot_and_files_are_good_together() {
    let Some(server) = Server::read() else { return };
    let references = server.golden();
    assert_eq!(server.appraise(&server.uefi, &server.ima, &references), []);
    println!("{} files have references", references.runtime().unwrap().len());
}

#[test]
fn a_list_that_lost_one_entry_explains_nothing() {
    let Some(server) = Server::read() else { return };
    let references = server.golden();
    let lines: Vec<&[u8]> = server.ima.split_inclusive(|byte| *byte == b'\n').collect();
    for left_out in (0..lines.len()).step_by(13) {
        let kept = lines.iter().enumerate().filter(|(number, _)| *number != left_out);
        let list: Vec<u8> = kept.flat_map(|(_, line)| line.iter().copied()).collect();
        let found = server.appraise(&server.uefi, &list, &references);
        assert_eq!(reasons(&found), [Reason::RuntimeLogMismatch], "entry {left_out}");
    }
}

#[test]
fn one_file_that_has_no_reference_is_found_among_all_entries() {
    let Some(server) = Server::read() else { return };
    let list = ImaLog::parse(&server.ima).unwrap();
    let name = String::from_utf8(list.entries().nth(500).unwrap().name().to_vec()).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&server.golden().to_json()).unwrap();
    json["runtime"]["files"]
        .as_object_mut()
        .unwrap()
        .remove(&name)
        .unwrap();
    let references = ReferenceValues::from_json(&json.to_string()).unwrap();
    let found = server.appraise(&server.uefi, &server.ima, &references);
    assert!(
        found
            .iter()
            .all(|finding| finding.reason == Reason::RuntimeFile && finding.detail.contains(&name))
    );
    assert!(
        found.iter().any(|finding| finding.event == Some(500)),
        "{found:?}"
    );
}

#[test]
fn a_machine_whose_ima_found_no_tpm_is_named() {
    let Some(server) = Server::read() else { return };
    let other = std::fs::read(tpm_tools::data().unwrap().join("ima/ima-ng-826.txt")).unwrap();
    let found = server.appraise(&server.uefi, &other, &server.golden());
    assert_eq!(reasons(&found), [Reason::RuntimeLogMismatch]);
    assert!(found[0].detail.contains("another boot"), "{}", found[0].detail);
}
