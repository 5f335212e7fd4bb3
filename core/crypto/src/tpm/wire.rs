//! Reading and writing the TPM's big-endian, size-prefixed encoding.

use thiserror::Error;

/// Why bytes are not the TPM structure they should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StructureError {
    /// The bytes end inside a field.
    #[error("{field} is cut short: {needed} bytes needed, {left} left")]
    Truncated {
        /// The field.
        field: &'static str,
        /// Bytes needed.
        needed: usize,
        /// Bytes left.
        left: usize,
    },
    /// Bytes follow the structure.
    #[error("{count} bytes follow the {structure}; refuse it or split it first")]
    TrailingBytes {
        /// The structure.
        structure: &'static str,
        /// How many.
        count: usize,
    },
    /// A selector or constant has a value that this version does not know.
    #[error("{field} has the unknown value {value:#x}")]
    Unknown {
        /// The field.
        field: &'static str,
        /// The value.
        value: u32,
    },
    /// A sized field is longer or shorter than its kind permits.
    #[error("{field} has {actual} bytes, permitted are {permitted}")]
    Size {
        /// The field.
        field: &'static str,
        /// The exact or greatest permitted length, in bytes.
        permitted: usize,
        /// The length seen, in bytes.
        actual: usize,
    },
}

/// Reads fields one after the other; never past the end.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], StructureError> {
        let left = self.0.len();
        let (taken, rest) = self.0.split_at_checked(count).ok_or(StructureError::Truncated {
            field,
            needed: count,
            left,
        })?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, StructureError> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, StructureError> {
        self.array(field).map(u32::from_be_bytes)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], StructureError> {
        let left = self.0.len();
        let (taken, rest) = self.0.split_first_chunk().ok_or(StructureError::Truncated {
            field,
            needed: N,
            left,
        })?;
        self.0 = rest;
        Ok(*taken)
    }

    /// A TPM2B: a 16-bit length and that many bytes, at most `max`.
    pub(crate) fn sized(&mut self, max: usize, field: &'static str) -> Result<&'a [u8], StructureError> {
        let actual = usize::from(self.u16(field)?);
        if actual > max {
            return Err(StructureError::Size {
                field,
                permitted: max,
                actual,
            });
        }
        self.bytes(actual, field)
    }

    /// That nothing is left.
    pub(crate) fn end(self, structure: &'static str) -> Result<(), StructureError> {
        match self.0.len() {
            0 => Ok(()),
            count => Err(StructureError::TrailingBytes { structure, count }),
        }
    }
}

/// Writes fields one after the other.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// A writer whose buffer never moves while no more than `capacity` bytes are written, so that no copy of a secret is
    /// left behind.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    pub(crate) fn u16(mut self, value: u16) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn sized(self, bytes: &[u8], field: &'static str) -> Result<Self, StructureError> {
        let size = u16::try_from(bytes.len()).map_err(|_| StructureError::Size {
            field,
            permitted: usize::from(u16::MAX),
            actual: bytes.len(),
        })?;
        Ok(self.u16(size).bytes(bytes))
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}
