//! The audit log's mathematics: a Merkle tree over entries (RFC 6962), its proofs, its checkpoints (C2SP
//! tlog-checkpoint and signed-note) and the canonical form of an entry.
//!
//! **Does:** hash, append, prove inclusion and consistency, verify both, read and write checkpoints strictly, and say what the
//! bytes of a log's file hold after a crash or damage.
//!
//! **Does not:** open files, sign anything or read a clock: the robot's agent and the authority each keep a log in a file that
//! they hand over as [`LogFile`]; the agent asks its TPM to certify [`Checkpoint::binding`] together with the audit anchor.
//!
//! The three most important types: [`Entry`], [`LogWriter`] over a [`Tree`], and [`Checkpoint`].
#![forbid(unsafe_code)]

mod checkpoint;
mod entry;
mod file;
mod merkle;
mod note;
mod proof;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use entry::{Entry, EntryError, EntryKind, Outcome, Step};
pub use file::{AppendError, LogFile, LogWriter, Piece, pieces};
pub use merkle::{Frontier, NodeHash, NodeSource, Tree, empty_root, leaf_hash, node_hash};
pub use note::{NoteError, NoteSignature, SignedNote, key_id};
pub use proof::{ConsistencyProof, InclusionProof, ProofError, prove_consistency, prove_inclusion, root_at};
