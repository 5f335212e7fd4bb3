//! The header of the key store: its generation, the tag over its whole content, and the key that makes both believable.

use alcub3_crypto::Digest;
use alcub3_crypto::tpm::Public;

use crate::canonical::{DecodeError, Encoder, Fault, Reader};
use crate::domain;

const VERSION: u64 = 1;
/// Longest private area of an HMAC key, in bytes; what a TPM makes is shorter.
const MAX_PRIVATE: usize = 1024;

/// The header. Nothing in it is believed for itself: the key loads only in the chip that made it, the tag is checked with
/// what the key derives, and the tag covers the generation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoreHeader {
    /// How often the store was written.
    pub generation: u64,
    /// The tag over generation and content.
    pub content: Digest,
    /// The public area of the store's own key.
    pub public: Public,
    /// Its private area, encrypted by the storage root (contents of TPM2B_PRIVATE).
    pub private: Vec<u8>,
}

impl StoreHeader {
    /// The header in canonical form.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::STORE_HEADER, VERSION, 4);
        out.u64(2).u64(self.generation).u64(3).digest(&self.content);
        out.u64(4).bytes(self.public.as_tpmt_bytes());
        out.u64(5).bytes(&self.private);
        out.finish()
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`DecodeError`] for anything that [`Self::to_canonical`] does not write.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::STORE_HEADER, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::STORE_HEADER, VERSION)?;
        fields.key(r, 2, "generation")?;
        let generation = r.u64("generation")?;
        fields.key(r, 3, "content")?;
        let content = r.digest("content")?;
        fields.key(r, 4, "public")?;
        let public = r.bytes("public")?;
        let public = Public::from_tpmt(public).map_err(|_| r.fault("public", Fault::Value))?;
        fields.key(r, 5, "private")?;
        let private = r.bytes("private")?.to_vec();
        if private.len() > MAX_PRIVATE {
            return Err(r.fault("private", Fault::TooLong));
        }
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            generation,
            content,
            public,
            private,
        })
    }
}
