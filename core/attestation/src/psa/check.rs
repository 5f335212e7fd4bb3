//! The checks of one appraisal, in their order.

use super::challenge;
use super::claims::{Claims, LifecycleState};
use super::component::{Component, Version};
use super::message;
use super::policy::{Accepted, ComponentReference, Policy};
use super::verdict::Attested;
use crate::appraisal::{Finding, Reason, StateRule, judge_enrolled_tier};
use alcub3_trust_model::{AttestationKind, HardwareTier, RobotState};

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

    /// Nothing is attested unless the token is the enrolled instance's answer to this challenge.
    pub(super) fn run(&mut self, token: &[u8], state: &[u8]) -> Option<Attested> {
        let claims = self.claims(token)?;
        let proven = self.bound(&claims, state);
        self.client(&claims);
        self.root_of_trust(&claims);
        self.lifecycle(&claims);
        self.components(&claims);
        let state = self.state(state);
        let tier = self.tier();
        proven.then_some(Attested { claims, state, tier })
    }

    fn find(&mut self, reason: Reason, detail: impl Into<String>) {
        self.findings.push(Finding::new(reason, detail));
    }

    fn claims(&mut self, token: &[u8]) -> Option<Claims> {
        let opened = message::open(token, self.policy.attestation_key);
        let opened = opened
            .map_err(|error| self.find(error.reason(), error.detail()))
            .ok()?;
        for header in opened.ignored {
            let finding = Finding::about(Reason::PsaIgnoredHeader, header, "it changes nothing");
            self.findings.push(finding);
        }
        let claims = Claims::read(&opened.payload, &mut self.findings)?;
        let other = self
            .findings
            .iter()
            .any(|finding| finding.reason == Reason::PsaProfile);
        (!other).then_some(claims)
    }

    fn bound(&mut self, claims: &Claims, state: &[u8]) -> bool {
        let policy = self.policy;
        let is_instance = claims.instance == policy.instance;
        if !is_instance {
            let detail = format!("it is {}, enrolled is {}", claims.instance, policy.instance);
            self.find(Reason::PsaInstance, detail);
        }
        let nonce = claims.nonce.as_bytes();
        let expected = challenge::expected(nonce.len(), policy.nonce, policy.robot, state);
        let is_answer = expected.is_some_and(|expected| expected.as_bytes() == nonce);
        if !is_answer {
            let detail = format!("its nonce is {}", claims.nonce);
            self.find(Reason::PsaChallenge, detail);
        }
        is_instance && is_answer
    }

    fn client(&mut self, claims: &Claims) {
        if !self.policy.clients.contains(&claims.client) {
            let detail = format!("it is {}, admitted are {:?}", claims.client, self.policy.clients);
            self.find(Reason::PsaClient, detail);
        }
    }

    fn root_of_trust(&mut self, claims: &Claims) {
        let policy = self.policy;
        if claims.implementation != *policy.implementation {
            self.find(
                Reason::PsaImplementation,
                "ask the maker what it is, and enrol the robot anew if it is good",
            );
        }
        let named = claims.certification.as_deref();
        if !policy.certification.is_met(&claims.implementation, named) {
            let named = named.unwrap_or("no certificate");
            self.find(Reason::PsaCertification, format!("the token names {named}"));
        }
    }

    fn lifecycle(&mut self, claims: &Claims) {
        let state = claims.lifecycle.state;
        if !self.policy.lifecycles.admits(state) {
            self.find(Reason::PsaLifecycle, format!("it is {state}"));
        } else if state == LifecycleState::NonPsaRotDebug {
            self.find(Reason::PsaLifecycleDebug, format!("it is {state}"));
        }
    }

    fn components(&mut self, claims: &Claims) {
        for (at, component) in claims.components.iter().enumerate() {
            if let Err((reason, detail)) = self.component(component) {
                self.findings
                    .push(Finding::about(reason, component.label(at), detail));
            }
        }
        for reference in self.policy.references.iter().filter(|one| one.required) {
            if !claims.components.iter().any(|one| judge(one, reference).is_ok()) {
                let kind = reference.kind.as_deref().unwrap_or("without a type");
                let detail = format!("none that is good is signed by {}", reference.signer);
                self.findings
                    .push(Finding::about(Reason::PsaComponentMissing, kind, detail));
            }
        }
    }

    /// Good by one of the references of its type; else what is wrong by the reference that came nearest.
    fn component(&self, component: &Component) -> Result<(), (Reason, String)> {
        let mut nearest = (
            Reason::PsaComponentUnknown,
            "no reference has its type".to_owned(),
        );
        for reference in self
            .policy
            .references
            .iter()
            .filter(|one| one.kind == component.kind)
        {
            match judge(component, reference) {
                Ok(()) => return Ok(()),
                Err(wrong) if distance(wrong.0) < distance(nearest.0) => nearest = wrong,
                Err(_) => {}
            }
        }
        Err(nearest)
    }

    fn state(&mut self, bytes: &[u8]) -> Option<RobotState> {
        let rule = StateRule {
            robot: self.policy.robot,
            now_ms: self.now_ms,
            max_age_ms: self.policy.max_state_age_ms,
            // A token is asked for all that it can show.
            kind: AttestationKind::Operational,
            references: self.policy.state,
        };
        rule.judge(bytes, &mut self.findings)
    }

    fn tier(&mut self) -> HardwareTier {
        judge_enrolled_tier(
            self.policy.enrolled_tier,
            self.policy.min_tier,
            &mut self.findings,
        )
    }
}

/// How far a component that fails for this reason is from being good.
const fn distance(reason: Reason) -> u8 {
    match reason {
        Reason::PsaComponentVersion => 1,
        Reason::PsaComponentMeasurement => 2,
        Reason::PsaComponentSigner => 3,
        _ => 4,
    }
}

fn judge(component: &Component, reference: &ComponentReference) -> Result<(), (Reason, String)> {
    if component.kind != reference.kind {
        return Err((Reason::PsaComponentUnknown, "it is of another type".to_owned()));
    }
    if component.signer != reference.signer {
        return Err((
            Reason::PsaComponentSigner,
            format!("it is signed by {}", component.signer),
        ));
    }
    let minimum = match &reference.accepted {
        Accepted::Measurements(values, minimum) => {
            if !values.contains(&component.measurement) {
                let detail = format!("it measured {}", component.measurement);
                return Err((Reason::PsaComponentMeasurement, detail));
            }
            minimum.as_ref()
        }
        Accepted::SignedFrom(minimum) => Some(minimum),
    };
    minimum.map_or(Ok(()), |minimum| judge_version(component, minimum))
}

fn judge_version(component: &Component, minimum: &Version) -> Result<(), (Reason, String)> {
    let said = component.version.as_deref();
    match said.and_then(Version::parse) {
        Some(version) if version >= *minimum => Ok(()),
        _ => {
            let said = said.unwrap_or("nothing");
            Err((
                Reason::PsaComponentVersion,
                format!("it says {said:?}, {minimum} is asked for"),
            ))
        }
    }
}
