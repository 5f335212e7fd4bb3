//! Data sealed to a level: it opens on this chip, and only while a rearm of that level names the epochs the chip holds.

use crate::Result;
use crate::robot::RobotKeys;
use alcub3_crypto::Secret;
use alcub3_tpm::ops::{Key, Sealed};
use alcub3_tpm::{Auth, Lane};
use alcub3_trust_model::Level;
use alcub3_trust_model::policies::parent_policy;

impl RobotKeys {
    /// Seals data of any size under a level's parent. Its policy is the level's, so that a stop ends its opening until the
    /// level is rearmed.
    ///
    /// Commands: a session of the level (StartAuthSession, PolicyPCR, 2 PolicyNV, PolicyAuthorize), Create, a flush.
    ///
    /// # Errors
    /// [`KeysError::NoSuchLevel`](crate::KeysError::NoSuchLevel); [`KeysError::BelowFloor`](crate::KeysError::BelowFloor)
    /// where the policy in force asks for more than this robot has; [`KeysError::Stopped`](crate::KeysError::Stopped) or
    /// the chip's refusal after a stop.
    pub fn seal(&self, level: Level, data: Secret) -> Result<Sealed> {
        self.check_floor(level)?;
        let parent = self.parent(level)?;
        let object = parent_policy(
            self.hash(),
            self.anchors().rearm.name(),
            &self.record.robot,
            level,
        )?
        .digest();
        let (policy, inputs) = self.parent_use(level)?;
        self.run(Lane::Background, move |chip| {
            chip.with_policy(&policy, &inputs, |chip, session| {
                chip.seal(&parent, Auth::Policy(session), Some(&object), data.expose())
            })
        })
    }

    /// Opens data that was sealed to a level on this chip.
    ///
    /// Commands: two sessions of the level, Load, Unseal, three flushes.
    ///
    /// # Errors
    /// As [`Self::seal`]; INTEGRITY for data of another chip or level; the data was changed.
    pub fn unseal(&self, level: Level, sealed: Sealed) -> Result<Secret> {
        let parent = self.parent(level)?;
        let (policy, inputs) = self.parent_use(level)?;
        self.run(Lane::Background, move |chip| {
            let object = chip.with_policy(&policy, &inputs, |chip, session| {
                chip.load(&parent, Auth::Policy(session), sealed.private(), sealed.public())
            })?;
            let object = Key::from(object);
            chip.with_policy(&policy, &inputs, |chip, session| {
                chip.unseal_loaded(&object, Auth::Policy(session), &sealed)
            })
        })
    }
}
