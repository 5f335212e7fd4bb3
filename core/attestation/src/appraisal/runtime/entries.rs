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
    let mut kinds = Kinds::new(references.violations());
    let mut proven = proven.filter(|entry| entry.pcr == IMA).peekable();
    if first == 0
        && let Some(entry) = proven.next_if(|entry| entry.name() == BOOT_AGGREGATE && !entry.is_violation())
    {
        kinds.boot(&entry, quote);
    } else if first == 0 && proven.peek().is_some() {
        kinds.aggregates.add(0, || {
            "found another first entry, expected boot_aggregate".to_owned()
        });
    }
    proven.for_each(|entry| kinds.judge(&entry, quote, references));
    findings.extend(kinds.into_findings(first));
}

/// Names entries that were measured into another PCR than the quoted one: no reference is held against them, and nothing proves
/// that there are no more of them.
pub(super) fn name_unproven<'e>(
    entries: impl Iterator<Item = Entry<'e>>,
    first: u64,
    findings: &mut Vec<Finding>,
) {
    let mut others = Named::new(Reason::RuntimeOtherPcr);
    for entry in entries.filter(|entry| entry.pcr != IMA) {
        others.add(entry.index, || {
            format!(
                "found {} in PCR {}, expected in PCR {IMA}",
                entry.name_for_people(),
                entry.pcr
            )
        });
    }
    findings.extend(others.into_findings(first));
}

/// What there is to find in entries.
struct Kinds {
    aggregates: Named,
    unchecked: Named,
    files: Named,
    violations: Named,
}

impl Kinds {
    const fn new(violations: Violations) -> Self {
        Self {
            aggregates: Named::new(Reason::BootAggregate),
            unchecked: Named::new(Reason::BootAggregateUnchecked),
            files: Named::new(Reason::RuntimeFile),
            violations: Named::new(match violations {
                Violations::Refuse => Reason::RuntimeViolation,
                Violations::Note => Reason::RuntimeViolationNoted,
            }),
        }
    }

    /// The first entry of a boot, which the kernel makes before anything of the system can be measured.
    fn boot(&mut self, entry: &Entry<'_>, quote: &VerifiedQuote) {
        match Aggregate::of(entry, quote) {
            Aggregate::Quoted => {}
            Aggregate::Unchecked(bank) => self
                .unchecked
                .add(entry.index, || format!("it is of the {} bank", bank.name())),
            Aggregate::Wrong(what) => self.aggregates.add(entry.index, || what),
        }
    }

    fn judge(&mut self, entry: &Entry<'_>, quote: &VerifiedQuote, references: &RuntimeReferences) {
        let name = || entry.name_for_people();
        if entry.is_violation() {
            // A violation extends the same ones whatever it names: no name that a list gives it is proven, so none excludes it.
            let unproven = || {
                format!(
                    "found {} (the name is not proven) changed while it was measured or in use, expected a digest of it",
                    name()
                )
            };
            self.violations.add(entry.index, unproven);
            return;
        }
        // A kernel that was started by another (kexec) enters it once more. Any other file can be called so.
        if entry.name() == BOOT_AGGREGATE && matches!(Aggregate::of(entry, quote), Aggregate::Quoted) {
            return;
        }
        match references.standing(entry) {
            Standing::Good => {}
            Standing::UnknownName => self.files.add(entry.index, || {
                let found = digest_of(entry);
                format!(
                    "{} has no reference: found {found}, expected only files that have one",
                    name()
                )
            }),
            Standing::OtherDigest => self.files.add(entry.index, || {
                let (found, expected) = (digest_of(entry), references.accepted(entry.name()).join(" or "));
                format!(
                    "{} has another digest than its reference: found {found}, expected {expected}",
                    name()
                )
            }),
        }
    }

    fn into_findings(self, first: u64) -> impl Iterator<Item = Finding> {
        let kinds = [self.aggregates, self.unchecked, self.files, self.violations];
        kinds.into_iter().flat_map(move |kind| kind.into_findings(first))
    }
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
        let expected = hasher.finish();
        if expected.as_bytes() == digest.digest {
            return Self::Quoted;
        }
        Self::Wrong(format!(
            "found boot_aggregate {}, expected {expected:?}, which is that of the quoted boot PCRs: the list is of another boot",
            digest_of(entry)
        ))
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
