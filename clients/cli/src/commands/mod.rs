//! One module for each group of commands.

mod agent;
mod appraisal_policy;
mod attest;
mod audit;
mod authority;
mod checkquote;
mod chip;
mod command;
mod command_policy;
mod commander;
mod demo;
mod direct_stop;
mod ek;
mod estop;
mod eventlog;
pub(crate) mod files;
mod findings;
mod identity;
mod ima;
mod key;
mod level_sealing;
mod mission;
mod mission_key;
mod mission_share;
mod offline;
mod origin;
mod parts;
mod peer;
mod platform;
mod policy;
mod provision;
mod purge;
mod receipt;
mod reference;
mod sim;
mod stop_socket;
mod surroundings;
mod tpm;

pub(crate) use ima::ImaFileError;
pub(crate) use policy::PolicyFileError;

use crate::args::Context;
use crate::error::CliError;
use crate::output::Answer;

/// The commands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// The chip
    #[command(subcommand)]
    Tpm(tpm::TpmCommand),
    /// Provision a robot: from a blank chip to an enrolled robot
    Provision(provision::Provision),
    /// Who this robot is
    #[command(subcommand)]
    Identity(identity::IdentityCommand),
    /// The robot's managed keys; backup and recovery
    #[command(subcommand)]
    Key(key::KeyGroup),
    /// Hold the robot and serve it
    Agent(agent::Agent),
    /// Prove this robot's state to an authority
    Attest(attest::Attest),
    /// Judge a robot's evidence
    Appraise(attest::Appraise),
    /// Answer an authority from a robot whose root of trust is no TPM
    #[command(subcommand)]
    Platform(platform::PlatformCommand),
    /// Judge another robot from this one, with no authority in reach
    #[command(subcommand)]
    Peer(peer::PeerCommand),
    /// Evidence gathered while no authority is in reach
    #[command(subcommand)]
    Offline(offline::OfflineCommand),
    /// Seal data under a level of this robot
    Seal(level_sealing::Seal),
    /// Recover data that was sealed under a level of this robot
    Unseal(level_sealing::Unseal),
    /// What a robot may do, until when, at whose command
    #[command(subcommand)]
    Mission(mission::MissionCommand),
    /// Signed commands
    #[command(subcommand, name = "command")]
    Envelope(command::EnvelopeCommand),
    /// A person's chip: of one who commands with shared keys, holds a share, or keeps a recovery TPM
    #[command(subcommand)]
    Chip(chip::ChipCommand),
    /// What whoever commands with a shared key does with it
    #[command(subcommand)]
    Commander(commander::CommanderCommand),
    /// Emergency stop, and arming again
    Estop(estop::Estop),
    /// What each level asks for, and who may command what
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// What this robot has on record: what was done and what was refused, and why
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// The local authority
    #[command(subcommand)]
    Authority(authority::AuthorityCommand),
    /// Parse and replay a UEFI event log (binary_bios_measurements)
    Eventlog(eventlog::Eventlog),
    /// Parse and replay Linux's list of measured files (ascii_ or binary_runtime_measurements)
    Ima(ima::Ima),
    /// Check a quote in tpm2-tools' files
    Checkquote(checkquote::Checkquote),
    /// Reference values, learned from a good machine
    #[command(subcommand)]
    Reference(reference::ReferenceCommand),
    /// Endorsement certificates
    #[command(subcommand)]
    Ek(ek::EkCommand),
    /// Receipts of emergency stops and purges
    #[command(subcommand)]
    Receipt(receipt::ReceiptCommand),
    /// Simulated robots
    #[command(subcommand)]
    Sim(sim::SimCommand),
    /// A tour: one robot's life on two throwaway software TPMs
    Demo(demo::Demo),
}

impl Command {
    /// Whether secrets come into this process's memory: keys of persons, of the authority or of sessions with a TPM.
    pub(crate) const fn handles_secrets(&self) -> bool {
        !matches!(
            self,
            Self::Audit(
                audit::AuditCommand::Show(_)
                    | audit::AuditCommand::Prove(_)
                    | audit::AuditCommand::Bundle(_)
                    | audit::AuditCommand::Verify(_)
                    | audit::AuditCommand::Export(_)
            ) | Self::Eventlog(_)
                | Self::Ima(_)
                | Self::Checkquote(_)
                | Self::Reference(_)
                | Self::Ek(_)
                | Self::Receipt(_)
                | Self::Platform(_)
        )
    }

    /// Runs the command.
    pub(crate) fn run(self, context: &Context) -> Result<Answer, CliError> {
        match self {
            Self::Tpm(command) => tpm::run(&command, context),
            Self::Provision(arguments) => provision::run(&arguments, context),
            Self::Identity(command) => identity::run(&command, context),
            Self::Key(command) => key::run(&command, context),
            Self::Agent(arguments) => agent::run(&arguments, context),
            Self::Attest(arguments) => attest::run(&arguments, context),
            Self::Appraise(arguments) => attest::appraise(&arguments, context),
            Self::Platform(command) => platform::run(&command, context),
            Self::Peer(command) => peer::run(&command, context),
            Self::Offline(command) => offline::run(&command, context),
            Self::Seal(arguments) => level_sealing::seal(&arguments, context),
            Self::Unseal(arguments) => level_sealing::unseal(&arguments, context),
            Self::Mission(command) => mission::run(&command, context),
            Self::Envelope(command) => command::run(&command, context),
            Self::Chip(command) => chip::run(&command, context),
            Self::Commander(command) => commander::run(&command, context),
            Self::Estop(arguments) => estop::run(&arguments, context),
            Self::Policy(command) => policy::run(&command, context),
            Self::Audit(command) => audit::run(&command, context),
            Self::Authority(command) => authority::run(&command, context),
            Self::Eventlog(arguments) => eventlog::run(&arguments, context),
            Self::Ima(arguments) => ima::run(&arguments, context),
            Self::Checkquote(arguments) => checkquote::run(&arguments, context),
            Self::Reference(command) => reference::run(&command, context),
            Self::Ek(command) => ek::run(&command, context),
            Self::Sim(command) => sim::run(&command, context),
            Self::Demo(arguments) => demo::run(&arguments, context),
            Self::Receipt(command) => receipt::run(&command, context),
        }
    }
}
