//! `authority endorsement`: endorsement keys that are pinned by hand, for chips that have no certificate.

use crate::args::Context;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::output::{Answer, pairs, table};
use crate::parties::AuthorityArgs;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::{HardwareTier, RobotId};
use serde_json::json;

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum EndorsementCommand {
    /// Let a robot's TPM enrol by the hash of its endorsement key, where the vendor ships no certificate (firmware TPMs)
    Pin(Pin),
    /// What is pinned
    List(List),
    /// Take a robot's pin away; a robot that is enrolled stays so
    Remove(Remove),
}

/// Arguments of `authority endorsement pin`.
#[derive(Debug, clap::Args)]
pub(crate) struct Pin {
    /// SHA-256 of the key's SubjectPublicKeyInfo in DER, in hex, as `openssl pkey -pubin -in ek.pem -outform der | sha256sum`
    /// prints it; read the key on the robot itself
    #[arg(value_name = "HASH", value_parser = digest)]
    key: Digest,
    /// The robot that may enrol with it
    #[arg(long, value_name = "ROBOT")]
    robot: RobotId,
    /// The kind of TPM that you know it to be: firmware, virtual or simulator. A separate chip takes a certificate
    #[arg(long, value_name = "TIER")]
    tier: HardwareTier,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Arguments of `authority endorsement list`.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Arguments of `authority endorsement remove`.
#[derive(Debug, clap::Args)]
pub(crate) struct Remove {
    /// Whose pin
    #[arg(long, value_name = "ROBOT")]
    robot: RobotId,
    #[command(flatten)]
    authority: AuthorityArgs,
}

fn digest(text: &str) -> Result<Digest, &'static str> {
    let bytes = hex::decode(text).map_err(|_| "use 64 hex digits")?;
    Digest::from_slice(HashAlg::Sha256, &bytes).ok_or("use 64 hex digits: a SHA-256")
}

/// Runs the command.
pub(crate) fn run(command: &EndorsementCommand, context: &Context) -> Result<Answer, CliError> {
    match command {
        EndorsementCommand::Pin(arguments) => pin(arguments, context),
        EndorsementCommand::List(arguments) => list(arguments),
        EndorsementCommand::Remove(arguments) => remove(arguments),
    }
}

fn pin(arguments: &Pin, context: &Context) -> Result<Answer, CliError> {
    let mut authority = arguments.authority.open_records()?;
    let pin = authority.pin_endorsement(&arguments.robot, arguments.key, arguments.tier, now_ms())?;
    let json = json!({"robot": pin.robot, "endorsement_key": pin.key.to_hex(), "tpm": pin.tier.name()});
    let style = context.style();
    let mut text = format!("the endorsement key of {} is pinned\n", pin.robot);
    text.push_str(&pairs([
        ("key (SHA-256)", pin.key.to_hex()),
        ("counts as", pin.tier.name().to_owned()),
    ]));
    text.push_str(&format!(
        "{}\n",
        style.warn("nothing but your word says that this key is in a TPM")
    ));
    Ok(Answer::done(json, text))
}

fn list(arguments: &List) -> Result<Answer, CliError> {
    let authority = arguments.authority.open_records()?;
    let pins = authority.endorsement_pins()?;
    let json = json!({"pins": pins.iter().map(|pin| json!({
        "robot": pin.robot, "endorsement_key": pin.key.to_hex(), "tpm": pin.tier.name(), "pinned_at_ms": pin.pinned_at_ms,
    })).collect::<Vec<_>>()});
    let rows = pins.iter().map(|pin| {
        [
            pin.robot.to_string(),
            pin.tier.name().to_owned(),
            pin.key.to_hex(),
        ]
    });
    Ok(Answer::done(
        json,
        table(["robot", "counts as", "key (SHA-256)"], rows),
    ))
}

fn remove(arguments: &Remove) -> Result<Answer, CliError> {
    let mut authority = arguments.authority.open_records()?;
    authority.unpin_endorsement(&arguments.robot, now_ms())?;
    let text = format!(
        "no endorsement key of {0} is pinned any more; {0} stays enrolled where it is",
        arguments.robot
    );
    Ok(Answer::done(json!({"robot": arguments.robot}), text))
}
