//! The policies of recoverable keys: keys of a level that two persons can have duplicated to another TPM.
//!
//! authPolicy = PolicyOR(the level's own policy, PolicyAuthorize(two-person key, backup reference)). The first branch is how
//! the robot uses the key, as any key of the level; the second permits one TPM2_Duplicate of that key to that parent, as
//! PolicyDuplicationSelect names both.

use alcub3_crypto::tpm::Name;
use alcub3_crypto::tpm::policy::{Assertion, Policy, policy_authorize_message};
use alcub3_crypto::{Digest, HashAlg};

use crate::policies::{PolicyBuildError, parent_policy, policy_ref};
use crate::{Level, RobotId, domain};

/// A recoverable key: the hash of its policies, the two-person key, the robot, the level and what the robot calls it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recoverable {
    /// The hash.
    pub alg: HashAlg,
    /// The Name of the key that two persons hold.
    pub two_person_key: Name,
    /// The robot.
    pub robot: RobotId,
    /// The level.
    pub level: Level,
    /// The label. It is in the key's own authPolicy, so that a duplicate under another label is no key of that label.
    pub label: String,
}

impl Recoverable {
    /// The digest that is the key's authPolicy.
    ///
    /// # Errors
    /// None today: the assertions fit every hash.
    pub fn auth_policy(&self) -> Result<Digest, PolicyBuildError> {
        Ok(Policy::new(self.alg, vec![self.either()?])?.digest())
    }

    /// The policy by which the robot uses such a key: that of its level, as
    /// [`parent_session_policy`](crate::policies::parent_session_policy) gives it.
    ///
    /// # Errors
    /// None today: the assertions fit every hash.
    pub fn use_policy(&self, of_level: &Policy) -> Result<Policy, PolicyBuildError> {
        self.then_either(of_level.assertions())
    }

    /// The policy by which a key is duplicated to a parent.
    ///
    /// # Errors
    /// None today: the assertions fit every hash.
    pub fn duplication_policy(&self, object: Name, new_parent: Name) -> Result<Policy, PolicyBuildError> {
        self.then_either(&[select(object, new_parent), self.approval()])
    }

    /// The message that the two-person key signs for the duplication of a key to a parent.
    ///
    /// # Errors
    /// None today: the assertion fits every hash.
    pub fn duplication_message(&self, object: Name, new_parent: Name) -> Result<Vec<u8>, PolicyBuildError> {
        let approved = Policy::new(self.alg, vec![select(object, new_parent)])?.digest();
        Ok(policy_authorize_message(&approved, &self.policy_ref()))
    }

    /// The policyRef of a duplication's approval: SHA-256 over the domain, the level, the robot, a zero byte, the label.
    pub fn policy_ref(&self) -> Vec<u8> {
        policy_ref(&[
            domain::BACKUP_REF.as_bytes(),
            &[self.level.id()],
            self.robot.as_str().as_bytes(),
            &[0],
            self.label.as_bytes(),
        ])
    }

    fn approval(&self) -> Assertion {
        Assertion::Authorize {
            key_name: self.two_person_key,
            policy_ref: self.policy_ref(),
        }
    }

    fn either(&self) -> Result<Assertion, PolicyBuildError> {
        let own = parent_policy(self.alg, self.two_person_key, &self.robot, self.level)?;
        let duplication = Policy::new(self.alg, vec![self.approval()])?;
        Ok(Assertion::Or(vec![own.digest(), duplication.digest()]))
    }

    fn then_either(&self, before: &[Assertion]) -> Result<Policy, PolicyBuildError> {
        let mut assertions = before.to_vec();
        assertions.push(self.either()?);
        Ok(Policy::new(self.alg, assertions)?)
    }
}

/// Both Names are in the digest: what is approved is this key to this parent.
fn select(object_name: Name, new_parent_name: Name) -> Assertion {
    Assertion::DuplicationSelect {
        object_name,
        new_parent_name,
        include_object: true,
    }
}
