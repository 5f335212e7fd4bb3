//! What the authority demands of a device key before it certifies it.

use alcub3_attestation::certify::verify_creation;
use alcub3_crypto::VerifyingKey;
use alcub3_crypto::tpm::Public;
use alcub3_trust_model::SessionId;

use super::{CertificateError, CertificateRequest, DeviceKeyKind, VerifiedCsr};
use crate::enrolment::{CreationData, CreationError, ENDORSEMENT_HIERARCHY, device_key};
use crate::{VerifiedEnrolment, device_key_binding, identity_binding};

/// A device key that is in the chip of an enrolled robot, never leaves it, is bound to that robot and its hardware, and
/// signed its own request. Only [`Self::verify`] makes one.
#[derive(Clone, Debug)]
pub struct ProvenDeviceKey {
    kind: DeviceKeyKind,
    public: Public,
    key: VerifyingKey,
}

impl ProvenDeviceKey {
    /// Checks a request, made in an exchange that this authority opened.
    ///
    /// # Errors
    /// [`CertificateError`] says what is not proven.
    pub fn verify(
        request: &CertificateRequest,
        enrolment: &VerifiedEnrolment,
        session: SessionId,
    ) -> Result<Self, CertificateError> {
        let record = enrolment.record();
        if request.robot != record.robot {
            return Err(CertificateError::Other("robot"));
        }
        if request.session != session {
            return Err(CertificateError::Other("exchange"));
        }
        let curve = device_key(&request.public)?;
        let csr = VerifiedCsr::verify(&request.csr, &request.robot)?;
        let key = request.public.verifying_key()?;
        if *csr.key() != key {
            return Err(CertificateError::Other("key"));
        }
        let binding = identity_binding(curve.hash(), &record.robot, &record.hardware_binding);
        let asked_for = device_key_binding(session, &binding);
        let created = verify_creation(
            enrolment.attestation_key(),
            &request.certification,
            asked_for.as_bytes(),
        )?;
        if created.name != request.public.name() {
            return Err(CertificateError::Other("key"));
        }
        let data = CreationData::certified(
            &request.creation,
            request.public.name_alg(),
            &created.creation_hash,
        )?;
        if data.outside_info != binding.as_bytes() {
            return Err(CreationError::OtherBinding.into());
        }
        let is_primary = data.parent_name == ENDORSEMENT_HIERARCHY.name();
        let fits = match request.kind {
            DeviceKeyKind::Initial => is_primary && request.public == record.identity,
            DeviceKeyKind::Local => !is_primary && request.public != record.identity,
        };
        if !fits {
            return Err(CertificateError::Other("kind of key"));
        }
        Ok(Self {
            kind: request.kind,
            public: request.public.clone(),
            key,
        })
    }

    /// Which of the robot's device keys it is.
    pub const fn kind(&self) -> DeviceKeyKind {
        self.kind
    }

    /// Its public area.
    pub const fn public(&self) -> &Public {
        &self.public
    }

    /// The key.
    pub const fn key(&self) -> &VerifyingKey {
        &self.key
    }
}
