//! `tpm`: the chip.

mod doctor;
mod info;
mod pcrs;
mod random;
mod sealing;
mod selection;

use crate::args::Context;
use crate::error::CliError;
use crate::output::Answer;

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum TpmCommand {
    /// What the chip is and can do
    Info,
    /// Look for faults and say what to do about them
    Doctor,
    /// The values of the PCRs
    Pcrs(pcrs::Pcrs),
    /// Random bytes from the chip, tested before they are shown
    Random(random::Random),
    /// Seal data to this chip, and to PCR values if wanted
    Seal(sealing::Seal),
    /// Recover sealed data
    Unseal(sealing::Unseal),
}

/// Runs the command.
pub(crate) fn run(command: &TpmCommand, context: &Context) -> Result<Answer, CliError> {
    match command {
        TpmCommand::Info => info::run(context),
        TpmCommand::Doctor => doctor::run(context),
        TpmCommand::Pcrs(arguments) => pcrs::run(arguments, context),
        TpmCommand::Random(arguments) => random::run(arguments, context),
        TpmCommand::Seal(arguments) => sealing::seal(arguments, context),
        TpmCommand::Unseal(arguments) => sealing::unseal(arguments, context),
    }
}
