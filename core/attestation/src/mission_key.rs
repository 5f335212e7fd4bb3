//! When a verifier accepts a mission key (DESIGN §4): the attestation key certified it, it can live in no other
//! TPM, nothing but its policy uses it, and that policy is the one the verifier computed itself.

use crate::certify::{CertifyError, Signed, verify_certify};
use alcub3_crypto::tpm::policy::Policy;
use alcub3_crypto::tpm::{Name, Public, StructureError, attribute};
use alcub3_crypto::{CryptoError, Digest, HashAlg, VerifyingKey};
use thiserror::Error;

/// Attributes that keep a key in the TPM that made it.
const BOUND: u32 = attribute::FIXED_TPM | attribute::FIXED_PARENT | attribute::SENSITIVE_DATA_ORIGIN;

/// Why a mission key is not accepted.
#[derive(Debug, Error)]
pub enum MissionKeyError {
    /// The certification does not hold.
    #[error("the mission key's certification does not hold")]
    Certification(#[source] CertifyError),
    /// The public area does not parse.
    #[error("the mission key's public area is not exactly one TPM2B_PUBLIC")]
    Public(#[source] StructureError),
    /// The certification is of another key.
    #[error("the certification is of the key {certified:?}, the public area is of {given:?}")]
    Name {
        /// What was certified.
        certified: Box<Name>,
        /// What was handed in.
        given: Box<Name>,
    },
    /// The key was made elsewhere or may leave the TPM.
    #[error("the mission key's attributes {0:#010x} lack fixedTPM, fixedParent or sensitiveDataOrigin")]
    NotBound(u32),
    /// The key can be used without its policy.
    #[error("the mission key has userWithAuth set: it could be used without its policy")]
    UserWithAuth,
    /// Restricted keys sign only what the TPM made; a mission key signs messages.
    #[error("the mission key is restricted; it could not sign messages, and could sign attestations")]
    Restricted,
    /// The name's algorithm is another than the policy's.
    #[error("the mission key's name is of {}, its policy of {}", key.name(), policy.name())]
    NameAlgorithm {
        /// The key's.
        key: HashAlg,
        /// The policy's.
        policy: HashAlg,
    },
    /// Another policy.
    #[error(
        "the mission key's authPolicy is not the recomputed {0:?}: it has other conditions than the mission's"
    )]
    Policy(Digest),
}

/// A mission key that may be relied on. Only [`accept`] makes one.
#[derive(Debug, Clone)]
pub struct AcceptedMissionKey {
    public: Public,
    name: Name,
}

impl AcceptedMissionKey {
    /// The public area.
    #[must_use]
    pub const fn public(&self) -> &Public {
        &self.public
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// The key to check its signatures with.
    ///
    /// # Errors
    /// For a key that does not sign, as an HMAC key.
    pub fn verifying_key(&self) -> Result<VerifyingKey, CryptoError> {
        self.public.verifying_key()
    }
}

/// Accepts a mission key: `certified` is its TPM2_Certify by the attestation key over `extra_data`, `public` its
/// TPM2B_PUBLIC, `expected` the policy as the verifier recomputed it from the mission and the maps.
///
/// # Errors
/// The first condition that is not met.
pub fn accept(
    attestation_key: &VerifyingKey,
    certified: &Signed,
    extra_data: &[u8],
    public: &[u8],
    expected: &Policy,
) -> Result<AcceptedMissionKey, MissionKeyError> {
    let certified = verify_certify(attestation_key, certified, extra_data);
    let certified = certified.map_err(MissionKeyError::Certification)?.name;
    let public = Public::from_tpm2b(public).map_err(MissionKeyError::Public)?;
    let name = public.name();
    if name != certified {
        return Err(MissionKeyError::Name {
            certified: Box::new(certified),
            given: Box::new(name),
        });
    }
    check_attributes(public.attributes())?;
    let (key, policy) = (public.name_alg(), expected.alg());
    if key != policy {
        return Err(MissionKeyError::NameAlgorithm { key, policy });
    }
    let digest = expected.digest();
    if public.auth_policy() != digest.as_bytes() {
        return Err(MissionKeyError::Policy(digest));
    }
    Ok(AcceptedMissionKey { public, name })
}

const fn check_attributes(attributes: u32) -> Result<(), MissionKeyError> {
    if attributes & BOUND != BOUND {
        return Err(MissionKeyError::NotBound(attributes));
    }
    if attributes & attribute::USER_WITH_AUTH != 0 {
        return Err(MissionKeyError::UserWithAuth);
    }
    if attributes & attribute::RESTRICTED != 0 {
        return Err(MissionKeyError::Restricted);
    }
    Ok(())
}
