//! A rule over what was found, whatever kind of root of trust it was found of.

use super::RuleInForce;
use super::document::Mild;
use crate::appraisal::{Finding, Reason, ReferenceValues, Severity, StateReferences};
use alcub3_trust_model::HardwareTier;

/// What a judgement has that a rule looks at beside its findings.
#[derive(Debug, Clone, Copy)]
pub struct JudgedFacts<'a> {
    /// The kind of root of trust; `None` where nothing is proven, which needs no rule to be refused.
    pub tier: Option<HardwareTier>,
    /// When the robot says its state was, UTC in milliseconds; `None` where there is no state that holds.
    pub state_time_ms: Option<u64>,
    /// When it was judged, UTC in milliseconds.
    pub judged_at_ms: u64,
    /// What a boot and what runs were held to; `None` for evidence that is of neither.
    pub references: Option<&'a ReferenceValues>,
    /// What the state was held to; `None` where it was held to nothing.
    pub state: Option<&'a StateReferences>,
}

impl RuleInForce {
    /// The references, asking as well for the claims that the rule asks for.
    #[must_use]
    pub fn over(&self, references: ReferenceValues) -> ReferenceValues {
        if self
            .claims()
            .all(|claim| references.claims().contains(claim.as_str()))
        {
            return references;
        }
        let asked = references.clone().asking(self.claims());
        // Claims of a rule are known ones; were one not, the references as they are would not have it, and the rule refuse them.
        asked.unwrap_or(references)
    }

    /// Adds what the rule finds, and makes fatal what it refuses. It removes nothing and makes nothing milder.
    pub fn hold(&self, findings: &mut Vec<Finding>, judged: &JudgedFacts<'_>) {
        for finding in findings.iter_mut() {
            self.refuse(finding);
        }
        let found = [self.no_class(), self.tier(judged), self.state_age(judged)];
        findings.extend(found.into_iter().flatten());
        findings.extend(self.unjudged(judged));
        findings.extend(self.origin());
    }

    /// Who asks: for the end of each finding.
    pub(super) fn asker(&self) -> String {
        let (policy, version, level) = (self.policy.as_str(), self.version, self.level);
        match &self.class {
            Some(class) => format!(
                "class {} of appraisal policy {policy} version {version} at {level}",
                class.as_str()
            ),
            None => format!("appraisal policy {policy} version {version}"),
        }
    }

    fn refuse(&self, finding: &mut Finding) {
        let code = finding.reason.code();
        let is_refused = |mild: &Mild| mild.as_str() == code;
        if finding.severity != Severity::Untrusted && self.asks.refuse.iter().any(is_refused) {
            finding.severity = Severity::Untrusted;
            finding.detail = format!("{}; refused by {}", finding.detail, self.asker());
        }
    }

    fn no_class(&self) -> Option<Finding> {
        let detail = || {
            format!(
                "{} has no class for it; add its name to a class, and raise the version",
                self.asker()
            )
        };
        self.class
            .is_none()
            .then(|| Finding::new(Reason::PolicyClass, detail()))
    }

    fn tier(&self, judged: &JudgedFacts<'_>) -> Option<Finding> {
        let (found, asked) = (judged.tier?, self.asks.min_tier?);
        let detail = || {
            format!(
                "found {found}, expected {asked} or better, by {}; use a robot with such a root of trust, or a lower level",
                self.asker()
            )
        };
        (found < asked).then(|| Finding::new(Reason::PolicyTier, detail()))
    }

    fn state_age(&self, judged: &JudgedFacts<'_>) -> Option<Finding> {
        let (at, most) = (judged.state_time_ms?, self.asks.max_state_age_ms?);
        let found = at.abs_diff(judged.judged_at_ms);
        let detail = || {
            format!(
                "found {found} ms apart, expected at most {most} ms, by {}; check the robot's clock and its link",
                self.asker()
            )
        };
        (found > most).then(|| Finding::new(Reason::PolicyStateAge, detail()))
    }

    /// What must have been held to something and was not.
    fn unjudged(&self, judged: &JudgedFacts<'_>) -> Vec<Finding> {
        let (references, asker) = (judged.references, self.asker());
        let mut findings = Vec::new();
        let claims = references.map(ReferenceValues::claims);
        for claim in &self.asks.claims {
            if claims.is_none_or(|claims| !claims.contains(claim.as_str())) {
                let claim = claim.as_str();
                let detail = format!(
                    "found no boot log held to {claim}, expected by {asker}; use a robot whose TPM shows one"
                );
                findings.push(Finding::new(Reason::PolicyClaim, detail));
            }
        }
        let runtime = references.and_then(ReferenceValues::runtime);
        if self.asks.runtime.is_some() && runtime.is_none() {
            let detail = format!(
                "found no references for what runs, expected by {asker}; learn them from a good robot (alcub3 reference learn --ima)"
            );
            findings.push(Finding::new(Reason::PolicyRuntime, detail));
        }
        let parts = judged.state.map(StateReferences::parts);
        for part in &self.asks.state {
            let part = part.as_str();
            if parts.as_ref().is_none_or(|parts| !parts.contains_key(part)) {
                let detail = format!(
                    "found no references for the state's {part}, expected by {asker}; add them to the robot's reference values"
                );
                findings.push(Finding::new(Reason::PolicyState, detail));
            }
        }
        findings
    }
}
