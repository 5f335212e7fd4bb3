//! Reference values as people handle them: learned, shown, compared, in either form.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_attestation::event_log::builder::{Boot, Builder};
use alcub3_attestation::ima::builder::ListBuilder;
use alcub3_crypto::HashAlg;
use serde_json::Value;
use std::path::Path;
use std::process::Output;

const BANK: HashAlg = HashAlg::Sha256;

struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        let mut log = Builder::new(&[HashAlg::Sha1, BANK]).unwrap();
        desk.put("boot.log", &log.uefi_boot(&Boot::default()).clone().finish());
        let mut list = ListBuilder::new();
        list.file("/sbin/init", &BANK.digest(&[b"init"]));
        list.file("/usr/bin/driver", &BANK.digest(&[b"driver"]));
        list.file("/opt/\u{1b}[31mred", &BANK.digest(&[b"red"]));
        desk.put("ima", list.bytes());
        desk
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path().join(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    fn run(&self, words: &str) -> (i32, String, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = std::process::Command::new(env!("CARGO_BIN_EXE_alcub3"))
            .args(words.split_whitespace())
            .current_dir(self.path())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    fn said(&self, exit: i32, words: &str) -> String {
        let (code, stdout, stderr) = self.run(words);
        assert_eq!(code, exit, "{words}: {stdout}{stderr}");
        stdout
    }

    fn json(&self, exit: i32, words: &str) -> Value {
        serde_json::from_str(&self.said(exit, &format!("--json {words}"))).unwrap()
    }
}

const LEARN: &str = "reference learn --eventlog boot.log --claim secure-boot --ima ima --exclude /tmp/*";

#[test]
fn a_document_is_learned_in_the_form_of_its_name_and_both_forms_are_the_same() {
    let desk = Desk::new();
    for (options, form) in [
        ("-o a.toml", "toml"),
        ("-o b.json", "json"),
        ("-o c", "toml"),
        ("-o d.toml --format json", "json"),
    ] {
        assert_eq!(desk.json(0, &format!("{LEARN} {options}"))["format"], form);
    }
    assert!(desk.read("a.toml").contains("# PCR 7: secure boot"));
    assert!(desk.read("d.toml").starts_with('{'));
    for other in ["b.json", "c", "d.toml"] {
        assert_eq!(
            desk.json(0, &format!("reference diff a.toml {other}"))["same"],
            true
        );
    }
    let (one, other) = (
        desk.json(0, "reference show a.toml"),
        desk.json(0, "reference show b.json"),
    );
    assert_eq!(one, other);
}

#[test]
fn show_says_in_words_what_is_accepted_and_nothing_reaches_the_terminal() {
    let desk = Desk::new();
    desk.said(0, &format!("{LEARN} -o a.toml"));
    let text = desk.read("a.toml");
    let edited = text
        .replace("\"/tmp/*\"", "\"/tmp/*\", \"/run/\\u001B[2J\"")
        .replacen("[pcrs.1]\nvalues", "[pcrs.1]\nany = true\n[pcrs.2]\nevents", 1);
    let cut = edited.find("\n# PCR 2:").unwrap();
    let rest = edited[cut..].find("\n# PCR 3:").unwrap() + cut;
    desk.put("b.toml", [&edited[..cut], &edited[rest..]].concat().as_bytes());
    let said = desk.said(0, "reference show b.toml");
    for words in [
        "bank         sha256",
        "PCR 0: the firmware's code: this value",
        "PCR 1: the firmware's settings and the boot order: any value that the log explains",
        "PCR 2: code of option ROMs and drivers: this event only",
        "its log must show: secure-boot",
        "3 files with 3 digests; any other makes the robot untrusted",
        "/tmp/*",
        "nothing of it is held to anything",
        "a file that changed while it was measured makes the robot untrusted",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    assert!(!said.contains('\u{1b}'), "{said:?}");
    desk.put(
        "few.toml",
        b"version = 1\nbank = \"sha384\"\n[pcrs.3]\nany = true\n[state]\nmin_battery_permille = 100\n",
    );
    let said = desk.said(0, "reference show few.toml");
    assert!(
        said.contains("PCR 4: the boot loader and what it was started from: nothing: it has no rule"),
        "{said}"
    );
    assert!(said.contains("its charge is at least 100 permille"), "{said}");
    assert!(said.contains("it is not judged"), "{said}");
}

#[test]
fn diff_groups_what_changed_and_says_no() {
    let desk = Desk::new();
    desk.said(0, &format!("{LEARN} -o a.toml"));
    let kernel = BANK.digest(&[b"another kernel"]);
    let mut list = ListBuilder::new();
    list.file("/sbin/init", &BANK.digest(&[b"another init"]));
    list.file("/usr/bin/driver", &BANK.digest(&[b"driver"]));
    list.file("/usr/bin/\u{1b}new", &BANK.digest(&[b"new"]));
    desk.put("ima", list.bytes());
    desk.said(
        0,
        "reference learn --eventlog boot.log --ima ima --note-violations --exclude /run/* -o b.toml",
    );
    let text = desk.read("b.toml");
    let at = text.find("[pcrs.9]\n").unwrap();
    let end = text[at..].find("\n\n").unwrap() + at;
    let state = "\n[state]\nmodes = [\"idle\"]\n";
    let changed = format!(
        "{}[pcrs.9]\nvalues = [\"{}\"]{}{state}",
        &text[..at],
        kernel.to_hex(),
        &text[end..]
    );
    desk.put("b.toml", changed.as_bytes());
    let json = desk.json(1, "reference diff a.toml b.toml");
    assert_eq!(json["same"], false);
    assert_eq!(json["pcrs"].as_array().unwrap().len(), 1);
    assert_eq!(json["pcrs"][0]["pcr"], 9);
    assert_eq!(json["pcrs"][0]["added"][0], kernel.to_hex());
    assert_eq!(json["claims"]["removed"][0], "secure-boot");
    assert_eq!(json["files"]["added"][0], "/usr/bin/\u{1b}new");
    assert_eq!(json["files"]["removed"][0], "/opt/\u{1b}[31mred");
    assert_eq!(json["files_changed"][0]["name"], "/sbin/init");
    assert_eq!(json["exclude"]["added"][0], "/run/*");
    assert_eq!(json["violations"]["after"], "note");
    assert_eq!(json["state"]["modes"]["after"][0], "idle");
    let said = desk.said(1, "reference diff a.toml b.toml");
    for words in [
        "PCR 9: files that the boot loader read",
        &format!("+ {}", kernel.to_hex()),
        "claims that a boot's log must show: 0 added, 1 removed",
        "files: 1 added, 1 removed",
        "+ /usr/bin/\\u{1b}new",
        "1 files have other digests",
        "names that are not judged: 1 added, 1 removed",
        "state, modes: idle and was nothing asked",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    assert!(!said.contains('\u{1b}'), "{said:?}");
    assert_eq!(
        desk.said(0, "reference diff b.toml b.toml"),
        "they say the same\n"
    );
    let (code, _, stderr) = desk.run("reference diff a.toml absent");
    assert_eq!(code, 70, "{stderr}");
}

#[test]
fn a_document_that_is_wrong_is_refused_with_its_line_and_does_nothing_to_the_terminal() {
    let desk = Desk::new();
    desk.put(
        "bad.toml",
        b"version = 1\nbank = \"sha256\"\n\"\\u001B[2Jextra\" = 1\n[pcrs]\n",
    );
    let (code, stdout, stderr) = desk.run("reference show bad.toml");
    assert_ne!(code, 0);
    assert!(stderr.contains("line 3") && stderr.contains("extra"), "{stderr}");
    assert!(!stderr.contains('\u{1b}') && stdout.is_empty(), "{stderr:?}");
    desk.put("bytes.toml", b"version = 1\nbank = \"sha256\"\n# \xff\n[pcrs]\n");
    let (code, _, stderr) = desk.run("reference show bytes.toml");
    assert_ne!(code, 0);
    assert!(stderr.contains("not UTF-8"), "{stderr}");
}

#[test]
fn a_corim_is_written_for_others_and_read_from_them() {
    let desk = Desk::new();
    let learn = "reference learn --eventlog boot.log --ima ima";
    desk.said(0, &format!("{learn} -o a.toml"));
    let names = "--vendor Rover --model RW-7";
    assert_eq!(
        desk.json(0, &format!("{learn} {names} -o rw7.corim"))["format"],
        "corim"
    );
    assert_eq!(desk.json(0, "reference diff a.toml rw7.corim")["same"], true);
    let said = desk.said(0, "reference show rw7.corim");
    for words in [
        "CoRIM        rw7",
        "of           Rover, RW-7",
        "signed by    nobody",
        "3 files with 3 digests",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    let json = desk.json(0, "reference show rw7.corim");
    assert_eq!(
        (&json["corim"]["class"]["model"], &json["corim"]["signer"]),
        (&"RW-7".into(), &Value::Null)
    );
    let (code, _, stderr) = desk.run(&format!("{learn} -o x.corim"));
    assert_eq!(code, 2, "{stderr}");
    let (code, _, stderr) = desk.run(&format!("{LEARN} {names} -o x.corim"));
    assert_ne!(code, 0);
    for words in ["claims secure-boot", "not judged", "--leave-out"] {
        assert!(stderr.contains(words), "{words}: {stderr}");
    }
    assert!(!desk.path().join("x.corim").exists());
    desk.said(0, &format!("{LEARN} {names} --leave-out -o x.corim"));
    let vectors: Value = serde_json::from_str(include_str!(
        "../../../core/attestation/tests/corim_vectors/vectors.json"
    ))
    .unwrap();
    let named = |name: &str| {
        vectors["vectors"]
            .as_array()
            .unwrap()
            .iter()
            .find(|vector| vector["name"] == name)
            .unwrap()
    };
    desk.put(
        "signed.corim",
        &hex::decode(named("signed on P-256")["document"].as_str().unwrap()).unwrap(),
    );
    let (code, _, stderr) = desk.run("reference show signed.corim");
    assert_ne!(code, 0);
    assert!(stderr.contains("name the key"), "{stderr}");
    let (code, _, stderr) = desk.run("reference show a.toml --corim-bank sha256");
    assert_eq!(code, 2, "{stderr}");
}
