//! `authority`: the local authority's folder, persons and reference values.

pub(super) mod backup;
mod bundle;
mod chip;
mod endorsement;
mod health;
mod init;
mod operator;
mod parts;
mod platform;
mod policy;
pub(super) mod reference;
mod show;

pub(super) use operator::curve;

use crate::args::Context;
use crate::error::CliError;
use crate::output::Answer;

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum AuthorityCommand {
    /// Make an authority: its folder, its keys, and the approval keys in its own TPM
    Init(init::Init),
    /// What the authority is, and whom it knows
    Show(show::Show),
    /// How it stands with robots' attestations: fresh, due, late, failing or unknown
    Health(health::Health),
    /// Judge evidence that a robot gathered while this authority was out of its reach, as what it was then
    Offline(super::offline::Judge),
    /// What the authority decided and refused, and why
    Audit(show::Audit),
    /// Take the checkpoint of a robot's audit log, if it goes on from the one that is held
    Checkpoint(show::Checkpoint),
    /// Persons who command or approve
    #[command(subcommand)]
    Operator(operator::OperatorCommand),
    /// Admit the chips of persons: who commands with shared keys, holds a share, or keeps a recovery TPM
    #[command(subcommand)]
    Chip(chip::ChipCommand),
    /// What robots' keys are duplicated to
    #[command(subcommand)]
    Backup(backup::BackupCommand),
    /// Replaced parts of robots: what differs, and one person's approval
    #[command(subcommand)]
    Parts(parts::PartsCommand),
    /// Robots whose root of trust is a DICE chain, a PSA token, or nothing at all
    #[command(subcommand)]
    Platform(platform::PlatformCommand),
    /// Set what a robot's boot is compared with, and what it may measure while it runs
    Reference(reference::Reference),
    /// What is asked of each class of robots when their evidence is judged
    #[command(subcommand)]
    Policy(policy::AppraisalPolicyCommand),
    /// Sign what robots judge each other by while this authority is out of reach
    Bundle(bundle::Bundle),
    /// Add roots of vendors' (or simulators') endorsement certificates
    Roots(reference::AddRoots),
    /// Add the vendors' revocation lists; what they name enrols no more
    Crls(reference::AddLists),
    /// Endorsement keys that are pinned by hand, for chips without a certificate
    #[command(subcommand)]
    Endorsement(endorsement::EndorsementCommand),
}

/// Runs the command.
pub(crate) fn run(command: &AuthorityCommand, context: &Context) -> Result<Answer, CliError> {
    match command {
        AuthorityCommand::Init(arguments) => init::run(arguments, context),
        AuthorityCommand::Show(arguments) => show::run(arguments, context),
        AuthorityCommand::Health(arguments) => health::run(arguments, context),
        AuthorityCommand::Offline(arguments) => super::offline::judge(arguments, context),
        AuthorityCommand::Audit(arguments) => show::audit(arguments),
        AuthorityCommand::Checkpoint(arguments) => show::checkpoint(arguments),
        AuthorityCommand::Operator(command) => operator::run(command),
        AuthorityCommand::Chip(command) => chip::run(command),
        AuthorityCommand::Backup(command) => backup::run(command),
        AuthorityCommand::Parts(command) => parts::run(command, context),
        AuthorityCommand::Platform(command) => platform::run(command, context),
        AuthorityCommand::Reference(arguments) => reference::run(arguments),
        AuthorityCommand::Policy(command) => policy::run(command),
        AuthorityCommand::Bundle(arguments) => bundle::run(arguments),
        AuthorityCommand::Roots(arguments) => reference::add_roots(arguments),
        AuthorityCommand::Crls(arguments) => reference::add_lists(arguments),
        AuthorityCommand::Endorsement(command) => endorsement::run(command, context),
    }
}
