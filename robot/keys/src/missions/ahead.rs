//! A command key with its next policy session armed ahead, so that a verdict waits for one TPM command and not for ten.
//!
//! A session armed ahead is as good as one armed now but for NV counters and the clock, which are looked at when it is
//! armed: the end of a mission and a stop extend a counting PCR, which voids it, and drop it here.

use super::MissionKey;
use crate::robot::{OPERATION_TIMEOUT, RobotKeys};
use crate::{KeysError, Result};
use alcub3_crypto::Digest;
use alcub3_tpm::{Lane, PolicySession, ResponseCode};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How often a session is armed anew because a counting PCR was extended meanwhile, as IMA does all the time.
const ATTEMPTS: usize = 3;

/// Where the next session waits. Clones of a key share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Ahead(Arc<Mutex<Option<PolicySession>>>);

impl Ahead {
    fn lock(&self) -> MutexGuard<'_, Option<PolicySession>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MissionKey {
    /// Drops the session that was armed ahead, if there is one.
    pub fn disarm(&self) {
        self.ahead.lock().take();
    }

    /// Whether a session is armed ahead.
    pub fn is_armed_ahead(&self) -> bool {
        self.ahead.lock().is_some()
    }
}

impl RobotKeys {
    /// Arms a session for the key's next use, in the background. Commands: as [`Self::arm`].
    pub fn arm_ahead(&self, key: &MissionKey) {
        let key = key.clone();
        let armed = self
            .tpm()
            .submit(Lane::Background, OPERATION_TIMEOUT, move |chip| {
                let session = chip.policy_session(&key.policy, &key.inputs)?;
                *key.ahead.lock() = Some(session);
                Ok(())
            });
        armed.detach();
    }

    /// The HMAC of up to 1024 bytes with a command key, by the session that was armed ahead; the next one is then armed in
    /// the background. Commands: 1 HMAC; where no session is ready or it was voided, as [`Self::arm`] before it. In the
    /// background: 8 policy commands.
    ///
    /// # Errors
    /// [`KeyRefusal::Purpose`](crate::KeyRefusal::Purpose) for a key of another purpose; the chip's refusal once the
    /// mission is over or stopped.
    pub fn mac(&self, key: &MissionKey, data: &[u8]) -> Result<Digest> {
        // Taken out before it is used: no other caller gets the same session.
        let ready = key.ahead.lock().take();
        let early = ready.map(|session| self.mac_once(key, session, data));
        let mut last = match early {
            Some(Ok(tag)) => return Ok(tag),
            // Voided since it was armed, or half armed: what counts is whether one can be armed now.
            Some(Err(KeysError::Tpm(_))) | None => None,
            Some(Err(error)) => return Err(error),
        };
        for _ in 0..ATTEMPTS {
            let made = self
                .arm(key)
                .and_then(|session| self.mac_once(key, session, data));
            match made {
                Err(KeysError::Tpm(error)) if error.is_refusal(ResponseCode::PCR_CHANGED) => {
                    last = Some(KeysError::Tpm(error));
                }
                other => return other,
            }
        }
        Err(last.unwrap_or(KeysError::Stopped))
    }

    fn mac_once(&self, key: &MissionKey, session: PolicySession, data: &[u8]) -> Result<Digest> {
        let tag = self.mac_armed(key, &session, data.to_vec())?;
        self.arm_again(key, session);
        Ok(tag)
    }

    /// A use takes the policy out of the session (Part 1, §19.7); the session itself stays.
    fn arm_again(&self, key: &MissionKey, session: PolicySession) {
        let key = key.clone();
        let armed = self
            .tpm()
            .submit(Lane::Background, OPERATION_TIMEOUT, move |chip| {
                chip.complete_policy(&session, &key.policy, &key.inputs)?;
                *key.ahead.lock() = Some(session);
                Ok(())
            });
        armed.detach();
    }
}
