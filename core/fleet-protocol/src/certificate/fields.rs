//! The fields of our certificates: names, key identifiers, extensions.

use std::str::FromStr;

use alcub3_crypto::{HashAlg, Suite};
use alcub3_trust_model::{FleetId, RobotId};
use x509_cert::der::asn1::{Ia5String, ObjectIdentifier, OctetString, PrintableStringRef};
use x509_cert::der::{Any, Encode, Sequence};
use x509_cert::ext::pkix::certpolicy::PolicyInformation;
use x509_cert::ext::pkix::name::{GeneralName, OtherName};
use x509_cert::ext::pkix::{CertificatePolicies, SubjectAltName};
use x509_cert::name::Name;
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::CertificateError;

/// id-on-hardwareModuleName (RFC 4108 §5), which IEEE 802.1AR-2018 §8.10.4 puts into the subject alternative name.
const HARDWARE_MODULE_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.8.4");
/// The hardware type of a TPM 2.0 (TCG OID registry).
const TPM20: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.1.2");
/// tcg-cap-verifiedTPMResidency: the CA verified that the key is in a TPM.
const VERIFIED_TPM_RESIDENCY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.11.1.1");
/// tcg-cap-verifiedTPMFixed: and that it never leaves it.
const VERIFIED_TPM_FIXED: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.11.1.2");
/// id-kp-clientAuth (RFC 5280 §4.2.1.12).
pub(super) const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
/// The serialNumber attribute of a name (X.520 §6.2.9).
const SERIAL_NUMBER: &str = "2.5.4.5";
/// The bytes of a key identifier (RFC 7093 §2, method 1).
const KEY_IDENTIFIER_BYTES: usize = 20;

/// HardwareModuleName (RFC 4108 §5).
#[derive(Clone, Debug, Eq, PartialEq, Sequence)]
struct HardwareModuleName {
    hw_type: ObjectIdentifier,
    hw_serial_num: OctetString,
}

/// The subject of a robot's request and certificates. Without a module (in a request) it is the robot's name alone.
pub(super) fn robot_name(
    fleet: Option<&FleetId>,
    robot: &RobotId,
    module: Option<&[u8]>,
) -> Result<Name, CertificateError> {
    // Identifiers have no character that RFC 4514 gives a meaning to. The string form begins with the last part.
    let mut text = format!("CN={robot}");
    if let Some(module) = module {
        let serial = hex::encode(module);
        let value = PrintableStringRef::new(&serial)?.to_der()?;
        text.push_str(&format!(",{SERIAL_NUMBER}=#{}", hex::encode(value)));
    }
    if let Some(fleet) = fleet {
        text.push_str(&format!(",O={fleet}"));
    }
    Ok(Name::from_str(&text)?)
}

/// The authority's own name.
pub(super) fn authority_name(fleet: &FleetId) -> Result<Name, CertificateError> {
    Ok(Name::from_str(&format!("CN=alcub3 fleet authority,O={fleet}"))?)
}

/// The signature algorithm of a suite. ECDSA has no parameters (RFC 5758 §3.2).
pub(super) fn algorithm(suite: Suite) -> Result<AlgorithmIdentifierOwned, CertificateError> {
    let oid = suite
        .x509_algorithm()
        .ok_or(CertificateError::Unexpected("a suite that is no signature"))?;
    Ok(AlgorithmIdentifierOwned {
        oid: ObjectIdentifier::new(oid).map_err(x509_cert::der::Error::from)?,
        parameters: None,
    })
}

/// The key identifier: the leftmost 160 bits of the SHA-256 of the public key (RFC 7093 §2, method 1).
pub(super) fn key_identifier(public_key: &[u8]) -> Result<OctetString, CertificateError> {
    let digest = HashAlg::Sha256.digest(&[public_key]);
    let identifier = digest.as_bytes().get(..KEY_IDENTIFIER_BYTES).unwrap_or_default();
    Ok(OctetString::new(identifier)?)
}

/// A subject alternative name with one SPIFFE identifier and, for a device, its hardware module.
pub(super) fn alternative_names(
    spiffe: &str,
    module: Option<&[u8]>,
) -> Result<SubjectAltName, CertificateError> {
    let mut names = vec![GeneralName::UniformResourceIdentifier(Ia5String::new(spiffe)?)];
    if let Some(module) = module {
        let value = HardwareModuleName {
            hw_type: TPM20,
            hw_serial_num: OctetString::new(module)?,
        };
        names.push(GeneralName::OtherName(OtherName {
            type_id: HARDWARE_MODULE_NAME,
            value: Any::encode_from(&value)?,
        }));
    }
    Ok(SubjectAltName(names))
}

/// What the authority has verified of a device key before it issued. Never critical: webpki and others refuse critical
/// policies.
pub(super) fn policies() -> CertificatePolicies {
    let policy = |policy_identifier| PolicyInformation {
        policy_identifier,
        policy_qualifiers: None,
    };
    CertificatePolicies(vec![policy(VERIFIED_TPM_RESIDENCY), policy(VERIFIED_TPM_FIXED)])
}
