//! `authority commander`: admitting the chips that shared command keys are wrapped for.

use crate::clock::now_ms;
use crate::commands::files;
use crate::error::CliError;
use crate::output::{Answer, pairs};
use crate::parties::AuthorityArgs;
use serde_json::json;
use std::path::PathBuf;

/// More than any message has, in bytes.
const LIMIT: u64 = 256 * 1024;

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum CommanderCommand {
    /// Judge a chip's request and its endorsement certificate, and write the challenge (open for 5 minutes)
    Challenge(Challenge),
    /// Judge the chip's answer: its storage key is in the certified TPM; then admit it
    Admit(Admit),
}

/// Arguments of `authority commander challenge`.
#[derive(Debug, clap::Args)]
pub(crate) struct Challenge {
    /// The request, as `commander present` wrote it
    #[arg(value_name = "REQUEST")]
    request: PathBuf,
    /// Where the challenge goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Arguments of `authority commander admit`.
#[derive(Debug, clap::Args)]
pub(crate) struct Admit {
    /// The answer, as `commander answer` wrote it
    #[arg(value_name = "ANSWER")]
    answer: PathBuf,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Runs the command.
pub(crate) fn run(command: &CommanderCommand) -> Result<Answer, CliError> {
    match command {
        CommanderCommand::Challenge(arguments) => challenge(arguments),
        CommanderCommand::Admit(arguments) => admit(arguments),
    }
}

fn challenge(arguments: &Challenge) -> Result<Answer, CliError> {
    let request = files::read(&arguments.request, "a request of `commander present`", LIMIT)?;
    let mut authority = arguments.authority.open_records()?;
    let challenge = authority.challenge_commander(&request, now_ms())?;
    files::write_private(&arguments.out, &challenge)?;
    let text = format!(
        "challenge: {}\nnext, on the commander's machine: `alcub3 commander answer`, within 5 minutes",
        arguments.out.display()
    );
    Ok(Answer::done(json!({"out": arguments.out}), text))
}

fn admit(arguments: &Admit) -> Result<Answer, CliError> {
    let answer = files::read(&arguments.answer, "an answer of `commander answer`", LIMIT)?;
    let mut authority = arguments.authority.open_records()?;
    let chip = authority.admit_commander(&answer, now_ms())?;
    let (ek, storage) = (chip.endorsement_key.to_hex(), chip.storage_key.name().to_hex());
    let json = json!({
        "operator": chip.operator, "tpm": chip.tier.name(), "endorsement_key": ek, "storage_key": storage,
    });
    let mut text = format!("the chip of {} is admitted\n", chip.operator);
    text.push_str(&pairs([
        ("TPM", chip.tier.name().to_owned()),
        ("endorsement key", ek),
        ("storage key", storage),
    ]));
    Ok(Answer::done(json, text))
}
