//! `audit export`: entries as JSON Lines, ours or those of the Open Cybersecurity Schema Framework (OCSF 1.1).

use super::{Reader, to_json};
use crate::commands::files;
use crate::error::CliError;
use crate::output::Answer;
use alcub3_agent::AuditReader;
use alcub3_audit_log::{Entry, EntryKind, Outcome};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Arguments of `audit export`.
#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// How entries are written
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Format,
    #[command(flatten)]
    reader: Reader,
    /// Entries from this index on
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    from: u64,
    /// Where they go [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// How entries are written.
#[derive(Copy, Clone, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Format {
    /// One JSON object a line, as `audit show --json` has them
    Jsonl,
    /// One OCSF event a line
    Ocsf,
}

pub(super) fn run(arguments: &Export, log: &AuditReader) -> Result<Answer, CliError> {
    let reader = arguments.reader.labels();
    let leaves = log.leaves()?;
    let (mut lines, mut written, mut withheld) = (String::new(), 0u64, 0u64);
    for (index, leaf) in (0u64..)
        .zip(&leaves)
        .filter(|(index, _)| *index >= arguments.from)
    {
        let entry = Entry::from_canonical(leaf).ok();
        let Some(entry) = entry.filter(|entry| entry.is_readable_by(&reader)) else {
            withheld = withheld.saturating_add(1);
            continue;
        };
        let line = match arguments.format {
            Format::Jsonl => to_json(index, Some(&entry)),
            Format::Ocsf => ocsf(index, &entry),
        };
        lines.push_str(&line.to_string());
        lines.push('\n');
        written = written.saturating_add(1);
    }
    let json = json!({"entries": written, "withheld": withheld, "out": arguments.out});
    match &arguments.out {
        Some(path) => {
            files::write_private(path, lines.as_bytes())?;
            let text = format!(
                "{written} entries: {}; {withheld} are above the label",
                path.display()
            );
            Ok(Answer::done(json, text))
        }
        None => Ok(Answer::bytes(json, lines.into_bytes())),
    }
}

const APPLICATION_LIFECYCLE: u64 = 6002;
const ENTITY_MANAGEMENT: u64 = 3004;
const OTHER: u64 = 99;

/// The event of an entry. Its class and activity are OCSF's where it has one; what it has no field for is in `unmapped`.
fn ocsf(index: u64, entry: &Entry) -> Value {
    let (class, activity) = class_of(entry.kind);
    let (status, severity) = graded(entry);
    let mut event = json!({
        "class_uid": class,
        "category_uid": class / 1000,
        "activity_id": activity,
        "activity_name": entry.kind.name(),
        "type_uid": class.saturating_mul(100).saturating_add(activity),
        "time": entry.time_ms,
        "severity_id": severity,
        "status_id": status,
        "status": entry.outcome.name(),
        "status_detail": entry.reasons.join(","),
        "message": format!("{}: {}", entry.kind.name(), entry.subject),
        "metadata": {
            "version": "1.1.0",
            "uid": index.to_string(),
            "sequence": index,
            "log_name": "audit",
            "product": {"name": "alcub3", "vendor_name": "alcub3"},
        },
        "unmapped": to_json(index, Some(entry)),
    });
    let robot = entry.robot.as_ref().map_or("authority", |robot| robot.as_str());
    let (field, object) = if class == APPLICATION_LIFECYCLE {
        let app = json!({"name": "alcub3", "vendor_name": "alcub3", "uid": robot});
        ("app", app)
    } else {
        let entity = json!({"name": robot, "type": entry.kind.name(), "uid": entry.subject});
        ("entity", entity)
    };
    if let Some(fields) = event.as_object_mut() {
        fields.insert(field.to_owned(), object);
    }
    event
}

/// OCSF's class and activity.
const fn class_of(kind: EntryKind) -> (u64, u64) {
    match kind {
        EntryKind::Provision => (APPLICATION_LIFECYCLE, 1),
        EntryKind::Purge => (APPLICATION_LIFECYCLE, 2),
        EntryKind::Start | EntryKind::Rearm => (APPLICATION_LIFECYCLE, 3),
        EntryKind::Stop => (APPLICATION_LIFECYCLE, 4),
        EntryKind::Configuration => (ENTITY_MANAGEMENT, 3),
        EntryKind::Key | EntryKind::Seal => (ENTITY_MANAGEMENT, OTHER),
        EntryKind::Attest
        | EntryKind::MissionStart
        | EntryKind::MissionEnd
        | EntryKind::Command
        | EntryKind::Fault
        | EntryKind::Audit => (APPLICATION_LIFECYCLE, OTHER),
    }
}

/// OCSF's status and severity.
const fn graded(entry: &Entry) -> (u64, u64) {
    const INFORMATIONAL: u64 = 1;
    const MEDIUM: u64 = 3;
    const HIGH: u64 = 4;
    const CRITICAL: u64 = 5;
    let status = match entry.outcome {
        Outcome::Done => 1,
        Outcome::Refused | Outcome::Failed => 2,
        Outcome::Unconfirmed => 0,
    };
    let severity = match (entry.kind, entry.outcome) {
        (EntryKind::Stop, _) => CRITICAL,
        (EntryKind::Fault, _) | (EntryKind::Audit, Outcome::Refused) => HIGH,
        (_, Outcome::Done) => INFORMATIONAL,
        (_, Outcome::Refused | Outcome::Failed | Outcome::Unconfirmed) => MEDIUM,
    };
    (status, severity)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use alcub3_trust_model::BootId;

    #[test]
    fn every_kind_and_outcome_is_an_ocsf_event_with_what_ocsf_requires() {
        for kind in EntryKind::ALL {
            for outcome in [
                Outcome::Done,
                Outcome::Refused,
                Outcome::Failed,
                Outcome::Unconfirmed,
            ] {
                let entry = Entry {
                    robot: None,
                    boot: BootId::new([1; 16]),
                    time_ms: 1_790_000_000_000,
                    kind,
                    subject: "a test".to_owned(),
                    outcome,
                    reasons: vec!["a-reason".to_owned()],
                    steps: Vec::new(),
                    object: None,
                    label: None,
                    within_ms: None,
                };
                let event = ocsf(7, &entry);
                let number = |field: &str| event[field].as_u64().unwrap();
                assert_eq!(number("category_uid"), number("class_uid") / 1000);
                assert_eq!(
                    number("type_uid"),
                    number("class_uid") * 100 + number("activity_id")
                );
                assert!((1..=5).contains(&number("severity_id")) && number("status_id") <= 2);
                assert!(event["metadata"]["version"].is_string() && event["metadata"]["product"].is_object());
                let object = if number("class_uid") == APPLICATION_LIFECYCLE {
                    "app"
                } else {
                    "entity"
                };
                assert!(event[object]["name"].is_string());
                assert_eq!(event["time"], entry.time_ms);
            }
        }
    }
}
