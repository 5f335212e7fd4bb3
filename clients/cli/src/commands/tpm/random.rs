//! `tpm random`.

use crate::args::Context;
use crate::error::CliError;
use crate::output::Answer;
use crate::tpm_access;
use serde_json::json;

/// Arguments of `tpm random`.
#[derive(Debug, clap::Args)]
pub(crate) struct Random {
    /// How many bytes
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    bytes: u32,
}

/// Prints random bytes in hexadecimal.
pub(crate) fn run(arguments: &Random, context: &Context) -> Result<Answer, CliError> {
    let tpm = tpm_access::open(context.tpm_spec())?;
    let wanted = usize::try_from(arguments.bytes).unwrap_or(usize::MAX);
    let random = tpm_access::run(&tpm, move |chip| chip.random(wanted))?;
    let text = hex::encode(random.expose());
    Ok(Answer::done(json!({"bytes": random.len(), "hex": text}), text))
}
