//! `command approve`: the second person's signature.

use crate::commands::files;
use crate::error::CliError;
use crate::key_file;
use crate::output::Answer;
use alcub3_command_authority::{CommandApproval, MAX_ENVELOPE_BYTES, with_approval};
use alcub3_trust_model::OperatorId;
use serde_json::json;
use std::path::PathBuf;

/// Arguments of `command approve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Approve {
    /// The signed command, as the first person made it
    #[arg(value_name = "ENVELOPE")]
    file: PathBuf,
    /// Who approves; another person than the issuer
    #[arg(long, value_name = "NAME")]
    approver: OperatorId,
    /// The approver's private key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where the command with its approval goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Whoever approves signs the very bytes that the first person signed.
pub(super) fn run(arguments: &Approve) -> Result<Answer, CliError> {
    let limit = u64::try_from(MAX_ENVELOPE_BYTES).unwrap_or(u64::MAX);
    let envelope = files::read(&arguments.file, "a command envelope", limit)?;
    let key = key_file::read_private(&arguments.key)?;
    let approval = CommandApproval::of(&envelope, arguments.approver.clone(), key.suite());
    let approval = approval.unsigned(key.suite()).sign(&key)?;
    let pair = with_approval(&envelope, &approval);
    files::write_private(&arguments.out, &pair)?;
    Ok(Answer::done(
        json!({"envelope": arguments.out, "bytes": pair.len(), "approver": arguments.approver}),
        format!("approved by {}: {}", arguments.approver, arguments.out.display()),
    ))
}
