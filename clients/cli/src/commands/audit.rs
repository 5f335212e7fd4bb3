//! `audit`: what a robot, or the authority, has on record.

use super::files;
use crate::args::Context;
use crate::clock::written;
use crate::error::CliError;
use crate::output::{Answer, table};
use alcub3_agent::AuditFile;
use alcub3_audit_log::{Entry, NodeHash, Outcome, Piece, Tree, pieces};
use serde_json::{Value, json};
use std::path::Path;

/// The longest log that is read, in bytes.
const LIMIT: u64 = 1 << 30;

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum AuditCommand {
    /// The entries of this robot's log; `authority audit` has those of the authority's
    Show(Selection),
}

/// Which entries are shown.
#[derive(Debug, clap::Args)]
pub(crate) struct Selection {
    /// Only the last so many
    #[arg(long, value_name = "COUNT")]
    last: Option<usize>,
    /// Only those that were refused
    #[arg(long)]
    refused: bool,
}

/// Runs the command. It needs no TPM and waits for nobody who has the robot open.
pub(crate) fn run(command: &AuditCommand, context: &Context) -> Result<Answer, CliError> {
    let AuditCommand::Show(selection) = command;
    show(&AuditFile::path(&context.state_dir()?), selection)
}

/// What the log in a file says. An entry that is being written is not there yet.
pub(crate) fn show(path: &Path, selection: &Selection) -> Result<Answer, CliError> {
    let content = files::read(path, "an audit log", LIMIT)?;
    let mut tree = Tree::new();
    let (mut shown, mut size) = (Vec::new(), 0u64);
    for piece in pieces(&content) {
        let index = size;
        size = size.saturating_add(1);
        match piece {
            Piece::Entry { bytes, entry } => {
                tree.append(bytes);
                if !selection.refused || entry.outcome == Outcome::Refused {
                    shown.push((index, Some(*entry)));
                }
            }
            Piece::Damaged(bytes) => {
                tree.append(bytes);
                shown.push((index, None));
            }
        }
    }
    let skipped = selection.last.map_or(0, |last| shown.len().saturating_sub(last));
    shown.drain(..skipped);
    Ok(answer(size, &tree.root(), &shown))
}

fn answer(size: u64, root: &NodeHash, shown: &[(u64, Option<Entry>)]) -> Answer {
    let entries: Vec<Value> = shown
        .iter()
        .map(|(index, entry)| to_json(*index, entry.as_ref()))
        .collect();
    let root = hex::encode(root.as_bytes());
    let json = json!({"size": size, "root": root, "entries": entries});
    let rows = shown.iter().map(|(index, entry)| to_row(*index, entry.as_ref()));
    let mut text = table(
        [
            "",
            "when (UTC)",
            "about",
            "robot",
            "outcome",
            "subject",
            "reasons",
        ],
        rows,
    );
    text.push_str(&format!("{size} entries, root {root}\n"));
    Answer::done(json, text)
}

fn to_json(index: u64, entry: Option<&Entry>) -> Value {
    let Some(entry) = entry else {
        return json!({"index": index, "damaged": true});
    };
    let steps: Vec<Value> = entry
        .steps
        .iter()
        .map(|step| json!({"step": step.name, "after_us": step.after_us}))
        .collect();
    json!({
        "index": index, "damaged": false, "robot": entry.robot, "run": entry.boot, "at_utc_ms": entry.time_ms,
        "kind": entry.kind.name(), "subject": entry.subject, "outcome": entry.outcome.name(), "reasons": entry.reasons,
        "steps": steps, "object": entry.object.as_ref().map(alcub3_crypto::Digest::to_hex),
    })
}

fn to_row(index: u64, entry: Option<&Entry>) -> [String; 7] {
    let Some(entry) = entry else {
        return [
            index.to_string(),
            String::new(),
            String::new(),
            String::new(),
            "damaged".to_owned(),
            "the file is damaged here".to_owned(),
            String::new(),
        ];
    };
    [
        index.to_string(),
        written(entry.time_ms),
        entry.kind.name().to_owned(),
        entry.robot.as_ref().map_or_else(String::new, ToString::to_string),
        entry.outcome.name().to_owned(),
        // A subject may come from a message that was refused.
        entry.subject.escape_debug().to_string(),
        entry.reasons.join(", "),
    ]
}
