//! What a machine's maker says of it: the certificate of its TPM's initial attestation key (IAK), and its platform certificate. The
//! robot sends them, the authority judges them, and the enrolment record says what they state.
//!
//! A certificate is anybody's to copy. That of the IAK counts only with that key's TPM2_Certify of the robot's attestation key,
//! which never leaves its TPM either: then both are in one TPM. A platform certificate names the endorsement certificate.

use alcub3_attestation::appraisal::OriginKind;
use alcub3_attestation::certify::{Signed, verify_certify};
use alcub3_attestation::ek_certificate::device::VerifiedDevice;
use alcub3_attestation::ek_certificate::platform::VerifiedPlatform;
use alcub3_crypto::tpm::Public;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};

use crate::enrolment::EnrolError;
use crate::wire;

/// The longest platform certificate, in bytes: those of servers list hundreds of components.
const MAX_PLATFORM: usize = 256 * 1024;
/// The longest text of a certificate in a record, in bytes.
const MAX_TEXT: usize = 256;

/// The initial attestation key of a robot's TPM, with its certificate and what it certified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeviceEvidence {
    /// Its certificate, DER, filler removed.
    pub certificate: Vec<u8>,
    /// Certificates between that and a root, DER.
    pub chain: Vec<Vec<u8>>,
    /// The key.
    pub key: Public,
    /// Its TPM2_Certify of the robot's attestation key, with [`crate::identity_binding`] as extra data.
    pub certification: Signed,
}

/// A platform certificate that the robot's operator gave.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlatformEvidence {
    /// The attribute certificate, DER.
    pub certificate: Vec<u8>,
    /// Certificates between its signer and a root, the signer's included, DER.
    pub chain: Vec<Vec<u8>>,
}

/// What a robot sends of its origin; both parts may be missing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OriginEvidence {
    /// Where the chip has an initial attestation key with its certificate.
    pub device: Option<DeviceEvidence>,
    /// Where it was given.
    pub platform: Option<PlatformEvidence>,
}

/// What was found of that evidence. What is missing here goes into no record.
#[derive(Clone, Debug, Default)]
pub struct JudgedOrigin {
    /// Of the initial attestation key's certificate.
    pub device: Option<VerifiedDevice>,
    /// Of the platform certificate.
    pub platform: Option<VerifiedPlatform>,
}

/// What a record says of the initial attestation key's certificate. A text that the certificate lacks is empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeviceOrigin {
    /// The SHA-256 of the certificate.
    pub certificate: Digest,
    /// The common name of its subject.
    pub common_name: String,
    /// The serial number of its subject: the device's.
    pub serial: String,
    /// hardwareModuleName: the OID of the kind of hardware, a space, and the serial number.
    pub hardware_module: String,
    /// Whether each issuer on the way has a current revocation list that does not name it.
    pub revocation_checked: bool,
}

/// What a record says of the platform certificate. A text that the certificate lacks is empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlatformOrigin {
    /// The SHA-256 of the certificate.
    pub certificate: Digest,
    /// Who made the machine.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// Its version.
    pub version: String,
    /// Its serial number.
    pub serial: String,
    /// Whether each issuer on the way has a current revocation list that does not name it.
    pub revocation_checked: bool,
}

/// A robot's origin as the enrolment record has it: what was proven, and nothing where nothing was.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Origin {
    /// By its TPM's initial attestation key.
    pub device: Option<DeviceOrigin>,
    /// By its platform certificate.
    pub platform: Option<PlatformOrigin>,
}

impl DeviceEvidence {
    /// That this key certified the robot's attestation key, for this enrolment's binding.
    pub(crate) fn check(&self, attestation_key: &Public, binding: &Digest) -> Result<(), EnrolError> {
        let key = self.key.verifying_key()?;
        let certified = verify_certify(&key, &self.certification, binding.as_bytes())
            .map_err(EnrolError::DeviceCertification)?;
        if certified.name == attestation_key.name() {
            Ok(())
        } else {
            Err(EnrolError::OtherDevice)
        }
    }
}

impl OriginEvidence {
    pub(crate) fn put(&self, out: &mut Encoder) {
        out.array(2);
        if let Some(device) = &self.device {
            out.array(4).bytes(&device.certificate);
            put_chain(out, &device.chain);
            wire::put_public(out, &device.key);
            wire::put_signed(out, &device.certification);
        } else {
            out.array(0);
        }
        if let Some(platform) = &self.platform {
            out.array(2).bytes(&platform.certificate);
            put_chain(out, &platform.chain);
        } else {
            out.array(0);
        }
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.array_of("origin", 2)?;
        let device = optional(r, "device", 4, |r| {
            Ok(DeviceEvidence {
                certificate: wire::certificate(r, "device certificate")?,
                chain: wire::chain(r, "device chain")?,
                key: wire::public(r, "device key")?,
                certification: wire::signed(r, "device certification")?,
            })
        })?;
        let platform = optional(r, "platform", 2, |r| {
            Ok(PlatformEvidence {
                certificate: wire::bounded(r, "platform certificate", MAX_PLATFORM)?,
                chain: wire::chain(r, "platform chain")?,
            })
        })?;
        Ok(Self { device, platform })
    }
}

impl JudgedOrigin {
    /// What goes into the record, if that was found of this evidence. Evidence that was not judged leaves no trace.
    pub(crate) fn of(&self, evidence: &OriginEvidence) -> Result<Origin, EnrolError> {
        let device = self.device.as_ref().map(|found| {
            let sent = evidence.device.as_ref();
            let fits = |sent: &DeviceEvidence| {
                digest(&sent.certificate) == *found.digest() && found.certifies(&sent.key)
            };
            sent.is_some_and(fits)
                .then(|| DeviceOrigin::from(found))
                .ok_or(EnrolError::Origin(
                    "the certificate of its initial attestation key",
                ))
        });
        let platform = self.platform.as_ref().map(|found| {
            let sent = evidence.platform.as_ref();
            sent.is_some_and(|sent| digest(&sent.certificate) == *found.digest())
                .then(|| PlatformOrigin::from(found))
                .ok_or(EnrolError::Origin("its platform certificate"))
        });
        let origin = Origin {
            device: device.transpose()?,
            platform: platform.transpose()?,
        };
        if origin.texts().any(|text| text.len() > MAX_TEXT) {
            return Err(EnrolError::OriginText { most: MAX_TEXT });
        }
        Ok(origin)
    }
}

fn digest(certificate: &[u8]) -> Digest {
    HashAlg::Sha256.digest(&[certificate])
}

fn owned(text: Option<&str>) -> String {
    text.unwrap_or_default().to_owned()
}

impl From<&VerifiedDevice> for DeviceOrigin {
    fn from(found: &VerifiedDevice) -> Self {
        Self {
            certificate: *found.digest(),
            common_name: owned(found.common_name()),
            serial: owned(found.serial()),
            hardware_module: owned(found.hardware_module()),
            revocation_checked: found.unlisted_issuers().is_empty(),
        }
    }
}

impl From<&VerifiedPlatform> for PlatformOrigin {
    fn from(found: &VerifiedPlatform) -> Self {
        Self {
            certificate: *found.digest(),
            manufacturer: owned(found.manufacturer()),
            model: owned(found.model()),
            version: owned(found.version()),
            serial: owned(found.serial()),
            revocation_checked: found.unlisted_issuers().is_empty(),
        }
    }
}

impl Origin {
    /// What it states, as an appraisal policy asks for it.
    pub fn kinds(&self) -> impl Iterator<Item = OriginKind> {
        let device = self.device.as_ref().map(|_| OriginKind::Iak);
        let platform = self.platform.as_ref().map(|_| OriginKind::PlatformCertificate);
        [device, platform].into_iter().flatten()
    }

    fn texts(&self) -> impl Iterator<Item = &String> {
        let (device, platform) = (self.device.iter(), self.platform.iter());
        device
            .flat_map(|device| [&device.common_name, &device.serial, &device.hardware_module])
            .chain(platform.flat_map(|platform| {
                [
                    &platform.manufacturer,
                    &platform.model,
                    &platform.version,
                    &platform.serial,
                ]
            }))
    }

    /// Whether it states nothing that this evidence does not show.
    pub(crate) fn is_of(&self, evidence: &OriginEvidence) -> bool {
        let device = evidence.device.as_ref().map(|sent| digest(&sent.certificate));
        let platform = evidence.platform.as_ref().map(|sent| digest(&sent.certificate));
        self.device
            .as_ref()
            .is_none_or(|stated| Some(stated.certificate) == device)
            && self
                .platform
                .as_ref()
                .is_none_or(|stated| Some(stated.certificate) == platform)
    }

    pub(crate) fn put(&self, out: &mut Encoder) {
        out.array(2);
        match &self.device {
            None => out.array(0),
            Some(device) => out
                .array(5)
                .digest(&device.certificate)
                .text(&device.common_name)
                .text(&device.serial)
                .text(&device.hardware_module)
                .bool(device.revocation_checked),
        };
        match &self.platform {
            None => out.array(0),
            Some(platform) => out
                .array(6)
                .digest(&platform.certificate)
                .text(&platform.manufacturer)
                .text(&platform.model)
                .text(&platform.version)
                .text(&platform.serial)
                .bool(platform.revocation_checked),
        };
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.array_of("origin", 2)?;
        let device = optional(r, "device", 5, |r| {
            Ok(DeviceOrigin {
                certificate: r.digest("device certificate")?,
                common_name: wire::short_text(r, "device common_name", MAX_TEXT)?,
                serial: wire::short_text(r, "device serial", MAX_TEXT)?,
                hardware_module: wire::short_text(r, "device hardware_module", MAX_TEXT)?,
                revocation_checked: r.bool("device revocation_checked")?,
            })
        })?;
        let platform = optional(r, "platform", 6, |r| {
            Ok(PlatformOrigin {
                certificate: r.digest("platform certificate")?,
                manufacturer: wire::short_text(r, "platform manufacturer", MAX_TEXT)?,
                model: wire::short_text(r, "platform model", MAX_TEXT)?,
                version: wire::short_text(r, "platform version", MAX_TEXT)?,
                serial: wire::short_text(r, "platform serial", MAX_TEXT)?,
                revocation_checked: r.bool("platform revocation_checked")?,
            })
        })?;
        Ok(Self { device, platform })
    }
}

fn put_chain(out: &mut Encoder, chain: &[Vec<u8>]) {
    out.array(chain.len());
    for certificate in chain {
        out.bytes(certificate);
    }
}

/// An empty array, or one of this many items.
fn optional<'a, T>(
    r: &mut Reader<'a>,
    field: &'static str,
    items: usize,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    match r.array(field, items)? {
        0 => Ok(None),
        found if found == items => read(r).map(Some),
        _ => Err(r.fault(field, Fault::Value)),
    }
}
