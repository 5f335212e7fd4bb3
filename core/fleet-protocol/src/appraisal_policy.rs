//! The fleet's appraisal policy as its authority signed it, with a version that only goes up.

use alcub3_attestation::appraisal::{AppraisalPolicy, AppraisalPolicyError};
use alcub3_command_authority::cose::{CoseError, Message as Cose, Unsigned};
use alcub3_crypto::{Suite, VerifyingKey};
use alcub3_trust_model::canonical::{DecodeError, Encoder};
use alcub3_trust_model::domain;

use crate::wire::{self, Message};

const VERSION: u64 = 1;
/// The longest policy, in bytes of its JSON form.
pub const MAX_POLICY_BYTES: usize = 256 << 10;

/// Why an appraisal policy is not followed.
#[derive(Debug, thiserror::Error)]
pub enum SignedAppraisalPolicyError {
    /// The message is malformed, of another key, or not authentic.
    #[error("appraisal policy refused: {0}")]
    Cose(#[from] CoseError),
    /// The payload is not the one form allowed.
    #[error("appraisal policy refused: {0}")]
    Payload(#[from] DecodeError),
    /// What is signed is no policy.
    #[error("appraisal policy refused: {0}")]
    Policy(#[from] AppraisalPolicyError),
    /// It is longer than any policy.
    #[error(
        "appraisal policy refused: it has {0} bytes as JSON, and at most {MAX_POLICY_BYTES} are followed"
    )]
    TooLong(usize),
    /// It is not newer than one that was followed before.
    #[error(
        "appraisal policy refused: its version {given} is not above {newest}, which is in force; raise its version"
    )]
    RolledBack {
        /// Its version.
        given: u64,
        /// The newest one seen.
        newest: u64,
    },
}

/// A policy, ready to be signed by the authority.
///
/// # Errors
/// [`SignedAppraisalPolicyError::TooLong`].
pub fn unsigned(
    policy: &AppraisalPolicy,
    issued_at_ms: u64,
    suite: Suite,
) -> Result<Unsigned, SignedAppraisalPolicyError> {
    let text = policy.to_json();
    if text.len() > MAX_POLICY_BYTES {
        return Err(SignedAppraisalPolicyError::TooLong(text.len()));
    }
    let mut out = Encoder::structure(domain::APPRAISAL_POLICY, VERSION, 2);
    out.u64(2).u64(issued_at_ms).u64(3).text(&text);
    Ok(Unsigned::new(suite, out.finish()))
}

/// An appraisal policy that the authority signed and that is not older than what was followed before.
#[derive(Clone, Debug)]
pub struct VerifiedAppraisalPolicy {
    policy: AppraisalPolicy,
    issued_at_ms: u64,
}

impl VerifiedAppraisalPolicy {
    /// Verifies the policy that is in force, as it was kept.
    ///
    /// # Errors
    /// [`SignedAppraisalPolicyError`] says why it is not followed.
    pub fn verify(bytes: &[u8], authority: &VerifyingKey) -> Result<Self, SignedAppraisalPolicyError> {
        let message = Cose::parse(domain::APPRAISAL_POLICY, bytes)?;
        message.verify(authority)?;
        let mut m = Message::open(domain::APPRAISAL_POLICY, VERSION, message.payload())?;
        let issued_at_ms = m.at(2, "issued_at_ms")?.u64("issued_at_ms")?;
        let text = wire::short_text(m.at(3, "policy")?, "policy", MAX_POLICY_BYTES)?;
        m.finish()?;
        Ok(Self {
            policy: AppraisalPolicy::from_json(&text)?,
            issued_at_ms,
        })
    }

    /// Verifies a policy that is to replace this one.
    ///
    /// # Errors
    /// [`SignedAppraisalPolicyError::RolledBack`] for one that is not newer; as [`Self::verify`].
    pub fn replaced_by(
        &self,
        bytes: &[u8],
        authority: &VerifyingKey,
    ) -> Result<Self, SignedAppraisalPolicyError> {
        let next = Self::verify(bytes, authority)?;
        let (given, newest) = (next.policy.version(), self.policy.version());
        if given <= newest {
            return Err(SignedAppraisalPolicyError::RolledBack { given, newest });
        }
        Ok(next)
    }

    /// What the policy asks.
    pub const fn policy(&self) -> &AppraisalPolicy {
        &self.policy
    }

    /// When it was signed, UTC in milliseconds since 1970.
    pub const fn issued_at_ms(&self) -> u64 {
        self.issued_at_ms
    }
}
