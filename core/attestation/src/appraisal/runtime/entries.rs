//! Entries that a quote proves, against the references.

use crate::appraisal::reason::{Finding, Reason};
use crate::appraisal::reference::{BOOT_AGGREGATE, RuntimeReferences, Standing, Violations};
use crate::event_log::describe::hex;
use crate::ima::Entry;
use crate::quote::VerifiedQuote;
use alcub3_crypto::HashAlg;
use alcub3_trust_model::pcr_map::{BOOT, IMA};

/// Findings of one kind that are named; the rest is counted.
const NAMED: usize = 8;
/// The boot PCRs in the aggregate of SHA-1; the other algorithms' is over all of [`BOOT`] (`ima_calc_boot_aggregate_tfm`).
const SHA1_AGGREGATE: core::ops::RangeInclusive<u8> = 0..=7;

/// Judges entries that the quoted PCR proves.
pub(super) fn judge_entries<'e>(
    proven: impl Iterator<Item = Entry<'e>>,
    first: u64,
    quote: &VerifiedQuote,
    references: &RuntimeReferences,
    findings: &mut Vec<Finding>,
) {
    let mut kinds = [
        Named::new(Reason::BootAggregate),
        Named::new(Reason::BootAggregateUnchecked),
        Named::new(Reason::RuntimeFile),
        Named::new(match references.violations() {
            Violations::Refuse => Reason::RuntimeViolation,
            Violations::Note => Reason::RuntimeViolationNoted,
        }),
    ];
    let [aggregates, unchecked, files, violations] = &mut kinds;
    let mut proven = proven.filter(|entry| entry.pcr == IMA).peekable();
    if first == 0 && proven.peek().is_some_and(|entry| entry.name() != BOOT_AGGREGATE) {
        aggregates.add(0, || "the first entry is not boot_aggregate".to_owned());
    }
    for entry in proven {
        let name = || String::from_utf8_lossy(entry.name());
        if entry.is_violation() {
            if !references.excludes(entry.name()) {
                violations.add(entry.index, || name().into_owned());
            }
        } else if entry.name() == BOOT_AGGREGATE {
            match Aggregate::of(&entry, quote) {
                Aggregate::Quoted => {}
                Aggregate::Unchecked(bank) => {
                    unchecked.add(entry.index, || format!("it is of the {} bank", bank.name()));
                }
                Aggregate::Wrong(what) => aggregates.add(entry.index, || what),
            }
        } else {
            match references.standing(&entry) {
                Standing::Good => {}
                Standing::UnknownName => files.add(entry.index, || format!("{} has no reference", name())),
                Standing::OtherDigest => files.add(entry.index, || {
                    format!(
                        "{} has another digest than its reference: {}",
                        name(),
                        digest_of(&entry)
                    )
                }),
            }
        }
    }
    findings.extend(kinds.into_iter().flat_map(|kind| kind.into_findings(first)));
}

/// What an aggregate is to the quoted boot PCRs.
enum Aggregate {
    /// Theirs.
    Quoted,
    /// Of a bank that was not quoted.
    Unchecked(HashAlg),
    /// Another boot's, or none.
    Wrong(String),
}

impl Aggregate {
    fn of(entry: &Entry<'_>, quote: &VerifiedQuote) -> Self {
        let Some(digest) = entry.file_digest() else {
            return Self::Wrong("boot_aggregate has no digest".to_owned());
        };
        if digest.digest.iter().all(|byte| *byte == 0) {
            return Self::Wrong("boot_aggregate is empty: IMA had no TPM when it started".to_owned());
        }
        let Some(bank) = HashAlg::from_name(digest.algorithm) else {
            return Self::Wrong(format!("boot_aggregate is of the unknown {}", digest.algorithm));
        };
        let pcrs = if bank == HashAlg::Sha1 {
            SHA1_AGGREGATE
        } else {
            BOOT
        };
        let mut hasher = bank.hasher();
        for pcr in pcrs {
            let Some(value) = quote.pcrs().value(bank, pcr) else {
                return Self::Unchecked(bank);
            };
            hasher.update(value.as_bytes());
        }
        if hasher.finish().as_bytes() == digest.digest {
            Self::Quoted
        } else {
            Self::Wrong(
                "boot_aggregate is not that of the quoted boot PCRs: the list is of another boot".to_owned(),
            )
        }
    }
}

fn digest_of(entry: &Entry<'_>) -> String {
    entry.file_digest().map_or_else(String::new, |digest| {
        format!("{}:{}", digest.algorithm, hex(digest.digest))
    })
}

/// Findings of one kind: the first few with their entries, the others counted.
struct Named {
    reason: Reason,
    named: Vec<(usize, String)>,
    more: usize,
}

impl Named {
    const fn new(reason: Reason) -> Self {
        Self {
            reason,
            named: Vec::new(),
            more: 0,
        }
    }

    fn add(&mut self, entry: usize, detail: impl FnOnce() -> String) {
        if self.named.len() < NAMED {
            self.named.push((entry, detail()));
        } else {
            self.more += 1;
        }
    }

    fn into_findings(self, first: u64) -> impl Iterator<Item = Finding> {
        let Self { reason, named, more } = self;
        let rest = (more > 0).then(|| Finding::new(reason, format!("and {more} more")).at_pcr(IMA));
        let named = named.into_iter().map(move |(entry, detail)| {
            let number = usize::try_from(first).unwrap_or(usize::MAX).saturating_add(entry);
            Finding::new(reason, format!("entry {number}: {detail}"))
                .at_pcr(IMA)
                .at_event(Some(number))
        });
        named.chain(rest)
    }
}
