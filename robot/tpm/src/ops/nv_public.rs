//! Public areas of NV indices (TPMS_NV_PUBLIC, TPM 2.0 Part 2, 13.5).

use super::wire::{Answer, Params};
use crate::{CommandCode, Result};
use alcub3_crypto::HashAlg;
use alcub3_crypto::tpm::Name;
use alcub3_trust_model::nv_map::NvSpec;
use tpm2_protocol::data::TpmCc;
use zeroize::Zeroizing;

/// TPMA_NV bits (TPM 2.0 Part 2, 13.4).
pub mod nv_attribute {
    /// The platform authorisation permits writing.
    pub const PPWRITE: u32 = 1;
    /// The owner authorisation permits writing.
    pub const OWNERWRITE: u32 = 1 << 1;
    /// The index's own authorisation permits writing.
    pub const AUTHWRITE: u32 = 1 << 2;
    /// The index's policy permits writing.
    pub const POLICYWRITE: u32 = 1 << 3;
    /// Bits 7 to 4: what kind of index it is.
    pub const TYPE: u32 = 0xf << 4;
    /// A counter that only goes up.
    pub const COUNTER: u32 = 1 << 4;
    /// A digest that is only extended.
    pub const EXTEND: u32 = 4 << 4;
    /// The platform authorisation permits reading.
    pub const PPREAD: u32 = 1 << 16;
    /// The owner authorisation permits reading.
    pub const OWNERREAD: u32 = 1 << 17;
    /// The index's own authorisation permits reading.
    pub const AUTHREAD: u32 = 1 << 18;
    /// The index's policy permits reading.
    pub const POLICYREAD: u32 = 1 << 19;
    /// It takes no part in dictionary-attack protection.
    pub const NO_DA: u32 = 1 << 25;
    /// Kept in memory until an orderly shutdown.
    pub const ORDERLY: u32 = 1 << 26;
    /// WRITTEN is cleared by a reset or restart.
    pub const CLEAR_STCLEAR: u32 = 1 << 27;
    /// It was written.
    pub const WRITTEN: u32 = 1 << 29;
    /// The platform defined it.
    pub const PLATFORMCREATE: u32 = 1 << 30;
}

/// The public area of an NV index.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NvPublic {
    /// Its handle, 0x01…
    pub index: u32,
    /// The hash of its Name, and of its contents where it extends.
    pub name_alg: HashAlg,
    /// TPMA_NV; bits in [`nv_attribute`].
    pub attributes: u32,
    /// Its policy digest, or empty.
    pub auth_policy: Vec<u8>,
    /// The size of its data, in bytes.
    pub size: u16,
}

impl NvPublic {
    /// TPMS_NV_PUBLIC.
    ///
    /// # Errors
    /// [`TpmError::Encode`](crate::TpmError::Encode) where the policy is longer than any digest.
    pub(super) fn encode(&self) -> Result<Zeroizing<Vec<u8>>> {
        Params::new(CommandCode::of(TpmCc::NvDefineSpace))
            .u32(self.index)
            .u16(self.name_alg.tpm_id())
            .u32(self.attributes)
            .sized(&self.auth_policy, 64, "the NV index's policy")
            .u16(self.size)
            .finish()
    }

    /// Parses a TPMS_NV_PUBLIC that fills all of `bytes`.
    pub(super) fn parse(command: CommandCode, bytes: &[u8]) -> Result<Self> {
        const PART: &str = "the NV public area";
        let mut answer = Answer::of(command, bytes);
        let index = answer.u32(PART)?;
        let name_alg = HashAlg::from_tpm_id(answer.u16(PART)?).ok_or(answer.malformed(PART))?;
        let attributes = answer.u32(PART)?;
        let auth_policy = answer.sized(PART)?.to_vec();
        let size = answer.u16(PART)?;
        let sound = index >> 24 == 1 && (auth_policy.is_empty() || auth_policy.len() == name_alg.size());
        if !sound {
            return Err(answer.malformed(PART));
        }
        answer.end()?;
        Ok(Self {
            index,
            name_alg,
            attributes,
            auth_policy,
            size,
        })
    }

    /// Its Name: nameAlg ‖ H(TPMS_NV_PUBLIC). It changes when the index is written for the first time.
    pub fn name(&self) -> Name {
        // A policy longer than a digest cannot be encoded; such a value has no Name the chip would know either.
        let bytes = self.encode().unwrap_or_default();
        Name::of_public(self.name_alg, &bytes)
    }

    /// Whether it was written.
    pub fn is_written(&self) -> bool {
        self.attributes & nv_attribute::WRITTEN != 0
    }

    pub(super) fn unwritten(&self) -> Self {
        Self {
            attributes: self.attributes & !nv_attribute::WRITTEN,
            ..self.clone()
        }
    }

    pub(super) fn written(&self) -> Self {
        Self {
            attributes: self.attributes | nv_attribute::WRITTEN,
            ..self.clone()
        }
    }
}

impl From<&NvSpec> for NvPublic {
    fn from(spec: &NvSpec) -> Self {
        Self {
            index: spec.handle,
            name_alg: spec.name_alg,
            attributes: spec.attributes,
            auth_policy: Vec::new(),
            size: spec.size,
        }
    }
}
