//! The fleet's level policy as a robot follows it: kept in the state folder, verified at every start.

use crate::robot::RobotKeys;
use crate::state::StateFolder;
use crate::{KeysError, Result};
use alcub3_crypto::VerifyingKey;
use alcub3_fleet_protocol::level_policy::VerifiedLevelPolicy;
use alcub3_trust_model::{Level, LevelProfile, LevelProfiles};

const FILE: &str = "level-policy.cose";

/// The policy in force; none where the robot was given none, and the built-in profiles hold.
///
/// # Errors
/// The folder's, or [`KeysError::LevelPolicy`] for a policy that is not the authority's: the robot does not start on it.
pub(crate) fn in_force(
    folder: &StateFolder,
    authority: &VerifyingKey,
) -> Result<Option<VerifiedLevelPolicy>> {
    let Some(bytes) = folder.read(FILE)? else {
        return Ok(None);
    };
    Ok(Some(VerifiedLevelPolicy::verify(&bytes, authority)?))
}

impl RobotKeys {
    /// The profiles that this robot holds itself to.
    pub fn profiles(&self) -> &LevelProfiles {
        &self.profiles
    }

    /// The profile of a level, as this robot holds itself to it.
    pub fn profile(&self, level: Level) -> LevelProfile {
        self.profiles.of(level)
    }

    /// Takes a level policy of the authority. It is in force from the next start on.
    ///
    /// # Errors
    /// [`KeysError::LevelPolicy`]: not the authority's, out of its bounds, or not newer than the one in force; the folder's.
    pub fn take_level_policy(&self, bytes: &[u8]) -> Result<VerifiedLevelPolicy> {
        let authority = &self.record.authority;
        let policy = match in_force(&self.folder, authority)? {
            Some(before) => before.replaced_by(bytes, authority)?,
            None => VerifiedLevelPolicy::verify(bytes, authority)?,
        };
        self.folder.write(FILE, policy.as_bytes())?;
        Ok(policy)
    }

    /// That what the authority granted is within the level's profile here: the authority may have followed an older policy.
    ///
    /// # Errors
    /// [`KeysError::BeyondProfile`].
    pub fn check_profile(&self, level: Level, lasts_ms: u64, allowed_resets: u32) -> Result<()> {
        let profile = self.profile(level);
        let beyond = [
            (lasts_ms > profile.max_mission_ms, "its length"),
            (
                allowed_resets > profile.allowed_resets,
                "the TPM resets that it survives",
            ),
        ];
        match beyond.into_iter().find(|(is_beyond, _)| *is_beyond) {
            Some((_, what)) => Err(KeysError::BeyondProfile { level, what }),
            None => Ok(()),
        }
    }
}
