//! The head of the log as text (C2SP tlog-checkpoint): origin, size, root.

use std::num::ParseIntError;

use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::domain;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::NodeHash;

/// The head of a log at one size.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: NodeHash,
}

/// Why a text is no checkpoint of ours.
#[derive(Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum CheckpointError {
    /// The origin is empty, longer than 255 bytes, or has a space, a plus or a control character.
    #[error(
        "checkpoint origin {0:?} is not valid: 1 to 255 bytes without spaces, '+' and control characters"
    )]
    Origin(String),
    /// The text has not exactly three lines, each ended by a newline. Extension lines are refused.
    #[error("a checkpoint is exactly three lines: origin, size, root")]
    Lines,
    /// The size is no number.
    #[error("the checkpoint's size is no number")]
    Size(#[source] ParseIntError),
    /// The size is not in its shortest decimal form.
    #[error("the checkpoint's size has a sign or leading zeroes")]
    SizeForm,
    /// The root is not the base64 of 32 bytes.
    #[error("the checkpoint's root is not the base64 of 32 bytes")]
    Root,
}

fn is_origin(text: &str) -> bool {
    let allowed = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
    (1..=255).contains(&text.len()) && text.chars().all(allowed)
}

impl Checkpoint {
    /// A checkpoint of a log named by its origin, such as `alcub3/robot-17/audit`.
    ///
    /// # Errors
    /// [`CheckpointError::Origin`].
    pub fn new(origin: impl Into<String>, size: u64, root: NodeHash) -> Result<Self, CheckpointError> {
        let origin = origin.into();
        if is_origin(&origin) {
            Ok(Self { origin, size, root })
        } else {
            Err(CheckpointError::Origin(origin))
        }
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The number of entries.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root.
    pub const fn root(&self) -> &NodeHash {
        &self.root
    }

    /// The text that is signed: three lines, each with its newline.
    pub fn to_text(&self) -> String {
        format!(
            "{}\n{}\n{}\n",
            self.origin,
            self.size,
            STANDARD.encode(self.root.as_bytes())
        )
    }

    /// The checkpoint of exactly this text.
    ///
    /// # Errors
    /// [`CheckpointError`] says which line is wrong.
    pub fn from_text(text: &str) -> Result<Self, CheckpointError> {
        let body = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?;
        let lines: Vec<&str> = body.split('\n').collect();
        let [origin, size_text, root] = lines.as_slice() else {
            return Err(CheckpointError::Lines);
        };
        let size: u64 = size_text.parse().map_err(CheckpointError::Size)?;
        if size.to_string() != *size_text {
            return Err(CheckpointError::SizeForm);
        }
        let root = STANDARD.decode(root).map_err(|_| CheckpointError::Root)?;
        let root: [u8; 32] = root.try_into().map_err(|_| CheckpointError::Root)?;
        Self::new(*origin, size, NodeHash::new(root))
    }

    /// What the TPM certifies together with the audit anchor: H(domain ‖ 0x00 ‖ text), as qualifying data.
    pub fn binding(&self, alg: HashAlg) -> Digest {
        alg.digest(&[domain::AUDIT_HEAD.as_bytes(), &[0], self.to_text().as_bytes()])
    }
}
