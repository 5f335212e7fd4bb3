//! `authority backup`: what robots' keys are duplicated to, before two persons approve it and afterwards.

use crate::commands::key;
use crate::error::CliError;
use crate::output::{Answer, table};
use crate::parties::AuthorityArgs;
use alcub3_server::{BackupApproval, BackupParent, ParentChip};
use alcub3_trust_model::{Level, RobotId};
use serde_json::{Value, json};
use std::path::PathBuf;

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum BackupCommand {
    /// Judge what a key is to be duplicated to, as `key backup duplicate` does before the approvers vote
    Check(Check),
    /// List the duplications that two persons approved
    List(List),
}

/// Arguments of `authority backup check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The recovery set, or the admission of a recovery TPM
    #[arg(value_name = "FILE")]
    to: PathBuf,
    /// Whose key is to go there
    #[arg(long, value_name = "ROBOT")]
    robot: RobotId,
    /// The key's level
    #[arg(long, value_name = "LEVEL")]
    level: Level,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Arguments of `authority backup list`.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Runs the command.
pub(crate) fn run(command: &BackupCommand) -> Result<Answer, CliError> {
    match command {
        BackupCommand::Check(arguments) => check(arguments),
        BackupCommand::List(arguments) => list(arguments),
    }
}

fn check(arguments: &Check) -> Result<Answer, CliError> {
    let to = key::read_destination(&arguments.to)?;
    let authority = arguments.authority.open_records()?;
    let (name, parent) = authority.judge_backup_parent(&arguments.robot, arguments.level, &to.destination)?;
    let name = name.to_hex();
    let text = format!("{}\nparent: {name}", in_words(&parent));
    Ok(Answer::done(
        json!({"parent_name": name, "parent": to_json(&parent)}),
        text,
    ))
}

fn list(arguments: &List) -> Result<Answer, CliError> {
    let approvals = arguments.authority.open_records()?.backups()?;
    let row = |approval: &BackupApproval| {
        let subject = &approval.subject;
        let approvers: Vec<&str> = approval.approvers.iter().map(|id| id.as_str()).collect();
        [
            subject.robot.to_string(),
            subject.label.clone(),
            subject.level.to_string(),
            in_words(&approval.parent),
            approvers.join(", "),
        ]
    };
    let text = table(
        ["robot", "key", "level", "duplicated to", "approved by"],
        approvals.iter().map(row),
    );
    let json = |approval: &BackupApproval| {
        let subject = &approval.subject;
        json!({
            "robot": subject.robot, "label": subject.label, "level": subject.level, "key": subject.key.to_hex(),
            "parent_name": approval.parent_name.to_hex(), "parent": to_json(&approval.parent),
            "approvers": approval.approvers, "approved_at_ms": approval.approved_at_ms,
        })
    };
    let approvals: Vec<Value> = approvals.iter().map(json).collect();
    Ok(Answer::done(json!({ "approved": approvals }), text))
}

/// What a parent is, for people.
pub(crate) fn in_words(parent: &BackupParent) -> String {
    match parent {
        BackupParent::Chip(chip) => format!("the recovery TPM of {}", chip_in_words(chip)),
        BackupParent::Set { set, needed, holders } => {
            let holders: Vec<String> = holders.iter().map(chip_in_words).collect();
            format!(
                "the recovery set {set}: any {needed} of the chips of {}",
                holders.join(", ")
            )
        }
    }
}

fn chip_in_words(chip: &ParentChip) -> String {
    let ek = chip.endorsement_key.to_hex();
    format!(
        "{} ({}, {}…)",
        chip.operator,
        chip.tier.name(),
        ek.get(..16).unwrap_or(&ek)
    )
}

/// What a parent is, as JSON.
pub(crate) fn to_json(parent: &BackupParent) -> Value {
    let chip = |chip: &ParentChip| {
        json!({
            "operator": chip.operator, "tpm": chip.tier.name(), "endorsement_key": chip.endorsement_key.to_hex(),
        })
    };
    match parent {
        BackupParent::Chip(alone) => json!({"kind": "chip", "chip": chip(alone)}),
        BackupParent::Set { set, needed, holders } => json!({
            "kind": "set", "set": set, "needed": needed, "holders": holders.iter().map(chip).collect::<Vec<_>>(),
        }),
    }
}
