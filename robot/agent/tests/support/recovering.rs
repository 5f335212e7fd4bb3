//! Duplicates of recoverable keys, and the robot that succeeds to a lost one.
#![allow(dead_code, unreachable_pub)]

use crate::support::{Life, SoftAuthority, digest};
use alcub3_crypto::tpm::{Public, Signature};
use alcub3_fleet_protocol::recovery::RecoveryItem;
use alcub3_keys::{RecoverableKey, RobotKeys};

/// What the approvers approve: this key to this parent.
pub fn approval(
    authority: &SoftAuthority,
    keys: &RobotKeys,
    key: &RecoverableKey,
    parent: &Public,
) -> Signature {
    let recoverable = keys.recoverable(key.level(), key.label());
    let message = recoverable
        .duplication_message(key.public().name(), parent.name())
        .unwrap();
    authority.two_persons_sign(&message)
}

pub fn duplicated(
    authority: &SoftAuthority,
    keys: &RobotKeys,
    key: &RecoverableKey,
    parent: &Public,
) -> RecoveryItem {
    let approval = approval(authority, keys, key, parent);
    let item = keys.duplicate(key, parent, approval).unwrap();
    // As it travels.
    RecoveryItem::from_canonical(&item.to_canonical()).unwrap()
}

/// The robot that takes the lost one's place: another chip, the same name, the same authority.
pub fn replacement(authority: SoftAuthority) -> Life {
    let mut life = Life::provisioned_by(authority);
    life.rearm();
    life
}

pub fn signs(life: &Life, key: &RecoverableKey) {
    let signature = life.robot().keys().sign_recoverable(key, digest()).unwrap();
    let verifying = key.public().verifying_key().unwrap();
    verifying
        .verify_digest(signature.scheme, &digest(), &signature.bytes)
        .unwrap();
}
