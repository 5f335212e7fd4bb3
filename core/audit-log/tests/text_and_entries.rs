//! Checkpoints, notes and entries: what is written is read, and nothing else.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_audit_log::{
    Checkpoint, CheckpointError, Entry, EntryKind, NodeHash, NoteError, NoteSignature, Outcome, SignedNote,
    Step, key_id,
};
use alcub3_crypto::HashAlg;
use alcub3_trust_model::canonical::Fault;
use alcub3_trust_model::{BootId, Integrity, Labels, Level, RobotId};
use proptest::prelude::*;

/// The example of C2SP tlog-checkpoint.
const EXAMPLE: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
    — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";

#[test]
fn the_example_of_the_specification_is_read_and_written_alike() {
    let note = SignedNote::decode(EXAMPLE).unwrap();
    assert_eq!(note.encode(), EXAMPLE);
    let signature = &note.signatures()[0];
    assert_eq!(
        (signature.name.as_str(), signature.key_id),
        ("example.com/behind-the-sofa", 0x033d_e0ae)
    );
    assert_eq!(signature.signature.len(), 64);
    let checkpoint = Checkpoint::from_text(note.text()).unwrap();
    assert_eq!(checkpoint.size(), 20_852_163);
    assert_eq!(checkpoint.to_text(), note.text());
    assert_eq!(
        Checkpoint::new(checkpoint.origin(), checkpoint.size(), *checkpoint.root()),
        Ok(checkpoint)
    );
}

#[test]
fn checkpoints_have_one_form() {
    let checkpoint = Checkpoint::new("alcub3/rover-17", 0, NodeHash::new([7; 32])).unwrap();
    let text = checkpoint.to_text();
    assert_eq!(Checkpoint::from_text(&text), Ok(checkpoint.clone()));
    let cases = [
        (text.trim_end().to_owned(), CheckpointError::Lines),
        (format!("{text}extension\n"), CheckpointError::Lines),
        (format!("{text}\n"), CheckpointError::Lines),
        (text.replace("\n0\n", "\n00\n"), CheckpointError::SizeForm),
        (text.replace("\n0\n", "\n+1\n"), CheckpointError::SizeForm),
        (text.replace("=\n", "\n"), CheckpointError::Root),
        (text.replace("BwcHBwc", "Bwc"), CheckpointError::Root),
    ];
    for (changed, error) in cases {
        assert_eq!(Checkpoint::from_text(&changed), Err(error), "{changed:?}");
    }
    assert!(matches!(
        Checkpoint::from_text(&text.replace("\n0\n", "\n-1\n")),
        Err(CheckpointError::Size(_))
    ));
    for origin in ["", "a b", "a+b", "a\tb", &"x".repeat(256)] {
        assert!(Checkpoint::new(origin, 1, NodeHash::new([0; 32])).is_err());
    }
    let other = Checkpoint::new("alcub3/rover-17", 1, NodeHash::new([7; 32])).unwrap();
    assert_ne!(
        checkpoint.binding(HashAlg::Sha256),
        other.binding(HashAlg::Sha256)
    );
}

#[test]
fn notes_are_read_strictly() {
    let sign = |name: &str| NoteSignature {
        name: name.to_owned(),
        key_id: 1,
        signature: vec![1, 2, 3],
    };
    let note = SignedNote::new("a\n\nb\n", vec![sign("one"), sign("two")]).unwrap();
    assert_eq!(SignedNote::decode(&note.encode()), Ok(note.clone()));
    assert_eq!(SignedNote::new("a", vec![sign("one")]), Err(NoteError::Text));
    assert_eq!(SignedNote::new("a\r\n", vec![sign("one")]), Err(NoteError::Text));
    assert_eq!(SignedNote::new("a\n", vec![]), Err(NoteError::Shape));
    assert_eq!(
        SignedNote::new("a\n", vec![sign("one"), sign("t+o")]),
        Err(NoteError::Name(1))
    );
    assert_eq!(
        SignedNote::new("a\n", vec![sign("x"); 33]),
        Err(NoteError::TooLong)
    );
    let text = note.encode();
    for changed in [
        text.trim_end().to_owned(),
        text.replace("— one", "- one"),
        text.replace("\n\n—", "\n—"),
        text.replace("AAAAAQECAw==", "AAAA"),
        text.replace("AAAAAQECAw==", "AAAAAQECAw"),
    ] {
        assert!(SignedNote::decode(&changed).is_err(), "{changed:?}");
    }
}

/// SHA-256(key name ‖ 0x0A ‖ signature type ‖ public key), the first four bytes.
#[test]
fn key_ids_are_those_of_the_specification() {
    let bytes = [b"name\n\x01".as_slice(), &[0; 32]].concat();
    let digest = HashAlg::Sha256.digest(&[&bytes]);
    let first: [u8; 4] = digest.as_bytes()[..4].try_into().unwrap();
    assert_eq!(key_id("name", &[1], &[0; 32]), u32::from_be_bytes(first));
    assert_ne!(key_id("name", &[1], &[0; 32]), key_id("name", &[2], &[0; 32]));
}

fn entry() -> Entry {
    Entry {
        robot: Some(RobotId::new("rover-17").unwrap()),
        boot: BootId::new([9; 16]),
        time_ms: 1_790_000_000_123,
        kind: EntryKind::Stop,
        subject: "stop 00010203".to_owned(),
        outcome: Outcome::Unconfirmed,
        reasons: vec!["tpm-timeout".to_owned()],
        steps: vec![
            Step {
                name: "gate-closed".to_owned(),
                after_us: 3,
            },
            Step {
                name: "lockdown-extended".to_owned(),
                after_us: 8_200,
            },
        ],
        object: Some(HashAlg::Sha384.digest(&[b"receipt"])),
        label: Some(Labels::new(Level::Secret, Integrity::Operational)),
        within_ms: Some(500),
    }
}

#[test]
fn entries_survive_and_have_one_encoding() {
    let bytes = entry().to_canonical().unwrap();
    assert_eq!(Entry::from_canonical(&bytes).unwrap(), entry());
    let bare = Entry {
        robot: None,
        object: None,
        label: None,
        within_ms: None,
        reasons: vec![],
        steps: vec![],
        ..entry()
    };
    assert_eq!(
        Entry::from_canonical(&bare.to_canonical().unwrap()).unwrap(),
        bare
    );
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x01;
        if let Ok(other) = Entry::from_canonical(&changed) {
            assert_ne!(other, entry());
            assert_eq!(other.to_canonical().unwrap(), changed);
        }
        assert!(Entry::from_canonical(&bytes[..at]).is_err());
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(
        Entry::from_canonical(&longer).unwrap_err().fault,
        Fault::Trailing(1)
    );
    for kind in EntryKind::ALL {
        assert_eq!(EntryKind::from_name(kind.name()), Some(kind));
    }
}

#[test]
fn entries_that_no_reader_takes_are_not_written() {
    let long = |subject| Entry { subject, ..entry() }.to_canonical();
    assert!(long("x".repeat(256)).is_ok());
    assert_eq!(long("x".repeat(257)).unwrap_err().field, "subject");
    let many = Entry {
        reasons: vec!["r".to_owned(); 33],
        ..entry()
    };
    assert_eq!(many.to_canonical().unwrap_err().field, "reasons");
    let wordy = Entry {
        steps: vec![Step {
            name: "s".repeat(65),
            after_us: 0,
        }],
        ..entry()
    };
    assert_eq!(wordy.to_canonical().unwrap_err().field, "step");
}

proptest! {
    #[test]
    fn no_text_makes_the_readers_panic(text in "[\\PC\n—]{0,120}") {
        if let Ok(note) = SignedNote::decode(&text) {
            prop_assert_eq!(note.encode(), text.clone());
        }
        if let Ok(checkpoint) = Checkpoint::from_text(&text) {
            prop_assert_eq!(checkpoint.to_text(), text);
        }
    }
}
