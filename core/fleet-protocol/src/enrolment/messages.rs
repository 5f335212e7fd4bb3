//! The messages of an enrolment.

use alcub3_attestation::certify::Signed;
use alcub3_command_authority::cose::{Message as Cose, Unsigned};
use alcub3_crypto::tpm::Public;
use alcub3_crypto::{Digest, Suite, VerifyingKey};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault};
use alcub3_trust_model::hardware::HardwareRecord;
use alcub3_trust_model::{RobotId, SessionId, domain};

use super::EnrolError;
use crate::origin::OriginEvidence;
use crate::wire::{self, Message};

const VERSION: u64 = 1;
const MAX_CREATION: usize = 1024;
const MAX_SEALED: usize = 2048;
/// The length of the challenge's nonce, in bytes.
pub(super) const NONCE_BYTES: usize = 32;

/// The robot presents itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EnrolRequest {
    /// The name it asks for.
    pub robot: RobotId,
    /// Its endorsement key.
    pub endorsement_key: Public,
    /// The endorsement certificate as the TPM's NV holds it, in DER, padding removed.
    pub endorsement_certificate: Vec<u8>,
    /// Certificates between that and the vendor's root, in DER, leaf side first.
    pub certificate_chain: Vec<Vec<u8>>,
    /// Its attestation key, a primary of the endorsement hierarchy.
    pub attestation_key: Public,
    /// Its storage root, the parent of its local device keys.
    pub storage_root: Public,
    /// Its identity key.
    pub identity: Public,
    /// TPMS_CREATION_DATA of the identity key; its outside data is [`crate::identity_binding`].
    pub identity_creation: Vec<u8>,
    /// TPM2_CertifyCreation of the identity key by the attestation key, with the same binding as extra data.
    pub identity_certification: Signed,
    /// Its hardware binding record.
    pub hardware: HardwareRecord,
    /// What the chip says of itself: manufacturer, vendor text, firmware version. For people; nothing rests on it.
    pub chip: String,
    /// What its maker says of it.
    pub origin: OriginEvidence,
}

impl EnrolRequest {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::ENROL_REQUEST, VERSION, 12);
        out.u64(2).text(self.robot.as_str());
        wire::put_public(out.u64(3), &self.endorsement_key);
        wire::put_certificates(
            &mut out,
            4,
            &self.endorsement_certificate,
            &self.certificate_chain,
        );
        for (key, public) in [
            (6, &self.attestation_key),
            (7, &self.storage_root),
            (8, &self.identity),
        ] {
            wire::put_public(out.u64(key), public);
        }
        out.u64(9).bytes(&self.identity_creation);
        wire::put_signed(out.u64(10), &self.identity_certification);
        out.u64(11)
            .bytes(&self.hardware.to_canonical())
            .u64(12)
            .text(&self.chip);
        self.origin.put(out.u64(13));
        out.finish()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::ENROL_REQUEST, VERSION, bytes)?;
        let robot = wire::robot(m.at(2, "robot")?)?;
        let endorsement_key = wire::public(m.at(3, "endorsement_key")?, "endorsement_key")?;
        let (endorsement_certificate, certificate_chain) = wire::certificates(&mut m, 4)?;
        let request = Self {
            robot,
            endorsement_key,
            endorsement_certificate,
            certificate_chain,
            attestation_key: wire::public(m.at(6, "attestation_key")?, "attestation_key")?,
            storage_root: wire::public(m.at(7, "storage_root")?, "storage_root")?,
            identity: wire::public(m.at(8, "identity")?, "identity")?,
            identity_creation: wire::bounded(
                m.at(9, "identity_creation")?,
                "identity_creation",
                MAX_CREATION,
            )?,
            identity_certification: wire::signed(
                m.at(10, "identity_certification")?,
                "identity_certification",
            )?,
            hardware: HardwareRecord::from_canonical(m.at(11, "hardware")?.bytes("hardware")?)?,
            chip: wire::short_text(m.at(12, "chip")?, "chip", 256)?,
            origin: OriginEvidence::read(m.at(13, "origin")?)?,
        };
        m.finish()?;
        Ok(request)
    }
}

/// The authority's challenge, signed by it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EnrolChallenge {
    /// The exchange.
    pub session: SessionId,
    /// The robot.
    pub robot: RobotId,
    /// The SHA-256 of the request that it answers.
    pub request: Digest,
    /// TPMS_ID_OBJECT of the credential, without an outer size.
    pub id_object: Vec<u8>,
    /// The credential's encrypted secret, without an outer size.
    pub encrypted_secret: Vec<u8>,
    /// A nonce.
    pub nonce: [u8; NONCE_BYTES],
    /// The HPKE public key that custody is sealed to.
    pub custody_key: Vec<u8>,
}

impl EnrolChallenge {
    /// The challenge, ready to be signed by the authority.
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(domain::ENROL_CHALLENGE, VERSION, 7);
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .text(self.robot.as_str())
            .u64(4)
            .digest(&self.request);
        out.u64(5)
            .bytes(&self.id_object)
            .u64(6)
            .bytes(&self.encrypted_secret);
        out.u64(7).bytes(&self.nonce).u64(8).bytes(&self.custody_key);
        Unsigned::new(suite, out.finish())
    }

    /// The challenge, if the authority signed it.
    ///
    /// # Errors
    /// [`EnrolError::Cose`] or [`EnrolError::Message`].
    pub fn verify(bytes: &[u8], authority: &VerifyingKey) -> Result<Self, EnrolError> {
        let message = Cose::parse(domain::ENROL_CHALLENGE, bytes)?;
        message.verify(authority)?;
        let mut m = Message::open(domain::ENROL_CHALLENGE, VERSION, message.payload())?;
        let challenge = Self {
            session: wire::session(m.at(2, "session")?)?,
            robot: wire::robot(m.at(3, "robot")?)?,
            request: m.at(4, "request")?.digest("request")?,
            id_object: wire::bounded(m.at(5, "id_object")?, "id_object", 1024)?,
            encrypted_secret: wire::bounded(m.at(6, "encrypted_secret")?, "encrypted_secret", 1024)?,
            nonce: *m.at(7, "nonce")?.bytes_of("nonce")?,
            custody_key: wire::bounded(m.at(8, "custody_key")?, "custody_key", 256)?,
        };
        m.finish()?;
        Ok(challenge)
    }
}

/// The robot's answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EnrolResponse {
    /// The exchange.
    pub session: SessionId,
    /// HMAC-SHA-256, with the recovered secret, over domain, nonce, and the SHA-256 of request and sealed custody.
    pub proof: [u8; 32],
    /// The hierarchy authorisations, sealed to the authority.
    pub custody: Vec<u8>,
}

/// What the proof covers: the domain, the nonce, the digest of the request, and the sealed custody's digest.
pub(super) fn proof_parts<'a>(nonce: &'a [u8], request: &'a Digest, custody: &'a Digest) -> [&'a [u8]; 4] {
    [
        domain::ENROL_PROOF.as_bytes(),
        nonce,
        request.as_bytes(),
        custody.as_bytes(),
    ]
}

impl EnrolResponse {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::ENROL_RESPONSE, VERSION, 3);
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .bytes(&self.proof)
            .u64(4)
            .bytes(&self.custody);
        out.finish()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::ENROL_RESPONSE, VERSION, bytes)?;
        let session = wire::session(m.at(2, "session")?)?;
        let proof = *m.at(3, "proof")?.bytes_of("proof")?;
        let custody = wire::bounded(m.at(4, "custody")?, "custody", MAX_SEALED)?;
        if custody.is_empty() {
            return Err(m.r.fault("custody", Fault::Value));
        }
        m.finish()?;
        Ok(Self {
            session,
            proof,
            custody,
        })
    }
}
