//! Judging a platform without any root of trust, so that a mixed fleet has one result for each of its robots.
//!
//! Such a platform can prove nothing: whatever it sends, its software made, and any other software could have made. So there is
//! no evidence to appraise. [`appraise`] says exactly that, and whether the policy admits it. It never affirms anything.

use crate::appraisal::{Finding, Judged, JudgedFacts, Reason, RuleInForce, Severity};
use crate::ear::{Judgement, Status, TrustVector};
use alcub3_trust_model::{AttestationKind, HardwareTier};
use core::convert::Infallible;

/// What a verifier holds such a platform to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// What kind of root of trust the robot was enrolled with: [`HardwareTier::None`] unless it now withholds the one it had.
    pub enrolled_tier: HardwareTier,
    /// The lowest kind admitted; only [`HardwareTier::None`] admits such a platform.
    pub min_tier: HardwareTier,
}

/// The judgement. Only [`appraise`] makes one. There is no value of what it would prove, so that it is never trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict(Judged<Infallible>);

/// Judges a platform that shows no root of trust, at `now_ms` (UTC).
#[must_use]
pub fn appraise(policy: &Policy, now_ms: u64) -> Verdict {
    let mut findings = vec![Finding::new(Reason::NoRoot, "no statement of it was appraised")];
    if policy.enrolled_tier > HardwareTier::None {
        let detail = format!("it was enrolled as {}", policy.enrolled_tier);
        findings.push(Finding::new(Reason::RootWithheld, detail));
    }
    if policy.min_tier > HardwareTier::None {
        findings.push(Finding::below(HardwareTier::None, policy.min_tier));
    }
    Verdict(Judged::new(findings, None, now_ms))
}

impl Verdict {
    /// The verdict held to a rule of the fleet's appraisal policy as well, as one of a TPM's evidence is: never better than it was.
    #[must_use]
    pub fn held_to(mut self, rule: &RuleInForce) -> Self {
        let judged = JudgedFacts {
            tier: Some(HardwareTier::None),
            state_time_ms: None,
            judged_at_ms: self.0.judged_at_ms(),
            references: None,
            state: None,
        };
        self.0.hold_to(rule, &judged);
        self
    }

    /// Whether the policy admits the platform as what it is. It is not trusted either way.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        !self.0.found(Severity::Untrusted)
    }
}

impl Judgement for Verdict {
    fn is_trusted(&self) -> bool {
        self.0.is_trusted()
    }

    fn findings(&self) -> &[Finding] {
        self.0.findings()
    }

    /// AR4SI's *none*: the verifier asserts nothing. Where the policy asks for a root of trust, *contraindicated*.
    fn status(&self) -> Status {
        match self.is_admitted() {
            true => Status::None,
            false => Status::Contraindicated,
        }
    }

    /// No claim (AR4SI: 0) but of what the policy refuses: hardware that is not what was asked for (96), an instance that no
    /// longer shows what it was enrolled by (97).
    fn vector(&self) -> TrustVector {
        let part = |reason, value| if self.0.has(reason) { value } else { 0 };
        TrustVector {
            instance_identity: part(Reason::RootWithheld, 97),
            hardware: part(Reason::Tier, 96),
            ..TrustVector::default()
        }
    }

    fn kind(&self) -> Option<AttestationKind> {
        None
    }

    fn sequence(&self) -> Option<u64> {
        None
    }

    /// None, said outright: there is nothing of which more could be proven.
    fn tier(&self) -> Option<HardwareTier> {
        Some(HardwareTier::None)
    }

    fn judged_at_ms(&self) -> u64 {
        self.0.judged_at_ms()
    }
}
