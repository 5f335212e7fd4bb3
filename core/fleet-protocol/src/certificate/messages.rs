//! The messages in which a robot gets a certificate and says that it uses it.

use alcub3_attestation::certify::Signed;
use alcub3_command_authority::cose::{Message as Cose, Unsigned};
use alcub3_crypto::tpm::Public;
use alcub3_crypto::{Digest, HashAlg, Suite, VerifyingKey};
use alcub3_trust_model::canonical::{DecodeError, Encoder};
use alcub3_trust_model::{RobotId, SessionId, domain};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

use super::{CertificateError, DeviceKeyKind};
use crate::wire::{self, Message};

const VERSION: u64 = 1;
const MAX_CSR: usize = 4096;
const MAX_CREATION: usize = 1024;
/// The longest certificate of ours, in bytes.
const MAX_CERTIFICATE: usize = 4096;
const MAX_SIGNATURE: usize = 1024;

/// A robot asks for a certificate of one of its device keys.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateRequest {
    /// The exchange.
    pub session: SessionId,
    /// The robot.
    pub robot: RobotId,
    /// Which of its device keys.
    pub kind: DeviceKeyKind,
    /// PKCS#10 in DER, signed in the TPM.
    pub csr: Vec<u8>,
    /// The key's public area.
    pub public: Public,
    /// TPMS_CREATION_DATA of the key; its outside data is [`crate::identity_binding`].
    pub creation: Vec<u8>,
    /// TPM2_CertifyCreation by the attestation key; its extra data is [`crate::device_key_binding`].
    pub certification: Signed,
}

impl CertificateRequest {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::CERTIFICATE_REQUEST, VERSION, 7);
        out.u64(2).bytes(self.session.as_bytes());
        out.u64(3).text(self.robot.as_str());
        out.u64(4).u64(self.kind.id().into()).u64(5).bytes(&self.csr);
        wire::put_public(out.u64(6), &self.public);
        out.u64(7).bytes(&self.creation);
        wire::put_signed(out.u64(8), &self.certification);
        out.finish()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::CERTIFICATE_REQUEST, VERSION, bytes)?;
        let request = Self {
            session: wire::session(m.at(2, "session")?)?,
            robot: wire::robot(m.at(3, "robot")?)?,
            kind: m.at(4, "kind")?.id_of("kind", DeviceKeyKind::from_id)?,
            csr: wire::bounded(m.at(5, "csr")?, "csr", MAX_CSR)?,
            public: wire::public(m.at(6, "public")?, "public")?,
            creation: wire::bounded(m.at(7, "creation")?, "creation", MAX_CREATION)?,
            certification: wire::signed(m.at(8, "certification")?, "certification")?,
        };
        m.finish()?;
        Ok(request)
    }
}

/// The authority's answer: the certificate, and its own, which the robot hands on to whom it meets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateGrant {
    /// The exchange.
    pub session: SessionId,
    /// The robot.
    pub robot: RobotId,
    /// The certificate in DER.
    pub certificate: Vec<u8>,
    /// The authority's certificate in DER.
    pub authority: Vec<u8>,
}

impl CertificateGrant {
    /// The grant, ready to be signed by the authority.
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(domain::CERTIFICATE_GRANT, VERSION, 4);
        out.u64(2).bytes(self.session.as_bytes());
        out.u64(3).text(self.robot.as_str());
        out.u64(4).bytes(&self.certificate).u64(5).bytes(&self.authority);
        Unsigned::new(suite, out.finish())
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::CERTIFICATE_GRANT, VERSION, bytes)?;
        let grant = Self {
            session: wire::session(m.at(2, "session")?)?,
            robot: wire::robot(m.at(3, "robot")?)?,
            certificate: wire::bounded(m.at(4, "certificate")?, "certificate", MAX_CERTIFICATE)?,
            authority: wire::bounded(m.at(5, "authority")?, "authority", MAX_CERTIFICATE)?,
        };
        m.finish()?;
        Ok(grant)
    }
}

/// A grant that the pinned authority signed, for this request and this key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VerifiedGrant {
    grant: CertificateGrant,
}

impl VerifiedGrant {
    /// Verifies the authority's answer to a request.
    ///
    /// # Errors
    /// [`CertificateError`] where it is not this authority's, of another exchange, or about another key.
    pub fn verify(
        bytes: &[u8],
        authority: &VerifyingKey,
        request: &CertificateRequest,
    ) -> Result<Self, CertificateError> {
        let message = Cose::parse(domain::CERTIFICATE_GRANT, bytes)?;
        message.verify(authority)?;
        let grant = CertificateGrant::decode(message.payload())?;
        if grant.session != request.session || grant.robot != request.robot {
            return Err(CertificateError::Other("exchange"));
        }
        Certificate::from_der(&grant.authority)?;
        let certified = Certificate::from_der(&grant.certificate)?;
        let spki = certified.tbs_certificate().subject_public_key_info().to_der()?;
        if VerifyingKey::from_spki_der(&spki)? == request.public.verifying_key()? {
            Ok(Self { grant })
        } else {
            Err(CertificateError::Other("key"))
        }
    }

    /// The certificate in DER.
    pub fn certificate(&self) -> &[u8] {
        &self.grant.certificate
    }

    /// The authority's certificate in DER.
    pub fn authority(&self) -> &[u8] {
        &self.grant.authority
    }
}

/// The robot uses a new certificate; the one before it may go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateUse {
    /// The exchange in which the certificate was granted.
    pub session: SessionId,
    /// The robot.
    pub robot: RobotId,
    /// The SHA-256 of the certificate.
    pub certificate: Digest,
    /// The new key's signature (ECDSA-Sig-Value in DER) over [`Self::message`].
    pub signature: Vec<u8>,
}

impl CertificateUse {
    /// What the new key signs: everything but the signature.
    pub fn message(session: SessionId, robot: &RobotId, certificate: &Digest) -> Vec<u8> {
        let mut out = Encoder::structure(domain::CERTIFICATE_USE, VERSION, 3);
        out.u64(2).bytes(session.as_bytes()).u64(3).text(robot.as_str());
        out.u64(4).digest(certificate);
        out.finish()
    }

    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::CERTIFICATE_USE, VERSION, 4);
        out.u64(2).bytes(self.session.as_bytes());
        out.u64(3).text(self.robot.as_str());
        out.u64(4).digest(&self.certificate).u64(5).bytes(&self.signature);
        out.finish()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::CERTIFICATE_USE, VERSION, bytes)?;
        let used = Self {
            session: wire::session(m.at(2, "session")?)?,
            robot: wire::robot(m.at(3, "robot")?)?,
            certificate: m.at(4, "certificate")?.digest("certificate")?,
            signature: wire::bounded(m.at(5, "signature")?, "signature", MAX_SIGNATURE)?,
        };
        m.finish()?;
        Ok(used)
    }

    /// Checks that the key of this certificate signed the message.
    ///
    /// # Errors
    /// [`CertificateError::Other`] for another certificate, [`CertificateError::Signature`].
    pub fn verify(&self, certificate: &[u8]) -> Result<(), CertificateError> {
        if HashAlg::Sha256.digest(&[certificate]) != self.certificate {
            return Err(CertificateError::Other("certificate"));
        }
        let certificate = Certificate::from_der(certificate)?;
        let spki = certificate.tbs_certificate().subject_public_key_info().to_der()?;
        let message = Self::message(self.session, &self.robot, &self.certificate);
        VerifyingKey::from_spki_der(&spki)?
            .verify_x509(&message, &self.signature)
            .map_err(CertificateError::Signature)
    }
}

/// The authority's word that a certificate is the one that counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateChanged {
    /// The exchange in which the certificate was granted.
    pub session: SessionId,
    /// The robot.
    pub robot: RobotId,
    /// The SHA-256 of the certificate that counts from now on.
    pub certificate: Digest,
}

impl CertificateChanged {
    /// The message, ready to be signed by the authority.
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(domain::CERTIFICATE_CHANGED, VERSION, 3);
        out.u64(2).bytes(self.session.as_bytes());
        out.u64(3).text(self.robot.as_str());
        out.u64(4).digest(&self.certificate);
        Unsigned::new(suite, out.finish())
    }

    /// Checks that the pinned authority answered this.
    ///
    /// # Errors
    /// [`CertificateError`] where it did not, or about something else.
    pub fn verify(
        bytes: &[u8],
        authority: &VerifyingKey,
        used: &CertificateUse,
    ) -> Result<Self, CertificateError> {
        let message = Cose::parse(domain::CERTIFICATE_CHANGED, bytes)?;
        message.verify(authority)?;
        let mut m = Message::open(domain::CERTIFICATE_CHANGED, VERSION, message.payload())?;
        let changed = Self {
            session: wire::session(m.at(2, "session")?)?,
            robot: wire::robot(m.at(3, "robot")?)?,
            certificate: m.at(4, "certificate")?.digest("certificate")?,
        };
        m.finish()?;
        let same = changed.session == used.session
            && changed.robot == used.robot
            && changed.certificate == used.certificate;
        if same {
            Ok(changed)
        } else {
            Err(CertificateError::Other("certificate"))
        }
    }
}
