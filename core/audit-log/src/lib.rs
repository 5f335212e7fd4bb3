//! The audit log's mathematics: a Merkle tree over entries (RFC 6962), its proofs, its checkpoints (C2SP
//! tlog-checkpoint and signed-note) and the canonical form of an entry.
//!
//! **Does:** hash, append, prove inclusion and consistency, verify both, and read and write checkpoints strictly.
//!
//! **Does not:** store anything, sign anything or read a clock: the robot's agent keeps the nodes and asks its TPM
//! to certify [`Checkpoint::binding`] together with the audit anchor.
//!
//! The three most important types: [`Tree`] (or its few-hash form [`Frontier`]), [`Checkpoint`] and [`Entry`].
#![forbid(unsafe_code)]

mod checkpoint;
mod entry;
mod merkle;
mod note;
mod proof;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use entry::{Entry, EntryError, EntryKind, Outcome, Step};
pub use merkle::{Frontier, NodeHash, NodeSource, Tree, empty_root, leaf_hash, node_hash};
pub use note::{NoteError, NoteSignature, SignedNote, key_id};
pub use proof::{ConsistencyProof, InclusionProof, ProofError, prove_consistency, prove_inclusion, root_at};
