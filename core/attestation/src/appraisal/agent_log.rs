//! The agent's part of an appraisal: does its own log explain the lockdown and the retire PCR, and which stops are in it?

use super::boot::BootRecord;
use super::check::Check;
use super::reason::{Finding, Reason};
use crate::event_log::agent::{AgentEvent, StopEvent, StopScope};
use crate::event_log::builder::Builder;
use crate::event_log::{Event, EventLog, EventType};
use crate::quote::VerifiedQuote;
use alcub3_crypto::HashAlg;
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::{RobotState, StopId};

impl Check<'_> {
    /// The agent's events in its own log, once they explain the lockdown and the retire PCR.
    pub(super) fn agent_log(
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
            let detail =
                format!("PCR {pcr}: found {quoted:?} quoted, expected {led_to:?}, to which the log leads");
            self.findings
                .push(Finding::new(Reason::AgentLogMismatch, detail).at_pcr(pcr));
        }
    }

    pub(super) fn stops(&mut self, events: Vec<StopEvent>, state: Option<&RobotState>) -> Vec<StopId> {
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

/// The events of the agent's log; only its own may stand there, each in its PCR and with its own digest.
fn agent_events(log: &[u8], bank: HashAlg, map: &PcrMap) -> Result<Vec<AgentEvent>, Finding> {
    let parsed = EventLog::parse(log);
    let parsed = parsed.map_err(|error| Finding::new(Reason::AgentLogMalformed, error.to_string()))?;
    if !parsed.banks().any(|alg| alg == bank) {
        let detail = format!("the agent's log has no {} digests", bank.name());
        return Err(Finding::new(Reason::AgentLogMalformed, detail));
    }
    let events = parsed.events().iter().skip(1);
    let events: Vec<AgentEvent> = events
        .map(|event| agent_event(event, bank, map))
        .collect::<Result<_, _>>()?;
    if as_written(&parsed, &events, map).as_deref() != Some(log) {
        let detail = "it is not as the agent writes it: its header or another bank's digests were changed";
        return Err(Finding::new(Reason::AgentLogMalformed, detail));
    }
    Ok(events)
}

/// The one log of these events in the banks of this one; none where it has a bank that the agent cannot write.
fn as_written(parsed: &EventLog<'_>, events: &[AgentEvent], map: &PcrMap) -> Option<Vec<u8>> {
    let banks: Vec<HashAlg> = parsed.banks().collect();
    let mut log = Builder::new(&banks).ok()?;
    for event in events {
        log.agent(event.pcr(map), event);
    }
    Some(log.finish())
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
