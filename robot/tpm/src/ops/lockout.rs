//! Dictionary-attack protection (TPM 2.0 Part 1, 19.8; Part 3, 25).

use super::keys::Hierarchy;
use crate::{Auth, Chip, Protect, Result, TpmError};
use std::time::Duration;
use tpm2_protocol::frame::{
    TpmDictionaryAttackLockResetCommand, TpmDictionaryAttackLockResetResponse,
    TpmDictionaryAttackParametersCommand, TpmDictionaryAttackParametersResponse,
};

/// TPM_PT_PERMANENT, the first of the properties that change (TPM 2.0 Part 2, 6.13).
pub(super) const PT_PERMANENT: u32 = 0x200;
const PT_LOCKOUT_COUNTER: u32 = 0x20e;
const PT_MAX_AUTH_FAIL: u32 = 0x20f;
const PT_LOCKOUT_INTERVAL: u32 = 0x210;
const PT_LOCKOUT_RECOVERY: u32 = 0x211;
/// TPMA_PERMANENT (TPM 2.0 Part 2, 8.6).
mod permanent {
    pub(super) const OWNER_AUTH_SET: u32 = 1;
    pub(super) const ENDORSEMENT_AUTH_SET: u32 = 1 << 1;
    pub(super) const LOCKOUT_AUTH_SET: u32 = 1 << 2;
    pub(super) const DISABLE_CLEAR: u32 = 1 << 8;
    pub(super) const IN_LOCKOUT: u32 = 1 << 9;
}

/// How far dictionary-attack protection has gone, and which authorisations are set.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct LockoutState {
    /// Whether protected objects are refused now.
    pub in_lockout: bool,
    /// Failures counted now.
    pub failures: u32,
    /// Failures that lead to lockout.
    pub max_tries: u32,
    /// The time after which one failure is forgotten.
    pub recovery: Duration,
    /// The time after which a wrong lockout authorisation may be tried again; zero means after a reset.
    pub lockout_recovery: Duration,
    /// Whether the owner authorisation is not empty.
    pub owner_auth_set: bool,
    /// Whether the endorsement authorisation is not empty.
    pub endorsement_auth_set: bool,
    /// Whether the lockout authorisation is not empty.
    pub lockout_auth_set: bool,
    /// Whether TPM2_Clear is disabled.
    pub clear_disabled: bool,
}

impl Chip {
    /// Reads the state of dictionary-attack protection. Commands: 1 GetCapability.
    ///
    /// # Errors
    /// [`TpmError::Unsupported`] where the chip does not report it.
    pub fn lockout_state(&mut self) -> Result<LockoutState> {
        let properties = self.tpm_properties(PT_PERMANENT, PT_LOCKOUT_RECOVERY)?;
        let property = |number: u32| properties.get(&number).copied();
        let missing = TpmError::Unsupported {
            what: "the properties of dictionary-attack protection",
        };
        let permanent = property(PT_PERMANENT).ok_or(missing)?;
        let number = |n| property(n).unwrap_or(0);
        let seconds = |n| Duration::from_secs(u64::from(number(n)));
        Ok(LockoutState {
            in_lockout: permanent & permanent::IN_LOCKOUT != 0,
            failures: number(PT_LOCKOUT_COUNTER),
            max_tries: number(PT_MAX_AUTH_FAIL),
            recovery: seconds(PT_LOCKOUT_INTERVAL),
            lockout_recovery: seconds(PT_LOCKOUT_RECOVERY),
            owner_auth_set: permanent & permanent::OWNER_AUTH_SET != 0,
            endorsement_auth_set: permanent & permanent::ENDORSEMENT_AUTH_SET != 0,
            lockout_auth_set: permanent & permanent::LOCKOUT_AUTH_SET != 0,
            clear_disabled: permanent & permanent::DISABLE_CLEAR != 0,
        })
    }

    /// Ends a lockout and forgets the failures. Commands: 1 DictionaryAttackLockReset.
    ///
    /// # Errors
    /// BAD_AUTH, AUTH_FAIL or LOCKOUT for a wrong value; one wrong try bars the next for `lockout_recovery`.
    pub fn lockout_reset(&mut self, lockout: Auth<'_>) -> Result<()> {
        let command = TpmDictionaryAttackLockResetCommand {
            handles: Default::default(),
        };
        let targets = [Hierarchy::Lockout.target()];
        self.call::<_, TpmDictionaryAttackLockResetResponse>(
            &command,
            &targets,
            &[lockout],
            Protect::Integrity,
        )?;
        Ok(())
    }

    /// Sets how many failures lead to lockout and, in seconds, how fast they are forgotten. Commands: 1
    /// DictionaryAttackParameters.
    ///
    /// # Errors
    /// BAD_AUTH, AUTH_FAIL or LOCKOUT for a wrong value.
    pub fn lockout_parameters(
        &mut self,
        lockout: Auth<'_>,
        max_tries: u32,
        recovery_s: u32,
        lockout_recovery_s: u32,
    ) -> Result<()> {
        let command = TpmDictionaryAttackParametersCommand {
            handles: Default::default(),
            new_max_tries: max_tries.into(),
            new_recovery_time: recovery_s.into(),
            lockout_recovery: lockout_recovery_s.into(),
        };
        let targets = [Hierarchy::Lockout.target()];
        self.call::<_, TpmDictionaryAttackParametersResponse>(
            &command,
            &targets,
            &[lockout],
            Protect::Integrity,
        )?;
        Ok(())
    }
}
