//! `command sign` and `command validate`.

use super::{commander, files};
use crate::args::Context;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::output::Answer;
use crate::{key_file, parties, tpm_access};
use alcub3_command_authority::cose::SignError;
use alcub3_command_authority::{
    Arguments, CommandEnvelope, CommandName, MAX_ENVELOPE_BYTES, Value as Argument,
};
use alcub3_keys::PersonTpm;
use alcub3_trust_model::{Integrity, Labels, LeaseId, Level, MissionId, OperatorId, RobotId};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum EnvelopeCommand {
    /// Sign a command for a robot, or authenticate it with a shared key in the commander's chip
    Sign(Sign),
    /// Let the robot judge a signed command; the verdict goes into its audit log
    Validate(Validate),
}

/// Arguments of `command sign`.
#[derive(Debug, clap::Args)]
pub(crate) struct Sign {
    /// The command, for example move.velocity
    #[arg(value_name = "COMMAND", value_parser = name)]
    command: CommandName,
    /// An argument, as NAME=VALUE: a whole number, true, false, or text
    #[arg(long, value_name = "NAME=VALUE")]
    arg: Vec<String>,
    /// The robot
    #[arg(long)]
    robot: RobotId,
    /// The mission (`mission show`)
    #[arg(long)]
    mission: MissionId,
    /// The robot's lease of this boot (`mission show`)
    #[arg(long)]
    lease: LeaseId,
    /// Who commands
    #[arg(long, value_name = "NAME")]
    issuer: OperatorId,
    #[command(flatten)]
    by: By,
    /// The issuer's number of this command under this lease, from 1 upward, each used once
    #[arg(long)]
    sequence: u64,
    /// The command's level
    #[arg(long, default_value = "UNCLASSIFIED")]
    level: Level,
    /// The command's integrity
    #[arg(long, default_value = "operational")]
    integrity: Integrity,
    /// How long it stays valid, in milliseconds, at most 60000
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    valid_ms: u64,
    /// Where the envelope goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// What authenticates the command.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct By {
    /// The issuer's private key
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The issuer's shared key (`commander take`), instead of a private key; --tpm names the chip that took it
    #[arg(long, value_name = "FILE")]
    mac: Option<PathBuf>,
}

/// Arguments of `command validate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Validate {
    /// The envelope, or - for standard input
    #[arg(value_name = "ENVELOPE")]
    file: PathBuf,
}

fn name(text: &str) -> Result<CommandName, String> {
    CommandName::new(text).map_err(|error| error.to_string())
}

/// Runs the command.
pub(crate) fn run(command: &EnvelopeCommand, context: &Context) -> Result<Answer, CliError> {
    match command {
        EnvelopeCommand::Sign(arguments) => sign(arguments, context),
        EnvelopeCommand::Validate(arguments) => validate(arguments, context),
    }
}

fn sign(arguments: &Sign, context: &Context) -> Result<Answer, CliError> {
    let issued_at_ms = now_ms();
    let envelope = CommandEnvelope {
        robot: arguments.robot.clone(),
        mission: arguments.mission,
        lease: arguments.lease,
        issuer: arguments.issuer.clone(),
        sequence: arguments.sequence,
        issued_at_ms,
        expires_at_ms: issued_at_ms.saturating_add(arguments.valid_ms),
        command: arguments.command.clone(),
        labels: Labels::new(arguments.level, arguments.integrity),
        arguments: parse_arguments(&arguments.arg)?,
    };
    let signed = match (&arguments.by.key, &arguments.by.mac) {
        (_, Some(mac)) => authenticated(&envelope, mac, context)?,
        (Some(key), None) => {
            let key = key_file::read_private(key)?;
            envelope.unsigned(key.suite()).sign(&key)?
        }
        (None, None) => return Err(CliError::NoInput),
    };
    files::write_private(&arguments.out, &signed)?;
    let json =
        json!({"envelope": arguments.out, "bytes": signed.len(), "expires_at_ms": envelope.expires_at_ms});
    Ok(Answer::done(
        json,
        format!("{} signed: {}", arguments.command, arguments.out.display()),
    ))
}

/// The envelope with the MAC that the commander's chip makes.
fn authenticated(envelope: &CommandEnvelope, mac: &Path, context: &Context) -> Result<Vec<u8>, CliError> {
    let held = commander::read_held(mac)?;
    if *held.operator() != envelope.issuer {
        return Err(CliError::OtherIssuer {
            issuer: envelope.issuer.clone(),
            holder: held.operator().clone(),
        });
    }
    let chip = PersonTpm::open(tpm_access::open(context.tpm_spec())?, held.curve())?;
    let unsigned = envelope.unsigned(held.suite());
    let tag = chip.mac(&held, &unsigned.to_be_signed())?;
    Ok(unsigned
        .finish(tag.as_bytes().to_vec())
        .map_err(SignError::from)?)
}

fn parse_arguments(words: &[String]) -> Result<Arguments, CliError> {
    let mut arguments = Arguments::new();
    for word in words {
        let (name, value) = word
            .split_once('=')
            .ok_or_else(|| CliError::NotAnArgument { text: word.clone() })?;
        let value = match (value.parse::<i64>(), value.parse::<bool>()) {
            (Ok(number), _) => Argument::Int(number),
            (_, Ok(truth)) => Argument::Bool(truth),
            _ => Argument::Text(value.to_owned()),
        };
        arguments = arguments.with(name, value).map_err(CliError::Argument)?;
    }
    Ok(arguments)
}

fn validate(arguments: &Validate, context: &Context) -> Result<Answer, CliError> {
    // One byte more than allowed is enough for the robot itself to say that it is too long.
    let limit = u64::try_from(MAX_ENVELOPE_BYTES)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let envelope = files::read(&arguments.file, "a command envelope", limit)?;
    let verdict = parties::with_side(context, |robot| robot.judge(&envelope))?;
    let word = |name: &str| {
        verdict
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    if verdict.get("admitted") == Some(&Value::Bool(true)) {
        let admitted = context.style().good("admitted");
        let text = format!("{admitted}: {} by {}", word("command"), word("issuer"));
        return Ok(Answer::done(verdict, text));
    }
    let reasons = verdict
        .get("reasons")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let reasons: Vec<&str> = reasons.iter().filter_map(Value::as_str).collect();
    let text = format!("{}: {}", context.style().bad("refused"), reasons.join(", "));
    Ok(Answer::verdict(false, verdict, text))
}
