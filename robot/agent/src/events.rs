//! The agent's own event log: what it extended into the lockdown and retire PCRs since the chip's last reset.

use crate::{AgentError, Result};
use alcub3_attestation::event_log::agent::AgentEvent;
use alcub3_attestation::event_log::builder::Builder;
use alcub3_attestation::receipt::MAX_EXTENDS;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_keys::StateFolder;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Reader};
use alcub3_trust_model::pcr_map::PcrMap;

const FILE: &str = "events.cbor";
const DOMAIN: &str = "alcub3/agent-events/v1";
const VERSION: u64 = 1;
const MOST_EVENTS: usize = 65_536;
/// How many events may have been entered between a stop's extend and its entry: ends of all missions.
const MOST_OVERTAKEN: usize = 8;

/// A PCR, its value before any event of ours, and its value now.
pub(crate) type PcrSpan = (u8, Digest, Digest);

/// Events in the order in which they were extended.
#[derive(Clone, Debug, Default)]
pub(crate) struct AgentLog {
    events: Vec<AgentEvent>,
    /// The lockdown and the retire PCR before the first event, where the log explains what they hold.
    baseline: Option<[Digest; 2]>,
}

impl AgentLog {
    pub(crate) fn load(folder: &StateFolder) -> Result<Self> {
        let Some(bytes) = folder.read(FILE)? else {
            return Ok(Self::default());
        };
        let events = decode(&bytes).map_err(|source| AgentError::Record { name: FILE, source })?;
        Ok(Self {
            events,
            baseline: None,
        })
    }

    /// The log explains the PCRs from here on.
    pub(crate) fn starts_at(&mut self, baseline: [Digest; 2]) {
        self.baseline = Some(baseline);
    }

    /// What the lockdown and the retire PCR hold after the events; `None` where the log does not explain them.
    pub(crate) fn values(&self, map: &PcrMap) -> Option<[Digest; 2]> {
        let [lockdown, retire] = self.baseline?;
        Some([
            self.replay(map, map.lockdown(), lockdown),
            self.replay(map, map.retire(), retire),
        ])
    }

    /// A new run of the chip: its PCRs are at their baseline again.
    pub(crate) fn clear(&mut self, folder: &StateFolder) -> Result<()> {
        self.events.clear();
        Ok(folder.remove(FILE)?)
    }

    /// Appends an event, durably.
    pub(crate) fn append(&mut self, folder: &StateFolder, event: AgentEvent) -> Result<()> {
        self.append_repeated(folder, event, 1)
    }

    /// Appends an event as often as it was extended, durably.
    pub(crate) fn append_repeated(
        &mut self,
        folder: &StateFolder,
        event: AgentEvent,
        times: u8,
    ) -> Result<()> {
        if times == 0 {
            return Ok(());
        }
        self.events.extend(std::iter::repeat_n(event, times.into()));
        self.save(folder)
    }

    /// Enters a stop's event where the log then explains what the event's PCR holds: a mission's end or another stop may
    /// have been extended after it and entered before it. Where no place explains the PCR, it is entered last if it was
    /// `extended`.
    pub(crate) fn insert(
        &mut self,
        folder: &StateFolder,
        map: &PcrMap,
        now: Digest,
        event: &AgentEvent,
        extended: bool,
    ) -> Result<()> {
        let placed = self.placed(map, now, event);
        match placed {
            Some(found) => {
                *self = found;
                self.save(folder)
            }
            None => self.append_repeated(folder, event.clone(), extended.into()),
        }
    }

    fn placed(&self, map: &PcrMap, now: Digest, event: &AgentEvent) -> Option<Self> {
        let [lockdown, retire] = self.baseline?;
        let pcr = event.pcr(map);
        let baseline = if pcr == map.lockdown() { lockdown } else { retire };
        let latest = self.events.len();
        let places = (latest.saturating_sub(MOST_OVERTAKEN)..=latest).rev();
        places
            .flat_map(|at| (1..=MAX_EXTENDS).map(move |times| (at, times)))
            .map(|(at, times)| {
                let mut events = self.events.clone();
                events.splice(at..at, std::iter::repeat_n(event.clone(), times.into()));
                let baseline = self.baseline;
                Self { events, baseline }
            })
            .find(|candidate| candidate.replay(map, pcr, baseline) == now)
    }

    /// Makes the log durable as it is: where the disk refused before.
    pub(crate) fn save(&self, folder: &StateFolder) -> Result<()> {
        // Never more than can be read again: a log that lacks events explains nothing until the next reset clears it.
        let events = self.events.get(..MOST_EVENTS).unwrap_or(&self.events);
        let mut out = Encoder::structure(DOMAIN, VERSION, 1);
        out.u64(2).array(events.len());
        for event in events {
            out.bytes(&event.message());
        }
        Ok(folder.write(FILE, &out.finish())?)
    }

    /// After a crash between an extend and its entry, or the other way round: takes the log that explains what the PCR
    /// holds, among the log, the log without its last event, and the log with one of the `pending` events, once or as
    /// often as a stop may have extended it.
    /// `baseline` is the PCR before any event. False where none does.
    pub(crate) fn reconcile(
        &mut self,
        folder: &StateFolder,
        map: &PcrMap,
        span: PcrSpan,
        pending: &[AgentEvent],
    ) -> Result<bool> {
        match self.explanation(map, span, pending) {
            None => Ok(false),
            Some(None) => Ok(true),
            Some(Some(found)) => {
                *self = found;
                self.save(folder)?;
                Ok(true)
            }
        }
    }

    /// Brings the log in line with the PCRs after an extend whose answer was lost: what was extended is entered, where the
    /// log explained the PCRs before.
    pub(crate) fn catch_up(
        &mut self,
        folder: &StateFolder,
        map: &PcrMap,
        now: [Digest; 2],
        pending: &[AgentEvent],
    ) -> Result<()> {
        let pcrs = [map.lockdown(), map.retire()].into_iter();
        for ((pcr, from), to) in pcrs.zip(self.baseline.into_iter().flatten()).zip(now) {
            self.reconcile(folder, map, (pcr, from, to), pending)?;
        }
        Ok(())
    }

    /// Whether this log, or one that [`Self::reconcile`] would take, explains what the PCR holds.
    pub(crate) fn explains(&self, map: &PcrMap, span: PcrSpan, pending: &[AgentEvent]) -> bool {
        self.explanation(map, span, pending).is_some()
    }

    /// Whether an event is in the log.
    pub(crate) fn contains(&self, event: &AgentEvent) -> bool {
        self.events.contains(event)
    }

    /// The log that explains the PCR: this one (`Some(None)`), another, or none.
    fn explanation(
        &self,
        map: &PcrMap,
        (pcr, baseline, now): PcrSpan,
        pending: &[AgentEvent],
    ) -> Option<Option<Self>> {
        if self.replay(map, pcr, baseline) == now {
            return Some(None);
        }
        let repeated = pending
            .iter()
            .flat_map(|event| (1..=MAX_EXTENDS).map(move |times| (event, times)));
        let mut candidates: Vec<Self> = repeated
            .map(|(event, times)| {
                let mut events = self.events.clone();
                events.extend(std::iter::repeat_n(event.clone(), times.into()));
                let baseline = self.baseline;
                Self { events, baseline }
            })
            .collect();
        let last = self.events.iter().rposition(|event| event.pcr(map) == pcr);
        candidates.extend(last.map(|at| {
            let mut events = self.events.clone();
            events.remove(at);
            let baseline = self.baseline;
            Self { events, baseline }
        }));
        candidates
            .into_iter()
            .find(|candidate| candidate.replay(map, pcr, baseline) == now)
            .map(Some)
    }

    fn replay(&self, map: &PcrMap, pcr: u8, baseline: Digest) -> Digest {
        let events = self.events.iter().filter(|event| event.pcr(map) == pcr);
        events.fold(baseline, |value, event| {
            value.extend(event.digest(value.alg()).as_bytes())
        })
    }

    /// The log as evidence carries it; `None` while there is no event.
    pub(crate) fn to_event_log(&self, map: &PcrMap, banks: &[HashAlg]) -> Result<Option<Vec<u8>>> {
        if self.events.is_empty() {
            return Ok(None);
        }
        let mut log = Builder::new(banks).map_err(|_| AgentError::Evidence {
            what: "the chip's PCR banks",
        })?;
        for event in &self.events {
            log.agent(event.pcr(map), event);
        }
        Ok(Some(log.finish()))
    }
}

fn decode(bytes: &[u8]) -> std::result::Result<Vec<AgentEvent>, DecodeError> {
    let mut reader = Reader::new(DOMAIN, bytes);
    let r = &mut reader;
    let mut fields = r.structure(DOMAIN, VERSION)?;
    fields.key(r, 2, "events")?;
    let count = r.array("events", MOST_EVENTS)?;
    let mut events = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        events.push(AgentEvent::from_message(r.bytes("event")?)?);
    }
    fields.finish(r)?;
    r.finish()?;
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alcub3_attestation::event_log::agent::{StopEvent, StopScope};
    use alcub3_trust_model::{Level, MissionId, RobotId, StopCause, StopId};

    const MAP: PcrMap = PcrMap::DEFAULT;

    fn stop(id: u8) -> AgentEvent {
        AgentEvent::Stop(StopEvent {
            stop: StopId::new([id; 16]),
            robot: RobotId::new("r1").unwrap(),
            scope: StopScope::Level(Level::Cui),
            cause: StopCause::ManualTrigger,
            called_utc_ms: 0,
        })
    }

    fn extended(events: &[AgentEvent]) -> Digest {
        let start = Digest::zero(HashAlg::Sha256);
        events.iter().fold(start, |value, event| {
            value.extend(event.digest(value.alg()).as_bytes())
        })
    }

    #[test]
    fn a_stop_overtaken_by_other_events_is_entered_where_it_was_extended() {
        let dir = tempfile::tempdir().unwrap();
        let folder = StateFolder::open(dir.path()).unwrap();
        let ended = |id| AgentEvent::MissionEnded(MissionId::new([id; 16]));
        for (order, insert) in [
            (vec![stop(1), ended(2), ended(3)], 1),
            (vec![ended(2), stop(1), stop(1), ended(3)], 1),
            (vec![stop(1), stop(4)], 1),
        ] {
            let others: Vec<AgentEvent> = order
                .iter()
                .filter(|event| **event != stop(insert))
                .cloned()
                .collect();
            let mut log = AgentLog {
                events: others,
                baseline: Some([Digest::zero(HashAlg::Sha256); 2]),
            };
            log.insert(&folder, &MAP, extended(&order), &stop(insert), true)
                .unwrap();
            assert_eq!(log.events, order);
            assert_eq!(AgentLog::load(&folder).unwrap().events, order);
        }
        // What nothing explains is last, if the chip said that it was extended.
        let mut log = AgentLog::default();
        log.insert(&folder, &MAP, extended(&[stop(9)]), &stop(1), false)
            .unwrap();
        assert!(log.events.is_empty());
        log.insert(&folder, &MAP, extended(&[stop(9)]), &stop(1), true)
            .unwrap();
        assert_eq!(log.events, [stop(1)]);
    }
}
