//! The fleet's appraisal policy as its authority follows it.

use alcub3_attestation::appraisal::{AppraisalPolicy, ReferenceValues, RuleInForce};
use alcub3_audit_log::EntryKind;
use alcub3_command_authority::cose::SignError;
use alcub3_crypto::{HashAlg, VerifyingKey};
use alcub3_fleet_protocol::appraisal_policy::{self, SignedAppraisalPolicyError, VerifiedAppraisalPolicy};
use alcub3_trust_model::{Level, RobotId};

use crate::audit::Decision;
use crate::authority::Authority;
use crate::robots::{self, RobotError};
use crate::store::{StateFolder, StoreError};

const PLACE: (&str, &str) = ("appraisal-policy", "current");

/// An appraisal policy was not taken, or the one in force does not verify.
#[derive(Debug, thiserror::Error)]
pub enum AppraisalPolicyIssueError {
    /// It is not newer, too long, or not this authority's.
    #[error(transparent)]
    Policy(#[from] SignedAppraisalPolicyError),
    /// It could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Authority {
    /// The appraisal policy in force; none where robots are held to their references alone.
    pub const fn appraisal_policy(&self) -> Option<&VerifiedAppraisalPolicy> {
        self.appraisal_policy.as_ref()
    }

    /// Signs a policy and holds robots to it from now on. Its version must be above that of the one in force.
    ///
    /// # Errors
    /// [`AppraisalPolicyIssueError`]; the policy in force is then what it was.
    pub fn put_appraisal_policy(
        &mut self,
        policy: &AppraisalPolicy,
        now_ms: u64,
    ) -> Result<(), AppraisalPolicyIssueError> {
        let subject = format!("appraisal policy {} version {}", policy.name(), policy.version());
        let decision = Decision::about(EntryKind::Configuration, None, subject);
        let (signed, verified) = match self.sign_appraisal_policy(policy, now_ms) {
            Ok(signed) => signed,
            Err(refusal) => return self.on_record(decision, now_ms, Err(refusal)),
        };
        let decision = decision.with_object(HashAlg::Sha256.digest(&[&signed]));
        self.acting_on_record(decision, now_ms, |authority| {
            authority.folder.put(PLACE.0, PLACE.1, &signed)?;
            authority.appraisal_policy = Some(verified);
            Ok(())
        })
    }

    fn sign_appraisal_policy(
        &self,
        policy: &AppraisalPolicy,
        now_ms: u64,
    ) -> Result<(Vec<u8>, VerifiedAppraisalPolicy), AppraisalPolicyIssueError> {
        let unsigned = appraisal_policy::unsigned(policy, now_ms, self.signing().suite())?;
        let signed = unsigned.sign(self.signing())?;
        let key = self.verifying_key();
        let verified = match self.appraisal_policy() {
            Some(before) => before.replaced_by(&signed, &key)?,
            None => VerifiedAppraisalPolicy::verify(&signed, &key)?,
        };
        Ok((signed, verified))
    }

    /// What the policy in force asks of a robot at a level.
    pub(crate) fn appraisal_rule(&self, robot: &RobotId, level: Level) -> Option<RuleInForce> {
        Some(self.appraisal_policy()?.policy().rule(robot, level))
    }

    /// A robot's reference values, asking for what the policy asks of a boot as well.
    pub(crate) fn references_in_force(
        &self,
        robot: &RobotId,
        level: Level,
    ) -> Result<ReferenceValues, RobotError> {
        let references = robots::reference(&self.folder, robot)?;
        Ok(match self.appraisal_rule(robot, level) {
            Some(rule) => rule.over(references),
            None => references,
        })
    }
}

/// The policy in a state folder.
pub(crate) fn load(
    folder: &StateFolder,
    authority: &VerifyingKey,
) -> Result<Option<VerifiedAppraisalPolicy>, AppraisalPolicyIssueError> {
    let Some(bytes) = folder.get(PLACE.0, PLACE.1)? else {
        return Ok(None);
    };
    Ok(Some(VerifiedAppraisalPolicy::verify(&bytes, authority)?))
}
