//! Attestation results as EAR (draft-ietf-rats-ear-04, with the AR4SI trustworthiness vector) in a JWT or a CWT, so that
//! others can check a verdict offline.
//!
//! What is stricter than the draft, which has a receiver ignore what it does not know: a result is read by robots and gates that
//! know one [`PROFILE`] of private claims, and any claim beyond it is refused.

mod cwt;
mod jwt;
mod vector;

pub use vector::TrustVector;
pub(crate) use vector::hardware;

use crate::appraisal::{Finding, Reason, Severity, Verdict};
use crate::evidence::Nonce;
use alcub3_crypto::CryptoError;
use alcub3_trust_model::canonical::DecodeError;
use alcub3_trust_model::{AttestationKind, HardwareTier, RobotId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;

/// The profile of the draft, whose claims every result has.
pub const EAR_PROFILE: &str = "tag:ietf.org,2026:rats/ear#04";
/// The profile of our results for one robot: which private claims there are, and what they mean.
pub const PROFILE: &str = "urn:alcub3:attest-result:v1";
/// Longest token accepted, in bytes.
const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// AR4SI trust tiers, as `ear.status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing is said.
    None,
    /// Trusted, nothing to say against it.
    Affirming,
    /// Trusted with reservations.
    Warning,
    /// Untrusted.
    Contraindicated,
}

/// Who verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifierId {
    /// Name of the verifier's maker.
    pub developer: String,
    /// Its build.
    pub build: String,
}

/// The result for one robot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submodule {
    /// [`PROFILE`].
    pub eat_profile: String,
    /// The overall status: of no higher trust than the worst part.
    #[serde(rename = "ear_status")]
    pub status: Status,
    /// Its parts.
    #[serde(rename = "ear_trustworthiness_vector")]
    pub vector: TrustVector,
    /// The policy it was judged by; in the token the one element of a list.
    #[serde(rename = "ear_appraisal_policy_ids", with = "jwt::policy_list")]
    pub policy: String,
    /// Codes of all reasons found.
    #[serde(rename = "alcub3.reasons")]
    pub reasons: Vec<String>,
    /// What was to be proven; absent when that was not asked.
    #[serde(
        rename = "alcub3.attestation",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub kind: Option<AttestationKind>,
    /// The evidence's sequence number; absent when nothing is proven.
    #[serde(rename = "alcub3.sequence", default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The kind of root of trust; absent when the evidence of one does not hold.
    #[serde(
        rename = "alcub3.hardware-tier",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub tier: Option<HardwareTier>,
}

/// The claims of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ear {
    /// [`EAR_PROFILE`].
    pub eat_profile: String,
    /// When it was issued, in seconds since 1970.
    pub iat: u64,
    /// When it ends, in seconds since 1970.
    pub exp: u64,
    /// The nonce of the request; in a JWT as base64url.
    #[serde(with = "jwt::nonce_text")]
    pub eat_nonce: Nonce,
    /// Who verified.
    #[serde(rename = "ear_verifier_id")]
    pub verifier: VerifierId,
    /// The robot's name to its result.
    pub submods: BTreeMap<String, Submodule>,
}

/// Why a result was not issued or not accepted.
#[derive(Debug, Error)]
pub enum EarError {
    /// The key cannot sign results.
    #[error("results are signed with P-256 or P-384; the key is of another kind")]
    Key,
    /// Signing failed, or the token does not verify.
    #[error("the result's JWT could not be signed or does not verify")]
    Jwt(#[source] jsonwebtoken::errors::Error),
    /// The token is no CWT of ours.
    #[error("the result's CWT is malformed")]
    Cwt(#[from] DecodeError),
    /// The token is no COSE_Sign1.
    #[error("the result is no tagged COSE_Sign1")]
    Cose(#[source] coset::CoseError),
    /// Signing failed, or the CWT does not verify.
    #[error("the result's CWT could not be signed or does not verify")]
    Signature(#[source] CryptoError),
    /// A claim that is not known.
    #[error("the result has the claim {0}, which is not known")]
    UnknownClaim(i64),
    /// The token is too long.
    #[error("the token has {0} bytes; no result has more than {MAX_TOKEN_BYTES}")]
    TooLong(usize),
    /// A header that must be understood and is not.
    #[error("the token's header has {0}, which is not known here")]
    Header(&'static str),
    /// Another profile.
    #[error("the result has the profile {0:?}; {EAR_PROFILE} and in it {PROFILE} are known")]
    Profile(String),
    /// Not yet or no longer valid.
    #[error("the result is valid from {iat} to {exp} (seconds since 1970); it is {now}")]
    Time {
        /// From.
        iat: u64,
        /// To.
        exp: u64,
        /// Now.
        now: u64,
    },
}

/// What a result says beside the verdict.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// The robot.
    pub robot: &'a RobotId,
    /// The nonce of the request.
    pub nonce: &'a crate::evidence::Nonce,
    /// Who verifies.
    pub verifier: VerifierId,
    /// The policy's identifier, a URI.
    pub policy: String,
    /// How long the result holds, in seconds.
    pub lifetime_s: u64,
}

/// A judgement of evidence of whatever kind, as far as a result states it. Only appraisals make such judgements, so that a
/// result says nothing that nobody has checked.
pub trait Judgement {
    /// Whether the evidence holds and nothing found makes the robot untrusted.
    fn is_trusted(&self) -> bool;
    /// Everything found, in the order of the checks.
    fn findings(&self) -> &[Finding];
    /// The parts of the result.
    fn vector(&self) -> TrustVector;
    /// What was to be proven; `None` where the platform cannot be asked.
    fn kind(&self) -> Option<AttestationKind>;
    /// When a result must have ended, UTC in milliseconds since 1970, however long its verifier would let it hold.
    fn ends_by_ms(&self) -> Option<u64> {
        None
    }
    /// The evidence's sequence number; `None` where the evidence has none, or is not proven to have it.
    fn sequence(&self) -> Option<u64>;
    /// The kind of root of trust that was proven; `None` where nothing is proven.
    fn tier(&self) -> Option<HardwareTier>;
    /// When it was judged, UTC in milliseconds since 1970.
    fn judged_at_ms(&self) -> u64;

    /// The overall status.
    fn status(&self) -> Status {
        Status::of(self.is_trusted(), self.findings())
    }

    /// Codes of all reasons found, in the order of the checks; a code may come more than once.
    fn reason_codes(&self) -> Vec<&'static str> {
        let codes = self.findings().iter().map(|finding| finding.reason.code());
        codes.collect()
    }
}

impl Judgement for Verdict {
    fn is_trusted(&self) -> bool {
        Self::is_trusted(self)
    }

    fn findings(&self) -> &[Finding] {
        Self::findings(self)
    }

    fn vector(&self) -> TrustVector {
        TrustVector::of(self)
    }

    fn kind(&self) -> Option<AttestationKind> {
        Some(Self::kind(self))
    }

    fn ends_by_ms(&self) -> Option<u64> {
        Self::ends_by_ms(self)
    }

    fn sequence(&self) -> Option<u64> {
        self.attested().map(|attested| attested.sequence)
    }

    fn tier(&self) -> Option<HardwareTier> {
        self.attested().map(|attested| attested.tier)
    }

    fn judged_at_ms(&self) -> u64 {
        Self::judged_at_ms(self)
    }
}

impl Ear {
    /// The claims for a judgement.
    #[must_use]
    pub fn of(judgement: &(impl Judgement + ?Sized), context: &Context<'_>) -> Self {
        let iat = judgement.judged_at_ms() / 1000;
        let ends_by = judgement.ends_by_ms().map_or(u64::MAX, |by_ms| by_ms / 1000);
        let result = Submodule::of(judgement, context.policy.clone());
        Self {
            eat_profile: EAR_PROFILE.to_owned(),
            iat,
            exp: iat.saturating_add(context.lifetime_s).min(ends_by),
            eat_nonce: *context.nonce,
            verifier: context.verifier.clone(),
            submods: BTreeMap::from([(context.robot.to_string(), result)]),
        }
    }

    fn check(self, now: u64) -> Result<Self, EarError> {
        if self.eat_profile != EAR_PROFILE {
            return Err(EarError::Profile(self.eat_profile));
        }
        if let Some(other) = self.submods.values().find(|result| result.eat_profile != PROFILE) {
            return Err(EarError::Profile(other.eat_profile.clone()));
        }
        if now < self.iat || now >= self.exp {
            return Err(EarError::Time {
                iat: self.iat,
                exp: self.exp,
                now,
            });
        }
        Ok(self)
    }
}

impl Submodule {
    fn of(judgement: &(impl Judgement + ?Sized), policy: String) -> Self {
        let mut reasons = judgement.reason_codes();
        reasons.dedup();
        let vector = judgement.vector();
        Self {
            eat_profile: PROFILE.to_owned(),
            status: judgement.status().max(vector.worst()),
            vector,
            policy,
            reasons: reasons.into_iter().map(ToOwned::to_owned).collect(),
            kind: judgement.kind(),
            sequence: judgement.sequence(),
            tier: judgement.tier(),
        }
    }
}

impl Status {
    /// The status of a judgement that was reached with these findings.
    fn of(trusted: bool, findings: &[Finding]) -> Self {
        let reserved =
            |finding: &Finding| finding.severity == Severity::Warning || finding.reason == Reason::Simulator;
        match trusted {
            false => Self::Contraindicated,
            true if findings.iter().any(reserved) => Self::Warning,
            true => Self::Affirming,
        }
    }
}
