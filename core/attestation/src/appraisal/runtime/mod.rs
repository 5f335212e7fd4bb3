//! The running system's part of an appraisal: does the IMA list explain the quoted PCR, and is what was measured good?

mod entries;

use super::reason::{Finding, Reason};
use super::reference::ReferenceValues;
use crate::attest::ClockInfo;
use crate::evidence::{RuntimeLog, RuntimePosition};
use crate::ima::{ImaLog, ImaReplay, TemplateHashing};
use crate::quote::VerifiedQuote;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::pcr_map::IMA;
use entries::{judge_entries, name_unproven};

/// How far a boot's list was judged good: the next evidence of that boot needs only the entries behind it.
///
/// Only an appraisal with a trusted verdict makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeRecord {
    pub(super) replay: ImaReplay,
    pub(super) position: RuntimePosition,
    pub(super) references: Digest,
}

impl RuntimeRecord {
    /// Where the robot's next list may begin.
    #[must_use]
    pub const fn position(&self) -> RuntimePosition {
        self.position
    }

    /// Where it may begin if it is to be judged by these references; `None` where other ones judged what came before.
    #[must_use]
    pub fn position_under(&self, references: &ReferenceValues) -> Option<RuntimePosition> {
        (self.references == *references.fingerprint()).then_some(self.position)
    }

    /// Whether it was judged by these references, in the boot of this clock.
    fn holds(&self, references: &Digest, clock: ClockInfo) -> bool {
        self.references == *references && self.position.is_of(clock)
    }
}

/// Judges a list against the quoted PCR and the references; the record is for the caller to keep if all is good.
pub(super) fn judge(
    log: Option<&RuntimeLog<'_>>,
    known: Option<&RuntimeRecord>,
    quote: &VerifiedQuote,
    references: &ReferenceValues,
    findings: &mut Vec<Finding>,
) -> Option<RuntimeRecord> {
    let Some(accepted) = references.runtime() else {
        let unjudged = || {
            Finding::new(
                Reason::RuntimeUnjudged,
                "give the robot's references a part for it",
            )
        };
        findings.extend(log.map(|_| unjudged()));
        return None;
    };
    let fingerprint = references.fingerprint();
    let known = known.filter(|known| known.holds(fingerprint, quote.clock()));
    let followed = follow(log, known, quote, references.bank());
    let followed = followed
        .map_err(|finding| findings.push(finding.at_pcr(IMA)))
        .ok()?;
    if followed.replay.hashing() == TemplateHashing::PaddedSha1 {
        let detail = "two entries of one SHA-1 are not told apart; run Linux 5.8 or later";
        findings.push(Finding::new(Reason::RuntimeSha1, detail).at_pcr(IMA));
    }
    if let Some(list) = &followed.list {
        let proven = list.entries().take(followed.until).skip(followed.from);
        judge_entries(proven, followed.first, quote, accepted, findings);
        name_unproven(list.entries().skip(followed.from), followed.first, findings);
    }
    Some(RuntimeRecord {
        replay: followed.replay,
        position: RuntimePosition::new(
            followed.first.saturating_add(followed.until as u64),
            quote.clock(),
        ),
        references: *fingerprint,
    })
}

/// A list that leads to the quoted value.
struct Followed<'l> {
    /// The list; none where nothing was measured since the last one.
    list: Option<ImaLog<'l>>,
    /// Number of its first entry since the boot.
    first: u64,
    /// Entries of it that were judged before.
    from: usize,
    /// Entries of it that lead to the quoted value. Those behind were measured after the quote, and are for the next one.
    until: usize,
    replay: ImaReplay,
}

fn follow<'l>(
    log: Option<&RuntimeLog<'l>>,
    known: Option<&RuntimeRecord>,
    quote: &VerifiedQuote,
    bank: HashAlg,
) -> Result<Followed<'l>, Finding> {
    let quoted = quote.pcrs().value(bank, IMA);
    let quoted = quoted.ok_or_else(|| Finding::pcr_not_quoted(IMA, bank))?;
    let Some(log) = log else {
        return match known.filter(|known| known.replay.value() == quoted) {
            Some(known) => Ok(Followed {
                list: None,
                first: known.position.entries,
                from: 0,
                until: 0,
                replay: known.replay,
            }),
            None => Err(Finding::new(
                Reason::RuntimeLogMissing,
                "send the whole binary_runtime_measurements",
            )),
        };
    };
    let list = ImaLog::parse(log.entries)
        .map_err(|error| Finding::new(Reason::RuntimeLogMalformed, error.to_string()))?;
    let (from, starts) = starts(log, known, bank)?;
    if log.first == 0 {
        measured_anything(&list, quoted)?;
    }
    let (until, replay) = starts
        .into_iter()
        .flatten()
        .find_map(|start| reach(&list, from, start, quoted))
        .ok_or_else(|| mismatch(&list, log.first, quoted))?;
    Ok(Followed {
        list: Some(list),
        first: log.first,
        from,
        until,
        replay,
    })
}

/// How many of the list's entries were judged before, and where to start: at the boot, hashed in either way, or at what is known.
fn starts(
    log: &RuntimeLog<'_>,
    known: Option<&RuntimeRecord>,
    bank: HashAlg,
) -> Result<(usize, [Option<ImaReplay>; 2]), Finding> {
    if log.first == 0 {
        let start = |hashing| Some(ImaReplay::new(bank, hashing));
        return Ok((0, TemplateHashing::ALL.map(start)));
    }
    let judged = known.and_then(|known| {
        let again = known.position.entries.checked_sub(log.first)?;
        Some((usize::try_from(again).ok()?, [Some(known.replay), None]))
    });
    judged.ok_or_else(|| {
        let detail = format!(
            "found it to begin with entry {}, expected it to begin with entry {} at most, up to which this boot's were judged",
            log.first,
            known.map_or(0, |known| known.position.entries)
        );
        Finding::new(Reason::RuntimeLogHole, detail)
    })
}

/// An empty PCR proves no entry, and no entry proves nothing.
fn measured_anything(list: &ImaLog<'_>, quoted: &Digest) -> Result<(), Finding> {
    if *quoted != Digest::zero(quoted.alg()) {
        return Ok(());
    }
    Err(match list.len() {
        0 => Finding::new(
            Reason::ImaInactive,
            "boot the kernel with an IMA policy (ima_policy=tcb, or your own)",
        ),
        entries => {
            let detail = format!(
                "{entries} entries; the kernel found no TPM when IMA started: build its TPM driver in"
            );
            Finding::new(Reason::ImaBypass, detail)
        }
    })
}

/// The number of entries from the list's beginning that lead from a start to the quoted value.
fn reach(list: &ImaLog<'_>, from: usize, start: ImaReplay, quoted: &Digest) -> Option<(usize, ImaReplay)> {
    let (mut replay, mut until) = (start, from);
    let ours = list.entries().skip(from).filter(|entry| entry.pcr == IMA);
    let reached = replay.reach(ours.inspect(|entry| until = entry.index + 1), quoted);
    reached.then_some((until, replay))
}

fn mismatch(list: &ImaLog<'_>, first: u64, quoted: &Digest) -> Finding {
    let altered = list.first_altered().map(|entry| entry.index);
    let what = match altered {
        Some(index) => format!(
            "entry {} is not what the TPM was given",
            first.saturating_add(index as u64)
        ),
        None => "it is of another boot, was cut, or lost entries".to_owned(),
    };
    let detail = format!(
        "expected {quoted:?}, as quoted, found no beginning of its {} entries that leads there: {what}",
        list.len()
    );
    Finding::new(Reason::RuntimeLogMismatch, detail).at_event(altered)
}
