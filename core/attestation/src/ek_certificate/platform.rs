//! Platform certificates (TCG Platform Certificate Profile 1.1, attribute certificates of RFC 5755): who built the machine
//! around a TPM, and which machine it is.
//!
//! A platform certificate is about the TPM whose endorsement certificate it names as its holder, by issuer and serial number; that
//! is what binds the two. `x509-cert` has no attribute certificates: the structures are RFC 5755's, with the parts that the
//! profile uses, of `x509-cert`'s types and read by `der`. What they do not have is refused.
//!
//! Certificates of the newer kind that are public key certificates (profile 2.0), and delta certificates, are not read.

use super::intermediate::{self, Issuer, Parts, Signed};
use super::revocation::{hex, in_words, same_name, without_zeros};
use super::{EkError, Roots, VerifiedEk};
use alcub3_crypto::{Digest, HashAlg};
use der::asn1::{Any, BitString, GeneralizedTime, ObjectIdentifier};
use der::{Decode, Encode, Sequence};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use std::time::Duration;
use thiserror::Error;
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};
use x509_cert::attr::Attribute;
use x509_cert::ext::Extensions;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{GeneralName, GeneralNames};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::AlgorithmIdentifierOwned;

/// Longest platform certificate, in bytes: those of servers list hundreds of components.
const MAX_BYTES: usize = 256 * 1024;
/// AttCertVersion v2.
const VERSION_2: u8 = 1;
/// tcg-kp-PlatformAttributeCertificate as webpki takes it.
const PLATFORM_USAGE: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x02];
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
/// tcg-at-tcgCredentialType.
const CREDENTIAL_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.2.25");
/// tcg-kp-PlatformAttributeCertificate.
const BASE_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.8.2");
const MANUFACTURER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.1.1");
const MODEL: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.1.4");
const VERSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.1.5");
const SERIAL: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.1.6");

/// Why a platform certificate is not accepted.
#[derive(Debug, Error)]
pub enum PlatformError {
    /// It is too long.
    #[error("the platform certificate has {0} bytes; none has that many")]
    TooLong(usize),
    /// It does not read.
    #[error(
        "the platform certificate does not read as an attribute certificate of RFC 5755 as the TCG profiles it"
    )]
    Malformed(#[from] der::Error),
    /// It is read, and is not as the profile wants it.
    #[error("the platform certificate is not as the TCG's profile wants it: {0}")]
    Profile(&'static str),
    /// It is not valid at the time.
    #[error("the platform certificate has expired, or is not valid yet; check the time, or get a new one")]
    Validity,
    /// It is about another TPM.
    #[error(
        "the platform certificate is of another TPM: it names an endorsement certificate with serial number {named}, and this one \
         has {found} or another issuer"
    )]
    OtherEndorsement {
        /// The serial number that it names, in hex.
        named: String,
        /// The endorsement certificate's.
        found: String,
    },
    /// Nobody who is trusted signed it.
    #[error(
        "{0} did not sign the platform certificate with a key that chains to a root: add the platform manufacturer's root or \
         intermediate certificate"
    )]
    Issuer(String),
    /// A revocation list stands against it.
    #[error(transparent)]
    Revocation(#[from] EkError),
}

/// A platform certificate that was verified to be about a verified endorsement key's TPM. Only [`verify_platform`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedPlatform {
    digest: Digest,
    manufacturer: Option<String>,
    model: Option<String>,
    version: Option<String>,
    serial: Option<String>,
    unlisted: Vec<String>,
}

#[derive(Debug, Sequence)]
struct AttributeCertificate {
    info: Info,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

#[derive(Debug, Sequence)]
struct Info {
    version: u8,
    holder: Holder,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", constructed = "true")]
    issuer: IssuerForm,
    signature: AlgorithmIdentifierOwned,
    serial: SerialNumber,
    validity: Period,
    attributes: Vec<Attribute>,
    #[asn1(optional = "true")]
    extensions: Option<Extensions>,
}

/// V2Form with its name alone (RFC 5755, 4.2.3).
#[derive(Debug, Sequence)]
struct IssuerForm {
    name: GeneralNames,
}

#[derive(Debug, Sequence)]
struct Holder {
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", constructed = "true")]
    endorsement_certificate: IssuerSerial,
    #[asn1(
        context_specific = "1",
        tag_mode = "IMPLICIT",
        constructed = "true",
        optional = "true"
    )]
    entity_name: Option<GeneralNames>,
}

#[derive(Debug, Sequence)]
struct IssuerSerial {
    issuer: GeneralNames,
    serial: SerialNumber,
}

#[derive(Debug, Sequence)]
struct Period {
    not_before: GeneralizedTime,
    not_after: GeneralizedTime,
}

#[derive(Debug, Sequence)]
struct CredentialType {
    certificate_type: ObjectIdentifier,
}

/// Verifies a platform certificate (DER) against platform manufacturers' roots, with certificates between it and a root, at a
/// time in seconds since 1970, and that it is about the TPM of an endorsement certificate that was verified.
///
/// Only the production roots count; `roots` are the platform manufacturers', not those of TPM vendors.
///
/// # Errors
/// [`PlatformError`] says what is wrong.
pub fn verify_platform(
    certificate: &[u8],
    ek: &VerifiedEk,
    issuers: &[&[u8]],
    roots: &Roots,
    time_s: u64,
) -> Result<VerifiedPlatform, PlatformError> {
    if certificate.len() > MAX_BYTES {
        return Err(PlatformError::TooLong(certificate.len()));
    }
    let parsed = AttributeCertificate::from_der(certificate)?;
    parsed.check_form()?;
    parsed.info.check_validity(time_s)?;
    parsed.info.check_holder(ek)?;
    let signed = Signed::read(certificate).ok_or(PlatformError::Profile("its signature"))?;
    let issuer_name = directory_name(&parsed.info.issuer.name)?;
    let issuers: Vec<CertificateDer<'_>> = issuers.iter().map(|der| CertificateDer::from(*der)).collect();
    let signer = Signers::new(roots, &issuers, time_s).find(&signed, &issuer_name)?;
    let mut unlisted = signer.unlisted;
    let (serial, signer) = (parsed.info.serial.as_bytes(), &signer.certificate);
    let listed =
        roots
            .revocations
            .lists("the platform certificate", (serial, &issuer_name), signer, time_s)?;
    if !listed {
        unlisted.insert(0, in_words(&issuer_name));
    }
    if roots.require_lists && !unlisted.is_empty() {
        return Err(EkError::NotListed { issuers: unlisted }.into());
    }
    let digest = HashAlg::Sha256.digest(&[certificate]);
    parsed.info.platform(digest, unlisted)
}

impl AttributeCertificate {
    fn check_form(&self) -> Result<(), PlatformError> {
        let info = &self.info;
        if info.version != VERSION_2 {
            return Err(PlatformError::Profile("its version is not 2"));
        }
        if info.signature != self.algorithm {
            return Err(PlatformError::Profile("it names two signature algorithms"));
        }
        if self.signature.as_bytes().is_none() {
            return Err(PlatformError::Profile("its signature has odd bits"));
        }
        let critical = info.extensions().filter(|extension| extension.critical);
        if critical
            .into_iter()
            .any(|extension| extension.extn_id != SUBJECT_ALT_NAME)
        {
            return Err(PlatformError::Profile("a critical extension is unknown"));
        }
        info.check_type()
    }
}

impl Info {
    fn extensions(&self) -> impl Iterator<Item = &x509_cert::ext::Extension> {
        self.extensions.iter().flatten()
    }

    /// Where it says what it is, it is a base platform certificate.
    fn check_type(&self) -> Result<(), PlatformError> {
        let stated = self
            .attributes
            .iter()
            .filter(|attribute| attribute.oid == CREDENTIAL_TYPE);
        for value in stated.flat_map(|attribute| attribute.values.iter()) {
            let kind: CredentialType = value.decode_as()?;
            if kind.certificate_type != BASE_TYPE {
                return Err(PlatformError::Profile(
                    "it is a delta or another kind of certificate, not a base platform certificate",
                ));
            }
        }
        Ok(())
    }

    fn check_validity(&self, time_s: u64) -> Result<(), PlatformError> {
        let seconds = |time: GeneralizedTime| time.to_unix_duration().as_secs();
        let (from, to) = (
            seconds(self.validity.not_before),
            seconds(self.validity.not_after),
        );
        if (from..=to).contains(&time_s) {
            Ok(())
        } else {
            Err(PlatformError::Validity)
        }
    }

    fn check_holder(&self, ek: &VerifiedEk) -> Result<(), PlatformError> {
        let named = &self.holder.endorsement_certificate;
        let issuer = directory_name(&named.issuer)?;
        let serial = without_zeros(named.serial.as_bytes());
        let is_same = same_name(&issuer, &ek.issuer) && serial == without_zeros(&ek.serial);
        if is_same {
            return Ok(());
        }
        Err(PlatformError::OtherEndorsement {
            named: hex(serial),
            found: hex(without_zeros(&ek.serial)),
        })
    }

    /// What the subject alternative name says of the machine.
    fn platform(&self, digest: Digest, unlisted: Vec<String>) -> Result<VerifiedPlatform, PlatformError> {
        let mut found = VerifiedPlatform {
            digest,
            manufacturer: None,
            model: None,
            version: None,
            serial: None,
            unlisted,
        };
        let names = self
            .extensions()
            .filter(|extension| extension.extn_id == SUBJECT_ALT_NAME);
        for extension in names {
            let names = SubjectAltName::from_der(extension.extn_value.as_bytes())?;
            for name in names.0 {
                if let GeneralName::DirectoryName(name) = name {
                    found.take(&name);
                }
            }
        }
        Ok(found)
    }
}

impl VerifiedPlatform {
    fn take(&mut self, name: &Name) {
        for attribute in name
            .iter_rdn()
            .flat_map(x509_cert::name::RelativeDistinguishedName::iter)
        {
            let text = Some(text(&attribute.value));
            match attribute.oid {
                MANUFACTURER => self.manufacturer = text,
                MODEL => self.model = text,
                VERSION => self.version = text,
                SERIAL => self.serial = text,
                _ => {}
            }
        }
    }

    /// The SHA-256 of the certificate.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Who made the platform.
    #[must_use]
    pub fn manufacturer(&self) -> Option<&str> {
        self.manufacturer.as_deref()
    }

    /// Its model.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Its serial number.
    #[must_use]
    pub fn serial(&self) -> Option<&str> {
        self.serial.as_deref()
    }

    /// The issuers of whom no usable revocation list was known.
    #[must_use]
    pub fn unlisted_issuers(&self) -> &[String] {
        &self.unlisted
    }
}

/// Who may have signed: the roots, authorities below them, and signers below those.
struct Signers<'a> {
    roots: &'a Roots,
    authorities: Vec<Issuer>,
    sent: &'a [CertificateDer<'a>],
    time_s: u64,
}

struct Signer {
    certificate: Issuer,
    unlisted: Vec<String>,
}

impl<'a> Signers<'a> {
    fn new(roots: &'a Roots, sent: &'a [CertificateDer<'a>], time_s: u64) -> Self {
        Self {
            roots,
            authorities: intermediate::with_verified(&roots.production, sent, time_s),
            sent,
            time_s,
        }
    }

    fn find(&self, signed: &Signed<'_>, name: &[u8]) -> Result<Signer, PlatformError> {
        let fits = |issuer: &&Issuer| {
            issuer.anchor.subject.as_ref() == name
                && signed.is_signed_by(&issuer.anchor.subject_public_key_info)
                && Parts::read(&issuer.der).is_none_or(|parts| parts.may_sign_attributes())
        };
        if let Some(found) = self.authorities.iter().find(fits) {
            let revocations = &self.roots.revocations;
            let unlisted = revocations.check_above(found, &self.authorities, self.time_s)?;
            let certificate = found.clone();
            return Ok(Signer {
                certificate,
                unlisted,
            });
        }
        for der in self.sent {
            let Ok(certificate) = Issuer::trusted(der) else {
                continue;
            };
            if fits(&&certificate)
                && let Some(unlisted) = self.chained(der)?
            {
                return Ok(Signer {
                    certificate,
                    unlisted,
                });
            }
        }
        Err(PlatformError::Issuer(in_words(name)))
    }

    /// Whether a signer that is no authority chains to a root; the issuers without a list.
    fn chained(&self, der: &CertificateDer<'_>) -> Result<Option<Vec<String>>, PlatformError> {
        let Ok(leaf) = EndEntityCert::try_from(der) else {
            return Ok(None);
        };
        let anchors: Vec<TrustAnchor<'_>> = self
            .authorities
            .iter()
            .map(|issuer| issuer.anchor.clone())
            .collect();
        let time = UnixTime::since_unix_epoch(Duration::from_secs(self.time_s));
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        let path = leaf.verify_for_usage(
            algorithms,
            &anchors,
            self.sent,
            time,
            KeyUsage::required_if_present(PLATFORM_USAGE),
            None,
            None,
        );
        let keeps_length = |path: &VerifiedPath<'_>| intermediate::keeps_length(path, &self.authorities);
        let Some(path) = path.ok().filter(keeps_length) else {
            return Ok(None);
        };
        let revocations = &self.roots.revocations;
        let words = [
            "the certificate that signed the platform certificate",
            "a certificate above the platform certificate",
        ];
        Ok(Some(revocations.check(
            &path,
            &self.authorities,
            words,
            self.time_s,
        )?))
    }
}

/// The one directory name of general names, its contents in DER.
fn directory_name(names: &GeneralNames) -> Result<Vec<u8>, PlatformError> {
    let [GeneralName::DirectoryName(name)] = names.as_slice() else {
        return Err(PlatformError::Profile(
            "an issuer is not named by one directory name",
        ));
    };
    let der = name.to_der()?;
    let contents = super::certificate::content(&der).map(<[u8]>::to_vec);
    contents.ok_or(PlatformError::Profile("an issuer's name"))
}

fn text(value: &Any) -> String {
    let text = String::from_utf8_lossy(value.value());
    text.chars().filter(|c| !c.is_control()).collect()
}
