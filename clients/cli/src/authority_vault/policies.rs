//! The policies of the approval keys, for the two approvers who hold them.

use super::VaultError;
use alcub3_crypto::tpm::policy::{Assertion, Policy};
use alcub3_crypto::tpm::{Name, Public, PublicTemplate, StructureError};
use alcub3_crypto::{HashAlg, VerifyingKey};
use alcub3_server::ApprovalPurpose;
use alcub3_trust_model::policies::{command_code, two_person_policy};

/// The two approvers who hold the keys, in the order in which the policies name them.
#[derive(Clone, Debug)]
pub(super) struct Holders {
    first: Public,
    second: Public,
}

/// The public area by which a TPM knows an approver's key.
pub(super) fn public_of(key: &VerifyingKey) -> Result<Public, StructureError> {
    let hash = key.native_scheme().hash();
    PublicTemplate::external(key, hash).to_public()
}

/// PolicySigned by each of these, then PolicyCommandCode(Sign): the way through a policy that such signatures open.
pub(super) fn path_of(voters: &[Name]) -> Result<Policy, VaultError> {
    let signed = |name: &Name| Assertion::Signed {
        signer_name: *name,
        policy_ref: Vec::new(),
    };
    let code = Assertion::CommandCode(command_code::SIGN);
    Ok(Policy::new(
        Holders::alg(),
        voters.iter().map(signed).chain([code]).collect(),
    )?)
}

impl Holders {
    /// Two different approvers.
    pub(super) fn new(first: &VerifyingKey, second: &VerifyingKey) -> Result<Self, StructureError> {
        Ok(Self {
            first: public_of(first)?,
            second: public_of(second)?,
        })
    }

    const fn alg() -> HashAlg {
        super::CURVE.hash()
    }

    /// A purpose's policy: its digest is the key's authPolicy, whoever votes.
    pub(super) fn policy(&self, purpose: ApprovalPurpose) -> Result<Policy, VaultError> {
        match purpose {
            ApprovalPurpose::MissionByOne => self.by_either(self.first.name()),
            ApprovalPurpose::MissionByTwo | ApprovalPurpose::Rearm => self.by_both(),
        }
    }

    /// The same policy on the path of those who voted.
    pub(super) fn policy_for(
        &self,
        purpose: ApprovalPurpose,
        voters: &[Public],
    ) -> Result<Policy, VaultError> {
        match (purpose, voters) {
            (ApprovalPurpose::MissionByOne, [voter]) if [&self.first, &self.second].contains(&voter) => {
                self.by_either(voter.name())
            }
            (ApprovalPurpose::MissionByOne, _) => Err(VaultError::NoHolderVoted),
            (ApprovalPurpose::MissionByTwo | ApprovalPurpose::Rearm, _) => self.by_both(),
        }
    }

    /// PolicySigned(first) ∧ PolicySigned(second) ∧ PolicyCommandCode(Sign).
    fn by_both(&self) -> Result<Policy, VaultError> {
        let mut assertions = two_person_policy(Self::alg(), self.first.name(), self.second.name())?
            .assertions()
            .to_vec();
        assertions.push(Assertion::CommandCode(command_code::SIGN));
        Ok(Policy::new(Self::alg(), assertions)?)
    }

    /// (PolicySigned(first) ∨ PolicySigned(second)), each ∧ PolicyCommandCode(Sign), on the path of `voter`.
    fn by_either(&self, voter: Name) -> Result<Policy, VaultError> {
        let path = |signer_name| {
            let signed = Assertion::Signed {
                signer_name,
                policy_ref: Vec::new(),
            };
            vec![signed, Assertion::CommandCode(command_code::SIGN)]
        };
        let mut branches = Vec::new();
        for name in [self.first.name(), self.second.name()] {
            branches.push(Policy::new(Self::alg(), path(name))?.digest());
        }
        let mut assertions = path(voter);
        assertions.push(Assertion::Or(branches));
        Ok(Policy::new(Self::alg(), assertions)?)
    }
}
