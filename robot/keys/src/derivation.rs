//! Symmetric keys derived inside the chip: a level's derivation key is the PRF and never leaves it.
//!
//! The shape is that of SP 800-108r1 §4.1 in counter mode with one block, HMAC being TPM2_HMAC:
//! `K = HMAC(level's key, [1]₃₂ ‖ label ‖ 0x00 ‖ context ‖ [256]₃₂)`, cut to 256 bits, with the label
//! `alcub3/key-derivation/v1/PURPOSE`. The level is in the key itself. Same inputs give the same key on this chip for as
//! long as its owner hierarchy is not cleared; nothing of it is on disk.

use crate::robot::RobotKeys;
use crate::{KeysError, Result};
use alcub3_crypto::Secret;
use alcub3_tpm::ops::{Key, PersistentKey};
use alcub3_tpm::{Auth, Lane};
use alcub3_trust_model::{Level, domain, handle_map};

/// Bytes of a derived key.
pub const DERIVED_KEY_LEN: usize = 32;
/// The most context in bytes, so that counter, label and length fit one TPM2_HMAC of 1024 bytes.
pub const MAX_CONTEXT_LEN: usize = 900;

/// What a derived key is for. A key of one purpose tells nothing of one of another.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum DerivedPurpose {
    /// Encrypting data at rest.
    DataEncryption,
    /// Authenticating what sensors measured.
    SensorAuthentication,
    /// Talking to another party with a shared context.
    Communication,
}

impl DerivedPurpose {
    /// All purposes.
    pub const ALL: [Self; 3] = [
        Self::DataEncryption,
        Self::SensorAuthentication,
        Self::Communication,
    ];

    /// The word in the label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DataEncryption => "data-encryption",
            Self::SensorAuthentication => "sensor-authentication",
            Self::Communication => "communication",
        }
    }
}

impl RobotKeys {
    /// A level's derivation key.
    ///
    /// # Errors
    /// [`KeysError::NoSuchLevel`].
    pub fn kdf(&self, level: Level) -> Result<Key> {
        let public = self.record.parent(level)?.kdf.clone();
        Ok(Key::from(PersistentKey::new(
            handle_map::level_kdf(level),
            public,
        )))
    }

    /// The 256-bit key of a level for a purpose and a context. The context must say what the key is used on; two uses
    /// that must not share a key differ in it.
    ///
    /// Commands: a session of the level (StartAuthSession, PolicyPCR, 2 PolicyNV, PolicyAuthorize), HMAC, a flush.
    ///
    /// # Errors
    /// [`KeysError::NoSuchLevel`]; [`KeysError::Stopped`] or the chip's refusal after a stop; [`KeysError::Context`].
    pub fn derive(&self, level: Level, purpose: DerivedPurpose, context: &[u8]) -> Result<Secret> {
        let message = derivation_message(purpose, context)?;
        let key = self.kdf(level)?;
        let (policy, inputs) = self.parent_use(level)?;
        let tag = self.run(Lane::Command, move |chip| {
            chip.with_policy(&policy, &inputs, |chip, session| {
                chip.hmac(&key, Auth::Policy(session), &message)
            })
        })?;
        let block = tag.expose().get(..DERIVED_KEY_LEN);
        block.map(Secret::from_slice).ok_or(KeysError::Context {
            length: context.len(),
            most: MAX_CONTEXT_LEN,
        })
    }
}

/// [i]₃₂ ‖ label ‖ 0x00 ‖ context ‖ [L]₃₂ of the one block, i = 1 and L = 256.
fn derivation_message(purpose: DerivedPurpose, context: &[u8]) -> Result<Vec<u8>> {
    if context.len() > MAX_CONTEXT_LEN {
        return Err(KeysError::Context {
            length: context.len(),
            most: MAX_CONTEXT_LEN,
        });
    }
    let label = [domain::KEY_DERIVATION, "/", purpose.name()].concat();
    Ok([
        &1u32.to_be_bytes(),
        label.as_bytes(),
        &[0],
        context,
        &256u32.to_be_bytes(),
    ]
    .concat())
}
