//! Who signed a checkpoint: the log's own key, witnesses, and nobody else.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod published;

use alcub3_audit_log::{NoteProofError, NoteSigner, NoteVerifier, SignedCheckpoint, empty_root};
use alcub3_crypto::{Ed25519Key, Secret};
use published::{robot, signer};

fn key(seed: u8) -> Ed25519Key {
    Ed25519Key::from_seed(&Secret::from_slice(&[seed; 32])).unwrap()
}

#[test]
fn a_checkpoint_is_of_the_key_that_its_name_has_the_fingerprint_of() {
    let (signer, other) = (signer(), NoteSigner::of_log(&robot(), key(8)));
    let head = signer.checkpoint(0, empty_root()).unwrap();
    let note = head.note().encode();
    assert_eq!(SignedCheckpoint::verify(&note, signer.verifier()), Ok(head));
    let name = other.verifier().name().to_owned();
    assert_eq!(
        SignedCheckpoint::verify(&note, other.verifier()),
        Err(NoteProofError::Unsigned(name))
    );
    let text = signer.verifier().to_text();
    let read = NoteVerifier::from_text(&text).unwrap();
    assert_eq!(&read, signer.verifier());
    assert!(read.is_named_by_key() && read.is_log_of(&robot()) && read.robot() == Some(robot()));
    for at in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        if let Some(byte) = changed.get_mut(at) {
            *byte ^= 0x01;
        }
        let changed = String::from_utf8(changed).unwrap();
        let taken = NoteVerifier::from_text(&changed).is_ok_and(|key| key.is_named_by_key());
        assert!(!taken, "{changed}");
    }
}

#[test]
fn a_witness_signs_the_time_too_and_only_his_key_checks_it() {
    let signer = signer();
    let witness = NoteSigner::of_witness("witness.example/w1", key(9));
    let head = signer.checkpoint(0, empty_root()).unwrap();
    let line = witness.sign(head.note().text(), 1_790_000_000);
    let cosigned = head.clone().cosigned(line.clone(), witness.verifier()).unwrap();
    let note = SignedCheckpoint::verify(&cosigned.note().encode(), signer.verifier()).unwrap();
    assert_eq!(witness.verifier().check(note.note()), Ok(Some(1_790_000_000)));
    let text = witness.verifier().to_text();
    assert_eq!(NoteVerifier::from_text(&text).as_ref(), Ok(witness.verifier()));
    let mut later = line;
    if let Some(byte) = later.signature.get_mut(7) {
        *byte ^= 1;
    }
    assert!(head.cosigned(later, witness.verifier()).is_err(), "another time");
    assert!(witness.verifier().check(cosigned.note()).is_ok());
}
