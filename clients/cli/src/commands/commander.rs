//! `commander`: what whoever commands with a shared key does with it.

use super::files;
use crate::args::Context;
use crate::error::CliError;
use crate::output::Answer;
use crate::{key_file, tpm_access};
use alcub3_crypto::{Curve, VerifyingKey};
use alcub3_fleet_protocol::commander::CommanderKey;
use alcub3_keys::{HeldCommandKey, PersonTpm};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// More than any message to a commander has, in bytes.
const LIMIT: u64 = 256 * 1024;

/// The commands of the group. They run on the commander's machine; --tpm names the commander's admitted chip (`chip`).
#[derive(Debug, clap::Subcommand)]
pub(crate) enum CommanderCommand {
    /// Take a shared key into this chip (from `mission share wrap`); `command sign --mac` uses it
    Take(Take),
}

/// Arguments of `commander take`.
#[derive(Debug, clap::Args)]
pub(crate) struct Take {
    /// The key, as `mission share wrap` wrote it for the commander
    #[arg(value_name = "KEY")]
    key: PathBuf,
    /// The curve that `chip present` was given
    #[arg(long, default_value = "p384", value_parser = super::authority::curve)]
    curve: Curve,
    /// The authority's public key (`authority show --key`)
    #[arg(long, value_name = "FILE")]
    authority_key: PathBuf,
    /// Where the taken key goes; it is of use with this chip alone
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Runs the command.
pub(crate) fn run(command: &CommanderCommand, context: &Context) -> Result<Answer, CliError> {
    let CommanderCommand::Take(arguments) = command;
    take(arguments, context)
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    files::read(path, "a key of `alcub3 commander`", LIMIT)
}

fn verified(path: &Path, authority: &VerifyingKey) -> Result<CommanderKey, CliError> {
    CommanderKey::verify(&read(path)?, authority).map_err(|source| CliError::CommanderMessage {
        path: path.into(),
        source,
    })
}

fn take(arguments: &Take, context: &Context) -> Result<Answer, CliError> {
    let authority = key_file::read_public(&arguments.authority_key)?;
    let key = verified(&arguments.key, &authority)?;
    let chip = PersonTpm::open(tpm_access::open(context.tpm_spec())?, arguments.curve)?;
    let held = chip.take(&key)?;
    files::write_private(&arguments.out, &held.to_canonical())?;
    let missions: Vec<Value> = key
        .missions
        .iter()
        .map(|(robot, mission)| json!({"robot": robot, "mission": mission}))
        .collect();
    let json = json!({"operator": key.operator, "missions": missions, "out": arguments.out});
    let mut text = format!(
        "taken: {}; with it and this chip {} commands\n",
        arguments.out.display(),
        key.operator
    );
    let rows = key
        .missions
        .iter()
        .map(|(robot, mission)| [robot.to_string(), mission.to_string()]);
    text.push_str(&crate::output::table(["robot", "mission"], rows));
    Ok(Answer::done(json, text))
}

/// Reads a key that `commander take` took.
pub(super) fn read_held(path: &Path) -> Result<HeldCommandKey, CliError> {
    HeldCommandKey::from_canonical(&read(path)?).map_err(|source| CliError::HeldKey {
        path: path.into(),
        source,
    })
}
