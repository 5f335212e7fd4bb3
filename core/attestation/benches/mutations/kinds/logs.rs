//! Changes of event logs, and when two logs say the same.

use crate::campaign::random::Random;
use crate::software_robot::BANK;
use alcub3_attestation::event_log::agent::AgentEvent;
use alcub3_attestation::event_log::{Event, EventLog};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::pcr_map::BOOT;

/// The bytes of each event.
fn pieces(log: &[u8]) -> Option<Vec<Vec<u8>>> {
    let parsed = EventLog::parse(log).ok()?;
    let mut ends: Vec<usize> = parsed
        .events()
        .iter()
        .map(|event| event.position.offset)
        .collect();
    ends.push(log.len());
    Some(
        ends.windows(2)
            .map(|pair| log[pair[0]..pair[1]].to_vec())
            .collect(),
    )
}

/// An event left out, doubled, moved, put into another PCR or of another type; a digest or some data changed.
pub fn change(log: &[u8], random: &mut Random) -> Option<(Vec<u8>, String)> {
    let mut events = pieces(log)?;
    let at = random.below(events.len());
    let to = random.below(events.len());
    let what = match random.below(9) {
        0 => {
            events.remove(at);
            format!("event {at} left out")
        }
        1 => {
            let again = events[at].clone();
            events.insert(to, again);
            format!("event {at} doubled at {to}")
        }
        2 => {
            events.swap(at, to);
            format!("events {at} and {to} swapped")
        }
        3 => {
            let pcr = u8::try_from(random.below(24)).unwrap();
            events[at][0] = pcr;
            format!("event {at} in PCR {pcr}")
        }
        4 => {
            let kind = *random.pick(&[
                0_u32,
                1,
                3,
                4,
                6,
                8,
                13,
                0x8000_0001,
                0x8000_0003,
                0x8000_0008,
                0x8000_000c,
            ]);
            events[at][4..8].copy_from_slice(&kind.to_le_bytes());
            format!("event {at} of type {kind:#x}")
        }
        5 => {
            // Behind PCR, type, count and the first algorithm: the digests.
            let start = 14.min(events[at].len() - 1);
            let position = start + random.below(60.min(events[at].len() - start));
            let value = random.byte();
            events[at][position] = value;
            format!("event {at}: digest byte {position} is {value}")
        }
        6 => {
            let last = events[at].len() - 1;
            let position = last - random.below(32.min(last));
            let value = random.byte();
            events[at][position] = value;
            format!("event {at}: data byte {position} is {value}")
        }
        7 => {
            events.truncate(at);
            format!("event {at} and what follows left out")
        }
        _ => {
            let (pcr, data) = (u8::try_from(random.below(24)).unwrap(), random.array::<8>());
            events.insert(to, event(log, pcr, &data)?);
            format!("an event {data:02x?} for PCR {pcr} at {to}")
        }
    };
    Some((events.concat(), what))
}

/// An event in the banks of a log, its digests those of its data.
fn event(log: &[u8], pcr: u8, data: &[u8]) -> Option<Vec<u8>> {
    let parsed = EventLog::parse(log).ok()?;
    let banks: Vec<HashAlg> = parsed.banks().collect();
    let mut out = vec![pcr, 0, 0, 0, 13, 0, 0, 0];
    out.extend(u32::try_from(banks.len()).unwrap().to_le_bytes());
    for bank in banks {
        out.extend(bank.tpm_id().to_le_bytes());
        out.extend(bank.digest(&[data]).as_bytes());
    }
    out.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    out.extend(data);
    Some(out)
}

/// A boot log with the agent's events moved into it: as if the boot had extended the lockdown and the retire PCR.
pub fn with_events_of(boot: &[u8], agent: &[u8], random: &mut Random) -> Option<(Vec<u8>, String)> {
    let mut events = pieces(boot)?;
    let kind = *random.pick(&[6_u32, 13, 3, 5]);
    let at = 1 + random.below(events.len());
    let agent = EventLog::parse(agent).ok()?;
    let moved = agent.events().iter().skip(1).map(|logged| {
        let message = AgentEvent::decode(logged.data).ok()?.message();
        let mut moved = event(boot, logged.pcr, &message)?;
        moved[4..8].copy_from_slice(&kind.to_le_bytes());
        Some(moved)
    });
    events.splice(at..at, moved.collect::<Option<Vec<_>>>()?);
    Some((
        events.concat(),
        format!("the agent's events moved into the boot's log at {at} as type {kind}"),
    ))
}

/// What the judgement takes from a boot log: the events that the bank's digests extend into the PCRs that it judges.
fn judged(event: &Event<'_>, agents: &[u8]) -> Option<(u8, Digest)> {
    let ours = agents.contains(&event.pcr) || BOOT.contains(&event.pcr);
    (ours && event.is_extended()).then(|| (event.pcr, event.digest(BANK).unwrap()))
}

/// Whether two boot logs lead the judged PCRs of the bank, those of an agent too, the same way: event by event, PCR by PCR.
pub fn same_boot(genuine: &[u8], changed: &[u8], agents: &[u8]) -> Option<&'static str> {
    let (genuine, changed) = (EventLog::parse(genuine).ok()?, EventLog::parse(changed).ok()?);
    let by_pcr = |log: &EventLog<'_>| {
        let events = log.events().iter();
        let mut events: Vec<(u8, Digest)> = events.filter_map(|event| judged(event, agents)).collect();
        events.sort_by_key(|(pcr, _)| *pcr);
        events
    };
    if by_pcr(&genuine) != by_pcr(&changed) || genuine.startup_locality() != changed.startup_locality() {
        return None;
    }
    let said = |log: &EventLog<'_>, of_judged: bool| {
        let events = log.events().iter().skip(1);
        let wanted = events.filter(|event| judged(event, agents).is_some() == of_judged);
        wanted
            .map(|event| {
                (
                    event.pcr,
                    event.event_type,
                    event.data.to_vec(),
                    event.digest(BANK),
                )
            })
            .collect::<Vec<_>>()
    };
    Some(if said(&genuine, false) != said(&changed, false) {
        "boot log: events that extend nothing, or a PCR that is not judged"
    } else if said(&genuine, true) != said(&changed, true) {
        "boot log: type, text or place of an event, which its digest does not cover"
    } else {
        "boot log: digests of another bank, and the header"
    })
}

/// Whether two logs of the agent have the same events in each PCR, byte for byte.
pub fn same_events(genuine: &[u8], changed: &[u8]) -> Option<&'static str> {
    let by_pcr = |log| {
        let mut events = pieces(log)?;
        // The header is the first; an event begins with its PCR.
        events[1..].sort_by_key(|event| event[0]);
        Some(events)
    };
    (by_pcr(genuine)? == by_pcr(changed)?).then_some("agent log: events of different PCRs in another order")
}
