//! The boot's part of an appraisal: do the logs explain the quoted PCRs, and is what they say good?

use super::reason::{Finding, Reason};
use super::reference::{ReferenceValues, Rule, what_is_in};
use crate::event_log::boot_facts::{BootFacts, ClaimState};
use crate::event_log::describe::{describe, hex};
use crate::event_log::{Event, EventLog, EventType, PCR_COUNT, ReplayedBank};
use crate::pcr::PcrValues;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::pcr_map::BOOT;

/// A boot whose log was judged good: while the PCRs stay as they are, its log need not be sent again.
///
/// Only an appraisal with a trusted verdict makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootRecord {
    pub(super) bank: HashAlg,
    pub(super) values: [Digest; PCR_COUNT],
    pub(super) references: Digest,
}

impl BootRecord {
    pub(super) fn of(bank: &ReplayedBank, references: &ReferenceValues) -> Self {
        let mut values = [Digest::zero(bank.alg()); PCR_COUNT];
        for (pcr, slot) in (0_u8..).zip(&mut values) {
            *slot = bank.value(pcr).unwrap_or(*slot);
        }
        Self {
            bank: bank.alg(),
            values,
            references: *references.fingerprint(),
        }
    }

    /// A PCR's value after the boot, before the agent extends.
    pub(super) fn value(&self, pcr: u8) -> Option<&Digest> {
        self.values.get(usize::from(pcr))
    }

    /// Whether it was judged by these references and explains the quoted boot PCRs.
    pub(super) fn explains(&self, quoted: &PcrValues, references: &ReferenceValues) -> bool {
        let same = |pcr: u8| quoted.value(self.bank, pcr) == self.value(pcr);
        self.bank == references.bank()
            && self.references == *references.fingerprint()
            && BOOT.into_iter().all(same)
    }
}

/// Judges a log against the quoted values and the references; the record is for the caller to keep if all is good.
pub(super) fn judge(
    log: &[u8],
    quoted: &PcrValues,
    references: &ReferenceValues,
    findings: &mut Vec<Finding>,
) -> Option<BootRecord> {
    let malformed = |error: &dyn std::error::Error| Finding::new(Reason::BootLogMalformed, error.to_string());
    let parsed = EventLog::parse(log)
        .map_err(|error| findings.push(malformed(&error)))
        .ok()?;
    let bank = parsed.replay_bank(references.bank());
    let Some(bank) = bank.map_err(|error| findings.push(malformed(&error))).ok()? else {
        let detail = format!("the log has no {} digests", references.bank().name());
        findings.push(Finding::new(Reason::BootLogBank, detail));
        return None;
    };
    findings.extend(changed_data(&parsed, bank.alg()));
    for pcr in BOOT {
        findings.extend(judge_pcr(&parsed, &bank, pcr, quoted, references));
    }
    findings.extend(claims_not_shown(&parsed, references));
    Some(BootRecord::of(&bank, references))
}

/// The claims that the references ask for and the log does not show.
fn claims_not_shown(log: &EventLog<'_>, references: &ReferenceValues) -> Vec<Finding> {
    if references.claims().is_empty() {
        return Vec::new();
    }
    let Some(facts) = BootFacts::of(log, references.bank()) else {
        return Vec::new();
    };
    let asked = facts
        .claims()
        .into_iter()
        .filter(|claim| references.claims().contains(claim.name) && claim.state != ClaimState::Shown);
    asked
        .map(|claim| {
            Finding::new(
                Reason::BootClaim,
                format!("expected {}, found: {}", claim.name, claim.why),
            )
        })
        .collect()
}

fn judge_pcr(
    log: &EventLog<'_>,
    bank: &ReplayedBank,
    pcr: u8,
    quoted: &PcrValues,
    references: &ReferenceValues,
) -> Option<Finding> {
    let (quoted, replayed) = (*quoted.value(bank.alg(), pcr)?, bank.value(pcr)?);
    if quoted != replayed {
        return Some(mismatch(log, pcr, quoted, replayed));
    }
    match references.rule(pcr) {
        None => {
            let detail = format!(
                "{}: found {quoted:?}, expected nothing: it has no reference",
                what_is_in(pcr)
            );
            Some(Finding::new(Reason::ReferenceMissing, detail).at_pcr(pcr))
        }
        Some(Rule::Any) => None,
        Some(Rule::Values(accepted)) => {
            let detail = || {
                let expected = listed(accepted.iter().map(|value| format!("{value:?}")));
                format!("{}: found {quoted:?}, expected {expected}", what_is_in(pcr))
            };
            (!accepted.contains(&quoted)).then(|| Finding::new(Reason::Reference, detail()).at_pcr(pcr))
        }
        Some(Rule::Events(accepted)) => {
            let known = |event: &&Event<'_>| {
                event
                    .digest(bank.alg())
                    .is_some_and(|digest| accepted.contains(digest.as_bytes()))
            };
            let stranger = extended(log, pcr).find(|event| !known(event))?;
            let found = stranger.digest(bank.alg());
            let found = found.map_or_else(|| "no digest".to_owned(), |digest| format!("{digest:?}"));
            let expected = listed(accepted.iter().map(|digest| hex(digest)));
            let detail = format!(
                "{}: found {} ({}; {}) with {found}, expected only events with {expected}",
                what_is_in(pcr),
                stranger.position,
                stranger.event_type,
                describe(stranger)
            );
            let event = Some(stranger.position.event);
            Some(
                Finding::new(Reason::Reference, detail)
                    .at_pcr(pcr)
                    .at_event(event),
            )
        }
    }
}

/// The first few of what is accepted, and how many more there are.
fn listed(accepted: impl ExactSizeIterator<Item = String>) -> String {
    const SHOWN: usize = 3;
    let count = accepted.len();
    let shown: Vec<String> = accepted.take(SHOWN).collect();
    match (shown.as_slice(), count.saturating_sub(SHOWN)) {
        ([], _) => "none, for nothing is accepted".to_owned(),
        ([one], _) => one.clone(),
        (some, 0) => format!("one of {}", some.join(", ")),
        (some, more) => format!("one of {} and {more} more", some.join(", ")),
    }
}

fn extended<'l, 'a>(log: &'l EventLog<'a>, pcr: u8) -> impl Iterator<Item = &'l Event<'a>> {
    log.events()
        .iter()
        .filter(move |event| event.pcr == pcr && event.is_extended())
}

fn mismatch(log: &EventLog<'_>, pcr: u8, quoted: Digest, replayed: Digest) -> Finding {
    let suspect = suspect(log, pcr, quoted);
    let what = match suspect {
        Some((event, how)) => format!("event {event} {how}"),
        None => "no single event accounts for it".to_owned(),
    };
    let detail =
        format!("PCR {pcr}: found {quoted:?} quoted, expected {replayed:?}, to which the log leads: {what}");
    Finding::new(Reason::BootLogMismatch, detail)
        .at_pcr(pcr)
        .at_event(suspect.map(|(event, _)| event))
}

/// The event that accounts for a mismatch, if leaving one out, cutting the log before one, or measuring one's data
/// anew leads to the quoted value.
fn suspect(log: &EventLog<'_>, pcr: u8, quoted: Digest) -> Option<(usize, &'static str)> {
    let alg = quoted.alg();
    let events: Vec<&Event<'_>> = extended(log, pcr).take(256).collect();
    let start = initial(log, pcr, alg)?;
    let digest = |event: &Event<'_>| event.digest(alg).unwrap_or(Digest::zero(alg));
    let run = |from: Digest, events: &[&Event<'_>]| {
        events
            .iter()
            .fold(from, |value, event| value.extend(digest(event).as_bytes()))
    };
    let mut before = start;
    for (at, event) in events.iter().enumerate() {
        let (number, rest) = (event.position.event, events.get(at + 1..).unwrap_or_default());
        if before == quoted {
            return Some((number, "and what follows are in the log but were never measured"));
        }
        if run(before, rest) == quoted {
            return Some((number, "is in the log but was never measured"));
        }
        if run(before.extend(alg.digest(&[event.data]).as_bytes()), rest) == quoted {
            return Some((number, "was measured with another digest than the log states"));
        }
        before = before.extend(digest(event).as_bytes());
    }
    None
}

fn initial(log: &EventLog<'_>, pcr: u8, alg: HashAlg) -> Option<Digest> {
    let locality = if pcr == 0 { log.startup_locality().ok()? } else { 0 };
    let mut bytes = vec![0; alg.size()];
    *bytes.last_mut()? = locality;
    Digest::from_slice(alg, &bytes)
}

/// Events whose digest is by specification the digest of their data, and is not.
fn changed_data(log: &EventLog<'_>, alg: HashAlg) -> Option<Finding> {
    let measured = |event: &&Event<'_>| {
        matches!(
            event.event_type,
            EventType::SEPARATOR
                | EventType::EFI_ACTION
                | EventType::EFI_VARIABLE_DRIVER_CONFIG
                | EventType::EFI_GPT_EVENT
                | EventType::S_CRTM_VERSION
        )
    };
    let changed = |event: &&Event<'_>| event.digest(alg) != Some(alg.digest(&[event.data]));
    let event = log.events().iter().filter(measured).find(changed)?;
    let (found, expected) = (alg.digest(&[event.data]), event.digest(alg));
    let expected = expected.map_or_else(|| "none".to_owned(), |digest| format!("{digest:?}"));
    let detail = format!(
        "{} ({}; {}): found data whose digest is {found:?}, expected {expected}, as it was measured: it was changed",
        event.position,
        event.event_type,
        describe(event)
    );
    Some(
        Finding::new(Reason::EventData, detail)
            .at_pcr(event.pcr)
            .at_event(Some(event.position.event)),
    )
}
