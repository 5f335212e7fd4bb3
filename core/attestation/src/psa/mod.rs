//! Arm PSA attestation tokens (RFC 9783): a robot whose root of trust is a PSA one is judged by the rule that a TPM's is.
//!
//! The token is a COSE_Sign1 over CWT claims, signed by the key of one instance, which the policy pins. Its nonce is not the
//! verifier's alone: it is the [`challenge`], which binds the verifier's nonce, the robot's name and its state, as a quote's
//! qualifying data does.
//!
//! What is refused on purpose, and named: COSE_Mac0, since a verifier that can check a MAC can make one; `PSA_IOT_PROFILE_1`,
//! the profile of the drafts before the RFC; ES512, which the RFC asks receivers for and no suite of `core/crypto` has; any
//! unprotected header, which nothing would authenticate. As the RFC demands, variant serialisation is read, indefinite lengths
//! are not, and a claim that is not understood is noted and does no harm.

mod challenge;
mod check;
mod claims;
mod component;
mod document;
mod message;
mod policy;
mod verdict;

pub use challenge::challenge;
pub use claims::{Claims, HashValue, InstanceId, Lifecycle, LifecycleState};
pub use component::{Component, Version};
pub use document::{DocumentError, PlatformReferences};
pub use policy::{
    Accepted, Certification, CertificationLevel, ComponentReference, Endorsement, Lifecycles, Policy,
    ReferenceError, References,
};
pub use verdict::{Attested, Verdict};

/// The profile that is known: TF-M's, RFC 9783 §5.2.
pub const PROFILE: &str = "tag:psacertified.org,2023:psa#tfm";

/// Judges a token and the canonical bytes of the robot's state ([`alcub3_trust_model::RobotState`]) at `now_ms` (UTC).
///
/// It always answers with a [`Verdict`]: untrusted is a result with reasons, not an error.
#[must_use]
pub fn appraise(token: &[u8], state: &[u8], policy: &Policy<'_>, now_ms: u64) -> Verdict {
    let mut check = check::Check::new(policy, now_ms);
    let attested = check.run(token, state);
    Verdict::new(check.findings, attested, now_ms)
}
