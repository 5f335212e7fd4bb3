//! The fleet's command policy as a robot follows it: kept in the state folder, verified at every start, and held against the
//! key store, so that neither a deleted file nor an old disk brings back what was in force before.

use crate::robot::RobotKeys;
use crate::store::PolicyMark;
use crate::{KeysError, Result};
use alcub3_command_authority::policy::VerifiedCommandPolicy;

const FILE: &str = "command-policy.cose";

impl RobotKeys {
    /// The command policy in force; none where the robot was never given one. Commands: none once the key store is open;
    /// 1 NV_Increment where a crash came between a policy and its mark.
    ///
    /// # Errors
    /// [`KeysError::CommandPolicyLost`] where what is there is not what was taken, [`KeysError::CommandPolicy`] where it is
    /// not the authority's and two persons', the store's and the folder's. The robot must then be commanded by nobody.
    pub fn command_policy(&self) -> Result<Option<VerifiedCommandPolicy>> {
        let mark = self.policy_mark()?;
        let Some(bytes) = self.folder.read(FILE)? else {
            return match mark {
                None => Ok(None),
                Some(mark) => Err(KeysError::CommandPolicyLost {
                    version: mark.version,
                }),
            };
        };
        let anchors = self.anchors();
        let kept = VerifiedCommandPolicy::verify(&bytes, &anchors.authority, &anchors.rearm)?;
        let found = mark_of(&kept);
        match mark {
            Some(mark) if mark == found => {}
            Some(mark) if found.version <= mark.version => {
                return Err(KeysError::CommandPolicyLost {
                    version: mark.version,
                });
            }
            // Taken, and cut short before it was noted; or the store was made anew.
            _ => self.mark_policy(found)?,
        }
        Ok(Some(kept))
    }

    /// Takes a command policy. Commands: 1 NV_Increment.
    ///
    /// # Errors
    /// [`KeysError::CommandPolicy`]: not the authority's, not approved by two persons, or not newer than the newest that
    /// was taken; the store's and the folder's.
    pub fn take_command_policy(&self, bytes: &[u8]) -> Result<VerifiedCommandPolicy> {
        let anchors = self.anchors();
        let policy = match self.policy_mark()? {
            Some(mark) => {
                VerifiedCommandPolicy::after(mark.version, bytes, &anchors.authority, &anchors.rearm)?
            }
            None => VerifiedCommandPolicy::verify(bytes, &anchors.authority, &anchors.rearm)?,
        };
        // The file first: a crash between the two leaves a newer policy than the mark, which is followed.
        self.folder.write(FILE, policy.as_bytes())?;
        self.mark_policy(mark_of(&policy))?;
        Ok(policy)
    }
}

fn mark_of(policy: &VerifiedCommandPolicy) -> PolicyMark {
    PolicyMark {
        version: policy.statement().version,
        digest: *policy.digest(),
    }
}
