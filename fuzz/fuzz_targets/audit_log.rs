//! Audit entries, the files of logs, checkpoints and signed notes: what is accepted has one encoding, and a file is read whole.
#![no_main]

use alcub3_audit_log::{Checkpoint, Entry, Piece, SignedNote, pieces};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(entry) = Entry::from_canonical(data) {
        assert_eq!(entry.to_canonical().expect("a parsed entry encodes"), data);
    }
    let read: usize = pieces(data)
        .map(|piece| match piece {
            Piece::Entry { bytes, .. } => bytes.len() + 4,
            Piece::Damaged(bytes) => bytes.len(),
        })
        .sum();
    assert!(read <= data.len());
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(checkpoint) = Checkpoint::from_text(text) {
        assert_eq!(checkpoint.to_text(), text);
    }
    if let Ok(note) = SignedNote::decode(text) {
        assert_eq!(note.encode(), text);
    }
});
