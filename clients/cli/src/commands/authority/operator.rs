//! `authority operator`.

use crate::clock::now_ms;
use crate::error::CliError;
use crate::key_file;
use crate::output::Answer;
use crate::parties::AuthorityArgs;
use alcub3_command_authority::Role;
use alcub3_crypto::Curve;
use alcub3_server::Operator;
use alcub3_trust_model::{Integrity, Labels, Level, OperatorId};
use serde_json::json;
use std::path::PathBuf;

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum OperatorCommand {
    /// Make a person's key: PKCS#8 in FILE (readable by its owner alone), the public half in FILE.pub
    Key(NewKey),
    /// Register a person with the authority
    Add(Add),
}

/// Arguments of `authority operator key`.
#[derive(Debug, clap::Args)]
pub(crate) struct NewKey {
    /// Where the key goes; never overwritten
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The curve
    #[arg(long, default_value = "p384", value_parser = curve)]
    curve: Curve,
}

/// Arguments of `authority operator add`.
#[derive(Debug, clap::Args)]
pub(crate) struct Add {
    /// The person's name
    #[arg(value_name = "NAME")]
    id: OperatorId,
    /// observer, operator, commander, maintainer, security-officer, auditor or approver
    #[arg(long)]
    role: Role,
    /// The person's public key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// What the person is cleared for
    #[arg(long, default_value = "UNCLASSIFIED")]
    level: Level,
    /// How far commands of the person are trusted
    #[arg(long, default_value = "operational")]
    integrity: Integrity,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// A curve by its name.
pub(crate) fn curve(text: &str) -> Result<Curve, &'static str> {
    match text {
        "p256" => Ok(Curve::P256),
        "p384" => Ok(Curve::P384),
        _ => Err("use p256 or p384"),
    }
}

/// Runs the command.
pub(crate) fn run(command: &OperatorCommand) -> Result<Answer, CliError> {
    match command {
        OperatorCommand::Key(NewKey { file, curve }) => {
            let key = key_file::create(file, *curve)?;
            let public = key_file::public_pem(&key.verifying_key());
            let json = json!({"key": file, "public_key": public});
            Ok(Answer::done(
                json,
                format!("private key: {0}\npublic key:  {0}.pub\n", file.display()),
            ))
        }
        OperatorCommand::Add(arguments) => {
            let mut authority = arguments.authority.open_records()?;
            let key = key_file::read_public(&arguments.key)?;
            let labels = Labels::new(arguments.level, arguments.integrity);
            let id = arguments.id.clone();
            let operator = Operator {
                id,
                key,
                role: arguments.role,
                labels,
            };
            authority.register_operator(operator, now_ms())?;
            let json = json!({"operator": arguments.id, "role": arguments.role, "level": arguments.level});
            Ok(Answer::done(
                json,
                format!("{} is registered as {}", arguments.id, arguments.role),
            ))
        }
    }
}
