//! A robot lost its disk and not its chip: it proves the chip to its authority and is given what the disk held.
//!
//! ```text
//! robot                                             authority
//!                                   <- session       an exchange is opened, at a person's word
//!   RestoreRequest  the AK's word on the storage root ->  this is the chip that was enrolled
//!                          <- RestoreGrant           enrolment, hardware record; the hierarchy authorisations, sealed
//! ```
//!
//! The authorisations are sealed to a secret that only TPM2_ActivateCredential of this chip gives: with the storage root,
//! which opens without any authorisation, for the attestation key. The endorsement key would need one of those that the
//! robot is asking for (EK Credential Profile, PolicyA).

use alcub3_attestation::certify::{CertifyError, Signed, verify_certify};
use alcub3_command_authority::cose::Unsigned;
use alcub3_command_authority::cose::{CoseError, Message as Cose, SignError};
use alcub3_crypto::tpm::{Name, Public, make_credential};
use alcub3_crypto::{
    AeadKey, CryptoError, Digest, Entropy, EntropyError, HashAlg, Secret, Suite, VerifyingKey,
};
use alcub3_trust_model::canonical::{DecodeError, Encoder};
use alcub3_trust_model::hardware::HardwareRecord;
use alcub3_trust_model::{RobotId, SessionId, domain};

use crate::enrolment::{Credential, KeyFault, storage_root};
use crate::wire::{self, Message};
use crate::{HierarchyAuthorisations, RecordError, VerifiedAnchors, VerifiedEnrolment};

const VERSION: u64 = 1;
const SECRET_BYTES: usize = 32;
/// The key is new for each grant and seals once, so that its nonce need not change.
const NONCE: [u8; 12] = [0; 12];
const MAX_CREDENTIAL: usize = 1024;
const MAX_SEALED: usize = 2048;
const MAX_MESSAGE: usize = 64 << 10;

/// Why a robot was not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A message is not the one form allowed.
    #[error("restore message refused: {0}")]
    Message(#[from] DecodeError),
    /// A signed message is malformed, of another key, or not authentic.
    #[error("restore message refused: {0}")]
    Cose(#[from] CoseError),
    /// The message is another robot's, or of another exchange.
    #[error("the restore message is of another {0}")]
    Other(&'static str),
    /// The storage root is not one.
    #[error("the storage root: {0}")]
    StorageRoot(#[from] KeyFault),
    /// The attestation key did not certify the storage root.
    #[error("the storage root's certification: {0}")]
    Certification(#[from] CertifyError),
    /// The hardware record is not the one that the enrolment names.
    #[error("the hardware record is not the one of the enrolment")]
    Hardware,
    /// The enrolment was refused.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Cryptography refused.
    #[error("restore: {0}")]
    Crypto(#[from] CryptoError),
    /// Signing failed.
    #[error("restore: {0}")]
    Sign(#[from] SignError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// The extra data of the storage root's certification: H(domain ‖ session ‖ robot).
pub fn restore_binding(alg: HashAlg, session: SessionId, robot: &RobotId) -> Digest {
    alg.digest(&[
        domain::RESTORE_REQUEST.as_bytes(),
        session.as_bytes(),
        robot.as_str().as_bytes(),
    ])
}

/// A robot asks for what its disk held.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RestoreRequest {
    /// The exchange.
    pub session: SessionId,
    /// The robot.
    pub robot: RobotId,
    /// The storage root.
    pub storage_root: Public,
    /// TPM2_Certify of it by the attestation key; its extra data is [`restore_binding`].
    pub certification: Signed,
}

impl RestoreRequest {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::RESTORE_REQUEST, VERSION, 4);
        out.u64(2).bytes(self.session.as_bytes());
        out.u64(3).text(self.robot.as_str());
        wire::put_public(out.u64(4), &self.storage_root);
        wire::put_signed(out.u64(5), &self.certification);
        out.finish()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::RESTORE_REQUEST, VERSION, bytes)?;
        let request = Self {
            session: wire::session(m.at(2, "session")?)?,
            robot: wire::robot(m.at(3, "robot")?)?,
            storage_root: wire::public(m.at(4, "storage_root")?, "storage_root")?,
            certification: wire::signed(m.at(5, "certification")?, "certification")?,
        };
        m.finish()?;
        Ok(request)
    }
}

/// The chip of an enrolled robot, alive in this exchange. Only [`Self::verify`] makes one.
#[derive(Clone, Debug)]
pub struct ProvenChip {
    session: SessionId,
    robot: RobotId,
    storage_root: Public,
    attestation_key: Name,
}

impl ProvenChip {
    /// Checks a request made in an exchange that this authority opened.
    ///
    /// # Errors
    /// [`RestoreError`] says what is not proven.
    pub fn verify(
        request: RestoreRequest,
        enrolment: &VerifiedEnrolment,
        session: SessionId,
    ) -> Result<Self, RestoreError> {
        let record = enrolment.record();
        if request.robot != record.robot {
            return Err(RestoreError::Other("robot"));
        }
        if request.session != session {
            return Err(RestoreError::Other("exchange"));
        }
        storage_root(&request.storage_root)?;
        let alg = record.attestation_key.name_alg();
        let binding = restore_binding(alg, session, &request.robot);
        let key = enrolment.attestation_key();
        let certified = verify_certify(key, &request.certification, binding.as_bytes())?;
        if certified.name != request.storage_root.name() {
            return Err(RestoreError::Other("key"));
        }
        Ok(Self {
            session,
            robot: request.robot,
            storage_root: request.storage_root,
            attestation_key: record.attestation_key.name(),
        })
    }

    /// The exchange.
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// The grant, whose authorisations only this chip opens; `enrolled` is the last message of an enrolment, made for
    /// this exchange.
    ///
    /// # Errors
    /// What cryptography refused.
    pub fn grant(
        &self,
        custody: &HierarchyAuthorisations,
        enrolled: Vec<u8>,
        hardware: Vec<u8>,
        entropy: &mut dyn Entropy,
    ) -> Result<RestoreGrant, RestoreError> {
        let mut secret = Secret::zeroed(SECRET_BYTES);
        entropy.fill(secret.expose_mut())?;
        let credential = make_credential(
            &self.storage_root,
            &self.attestation_key,
            secret.expose(),
            entropy,
        )?;
        let context = context(self.session, &self.robot);
        Ok(RestoreGrant {
            session: self.session,
            robot: self.robot.clone(),
            credential: Credential {
                id_object: credential.id_object,
                encrypted_secret: credential.encrypted_secret,
            },
            custody: AeadKey::new(&secret)?.seal(&NONCE, &context, custody.to_secret().expose())?,
            enrolled,
            hardware,
        })
    }
}

fn context(session: SessionId, robot: &RobotId) -> Vec<u8> {
    [
        domain::RESTORE_GRANT.as_bytes(),
        session.as_bytes(),
        robot.as_str().as_bytes(),
    ]
    .concat()
}

/// What the authority gives back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RestoreGrant {
    /// The exchange.
    pub session: SessionId,
    /// The robot.
    pub robot: RobotId,
    /// What the chip recovers the sealing secret from.
    pub credential: Credential,
    /// The hierarchy authorisations, sealed with that secret.
    pub custody: Vec<u8>,
    /// The enrolment record and the trust anchors, as an enrolment's last message.
    pub enrolled: Vec<u8>,
    /// The hardware record that was enrolled, in its canonical encoding.
    pub hardware: Vec<u8>,
}

impl RestoreGrant {
    /// The grant, ready to be signed by the authority.
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(domain::RESTORE_GRANT, VERSION, 7);
        out.u64(2).bytes(self.session.as_bytes());
        out.u64(3).text(self.robot.as_str());
        out.u64(4).bytes(&self.credential.id_object);
        out.u64(5).bytes(&self.credential.encrypted_secret);
        out.u64(6).bytes(&self.custody).u64(7).bytes(&self.enrolled);
        out.u64(8).bytes(&self.hardware);
        Unsigned::new(suite, out.finish())
    }

    /// The grant, if the pinned authority signed it in answer to this request.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn verify(
        bytes: &[u8],
        authority: &VerifyingKey,
        request: &RestoreRequest,
    ) -> Result<Self, RestoreError> {
        let message = Cose::parse(domain::RESTORE_GRANT, bytes)?;
        message.verify(authority)?;
        let mut m = Message::open(domain::RESTORE_GRANT, VERSION, message.payload())?;
        let grant = Self {
            session: wire::session(m.at(2, "session")?)?,
            robot: wire::robot(m.at(3, "robot")?)?,
            credential: Credential {
                id_object: wire::bounded(m.at(4, "id_object")?, "id_object", MAX_CREDENTIAL)?,
                encrypted_secret: wire::bounded(
                    m.at(5, "encrypted_secret")?,
                    "encrypted_secret",
                    MAX_CREDENTIAL,
                )?,
            },
            custody: wire::bounded(m.at(6, "custody")?, "custody", MAX_SEALED)?,
            enrolled: wire::bounded(m.at(7, "enrolled")?, "enrolled", MAX_MESSAGE)?,
            hardware: wire::bounded(m.at(8, "hardware")?, "hardware", MAX_MESSAGE)?,
        };
        m.finish()?;
        if grant.session != request.session {
            return Err(RestoreError::Other("exchange"));
        }
        if grant.robot != request.robot {
            return Err(RestoreError::Other("robot"));
        }
        Ok(grant)
    }

    /// The authorisations, with the secret that the chip recovered.
    ///
    /// # Errors
    /// Where the secret is another, or what it opens is malformed.
    pub fn authorisations(&self, secret: &Secret) -> Result<HierarchyAuthorisations, RestoreError> {
        let context = context(self.session, &self.robot);
        let opened = AeadKey::new(secret)?.open(&NONCE, &context, &self.custody)?;
        Ok(HierarchyAuthorisations::from_secret(&opened)?)
    }

    /// The enrolment and the hardware record, which must belong together.
    ///
    /// # Errors
    /// [`RestoreError`] where either is not the authority's, or they do not fit.
    pub fn contents(
        &self,
        authority: &VerifyingKey,
    ) -> Result<(VerifiedAnchors, HardwareRecord), RestoreError> {
        let enrolled = VerifiedAnchors::verify(&self.enrolled, authority, &self.robot)?;
        let hardware = HardwareRecord::from_canonical(&self.hardware)?;
        let binding = enrolled.enrolment().record().hardware_binding;
        if hardware.binding(binding.alg()) == binding {
            Ok((enrolled, hardware))
        } else {
            Err(RestoreError::Hardware)
        }
    }
}
