//! The secret itself, for as long as it is wrapped, and what it looks like wrapped.

use alcub3_crypto::tpm::{Public, PublicTemplate, alg, attribute, duplicate};
use alcub3_crypto::{Digest, Entropy, HashAlg, Secret};
use alcub3_trust_model::{MissionKeyPurpose, OperatorId};

use super::{Recipient, SharedKey, SharedKeyError};
use crate::commander::commander_policy;

/// Bytes of an AES-256 data key.
const DATA_KEY_LEN: usize = 32;

/// A mission's shared secret, for as long as it takes to wrap it. Dropping it wipes it.
#[derive(Debug)]
pub struct SharedSecret {
    purpose: MissionKeyPurpose,
    alg: HashAlg,
    key: Secret,
}

impl SharedSecret {
    /// A fresh secret: a MAC key as long as its hash, or an AES-256 key for data.
    ///
    /// # Errors
    /// [`SharedKeyError::Purpose`] for signing, [`SharedKeyError::Entropy`] without randomness.
    pub fn generate(
        purpose: MissionKeyPurpose,
        alg: HashAlg,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, SharedKeyError> {
        let len = match purpose {
            MissionKeyPurpose::Signing => return Err(SharedKeyError::Purpose),
            MissionKeyPurpose::CommandMac => alg.size(),
            MissionKeyPurpose::DataSealing => DATA_KEY_LEN,
        };
        let mut key = Secret::zeroed(len);
        entropy.fill(key.expose_mut())?;
        Ok(Self { purpose, alg, key })
    }

    /// Wraps it for a robot: what is signed and sent.
    ///
    /// # Errors
    /// [`SharedKeyError::Purpose`] where the robot asked for a key of another purpose; the provider's.
    pub fn wrap_for(
        &self,
        recipient: &Recipient,
        issuer: Option<&OperatorId>,
        entropy: &mut dyn Entropy,
    ) -> Result<SharedKey, SharedKeyError> {
        if recipient.purpose != self.purpose {
            return Err(SharedKeyError::Purpose);
        }
        if recipient.policy.alg() != self.alg {
            return Err(SharedKeyError::OtherHash);
        }
        if issuer.is_some() != (self.purpose == MissionKeyPurpose::CommandMac) {
            return Err(SharedKeyError::Issuer);
        }
        let wrapped = self.wrap_to(&recipient.parent, &recipient.policy, entropy)?;
        Ok(SharedKey {
            session: recipient.session,
            robot: recipient.robot.clone(),
            mission: recipient.mission,
            purpose: self.purpose,
            issuer: issuer.cloned(),
            wrapped,
        })
    }

    /// Wraps a command key for the chip of whoever commands with it. That the storage key is a TPM's is for the caller to
    /// know: [`crate::commander`] proves it.
    ///
    /// # Errors
    /// [`SharedKeyError::Purpose`] for another key, [`SharedKeyError::WeakCommander`] where the storage key is weaker than the
    /// robots' suite; [`SharedKeyError::Crypto`] where it is none.
    pub fn wrap_for_commander(
        &self,
        storage_key: &Public,
        entropy: &mut dyn Entropy,
    ) -> Result<WrappedKey, SharedKeyError> {
        if self.purpose != MissionKeyPurpose::CommandMac {
            return Err(SharedKeyError::Purpose);
        }
        if storage_key.name_alg().size() < self.alg.size() {
            return Err(SharedKeyError::WeakCommander);
        }
        let policy = commander_policy(self.alg)?.digest();
        self.wrap_to(storage_key, &policy, entropy)
    }

    fn wrap_to(
        &self,
        parent: &Public,
        policy: &Digest,
        entropy: &mut dyn Entropy,
    ) -> Result<WrappedKey, SharedKeyError> {
        let template = shared_template(self.purpose, self.alg, policy);
        let mut seed_value = Secret::zeroed(policy.alg().size());
        entropy.fill(seed_value.expose_mut())?;
        let public = duplicate::keyed_hash_object(&template, &seed_value, &self.key)?;
        let sensitive = duplicate::sensitive(alg::KEYEDHASH, &Secret::zeroed(0), &seed_value, &self.key)?;
        let wrapped = duplicate::wrap(parent, &public, &sensitive, entropy)?;
        Ok(WrappedKey {
            public,
            duplicate: wrapped.duplicate,
            encrypted_seed: wrapped.encrypted_seed,
        })
    }
}

/// A shared key's public area but for what is made from the secret: its policy alone lets it be used, and no command of
/// that policy duplicates it.
fn shared_template(purpose: MissionKeyPurpose, alg: HashAlg, policy: &Digest) -> PublicTemplate {
    match purpose {
        MissionKeyPurpose::DataSealing => {
            PublicTemplate::sealed_data(policy.alg(), attribute::NO_DA, Some(policy))
        }
        _ => PublicTemplate::hmac_key(alg, attribute::NO_DA, Some(policy)),
    }
}

/// Whether a public area is what a shared key of a purpose looks like under a policy.
pub fn is_shared_key(public: &Public, purpose: MissionKeyPurpose, policy: &Digest) -> bool {
    let Ok(expected) = shared_template(purpose, policy.alg(), policy).to_public() else {
        return false;
    };
    public.object_type() == expected.object_type()
        && public.name_alg() == expected.name_alg()
        && public.attributes() == expected.attributes()
        && public.auth_policy() == expected.auth_policy()
        && public.hmac_scheme() == expected.hmac_scheme()
}

/// An object wrapped to one TPM's storage key: the input of TPM2_Import (Part 3, §13.3).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WrappedKey {
    /// Its public area.
    pub public: Public,
    /// The contents of the TPM2B_PRIVATE, under the seed.
    pub duplicate: Vec<u8>,
    /// The contents of the TPM2B_ENCRYPTED_SECRET: the seed, to the storage key.
    pub encrypted_seed: Vec<u8>,
}
