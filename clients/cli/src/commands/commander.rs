//! `commander`: the chip of whoever commands with a shared key.

use super::files;
use crate::args::Context;
use crate::error::CliError;
use crate::output::{Answer, pairs};
use crate::{key_file, simulator, tpm_access};
use alcub3_crypto::{Curve, VerifyingKey};
use alcub3_fleet_protocol::commander::{CommanderChallenge, CommanderError, CommanderKey, CommanderRequest};
use alcub3_keys::{CommanderTpm, HeldCommandKey};
use alcub3_trust_model::OperatorId;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// More than any message to or from a commander has, in bytes.
const LIMIT: u64 = 256 * 1024;

/// The commands of the group. They run on the commander's machine; --tpm names the commander's chip.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum CommanderCommand {
    /// 1. Write a signed request to admit this chip (next: `authority commander challenge`)
    Present(Present),
    /// 2. Answer the authority's challenge with this chip (next: `authority commander admit`)
    Answer(AnswerChallenge),
    /// 3. Take a shared key into this chip (from `mission share wrap`); `command sign --mac` uses it
    Take(Take),
}

/// Arguments of `commander present`.
#[derive(Debug, clap::Args)]
pub(crate) struct Present {
    /// Whose chip it is: the name of `authority operator add`
    #[arg(value_name = "NAME")]
    operator: OperatorId,
    /// That person's private key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The curve of the chip's keys, p384 or p256; at least that of the robots
    #[arg(long, default_value = "p384", value_parser = super::authority::curve)]
    curve: Curve,
    /// Give this simulator an endorsement certificate of a new simulator CA, and write that CA's certificate here, for
    /// `authority roots --simulator`; a real chip is refused
    #[arg(long, value_name = "FILE")]
    simulator_ca: Option<PathBuf>,
    /// Where the request goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Arguments of `commander answer`.
#[derive(Debug, clap::Args)]
pub(crate) struct AnswerChallenge {
    /// The challenge
    #[arg(value_name = "CHALLENGE")]
    challenge: PathBuf,
    /// The request that it answers, as `commander present` wrote it
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// The authority's public key (`authority show --key`)
    #[arg(long, value_name = "FILE")]
    authority_key: PathBuf,
    /// Where the answer goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Arguments of `commander take`.
#[derive(Debug, clap::Args)]
pub(crate) struct Take {
    /// The key, as `mission share wrap` wrote it for the commander
    #[arg(value_name = "KEY")]
    key: PathBuf,
    /// The curve that `commander present` was given
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
    match command {
        CommanderCommand::Present(arguments) => present(arguments, context),
        CommanderCommand::Answer(arguments) => answer(arguments, context),
        CommanderCommand::Take(arguments) => take(arguments, context),
    }
}

/// Reads a message to or from a commander.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    files::read(path, "a message of `alcub3 commander`", LIMIT)
}

fn refused(path: &Path) -> impl Fn(CommanderError) -> CliError {
    let path = path.to_owned();
    move |source| CliError::CommanderMessage {
        path: path.clone(),
        source,
    }
}

fn present(arguments: &Present, context: &Context) -> Result<Answer, CliError> {
    let person = key_file::read_private(&arguments.key)?;
    let tpm = tpm_access::open(context.tpm_spec())?;
    if let Some(path) = &arguments.simulator_ca {
        let root = simulator::certify(&tpm, arguments.curve)?;
        files::write_private(path, root.as_bytes())?;
    }
    let chip = CommanderTpm::open(tpm, arguments.curve)?.present()?;
    let request = CommanderRequest {
        operator: arguments.operator.clone(),
        endorsement_key: chip.endorsement_key,
        endorsement_certificate: chip.endorsement_certificate,
        certificate_chain: Vec::new(),
        storage_key: chip.storage_key,
    };
    let signed = request.unsigned(person.suite()).sign(&person)?;
    files::write_private(&arguments.out, &signed)?;
    let (ek, storage) = (
        request.endorsement_key.name().to_hex(),
        request.storage_key.name().to_hex(),
    );
    let json = json!({
        "operator": request.operator, "endorsement_key": ek, "storage_key": storage,
        "simulator_ca": arguments.simulator_ca, "out": arguments.out,
    });
    let mut text = pairs([
        ("request", arguments.out.display().to_string()),
        ("endorsement key", ek),
        ("storage key", storage),
    ]);
    text.push_str("next, at the authority: `alcub3 authority commander challenge`\n");
    Ok(Answer::done(json, text))
}

fn answer(arguments: &AnswerChallenge, context: &Context) -> Result<Answer, CliError> {
    let authority = key_file::read_public(&arguments.authority_key)?;
    let signed_request = read(&arguments.request)?;
    let request = CommanderRequest::parse(&signed_request).map_err(refused(&arguments.request))?;
    let challenge = CommanderChallenge::verify(&read(&arguments.challenge)?, &authority, &signed_request);
    let challenge = challenge.map_err(refused(&arguments.challenge))?;
    let curve = request
        .storage_key
        .ec_point()
        .map_or(Curve::P384, |(curve, _, _)| curve);
    let chip = CommanderTpm::open(tpm_access::open(context.tpm_spec())?, curve)?;
    let secret = chip.activate(&challenge.credential)?;
    files::write_private(&arguments.out, &challenge.answer(&secret).to_canonical())?;
    let json = json!({"operator": request.operator, "out": arguments.out});
    let text = format!(
        "answered: {}\nnext, at the authority: `alcub3 authority commander admit`",
        arguments.out.display()
    );
    Ok(Answer::done(json, text))
}

fn verified(path: &Path, authority: &VerifyingKey) -> Result<CommanderKey, CliError> {
    CommanderKey::verify(&read(path)?, authority).map_err(refused(path))
}

fn take(arguments: &Take, context: &Context) -> Result<Answer, CliError> {
    let authority = key_file::read_public(&arguments.authority_key)?;
    let key = verified(&arguments.key, &authority)?;
    let chip = CommanderTpm::open(tpm_access::open(context.tpm_spec())?, arguments.curve)?;
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
