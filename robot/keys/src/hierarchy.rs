//! The key hierarchy of a robot, level by level: what of it the chip makes again by itself.
//!
//! Each level has two primaries of the owner hierarchy: the storage parent of its mission keys, and the derivation key of
//! its symmetric keys. TPM 2.0 (Part 1, §14.4) makes a primary from the hierarchy's seed and the template alone, so a
//! lost disk loses neither: the same template gives the same key. The template of a level is
//!
//! - the curve's parent (ECC, AES-CFB), or an HMAC key with the curve's hash;
//! - fixedTPM, fixedParent, sensitiveDataOrigin, noDA; userWithAuth *clear*;
//! - authPolicy = PolicyAuthorize(the authority's rearm key, H("alcub3/rearm-ref/v1" ‖ level ‖ robot)); nameAlg is the
//!   policy's hash.
//!
//! The level is in the authPolicy, hence in the template, hence in the key: no two levels share one, and the approval of
//! one level opens nothing of another.

use crate::provisioning::primary;
use crate::record::LevelParent;
use crate::{KeysError, Result};
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::tpm::{Name, attribute};
use alcub3_crypto::{Curve, Digest, Secret};
use alcub3_tpm::Chip;
use alcub3_tpm::ops::Hierarchy;
use alcub3_trust_model::handle_map::{self, Persistent};
use alcub3_trust_model::policies::parent_policy;
use alcub3_trust_model::{Level, RobotId};

/// EK, AK, storage root, identity.
const FIXED_KEYS: [Persistent; 4] = [
    Persistent::EndorsementKey,
    Persistent::AttestationKey,
    Persistent::StorageRoot,
    Persistent::Identity,
];

/// What the primaries of a robot's levels are made from, besides the chip.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LevelSeeds {
    /// The robot.
    pub robot: RobotId,
    /// The curve of its keys.
    pub curve: Curve,
    /// The Name of the authority's rearm key.
    pub rearm_key: Name,
}

impl LevelSeeds {
    /// The template of a level's storage parent.
    ///
    /// # Errors
    /// [`KeysError::Policy`]: none today.
    pub fn parent_template(&self, level: Level) -> Result<PublicTemplate> {
        let policy = self.policy(level)?;
        Ok(PublicTemplate::storage_parent_with(
            self.curve,
            attributes(),
            Some(&policy),
        ))
    }

    /// The template of a level's derivation key.
    ///
    /// # Errors
    /// [`KeysError::Policy`]: none today.
    pub fn kdf_template(&self, level: Level) -> Result<PublicTemplate> {
        let policy = self.policy(level)?;
        Ok(PublicTemplate::hmac_key(
            self.curve.hash(),
            attributes(),
            Some(&policy),
        ))
    }

    fn policy(&self, level: Level) -> Result<Digest> {
        Ok(parent_policy(self.curve.hash(), self.rearm_key, &self.robot, level)?.digest())
    }

    /// A level's primaries, persistent: those that are there, those that are missing made. Commands: for each that is
    /// missing 1 CreatePrimary, 1 EvictControl and a flush; for each that is there as `Chip::persistent_key`.
    ///
    /// # Errors
    /// [`KeysError::Foreign`] where something else is at a handle; BAD_AUTH for a wrong owner authorisation.
    pub fn make(&self, chip: &mut Chip, owner: &Secret, level: Level) -> Result<LevelParent> {
        let mut make = |template: PublicTemplate, handle| {
            let key = primary(chip, Hierarchy::Owner, (owner, owner), &template, handle)?;
            Ok::<_, KeysError>(key.public().clone())
        };
        Ok(LevelParent {
            level,
            public: make(self.parent_template(level)?, handle_map::level_parent(level))?,
            kdf: make(self.kdf_template(level)?, handle_map::level_kdf(level))?,
        })
    }
}

const fn attributes() -> u32 {
    attribute::FIXED_TPM | attribute::FIXED_PARENT | attribute::SENSITIVE_DATA_ORIGIN | attribute::NO_DA
}

/// Refuses a chip that has too few persistent slots left for the keys of these levels (TPM_PT_HR_PERSISTENT_AVAIL), before
/// anything is changed in it. Commands: 1 GetCapability.
///
/// # Errors
/// [`KeysError::PersistentSlots`].
pub(crate) fn check_room(chip: &mut Chip, levels: &[Level], taken: &[u32]) -> Result<()> {
    let of_levels = levels
        .iter()
        .flat_map(|level| [Persistent::LevelParent(*level), Persistent::LevelKdf(*level)]);
    let missing = FIXED_KEYS
        .into_iter()
        .chain(of_levels)
        .filter(|key| !taken.contains(&key.handle()))
        .count();
    let available = chip.tpm_properties(HR_PERSISTENT_AVAIL, HR_PERSISTENT_AVAIL)?;
    let available = available.get(&HR_PERSISTENT_AVAIL).copied().unwrap_or(0);
    let needed = u32::try_from(missing).unwrap_or(u32::MAX);
    if needed > available {
        return Err(KeysError::PersistentSlots { needed, available });
    }
    Ok(())
}

/// TPM_PT_HR_PERSISTENT_AVAIL (Part 2, §6.13): persistent objects that could still be made.
const HR_PERSISTENT_AVAIL: u32 = 0x209;
