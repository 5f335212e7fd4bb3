//! Making, loading and using device keys in the chip.

use super::{DeviceKey, DeviceKeySlot, DeviceKeys};
use crate::robot::RobotKeys;
use crate::{KeysError, Result};
use alcub3_attestation::certify::Signed;
use alcub3_crypto::tpm::Signature;
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::{Digest, Secret, VerifyingKey};
use alcub3_fleet_protocol::certificate::{CertificateRequest, DeviceKeyKind, UnsignedCsr};
use alcub3_fleet_protocol::enrolment::CreationData;
use alcub3_fleet_protocol::{device_key_binding, identity_binding};
use alcub3_tpm::ops::{Key, PersistentKey};
use alcub3_tpm::{Auth, Lane, Tpm};
use alcub3_trust_model::{SessionId, handle_map};

/// A device key that is ready to sign: persistent, or loaded until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct LoadedDeviceKey {
    tpm: Tpm,
    key: Key,
    verifying: VerifyingKey,
}

impl LoadedDeviceKey {
    /// Its public half.
    pub const fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying
    }

    /// Signs a digest of the key's hash. Commands: 1 Sign.
    ///
    /// # Errors
    /// The chip's.
    pub fn sign(&self, digest: Digest) -> Result<Signature> {
        let key = self.key.clone();
        let timeout = crate::robot::OPERATION_TIMEOUT;
        Ok(self.tpm.run(Lane::Command, timeout, move |chip| {
            chip.sign(&key, Auth::Empty, &digest)
        })?)
    }

    /// Signs a message, hashed here with the key's hash. Commands: 1 Sign.
    ///
    /// # Errors
    /// The chip's.
    pub fn sign_message(&self, message: &[u8]) -> Result<Signature> {
        self.sign(self.verifying.native_scheme().hash().digest(&[message]))
    }
}

impl RobotKeys {
    /// The device keys that the state folder holds.
    pub fn device_keys(&self) -> DeviceKeys<'_> {
        DeviceKeys::of(&self.folder)
    }

    /// What device keys are bound to: the robot's name and its enrolled hardware.
    pub fn identity_binding(&self) -> Digest {
        let hardware = self.record.enrolled.enrolment().record().hardware_binding;
        identity_binding(self.hash(), &self.record.robot, &hardware)
    }

    /// Whether a device key was made with the binding to the robot's enrolled hardware.
    pub fn is_bound(&self, key: &DeviceKey) -> bool {
        CreationData::parse(&key.creation.data)
            .is_ok_and(|data| data.outside_info == self.identity_binding().as_bytes())
    }

    /// The next device key of a slot, as far as it may still be certified: one that was made for other hardware may not.
    ///
    /// # Errors
    /// The folder's, or that the file is none of ours.
    pub fn next_device_key(&self, slot: DeviceKeySlot) -> Result<Option<DeviceKey>> {
        Ok(self.device_keys().load(slot)?.filter(|key| self.is_bound(key)))
    }

    /// Makes a new local device key and keeps it as the next one. Commands: 1 Create.
    ///
    /// # Errors
    /// The chip's or the folder's.
    pub fn create_local_device_key(&self) -> Result<DeviceKey> {
        let (parent, binding, curve) = (self.storage_root(), self.identity_binding(), self.record.curve);
        let made = self.run(Lane::Background, move |chip| {
            chip.create(
                &parent,
                Auth::Empty,
                PublicTemplate::local_device_id(curve).as_tpmt_bytes(),
                &Secret::from_slice(&[]),
                None,
                binding.as_bytes(),
            )
        })?;
        let key = DeviceKey {
            public: made.public,
            private: made.private,
            creation: made.creation,
            issued: None,
        };
        self.device_keys().save(DeviceKeySlot::NextLocal, &key)?;
        Ok(key)
    }

    /// Makes a device key ready to sign. Commands: 1 Load for a local key, none for the initial one.
    ///
    /// # Errors
    /// INTEGRITY where the key is another chip's.
    pub fn load_device_key(&self, kind: DeviceKeyKind, key: &DeviceKey) -> Result<LoadedDeviceKey> {
        let verifying = key.public.verifying_key()?;
        let loaded = match kind {
            DeviceKeyKind::Initial => Key::from(PersistentKey::new(handle_map::IDENTITY, key.public.clone())),
            DeviceKeyKind::Local => {
                let (parent, key) = (self.storage_root(), key.clone());
                Key::from(self.run(Lane::Background, move |chip| {
                    chip.load(&parent, Auth::Empty, &key.private, &key.public)
                })?)
            }
        };
        Ok(LoadedDeviceKey {
            tpm: self.tpm.clone(),
            key: loaded,
            verifying,
        })
    }

    /// Asks for a certificate of a device key in an exchange that the authority opened. Commands: 1 CertifyCreation,
    /// 1 Sign.
    ///
    /// # Errors
    /// The chip's; [`KeysError::Certificate`] where the request cannot be written.
    pub fn certificate_request(
        &self,
        kind: DeviceKeyKind,
        key: &DeviceKey,
        loaded: &LoadedDeviceKey,
        session: SessionId,
    ) -> Result<CertificateRequest> {
        let robot = self.record.robot.clone();
        let csr = UnsignedCsr::new(&robot, loaded.verifying_key())?;
        let signature = loaded.sign(csr.digest())?;
        let asked_for = device_key_binding(session, &self.identity_binding());
        let (signer, object, creation) = (self.attestation_key(), loaded.key.clone(), key.creation.clone());
        let certification = self.run(Lane::Background, move |chip| {
            chip.certify_creation(&signer, &object, asked_for.as_bytes(), &creation)
        })?;
        Ok(CertificateRequest {
            session,
            robot,
            kind,
            csr: csr.signed(&signature)?,
            public: key.public.clone(),
            creation: key.creation.data.clone(),
            certification: Signed {
                message: certification.message,
                signature: certification.signature,
            },
        })
    }

    /// The device key of a slot.
    ///
    /// # Errors
    /// [`KeysError::NoDeviceKey`], or the folder's.
    pub fn device_key(&self, slot: DeviceKeySlot) -> Result<DeviceKey> {
        self.device_keys().load(slot)?.ok_or(KeysError::NoDeviceKey {
            kind: kind_name(slot.kind()),
        })
    }
}

pub(super) const fn kind_name(kind: DeviceKeyKind) -> &'static str {
    match kind {
        DeviceKeyKind::Initial => "initial",
        DeviceKeyKind::Local => "local",
    }
}
