//! Keylime's `checkquote`, as published, beside ours: one genuine quote of the run's own swtpm, the very same files.

use crate::row::{Must, Row, best_rates};
use crate::support::{Life, NOW_MS, nonce};
use alcub3_agent::{Asked, PlatformLogs, Surroundings};
use alcub3_attestation::attest::Attest;
use alcub3_attestation::checkquote::{self, Files, write_pcr_file};
use alcub3_attestation::evidence::Evidence;
use alcub3_crypto::HashAlg;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tempfile::TempDir;

const NAME: &str = "keylime_checkquote_per_s";
const UNIT: &str = "1/s";
/// Checks between two looks at the clock: what the pipe to Keylime costs is a thousandth of them.
const CHECKS: usize = 200;
const BATCHES: usize = 25;

/// Keylime's rate, with ours as what it is held against.
pub fn checkquote() -> Vec<Row> {
    let Some(python) = installed() else {
        let why = "Keylime is not installed; scripts/validators.sh --keylime installs it from PyPI";
        return vec![Row::skipped(NAME, UNIT, Must::AtMost(1.0), why)];
    };
    let quote = Quote::genuine();
    let folder = quote.written();
    let mut keylime = Keylime::start(&python, folder.path());
    assert!(quote.is_accepted());
    for part in 0..4 {
        assert!(!quote.flipped(part).is_accepted(), "part {part}");
    }
    let (theirs, ours) = best_rates(
        BATCHES,
        1,
        || keylime.check(CHECKS),
        || (0..CHECKS).for_each(|_| assert!(black_box(&quote).is_accepted())),
    );
    let per_s = |batches: f64| batches * CHECKS as f64;
    vec![Row::over(
        NAME,
        per_s(theirs),
        UNIT,
        per_s(ours),
        Must::AtMost(1.0),
    )]
}

/// The Python that has Keylime. The list is put beside it last: without it, the environment is not whole.
fn installed() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/keylime");
    let whole = folder.join("requirements.txt").is_file();
    whole.then(|| folder.join("bin/python"))
}

/// What both checks are given.
struct Quote {
    key_pem: String,
    /// Nonce, signature, message, PCR file.
    parts: [Vec<u8>; 4],
}

impl Quote {
    fn genuine() -> Self {
        let life = Life::running();
        let surroundings = Surroundings::unknown();
        let evidence =
            life.robot()
                .evidence(&Asked::all(nonce(1)), &surroundings, &PlatformLogs::NONE, NOW_MS);
        let evidence = evidence.unwrap();
        let evidence = Evidence::from_canonical(&evidence).unwrap();
        let key = life
            .robot()
            .keys()
            .record()
            .attestation_key
            .verifying_key()
            .unwrap();
        let parts = [
            Attest::parse(evidence.quote).unwrap().extra_data,
            evidence.signature,
            evidence.quote,
            &write_pcr_file(&evidence.pcrs),
        ];
        Self {
            key_pem: pem(&key.to_spki_der()),
            parts: parts.map(<[u8]>::to_vec),
        }
    }

    fn written(&self) -> TempDir {
        let folder = TempDir::new().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        write("ak.pem", self.key_pem.as_bytes());
        for (name, bytes) in ["nonce", "quote.sig", "quote.msg", "quote.pcrs"]
            .iter()
            .zip(&self.parts)
        {
            write(name, bytes);
        }
        folder
    }

    fn is_accepted(&self) -> bool {
        let [nonce, signature, message, pcrs] = &self.parts;
        let files = Files {
            public_key: self.key_pem.as_bytes(),
            message,
            signature,
            pcrs,
            hash: Some(HashAlg::Sha256),
            nonce,
        };
        checkquote::check(&files).is_ok()
    }

    fn flipped(&self, part: usize) -> Self {
        let mut parts = self.parts.clone();
        *parts[part].last_mut().unwrap() ^= 1;
        Self {
            key_pem: self.key_pem.clone(),
            parts,
        }
    }
}

fn pem(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        lines.join("\n")
    )
}

/// Keylime's check in a process of its own, which holds the quote and waits.
struct Keylime {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Keylime {
    /// Starts it; it has then accepted the quote, and refused it with each part changed.
    fn start(python: &Path, folder: &Path) -> Self {
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/design_numbers/keylime/checkquote.py");
        let mut child = Command::new(python)
            .arg("-B")
            .arg(script)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut keylime = Self {
            child,
            to,
            from: BufReader::new(from),
        };
        keylime.expect("ready");
        keylime
    }

    fn check(&mut self, times: usize) {
        writeln!(self.to, "{times}").unwrap();
        self.expect("done");
    }

    fn expect(&mut self, word: &str) {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), word, "Keylime's check failed; what it said is above");
    }
}

impl Drop for Keylime {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
