//! What a holder's chip does with its share.

use crate::person::PersonTpm;
use crate::refusal::import_integrity;
use crate::robot::OPERATION_TIMEOUT;
use crate::{KeysError, Result};
use alcub3_crypto::Secret;
use alcub3_crypto::tpm::Public;
use alcub3_fleet_protocol::recovery::{WrappedObject, WrappedShare, wrap_share};
use alcub3_tpm::ops::Key;
use alcub3_tpm::{Auth, Lane, OsEntropy, Tpm};

impl PersonTpm {
    /// Opens this holder's share in the TPM and wraps it to another TPM's storage key. Commands: Import, Load, Unseal, a
    /// flush.
    ///
    /// # Errors
    /// [`KeyRefusal::ImportIntegrity`](crate::KeyRefusal) for a share of another holder.
    pub fn pass_on(&self, share: &WrappedShare, to: &Public) -> Result<WrappedShare> {
        let value = open_at(&self.tpm, self.storage_key.clone(), share)?;
        Ok(WrappedShare {
            object: wrap_share(&value, to, &mut OsEntropy).map_err(KeysError::from)?,
            ..share.clone()
        })
    }
}

/// A share's bytes, by the TPM that it is wrapped to.
pub(super) fn open_at(tpm: &Tpm, parent: Key, share: &WrappedShare) -> Result<Secret> {
    let WrappedObject {
        public,
        duplicate,
        seed,
    } = share.object.clone();
    let opened = tpm.run(Lane::Background, OPERATION_TIMEOUT, move |chip| {
        let private = chip.import(&parent, Auth::Empty, &public, &duplicate, &seed)?;
        let object = Key::from(chip.load(&parent, Auth::Empty, &private, &public)?);
        chip.unseal_object(&object, Auth::Empty)
    });
    opened.map_err(import_integrity)
}
