//! A holder of shares: any TPM with a storage key.

use crate::robot::OPERATION_TIMEOUT;
use crate::{KeysError, Result};
use alcub3_crypto::tpm::Public;
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::{Curve, Secret};
use alcub3_fleet_protocol::recovery::{WrappedObject, WrappedShare, wrap_share};
use alcub3_tpm::ops::{Hierarchy, Key};
use alcub3_tpm::{Auth, Lane, OsEntropy, Tpm};
use alcub3_trust_model::handle_map;

/// A TPM that holds a share, and nothing of a robot's has to be in it.
#[derive(Clone, Debug)]
pub struct ShareHolder {
    tpm: Tpm,
    parent: Key,
}

impl ShareHolder {
    /// Uses the storage root of a TPM: the persistent one, or else the one that its empty owner authorisation makes again
    /// each time. Commands: 1 or 2 ReadPublic, or 1 CreatePrimary.
    ///
    /// # Errors
    /// The chip's: BAD_AUTH where it is owned and has no storage root of ours.
    pub fn open(tpm: Tpm, curve: Curve) -> Result<Self> {
        let parent = storage_key(&tpm, curve)?;
        Ok(Self { tpm, parent })
    }

    /// The storage key that shares are wrapped to.
    pub fn parent(&self) -> &Public {
        self.parent.public()
    }

    /// Opens this holder's share in the TPM and wraps it to another TPM's storage key. Commands: Import, Load, Unseal, a
    /// flush.
    ///
    /// # Errors
    /// INTEGRITY for a share of another holder.
    pub fn pass_on(&self, share: &WrappedShare, to: &Public) -> Result<WrappedShare> {
        let value = open_at(&self.tpm, self.parent.clone(), share)?;
        Ok(WrappedShare {
            object: wrap_share(&value, to, &mut OsEntropy).map_err(KeysError::from)?,
            ..share.clone()
        })
    }
}

/// The storage key of a TPM that need not be a robot's: the persistent storage root, or else the one that the empty owner
/// authorisation makes again each time.
pub(crate) fn storage_key(tpm: &Tpm, curve: Curve) -> Result<Key> {
    Ok(tpm.run(Lane::Background, OPERATION_TIMEOUT, move |chip| {
        if let Some(found) = chip.persistent_key(handle_map::STORAGE_ROOT)? {
            return Ok(Key::from(found));
        }
        let template = PublicTemplate::storage_parent(curve);
        let template = template.as_tpmt_bytes();
        let made = chip.create_primary(Hierarchy::Owner, Auth::Empty, template, None, &[])?;
        Ok(Key::from(made.object))
    })?)
}

/// A share's bytes, by the TPM that it is wrapped to.
pub(super) fn open_at(tpm: &Tpm, parent: Key, share: &WrappedShare) -> Result<Secret> {
    let WrappedObject {
        public,
        duplicate,
        seed,
    } = share.object.clone();
    Ok(tpm.run(Lane::Background, OPERATION_TIMEOUT, move |chip| {
        let private = chip.import(&parent, Auth::Empty, &public, &duplicate, &seed)?;
        let object = Key::from(chip.load(&parent, Auth::Empty, &private, &public)?);
        chip.unseal_object(&object, Auth::Empty)
    })?)
}
