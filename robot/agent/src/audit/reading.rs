//! Reads a log without opening it: for people, auditors and proofs, beside whoever has the robot open.

use super::disk::Layout;
use super::publish::{earlier_heads, last_checkpoint};
use crate::{AgentError, Result};
use alcub3_audit_log::{
    CheckedLog, Checkpoint, Finding, NoteVerifier, SignedCheckpoint, TILE_WIDTH, TileId, bundle_entries,
    check_folder, leaf_hash, pieces, tile_hashes,
};
use alcub3_fleet_protocol::audit::AuditReport;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How often a log is read again that begins a new file of entries meanwhile.
const TRIES: usize = 3;

/// A log in a state folder, as it is on the disk.
#[derive(Clone, Debug)]
pub struct AuditReader {
    layout: Layout,
}

/// A log that was checked.
#[derive(Debug)]
pub struct VerifiedLog {
    /// Its folder of tiles.
    pub checked: CheckedLog,
    /// How many entries are on the disk.
    pub size: u64,
    /// What is wrong, by position.
    pub findings: Vec<Finding>,
}

impl AuditReader {
    /// The log of a robot's state folder.
    pub fn new(folder: &Path) -> Self {
        Self {
            layout: Layout::new(folder),
        }
    }

    /// The folder that others can read as a log (C2SP tlog-tiles).
    pub fn tiles(&self) -> PathBuf {
        self.layout.tiles()
    }

    /// All leaves, oldest first. An entry that is being written is not there yet.
    ///
    /// # Errors
    /// The file system's; [`AgentError::AuditTiles`] where a bundle of entries is missing.
    pub fn leaves(&self) -> Result<Vec<Vec<u8>>> {
        let mut error = AgentError::AuditTiles { before: 0 };
        for _ in 0..TRIES {
            match self.leaves_now() {
                Err(AgentError::System(gone)) if gone.kind() == io::ErrorKind::NotFound => {
                    error = AgentError::System(gone);
                }
                read => return read,
            }
        }
        Err(error)
    }

    fn base(&self) -> Result<u64> {
        match self.layout.resume() {
            Some(resume) => Ok(resume.base),
            None => Ok(self.layout.bases()?.last().copied().unwrap_or(0)),
        }
    }

    fn leaves_now(&self) -> Result<Vec<Vec<u8>>> {
        let base = self.base()?;
        let mut leaves = self.bundled(base)?;
        let content = fs::read(self.layout.entries(base))?;
        leaves.extend(pieces(&content).map(|piece| piece.leaf().to_vec()));
        Ok(leaves)
    }

    /// The first entries, out of their bundles.
    fn bundled(&self, before: u64) -> Result<Vec<Vec<u8>>> {
        let mut leaves = Vec::new();
        for tile in TileId::of_level(0, before) {
            let bundle = tile.read_entries(&|path: &str| self.layout.read(path));
            let bundle = bundle.ok_or(AgentError::AuditTiles { before })?;
            let entries = bundle_entries(&bundle).ok_or(AgentError::AuditTiles { before })?;
            leaves.extend(entries.into_iter().map(<[u8]>::to_vec));
        }
        Ok(leaves)
    }

    /// The last checkpoint, with the key that signed it.
    pub fn last_checkpoint(&self) -> Option<(SignedCheckpoint, NoteVerifier)> {
        last_checkpoint(&self.layout)
    }

    /// Earlier checkpoints with their notes, oldest first.
    pub fn earlier(&self, key: &NoteVerifier) -> Vec<(String, Checkpoint)> {
        earlier_heads(&self.layout, key)
    }

    /// The last head that the chip counted, as it would leave the robot.
    pub fn anchored(&self) -> Option<AuditReport> {
        AuditReport::from_canonical(&self.layout.read(super::ANCHORED)?).ok()
    }

    /// A file of the log's folder.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.layout.read(path)
    }

    /// Checks the log from its entries up, against the log's key and heads that somebody holds.
    ///
    /// # Errors
    /// The file system's.
    pub fn verify(&self, key: &NoteVerifier, held: &[Checkpoint]) -> Result<VerifiedLog> {
        let mut heads: Vec<Checkpoint> = self.earlier(key).into_iter().map(|(_, head)| head).collect();
        heads.extend_from_slice(held);
        let checked = check_folder(&|path: &str| self.layout.read(path), key, &heads, &[]);
        let mut findings = checked.findings.clone();
        let base = self.base()?;
        let content = match fs::read(self.layout.entries(base)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let laid_out = self.layout.resume().map_or(base, |resume| resume.size);
        let mut size = base;
        for piece in pieces(&content) {
            let index = size;
            size = size.saturating_add(1);
            if index < laid_out && self.laid_out_hash(index, laid_out) != Some(leaf_hash(piece.leaf())) {
                findings.push(Finding::Changed { index });
            } else if matches!(piece, alcub3_audit_log::Piece::Damaged(_)) {
                findings.push(Finding::Damaged { index });
            }
        }
        if size < laid_out {
            findings.push(Finding::Missing {
                from: size,
                before: laid_out,
            });
        }
        findings.sort_by_key(|finding| finding.position().unwrap_or_default());
        findings.dedup();
        Ok(VerifiedLog {
            checked,
            size: size.max(laid_out),
            findings,
        })
    }

    fn laid_out_hash(&self, index: u64, size: u64) -> Option<alcub3_audit_log::NodeHash> {
        let tile = TileId::in_log(0, index / TILE_WIDTH, size)?;
        let hashes = tile_hashes(&self.layout.read(&tile.path())?)?;
        hashes.get(usize::try_from(index % TILE_WIDTH).ok()?).copied()
    }
}
