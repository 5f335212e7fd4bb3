//! `eventlog`: what a UEFI log says the PCRs are.

use super::files;
use crate::args::Context;
use crate::error::CliError;
use crate::output::{Answer, table};
use crate::style::Style;
use alcub3_attestation::event_log::{EventLog, MAX_LOG_BYTES, ReplayReport};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Arguments of `eventlog`.
#[derive(Debug, clap::Args)]
pub(crate) struct Eventlog {
    /// The binary log, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// List the events as well (the JSON document always has them)
    #[arg(long)]
    events: bool,
}

/// Parses, replays and reports.
pub(crate) fn run(arguments: &Eventlog, context: &Context) -> Result<Answer, CliError> {
    let limit = u64::try_from(MAX_LOG_BYTES).unwrap_or(u64::MAX);
    let bytes = files::read(&arguments.file, "an event log", limit)?;
    let failed = |source| CliError::EventLog {
        path: arguments.file.clone(),
        source,
    };
    let report = EventLog::parse(&bytes)
        .and_then(|log| ReplayReport::of(&log))
        .map_err(failed)?;
    let json = serde_json::to_value(&report).map_err(|source| CliError::Json { source })?;
    Ok(Answer::done(
        json,
        text(&report, arguments.events, context.style()),
    ))
}

fn text(report: &ReplayReport, events: bool, style: Style) -> String {
    let banks: Vec<_> = report.banks.keys().copied().collect();
    let mut text = format!(
        "{} events, format {}, banks {}\n",
        report.entries,
        report.format,
        banks.join(", ")
    );
    if !report.unsupported_banks.is_empty() {
        let line = format!(
            "not replayed, unknown algorithm: {}",
            report.unsupported_banks.join(", ")
        );
        let _ = writeln!(text, "{}", style.warn(&line));
    }
    if report.startup_locality != 0 {
        let _ = writeln!(text, "started at locality {}", report.startup_locality);
    }
    for (bank, values) in &report.banks {
        let _ = writeln!(text, "\n{}", style.bold(bank));
        let rows = values.iter().map(|(pcr, value)| [pcr.to_string(), value.clone()]);
        text.push_str(&table(["PCR", "value"], rows));
    }
    if events {
        let _ = writeln!(text, "\n{}", style.bold("events"));
        let rows = report.events.iter().map(|event| {
            let number = [event.index.to_string(), event.pcr.to_string()];
            let [index, pcr] = number;
            [
                index,
                pcr,
                event.event_type.clone(),
                event.data_bytes.to_string(),
                event.description.clone(),
            ]
        });
        text.push_str(&table(["#", "PCR", "type", "bytes", "what"], rows));
    }
    text
}
