//! Signed notes (C2SP signed-note): a text with signatures that others made and others check.

use alcub3_crypto::HashAlg;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The most signatures a note may have; the specification asks for at least 16.
const MAX_SIGNATURES: usize = 32;
/// The longest note, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// One signature line: who, and what. Nothing here says that it verifies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NoteSignature {
    /// The key's name.
    pub name: String,
    /// The key's identifier (see [`key_id`]).
    pub key_id: u32,
    /// The signature over the note's text, in the key's own format.
    pub signature: Vec<u8>,
}

/// A text and its signatures.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// Why a note was refused.
#[derive(Copy, Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum NoteError {
    /// The text does not end in a newline, or has a control character other than it.
    #[error("a note's text ends in a newline and has no other control character")]
    Text,
    /// A key name is empty or has a space, a plus or a control character.
    #[error("the key name of signature {0} is not valid")]
    Name(usize),
    /// A signature line is not in the note format.
    #[error("signature line {0} is not '— name base64'")]
    Line(usize),
    /// There is no blank line between text and signatures, or no signature, or no newline at the end.
    #[error("a note is a text, a blank line and at least one signature line")]
    Shape,
    /// Too many signatures or bytes.
    #[error("a note has at most {MAX_SIGNATURES} signatures and {MAX_BYTES} bytes")]
    TooLong,
}

/// The key identifier that the specification recommends: the first four bytes of
/// SHA-256(name ‖ newline ‖ signature type ‖ public key). `signature_type` is one assigned byte, or 0xFF followed by
/// an identifier of one's own.
pub fn key_id(name: &str, signature_type: &[u8], public_key: &[u8]) -> u32 {
    let digest = HashAlg::Sha256.digest(&[name.as_bytes(), b"\n", signature_type, public_key]);
    digest
        .as_bytes()
        .iter()
        .take(4)
        .fold(0, |id, byte| (id << 8) | u32::from(*byte))
}

fn is_text(text: &str) -> bool {
    text.ends_with('\n') && text.chars().all(|c| c == '\n' || c >= ' ')
}

pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| !c.is_whitespace() && c >= ' ' && c != '+')
}

impl SignedNote {
    /// A note of a text and at least one signature.
    ///
    /// # Errors
    /// [`NoteError`] says what is not valid.
    pub fn new(text: impl Into<String>, signatures: Vec<NoteSignature>) -> Result<Self, NoteError> {
        let text = text.into();
        if !is_text(&text) {
            return Err(NoteError::Text);
        }
        if signatures.is_empty() {
            return Err(NoteError::Shape);
        }
        if signatures.len() > MAX_SIGNATURES {
            return Err(NoteError::TooLong);
        }
        match signatures.iter().position(|signature| !is_name(&signature.name)) {
            Some(at) => Err(NoteError::Name(at)),
            None => Ok(Self { text, signatures }),
        }
    }

    /// The signed text, its last newline included.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, none of them checked.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// The note in its text form.
    pub fn encode(&self) -> String {
        let mut out = format!("{}\n", self.text);
        for signature in &self.signatures {
            let mut bytes = signature.key_id.to_be_bytes().to_vec();
            bytes.extend_from_slice(&signature.signature);
            out.push_str(&format!("— {} {}\n", signature.name, STANDARD.encode(bytes)));
        }
        out
    }

    /// The note of exactly this text.
    ///
    /// # Errors
    /// [`NoteError`] says what is not in the format.
    pub fn decode(note: &str) -> Result<Self, NoteError> {
        if note.len() > MAX_BYTES {
            return Err(NoteError::TooLong);
        }
        let blank = note.rfind("\n\n").ok_or(NoteError::Shape)?;
        let (text, rest) = note.split_at(blank.saturating_add(1));
        let lines = rest
            .strip_prefix('\n')
            .and_then(|rest| rest.strip_suffix('\n'))
            .ok_or(NoteError::Shape)?;
        if lines.split('\n').count() > MAX_SIGNATURES {
            return Err(NoteError::TooLong);
        }
        let parsed: Result<Vec<_>, _> = lines
            .split('\n')
            .enumerate()
            .map(|(at, line)| decode_line(at, line))
            .collect();
        Self::new(text, parsed?)
    }
}

fn decode_line(at: usize, line: &str) -> Result<NoteSignature, NoteError> {
    let wrong = NoteError::Line(at);
    let (name, encoded) = line
        .strip_prefix("— ")
        .and_then(|rest| rest.split_once(' '))
        .ok_or(wrong)?;
    let bytes = STANDARD.decode(encoded).map_err(|_| wrong)?;
    let (id, signature) = bytes.split_first_chunk::<4>().ok_or(wrong)?;
    let key_id = u32::from_be_bytes(*id);
    Ok(NoteSignature {
        name: name.to_owned(),
        key_id,
        signature: signature.to_vec(),
    })
}
