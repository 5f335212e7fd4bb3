//! A person's chip: of whoever commands with shared keys, holds a share, or keeps a recovery TPM. Nothing of a robot's has to be
//! in it, and nothing is left in it: its keys are made again each time.

use crate::Result;
use crate::provisioning::{CertificateIndices, Certificates, endorsement_policy};
use crate::robot::OPERATION_TIMEOUT;
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::tpm::{EkTemplate, Public, attribute};
use alcub3_crypto::{Curve, Secret};
use alcub3_fleet_protocol::enrolment::Credential;
use alcub3_tpm::ops::{Hierarchy, Key};
use alcub3_tpm::{Auth, Chip, Lane, Tpm};
use alcub3_trust_model::handle_map;

/// A person's TPM with its storage key.
#[derive(Clone, Debug)]
pub struct PersonTpm {
    pub(crate) tpm: Tpm,
    pub(crate) curve: Curve,
    pub(crate) storage_key: Key,
}

/// What a chip shows before it is admitted.
#[derive(Clone, Debug)]
pub struct PresentedChip {
    /// Its endorsement key.
    pub endorsement_key: Public,
    /// The endorsement certificate in its NV; empty if it has none.
    pub endorsement_certificate: Vec<u8>,
    /// The certificates above it that its NV holds.
    pub certificate_chain: Vec<Vec<u8>>,
    /// Its storage key.
    pub storage_key: Public,
}

impl PersonTpm {
    /// Uses the storage root of a TPM: the persistent one, or else the one that its empty owner authorisation makes again
    /// each time. Commands: 1 or 2 ReadPublic, or 1 CreatePrimary.
    ///
    /// # Errors
    /// The chip's: BAD_AUTH where it is owned and has no storage root of ours.
    pub fn open(tpm: Tpm, curve: Curve) -> Result<Self> {
        let storage_key = storage_key(&tpm, curve)?;
        Ok(Self {
            tpm,
            curve,
            storage_key,
        })
    }

    /// Shows the chip, by the endorsement key of its curve. Commands: that key (ReadPublic, or CreatePrimary), 1 GetCapability,
    /// its certificate and those above (NV_ReadPublic, NV_Read).
    ///
    /// # Errors
    /// The chip's: BAD_AUTH where it is owned and has no endorsement key of ours.
    pub fn present(&self) -> Result<PresentedChip> {
        let (curve, storage_key) = (self.curve, self.storage_key.public().clone());
        self.run(move |chip| {
            let endorsement_key = endorsement_key(chip, curve)?.public().clone();
            let indices = CertificateIndices::list(chip)?;
            let Certificates { certificate, chain } = indices.read(chip, EkTemplate::of_curve(curve))?;
            Ok(PresentedChip {
                endorsement_key,
                endorsement_certificate: certificate,
                certificate_chain: chain,
                storage_key,
            })
        })
    }

    /// Recovers the secret of a credential that was made for this chip's endorsement key and storage key. Commands: the
    /// endorsement key, a policy session for it where its template asks for one, 1 ActivateCredential.
    ///
    /// # Errors
    /// The chip's: INTEGRITY or VALUE where the credential is for others.
    pub fn activate(&self, credential: &Credential) -> Result<Secret> {
        let (curve, storage_key, credential) = (self.curve, self.storage_key.clone(), credential.clone());
        self.run(move |chip| {
            let ek = endorsement_key(chip, curve)?;
            let session = if ek.public().has_attributes(attribute::USER_WITH_AUTH) {
                None
            } else {
                Some(endorsement_policy(chip, ek.public(), &Secret::from_slice(&[]))?)
            };
            let auth = session.as_ref().map_or(Auth::Empty, Auth::Policy);
            let (object, encrypted) = (&credential.id_object, &credential.encrypted_secret);
            Ok(chip.activate_credential(&storage_key, Auth::Empty, &ek, auth, object, encrypted)?)
        })
    }

    /// The storage key, which things are wrapped to.
    pub fn storage_key(&self) -> &Public {
        self.storage_key.public()
    }

    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Chip) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.tpm
            .run(Lane::Background, OPERATION_TIMEOUT, move |chip| Ok(work(chip)))?
    }
}

/// The storage key of a TPM that need not be a robot's: the persistent storage root, or else the one that the empty owner
/// authorisation makes again each time.
fn storage_key(tpm: &Tpm, curve: Curve) -> Result<Key> {
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

/// The endorsement key: the persistent one, or the one that the empty endorsement authorisation makes again each time.
fn endorsement_key(chip: &mut Chip, curve: Curve) -> Result<Key> {
    if let Some(found) = chip.persistent_key(handle_map::EK)? {
        return Ok(Key::from(found));
    }
    let template = EkTemplate::of_curve(curve).public();
    let template = template.as_tpmt_bytes();
    let made = chip.create_primary(Hierarchy::Endorsement, Auth::Empty, template, None, &[])?;
    Ok(Key::from(made.object))
}
