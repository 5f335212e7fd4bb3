//! `command`: signed commands, their second person, and what robots say to them.

mod approve;
mod judge;
mod sign;

use crate::args::Context;
use crate::error::CliError;
use crate::output::Answer;

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum EnvelopeCommand {
    /// Sign a command for a robot or several, or authenticate it with a shared key in the commander's chip
    Sign(sign::Sign),
    /// Approve a signed command as its second person
    Approve(approve::Approve),
    /// Let the robot judge a signed command; the verdict goes into its audit log
    Validate(judge::Validate),
    /// Put together what the robots of a command answered
    Verdicts(judge::Verdicts),
    /// Say in words what a reason code means and what to do about it
    Explain(judge::Explain),
}

/// Runs the command.
pub(crate) fn run(command: &EnvelopeCommand, context: &Context) -> Result<Answer, CliError> {
    match command {
        EnvelopeCommand::Sign(arguments) => sign::run(arguments, context),
        EnvelopeCommand::Approve(arguments) => approve::run(arguments),
        EnvelopeCommand::Validate(arguments) => judge::validate(arguments, context),
        EnvelopeCommand::Verdicts(arguments) => judge::verdicts(arguments, context),
        EnvelopeCommand::Explain(arguments) => judge::explain(arguments),
    }
}
