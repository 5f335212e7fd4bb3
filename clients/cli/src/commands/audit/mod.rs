//! `audit`: what a robot, or the authority, has on record.

mod auditor;
mod export;
mod verify;

use super::files;
use crate::args::Context;
use crate::clock::written;
use crate::error::CliError;
use crate::output::{Answer, table};
use crate::parties;
use crate::robot_side::{Opened, RobotSide};
use alcub3_agent::AgentError;
use alcub3_agent::AuditReader;
use alcub3_audit_log::{Entry, NodeHash, Outcome, Tree, pieces};
use alcub3_trust_model::{Integrity, Labels, Level};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The longest log that is read, in bytes.
const LIMIT: u64 = 1 << 30;

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum AuditCommand {
    /// The entries of this robot's log; `authority audit` has those of the authority's
    Show(Selection),
    /// Make a checkpoint: the chip counts and signs the log's head, and the log's folder is one that stock tools can read
    Checkpoint(Checkpoint),
    /// Prove one entry: an auditor's bundle with that entry alone
    Prove(auditor::Prove),
    /// Cut an auditor's bundle: what his label dominates, and hashes of the rest
    Bundle(auditor::Bundle),
    /// Check a bundle without network or TPM; without one, this robot's log
    Verify(verify::Verify),
    /// Write entries as JSON Lines, ours or OCSF's for a SIEM
    Export(export::Export),
}

/// Arguments of `audit checkpoint`.
#[derive(Debug, clap::Args)]
pub(crate) struct Checkpoint {
    /// Write what leaves the robot to this file; the authority takes it with `authority checkpoint`
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// How many entries the head has that the authority holds
    #[arg(long, value_name = "COUNT")]
    held: Option<u64>,
}

/// Whom entries are for.
#[derive(Debug, clap::Args)]
pub(crate) struct Reader {
    /// What the reader is cleared for
    #[arg(long, value_name = "LEVEL", default_value = "UNCLASSIFIED")]
    level: Level,
    /// A compartment that he is in; may be repeated
    #[arg(long, value_name = "NAME", value_parser = marking)]
    compartment: Vec<alcub3_trust_model::Marking>,
    /// A dissemination control that he satisfies; may be repeated
    #[arg(long, value_name = "NAME", value_parser = marking)]
    dissemination: Vec<alcub3_trust_model::Marking>,
}

fn marking(text: &str) -> Result<alcub3_trust_model::Marking, String> {
    alcub3_trust_model::Marking::new(text).map_err(|error| error.to_string())
}

impl Reader {
    fn labels(&self) -> Labels {
        Labels {
            compartments: self.compartment.iter().cloned().collect(),
            dissemination: self.dissemination.iter().cloned().collect(),
            ..Labels::new(self.level, Integrity::Untrusted)
        }
    }
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

/// Runs the command. All but a checkpoint need no TPM and wait for nobody who has the robot open.
pub(crate) fn run(command: &AuditCommand, context: &Context) -> Result<Answer, CliError> {
    let reader = || Ok::<_, CliError>(AuditReader::new(&context.state_dir()?));
    match command {
        AuditCommand::Show(selection) => Ok(show_leaves(&reader()?.leaves()?, selection)),
        AuditCommand::Checkpoint(arguments) => checkpoint(arguments, context),
        AuditCommand::Prove(arguments) => auditor::prove(arguments, &reader()?),
        AuditCommand::Bundle(arguments) => auditor::bundle(arguments, &reader()?),
        AuditCommand::Verify(arguments) => verify::run(arguments, reader),
        AuditCommand::Export(arguments) => export::run(arguments, &reader()?),
    }
}

fn checkpoint(arguments: &Checkpoint, context: &Context) -> Result<Answer, CliError> {
    let report = match context.agent() {
        Some(agent) => agent.audit_report(arguments.held)?,
        None => parties::with_robot_as_it_is(context, |robot, _| {
            Opened::at_rest(robot).audit_report(arguments.held)
        })?,
    };
    let head = report.stated_head().ok_or(AgentError::NoCheckpoint)?;
    if let Some(path) = &arguments.report {
        files::write_private(path, &report.to_canonical())?;
    }
    let root = hex::encode(head.root().as_bytes());
    let json = json!({"log": head.origin(), "size": head.size(), "root": root, "key": report.key});
    let text = format!(
        "{} entries of {}, root {root}\nkey {}",
        head.size(),
        head.origin(),
        report.key
    );
    Ok(Answer::done(json, text))
}

/// What the log in a file says. An entry that is being written is not there yet.
pub(crate) fn show(path: &Path, selection: &Selection) -> Result<Answer, CliError> {
    let content = files::read(path, "an audit log", LIMIT)?;
    let leaves: Vec<Vec<u8>> = pieces(&content).map(|piece| piece.leaf().to_vec()).collect();
    Ok(show_leaves(&leaves, selection))
}

fn show_leaves(leaves: &[Vec<u8>], selection: &Selection) -> Answer {
    let mut tree = Tree::new();
    let mut shown = Vec::new();
    for leaf in leaves {
        let index = tree.append(leaf);
        match Entry::from_canonical(leaf) {
            Ok(entry) if selection.refused && entry.outcome != Outcome::Refused => {}
            Ok(entry) => shown.push((index, Some(entry))),
            Err(_) => shown.push((index, None)),
        }
    }
    let skipped = selection.last.map_or(0, |last| shown.len().saturating_sub(last));
    shown.drain(..skipped);
    answer(tree.size(), &tree.root(), &shown)
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
        "label": entry.label, "within_ms": entry.within_ms,
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
