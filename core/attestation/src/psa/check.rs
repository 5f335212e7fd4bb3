//! The checks of one appraisal, in their order.

use super::challenge;
use super::claims::{Claims, LifecycleState};
use super::component::{Component, Version};
use super::message;
use super::policy::{Accepted, ComponentReference, Policy};
use super::reason::{Finding, Reason};
use super::verdict::Attested;
use alcub3_trust_model::{HardwareTier, RobotState};

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
            let finding = Finding::about(Reason::IgnoredHeader, header, "it changes nothing");
            self.findings.push(finding);
        }
        let claims = Claims::read(&opened.payload, &mut self.findings)?;
        let other = self
            .findings
            .iter()
            .any(|finding| finding.reason == Reason::Profile);
        (!other).then_some(claims)
    }

    fn bound(&mut self, claims: &Claims, state: &[u8]) -> bool {
        let policy = self.policy;
        let is_instance = claims.instance == policy.instance;
        if !is_instance {
            let detail = format!("it is {}, enrolled is {}", claims.instance, policy.instance);
            self.find(Reason::Instance, detail);
        }
        let nonce = claims.nonce.as_bytes();
        let expected = challenge::expected(nonce.len(), policy.nonce, policy.robot, state);
        let is_answer = expected.is_some_and(|expected| expected.as_bytes() == nonce);
        if !is_answer {
            let detail = format!("its nonce is {}", claims.nonce);
            self.find(Reason::Challenge, detail);
        }
        is_instance && is_answer
    }

    fn client(&mut self, claims: &Claims) {
        if !self.policy.clients.contains(&claims.client) {
            let detail = format!("it is {}, admitted are {:?}", claims.client, self.policy.clients);
            self.find(Reason::Client, detail);
        }
    }

    fn root_of_trust(&mut self, claims: &Claims) {
        let policy = self.policy;
        if claims.implementation != *policy.implementation {
            self.find(
                Reason::Implementation,
                "ask the maker what it is, and enrol the robot anew if it is good",
            );
        }
        let named = claims.certification.as_deref();
        if !policy.certification.is_met(&claims.implementation, named) {
            let named = named.unwrap_or("no certificate");
            self.find(Reason::Certification, format!("the token names {named}"));
        }
    }

    fn lifecycle(&mut self, claims: &Claims) {
        let state = claims.lifecycle.state;
        if !self.policy.lifecycles.admits(state) {
            self.find(Reason::Lifecycle, format!("it is {state}"));
        } else if state == LifecycleState::NonPsaRotDebug {
            self.find(Reason::LifecycleDebug, format!("it is {state}"));
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
                    .push(Finding::about(Reason::ComponentMissing, kind, detail));
            }
        }
    }

    /// Good by one of the references of its type; else what is wrong by the reference that came nearest.
    fn component(&self, component: &Component) -> Result<(), (Reason, String)> {
        let mut nearest = (Reason::ComponentUnknown, "no reference has its type".to_owned());
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
        let decoded = RobotState::from_canonical(bytes);
        let state = decoded
            .map_err(|error| self.find(Reason::StateMalformed, error.to_string()))
            .ok()?;
        if state.robot != *self.policy.robot {
            let detail = format!("it is of {}, not of {}", state.robot, self.policy.robot);
            self.find(Reason::StateRobot, detail);
            return None;
        }
        if state.stopped {
            self.find(
                Reason::Stopped,
                "it says so in its state; rearm it to have it trusted again",
            );
        }
        let apart_ms = state.time_ms.abs_diff(self.now_ms);
        if apart_ms > self.policy.max_state_age_ms {
            self.find(
                Reason::StateAge,
                format!("{apart_ms} ms apart; check the robot's clock"),
            );
        }
        Some(state)
    }

    /// A token does not say what kind of root of trust signed it: what counts is what was enrolled with its key.
    fn tier(&mut self) -> HardwareTier {
        let (tier, minimum) = (self.policy.enrolled_tier, self.policy.min_tier);
        if tier == HardwareTier::Simulator {
            self.find(
                Reason::Simulator,
                "a simulated root of trust protects nothing from the machine it runs on",
            );
        }
        if tier < minimum {
            self.find(
                Reason::Tier,
                format!("it is {tier}, the policy asks for {minimum}"),
            );
        }
        tier
    }
}

/// How far a component that fails for this reason is from being good.
const fn distance(reason: Reason) -> u8 {
    match reason {
        Reason::ComponentVersion => 1,
        Reason::ComponentMeasurement => 2,
        Reason::ComponentSigner => 3,
        _ => 4,
    }
}

fn judge(component: &Component, reference: &ComponentReference) -> Result<(), (Reason, String)> {
    if component.kind != reference.kind {
        return Err((Reason::ComponentUnknown, "it is of another type".to_owned()));
    }
    if component.signer != reference.signer {
        return Err((
            Reason::ComponentSigner,
            format!("it is signed by {}", component.signer),
        ));
    }
    let minimum = match &reference.accepted {
        Accepted::Measurements(values, minimum) => {
            if !values.contains(&component.measurement) {
                let detail = format!("it measured {}", component.measurement);
                return Err((Reason::ComponentMeasurement, detail));
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
                Reason::ComponentVersion,
                format!("it says {said:?}, {minimum} is asked for"),
            ))
        }
    }
}
