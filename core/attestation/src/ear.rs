//! Attestation results as EAR (draft-ietf-rats-ear-04, with the AR4SI trustworthiness vector) in a JWT, so that
//! others can check a verdict offline.

use crate::appraisal::{Reason, Severity, Verdict};
use alcub3_crypto::{Curve, VerifyingKey};
use alcub3_trust_model::{HardwareTier, RobotId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;

/// The profile of our results: which private claims there are, and what they mean.
pub const PROFILE: &str = "urn:alcub3:attest-result:v1";
/// The media type in the JWT's header.
const TYPE: &str = "eat+jwt";
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

/// AR4SI trustworthiness vector; 0 is "no claim", 2 to 31 affirming, 32 to 95 warning, 96 to 127 contraindicated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TrustVector {
    /// Whether this is the robot it says it is.
    pub instance_identity: i8,
    /// Whether its configuration is good.
    pub configuration: i8,
    /// Whether what booted is approved.
    pub executables: i8,
    /// Whether its TPM is genuine.
    pub hardware: i8,
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
    /// The overall status.
    #[serde(rename = "ear.status")]
    pub status: Status,
    /// Its parts.
    #[serde(rename = "ear.trustworthiness-vector")]
    pub vector: TrustVector,
    /// The policy it was judged by.
    #[serde(rename = "ear.appraisal-policy-id")]
    pub policy: String,
    /// Codes of all reasons found.
    #[serde(rename = "alcub3.reasons")]
    pub reasons: Vec<String>,
    /// The evidence's sequence number; absent when the quote does not hold.
    #[serde(rename = "alcub3.sequence", default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The kind of TPM; absent when the quote does not hold.
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
    /// [`PROFILE`].
    pub eat_profile: String,
    /// When it was issued, in seconds since 1970.
    pub iat: u64,
    /// When it ends, in seconds since 1970.
    pub exp: u64,
    /// The nonce of the request in hexadecimal.
    pub eat_nonce: String,
    /// Who verified.
    #[serde(rename = "ear.verifier-id")]
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
    /// The token is too long.
    #[error("the token has {0} bytes; no result has more than {MAX_TOKEN_BYTES}")]
    TooLong(usize),
    /// A header that must be understood and is not.
    #[error("the token's header has {0}, which is not known here")]
    Header(&'static str),
    /// Another profile.
    #[error("the result has the profile {0:?}; {PROFILE} is known")]
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
    /// The overall status.
    fn status(&self) -> Status;
    /// Its parts.
    fn vector(&self) -> TrustVector;
    /// Codes of all reasons found, in the order of the checks; a code may come more than once.
    fn reason_codes(&self) -> Vec<&'static str>;
    /// The evidence's sequence number; `None` where the evidence has none, or is not proven to have it.
    fn sequence(&self) -> Option<u64>;
    /// The kind of root of trust that was proven; `None` where nothing is proven.
    fn tier(&self) -> Option<HardwareTier>;
    /// When it was judged, UTC in milliseconds since 1970.
    fn judged_at_ms(&self) -> u64;
}

impl Judgement for Verdict {
    fn status(&self) -> Status {
        status(self)
    }

    fn vector(&self) -> TrustVector {
        TrustVector::of(self)
    }

    fn reason_codes(&self) -> Vec<&'static str> {
        self.findings()
            .iter()
            .map(|finding| finding.reason.code())
            .collect()
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
    pub fn of(judgement: &impl Judgement, context: &Context<'_>) -> Self {
        let iat = judgement.judged_at_ms() / 1000;
        let result = Submodule::of(judgement, context.policy.clone());
        Self {
            eat_profile: PROFILE.to_owned(),
            iat,
            exp: iat.saturating_add(context.lifetime_s),
            eat_nonce: context.nonce.0.iter().map(|byte| format!("{byte:02x}")).collect(),
            verifier: context.verifier.clone(),
            submods: BTreeMap::from([(context.robot.to_string(), result)]),
        }
    }

    /// Signs the claims: ES256 or ES384 by the key's curve. The key is PKCS#8 in DER; the signature's randomness
    /// comes from the cryptographic provider.
    ///
    /// # Errors
    /// A key of another kind.
    pub fn sign(&self, curve: Curve, pkcs8: &[u8]) -> Result<String, EarError> {
        let mut header = Header::new(algorithm(curve));
        header.typ = Some(TYPE.to_owned());
        let key = EncodingKey::from_ec_der(pkcs8);
        jsonwebtoken::encode(&header, self, &key).map_err(EarError::Jwt)
    }

    /// Checks a signed result at `now_s` (seconds since 1970).
    ///
    /// # Errors
    /// A wrong signature, an unknown header or claim, another profile, or out of its time.
    pub fn verify(token: &str, key: &VerifyingKey, now_s: u64) -> Result<Self, EarError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(EarError::TooLong(token.len()));
        }
        let (curve, x, y) = key.ec_point().ok_or(EarError::Key)?;
        let point = [&[4], x, y].concat();
        let mut validation = Validation::new(algorithm(curve));
        // Times are checked below against the time handed in; the library would read the system's clock.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        let decoded = jsonwebtoken::decode::<Self>(token, &DecodingKey::from_ec_der(&point), &validation);
        let decoded = decoded.map_err(EarError::Jwt)?;
        check_header(&decoded.header)?;
        decoded.claims.check(now_s)
    }

    fn check(self, now: u64) -> Result<Self, EarError> {
        if self.eat_profile != PROFILE {
            return Err(EarError::Profile(self.eat_profile));
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
    fn of(judgement: &impl Judgement, policy: String) -> Self {
        let mut reasons = judgement.reason_codes();
        reasons.dedup();
        Self {
            status: judgement.status(),
            vector: judgement.vector(),
            policy,
            reasons: reasons.into_iter().map(ToOwned::to_owned).collect(),
            sequence: judgement.sequence(),
            tier: judgement.tier(),
        }
    }
}

fn status(verdict: &Verdict) -> Status {
    let reserved = |severity| {
        verdict
            .findings()
            .iter()
            .any(|finding| finding.severity == severity)
    };
    match verdict.is_trusted() {
        false => Status::Contraindicated,
        true if reserved(Severity::Warning) || verdict.has(Reason::Simulator) => Status::Warning,
        true => Status::Affirming,
    }
}

impl TrustVector {
    /// Every part is a statement of its own; without a quote that holds only the identity's failure is stated.
    fn of(verdict: &Verdict) -> Self {
        let Some(attested) = verdict.attested() else {
            return Self {
                instance_identity: 99,
                ..Self::default()
            };
        };
        let bad = |reasons: &[Reason]| reasons.iter().any(|reason| verdict.has(*reason));
        let boot = [
            Reason::BootLogMissing,
            Reason::BootLogMalformed,
            Reason::BootLogBank,
            Reason::BootLogMismatch,
            Reason::EventData,
            Reason::Reference,
            Reason::ReferenceMissing,
            Reason::PcrNotQuoted,
        ];
        let runtime = [
            Reason::RuntimeLogMissing,
            Reason::RuntimeLogMalformed,
            Reason::RuntimeLogHole,
            Reason::RuntimeLogMismatch,
            Reason::ImaBypass,
            Reason::ImaInactive,
            Reason::BootAggregate,
            Reason::RuntimeFile,
            Reason::RuntimeOtherPcr,
            Reason::RuntimeViolation,
        ];
        let agent = [
            Reason::AgentPcr,
            Reason::AgentLogMalformed,
            Reason::AgentLogMismatch,
            Reason::StopInForce,
            Reason::Stopped,
        ];
        let identity = [
            Reason::StateMalformed,
            Reason::StateRobot,
            Reason::ResetCount,
            Reason::ClockBack,
        ];
        Self {
            instance_identity: if bad(&identity) { 97 } else { 2 },
            configuration: if bad(&agent) { 96 } else { 2 },
            executables: match () {
                () if bad(&boot) || bad(&runtime) => 96,
                // What was loaded after the boot is approved as well (AR4SI: 2), or nothing is said of it (3).
                () if verdict.runtime().is_some() => 2,
                () => 3,
            },
            hardware: match attested.tier {
                _ if bad(&[Reason::Tier, Reason::TierClaim]) => 96,
                HardwareTier::Discrete | HardwareTier::Firmware => 2,
                HardwareTier::Virtual | HardwareTier::Simulator => 32,
                HardwareTier::None => 97,
            },
        }
    }
}

fn check_header(header: &Header) -> Result<(), EarError> {
    if header.crit.is_some() {
        return Err(EarError::Header("critical extensions"));
    }
    if header.typ.as_deref() != Some(TYPE) {
        return Err(EarError::Header("another type than eat+jwt"));
    }
    Ok(())
}

const fn algorithm(curve: Curve) -> Algorithm {
    match curve {
        Curve::P256 => Algorithm::ES256,
        Curve::P384 => Algorithm::ES384,
    }
}
