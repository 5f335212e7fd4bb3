//! TPMS_CREATION_DATA (TPM 2.0 Library Part 2, §15.1), parsed exactly.

use alcub3_crypto::HashAlg;
use alcub3_crypto::tpm::{Name, StructureError};

/// What a TPM notes when it creates an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CreationData {
    /// The Name of the parent.
    pub parent_name: Name,
    /// The caller's data.
    pub outside_info: Vec<u8>,
}

/// Why creation data proves nothing.
#[derive(Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum CreationError {
    /// The bytes end within a field.
    #[error("it ends inside its {0}")]
    Truncated(&'static str),
    /// Bytes follow the structure.
    #[error("{0} bytes follow its end")]
    Trailing(usize),
    /// The parent's Name is malformed.
    #[error("its parent's Name is malformed")]
    ParentName(#[source] StructureError),
    /// Its digest is not the certified one.
    #[error("it is not what was certified")]
    OtherDigest,
    /// The object was made under another parent than it must have.
    #[error("it names another parent than the endorsement hierarchy")]
    OtherParent,
    /// The outside data is not the binding of this robot to its hardware.
    #[error("it does not bind the key to this robot and its hardware")]
    OtherBinding,
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], CreationError> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(CreationError::Truncated(field))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, count: usize, field: &'static str) -> Result<usize, CreationError> {
        Ok(self
            .take(count, field)?
            .iter()
            .fold(0, |value, byte| (value << 8) | usize::from(*byte)))
    }

    fn sized(&mut self, field: &'static str) -> Result<&'a [u8], CreationError> {
        let length = self.number(2, field)?;
        self.take(length, field)
    }
}

impl CreationData {
    /// Parses a whole TPMS_CREATION_DATA, without the size of a TPM2B before it.
    ///
    /// # Errors
    /// [`CreationError`] says what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, CreationError> {
        let mut data = Bytes(bytes);
        let banks = data.number(4, "PCR selection")?;
        for _ in 0..banks {
            data.take(2, "PCR selection")?;
            let size = data.number(1, "PCR selection")?;
            data.take(size, "PCR selection")?;
        }
        data.sized("PCR digest")?;
        data.take(1, "locality")?;
        data.take(2, "parent's hash")?;
        let parent_name =
            Name::from_bytes(data.sized("parent's Name")?).map_err(CreationError::ParentName)?;
        data.sized("parent's qualified Name")?;
        let outside_info = data.sized("outside data")?.to_vec();
        match data.0.len() {
            0 => Ok(Self {
                parent_name,
                outside_info,
            }),
            left => Err(CreationError::Trailing(left)),
        }
    }

    /// Parses creation data whose digest was certified.
    ///
    /// # Errors
    /// [`CreationError::OtherDigest`], or as [`Self::parse`].
    pub(crate) fn certified(bytes: &[u8], alg: HashAlg, creation_hash: &[u8]) -> Result<Self, CreationError> {
        let same = alcub3_crypto::constant_time_eq(alg.digest(&[bytes]).as_bytes(), creation_hash);
        if same {
            Self::parse(bytes)
        } else {
            Err(CreationError::OtherDigest)
        }
    }
}
