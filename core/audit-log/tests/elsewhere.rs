//! A log that we lay out and proofs that we make, judged by other hands: the crates `signed_note` and `tlog_tiles` from crates.io.
//! Without `scripts/validators.sh` these tests say that they skip.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod published;

use alcub3_audit_log::{NodeHash, NodeSource, TiledNodes, prove_consistency, prove_inclusion, root_at};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use published::Published;
use std::path::{Path, PathBuf};
use std::process::Command;

fn program() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = here.join("../../target/tlog/debug/tlog-elsewhere");
    if !program.is_file() {
        eprintln!(
            "skipped: {} is not there; run scripts/validators.sh --tlog",
            program.display()
        );
        return None;
    }
    Some(program)
}

/// Whether the other hands take the log and the proofs, and what they say.
fn judged(program: &Path, log: &Published, proofs: &str) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in &log.files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let listed = dir.path().join("proofs");
    std::fs::write(&listed, proofs).unwrap();
    let output = Command::new(program)
        .arg(dir.path())
        .arg(log.signer.verifier().to_text())
        .arg(listed)
        .output()
        .unwrap();
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

fn words(hashes: &[NodeHash]) -> String {
    let words = hashes
        .iter()
        .map(|hash| format!(" {}", STANDARD.encode(hash.as_bytes())));
    words.collect()
}

/// Proofs of ours, out of the tiles, as the program reads them.
fn proofs(log: &Published, size: u64) -> Vec<String> {
    let nodes = TiledNodes::new(size, log.reader());
    let root = root_at(&nodes, size).unwrap();
    let sample = |most: u64| {
        (0..most)
            .filter(|n| *n < 4 || n % 61 == 0 || n + 3 > most)
            .collect::<Vec<_>>()
    };
    let mut lines = Vec::new();
    for index in sample(size) {
        let proof = prove_inclusion(&nodes, index, size).unwrap();
        let leaf = nodes.node(0, index).unwrap();
        lines.push(format!(
            "inclusion {index} {size}{}{}",
            words(&[root, leaf]),
            words(&proof.path)
        ));
    }
    for first in sample(size).into_iter().filter(|first| *first > 0) {
        let proof = prove_consistency(&nodes, first, size).unwrap();
        let before = root_at(&nodes, first).unwrap();
        lines.push(format!(
            "consistency {first} {size}{}{}",
            words(&[before, root]),
            words(&proof.path)
        ));
    }
    lines
}

#[test]
fn other_hands_take_our_notes_tiles_and_proofs() {
    let Some(program) = program() else { return };
    for size in [1, 2, 7, 255, 256, 257, 600] {
        let log = Published::of(size);
        let lines = proofs(&log, size);
        let expected = format!("{size} entries and {} proofs hold", lines.len());
        assert_eq!(
            judged(&program, &log, &lines.join("\n")),
            (true, expected),
            "{size}"
        );
    }
}

#[test]
fn other_hands_refuse_what_was_changed_in_a_log_or_a_proof() {
    let Some(program) = program() else { return };
    let log = Published::of(300);
    let changed_file = |path: &str, at: usize| {
        let mut log = log.clone();
        log.files.get_mut(path).unwrap()[at] ^= 0x01;
        judged(&program, &log, "")
    };
    for (path, at) in [
        ("checkpoint", 70),
        ("tile/0/000", 8_000),
        ("tile/entries/000", 900),
        ("tile/entries/001.p/44", 30),
    ] {
        let (taken, said) = changed_file(path, at);
        assert!(!taken, "{path}: {said}");
    }
    for line in proofs(&log, 300).iter().step_by(5) {
        let (kind, rest) = line.split_once(' ').unwrap();
        let mut words: Vec<String> = rest.split(' ').map(str::to_owned).collect();
        let last = words.len() - 1;
        let mut hash = STANDARD.decode(&words[last]).unwrap();
        hash[3] ^= 0x01;
        words[last] = STANDARD.encode(hash);
        let (taken, said) = judged(&program, &log, &format!("{kind} {}", words.join(" ")));
        assert!(!taken, "{line}: {said}");
    }
}
