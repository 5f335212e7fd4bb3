//! Issuing: the authority's own certificate, and those of device keys.

use core::time::Duration;

use alcub3_crypto::tpm::Name as KeyName;
use alcub3_crypto::{SigningKey, VerifyingKey};
use alcub3_trust_model::{FleetId, RobotId};
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder, CertificateBuilder, Result as BuilderResult};
use x509_cert::certificate::TbsCertificate;
use x509_cert::der::asn1::{BitString, GeneralizedTime};
use x509_cert::der::{Decode, Document, Encode};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectKeyIdentifier,
};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{
    AlgorithmIdentifierOwned, DynSignatureAlgorithmIdentifier, EncodePublicKey, SubjectPublicKeyInfoOwned,
    SubjectPublicKeyInfoRef,
};
use x509_cert::time::{Time, Validity as X509Validity};

use super::{CertificateError, DeviceKeyKind, ProvenDeviceKey, fields, spiffe_id};

/// 9999-12-31 23:59:59 UTC, in seconds since 1970: "no well-defined expiration" (RFC 5280 §4.1.2.5; IEEE 802.1AR §8.7).
const NEVER_S: u64 = 253_402_300_799;

/// From when to when a certificate is good, UTC in milliseconds since 1970.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Validity {
    /// The first moment.
    pub from_ms: u64,
    /// The last moment; none where it does not expire.
    pub until_ms: Option<u64>,
}

/// Who issues.
#[derive(Copy, Clone, Debug)]
pub struct CertificateIssuer<'a> {
    /// The key that certificates are signed with, and nothing else.
    pub key: &'a SigningKey,
    /// The fleet that it speaks for.
    pub fleet: &'a FleetId,
}

/// Whom a device certificate is for.
#[derive(Copy, Clone, Debug)]
pub struct DeviceSubject<'a> {
    /// The robot.
    pub robot: &'a RobotId,
    /// The Name of the chip's endorsement key: the serial number of the hardware module.
    pub endorsement_key: &'a KeyName,
    /// The key, proven to be in that chip.
    pub key: &'a ProvenDeviceKey,
}

/// The authority's own certificate, signed by itself. `serial` is drawn at random.
///
/// # Errors
/// [`CertificateError`].
pub fn authority_certificate(
    issuer: CertificateIssuer<'_>,
    serial: [u8; 16],
    validity: Validity,
) -> Result<Vec<u8>, CertificateError> {
    let name = fields::authority_name(issuer.fleet)?;
    let own = spki(&issuer.key.verifying_key())?;
    let uri = format!("spiffe://{}", issuer.fleet);
    let mut extensions = Extensions::new(&name);
    extensions.push(
        true,
        &BasicConstraints {
            ca: true,
            path_len_constraint: Some(0),
        },
    )?;
    extensions.push(true, &KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign))?;
    extensions.push(false, &fields::alternative_names(&uri, None)?)?;
    extensions.push(false, &SubjectKeyIdentifier(identifier(&own)?))?;
    let profile = extensions.profile();
    build(issuer, profile, own, serial, validity)
}

/// A certificate of a device key. `serial` is drawn at random.
///
/// # Errors
/// [`CertificateError`].
pub fn device_certificate(
    issuer: CertificateIssuer<'_>,
    subject: DeviceSubject<'_>,
    serial: [u8; 16],
    validity: Validity,
) -> Result<Vec<u8>, CertificateError> {
    let module = subject.endorsement_key.as_bytes();
    let name = fields::robot_name(Some(issuer.fleet), subject.robot, Some(module))?;
    let key = spki(subject.key.key())?;
    let uri = spiffe_id(issuer.fleet, subject.robot);
    let authority = AuthorityKeyIdentifier {
        key_identifier: Some(identifier(&spki(&issuer.key.verifying_key())?)?),
        authority_cert_issuer: None,
        authority_cert_serial_number: None,
    };
    let mut extensions = Extensions::new(&name);
    extensions.push(
        true,
        &BasicConstraints {
            ca: false,
            path_len_constraint: None,
        },
    )?;
    extensions.push(true, &KeyUsage(KeyUsages::DigitalSignature.into()))?;
    extensions.push(false, &ExtendedKeyUsage(vec![fields::CLIENT_AUTH]))?;
    extensions.push(false, &fields::alternative_names(&uri, Some(module))?)?;
    extensions.push(false, &fields::policies())?;
    extensions.push(false, &SubjectKeyIdentifier(identifier(&key)?))?;
    extensions.push(false, &authority)?;
    let profile = Profile {
        issuer: fields::authority_name(issuer.fleet)?,
        ..extensions.profile()
    };
    let until_ms = match subject.key.kind() {
        DeviceKeyKind::Initial => None,
        DeviceKeyKind::Local => validity.until_ms,
    };
    build(issuer, profile, key, serial, Validity { until_ms, ..validity })
}

fn spki(key: &VerifyingKey) -> Result<SubjectPublicKeyInfoOwned, CertificateError> {
    Ok(SubjectPublicKeyInfoOwned::from_der(&key.to_spki_der())?)
}

fn identifier(
    key: &SubjectPublicKeyInfoOwned,
) -> Result<x509_cert::der::asn1::OctetString, CertificateError> {
    fields::key_identifier(key.subject_public_key.raw_bytes())
}

/// Extensions under collection.
struct Extensions<'a> {
    subject: &'a Name,
    collected: Vec<Extension>,
}

impl<'a> Extensions<'a> {
    const fn new(subject: &'a Name) -> Self {
        Self {
            subject,
            collected: Vec::new(),
        }
    }

    fn push<T>(&mut self, critical: bool, extension: &T) -> Result<(), CertificateError>
    where
        T: x509_cert::der::oid::AssociatedOid + Encode,
    {
        let extension = (critical, extension).to_extension(self.subject, &self.collected)?;
        self.collected.push(extension);
        Ok(())
    }

    /// The profile of a certificate that its subject issues itself.
    fn profile(self) -> Profile {
        Profile {
            issuer: self.subject.clone(),
            subject: self.subject.clone(),
            extensions: self.collected,
        }
    }
}

/// Names and extensions, as the builder takes them.
struct Profile {
    issuer: Name,
    subject: Name,
    extensions: Vec<Extension>,
}

impl BuilderProfile for Profile {
    fn get_issuer(&self, _: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        _: SubjectPublicKeyInfoRef<'_>,
        _: SubjectPublicKeyInfoRef<'_>,
        _: &TbsCertificate,
    ) -> BuilderResult<Vec<Extension>> {
        Ok(self.extensions.clone())
    }
}

fn build(
    issuer: CertificateIssuer<'_>,
    profile: Profile,
    key: SubjectPublicKeyInfoOwned,
    serial: [u8; 16],
    validity: Validity,
) -> Result<Vec<u8>, CertificateError> {
    let until_s = validity.until_ms.map_or(NEVER_S, |until_ms| until_ms / 1000);
    let validity = X509Validity::new(time(validity.from_ms / 1000)?, time(until_s)?);
    let mut builder = CertificateBuilder::new(profile, SerialNumber::new(&serial)?, validity, key)?;
    let signer = Signer {
        key: SpkiDocument(issuer.key.verifying_key().to_spki_der()),
        algorithm: fields::algorithm(issuer.key.suite())?,
    };
    let to_be_signed = builder.finalize(&signer)?;
    let signature = BitString::from_bytes(&issuer.key.sign_x509(&to_be_signed)?)?;
    Ok(builder.assemble(signature, &signer)?.to_der()?)
}

fn time(seconds: u64) -> Result<Time, CertificateError> {
    let time = GeneralizedTime::from_unix_duration(Duration::from_secs(seconds))?;
    Ok(Time::GeneralTime(time))
}

/// What the builder asks of a signer. It never signs: our own provider does, between the builder's two steps.
struct Signer {
    key: SpkiDocument,
    algorithm: AlgorithmIdentifierOwned,
}

#[derive(Clone)]
struct SpkiDocument(Vec<u8>);

impl signature::Keypair for Signer {
    type VerifyingKey = SpkiDocument;

    fn verifying_key(&self) -> SpkiDocument {
        self.key.clone()
    }
}

impl DynSignatureAlgorithmIdentifier for Signer {
    fn signature_algorithm_identifier(&self) -> x509_cert::spki::Result<AlgorithmIdentifierOwned> {
        Ok(self.algorithm.clone())
    }
}

impl EncodePublicKey for SpkiDocument {
    fn to_public_key_der(&self) -> x509_cert::spki::Result<Document> {
        Ok(Document::try_from(self.0.as_slice())?)
    }
}
