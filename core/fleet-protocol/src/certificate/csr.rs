//! PKCS#10 (RFC 2986) in two steps, so that the signature can be made in the TPM.

use alcub3_crypto::tpm::Signature;
use alcub3_crypto::{Curve, Digest, Suite, VerifyingKey};
use alcub3_trust_model::RobotId;
use x509_cert::der::asn1::BitString;
use x509_cert::der::{Decode, Encode};
use x509_cert::request::{CertReq, CertReqInfo, Version};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::{CertificateError, fields};

/// The longest request, in bytes.
const MAX_REQUEST: usize = 4096;

/// A request that waits for its signature.
#[derive(Clone, Debug)]
pub struct UnsignedCsr {
    info: CertReqInfo,
    curve: Curve,
    to_be_signed: Vec<u8>,
}

impl UnsignedCsr {
    /// A request for a robot's key. It names the robot and nothing else: the rest is the authority's to say.
    ///
    /// # Errors
    /// [`CertificateError::Unexpected`] for a key that is not on a curve of ours.
    pub fn new(robot: &RobotId, key: &VerifyingKey) -> Result<Self, CertificateError> {
        let curve = key
            .curve()
            .ok_or(CertificateError::Unexpected("a key on no curve of ours"))?;
        let info = CertReqInfo {
            version: Version::V1,
            subject: fields::robot_name(None, robot, None)?,
            public_key: SubjectPublicKeyInfoOwned::from_der(&key.to_spki_der())?,
            attributes: Default::default(),
        };
        let to_be_signed = info.to_der()?;
        Ok(Self {
            info,
            curve,
            to_be_signed,
        })
    }

    /// The digest that the key has to sign.
    pub fn digest(&self) -> Digest {
        self.curve.hash().digest(&[&self.to_be_signed])
    }

    /// The request in DER, with the signature that the key made of [`Self::digest`].
    ///
    /// # Errors
    /// [`CertificateError::Der`].
    pub fn signed(self, signature: &Signature) -> Result<Vec<u8>, CertificateError> {
        let request = CertReq {
            info: self.info,
            algorithm: fields::algorithm(Suite::of_curve(self.curve))?,
            signature: BitString::from_bytes(&signature.to_x509())?,
        };
        Ok(request.to_der()?)
    }
}

/// A request that its own key signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VerifiedCsr {
    key: VerifyingKey,
}

impl VerifiedCsr {
    /// Reads a request and checks its signature. It must name this robot and ask for nothing else.
    ///
    /// # Errors
    /// [`CertificateError`] says what is wrong.
    pub fn verify(der: &[u8], robot: &RobotId) -> Result<Self, CertificateError> {
        if der.len() > MAX_REQUEST {
            return Err(CertificateError::Unexpected("more bytes than any of ours"));
        }
        let request = CertReq::from_der(der).map_err(CertificateError::Request)?;
        let spki = request.info.public_key.to_der()?;
        let key = VerifyingKey::from_spki_der(&spki)?;
        let curve = key
            .curve()
            .ok_or(CertificateError::Unexpected("a key on no curve of ours"))?;
        if request.algorithm != fields::algorithm(Suite::of_curve(curve))? {
            return Err(CertificateError::Unexpected("another signature algorithm"));
        }
        if !request.info.attributes.is_empty() {
            return Err(CertificateError::Unexpected("attributes"));
        }
        let signature = request
            .signature
            .as_bytes()
            .ok_or(CertificateError::Unexpected("a signature of odd bits"))?;
        key.verify_x509(&request.info.to_der()?, signature)
            .map_err(CertificateError::Signature)?;
        if request.info.subject != fields::robot_name(None, robot, None)? {
            return Err(CertificateError::Other("robot"));
        }
        Ok(Self { key })
    }

    /// The key that is to be certified.
    pub const fn key(&self) -> &VerifyingKey {
        &self.key
    }
}
