//! Audit entries, the files of logs, checkpoints and signed notes: what is accepted has one encoding, and a file is read whole.
#![no_main]

use alcub3_audit_log::{
    AuditBundle, Checkpoint, Entry, NoteVerifier, Piece, SignedNote, bundle_entries, pieces, tile_hashes,
};
use alcub3_fleet_protocol::audit::AuditReport;
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
    if let Some(entries) = bundle_entries(data) {
        let length: usize = entries.iter().map(|entry| entry.len() + 2).sum();
        assert_eq!(length, data.len());
    }
    if let Some(hashes) = tile_hashes(data) {
        assert_eq!(hashes.len() * 32, data.len());
    }
    if let Ok(bundle) = AuditBundle::from_canonical(data) {
        assert_eq!(bundle.to_canonical(), data);
        if let Ok(key) = NoteVerifier::from_text(&bundle.key) {
            // Nobody here can sign: whatever it says, it does not panic and does not hold.
            assert!(bundle.verify(&key).is_err() || bundle.note.contains("alcub3/rover-1/audit/"));
        }
    }
    if let Ok(report) = AuditReport::from_canonical(data) {
        assert_eq!(report.to_canonical(), data);
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(checkpoint) = Checkpoint::from_text(text) {
        assert_eq!(checkpoint.to_text(), text);
    }
    if let Ok(key) = NoteVerifier::from_text(text) {
        assert_eq!(key.to_text(), text);
    }
    if let Ok(note) = SignedNote::decode(text) {
        assert_eq!(note.encode(), text);
    }
});
