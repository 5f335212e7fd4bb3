//! The audit log's mathematics: a Merkle tree over entries (RFC 6962), its proofs, its files (C2SP tlog-tiles), its checkpoints
//! (C2SP tlog-checkpoint, signed-note and tlog-cosignature) and the canonical form of an entry.
//!
//! **Does:** hash, append, prove inclusion and consistency, verify both, sign, read and write checkpoints strictly, say what the
//! bytes of a log's file hold after a crash or damage, lay a log out as tiles, find what was changed in one and where, cut an
//! auditor's bundle and verify it, and say when an entry must be on the disk and a checkpoint off the robot.
//!
//! **Does not:** open files, read a clock or talk to a TPM: the robot's agent and the authority each keep a log in a file that
//! they hand over as [`LogFile`]; the agent asks its TPM to certify [`Checkpoint::binding`] together with the audit anchor.
//!
//! The three most important types: [`Entry`], [`LogWriter`] over a [`Frontier`], and [`SignedCheckpoint`].
#![forbid(unsafe_code)]

mod bundle;
mod check;
mod checkpoint;
mod durability;
mod entry;
mod file;
mod finding;
mod held;
mod merkle;
mod note;
mod note_key;
mod proof;
mod tile;

pub use bundle::{
    AuditBundle, BundleParts, Cut, Part, TpmAnchor, VerifiedBundle, decode_anchor, encode_anchor,
};
pub use check::{CheckedLog, check_folder};
pub use checkpoint::{Checkpoint, CheckpointError};
pub use durability::{CHECKPOINT_ENTRIES, CHECKPOINT_MS, CheckpointSchedule, Due, Durability};
pub use entry::{Entry, EntryError, EntryKind, Outcome, Step};
pub use file::{AppendError, LogFile, LogWriter, Piece, Record, pieces};
pub use finding::Finding;
pub use held::{CountFault, Divergence};
pub use merkle::{Frontier, NodeHash, NodeSource, Tree, empty_root, leaf_hash, node_hash};
pub use note::{NoteError, NoteSignature, SignedNote, key_id};
pub use note_key::{
    NoteKeyError, NoteKeyKind, NoteProofError, NoteSigner, NoteVerifier, SignedCheckpoint, log_origin,
};
pub use proof::{ConsistencyProof, InclusionProof, ProofError, prove_consistency, prove_inclusion, root_at};
pub use tile::{
    TILE_WIDTH, TileBuilder, TileFile, TileId, TileReader, TiledNodes, bundle_entries, tile_hashes,
};
