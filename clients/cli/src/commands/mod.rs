//! One module for each group of commands.

mod checkquote;
mod demo;
mod ek;
mod eventlog;
pub(crate) mod files;
mod receipt;
mod tpm;

use crate::args::Context;
use crate::error::CliError;
use crate::output::Answer;

/// The commands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// The chip
    #[command(subcommand)]
    Tpm(tpm::TpmCommand),
    /// Parse and replay a UEFI event log (binary_bios_measurements)
    Eventlog(eventlog::Eventlog),
    /// Check a quote in tpm2-tools' files
    Checkquote(checkquote::Checkquote),
    /// Endorsement certificates
    #[command(subcommand)]
    Ek(ek::EkCommand),
    /// A tour: one robot's life on two throwaway software TPMs
    Demo(demo::Demo),
    /// Receipts of emergency stops
    #[command(subcommand)]
    Receipt(receipt::ReceiptCommand),
}

impl Command {
    /// Runs the command.
    pub(crate) fn run(self, context: &Context) -> Result<Answer, CliError> {
        match self {
            Self::Tpm(command) => tpm::run(&command, context),
            Self::Eventlog(arguments) => eventlog::run(&arguments, context),
            Self::Checkquote(arguments) => checkquote::run(&arguments, context),
            Self::Ek(command) => ek::run(&command, context),
            Self::Demo(arguments) => demo::run(&arguments, context),
            Self::Receipt(command) => receipt::run(&command, context),
        }
    }
}
