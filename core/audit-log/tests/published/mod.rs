//! A log laid out as files in memory, with a key of its own.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use alcub3_audit_log::{Checkpoint, Entry, EntryKind, NoteSigner, Outcome, TileBuilder, TileReader};
use alcub3_crypto::{Ed25519Key, Secret};
use alcub3_trust_model::{BootId, Integrity, Labels, Level, RobotId};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone)]
pub struct Published {
    pub files: BTreeMap<String, Vec<u8>>,
    pub signer: Arc<NoteSigner>,
    pub entries: Vec<Vec<u8>>,
    pub heads: Vec<String>,
    size: u64,
}

pub fn robot() -> RobotId {
    RobotId::new("rover-1").unwrap()
}

pub fn labels(level: Level) -> Labels {
    Labels::new(level, Integrity::Operational)
}

/// Every third entry is SECRET, every third CUI, the others are UNCLASSIFIED.
pub fn entry(n: u64) -> Vec<u8> {
    let level = [Level::Unclassified, Level::Cui, Level::Secret][usize::try_from(n % 3).unwrap()];
    let entry = Entry {
        robot: Some(robot()),
        boot: BootId::new([1; 16]),
        time_ms: 1_790_000_000_000 + n,
        kind: EntryKind::Command,
        subject: format!("operator-{n}"),
        outcome: Outcome::Done,
        reasons: Vec::new(),
        steps: Vec::new(),
        object: None,
        label: Some(labels(level)),
        within_ms: None,
    };
    entry.to_canonical().unwrap()
}

pub fn signer() -> NoteSigner {
    NoteSigner::of_log(
        &robot(),
        Ed25519Key::from_seed(&Secret::from_slice(&[7; 32])).unwrap(),
    )
}

impl Published {
    pub fn empty() -> Self {
        Self {
            files: BTreeMap::new(),
            signer: Arc::new(signer()),
            entries: Vec::new(),
            heads: Vec::new(),
            size: 0,
        }
    }

    pub fn of(size: u64) -> Self {
        let mut log = Self::empty();
        log.grow((0..size).map(entry).collect());
        log
    }

    /// As a log with checkpoints at these sizes.
    pub fn with_heads(sizes: &[u64]) -> Self {
        let mut log = Self::empty();
        for size in sizes {
            log.grow((log.size..*size).map(entry).collect());
        }
        log
    }

    pub fn reader(&self) -> impl TileReader + '_ {
        |path: &str| self.files.get(path).cloned()
    }

    pub fn grow(&mut self, added: Vec<Vec<u8>>) {
        let mut builder = TileBuilder::behind(self.size, &self.reader()).unwrap();
        let mut files = Vec::new();
        for entry in &added {
            builder.push(entry, |file| files.push(file));
        }
        files.extend(builder.partial());
        let (size, root) = (builder.frontier().size(), builder.frontier().root());
        self.files
            .extend(files.into_iter().map(|file| (file.path, file.bytes)));
        let note = self.signer.checkpoint(size, root).unwrap().note().encode();
        self.files
            .insert("checkpoint".to_owned(), note.clone().into_bytes());
        self.heads.push(note);
        self.entries.extend(added);
        self.size = size;
    }

    pub fn earlier(&self) -> Vec<Checkpoint> {
        let (_, earlier) = self.heads.split_last().unwrap();
        let checkpoint = |note: &String| {
            let note = alcub3_audit_log::SignedCheckpoint::verify(note, self.signer.verifier()).unwrap();
            note.checkpoint().clone()
        };
        earlier.iter().map(checkpoint).collect()
    }
}
