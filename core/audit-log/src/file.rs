//! The log's file: entries one after the other, each behind its length in bytes as a big-endian u32.

use crate::{Entry, EntryError, EntryKind, Frontier, NodeHash, leaf_hash};
use std::io;

/// The longest entry, in bytes: with its length in front it still fits an entry bundle (C2SP tlog-tiles).
const LONGEST_ENTRY: u32 = 65_531;
/// The longest stretch of damage that counts as one leaf, in bytes.
const LONGEST_DAMAGE: usize = 65_535;

/// Where the bytes of a log are kept.
pub trait LogFile {
    /// Appends bytes; on return they survive a power cut.
    ///
    /// # Errors
    /// The operating system's; any part of the bytes may then be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file to a length in bytes: what is appended next begins there.
    ///
    /// # Errors
    /// The operating system's.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

/// Why an entry is not in the log.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// It has no canonical form.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The file refused it; what was written of it is cut off again.
    #[error("audit log: {0}; check that the disk has room")]
    Io(#[from] io::Error),
    /// The file could not be brought back to its last whole entry after an earlier failure.
    #[error(
        "the audit log is damaged by a failed write and takes no more entries; free space on the disk and start again"
    )]
    Broken,
}

/// A log that is appended to, with the Merkle tree over its entries (RFC 6962).
#[derive(Debug)]
pub struct LogWriter<F> {
    file: F,
    /// Bytes of whole entries: where the next one begins.
    bytes: u64,
    /// A failed append could not be undone, so that nothing may follow it.
    broken: bool,
    frontier: Frontier,
}

/// The canonical bytes of an entry that a log takes.
#[derive(Clone, Debug)]
pub struct Record(Vec<u8>);

impl Record {
    /// The entry's canonical bytes.
    ///
    /// # Errors
    /// [`EntryError`] where it has none, or too many.
    pub fn new(entry: &Entry) -> Result<Self, EntryError> {
        let bytes = entry.to_canonical()?;
        let most = usize::try_from(LONGEST_ENTRY).unwrap_or(usize::MAX);
        if bytes.len() > most {
            return Err(EntryError {
                field: "entry",
                found: bytes.len(),
                most,
            });
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<F: LogFile> LogWriter<F> {
    /// Goes on with a log whose file holds `content`. An entry that a crash cut off was never acknowledged: it is removed.
    /// Damage before other entries stays where it is and counts as one entry; gives the subjects of the entries of kind
    /// [`EntryKind::Fault`] that name damage which no entry names yet, for the caller to append.
    ///
    /// # Errors
    /// The file's.
    pub fn open(file: F, content: &[u8]) -> io::Result<(Self, Vec<String>)> {
        Self::open_at(file, Frontier::new(), 0, content)
    }

    /// As [`Self::open`] for a log of which a part is known: its tree, and how many bytes of the file that part takes. `content` is
    /// what follows.
    ///
    /// # Errors
    /// The file's.
    pub fn open_at(
        mut file: F,
        mut frontier: Frontier,
        known_bytes: u64,
        content: &[u8],
    ) -> io::Result<(Self, Vec<String>)> {
        let (mut damage, mut named) = (Vec::new(), Vec::new());
        let mut bytes = known_bytes;
        for piece in pieces(content) {
            frontier.append_with(leaf_hash(piece.leaf()), |_| ());
            match &piece {
                Piece::Entry { entry, .. } if entry.kind == EntryKind::Fault => {
                    named.push(entry.subject.clone());
                }
                Piece::Entry { .. } => {}
                Piece::Damaged(stretch) => damage.push(damage_subject(bytes, stretch.len())),
            }
            bytes = bytes.saturating_add(length_of(piece.len()));
        }
        damage.retain(|subject| !named.contains(subject));
        if bytes < known_bytes.saturating_add(length_of(content.len())) {
            file.cut(bytes)?;
        }
        let log = Self {
            file,
            bytes,
            broken: false,
            frontier,
        };
        Ok((log, damage))
    }

    /// Appends an entry; on return it is on the disk. Gives its index.
    ///
    /// # Errors
    /// [`AppendError`]; the entry then does not count, and cannot swallow what follows.
    pub fn append(&mut self, entry: &Entry) -> Result<u64, AppendError> {
        self.append_all(&[Record::new(entry)?])
    }

    /// Appends entries with one write; on return all are on the disk. Gives the index of the first.
    ///
    /// # Errors
    /// [`AppendError`]; none of them then counts, and none can swallow what follows.
    pub fn append_all(&mut self, records: &[Record]) -> Result<u64, AppendError> {
        if self.broken {
            return Err(AppendError::Broken);
        }
        let length = records.iter().map(|Record(bytes)| bytes.len() + 4).sum();
        let mut written = Vec::with_capacity(length);
        for Record(bytes) in records {
            // A record is no longer than LONGEST_ENTRY.
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            written.extend_from_slice(&length.to_be_bytes());
            written.extend_from_slice(bytes);
        }
        if let Err(error) = self.file.append(&written) {
            self.broken = self.file.cut(self.bytes).is_err();
            return Err(error.into());
        }
        self.bytes = self.bytes.saturating_add(length_of(written.len()));
        let first = self.frontier.size();
        for Record(bytes) in records {
            self.frontier.append_with(leaf_hash(bytes), |_| ());
        }
        Ok(first)
    }

    /// Goes on in another file, which has so many bytes of the last entries: those before are kept elsewhere.
    pub fn move_to(&mut self, file: F, bytes: u64) {
        (self.file, self.bytes) = (file, bytes);
    }

    /// Takes nothing more: where a start will look for the entries is not known.
    pub const fn break_off(&mut self) {
        self.broken = true;
    }

    /// The tree over the entries.
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// The bytes of whole entries in the file.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many entries there are, and the Merkle root over them (RFC 6962).
    pub fn head(&self) -> (u64, NodeHash) {
        (self.frontier.size(), self.frontier.root())
    }
}

fn length_of(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn damage_subject(at: u64, length: usize) -> String {
    format!("audit log: {length} bytes from byte {at} are damaged")
}

/// A stretch of a log's file: one leaf of its tree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Piece<'a> {
    /// An entry.
    Entry {
        /// Its canonical bytes.
        bytes: &'a [u8],
        /// What they say.
        entry: Box<Entry>,
    },
    /// Bytes that are no entry.
    Damaged(&'a [u8]),
}

impl<'a> Piece<'a> {
    /// The bytes that the tree has as a leaf.
    pub const fn leaf(&self) -> &'a [u8] {
        match self {
            Self::Entry { bytes, .. } => bytes,
            Self::Damaged(bytes) => bytes,
        }
    }

    /// Bytes in the file, the length's included.
    #[allow(clippy::len_without_is_empty)]
    pub const fn len(&self) -> usize {
        match self {
            Self::Entry { bytes, .. } => bytes.len().saturating_add(4),
            Self::Damaged(bytes) => bytes.len(),
        }
    }
}

/// What a log's file holds. Bytes that are no entry are skipped up to the next one; where no other follows, they may be what a
/// crash left of an entry, and are none of the log's.
pub fn pieces(content: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    let mut left = content;
    std::iter::from_fn(move || {
        let piece = next_piece(left)?;
        left = left.get(piece.len()..).unwrap_or_default();
        Some(piece)
    })
}

fn next_piece(bytes: &[u8]) -> Option<Piece<'_>> {
    if let Some(entry) = entry_at(bytes) {
        return Some(entry);
    }
    // The next entry ends the damage; or the file's end does, where all but the length is whole or nothing but the content
    // is not.
    let next = (1..bytes.len()).find(|at| bytes.get(*at..).and_then(entry_at).is_some());
    let whole_but_length = || {
        bytes
            .get(4..)
            .is_some_and(|entry| Entry::from_canonical(entry).is_ok())
    };
    let whole_but_content =
        || framed(bytes).is_some_and(|entry| entry.len() + 4 == bytes.len() && !entry.is_empty());
    let no_length = || {
        bytes
            .first_chunk::<4>()
            .is_some_and(|length| u32::from_be_bytes(*length) > LONGEST_ENTRY)
    };
    let is_damage = || whole_but_length() || whole_but_content() || no_length();
    let end = next.or_else(|| is_damage().then_some(bytes.len()))?;
    bytes.get(..end.min(LONGEST_DAMAGE)).map(Piece::Damaged)
}

/// The bytes that a length in front of them counts.
fn framed(bytes: &[u8]) -> Option<&[u8]> {
    let (length, tail) = bytes.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length);
    let entry = tail.get(..usize::try_from(length).ok()?)?;
    (length <= LONGEST_ENTRY).then_some(entry)
}

fn entry_at(bytes: &[u8]) -> Option<Piece<'_>> {
    let bytes = framed(bytes)?;
    let entry = Box::new(Entry::from_canonical(bytes).ok()?);
    Some(Piece::Entry { bytes, entry })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::Outcome;
    use alcub3_trust_model::{BootId, RobotId};
    use std::cell::RefCell;
    use std::rc::Rc;

    /// Bytes in memory, that take only so many, and may not be cut.
    #[derive(Clone)]
    struct Memory {
        bytes: Rc<RefCell<Vec<u8>>>,
        room: usize,
        cuts: bool,
    }

    impl Memory {
        fn new(bytes: &[u8]) -> Self {
            Self {
                bytes: Rc::new(RefCell::new(bytes.to_vec())),
                room: usize::MAX,
                cuts: true,
            }
        }
    }

    impl LogFile for Memory {
        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            let mut held = self.bytes.borrow_mut();
            let room = self.room.saturating_sub(held.len()).min(bytes.len());
            held.extend_from_slice(&bytes[..room]);
            if room < bytes.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        }

        fn cut(&mut self, length: u64) -> io::Result<()> {
            if !self.cuts {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            self.bytes.borrow_mut().truncate(usize::try_from(length).unwrap());
            Ok(())
        }
    }

    fn entry(subject: &str) -> Entry {
        Entry {
            robot: Some(RobotId::new("r1").unwrap()),
            boot: BootId::new([1; 16]),
            time_ms: 7,
            kind: EntryKind::Start,
            subject: subject.into(),
            outcome: Outcome::Done,
            reasons: Vec::new(),
            steps: Vec::new(),
            object: None,
            label: None,
            within_ms: None,
        }
    }

    /// As whoever keeps a log opens it; gives its content and head.
    fn opened(content: &[u8]) -> (Vec<u8>, (u64, NodeHash)) {
        let memory = Memory::new(content);
        let (mut log, damage) = LogWriter::open(memory.clone(), content).unwrap();
        for subject in damage {
            let fault = Entry {
                kind: EntryKind::Fault,
                outcome: Outcome::Failed,
                ..entry(&subject)
            };
            log.append(&fault).unwrap();
        }
        let bytes = memory.bytes.borrow().clone();
        (bytes, log.head())
    }

    /// Three entries, and where each begins and the last ends.
    fn three_entries() -> (Vec<u8>, Vec<usize>) {
        let memory = Memory::new(&[]);
        let (mut log, _) = LogWriter::open(memory.clone(), &[]).unwrap();
        let mut ends = vec![0];
        for subject in ["one", "two", "three"] {
            log.append(&entry(subject)).unwrap();
            ends.push(memory.bytes.borrow().len());
        }
        let bytes = memory.bytes.borrow().clone();
        (bytes, ends)
    }

    #[test]
    fn one_damaged_byte_costs_no_other_entry_wherever_it_is() {
        let (right, ends) = three_entries();
        for at in 0..right.len() {
            for bit in [0x01, 0x80] {
                let mut bytes = right.clone();
                bytes[at] ^= bit;
                let (kept, head) = opened(&bytes);
                assert_eq!(
                    kept.get(..right.len()),
                    Some(&bytes[..]),
                    "byte {at}: nothing is cut off"
                );
                let in_content = ends
                    .iter()
                    .rev()
                    .find(|end| **end <= at)
                    .is_some_and(|end| at >= end + 4);
                let still_an_entry = in_content && kept.len() == right.len();
                assert!(
                    still_an_entry || head.0 == 4,
                    "byte {at}: three, and one that names it"
                );
                // Named once.
                assert_eq!(opened(&kept), (kept, head), "byte {at}");
            }
        }
    }

    #[test]
    fn a_last_entry_that_is_damaged_all_over_is_kept_where_no_crash_leaves_such_bytes() {
        let (mut bytes, ends) = three_entries();
        bytes[ends[2]..].fill(0xff);
        let (kept, head) = opened(&bytes);
        assert_eq!(head.0, 4);
        assert!(kept.starts_with(&bytes));
    }

    #[test]
    fn what_a_crash_left_of_an_entry_is_removed() {
        let (right, ends) = three_entries();
        for length in ends[2]..right.len() {
            let (kept, head) = opened(&right[..length]);
            assert_eq!((head.0, &kept[..]), (2, &right[..ends[2]]));
            // A file system may have made room that was never written.
            let mut hollow = right[..length].to_vec();
            hollow.resize(right.len(), 0);
            if hollow != right {
                let head = opened(&hollow).1.0;
                assert!((2..=4).contains(&head), "{length}: {head}");
            }
        }
    }

    #[test]
    fn an_entry_that_has_no_room_is_cut_off_and_does_not_count() {
        let memory = Memory::new(&[]);
        let (mut log, _) = LogWriter::open(memory.clone(), &[]).unwrap();
        log.append(&entry("one")).unwrap();
        let (head, whole) = (log.head(), memory.bytes.borrow().clone());
        for room in 0..whole.len() {
            log.file.room = whole.len() + room;
            assert!(matches!(log.append(&entry("two")), Err(AppendError::Io(_))));
            assert_eq!((log.head(), &*memory.bytes.borrow()), (head, &whole));
        }
        log.file.room = usize::MAX;
        log.append(&entry("two")).unwrap();
        assert_eq!(opened(&memory.bytes.borrow()).1, log.head());
    }

    #[test]
    fn after_a_failure_that_cannot_be_undone_nothing_is_appended() {
        let mut memory = Memory::new(&[]);
        (memory.room, memory.cuts) = (3, false);
        let (mut log, _) = LogWriter::open(memory.clone(), &[]).unwrap();
        assert!(matches!(log.append(&entry("one")), Err(AppendError::Io(_))));
        (log.file.room, log.file.cuts) = (usize::MAX, true);
        assert!(matches!(log.append(&entry("two")), Err(AppendError::Broken)));
        assert_eq!(memory.bytes.borrow().len(), 3);
    }
}
