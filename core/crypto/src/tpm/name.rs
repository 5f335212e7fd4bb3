//! Names: what the TPM calls an entity in authorisations and certifications (Part 1, §16).

use core::fmt;

use super::wire::StructureError;
use crate::{Digest, HashAlg};

const MAX: usize = 66;

/// An entity's Name: nameAlg ‖ digest of its public area, or a handle's four bytes.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    bytes: [u8; MAX],
    len: u8,
}

impl Name {
    /// A Name from its bytes: four for a handle, else two of a known hash algorithm and as many as its digest has.
    ///
    /// # Errors
    /// [`StructureError`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StructureError> {
        match bytes {
            [_, _, _, _] => Ok(Self::hold(bytes)),
            [high, low, digest @ ..] => Self::from_parts(u16::from_be_bytes([*high, *low]), digest),
            _ => Err(StructureError::Truncated {
                field: "Name",
                needed: 4,
                left: bytes.len(),
            }),
        }
    }

    /// The Name of an entity that has no public area: a PCR, a session or a permanent handle.
    #[must_use]
    pub fn of_handle(handle: u32) -> Self {
        Self::hold(&handle.to_be_bytes())
    }

    /// The Name of an entity with a public area: `public` is the marshalled TPMT_PUBLIC or TPMS_NV_PUBLIC.
    #[must_use]
    pub fn of_public(alg: HashAlg, public: &[u8]) -> Self {
        Self::of_digest(&alg.digest(&[public]))
    }

    /// The Name whose digest is already known.
    #[must_use]
    pub fn of_digest(digest: &Digest) -> Self {
        Self::hold(&[&digest.alg().tpm_id().to_be_bytes(), digest.as_bytes()].concat())
    }

    /// The bytes, without the TPM2B's size.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The digest in the Name; none for a handle.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        let (alg, digest) = self.as_bytes().split_at_checked(2)?;
        let alg = HashAlg::from_tpm_id(u16::from_be_bytes(alg.try_into().ok()?))?;
        Digest::from_slice(alg, digest)
    }

    /// Lower-case hexadecimal.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.as_bytes())
    }

    fn from_parts(id: u16, digest: &[u8]) -> Result<Self, StructureError> {
        let alg = HashAlg::from_tpm_id(id).ok_or(StructureError::Unknown {
            field: "Name's algorithm",
            value: id.into(),
        })?;
        let actual = digest.len();
        let digest = Digest::from_slice(alg, digest);
        let wrong = StructureError::Size {
            field: "Name's digest",
            permitted: alg.size(),
            actual,
        };
        digest.map(|digest| Self::of_digest(&digest)).ok_or(wrong)
    }

    fn hold(bytes: &[u8]) -> Self {
        let mut held = [0; MAX];
        let mut len = 0;
        for (to, from) in held.iter_mut().zip(bytes) {
            *to = *from;
            len += 1;
        }
        Self { bytes: held, len }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({})", self.to_hex())
    }
}
