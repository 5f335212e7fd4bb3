//! What writes the one form.

use alcub3_crypto::Digest;

/// Writes deterministic CBOR.
#[derive(Clone, Debug)]
pub struct Encoder {
    inner: minicbor::Encoder<Vec<u8>>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            inner: minicbor::Encoder::new(Vec::new()),
        }
    }
}

impl Encoder {
    /// An empty encoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a structure with `fields` fields beside domain and version.
    pub fn structure(domain: &str, version: u64, fields: usize) -> Self {
        let mut out = Self::new();
        out.map(fields.saturating_add(2))
            .u64(0)
            .text(domain)
            .u64(1)
            .u64(version);
        out
    }

    /// The bytes written.
    pub fn finish(self) -> Vec<u8> {
        self.inner.into_writer()
    }

    /// An unsigned number; also a key.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.put(|out| out.u64(value).map(|_| ()))
    }

    /// A signed number.
    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.put(|out| out.i64(value).map(|_| ()))
    }

    /// A byte string.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.put(|out| out.bytes(value).map(|_| ()))
    }

    /// A text.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.put(|out| out.str(value).map(|_| ()))
    }

    /// The head of an array of `length` values, which follow.
    pub fn array(&mut self, length: usize) -> &mut Self {
        self.put(|out| out.array(length as u64).map(|_| ()))
    }

    /// The head of a map of `length` pairs, which follow with their keys ascending.
    pub fn map(&mut self, length: usize) -> &mut Self {
        self.put(|out| out.map(length as u64).map(|_| ()))
    }

    /// A digest, as an array of its algorithm's TPM identifier and its bytes.
    pub fn digest(&mut self, digest: &Digest) -> &mut Self {
        self.array(2)
            .u64(digest.alg().tpm_id().into())
            .bytes(digest.as_bytes())
    }

    /// A truth value.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.put(|out| out.bool(value).map(|_| ()))
    }

    fn put(
        &mut self,
        write: impl FnOnce(&mut minicbor::Encoder<Vec<u8>>) -> Result<(), VecError>,
    ) -> &mut Self {
        // Writing to a vector cannot fail.
        let _ = write(&mut self.inner);
        self
    }
}

/// What an encoder into a vector can fail with: nothing.
type VecError = minicbor::encode::Error<core::convert::Infallible>;
