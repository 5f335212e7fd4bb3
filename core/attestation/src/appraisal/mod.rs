//! Judging evidence: quote, boot log, agent's log, state, clock and sequence against a policy.
//!
//! [`appraise`] always answers with a [`Verdict`]: untrusted is a result with reasons, not an error. A verdict is
//! trusted only when nothing of severity [`Severity::Untrusted`] was found, and only an appraisal makes one.

mod agent_log;
mod boot;
mod check;
mod policy;
mod reason;
mod reference;
mod report;
mod verdict;

pub use boot::BootRecord;
pub use policy::{LastSeen, Policy};
pub use reason::{Finding, Reason, Severity};
pub use reference::{GoldenError, ReferenceError, ReferenceValues, Rule};
pub use report::{AttestedReport, VerdictReport};
pub use verdict::{Attested, Verdict};

use check::Check;

/// Judges evidence at `now_ms` (UTC).
#[must_use]
pub fn appraise(evidence: &[u8], policy: &Policy<'_>, now_ms: u64) -> Verdict {
    let mut check = Check::new(policy, now_ms);
    let (attested, boot) = check.run(evidence).unzip();
    Verdict::new(check.findings, attested, boot.flatten(), now_ms)
}
