//! The form of a verdict that DICE chains, PSA tokens and platforms without a root of trust share: what was found, and what
//! was proven.

use super::reason::{Finding, Reason, Severity};
use super::reference::StateReferences;
use super::rules::{JudgedFacts, RuleInForce};
use crate::ear::{Judgement, TrustVector};
use alcub3_trust_model::{AttestationKind, HardwareTier, RobotState};

/// The judgement of one piece of evidence, with `F` as what it proves. Only an appraisal makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged<F> {
    findings: Vec<Finding>,
    attested: Option<F>,
    judged_at_ms: u64,
}

impl<F> Judged<F> {
    pub(crate) const fn new(findings: Vec<Finding>, attested: Option<F>, judged_at_ms: u64) -> Self {
        Self {
            findings,
            attested,
            judged_at_ms,
        }
    }

    /// Whether the evidence holds and nothing found makes the robot untrusted.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.attested.is_some() && !self.found(Severity::Untrusted)
    }

    /// Everything found, in the order of the checks.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether a reason is among the findings.
    #[must_use]
    pub fn has(&self, reason: Reason) -> bool {
        self.findings.iter().any(|finding| finding.reason == reason)
    }

    /// What was proven; `None` when the evidence does not hold.
    #[must_use]
    pub const fn attested(&self) -> Option<&F> {
        self.attested.as_ref()
    }

    /// When it was judged, UTC in milliseconds.
    #[must_use]
    pub const fn judged_at_ms(&self) -> u64 {
        self.judged_at_ms
    }

    /// Whether something of that severity was found.
    pub(crate) fn found(&self, severity: Severity) -> bool {
        self.findings.iter().any(|finding| finding.severity == severity)
    }

    /// With something more that was found. Nothing found is ever taken away.
    pub(crate) fn with(mut self, finding: Finding) -> Self {
        self.findings.push(finding);
        self
    }

    /// Adds what a rule of the fleet's appraisal policy finds.
    pub(crate) fn hold_to(&mut self, rule: &RuleInForce, judged: &JudgedFacts<'_>) {
        rule.hold(&mut self.findings, judged);
    }

    /// Whether one of the reasons was found.
    pub(crate) fn any(&self, reasons: &[Reason]) -> bool {
        reasons.iter().any(|reason| self.has(*reason))
    }
}

/// What a kind of root of trust proves, as far as a result states it.
pub(crate) trait Facts: Sized {
    /// The parts of the vector, once the evidence holds.
    fn vector(&self, verdict: &Judged<Self>) -> TrustVector;
    /// The evidence's sequence number, where that kind has one.
    fn sequence(&self) -> Option<u64>;
    /// The kind of root of trust.
    fn tier(&self) -> HardwareTier;
    /// The state, if it parses and is this robot's.
    fn state(&self) -> Option<&RobotState>;
}

#[expect(private_bounds, reason = "only appraisals here prove anything")]
impl<F: Facts> Judged<F> {
    /// The verdict of a verifier that remembers a stop of the robot, which its own signed state said at `since_ms` (UTC) and nobody
    /// rearmed: what the robot says of itself after that proves no rearm.
    #[must_use]
    pub fn with_stop_in_force(self, since_ms: u64) -> Self {
        if self.attested.is_none() || self.has(Reason::Stopped) {
            return self;
        }
        let detail = format!(
            "its signed state said at {since_ms} (UTC, milliseconds since 1970) that it is stopped, and nobody rearmed it since; two \
             persons rearm it with `authority platform rearm`"
        );
        self.with(Finding::new(Reason::StopInForce, detail))
    }

    /// The verdict held to a rule of the fleet's appraisal policy as well, as one of a TPM's evidence is: never better than it was.
    /// `state` is what its state was held to when it was made.
    #[must_use]
    pub fn held_to(mut self, rule: &RuleInForce, state: Option<&StateReferences>) -> Self {
        let facts = self.attested.as_ref();
        let judged = JudgedFacts {
            tier: facts.map(Facts::tier),
            state_time_ms: facts.and_then(Facts::state).map(|state| state.time_ms),
            judged_at_ms: self.judged_at_ms,
            references: None,
            state,
        };
        self.hold_to(rule, &judged);
        self
    }
}

impl<F: Facts> Judgement for Judged<F> {
    fn is_trusted(&self) -> bool {
        Self::is_trusted(self)
    }

    fn findings(&self) -> &[Finding] {
        Self::findings(self)
    }

    /// Where nothing is proven only the identity's failure is stated.
    fn vector(&self) -> TrustVector {
        let vector = self.attested.as_ref().map(|facts| facts.vector(self));
        vector.unwrap_or(TrustVector::UNPROVEN)
    }

    /// Such a root of trust is asked for what a robot is and does, and for nothing else.
    fn kind(&self) -> Option<AttestationKind> {
        Some(AttestationKind::Operational)
    }

    fn sequence(&self) -> Option<u64> {
        self.attested.as_ref().and_then(Facts::sequence)
    }

    fn tier(&self) -> Option<HardwareTier> {
        self.attested.as_ref().map(Facts::tier)
    }

    fn judged_at_ms(&self) -> u64 {
        self.judged_at_ms
    }
}

/// Judges the kind of root of trust where evidence does not say it: what counts is what was enrolled with its key.
pub(crate) fn judge_enrolled_tier(
    enrolled: HardwareTier,
    minimum: HardwareTier,
    findings: &mut Vec<Finding>,
) -> HardwareTier {
    if enrolled == HardwareTier::Simulator {
        let detail = "a simulated root of trust protects nothing from the machine it runs on";
        findings.push(Finding::new(Reason::Simulator, detail));
    }
    if enrolled < minimum {
        findings.push(Finding::below(enrolled, minimum));
    }
    enrolled
}
