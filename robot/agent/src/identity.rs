//! The robot's certificates: asked for, renewed without a gap, and got again when the disk is lost.

use crate::provision::LinkError;
use crate::robot::Robot;
use crate::{AgentError, Result};
use alcub3_audit_log::{EntryKind, Outcome};
use alcub3_crypto::{HashAlg, VerifyingKey};
use alcub3_fleet_protocol::certificate::{CertificateChanged, CertificateUse, DeviceKeyKind, VerifiedGrant};
use alcub3_keys::{
    DeviceKey, DeviceKeySlot, LoadedDeviceKey, Restoring, RobotRecord, StateFolder, restore_request,
};
use alcub3_tpm::Tpm;
use alcub3_trust_model::{RobotId, SessionId};

/// How messages about certificates reach the authority. The caller carries them; they protect themselves.
pub trait IdentityLink {
    /// Asks the authority to open an exchange for a certificate.
    ///
    /// # Errors
    /// That the authority is out of reach, or its refusal.
    fn open_certificate(&mut self, robot: &RobotId) -> std::result::Result<SessionId, LinkError>;

    /// Hands over a request and brings the grant.
    ///
    /// # Errors
    /// As [`Self::open_certificate`].
    fn certify(&mut self, request: &[u8]) -> std::result::Result<Vec<u8>, LinkError>;

    /// Hands over the word that a certificate is in use and brings the answer.
    ///
    /// # Errors
    /// As [`Self::open_certificate`].
    fn certificate_used(&mut self, used: &[u8]) -> std::result::Result<Vec<u8>, LinkError>;

    /// Asks the authority to open an exchange for what a lost disk held.
    ///
    /// # Errors
    /// As [`Self::open_certificate`].
    fn open_restore(&mut self, robot: &RobotId) -> std::result::Result<SessionId, LinkError>;

    /// Hands over the request for what a lost disk held and brings the answer.
    ///
    /// # Errors
    /// As [`Self::open_certificate`].
    fn restore(&mut self, request: &[u8]) -> std::result::Result<Vec<u8>, LinkError>;
}

/// Both device keys with their certificates.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The initial one.
    pub initial: DeviceKey,
    /// The local one that is in use.
    pub local: DeviceKey,
}

impl Robot {
    /// The device keys and certificates that the state folder holds.
    ///
    /// # Errors
    /// [`alcub3_keys::KeysError::NoDeviceKey`] before [`Self::create_identity`]; the folder's.
    pub fn identity(&self) -> Result<Identity> {
        Ok(Identity {
            initial: self.keys.device_key(DeviceKeySlot::Initial)?,
            local: self.keys.device_key(DeviceKeySlot::Local)?,
        })
    }

    /// Gets what is missing of the robot's identity: the initial key's certificate, and a local key with its own. What an
    /// earlier call left half done is finished.
    ///
    /// # Errors
    /// The chip's, the folder's, the authority's refusal. Calling again goes on from there.
    pub fn create_identity(&self, link: &mut dyn IdentityLink, now_utc_ms: u64) -> Result<Identity> {
        let keys = self.keys.device_keys();
        self.certify_initial(link, now_utc_ms)?;
        let local = keys.load(DeviceKeySlot::Local)?;
        let is_good = local.is_some_and(|local| self.keys.is_bound(&local));
        if !is_good || keys.load(DeviceKeySlot::NextLocal)?.is_some() {
            self.renew_identity(link, now_utc_ms)?;
        }
        self.identity()
    }

    /// Whether both device keys have certificates for the hardware that is enrolled. Those of before a replaced part was
    /// approved count until [`Self::create_identity`] has got new ones.
    ///
    /// # Errors
    /// The folder's.
    pub fn is_identity_current(&self) -> Result<bool> {
        let keys = self.keys.device_keys();
        for slot in [DeviceKeySlot::Initial, DeviceKeySlot::Local] {
            let key = keys.load(slot)?;
            if !key.is_some_and(|key| key.issued.is_some() && self.keys.is_bound(&key)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Gets the initial key's certificate where it has none, or none for the hardware that is enrolled.
    fn certify_initial(&self, link: &mut dyn IdentityLink, now_utc_ms: u64) -> Result<()> {
        let next = self.keys.next_device_key(DeviceKeySlot::NextInitial)?;
        let is_next = next.is_some();
        let (slot, key) = match next {
            Some(next) => (DeviceKeySlot::NextInitial, next),
            None => (
                DeviceKeySlot::Initial,
                self.keys.device_key(DeviceKeySlot::Initial)?,
            ),
        };
        if key.issued.is_none() {
            let loaded = self.keys.load_device_key(DeviceKeyKind::Initial, &key)?;
            let certified = self.certify(slot, key, &loaded, link)?;
            self.note_key("certified", &certified, now_utc_ms)?;
        }
        if is_next {
            self.keys.device_keys().promote(DeviceKeyKind::Initial)?;
        }
        Ok(())
    }

    /// Replaces the local key by a new one: made, certified, announced as in use, and only then the earlier one is
    /// destroyed. Until then both work, and a crash anywhere leaves the earlier one working and the renewal to be
    /// finished. Commands: 1 Create, 1 Load, 2 Sign, 1 CertifyCreation, 1 FlushContext.
    ///
    /// # Errors
    /// As [`Self::create_identity`].
    pub fn renew_identity(&self, link: &mut dyn IdentityLink, now_utc_ms: u64) -> Result<DeviceKey> {
        let next = match self.keys.next_device_key(DeviceKeySlot::NextLocal)? {
            Some(next) => next,
            None => self.keys.create_local_device_key()?,
        };
        let loaded = self.keys.load_device_key(DeviceKeyKind::Local, &next)?;
        let next = if next.issued.is_some() {
            next
        } else {
            self.certify(DeviceKeySlot::NextLocal, next, &loaded, link)?
        };
        self.announce(&next, &loaded, link)?;
        let promoted = self.keys.device_keys().promote(DeviceKeyKind::Local)?;
        self.note_key("renewed", &promoted, now_utc_ms)?;
        Ok(promoted)
    }

    /// Gets a key's certificate and keeps it with the key.
    fn certify(
        &self,
        slot: DeviceKeySlot,
        key: DeviceKey,
        loaded: &LoadedDeviceKey,
        link: &mut dyn IdentityLink,
    ) -> Result<DeviceKey> {
        let session = link.open_certificate(self.robot())?;
        let request = self
            .keys
            .certificate_request(slot.kind(), &key, loaded, session)?;
        let answer = link.certify(&request.to_canonical())?;
        let grant = VerifiedGrant::verify(&answer, &self.keys.anchors().authority, &request)?;
        let certified = key.certified(&request, &grant);
        self.keys.device_keys().save(slot, &certified)?;
        Ok(certified)
    }

    /// Tells the authority that the next key is in use, signed by that key: the proof that it works.
    fn announce(
        &self,
        next: &DeviceKey,
        loaded: &LoadedDeviceKey,
        link: &mut dyn IdentityLink,
    ) -> Result<()> {
        let issued = next.issued.as_ref().ok_or(AgentError::Evidence {
            what: "the next device key has no certificate",
        })?;
        let certificate = HashAlg::Sha256.digest(&[&issued.certificate]);
        let message = CertificateUse::message(issued.session, self.robot(), &certificate);
        let used = CertificateUse {
            session: issued.session,
            robot: self.robot().clone(),
            certificate,
            signature: loaded.sign_message(&message)?.to_x509(),
        };
        let answer = link.certificate_used(&used.to_canonical())?;
        CertificateChanged::verify(&answer, &self.keys.anchors().authority, &used)?;
        Ok(())
    }

    fn note_key(&self, what: &str, key: &DeviceKey, now_utc_ms: u64) -> Result<()> {
        let subject = format!("device key {what}: {}", key.public.name().to_hex());
        let entry = self
            .audit
            .entry(EntryKind::Key, subject, now_utc_ms, Outcome::Done);
        self.audit.append(&entry)?;
        Ok(())
    }
}

/// Brings a robot back whose disk was lost: the chip proves itself to the authority, which gives back the enrolment and,
/// for a moment, the hierarchy authorisations. The endorsement key, the attestation key and the initial device key come
/// out the same; the robot is stopped, and a new local key is to be got with [`Robot::create_identity`].
///
/// # Errors
/// The first step that fails; nothing is in the folder then that would pass for a robot. Calling again begins anew.
pub fn recover(
    tpm: &Tpm,
    folder: &StateFolder,
    robot: &RobotId,
    authority: VerifyingKey,
    link: &mut dyn IdentityLink,
) -> Result<RobotRecord> {
    let session = link.open_restore(robot)?;
    let request = restore_request(tpm, folder, robot, session)?;
    let answer = link.restore(&request.to_canonical())?;
    Ok(Restoring::granted(tpm, folder, &request, authority, &answer)?.finish()?)
}
