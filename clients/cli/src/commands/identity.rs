//! `identity show`: who this robot is.

use super::files;
use crate::args::Context;
use crate::error::CliError;
use crate::output::{Answer, pairs};
use crate::{key_file, parties};
use alcub3_agent::Robot;
use serde_json::json;
use std::path::PathBuf;

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum IdentityCommand {
    /// The robot's names, keys and state
    Show(Show),
}

/// Arguments of `identity show`.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// Write the attestation key (TPM2B_PUBLIC) to this file as well, for those who check receipts and quotes
    #[arg(long, value_name = "FILE")]
    ak: Option<PathBuf>,
}

/// Opens the robot, which proves that its chip is the one that was provisioned.
pub(crate) fn run(command: &IdentityCommand, context: &Context) -> Result<Answer, CliError> {
    let IdentityCommand::Show(arguments) = command;
    parties::with_robot(context, |robot, _| show(robot, arguments, context))
}

fn show(robot: &Robot, arguments: &Show, context: &Context) -> Result<Answer, CliError> {
    let record = robot.keys().record();
    if let Some(path) = &arguments.ak {
        files::write_private(path, &record.attestation_key.to_tpm2b())?;
    }
    let pem = key_file::public_pem(&record.identity.verifying_key().map_err(CliError::Crypto)?);
    let levels: Vec<String> = record
        .parents
        .iter()
        .map(|parent| parent.level.to_string())
        .collect();
    let (entries, head) = robot.audit().head();
    let json = json!({
        "robot": record.robot, "stopped": robot.is_stopped(), "levels": levels, "boot": robot.boot(),
        "lease": robot.lease_id(),
        "endorsement_key": record.endorsement_key.name().to_hex(),
        "attestation_key": record.attestation_key.name().to_hex(),
        "identity": record.identity.name().to_hex(), "identity_public_key": pem,
        "audit": {"entries": entries, "root": hex::encode(head.as_bytes())},
    });
    let state = if robot.is_stopped() {
        context.style().bad("stopped")
    } else {
        context.style().good("armed")
    };
    let mut text = pairs([
        ("robot", record.robot.to_string()),
        ("state", state),
        ("levels", levels.join(", ")),
        ("boot", robot.boot().to_string()),
        ("lease", robot.lease_id().to_string()),
        ("endorsement key", record.endorsement_key.name().to_hex()),
        ("attestation key", record.attestation_key.name().to_hex()),
        ("identity", record.identity.name().to_hex()),
        ("audit log", format!("{entries} entries")),
    ]);
    text.push_str(&format!("\n{pem}"));
    Ok(Answer::done(json, text))
}
