//! What a duplicate's new parent and what comes back from one must be.

use crate::{KeysError, Result};
use alcub3_crypto::Suite;
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::tpm::{Name, Public, Signature, attribute};
use alcub3_fleet_protocol::recovery::RecoveryItem;
use alcub3_trust_model::LevelProfile;
use std::collections::BTreeSet;

/// A level's floor holds where its keys are duplicated to. A recovery set's parent is made outside a TPM and is therefore not
/// fixedTPM: it is refused only what is no storage key.
pub(super) fn check_new_parent(floor: &LevelProfile, parent: &Public) -> Result<()> {
    let storage = parent.has_attributes(attribute::RESTRICTED | attribute::DECRYPT)
        && !parent.has_attributes(attribute::SIGN);
    let curve = parent.ec_point().map(|(curve, _, _)| curve);
    match curve.filter(|curve| storage && parent.name_alg() == curve.hash()) {
        Some(curve) => Ok(floor.check_suite(Suite::of_curve(curve))?),
        None => Err(KeysError::NoStorageKey),
    }
}

/// One label, one key.
pub(super) fn check_labels_differ(items: &[RecoveryItem]) -> Result<()> {
    let mut seen = BTreeSet::new();
    match items.iter().find(|item| !seen.insert(item.label.as_str())) {
        Some(twice) => Err(KeysError::Label {
            label: twice.label.clone(),
            problem: "is that of two duplicates",
        }),
        None => Ok(()),
    }
}

/// The item is of the parent in use, and its key is one that a robot of this name makes under this label: `templates`
/// are those.
pub(super) fn check_item(item: &RecoveryItem, parent: Name, templates: &[PublicTemplate; 2]) -> Result<()> {
    if item.parent != parent {
        return Err(KeysError::OtherRecoveryParent {
            label: item.label.clone(),
        });
    }
    let public = &item.object.public;
    for template in templates {
        if template
            .to_public()
            .map_err(alcub3_crypto::CryptoError::from)?
            .is_of_one_template(public)
        {
            return Ok(());
        }
    }
    Err(KeysError::NotRecoverable {
        label: item.label.clone(),
        level: item.level,
    })
}

/// Two persons approved the duplication of this key to this parent: the parent is public, and anybody can wrap to it.
pub(super) fn check_approval(item: &RecoveryItem, two_person_key: &Public, message: &[u8]) -> Result<()> {
    let signed = Signature::from_tpmt_signature(&item.approval).is_ok_and(|approval| {
        approval.scheme.hash() == two_person_key.name_alg()
            && two_person_key
                .verifying_key()
                .is_ok_and(|key| approval.verify(&key, message).is_ok())
    });
    if signed {
        return Ok(());
    }
    Err(KeysError::DuplicateNotApproved {
        label: item.label.clone(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use alcub3_crypto::Curve;
    use alcub3_crypto::tpm::StorageKeyPair;
    use alcub3_tpm::OsEntropy;
    use alcub3_trust_model::{BelowFloor, Level, profile};

    #[test]
    fn a_levels_floor_binds_the_parent_that_its_keys_are_duplicated_to() {
        let pair = |curve| StorageKeyPair::generate(curve, &mut OsEntropy).unwrap();
        let (weak, strong) = (pair(Curve::P256), pair(Curve::P384));
        check_new_parent(&profile(Level::Unclassified), weak.public()).unwrap();
        check_new_parent(&profile(Level::Secret), strong.public()).unwrap();
        let error = check_new_parent(&profile(Level::Secret), weak.public()).unwrap_err();
        assert!(
            matches!(
                error,
                KeysError::BelowFloor(BelowFloor::Suite {
                    level: Level::Secret,
                    ..
                })
            ),
            "{error}"
        );
    }
}
