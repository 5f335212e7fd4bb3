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

use alcub3_attestation::certify::{CertifyError, Signed};
use alcub3_command_authority::cose::Unsigned;
use alcub3_command_authority::cose::{CoseError, Message as Cose, SignError};
use alcub3_crypto::tpm::Public;
use alcub3_crypto::{CryptoError, Digest, Entropy, EntropyError, HashAlg, Secret, Suite, VerifyingKey};
use alcub3_trust_model::canonical::{DecodeError, Encoder};
use alcub3_trust_model::hardware::HardwareRecord;
use alcub3_trust_model::{RobotId, SessionId, domain};

use crate::enrolment::{Credential, KeyFault};
use crate::sealed::{self, ProvenRoot, RootError, SealError};
use crate::wire::{self, Message};
use crate::{HierarchyAuthorisations, RecordError, VerifiedAnchors, VerifiedEnrolment};

const VERSION: u64 = 1;
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

impl From<RootError> for RestoreError {
    fn from(error: RootError) -> Self {
        match error {
            RootError::Key(fault) => Self::StorageRoot(fault),
            RootError::Certification(source) => Self::Certification(source),
            RootError::OtherKey => Self::Other("key"),
        }
    }
}

impl From<SealError> for RestoreError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Crypto(source) => Self::Crypto(source),
            SealError::Entropy(source) => Self::Entropy(source),
        }
    }
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
    root: ProvenRoot,
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
        let alg = record.attestation_key.name_alg();
        let binding = restore_binding(alg, session, &request.robot);
        let root = ProvenRoot::verify(request.storage_root, &request.certification, enrolment, &binding)?;
        Ok(Self {
            session,
            robot: request.robot,
            root,
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
        let context = context(self.session, &self.robot);
        let sealed = self.root.seal(&custody.to_secret(), &context, entropy)?;
        Ok(RestoreGrant {
            session: self.session,
            robot: self.robot.clone(),
            credential: sealed.credential,
            custody: sealed.content,
            enrolled,
            hardware,
        })
    }
}

fn context(session: SessionId, robot: &RobotId) -> Vec<u8> {
    sealed::context(domain::RESTORE_GRANT, session, robot)
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
        sealed::put_credential(&mut out, 4, &self.credential);
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
            credential: sealed::credential(&mut m, 4)?,
            custody: wire::bounded(m.at(6, "custody")?, "custody", sealed::MAX_SEALED)?,
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
        let opened = sealed::open(secret, &context, &self.custody)?;
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
