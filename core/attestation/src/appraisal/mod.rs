//! Judging evidence: quote, boot log, agent's log, state, clock and sequence against a policy.
//!
//! [`appraise`] always answers with a [`Verdict`]: untrusted is a result with reasons, not an error. A verdict is
//! trusted only when nothing of severity [`Severity::Untrusted`] was found, and only an appraisal makes one.

mod boot;
mod reason;
mod reference;
mod report;

pub use boot::BootRecord;
pub use reason::{Finding, Reason, Severity};
pub use reference::{GoldenError, ReferenceError, ReferenceValues, Rule};
pub use report::{AttestedReport, VerdictReport};

use crate::attest::ClockInfo;
use crate::event_log::agent::{AgentEvent, StopEvent, StopScope};
use crate::event_log::{Event, EventLog, EventType};
use crate::evidence::{Evidence, Nonce, qualifying_data};
use crate::pcr::PcrValues;
use crate::quote::{QuoteError, VerifiedQuote, verify_quote};
use alcub3_crypto::tpm::Signature;
use alcub3_crypto::{Digest, HashAlg, VerifyingKey};
use alcub3_trust_model::pcr_map::{BOOT, PcrMap};
use alcub3_trust_model::{HardwareTier, RobotId, RobotState, StopId};
use std::borrow::Cow;

/// What a verifier holds a robot to. Everything is a reference: parse keys and reference values once.
#[derive(Debug, Clone)]
pub struct Policy<'a> {
    /// The robot's enrolled attestation key.
    pub attestation_key: &'a VerifyingKey,
    /// The robot.
    pub robot: &'a RobotId,
    /// The nonce of this request. The caller never accepts one twice.
    pub nonce: &'a Nonce,
    /// What its boot PCRs may hold; their bank is the bank that is judged.
    pub references: &'a ReferenceValues,
    /// Which PCRs are the agent's.
    pub pcrs: PcrMap,
    /// The kind of TPM that its endorsement certificate showed at enrolment.
    pub enrolled_tier: HardwareTier,
    /// The lowest kind of TPM admitted. In production above [`HardwareTier::Simulator`].
    pub min_tier: HardwareTier,
    /// The stops of the whole robot that two persons have rearmed: the accepted lockdown baseline.
    pub rearmed_stops: &'a [StopId],
    /// The last evidence that was judged of this robot.
    pub last_seen: Option<LastSeen>,
    /// The last boot that was judged good, so that its log need not be sent again.
    pub known_boot: Option<&'a BootRecord>,
    /// How far the state's time may be from the verifier's, in milliseconds, before it is worth a warning.
    pub max_state_age_ms: u64,
}

/// What to remember of a robot's last evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastSeen {
    /// Its sequence number.
    pub sequence: u64,
    /// The TPM's clock at its quote.
    pub clock: ClockInfo,
}

/// What the robot's TPM signed. Present in a verdict once the quote holds, whatever else was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attested {
    /// The quote.
    pub quote: VerifiedQuote,
    /// The robot's state, if it parses and is this robot's.
    pub state: Option<RobotState>,
    /// Digest over the active missions.
    pub mission: Digest,
    /// The evidence's sequence number.
    pub sequence: u64,
    /// The kind of TPM: the lower of what was enrolled and what the evidence says.
    pub tier: HardwareTier,
    /// Stops of the whole robot in the agent's log, since the last boot.
    pub stops: Vec<StopId>,
}

impl Attested {
    /// What to remember for the next appraisal.
    #[must_use]
    pub const fn last_seen(&self) -> LastSeen {
        LastSeen {
            sequence: self.sequence,
            clock: self.quote.clock(),
        }
    }
}

/// The judgement of one piece of evidence. Only [`appraise`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    findings: Vec<Finding>,
    attested: Option<Attested>,
    boot: Option<BootRecord>,
    judged_at_ms: u64,
}

impl Verdict {
    /// Whether the quote holds and nothing found makes the robot untrusted.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.attested.is_some()
            && self
                .findings
                .iter()
                .all(|finding| finding.severity != Severity::Untrusted)
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

    /// What the TPM signed; `None` when the quote does not hold.
    #[must_use]
    pub const fn attested(&self) -> Option<&Attested> {
        self.attested.as_ref()
    }

    /// The boot to remember; `None` unless the verdict is trusted and was made from a UEFI log.
    #[must_use]
    pub const fn boot(&self) -> Option<&BootRecord> {
        self.boot.as_ref()
    }

    /// When it was judged, UTC in milliseconds.
    #[must_use]
    pub const fn judged_at_ms(&self) -> u64 {
        self.judged_at_ms
    }
}

/// Judges evidence at `now_ms` (UTC).
#[must_use]
pub fn appraise(evidence: &[u8], policy: &Policy<'_>, now_ms: u64) -> Verdict {
    let mut check = Check {
        policy,
        now_ms,
        findings: Vec::new(),
    };
    let attested = check.run(evidence);
    let (attested, boot) = attested.unzip();
    let mut verdict = Verdict {
        findings: check.findings,
        attested,
        boot: boot.flatten(),
        judged_at_ms: now_ms,
    };
    if !verdict.is_trusted() {
        verdict.boot = None;
    }
    verdict
}

struct Check<'p> {
    policy: &'p Policy<'p>,
    now_ms: u64,
    findings: Vec<Finding>,
}

impl<'p> Check<'p> {
    fn run(&mut self, bytes: &[u8]) -> Option<(Attested, Option<BootRecord>)> {
        let decoded = Evidence::from_canonical(bytes);
        let mut evidence = decoded
            .map_err(|error| self.find(Reason::Malformed, error.to_string()))
            .ok()?;
        let quote = self.quote(&mut evidence)?;
        let state = self.state(evidence.state);
        let tier = self.tier(evidence.tier);
        self.freshness(evidence.sequence, quote.clock());
        self.quoted(&quote);
        let boot = self.boot(evidence.uefi_log, &quote);
        let stops = self.agent_log(evidence.agent_log, &quote, boot.as_deref());
        let stops = self.stops(stops, state.as_ref());
        let (mission, sequence) = (evidence.mission, evidence.sequence);
        let judged_now = match boot {
            Some(Cow::Owned(record)) => Some(record),
            _ => None,
        };
        Some((
            Attested {
                quote,
                state,
                mission,
                sequence,
                tier,
                stops,
            },
            judged_now,
        ))
    }

    fn find(&mut self, reason: Reason, detail: impl Into<String>) {
        self.findings.push(Finding::new(reason, detail));
    }

    fn bank(&self) -> HashAlg {
        self.policy.references.bank()
    }

    fn quote(&mut self, evidence: &mut Evidence<'_>) -> Option<VerifiedQuote> {
        let signature = Signature::from_tpmt_signature(evidence.signature);
        let signature = signature
            .map_err(|error| self.find(Reason::Signature, error.to_string()))
            .ok()?;
        let alg = signature.scheme.hash();
        let state = alg.digest(&[evidence.state]);
        let expected = qualifying_data(
            alg,
            self.policy.nonce,
            &state,
            &evidence.mission,
            evidence.sequence,
        );
        let Some(expected) = expected else {
            let detail = format!(
                "the mission digest is not of the signature's hash, {}",
                alg.name()
            );
            self.find(Reason::Binding, detail);
            return None;
        };
        let key = self.policy.attestation_key;
        let pcrs = core::mem::replace(&mut evidence.pcrs, PcrValues::EMPTY);
        let quote = verify_quote(key, &signature, evidence.quote, expected.as_bytes(), pcrs);
        quote
            .map_err(|error| self.find(reason_of(&error), error.to_string()))
            .ok()
    }

    fn state(&mut self, bytes: &[u8]) -> Option<RobotState> {
        let decoded = RobotState::from_canonical(bytes);
        let state = decoded
            .map_err(|error| self.find(Reason::StateMalformed, error.to_string()))
            .ok()?;
        if state.robot != *self.policy.robot {
            self.find(
                Reason::StateRobot,
                format!("it is of {}, not of {}", state.robot, self.policy.robot),
            );
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

    fn tier(&mut self, claimed: HardwareTier) -> HardwareTier {
        let enrolled = self.policy.enrolled_tier;
        if claimed > enrolled {
            self.find(
                Reason::TierClaim,
                format!("{claimed} claimed, {enrolled} enrolled"),
            );
        }
        let tier = claimed.min(enrolled);
        if tier == HardwareTier::Simulator {
            self.find(
                Reason::Simulator,
                "a simulated TPM protects nothing from the machine it runs on",
            );
        }
        if tier < self.policy.min_tier {
            self.find(
                Reason::Tier,
                format!("it is {tier}, the policy asks for {}", self.policy.min_tier),
            );
        }
        tier
    }

    /// A reset alone makes nobody untrusted, nor does an unsafe clock; going back does.
    fn freshness(&mut self, sequence: u64, clock: ClockInfo) {
        if !clock.safe {
            self.find(
                Reason::ClockUnsafe,
                "expected for up to an hour after a power cut",
            );
        }
        let Some(last) = self.policy.last_seen else { return };
        if sequence <= last.sequence {
            self.find(Reason::Sequence, format!("{sequence} after {}", last.sequence));
        }
        let boots = (clock.reset_count, clock.restart_count);
        let last_boots = (last.clock.reset_count, last.clock.restart_count);
        if clock.reset_count < last.clock.reset_count {
            let detail = format!("{} after {}", clock.reset_count, last.clock.reset_count);
            self.find(Reason::ResetCount, detail);
        } else if boots < last_boots || (boots == last_boots && clock.clock_ms < last.clock.clock_ms) {
            let detail = format!("{} ms after {} ms", clock.clock_ms, last.clock.clock_ms);
            self.find(Reason::ClockBack, detail);
        } else if boots != last_boots {
            let resets = clock.reset_count - last.clock.reset_count;
            self.find(Reason::Restarted, format!("{resets} resets since"));
        }
    }

    fn quoted(&mut self, quote: &VerifiedQuote) {
        let ours = [self.policy.pcrs.lockdown(), self.policy.pcrs.retire()];
        for pcr in BOOT.chain(ours) {
            if quote.pcrs().value(self.bank(), pcr).is_none() {
                let detail = format!("PCR {pcr} of the {} bank", self.bank().name());
                self.findings
                    .push(Finding::new(Reason::PcrNotQuoted, detail).at_pcr(pcr));
            }
        }
    }

    fn boot(&mut self, log: Option<&[u8]>, quote: &VerifiedQuote) -> Option<Cow<'p, BootRecord>> {
        let references = self.policy.references;
        if let Some(log) = log {
            return boot::judge(log, quote.pcrs(), references, &mut self.findings).map(Cow::Owned);
        }
        let known = self
            .policy
            .known_boot
            .filter(|known| known.explains(quote.pcrs(), references));
        if known.is_none() {
            self.find(Reason::BootLogMissing, "send the whole binary_bios_measurements");
        }
        known.map(Cow::Borrowed)
    }

    /// The agent's events in its own log, once they explain the lockdown and the retire PCR.
    fn agent_log(
        &mut self,
        log: Option<&[u8]>,
        quote: &VerifiedQuote,
        boot: Option<&BootRecord>,
    ) -> Vec<StopEvent> {
        let Some(boot) = boot else { return Vec::new() };
        let events = match log.map(|log| agent_events(log, self.bank(), &self.policy.pcrs)) {
            None => Vec::new(),
            Some(Ok(events)) => events,
            Some(Err(finding)) => {
                self.findings.push(finding);
                return Vec::new();
            }
        };
        for pcr in [self.policy.pcrs.lockdown(), self.policy.pcrs.retire()] {
            self.explained(pcr, &events, quote, boot);
        }
        let stops = events.into_iter().filter_map(|event| match event {
            AgentEvent::Stop(stop) => Some(stop),
            AgentEvent::MissionEnded(_) | AgentEvent::StoppedStart(_) => None,
        });
        stops.collect()
    }

    fn explained(&mut self, pcr: u8, events: &[AgentEvent], quote: &VerifiedQuote, boot: &BootRecord) {
        let (Some(quoted), Some(start)) = (quote.pcrs().value(self.bank(), pcr), boot.value(pcr)) else {
            return;
        };
        let mine = events.iter().filter(|event| event.pcr(&self.policy.pcrs) == pcr);
        let bank = self.bank();
        let led_to = mine.fold(*start, |value, event| value.extend(event.digest(bank).as_bytes()));
        if led_to != *quoted {
            let detail = format!("PCR {pcr} was quoted as {quoted:?}, the log leads to {led_to:?}");
            self.findings
                .push(Finding::new(Reason::AgentLogMismatch, detail).at_pcr(pcr));
        }
    }

    fn stops(&mut self, events: Vec<StopEvent>, state: Option<&RobotState>) -> Vec<StopId> {
        let whole = events.into_iter().filter(|event| event.scope == StopScope::Robot);
        let mut stops: Vec<StopId> = whole.map(|event| event.stop).collect();
        // A stop whose answer was no good was extended again.
        stops.dedup();
        let in_force = stops
            .iter()
            .find(|stop| !self.policy.rearmed_stops.contains(stop));
        if let Some(stop) = in_force {
            let silent = state.is_some_and(|state| !state.stopped);
            let contradiction = if silent { ", which its state denies" } else { "" };
            self.find(
                Reason::StopInForce,
                format!("stop {stop}{contradiction}; rearm the robot"),
            );
        }
        stops
    }
}

const fn reason_of(error: &QuoteError) -> Reason {
    match error {
        QuoteError::Signature(_) | QuoteError::Message(_) => Reason::Signature,
        QuoteError::NotAQuote => Reason::NotAQuote,
        QuoteError::ExtraData => Reason::Binding,
        QuoteError::Selection { .. } | QuoteError::PcrDigest => Reason::PcrValues,
    }
}

/// The events of the agent's log; only its own may stand there, each in its PCR and with its own digest.
fn agent_events(log: &[u8], bank: HashAlg, map: &PcrMap) -> Result<Vec<AgentEvent>, Finding> {
    let parsed = EventLog::parse(log);
    let parsed = parsed.map_err(|error| Finding::new(Reason::AgentLogMalformed, error.to_string()))?;
    if !parsed.banks().any(|alg| alg == bank) {
        let detail = format!("the agent's log has no {} digests", bank.name());
        return Err(Finding::new(Reason::AgentLogMalformed, detail));
    }
    parsed
        .events()
        .iter()
        .skip(1)
        .map(|event| agent_event(event, bank, map))
        .collect()
}

fn agent_event(logged: &Event<'_>, bank: HashAlg, map: &PcrMap) -> Result<AgentEvent, Finding> {
    let refuse = |what: &dyn core::fmt::Display| {
        let detail = format!("{}: {what}", logged.position);
        Finding::new(Reason::AgentLogMalformed, detail).at_event(Some(logged.position.event))
    };
    if logged.event_type != EventType::EVENT_TAG {
        return Err(refuse(&"only EV_EVENT_TAG may stand in the agent's log"));
    }
    let event = AgentEvent::decode(logged.data).map_err(|error| refuse(&error))?;
    if logged.pcr != event.pcr(map) {
        return Err(refuse(&"it is in another PCR than its kind belongs into"));
    }
    if logged.digest(bank) != Some(event.digest(bank)) {
        return Err(refuse(&"its digest is not that of its message"));
    }
    Ok(event)
}
