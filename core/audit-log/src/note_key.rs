//! Who signs the notes of a log: the log's own key, and witnesses (C2SP signed-note, tlog-checkpoint and tlog-cosignature).

use alcub3_crypto::{Ed25519Key, Ed25519PublicKey, HashAlg};
use alcub3_trust_model::RobotId;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::{Checkpoint, CheckpointError, NoteError, NoteSignature, SignedNote, key_id};

/// Signature type of a log's own key.
const ED25519: u8 = 0x01;
/// Signature type of a witness's cosignature.
const COSIGNATURE: u8 = 0x04;
/// How much of the key's SHA-256 a log's name has, in bytes.
const FINGERPRINT_BYTES: usize = 16;

/// What a key's signatures are.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum NoteKeyKind {
    /// A log's own, over the note's text.
    Log,
    /// A witness's, over the note's text and the time.
    Witness,
}

impl NoteKeyKind {
    const fn signature_type(self) -> u8 {
        match self {
            Self::Log => ED25519,
            Self::Witness => COSIGNATURE,
        }
    }
}

/// A key that checks the signatures of notes, with its name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NoteVerifier {
    name: String,
    kind: NoteKeyKind,
    key: Ed25519PublicKey,
}

/// Why a key's text is none.
#[derive(Copy, Clone, Debug, thiserror::Error, Eq, PartialEq)]
#[error(
    "not the key of a log or a witness: expected name+hash+key, as C2SP signed-note has it, of type Ed25519"
)]
pub struct NoteKeyError;

/// Why a note proves nothing.
#[derive(Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum NoteProofError {
    /// It is no note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Its text is no checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The key did not sign it.
    #[error("the note has no signature of {0}")]
    Unsigned(String),
    /// A signature of that name and key does not verify.
    #[error("the signature of {0} does not verify: the note was changed")]
    Signature(String),
    /// It is of another log than the key's.
    #[error("the checkpoint is of the log {found}, expected was {expected}")]
    Origin {
        /// The log it names.
        found: String,
        /// The key's.
        expected: String,
    },
}

/// The name of a robot's log: it has the note key's fingerprint, so that whoever signs the name vouches for the key.
pub fn log_origin(robot: &RobotId, key: &Ed25519PublicKey) -> String {
    let digest = HashAlg::Sha256.digest(&[key.as_bytes()]);
    let fingerprint = digest.as_bytes().iter().take(FINGERPRINT_BYTES);
    let mut origin = format!("alcub3/{robot}/audit/");
    fingerprint.for_each(|byte| origin.push_str(&format!("{byte:02x}")));
    origin
}

impl NoteVerifier {
    /// A key with its name.
    pub fn new(name: impl Into<String>, kind: NoteKeyKind, key: Ed25519PublicKey) -> Self {
        let name = name.into();
        Self { name, kind, key }
    }

    /// The key of a robot's log.
    pub fn of_log(robot: &RobotId, key: Ed25519PublicKey) -> Self {
        Self::new(log_origin(robot, &key), NoteKeyKind::Log, key)
    }

    /// The key of a text: `name+hash+base64(type ‖ key)`.
    ///
    /// # Errors
    /// [`NoteKeyError`] for anything else.
    pub fn from_text(text: &str) -> Result<Self, NoteKeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteKeyError);
        };
        let bytes = STANDARD.decode(key).map_err(|_| NoteKeyError)?;
        let (kind, key) = bytes.split_first().ok_or(NoteKeyError)?;
        let kind = match *kind {
            ED25519 => NoteKeyKind::Log,
            COSIGNATURE => NoteKeyKind::Witness,
            _ => return Err(NoteKeyError),
        };
        let key = Ed25519PublicKey::new(key.try_into().map_err(|_| NoteKeyError)?);
        let verifier = Self::new(name, kind, key);
        if verifier.to_text() == text && id.len() == 8 && crate::note::is_name(name) {
            Ok(verifier)
        } else {
            Err(NoteKeyError)
        }
    }

    /// The key as text.
    pub fn to_text(&self) -> String {
        let key = [&[self.kind.signature_type()], self.key.as_bytes().as_slice()].concat();
        format!("{}+{:08x}+{}", self.name, self.key_id(), STANDARD.encode(key))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key.
    pub const fn key(&self) -> &Ed25519PublicKey {
        &self.key
    }

    /// Whether the name is the one that a robot's log with this key has.
    pub fn is_log_of(&self, robot: &RobotId) -> bool {
        self.kind == NoteKeyKind::Log && self.name == log_origin(robot, &self.key)
    }

    /// Whether the name ends in this key's fingerprint: whoever signed the name vouches for the key.
    pub fn is_named_by_key(&self) -> bool {
        let robot = self
            .name
            .strip_prefix("alcub3/")
            .and_then(|rest| rest.split_once("/audit/"));
        robot
            .and_then(|(robot, _)| RobotId::new(robot).ok())
            .is_some_and(|robot| self.is_log_of(&robot))
    }

    /// The robot whose log the name says it is.
    pub fn robot(&self) -> Option<RobotId> {
        let robot = self.name.strip_prefix("alcub3/")?.split_once("/audit/")?.0;
        RobotId::new(robot).ok()
    }

    fn key_id(&self) -> u32 {
        key_id(&self.name, &[self.kind.signature_type()], self.key.as_bytes())
    }

    /// Checks the key's signature on a note. Of a witness, gives when it says it signed, in seconds since 1970.
    ///
    /// # Errors
    /// [`NoteProofError::Unsigned`] or [`NoteProofError::Signature`].
    pub fn check(&self, note: &SignedNote) -> Result<Option<u64>, NoteProofError> {
        let id = self.key_id();
        let mut found = note
            .signatures()
            .iter()
            .filter(|line| line.name == self.name && line.key_id == id);
        let line = found
            .next()
            .ok_or_else(|| NoteProofError::Unsigned(self.name.clone()))?;
        let wrong = || NoteProofError::Signature(self.name.clone());
        let (time, signature) = match self.kind {
            NoteKeyKind::Log => (None, line.signature.as_slice()),
            NoteKeyKind::Witness => {
                let (time, signature) = line.signature.split_first_chunk::<8>().ok_or_else(wrong)?;
                (Some(u64::from_be_bytes(*time)), signature)
            }
        };
        let message = signed_message(note.text(), time);
        self.key
            .verify(message.as_bytes(), signature)
            .map_err(|_| wrong())?;
        Ok(time)
    }
}

/// What a signature is over.
fn signed_message(text: &str, time_s: Option<u64>) -> String {
    match time_s {
        Some(time_s) => format!("cosignature/v1\ntime {time_s}\n{text}"),
        None => text.to_owned(),
    }
}

/// A key that signs notes, with its name.
#[derive(Debug)]
pub struct NoteSigner {
    verifier: NoteVerifier,
    key: Ed25519Key,
}

impl NoteSigner {
    /// The key of a robot's log.
    pub fn of_log(robot: &RobotId, key: Ed25519Key) -> Self {
        let verifier = NoteVerifier::of_log(robot, key.public());
        Self { verifier, key }
    }

    /// A witness's key.
    pub fn of_witness(name: impl Into<String>, key: Ed25519Key) -> Self {
        let verifier = NoteVerifier::new(name, NoteKeyKind::Witness, key.public());
        Self { verifier, key }
    }

    /// The public half.
    pub const fn verifier(&self) -> &NoteVerifier {
        &self.verifier
    }

    /// The line that this key adds to a note; a witness names the time, in seconds since 1970.
    pub fn sign(&self, text: &str, time_s: u64) -> NoteSignature {
        let time = (self.verifier.kind == NoteKeyKind::Witness).then_some(time_s);
        let mut signature = time.map_or_else(Vec::new, |time| time.to_be_bytes().to_vec());
        signature.extend(self.key.sign(signed_message(text, time).as_bytes()));
        NoteSignature {
            name: self.verifier.name.clone(),
            key_id: self.verifier.key_id(),
            signature,
        }
    }

    /// The signed checkpoint of the key's log.
    ///
    /// # Errors
    /// [`NoteProofError`] where the name is none that a checkpoint can have.
    pub fn checkpoint(&self, size: u64, root: crate::NodeHash) -> Result<SignedCheckpoint, NoteProofError> {
        let checkpoint = Checkpoint::new(self.verifier.name.clone(), size, root)?;
        let text = checkpoint.to_text();
        let signature = self.sign(&text, 0);
        let note = SignedNote::new(text, vec![signature])?;
        Ok(SignedCheckpoint { checkpoint, note })
    }
}

/// A checkpoint that its log's key signed. Only [`Self::verify`] and the signer make one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: SignedNote,
}

impl SignedCheckpoint {
    /// The checkpoint of a note that the log's key signed. Other signatures are not looked at.
    ///
    /// # Errors
    /// [`NoteProofError`] says what is wrong.
    pub fn verify(note: &str, log: &NoteVerifier) -> Result<Self, NoteProofError> {
        let note = SignedNote::decode(note)?;
        log.check(&note)?;
        let checkpoint = Checkpoint::from_text(note.text())?;
        if checkpoint.origin() != log.name {
            return Err(NoteProofError::Origin {
                found: checkpoint.origin().to_owned(),
                expected: log.name.clone(),
            });
        }
        Ok(Self { checkpoint, note })
    }

    /// The head.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note with all its signatures.
    pub const fn note(&self) -> &SignedNote {
        &self.note
    }

    /// With the signature of a witness added.
    ///
    /// # Errors
    /// [`NoteProofError`] where it does not verify, or the note has too many.
    pub fn cosigned(self, line: NoteSignature, witness: &NoteVerifier) -> Result<Self, NoteProofError> {
        let mut lines = self.note.signatures().to_vec();
        lines.push(line);
        let note = SignedNote::new(self.note.text(), lines)?;
        witness.check(&note)?;
        let checkpoint = self.checkpoint;
        Ok(Self { checkpoint, note })
    }
}
