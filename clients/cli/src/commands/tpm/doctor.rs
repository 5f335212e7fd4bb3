//! `tpm doctor`.

use crate::args::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Answer;
use crate::style::Style;
use crate::tpm_access;
use alcub3_tpm::TpmError;
use alcub3_tpm::doctor::{Diagnosis, Finding, Severity};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Looks at the chip, or at why there is none.
pub(crate) fn run(context: &Context) -> Result<Answer, CliError> {
    let opened = tpm_access::open(context.tpm_spec())
        .and_then(|tpm| tpm_access::run(&tpm, |chip| Ok(Diagnosis::of_chip(chip))));
    let (exit, diagnosis) = match opened {
        Ok(diagnosis) => (Exit::verdict(diagnosis.is_healthy()), diagnosis),
        Err(CliError::Tpm(TpmError::Open(error) | TpmError::Transport { source: error, .. })) => {
            (Exit::Unavailable, Diagnosis::of_unopened(&error))
        }
        Err(error) => return Err(error),
    };
    let tpm = context.tpm_spec().to_string();
    let findings: Vec<Value> = diagnosis.findings.iter().map(finding_json).collect();
    let json = json!({"tpm": tpm, "healthy": exit == Exit::Yes, "findings": findings});
    Ok(Answer::with(exit, json, text(&tpm, &diagnosis, context.style())))
}

fn finding_json(finding: &Finding) -> Value {
    json!({
        "severity": finding.severity.name(), "code": finding.code, "what": finding.what, "why": finding.why,
        "remedy": finding.remedy,
    })
}

fn text(tpm: &str, diagnosis: &Diagnosis, style: Style) -> String {
    let count = |severity| {
        diagnosis
            .findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    };
    let [faults, warnings, notes] = [Severity::Fault, Severity::Warning, Severity::Note].map(count);
    let summary = format!("{tpm}: {faults} faults, {warnings} warnings, {notes} notes");
    let mut text = match (faults, warnings) {
        (0, 0) => style.good(&summary),
        (0, _) => style.warn(&summary),
        _ => style.bad(&summary),
    };
    text.push('\n');
    for finding in &diagnosis.findings {
        let severity = match finding.severity {
            Severity::Fault => style.bad("fault  "),
            Severity::Warning => style.warn("warning"),
            Severity::Note => style.dim("note   "),
        };
        let _ = writeln!(
            text,
            "\n{severity}  {} {}",
            finding.what,
            style.dim(&format!("[{}]", finding.code))
        );
        let _ = writeln!(
            text,
            "         why: {}\n         do:  {}",
            finding.why, finding.remedy
        );
    }
    text
}
