//! What an appraisal found, for people: each reason with what was seen, and what to do about it.

use crate::style::Style;
use alcub3_attestation::appraisal::{Finding, Severity};
use std::fmt::Write as _;

/// One line for each finding, and below it what its reason means and what to do, where there is something to do.
pub(super) fn in_words(findings: &[Finding], style: Style) -> String {
    let mut text = String::new();
    for (at, finding) in findings.iter().enumerate() {
        let mark = match finding.severity {
            Severity::Untrusted => style.bad("untrusted"),
            Severity::Warning => style.warn("warning  "),
            Severity::Info => style.dim("note     "),
        };
        let place = place(finding);
        let _ = writeln!(
            text,
            "  {mark}  {}{place}: {}",
            finding.reason.code(),
            finding.detail
        );
        // Several of one reason have one remedy, at their end.
        let is_last = findings
            .get(at + 1)
            .is_none_or(|next| next.reason != finding.reason);
        let explained = finding.explained();
        if let Some(remedy) = explained.remedy.filter(|_| is_last) {
            let _ = writeln!(text, "             {}", style.dim(explained.meaning));
            let _ = writeln!(text, "             what to do: {remedy}");
        }
    }
    text
}

/// The certificate or the component that a finding is about.
fn place(finding: &Finding) -> String {
    match (finding.layer, &finding.component) {
        (Some(layer), _) => format!(" (certificate {layer})"),
        (_, Some(component)) => format!(" ({component})"),
        _ => String::new(),
    }
}

/// Findings as JSON, each with what its reason means and what to do.
pub(super) fn to_json(findings: &[Finding]) -> serde_json::Value {
    serde_json::json!(findings.iter().map(Finding::explained).collect::<Vec<_>>())
}
