//! What leaves a level and what comes into it: recoverable keys, their duplicates, sealed data, the table of the levels
//! themselves. Each is an audit entry before it is acknowledged, a refusal as well.

use crate::Result;
use crate::robot::Robot;
use alcub3_audit_log::EntryKind;
use alcub3_crypto::Secret;
use alcub3_crypto::tpm::{Public, Signature, StorageKeyPair};
use alcub3_fleet_protocol::chip::AdmittedChip;
use alcub3_fleet_protocol::level_policy::VerifiedLevelPolicy;
use alcub3_fleet_protocol::recovery::{RecoveryItem, RecoverySet, WrappedShare};
use alcub3_keys::RecoverableKey;
use alcub3_tpm::ops::Sealed;
use alcub3_trust_model::Level;

impl Robot {
    /// Makes a signing key of a level that can be recovered.
    ///
    /// # Errors
    /// As `RobotKeys::create_recoverable_key`, and the audit log's.
    pub fn create_recoverable_key(
        &self,
        level: Level,
        label: &str,
        now_utc_ms: u64,
    ) -> Result<RecoverableKey> {
        let made = self.keys.create_recoverable_key(level, label);
        self.audited(("make-recoverable", format!("{level} {label}")), now_utc_ms, made)
    }

    /// Keeps a secret of a level so that it can be recovered.
    ///
    /// # Errors
    /// As `RobotKeys::keep_recoverable_secret`, and the audit log's.
    pub fn keep_recoverable_secret(
        &self,
        (level, label): (Level, &str),
        secret: Secret,
        now_utc_ms: u64,
    ) -> Result<RecoverableKey> {
        let made = self.keys.keep_recoverable_secret(level, label, secret);
        self.audited(("keep-recoverable", format!("{level} {label}")), now_utc_ms, made)
    }

    /// Duplicates a key to the parent that two persons approved. The entry names both.
    ///
    /// # Errors
    /// As `RobotKeys::duplicate`, and the audit log's; the duplicate is then given to nobody.
    pub fn duplicate_key(
        &self,
        key: &RecoverableKey,
        new_parent: &Public,
        approval: Signature,
        now_utc_ms: u64,
    ) -> Result<RecoveryItem> {
        let made = self.keys.duplicate(key, new_parent, approval);
        let parent = hex(new_parent.name().as_bytes());
        let subject = format!("{} {} to {parent}", key.level(), key.label());
        self.audited(("duplicate", subject), now_utc_ms, made)
    }

    /// Makes a recovery set for these holders, `needed` of whom bring back what is duplicated to it. The entry names them.
    ///
    /// # Errors
    /// As `RobotKeys::make_recovery_set`, and the audit log's; the shares are then given to nobody.
    pub fn make_recovery_set(
        &self,
        holders: &[AdmittedChip],
        needed: u8,
        now_utc_ms: u64,
    ) -> Result<(RecoverySet, Vec<WrappedShare>)> {
        let made = self.keys.make_recovery_set(holders, needed);
        let names: Vec<&str> = holders.iter().map(|chip| chip.operator().as_str()).collect();
        let subject = format!("{needed} of {}", names.join(", "));
        self.audited(("recovery-set", subject), now_utc_ms, made)
    }

    /// Brings keys back that were duplicated. One entry for all of them.
    ///
    /// # Errors
    /// As `RobotKeys::recover`, and the audit log's.
    pub fn recover_keys(
        &self,
        parent: Option<&StorageKeyPair>,
        items: &[RecoveryItem],
        now_utc_ms: u64,
    ) -> Result<Vec<RecoverableKey>> {
        let done = self.keys.recover(parent, items);
        let labels: Vec<String> = items
            .iter()
            .map(|item| format!("{} {}", item.level, item.label))
            .collect();
        self.audited(("recover", labels.join(", ")), now_utc_ms, done)
    }

    /// Seals data under a level.
    ///
    /// # Errors
    /// As `RobotKeys::seal`, and the audit log's.
    pub fn seal(&self, level: Level, data: Secret, now_utc_ms: u64) -> Result<Sealed> {
        let done = self.keys.seal(level, data);
        self.audited_as(EntryKind::Seal, ("seal", level.to_string()), now_utc_ms, done)
    }

    /// Gives sealed data back.
    ///
    /// # Errors
    /// As `RobotKeys::unseal`, and the audit log's; the data is then given to nobody.
    pub fn unseal(&self, level: Level, sealed: Sealed, now_utc_ms: u64) -> Result<Secret> {
        let done = self.keys.unseal(level, sealed);
        self.audited_as(EntryKind::Seal, ("unseal", level.to_string()), now_utc_ms, done)
    }

    /// Takes the authority's level policy; it is in force from the next opening on.
    ///
    /// # Errors
    /// As `RobotKeys::take_level_policy`, and the audit log's.
    pub fn take_level_policy(&self, signed: &[u8], now_utc_ms: u64) -> Result<VerifiedLevelPolicy> {
        let done = self.keys.take_level_policy(signed);
        let version = done.as_ref().map_or_else(
            |_| "level-policy".to_owned(),
            |policy| format!("level-policy {}", policy.policy().version),
        );
        self.audited_as(EntryKind::Configuration, ("install", version), now_utc_ms, done)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
