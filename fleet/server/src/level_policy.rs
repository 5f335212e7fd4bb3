//! The fleet's level policy as its authority issues and follows it.

use alcub3_audit_log::EntryKind;
use alcub3_command_authority::cose::SignError;
use alcub3_crypto::HashAlg;
use alcub3_fleet_protocol::level_policy::{LevelPolicy, LevelPolicyError, VerifiedLevelPolicy};
use alcub3_trust_model::LevelProfiles;

use crate::audit::Decision;
use crate::authority::Authority;
use crate::store::{StateFolder, StoreError};

const PLACE: (&str, &str) = ("level-policy", "current");

/// A level policy was not issued, or the one in force does not verify.
#[derive(Debug, thiserror::Error)]
pub enum LevelPolicyIssueError {
    /// It is out of its bounds, not newer, or not this authority's.
    #[error(transparent)]
    Policy(#[from] LevelPolicyError),
    /// It could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Authority {
    /// The profiles that this authority holds robots to.
    pub fn profiles(&self) -> LevelProfiles {
        let policy = self.level_policy.as_ref();
        policy.map_or_else(LevelProfiles::builtin, |policy| *policy.profiles())
    }

    /// The policy in force; none where the built-in profiles hold.
    pub const fn level_policy(&self) -> Option<&VerifiedLevelPolicy> {
        self.level_policy.as_ref()
    }

    /// Signs a table of profiles as the next version of the fleet's policy, and follows it from now on. Robots are given
    /// the signed policy.
    ///
    /// # Errors
    /// [`LevelPolicyIssueError`]; the policy in force is then what it was.
    pub fn issue_level_policy(
        &mut self,
        profiles: LevelProfiles,
        now_ms: u64,
    ) -> Result<Vec<u8>, LevelPolicyIssueError> {
        let signed = self.sign_level_policy(profiles, now_ms);
        let decision = Decision::about(EntryKind::Configuration, None, "a new level policy");
        let (signed, verified) = match signed {
            Ok(signed) => signed,
            Err(refusal) => return self.on_record(decision, now_ms, Err(refusal)),
        };
        let decision = decision.with_object(HashAlg::Sha256.digest(&[&signed]));
        self.acting_on_record(decision, now_ms, |authority| {
            authority.folder.put(PLACE.0, PLACE.1, &signed)?;
            authority.level_policy = Some(verified);
            Ok(signed)
        })
    }

    fn sign_level_policy(
        &self,
        profiles: LevelProfiles,
        now_ms: u64,
    ) -> Result<(Vec<u8>, VerifiedLevelPolicy), LevelPolicyIssueError> {
        let before = self.level_policy.as_ref();
        let policy = LevelPolicy {
            version: before
                .map_or(0, |policy| policy.policy().version)
                .saturating_add(1),
            issued_at_ms: now_ms,
            profiles,
        };
        let signed = policy.unsigned(self.signing().suite()).sign(self.signing())?;
        let key = self.verifying_key();
        let verified = match before {
            Some(before) => before.replaced_by(&signed, &key)?,
            None => VerifiedLevelPolicy::verify(&signed, &key)?,
        };
        Ok((signed, verified))
    }
}

/// The policy in a state folder.
pub(crate) fn load(
    folder: &StateFolder,
    authority: &alcub3_crypto::VerifyingKey,
) -> Result<Option<VerifiedLevelPolicy>, LevelPolicyIssueError> {
    let Some(bytes) = folder.get(PLACE.0, PLACE.1)? else {
        return Ok(None);
    };
    Ok(Some(VerifiedLevelPolicy::verify(&bytes, authority)?))
}
