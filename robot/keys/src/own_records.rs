//! The records in a robot's folder that nobody but this crate reads, for fuzzing: a disk is foreign bytes.

use crate::audit::NoteKeyRecord;
use crate::journal::Journal;
use crate::purge::Intent;
use crate::record::RobotRecord;
use crate::recovery::RecoverableKey;
use crate::store::PolicyMark;

/// What the record that takes these bytes encodes to; `None` where none does. A robot's record is only read: its enrolment is
/// judged before it can be written again.
pub fn reencoded(bytes: &[u8]) -> Option<Vec<u8>> {
    if let Ok(key) = RecoverableKey::from_canonical(bytes) {
        return Some(key.to_canonical());
    }
    if let Ok(intent) = Intent::from_canonical(bytes) {
        return Some(intent.to_canonical());
    }
    if let Ok(mark) = PolicyMark::from_canonical(bytes) {
        return Some(mark.to_canonical());
    }
    if let Ok(journal) = Journal::from_canonical(bytes) {
        return Some(journal.to_canonical().to_vec());
    }
    if let Ok(record) = NoteKeyRecord::from_canonical(bytes) {
        return Some(record.to_canonical());
    }
    RobotRecord::is_readable(bytes).then(|| bytes.to_vec())
}
