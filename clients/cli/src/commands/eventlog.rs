//! `eventlog`: what a UEFI log says the PCRs are.

use super::files;
use crate::args::Context;
use crate::error::CliError;
use crate::output::{Answer, table};
use crate::style::Style;
use alcub3_attestation::event_log::boot_facts::{BootFacts, ClaimState, MeasuredText};
use alcub3_attestation::event_log::{EventLog, MAX_LOG_BYTES, ReplayReport};
use alcub3_crypto::HashAlg;
use serde_json::json;
use std::fmt::Write as _;
use std::path::PathBuf;

/// GRUB's word before a kernel's command line, and the PCR where systemd's stub measures one.
const KERNEL_COMMAND_LINE: &str = "kernel_cmdline: ";
const STUB_PCR: u8 = 12;

/// Arguments of `eventlog`.
#[derive(Debug, clap::Args)]
pub(crate) struct Eventlog {
    /// The binary log, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// List the events as well (the JSON document always has them)
    #[arg(long)]
    events: bool,
    /// Say what the log shows of the boot: secure boot and its databases, loaders, option ROMs, command lines, partitions, and
    /// what references can ask for (`claims`)
    #[arg(long)]
    facts: bool,
}

/// Parses, replays and reports.
pub(crate) fn run(arguments: &Eventlog, context: &Context) -> Result<Answer, CliError> {
    let limit = u64::try_from(MAX_LOG_BYTES).unwrap_or(u64::MAX);
    let bytes = files::read(&arguments.file, "an event log", limit)?;
    let failed = |source| CliError::EventLog {
        path: arguments.file.clone(),
        source,
    };
    let log = EventLog::parse(&bytes).map_err(&failed)?;
    let report = ReplayReport::of(&log).map_err(failed)?;
    let mut json = serde_json::to_value(&report).map_err(|source| CliError::Json { source })?;
    let mut text = text(&report, arguments.events, context.style());
    if arguments.facts
        && let Some((bank, facts)) = facts(&log)
    {
        if let Some(fields) = json.as_object_mut() {
            let claims = facts.claims();
            fields.insert(
                "facts".into(),
                json!({"bank": bank.name(), "boot": facts, "claims": claims}),
            );
        }
        text.push_str(&facts_in_words(&facts, context.style()));
    }
    Ok(Answer::done(json, text))
}

/// The facts in the strongest bank that the log has.
fn facts(log: &EventLog<'_>) -> Option<(HashAlg, BootFacts)> {
    let bank = log.banks().max_by_key(|bank| bank.size())?;
    Some((bank, BootFacts::of(log, bank)?))
}

fn facts_in_words(facts: &BootFacts, style: Style) -> String {
    let mut text = format!("\n{}\n", style.bold("boot"));
    let mut line = |what: &str, value: String| {
        let _ = writeln!(text, "{what:<16}  {value}");
    };
    line(
        "firmware",
        facts.firmware_version.clone().unwrap_or_else(|| "-".to_owned()),
    );
    for (name, database) in &facts.databases {
        line(name, format!("{} entries", database.entries.len()));
    }
    for image in &facts.option_roms {
        line("option ROM", image.digest.clone());
    }
    for image in &facts.boot_images {
        let path = image.path.as_deref().unwrap_or("no file in its device path");
        line("loaded", format!("{path}  {}", image.digest));
    }
    let is_of_kernel =
        |measured: &&MeasuredText| measured.text.starts_with(KERNEL_COMMAND_LINE) || measured.pcr == STUB_PCR;
    let of_kernel = facts.command_lines.iter().filter(is_of_kernel);
    for measured in of_kernel.clone() {
        line("command line", measured.text.clone());
    }
    let others = facts.command_lines.len() - of_kernel.count();
    if others > 0 {
        line(
            "other texts",
            format!("{others} of the boot loader, in the JSON document"),
        );
    }
    if let Some(table) = &facts.partitions {
        line(
            "disk",
            format!("{} with {} partitions", table.disk, table.partitions.len()),
        );
    }
    for fault in &facts.faults {
        let event = fault
            .event
            .map_or_else(String::new, |event| format!("event {event}, "));
        line(
            "fault",
            style.warn(&format!("{event}PCR {}: {}", fault.pcr, fault.what)),
        );
    }
    let _ = writeln!(text, "\n{}", style.bold("claims"));
    for claim in facts.claims() {
        let state = match claim.state {
            ClaimState::Shown => style.good("shown"),
            ClaimState::NotShown => style.dim("not shown"),
            ClaimState::Contradicted => style.warn("contradicted"),
        };
        let _ = writeln!(text, "{:<28}  {state}: {}", claim.name, claim.why);
    }
    text
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
