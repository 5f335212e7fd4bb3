//! The checks of one appraisal, in their order.

use super::chain::VerifiedChain;
use super::evidence::{Evidence, Statement};
use super::policy::Policy;
use super::verdict::Attested;
use crate::appraisal::{Finding, Reason, StateRule, judge_enrolled_tier};
use alcub3_trust_model::{AttestationKind, HardwareTier};

/// One appraisal while it goes on.
pub(super) struct Check<'p> {
    policy: &'p Policy<'p>,
    now_ms: u64,
    pub(super) findings: Vec<Finding>,
}

impl<'p> Check<'p> {
    pub(super) const fn new(policy: &'p Policy<'p>, now_ms: u64) -> Self {
        Self {
            policy,
            now_ms,
            findings: Vec::new(),
        }
    }

    pub(super) fn run(&mut self, bytes: &[u8]) -> Option<Attested> {
        match self.prove(bytes) {
            Ok((chain, statement, state)) => Some(self.judge(&chain, &statement, state)),
            Err(finding) => {
                self.findings.push(finding);
                None
            }
        }
    }

    /// What must hold before anything that the evidence says counts. The first failure ends it.
    fn prove<'e>(&self, bytes: &'e [u8]) -> Result<(VerifiedChain, Statement, &'e [u8]), Finding> {
        let malformed = |error: alcub3_trust_model::canonical::DecodeError| {
            Finding::new(Reason::Malformed, error.to_string())
        };
        let evidence = Evidence::from_canonical(bytes).map_err(malformed)?;
        let chain = VerifiedChain::verify(&evidence.chain, self.policy, self.now_ms / 1000)?;
        let scheme = chain.key().native_scheme();
        chain
            .key()
            .verify(scheme, evidence.statement, evidence.signature)
            .map_err(|error| Finding::new(Reason::Signature, error.to_string()))?;
        let statement = Statement::from_canonical(evidence.statement).map_err(malformed)?;
        if statement.robot != *self.policy.robot {
            let detail = format!("it is of {}, not of {}", statement.robot, self.policy.robot);
            return Err(Finding::new(Reason::Robot, detail));
        }
        if statement.nonce != *self.policy.nonce {
            return Err(Finding::new(Reason::Binding, "the nonce is another request's"));
        }
        if statement.state != scheme.hash().digest(&[evidence.state]) {
            return Err(Finding::new(Reason::Binding, "the state is not the signed one"));
        }
        Ok((chain, statement, evidence.state))
    }

    fn judge(&mut self, chain: &VerifiedChain, statement: &Statement, state: &[u8]) -> Attested {
        let rule = StateRule {
            robot: self.policy.robot,
            now_ms: self.now_ms,
            max_age_ms: self.policy.max_state_age_ms,
            // A chain is asked for all that it can show.
            kind: AttestationKind::Operational,
            references: self.policy.state,
        };
        let state = rule.judge(state, &mut self.findings);
        let tier = self.tier();
        self.sequence(statement.sequence);
        self.layers(chain);
        Attested {
            state,
            sequence: statement.sequence,
            tier,
            layers: chain
                .measurements()
                .map(|(_, measured)| measured.clone())
                .collect(),
            attestation_key: chain.key().clone(),
            keys: chain.device_keys().cloned().collect(),
        }
    }

    fn find(&mut self, reason: Reason, detail: impl Into<String>) {
        self.findings.push(Finding::new(reason, detail));
    }

    fn tier(&mut self) -> HardwareTier {
        judge_enrolled_tier(
            self.policy.enrolled_tier,
            self.policy.min_tier,
            &mut self.findings,
        )
    }

    fn sequence(&mut self, sequence: u64) {
        match self.policy.last_sequence {
            Some(last) if sequence <= last => self.find(Reason::Sequence, format!("{sequence} after {last}")),
            _ => {}
        }
    }

    /// Layer by layer from the root's side, and as many as there are references.
    fn layers(&mut self, chain: &VerifiedChain) {
        let references = self.policy.layers;
        let mut count = 0;
        for (number, (at, measured)) in chain.measurements().enumerate() {
            let found = match references.get(number) {
                Some(reference) => reference.judge(measured),
                None => vec![Finding::new(
                    Reason::DiceLayerUnexpected,
                    "the references end before it",
                )],
            };
            self.findings
                .extend(found.into_iter().map(|finding| finding.at_layer(at)));
            count += 1;
        }
        if count < references.len() {
            let detail = format!(
                "it measures {count}, there are references for {}",
                references.len()
            );
            self.find(Reason::DiceLayerMissing, detail);
        }
        if let Some(at) = chain.unmeasured() {
            let detail = "an authority below a measured layer has no measurements";
            self.findings
                .push(Finding::new(Reason::DiceLayerMissing, detail).at_layer(at));
        }
    }
}
