//! `alcub3 checkquote` as users of `tpm2_checkquote` call it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_testkit::Swtpm;
use std::path::Path;
use support::{Run, alcub3, assert_error, data, installed};

const NONCE: &str = "536237744e6c71736433327549315a5057744473";

/// The five files and the nonce of one quote, in a folder.
struct Files<'a> {
    folder: &'a Path,
    nonce: &'a str,
    hash: &'a str,
}

impl Files<'_> {
    fn short(&self) -> Run {
        self.run(["-u", "-m", "-s", "-f", "-g", "-q"], &[])
    }

    fn run(&self, flags: [&str; 6], more: &[&str]) -> Run {
        let file = |name: &str| self.folder.join(name).into_os_string();
        let values = [
            file("ak.pub"),
            file("quote.msg"),
            file("quote.sig"),
            file("quote.pcrs"),
            self.hash.into(),
            self.nonce.into(),
        ];
        let pairs = flags
            .iter()
            .zip(values)
            .flat_map(|(flag, value)| [(*flag).into(), value]);
        alcub3(
            std::iter::once("checkquote".into())
                .chain(pairs)
                .chain(more.iter().map(Into::into)),
        )
    }
}

/// A copy of the real server's quote that may be changed.
fn real() -> Option<tempfile::TempDir> {
    let from = data()?.join("evidence/x86-server");
    let folder = tempfile::tempdir().unwrap();
    for name in ["ak.pub", "quote.msg", "quote.sig", "quote.pcrs"] {
        std::fs::write(folder.path().join(name), std::fs::read(from.join(name)).unwrap()).unwrap();
    }
    Some(folder)
}

#[test]
fn the_real_servers_quote_holds_with_short_and_long_flags() {
    let Some(folder) = real() else { return };
    let files = Files {
        folder: folder.path(),
        nonce: NONCE,
        hash: "sha256",
    };
    let text = files.short();
    assert_eq!((text.code, text.stderr.as_str()), (0, ""), "{}", text.stdout);
    assert!(text.stdout.starts_with("the quote holds"), "{}", text.stdout);
    let long = [
        "--public",
        "--message",
        "--signature",
        "--pcr",
        "--hash-algorithm",
        "--qualification",
    ];
    let json = files.run(long, &["--json"]);
    assert_eq!(json.code, 0);
    let json = json.json();
    assert_eq!(json["valid"], true);
    assert_eq!(json["banks"]["sha256"].as_object().unwrap().len(), 17);
}

#[test]
fn a_wrong_nonce_a_wrong_hash_and_any_changed_file_are_a_no() {
    let Some(folder) = real() else { return };
    let files = |nonce, hash| Files {
        folder: folder.path(),
        nonce,
        hash,
    };
    let no = |run: &Run, what: &str| {
        assert_eq!(run.code, 1, "{what}: {}{}", run.stdout, run.stderr);
        assert!(
            run.stdout.starts_with("the quote does not hold: "),
            "{what}: {}",
            run.stdout
        );
    };
    no(
        &files("536237744e6c71736433327549315a5057744474", "sha256").short(),
        "nonce",
    );
    no(&files("", "sha256").short(), "no nonce");
    no(&files(NONCE, "sha384").short(), "hash");
    for name in ["quote.msg", "quote.sig", "quote.pcrs", "ak.pub"] {
        let path = folder.path().join(name);
        let whole = std::fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(whole.len().div_ceil(12)) {
            let mut changed = whole.clone();
            changed[at] ^= 0x40;
            std::fs::write(&path, &changed).unwrap();
            no(&files(NONCE, "sha256").short(), &format!("{name} byte {at}"));
        }
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        no(&files(NONCE, "sha256").short(), &format!("{name} cut"));
        std::fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
        no(
            &files(NONCE, "sha256").short(),
            &format!("{name} with a byte more"),
        );
        std::fs::write(&path, whole).unwrap();
    }
    let json = files("00", "sha256").run(["-u", "-m", "-s", "-f", "-g", "-q"], &["--json"]);
    assert_eq!(
        (json.code, &json.json()["valid"], &json.json()["code"]),
        (1, &false.into(), &"quote".into())
    );
}

#[test]
fn absent_files_are_failures_and_unknown_hashes_are_usage() {
    let Some(folder) = real() else { return };
    let flags = ["-u", "-m", "-s", "-f", "-g", "-q"];
    let usage = Files {
        folder: folder.path(),
        nonce: NONCE,
        hash: "md5",
    }
    .run(flags, &["--json"]);
    assert_error(&usage, 2, "usage");
    std::fs::remove_file(folder.path().join("quote.sig")).unwrap();
    let absent = Files {
        folder: folder.path(),
        nonce: NONCE,
        hash: "sha256",
    }
    .run(flags, &["--json"]);
    assert_error(&absent, 70, "unreadable-file");
}

#[test]
fn quotes_of_tpm2_quote_hold_and_fail_with_another_nonce() {
    if !installed(&["swtpm", "tpm2_quote"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let swtpm = Swtpm::start().unwrap();
    let served = swtpm.serve().unwrap();
    let tools = served.tools().in_folder(folder.path());
    let tool = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        tools.run(words[0], &words[1..]).unwrap();
    };
    tool("createek -c ek.ctx -G ecc -u ek.pub");
    for (alg, hash, scheme) in [
        ("ecc", "sha256", "ecdsa"),
        ("rsa", "sha384", "rsapss"),
        ("ecc", "sha384", "ecdsa"),
    ] {
        tool(&format!(
            "createak -C ek.ctx -c ak.ctx -G {alg} -g {hash} -s {scheme} -u ak.pub -n ak.name"
        ));
        tool("flushcontext -t");
        tool(&format!(
            "quote -c ak.ctx -l sha256:0,7+sha384:13 -g {hash} --scheme {scheme} -q c0ffee -m quote.msg -s quote.sig \
             -o quote.pcrs"
        ));
        tool("flushcontext -t");
        let files = |nonce| Files {
            folder: folder.path(),
            nonce,
            hash,
        };
        let run = files("c0ffee").short();
        assert_eq!(run.code, 0, "{alg} {hash} {scheme}: {}{}", run.stdout, run.stderr);
        assert_eq!(files("c0ffef").short().code, 1, "{alg} {hash} {scheme}");
        std::fs::write(folder.path().join("nonce"), [0xc0, 0xff, 0xee]).unwrap();
        let named = folder
            .path()
            .join("nonce")
            .into_os_string()
            .into_string()
            .unwrap();
        assert_eq!(files(&named).short().code, 0, "the nonce in a file");
    }
}
