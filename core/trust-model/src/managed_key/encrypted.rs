//! Data that a managed key encrypted.

use crate::canonical::{DecodeError, Encoder, Fault, Reader};
use crate::{KeyId, domain};

const VERSION: u64 = 1;
/// Longest opening: an encapsulated P-384 point with its sizes, in bytes.
const MAX_OPENING: usize = 100;
/// Longest ciphertext, in bytes.
const MAX_SEALED: usize = 64 << 20;

/// An encrypted message: which key opens it, from what the key makes the data key, and the AES-256-GCM ciphertext with its
/// tag. Each message has a data key of its own, so its nonce is zero.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Encrypted {
    /// The key.
    pub key: KeyId,
    /// What the chip is given to make the data key: a random salt, or an encapsulated point.
    pub opening: Vec<u8>,
    /// Ciphertext and tag.
    pub sealed: Vec<u8>,
}

impl Encrypted {
    /// What the tag covers beside the ciphertext: the message without it.
    pub fn associated_data(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::ENCRYPTED, VERSION, 2);
        out.u64(2).bytes(self.key.as_bytes()).u64(3).bytes(&self.opening);
        out.finish()
    }

    /// The message in canonical form.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::ENCRYPTED, VERSION, 3);
        out.u64(2).bytes(self.key.as_bytes()).u64(3).bytes(&self.opening);
        out.u64(4).bytes(&self.sealed);
        out.finish()
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`DecodeError`] for anything that [`Self::to_canonical`] does not write.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::ENCRYPTED, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::ENCRYPTED, VERSION)?;
        fields.key(r, 2, "key")?;
        let key = KeyId::new(*r.bytes_of("key")?);
        fields.key(r, 3, "opening")?;
        let opening = at_most(r, MAX_OPENING, "opening")?;
        fields.key(r, 4, "sealed")?;
        let sealed = at_most(r, MAX_SEALED, "sealed")?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self { key, opening, sealed })
    }
}

fn at_most(r: &mut Reader<'_>, most: usize, field: &'static str) -> Result<Vec<u8>, DecodeError> {
    let bytes = r.bytes(field)?;
    if bytes.len() > most {
        return Err(r.fault(field, Fault::TooLong));
    }
    Ok(bytes.to_vec())
}
