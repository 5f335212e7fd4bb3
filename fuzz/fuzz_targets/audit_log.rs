//! Audit entries, checkpoints and signed notes: what is accepted has one encoding.
#![no_main]

use alcub3_audit_log::{Checkpoint, Entry, SignedNote};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(entry) = Entry::from_canonical(data) {
        assert_eq!(entry.to_canonical().expect("a parsed entry encodes"), data);
    }
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
