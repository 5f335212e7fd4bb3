//! What a policy cannot say itself and its replay on the chip needs: handles, signatures, authorisation values.

use super::keys::{Hierarchy, Key};
use crate::{Result, Target, TpmError};
use alcub3_crypto::Secret;
use alcub3_crypto::tpm::{Name, Public, Signature};

/// What the replay of a policy needs, matched to its assertions by Name and reference.
#[derive(Clone, Debug, Default)]
pub struct PolicyInputs {
    nv: Vec<(u32, Secret)>,
    approvals: Vec<Approval>,
    signed: Vec<SignedApproval>,
    secrets: Vec<SecretProof>,
}

/// A PolicyAuthorize approval: a signature over approvedPolicy ‖ policyRef.
#[derive(Clone, Debug)]
pub struct Approval {
    /// The approving key.
    pub key: Public,
    /// What the approval refers to.
    pub policy_ref: Vec<u8>,
    /// The signature by that key, hashed with its nameAlg.
    pub signature: Signature,
}

/// A PolicySigned approval: a signature over nonceTPM ‖ expiration ‖ cpHashA ‖ policyRef.
#[derive(Clone, Debug)]
pub struct SignedApproval {
    /// The signing key.
    pub key: Public,
    /// What the approval refers to.
    pub policy_ref: Vec<u8>,
    /// The session's nonce if the approval is bound to it, else empty.
    pub nonce_tpm: Vec<u8>,
    /// The cpHash of the one command that is approved, or empty for any.
    pub cp_hash: Vec<u8>,
    /// Seconds until it expires; zero means never.
    pub expiration_s: i32,
    /// The signature by that key.
    pub signature: Signature,
}

/// A PolicySecret proof: the authorisation value of an entity.
#[derive(Clone, Debug)]
pub struct SecretProof {
    entity: SecretEntity,
    policy_ref: Vec<u8>,
    auth: Secret,
}

#[derive(Clone, Debug)]
enum SecretEntity {
    Hierarchy(Hierarchy),
    Key(Box<Key>),
}

impl SecretProof {
    /// Of a hierarchy, such as the endorsement hierarchy for the standard EK policy.
    pub fn of_hierarchy(hierarchy: Hierarchy, policy_ref: &[u8], auth: Secret) -> Self {
        Self {
            entity: SecretEntity::Hierarchy(hierarchy),
            policy_ref: policy_ref.to_vec(),
            auth,
        }
    }

    /// Of an object.
    pub fn of_key(key: Key, policy_ref: &[u8], auth: Secret) -> Self {
        Self {
            entity: SecretEntity::Key(Box::new(key)),
            policy_ref: policy_ref.to_vec(),
            auth,
        }
    }

    pub(super) fn target(&self) -> Target<'_> {
        match &self.entity {
            SecretEntity::Hierarchy(hierarchy) => hierarchy.target(),
            SecretEntity::Key(key) => key.target(),
        }
    }

    pub(super) fn value(&self) -> &Secret {
        &self.auth
    }

    fn name(&self) -> Name {
        match &self.entity {
            SecretEntity::Hierarchy(hierarchy) => Name::of_handle(hierarchy.handle()),
            SecretEntity::Key(key) => *key.name(),
        }
    }
}

impl PolicyInputs {
    /// Nothing: enough for policies of PCRs, the clock and commands.
    pub fn new() -> Self {
        Self::default()
    }

    /// The handle of an NV index that the policy names, with an empty authorisation value.
    #[must_use]
    pub fn nv(self, index: u32) -> Self {
        self.nv_with(index, Secret::from_slice(&[]))
    }

    /// The handle of an NV index that the policy names, with its authorisation value.
    #[must_use]
    pub fn nv_with(mut self, index: u32, auth: Secret) -> Self {
        self.nv.push((index, auth));
        self
    }

    /// An approval for a PolicyAuthorize.
    #[must_use]
    pub fn approval(mut self, approval: Approval) -> Self {
        self.approvals.push(approval);
        self
    }

    /// An approval for a PolicySigned.
    #[must_use]
    pub fn signed(mut self, approval: SignedApproval) -> Self {
        self.signed.push(approval);
        self
    }

    /// A proof for a PolicySecret.
    #[must_use]
    pub fn secret(mut self, proof: SecretProof) -> Self {
        self.secrets.push(proof);
        self
    }

    pub(super) fn nv_indices(&self) -> &[(u32, Secret)] {
        &self.nv
    }

    pub(super) fn find_approval(&self, key: &Name, policy_ref: &[u8]) -> Result<&Approval> {
        let found = self
            .approvals
            .iter()
            .find(|a| a.key.name() == *key && a.policy_ref == policy_ref);
        found.ok_or(TpmError::PolicyInput {
            what: "an approval by the key the policy names (PolicyAuthorize)",
        })
    }

    pub(super) fn find_signed(&self, key: &Name, policy_ref: &[u8]) -> Result<&SignedApproval> {
        let found = self
            .signed
            .iter()
            .find(|a| a.key.name() == *key && a.policy_ref == policy_ref);
        found.ok_or(TpmError::PolicyInput {
            what: "a signature by the key the policy names (PolicySigned)",
        })
    }

    pub(super) fn find_secret(&self, entity: &Name, policy_ref: &[u8]) -> Result<&SecretProof> {
        let found = self
            .secrets
            .iter()
            .find(|proof| proof.name() == *entity && proof.policy_ref == policy_ref);
        found.ok_or(TpmError::PolicyInput {
            what: "the authorisation value of the entity the policy names (PolicySecret)",
        })
    }
}
