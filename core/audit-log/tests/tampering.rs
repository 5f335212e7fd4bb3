//! What is done to a log, and to an auditor's bundle, and that it is found, with the position.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod published;

use alcub3_audit_log::{
    AuditBundle, BundleParts, CheckedLog, Checkpoint, Cut, Finding, Part, SignedCheckpoint, TiledNodes,
    bundle_entries, check_folder, prove_consistency,
};
use alcub3_trust_model::Level;
use published::{Published, entry, labels};

fn checked(log: &Published, earlier: &[Checkpoint]) -> CheckedLog {
    check_folder(&log.reader(), log.signer.verifier(), earlier, &[])
}

fn put_entries(log: &mut Published, path: &str, entries: &[Vec<u8>]) {
    let framed = entries
        .iter()
        .flat_map(|entry| [&u16::try_from(entry.len()).unwrap().to_be_bytes()[..], entry].concat());
    log.files.insert(path.to_owned(), framed.collect());
}

/// The log as somebody makes it who holds no key: entries as he likes, all hashes over them right, the old checkpoint.
fn rewritten(right: &Published, entries: Vec<Vec<u8>>) -> Published {
    let mut log = Published::empty();
    log.grow(entries);
    let checkpoint = right.files["checkpoint"].clone();
    log.files.insert("checkpoint".to_owned(), checkpoint);
    log
}

#[test]
fn a_log_that_nobody_touched_is_intact() {
    for sizes in [&[1][..], &[256], &[257], &[3, 300, 700], &[65_536], &[65_600]] {
        let log = Published::with_heads(sizes);
        let checked = checked(&log, &log.earlier());
        assert!(checked.is_intact(), "{sizes:?}: {:?}", checked.findings);
    }
}

#[test]
fn every_changed_byte_of_every_file_is_found_where_it_is() {
    let log = Published::with_heads(&[100, 300]);
    for (path, bytes) in &log.files {
        // Entries of one bundle are alike: of the long one each seventh byte, so that every place in an entry comes up.
        let step = if bytes.len() > 9_000 { 7 } else { 1 };
        for at in (0..bytes.len()).step_by(step) {
            let mut log = log.clone();
            log.files.get_mut(path).unwrap()[at] ^= 0x01;
            let checked = checked(&log, &log.earlier());
            if path.starts_with("tile/entries/000.p")
                || path.starts_with("tile/0/000.p")
                || path == "tile/1/000.p"
            {
                // What an earlier checkpoint needed, until the tile was full: the log of now does not rest on it.
                continue;
            }
            let finding = checked.findings.first();
            let finding = finding.unwrap_or_else(|| panic!("{path}, byte {at}: not found"));
            let position = finding.position();
            match path.as_str() {
                "checkpoint" => assert_eq!(position, None),
                "tile/0/000" => assert_eq!(position, Some(at as u64 / 32)),
                "tile/0/001.p/44" => assert_eq!(position, Some(256 + at as u64 / 32)),
                "tile/1/000.p/1" => assert_eq!(position, Some(0)),
                _ => {
                    let first = if path.ends_with("000") { 0 } else { 256 };
                    let mut end = 0;
                    let entries = bundle_entries(bytes).unwrap();
                    let before = entries.iter().take_while(|entry| {
                        end += entry.len() + 2;
                        end <= at
                    });
                    assert_eq!(position, Some(first + before.count() as u64), "{path}, byte {at}");
                }
            }
        }
    }
}

#[test]
fn dropped_reordered_inserted_and_cut_entries_are_found_where_they_are() {
    let right = Published::of(300);
    let path = "tile/entries/000";
    let (entries, found) = (right.entries[..256].to_vec(), |entries: &[Vec<u8>]| {
        let mut log = right.clone();
        put_entries(&mut log, path, entries);
        checked(&log, &[]).findings[0].clone()
    });
    for at in [0, 1, 100, 255] {
        let mut dropped = entries.clone();
        dropped.remove(at);
        assert_eq!(found(&dropped).position(), Some(at as u64), "dropped");
        let mut inserted = entries.clone();
        inserted.insert(at, entry(999));
        assert_eq!(found(&inserted).position(), Some(at as u64), "inserted");
        let mut swapped = entries.clone();
        swapped.swap(at, 200);
        assert_eq!(found(&swapped).position(), Some(at.min(200) as u64), "reordered");
        let cut = &entries[..at];
        let missing = Finding::Missing {
            from: at as u64,
            before: 256,
        };
        assert_eq!(found(cut), missing);
    }
    let mut without = right.clone();
    without.files.remove("tile/0/001.p/44");
    assert!(matches!(
        &checked(&without, &[]).findings[0],
        Finding::Tile { index: 256, .. }
    ));
}

#[test]
fn a_log_that_was_made_anew_is_found_between_the_heads_that_were_signed() {
    let right = Published::with_heads(&[100, 200, 300]);
    for at in [0, 99, 100, 150, 250, 299] {
        let mut entries = right.entries.clone();
        entries[at] = entry(999);
        let (from, before) = ((at as u64 / 100) * 100, (at as u64 / 100 + 1) * 100);
        let found = checked(&rewritten(&right, entries), &right.earlier()).findings;
        assert_eq!(found, [Finding::Root { from, before }], "entry {at}");
    }
    let shorter = rewritten(&right, right.entries[..250].to_vec());
    assert_eq!(
        checked(&shorter, &right.earlier()).findings[0].position(),
        Some(250)
    );
}

#[test]
fn an_old_copy_is_found_by_whoever_holds_a_later_head() {
    let (old, new) = (Published::with_heads(&[100]), Published::with_heads(&[100, 300]));
    assert!(checked(&old, &[]).is_intact(), "by itself it is whole");
    let held = SignedCheckpoint::verify(&new.heads[1], new.signer.verifier()).unwrap();
    let found = checked(&old, &[held.checkpoint().clone()]).findings;
    assert_eq!(found[0].position(), Some(100));
    // As the authority finds it.
    let now = SignedCheckpoint::verify(&old.heads[0], old.signer.verifier()).unwrap();
    let nodes = TiledNodes::new(100, old.reader());
    let proof = prove_consistency(&nodes, 100, 100).unwrap();
    let diverges = held.checkpoint().leads_to(now.checkpoint(), &proof).unwrap_err();
    assert_eq!(diverges.code(), "audit-rolled-back");
    // A fork of the same length, and a longer one.
    for size in [300, 400] {
        let mut fork = Published::with_heads(&[100]);
        fork.grow((100..size).map(|n| entry(n + 5_000)).collect());
        let now = SignedCheckpoint::verify(&fork.heads[1], fork.signer.verifier()).unwrap();
        let proof = prove_consistency(&TiledNodes::new(size, fork.reader()), 300, size).unwrap();
        let diverges = held.checkpoint().leads_to(now.checkpoint(), &proof).unwrap_err();
        assert_eq!(diverges.code(), "audit-forked", "{size}");
    }
    let longer = Published::with_heads(&[100, 300, 400]);
    let now = SignedCheckpoint::verify(&longer.heads[2], longer.signer.verifier()).unwrap();
    let proof = prove_consistency(&TiledNodes::new(400, longer.reader()), 300, 400).unwrap();
    held.checkpoint().leads_to(now.checkpoint(), &proof).unwrap();
}

fn bundle(log: &Published, level: Level, from: u64, before: u64) -> AuditBundle {
    let heads = log.earlier();
    let cut = Cut {
        reader: labels(level),
        from,
        before,
    };
    let mut parts = BundleParts::new(cut, heads.iter().map(Checkpoint::size).collect());
    log.entries.iter().for_each(|entry| parts.push(entry));
    let (reader, parts) = parts.finish();
    let (note, earlier) = log.heads.split_last().unwrap();
    AuditBundle {
        key: log.signer.verifier().to_text(),
        note: note.clone(),
        anchor: None,
        earlier: earlier.to_vec(),
        reader,
        parts,
    }
}

#[test]
fn an_auditor_reads_what_his_label_dominates_and_the_rest_is_proven_by_hashes() {
    let log = Published::with_heads(&[100, 300]);
    for (level, readable) in [
        (Level::Unclassified, 100),
        (Level::Cui, 200),
        (Level::Secret, 300),
        (Level::TopSecret, 300),
    ] {
        let bundle = bundle(&log, level, 0, u64::MAX);
        let bytes = bundle.to_canonical();
        let bundle = AuditBundle::from_canonical(&bytes).unwrap();
        let verified = bundle.verify(log.signer.verifier()).unwrap();
        assert_eq!(
            (verified.entries.len(), verified.hidden),
            (readable, 300 - readable as u64)
        );
        let may = |entry: &alcub3_audit_log::Entry| entry.label.as_ref().unwrap().level <= level;
        assert!(verified.entries.iter().all(|(_, entry)| may(entry)));
        for (n, entry) in log.entries.iter().enumerate() {
            let subject = format!("operator-{n}");
            let is_there = bytes.windows(entry.len()).any(|window| window == entry);
            assert_eq!(
                is_there,
                verified.entries.iter().any(|(at, _)| *at == n as u64),
                "{subject}"
            );
        }
    }
}

#[test]
fn a_bundle_of_a_range_is_small_and_says_when_it_is_above_its_label() {
    let log = Published::with_heads(&[100, 3_000]);
    let small = bundle(&log, Level::Secret, 1_000, 1_010);
    assert!(small.parts.len() < 40, "{}", small.parts.len());
    let verified = small.verify(log.signer.verifier()).unwrap();
    assert_eq!(verified.entries[0].0, 1_000);
    let above = AuditBundle {
        reader: labels(Level::Unclassified),
        ..small
    };
    let findings = above.verify(log.signer.verifier()).unwrap_err();
    assert!(
        matches!(findings[0], Finding::Label { index: 1_000 | 1_001 }),
        "{findings:?}"
    );
}

#[test]
fn every_changed_byte_of_a_bundle_is_found() {
    let log = Published::with_heads(&[4, 12]);
    let bytes = bundle(&log, Level::Cui, 0, u64::MAX).to_canonical();
    let refused = |bytes: &[u8]| match AuditBundle::from_canonical(bytes) {
        Ok(bundle) => {
            bundle.verify(log.signer.verifier()).is_err() || bundle.key != log.signer.verifier().to_text()
        }
        Err(_) => true,
    };
    assert!(!refused(&bytes));
    for at in 0..bytes.len() {
        for bit in [0x01, 0x20, 0x80] {
            let mut changed = bytes.clone();
            changed[at] ^= bit;
            // The label that a bundle was cut for may be said to be higher: that gives nothing away.
            let Ok(bundle) = AuditBundle::from_canonical(&changed) else {
                continue;
            };
            if bundle.reader != labels(Level::Cui) {
                continue;
            }
            assert!(refused(&changed), "byte {at}, bit {bit:#x}");
        }
        assert!(refused(&bytes[..at]), "cut at {at}");
    }
}

#[test]
fn a_changed_entry_of_a_bundle_is_named() {
    let log = Published::with_heads(&[4, 8, 12]);
    let right = bundle(&log, Level::TopSecret, 0, u64::MAX);
    for at in 0..12 {
        let mut changed = right.clone();
        let Part::Entry { bytes, .. } = &mut changed.parts[at] else {
            panic!()
        };
        bytes[40] ^= 1;
        let findings = changed.verify(log.signer.verifier()).unwrap_err();
        assert_eq!(findings[0].position(), Some(at as u64));
        let mut dropped = right.clone();
        dropped.parts.remove(at);
        let findings = dropped.verify(log.signer.verifier()).unwrap_err();
        assert_eq!(findings[0].position(), Some(at as u64 / 4 * 4));
    }
}
