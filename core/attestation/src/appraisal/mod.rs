//! Judging evidence: quote, boot log, agent's log, what the running system measured, state, clock and sequence against a policy.
//!
//! [`appraise`] always answers with a [`Verdict`]: untrusted is a result with reasons, not an error. A verdict is
//! trusted only when nothing of severity [`Severity::Untrusted`] was found, and only an appraisal makes one.

mod agent_log;
mod asked;
mod boot;
mod check;
mod content;
mod judged;
mod policy;
mod reason;
mod record;
mod reference;
mod registers;
mod remedy;
mod report;
mod rules;
mod runtime;
mod state;
mod stop_by_epoch;
mod verdict;

pub use asked::{Asked, MissionScope};
pub use boot::BootRecord;
pub use judged::Judged;
pub(crate) use judged::{Facts, judge_enrolled_tier};
pub use policy::{LastSeen, Policy};
pub use reason::{Finding, Reason, Severity};
pub use record::PlatformRecord;
pub(crate) use reference::unhex;
pub use reference::{
    Area, Changed, FileChange, GoldenError, Listed, PcrChange, ReferenceDifferences, ReferenceError,
    ReferenceReport, ReferenceValues, Rule, RuleReport, RuntimeReferences, StateReferences, Violations,
    what_is_in,
};
pub use registers::RegisterRecord;
pub use remedy::ExplainedFinding;
pub use report::{AttestedReport, VerdictReport};
pub use rules::{
    AppraisalPolicy, AppraisalPolicyError, ClassInWords, JudgedFacts, LevelInWords, OriginKind, RuleInForce,
};
pub use runtime::RuntimeRecord;
pub(crate) use state::StateRule;
pub use verdict::{Attested, Verdict};

use crate::evidence::RuntimeLog;
use crate::quote::VerifiedQuote;
use alcub3_trust_model::pcr_map::BOOT;
use check::Check;

/// Judges evidence at `now_ms` (UTC).
#[must_use]
pub fn appraise(evidence: &[u8], policy: &Policy<'_>, now_ms: u64) -> Verdict {
    let mut check = Check::new(policy, now_ms);
    let (attested, records) = check.run(evidence).unzip();
    Verdict::new(
        check.findings,
        attested,
        records.unwrap_or_default(),
        policy.asked,
        now_ms,
    )
}

/// Judges what a quote says of the platform that made it, whoever asked for it and with whatever software: do the logs explain
/// it, and is what they say good? Nothing found is good. Of robot, state and freshness it says nothing.
#[must_use]
pub fn appraise_platform(
    quote: &VerifiedQuote,
    uefi_log: &[u8],
    runtime_log: Option<&RuntimeLog<'_>>,
    references: &ReferenceValues,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for pcr in BOOT.filter(|pcr| quote.pcrs().value(references.bank(), *pcr).is_none()) {
        findings.push(Finding::pcr_not_quoted(pcr, references.bank()));
    }
    boot::judge(uefi_log, quote.pcrs(), references, &mut findings);
    runtime::judge(runtime_log, None, quote, references, &mut findings);
    findings
}
