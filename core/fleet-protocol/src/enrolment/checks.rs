//! What the authority demands of a robot's keys before it challenges it.

use alcub3_attestation::attest::Attest;
use alcub3_attestation::certify::verify_creation;
use alcub3_crypto::tpm::attribute::{
    DECRYPT, FIXED_PARENT, FIXED_TPM, RESTRICTED, SENSITIVE_DATA_ORIGIN, SIGN, X509_SIGN,
};
use alcub3_crypto::tpm::{Name, Public, alg};
use alcub3_crypto::{Curve, Digest, HashAlg, SignatureScheme, Suite};

use super::{CreationData, CreationError, EnrolError, EnrolRequest};
use crate::identity_binding;

/// A hierarchy, whose Name is its handle (Part 1, §16).
pub(crate) struct Hierarchy(u32);

impl Hierarchy {
    pub(crate) fn name(&self) -> Name {
        Name::of_handle(self.0)
    }
}

/// TPM_RH_ENDORSEMENT.
pub(crate) const ENDORSEMENT_HIERARCHY: Hierarchy = Hierarchy(0x4000_000B);

/// What is wrong with a key.
#[derive(Copy, Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum KeyFault {
    /// An attribute that must be set is clear.
    #[error("its attribute {0} must be set")]
    MustBeSet(&'static str),
    /// An attribute that must be clear is set.
    #[error("its attribute {0} must be clear")]
    MustBeClear(&'static str),
    /// It is not an ECC key on one of our curves.
    #[error("it is not an ECC key on P-256 or P-384")]
    NotEcc,
    /// Its scheme is not fixed to ECDSA with the curve's hash.
    #[error("its scheme is not fixed to ECDSA with the hash of its curve")]
    Scheme,
    /// Its nameAlg is not the hash of its curve.
    #[error("its nameAlg is not the hash of its curve")]
    NameAlg,
    /// It is on another curve than the robot's other keys.
    #[error("it is on another curve than the attestation key")]
    OtherCurve,
    /// Its cipher is weaker than its curve.
    #[error("it does not protect what is wrapped to it with AES of at least {bits} bits")]
    Cipher {
        /// The least that its curve asks for.
        bits: u16,
    },
    /// Its point is not on the curve, or otherwise no public key.
    #[error("it is no valid public key")]
    Invalid,
}

/// An RSA key of 2048 bits.
const MIN_RSA_BYTES: usize = 256;

const NAMES: [(u32, &str); 7] = [
    (FIXED_TPM, "fixedTPM"),
    (FIXED_PARENT, "fixedParent"),
    (SENSITIVE_DATA_ORIGIN, "sensitiveDataOrigin"),
    (RESTRICTED, "restricted"),
    (SIGN, "sign"),
    (DECRYPT, "decrypt"),
    (X509_SIGN, "x509sign"),
];

/// What every key that the TPM made and never gives away has.
const BOUND: u32 = FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN;

fn attributes(public: &Public, set: u32, clear: u32) -> Result<(), KeyFault> {
    for (bit, name) in NAMES {
        let is_set = public.has_attributes(bit);
        if set & bit != 0 && !is_set {
            return Err(KeyFault::MustBeSet(name));
        }
        if clear & bit != 0 && is_set {
            return Err(KeyFault::MustBeClear(name));
        }
    }
    Ok(())
}

fn curve_of(public: &Public) -> Result<Curve, KeyFault> {
    let point = if public.object_type() == alg::ECC {
        public.ec_point()
    } else {
        None
    };
    let (curve, _, _) = point.ok_or(KeyFault::NotEcc)?;
    public.verifying_key().map_err(|_| KeyFault::Invalid)?;
    if public.name_alg() == curve.hash() {
        Ok(curve)
    } else {
        Err(KeyFault::NameAlg)
    }
}

fn signing_key(public: &Public, set: u32, clear: u32) -> Result<Curve, KeyFault> {
    attributes(public, set, clear)?;
    let curve = curve_of(public)?;
    let fixed = public.signature_scheme() == Some(SignatureScheme::Ecdsa(curve.hash()));
    if fixed { Ok(curve) } else { Err(KeyFault::Scheme) }
}

/// Checks the attestation key: it signs only what the TPM made, and never leaves it. Gives its curve.
fn attestation_key(public: &Public) -> Result<Curve, KeyFault> {
    signing_key(public, BOUND | RESTRICTED | SIGN, DECRYPT | X509_SIGN)
}

/// Checks a device key: it signs any digest, was made by the TPM, and never leaves it. Gives its curve.
pub(crate) fn device_key(public: &Public) -> Result<Curve, KeyFault> {
    signing_key(public, BOUND | SIGN, RESTRICTED | DECRYPT)
}

/// Checks the storage root: it protects what the TPM made, and never leaves it. Gives its curve.
///
/// # Errors
/// [`KeyFault`] names what is not as it must be.
pub fn storage_root(public: &Public) -> Result<Curve, KeyFault> {
    attributes(public, BOUND | RESTRICTED | DECRYPT, SIGN)?;
    let curve = curve_of(public)?;
    // What is wrapped to it is no better protected than by its cipher.
    let bits = match curve {
        Curve::P256 => 128,
        Curve::P384 => 256,
    };
    match public.symmetric() {
        Some(found) if found >= bits => Ok(curve),
        _ => Err(KeyFault::Cipher { bits }),
    }
}

/// Checks the endorsement key: it opens credentials, was made by the TPM, and never leaves it. That it is a TPM's is for its
/// certificate to say.
pub(crate) fn endorsement_key(public: &Public) -> Result<(), KeyFault> {
    attributes(public, BOUND | RESTRICTED | DECRYPT, SIGN)
}

/// The suite that an endorsement key is as strong as: by it a session's salt and the credential are protected. RSA-2048 and
/// RSA-3072 are below P-384 (SP 800-57, table 2).
fn endorsement_strength(public: &Public) -> Result<Suite, KeyFault> {
    endorsement_key(public)?;
    let (bits, hash) = (public.symmetric().unwrap_or_default(), public.name_alg());
    let rsa_bytes = public.rsa().map(|(modulus, _)| modulus.len());
    let strong_key = matches!(public.ec_point(), Some((Curve::P384, ..)));
    if strong_key && bits >= 256 && hash.size() >= HashAlg::Sha384.size() {
        return Ok(Suite::EcdsaP384Sha384);
    }
    let sound_key = public.ec_point().is_some() || rsa_bytes.is_some_and(|bytes| bytes >= MIN_RSA_BYTES);
    match (sound_key && hash.is_approved(), bits >= 128) {
        (false, _) => Err(KeyFault::Invalid),
        (true, false) => Err(KeyFault::Cipher { bits: 128 }),
        (true, true) => Ok(Suite::EcdsaP256Sha256),
    }
}

/// Checks that the initial attestation key, where one is sent, signs only what its TPM made and certified this attestation key:
/// neither leaves its TPM, so that it is one TPM. That the key is a machine's is for its certificate to say.
fn device(request: &EnrolRequest, curve: Curve) -> Result<(), EnrolError> {
    let Some(device) = &request.origin.device else {
        return Ok(());
    };
    let sound = attributes(&device.key, BOUND | RESTRICTED | SIGN, DECRYPT | X509_SIGN);
    named("initial attestation", sound)?;
    device.check(&request.attestation_key, &binding(request, curve))
}

fn binding(request: &EnrolRequest, curve: Curve) -> Digest {
    let hardware = request.hardware.binding(curve.hash());
    identity_binding(curve.hash(), &request.robot, &hardware)
}

fn on(curve: Curve, found: Result<Curve, KeyFault>) -> Result<(), KeyFault> {
    if found? == curve {
        Ok(())
    } else {
        Err(KeyFault::OtherCurve)
    }
}

fn named<T>(key: &'static str, checked: Result<T, KeyFault>) -> Result<T, EnrolError> {
    checked.map_err(|fault| EnrolError::Key { key, fault })
}

/// Checks everything in a request that does not rest on the certificate. Gives the suite of the robot's keys, or that of its
/// endorsement key where it is the weaker.
pub(super) fn request(request: &EnrolRequest) -> Result<Suite, EnrolError> {
    let curve = named("attestation", attestation_key(&request.attestation_key))?;
    named("storage root", on(curve, storage_root(&request.storage_root)))?;
    named("identity", on(curve, device_key(&request.identity)))?;
    let endorsement = named("endorsement", endorsement_strength(&request.endorsement_key))?;
    hardware(request)?;
    identity(request, curve)?;
    device(request, curve)?;
    Ok(endorsement.min(Suite::of_curve(curve)))
}

/// Checks that the hardware record is of the chip that asks.
fn hardware(request: &EnrolRequest) -> Result<(), EnrolError> {
    let record = &request.hardware;
    if record.endorsement_key != request.endorsement_key.name() {
        return Err(EnrolError::OtherHardware("endorsement key"));
    }
    let certificate = HashAlg::Sha256.digest(&[&request.endorsement_certificate]);
    if record.endorsement_certificate != certificate {
        return Err(EnrolError::OtherHardware("endorsement certificate"));
    }
    Ok(())
}

/// Checks that the attestation key, a primary of the endorsement hierarchy, certified how the identity key came to be:
/// as a primary of the same hierarchy, which the chip recreates, and bound to the robot's name and hardware.
fn identity(request: &EnrolRequest, curve: Curve) -> Result<(), EnrolError> {
    let binding = binding(request, curve);
    let certification = &request.identity_certification;
    let key = request.attestation_key.verifying_key()?;
    let created = verify_creation(&key, certification, binding.as_bytes())?;
    if created.name != request.identity.name() {
        return Err(EnrolError::OtherIdentity);
    }
    let data = CreationData::certified(
        &request.identity_creation,
        request.identity.name_alg(),
        &created.creation_hash,
    )?;
    if data.parent_name != ENDORSEMENT_HIERARCHY.name() {
        return Err(CreationError::OtherParent.into());
    }
    if data.outside_info != binding.as_bytes() {
        return Err(CreationError::OtherBinding.into());
    }
    let signer = Attest::parse(&certification.message).map(|attest| attest.qualified_signer.to_vec());
    let expected = request
        .attestation_key
        .qualified_name(&ENDORSEMENT_HIERARCHY.name());
    match signer {
        Ok(signer) if signer == expected.as_bytes() => Ok(()),
        _ => Err(EnrolError::NotEndorsementHierarchy),
    }
}
