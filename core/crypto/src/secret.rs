//! Bytes that are wiped when they go and never printed.

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Secret bytes: wiped on drop, redacted in `Debug`, of fixed length so that no reallocation leaves a copy behind.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Copies `bytes`; wiping the original is the caller's part.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// Takes over `bytes`, wiping the vector's own buffer where it had room to spare.
    #[must_use]
    pub fn from_vec(mut bytes: Vec<u8>) -> Self {
        if bytes.len() == bytes.capacity() {
            return Self(bytes.into_boxed_slice());
        }
        let held = Self::from_slice(&bytes);
        bytes.zeroize();
        held
    }

    /// `len` zero bytes, to be filled through [`expose_mut`](Self::expose_mut).
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        Self(vec![0; len].into_boxed_slice())
    }

    /// The bytes. Keep the borrow short and copy nothing out of it.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, to be written.
    #[must_use]
    pub fn expose_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret([redacted; {} bytes])", self.len())
    }
}
