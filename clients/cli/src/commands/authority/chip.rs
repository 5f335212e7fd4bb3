//! `authority chip`: admitting the chips of persons, and revoking them.

use crate::clock::now_ms;
use crate::commands::files;
use crate::error::CliError;
use crate::output::{Answer, pairs};
use crate::parties::AuthorityArgs;
use alcub3_fleet_protocol::chip::AdmittedChip;
use alcub3_trust_model::OperatorId;
use serde_json::{Value, json};
use std::path::PathBuf;

/// More than any message has, in bytes.
const LIMIT: u64 = 256 * 1024;

/// The commands of the group. `authority show` lists the chips.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ChipCommand {
    /// Judge a chip's request and its endorsement certificate, and write the challenge (open for 5 minutes)
    Challenge(Challenge),
    /// Judge the chip's answer: its storage key is in the certified TPM; then admit it
    Admit(Admit),
    /// Revoke a person's chip for good: nothing is wrapped to it any more, and it is not admitted again
    Revoke(Revoke),
}

/// Arguments of `authority chip challenge`.
#[derive(Debug, clap::Args)]
pub(crate) struct Challenge {
    /// The request, as `chip present` wrote it
    #[arg(value_name = "REQUEST")]
    request: PathBuf,
    /// Where the challenge goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Arguments of `authority chip admit`.
#[derive(Debug, clap::Args)]
pub(crate) struct Admit {
    /// The answer, as `chip answer` wrote it
    #[arg(value_name = "ANSWER")]
    answer: PathBuf,
    /// Where the signed admission goes: `key backup split` takes it for a holder, `key backup duplicate` for a recovery TPM
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Arguments of `authority chip revoke`.
#[derive(Debug, clap::Args)]
pub(crate) struct Revoke {
    /// Whose chip
    #[arg(value_name = "NAME")]
    operator: OperatorId,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Runs the command.
pub(crate) fn run(command: &ChipCommand) -> Result<Answer, CliError> {
    match command {
        ChipCommand::Challenge(arguments) => challenge(arguments),
        ChipCommand::Admit(arguments) => admit(arguments),
        ChipCommand::Revoke(arguments) => revoke(arguments),
    }
}

fn challenge(arguments: &Challenge) -> Result<Answer, CliError> {
    let request = files::read(&arguments.request, "a request of `chip present`", LIMIT)?;
    let mut authority = arguments.authority.open_records()?;
    let challenge = authority.challenge_chip(&request, now_ms())?;
    files::write_private(&arguments.out, &challenge)?;
    let text = format!(
        "challenge: {}\nnext, on the person's machine: `alcub3 chip answer`, within 5 minutes",
        arguments.out.display()
    );
    Ok(Answer::done(json!({"out": arguments.out}), text))
}

fn admit(arguments: &Admit) -> Result<Answer, CliError> {
    let answer = files::read(&arguments.answer, "an answer of `chip answer`", LIMIT)?;
    let mut authority = arguments.authority.open_records()?;
    let chip = authority.admit_chip(&answer, now_ms())?;
    let (mut json, mut rows) = told(&chip);
    if let Some(path) = &arguments.out {
        files::write_private(path, chip.as_bytes())?;
        if let Some(fields) = json.as_object_mut() {
            fields.insert("out".to_owned(), json!(path));
        }
        rows.push(("admission", path.display().to_string()));
    }
    let mut text = format!("the chip of {} is admitted\n", chip.operator());
    text.push_str(&pairs(rows));
    Ok(Answer::done(json, text))
}

fn revoke(arguments: &Revoke) -> Result<Answer, CliError> {
    let mut authority = arguments.authority.open_records()?;
    let chip = authority.revoke_chip(&arguments.operator, now_ms())?;
    let (json, rows) = told(&chip);
    let mut text = format!(
        "the chip of {} is revoked; recovery sets that it holds a share of get no more keys, and what it has stays readable in \
         it: make new sets and share new keys\n",
        chip.operator()
    );
    text.push_str(&pairs(rows));
    Ok(Answer::done(json, text))
}

fn told(chip: &AdmittedChip) -> (Value, Vec<(&'static str, String)>) {
    let (ek, storage) = (
        chip.endorsement_key().to_hex(),
        chip.storage_key().name().to_hex(),
    );
    let json = json!({
        "operator": chip.operator(), "tpm": chip.tier().name(), "endorsement_key": ek, "storage_key": storage,
    });
    let rows = vec![
        ("TPM", chip.tier().name().to_owned()),
        ("endorsement key", ek),
        ("storage key", storage),
    ];
    (json, rows)
}
