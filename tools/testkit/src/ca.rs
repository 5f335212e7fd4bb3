//! Endorsement certificates for simulators, which say that they are.

use crate::TestkitError;
use rcgen::SigningKey as _;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    CrlIssuingDistributionPoint, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData, RevocationReason, RevokedCertParams,
    SerialNumber, SubjectPublicKeyInfo, date_time_ymd,
};
use x509_cert::der::Decode;

/// NV index of the certificate of the RSA-2048 endorsement key (TCG EK Credential Profile 2.2.1.4).
pub const EK_CERTIFICATE_RSA2048: u32 = 0x01C0_0002;
/// NV index of the certificate of the P-256 endorsement key.
pub const EK_CERTIFICATE_P256: u32 = 0x01C0_000A;
/// NV index of the certificate of the P-384 endorsement key (high range).
pub const EK_CERTIFICATE_P384: u32 = 0x01C0_0016;

const SUBJECT_ALT_NAME: &[u64] = &[2, 5, 29, 17];
const EK_CERTIFICATE_USAGE: &[u64] = &[2, 23, 133, 8, 1];
const AK_CERTIFICATE_USAGE: &[u64] = &[2, 23, 133, 8, 3];
const CERTIFICATE_POLICIES: &[u64] = &[2, 5, 29, 32];
/// CertificatePolicies with anyPolicy alone, DER.
const ANY_POLICY: [u8; 10] = [0x30, 0x08, 0x30, 0x06, 0x06, 0x04, 0x55, 0x1d, 0x20, 0x00];

/// TCG attribute types 2.23.133.2.1 to .3 in DER, and what ours say; the manufacturer is "ALB3", no vendor's.
const TPM_ATTRIBUTES: [([u8; 7], &str); 3] = [
    ([0x06, 0x05, 0x67, 0x81, 0x05, 0x02, 0x01], "id:414C4233"),
    (
        [0x06, 0x05, 0x67, 0x81, 0x05, 0x02, 0x02],
        "alcub3 swtpm simulator",
    ),
    ([0x06, 0x05, 0x67, 0x81, 0x05, 0x02, 0x03], "id:00070001"),
];

/// What is particular about an intermediate authority.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Quirk {
    /// Nothing.
    None,
    /// Its certificate says anyPolicy, critically, as STMicroelectronics' do.
    CriticalPolicies,
    /// Its certificate does not let it sign revocation lists, and it does.
    NoListSigning,
    /// It is no authority: it signs, platform certificates for one.
    Signer,
}

/// What a device's certificate is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeviceKind {
    /// An initial attestation key.
    Attestation,
    /// The same, without a word of which device.
    Nameless,
    /// A device's identity key (IDevID).
    Identity,
}

/// An authority that certifies the endorsement keys of simulators, made anew for each test.
pub struct SimulatorCa {
    issuer: Issuer<'static, KeyPair>,
    root: Certificate,
}

impl SimulatorCa {
    /// Makes one with a new P-256 key.
    ///
    /// # Errors
    /// When the key or the certificate cannot be made.
    pub fn new() -> Result<Self, TestkitError> {
        let key = KeyPair::generate()?;
        let params = authority("alcub3 simulator EK CA (not for production)", 2);
        let root = params.self_signed(&key)?;
        Ok(Self {
            issuer: Issuer::new(params, key),
            root,
        })
    }

    /// An authority of this name below this one, with a P-256 key of its own; it has no authority below it.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn intermediate(&self, name: &str, quirk: Quirk) -> Result<Self, TestkitError> {
        let key = KeyPair::generate()?;
        let mut params = authority(name, 0);
        params.use_authority_key_identifier_extension = true;
        if quirk == Quirk::Signer {
            params.is_ca = IsCa::ExplicitNoCa;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign];
        }
        if quirk == Quirk::NoListSigning {
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        }
        if quirk == Quirk::CriticalPolicies {
            let mut policies = CustomExtension::from_oid_content(CERTIFICATE_POLICIES, ANY_POLICY.to_vec());
            policies.set_criticality(true);
            params.custom_extensions = vec![policies];
        }
        let root = params.signed_by(&key, &self.issuer)?;
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self {
            issuer: Issuer::new(params, key),
            root,
        })
    }

    /// Its signature over a message: ECDSA with SHA-256, DER.
    ///
    /// # Errors
    /// [`Certificate`](TestkitError::Certificate).
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TestkitError> {
        Ok(self.issuer.key().sign(message)?)
    }

    /// As [`Self::revocation_list`], for a part of what the authority issued: that with this distribution point.
    ///
    /// # Errors
    /// As [`Self::revocation_list`].
    pub fn partial_list(&self, certificates: &[&[u8]], years: (i32, i32)) -> Result<Vec<u8>, TestkitError> {
        let uris = vec!["http://simulator.invalid/part.crl".to_owned()];
        let part = CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint { uris },
            scope: None,
        };
        self.list(&serials(certificates)?, years, Some(part))
    }

    /// A list, DER, that revokes these certificates (DER) by their serial numbers, made on the first day of one year and good to that of another.
    ///
    /// # Errors
    /// [`Certificate`](TestkitError::Certificate).
    pub fn revocation_list(
        &self,
        certificates: &[&[u8]],
        years: (i32, i32),
    ) -> Result<Vec<u8>, TestkitError> {
        self.list(&serials(certificates)?, years, None)
    }

    /// As [`Self::revocation_list`], for one serial number, of a platform certificate say.
    ///
    /// # Errors
    /// As [`Self::revocation_list`].
    pub fn serial_list(&self, serial: &[u8], years: (i32, i32)) -> Result<Vec<u8>, TestkitError> {
        self.list(&[serial.to_vec()], years, None)
    }

    fn list(
        &self,
        serials: &[Vec<u8>],
        (from_year, to_year): (i32, i32),
        part: Option<CrlIssuingDistributionPoint>,
    ) -> Result<Vec<u8>, TestkitError> {
        let made = date_time_ymd(from_year, 1, 1);
        let revoked = |serial: &Vec<u8>| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: made,
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: made,
            next_update: date_time_ymd(to_year, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: part,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.der().to_vec())
    }

    /// The authority's own certificate, DER.
    pub fn root_der(&self) -> &[u8] {
        self.root.der()
    }

    /// The authority's own certificate, PEM.
    pub fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// A certificate for the endorsement key with this public key (SubjectPublicKeyInfo, DER): DER for the NV
    /// index that [`nv_index`](Self::nv_index) names.
    ///
    /// # Errors
    /// [`TestkitError::UnsupportedKey`] or [`Certificate`](TestkitError::Certificate).
    pub fn issue(&self, ek_spki: &[u8]) -> Result<Vec<u8>, TestkitError> {
        let ek = SubjectPublicKeyInfo::from_der(ek_spki)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.not_before = date_time_ymd(2024, 1, 1);
        params.not_after = date_time_ymd(9999, 12, 31);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![key_usage(&ek)?];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(EK_CERTIFICATE_USAGE.into())];
        let mut name = CustomExtension::from_oid_content(SUBJECT_ALT_NAME, subject_alt_name());
        name.set_criticality(true);
        params.custom_extensions = vec![name];
        Ok(params.signed_by(&ek, &self.issuer)?.der().to_vec())
    }

    /// A certificate for the initial attestation key (IAK) of a device with this serial number, whose public key
    /// (SubjectPublicKeyInfo, DER) this is; its hardwareModuleName says the same. DER.
    ///
    /// # Errors
    /// [`Certificate`](TestkitError::Certificate).
    pub fn issue_device(&self, spki: &[u8], serial: &str, kind: DeviceKind) -> Result<Vec<u8>, TestkitError> {
        let key = SubjectPublicKeyInfo::from_der(spki)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "alcub3 test device");
        if kind != DeviceKind::Nameless {
            params
                .distinguished_name
                .push(DnType::CustomDnType(vec![2, 5, 4, 5]), serial);
            let name = CustomExtension::from_oid_content(SUBJECT_ALT_NAME, hardware_module_name(serial));
            params.custom_extensions = vec![name];
        }
        params.not_before = date_time_ymd(2024, 1, 1);
        params.not_after = date_time_ymd(9999, 12, 31);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if kind != DeviceKind::Identity {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(AK_CERTIFICATE_USAGE.into())];
        }
        Ok(params.signed_by(&key, &self.issuer)?.der().to_vec())
    }

    /// The NV index that the certificate of this endorsement key belongs into.
    ///
    /// # Errors
    /// [`TestkitError::UnsupportedKey`] or [`Certificate`](TestkitError::Certificate).
    pub fn nv_index(ek_spki: &[u8]) -> Result<u32, TestkitError> {
        let algorithm = SubjectPublicKeyInfo::from_der(ek_spki)?.algorithm();
        if *algorithm == rcgen::PKCS_ECDSA_P256_SHA256 {
            Ok(EK_CERTIFICATE_P256)
        } else if *algorithm == rcgen::PKCS_ECDSA_P384_SHA384 {
            Ok(EK_CERTIFICATE_P384)
        } else if *algorithm == rcgen::PKCS_RSA_SHA256 {
            Ok(EK_CERTIFICATE_RSA2048)
        } else {
            Err(TestkitError::UnsupportedKey(format!("{algorithm:?}")))
        }
    }
}

/// The serial numbers of certificates, DER.
fn serials(certificates: &[&[u8]]) -> Result<Vec<Vec<u8>>, TestkitError> {
    let serial = |der: &&[u8]| {
        let certificate = x509_cert::Certificate::from_der(der)?;
        Ok(certificate.tbs_certificate().serial_number().as_bytes().to_vec())
    };
    certificates.iter().map(serial).collect()
}

/// What an authority's certificate says, with at most so many authorities between it and an endorsement certificate.
fn authority(name: &str, below: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2099, 12, 31);
    params
}

/// TCG EK Credential Profile 3.2.13: an ECC key agrees on keys, an RSA key enciphers them.
fn key_usage(ek: &SubjectPublicKeyInfo) -> Result<KeyUsagePurpose, TestkitError> {
    let algorithm = ek.algorithm();
    if *algorithm == rcgen::PKCS_ECDSA_P256_SHA256 || *algorithm == rcgen::PKCS_ECDSA_P384_SHA384 {
        Ok(KeyUsagePurpose::KeyAgreement)
    } else if *algorithm == rcgen::PKCS_RSA_SHA256 {
        Ok(KeyUsagePurpose::KeyEncipherment)
    } else {
        Err(TestkitError::UnsupportedKey(format!("{algorithm:?}")))
    }
}

/// GeneralNames with one directoryName of the three TPM attributes, as vendors write it. All lengths are short.
fn subject_alt_name() -> Vec<u8> {
    const SEQUENCE: u8 = 0x30;
    const SET: u8 = 0x31;
    const UTF8: u8 = 0x0c;
    const DIRECTORY_NAME: u8 = 0xa4;
    let attributes = TPM_ATTRIBUTES.map(|(oid, value)| {
        let value = der(UTF8, value.as_bytes());
        der(SET, &der(SEQUENCE, &[&oid, value.as_slice()].concat()))
    });
    let name = der(SEQUENCE, &attributes.concat());
    der(SEQUENCE, &der(DIRECTORY_NAME, &name))
}

/// GeneralNames with one hardwareModuleName (RFC 4108, 5) of type 2.23.133.1.2.
fn hardware_module_name(serial: &str) -> Vec<u8> {
    const SEQUENCE: u8 = 0x30;
    const OTHER_NAME: u8 = 0xa0;
    let kind = [0x06, 0x05, 0x67, 0x81, 0x05, 0x01, 0x02];
    let module = der(
        SEQUENCE,
        &[kind.as_slice(), &der(0x04, serial.as_bytes())].concat(),
    );
    let name_type = der(0x06, &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x08, 0x04]);
    let name = der(OTHER_NAME, &[name_type, der(OTHER_NAME, &module)].concat());
    der(SEQUENCE, &name)
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    // One length byte up to 127; the whole is 89 bytes.
    let length = u8::try_from(content.len()).unwrap_or(u8::MAX);
    [&[tag, length], content].concat()
}
