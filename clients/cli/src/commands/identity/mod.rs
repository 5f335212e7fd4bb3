//! `identity`: who this robot is, and the certificates that say so.

mod certificates;
mod parts;
mod show;

use crate::args::Context;
use crate::error::CliError;
use crate::output::Answer;

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum IdentityCommand {
    /// Get the robot's certificates, and a local device key, from the authority
    Create(certificates::Ask),
    /// The robot's names, keys, certificates and state
    Show(show::Show),
    /// Replace the local device key and its certificate, without a gap
    Renew(certificates::Ask),
    /// Write the local device key and the certificates as files for other programs
    Export(certificates::Export),
    /// Parts of this robot that were replaced
    #[command(subcommand)]
    Parts(parts::PartsCommand),
    /// Bring a robot back whose disk was lost, from its chip and the authority
    Recover(certificates::Recover),
}

/// Runs the command.
pub(crate) fn run(command: &IdentityCommand, context: &Context) -> Result<Answer, CliError> {
    match command {
        IdentityCommand::Create(arguments) => certificates::create(arguments, context),
        IdentityCommand::Show(arguments) => show::run(arguments, context),
        IdentityCommand::Renew(arguments) => certificates::renew(arguments, context),
        IdentityCommand::Export(arguments) => certificates::export(arguments, context),
        IdentityCommand::Parts(command) => parts::run(command, context),
        IdentityCommand::Recover(arguments) => certificates::recover(arguments, context),
    }
}
