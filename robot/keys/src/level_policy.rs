//! The fleet's level policy as a robot follows it: kept in the state folder, verified at every start.

use crate::robot::RobotKeys;
use crate::state::StateFolder;
use crate::{KeysError, Result};
use alcub3_crypto::{Suite, VerifyingKey};
use alcub3_fleet_protocol::level_policy::VerifiedLevelPolicy;
use alcub3_trust_model::{Level, LevelProfiles, danger};

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

    /// That this robot serves a level, and that its own keys and its kind of TPM are what the level asks for: the authority
    /// may have admitted the robot before the policy asked for more.
    ///
    /// # Errors
    /// [`KeysError::NoSuchLevel`], [`KeysError::BelowFloor`].
    pub fn check_floor(&self, level: Level) -> Result<()> {
        self.record.parent(level)?;
        let tier = self.record.enrolled.enrolment().record().tier;
        // Whether a simulator counts was the authority's to say, and its record says that it is one.
        let floor = danger::admitting_simulators(*self.profiles.of(level), tier);
        floor
            .check_robot(Suite::of_curve(self.record.curve), tier)
            .map_err(KeysError::from)
    }
}
