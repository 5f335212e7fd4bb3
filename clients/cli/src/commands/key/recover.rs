//! `key recover`: a lost robot's keys on the one that succeeds to its name.

use super::backup::{self, read};
use crate::args::Context;
use crate::clock::now_ms;
use crate::commands::files;
use crate::error::CliError;
use crate::output::Answer;
use crate::parties::{self, AuthorityArgs, NamedFile};
use crate::tpm_access;
use alcub3_crypto::Curve;
use alcub3_crypto::tpm::Public;
use alcub3_fleet_protocol::enrolment::storage_root;
use alcub3_fleet_protocol::recovery::{RecoveryItem, RecoverySet, WrappedShare};
use alcub3_keys::PersonTpm;
use alcub3_trust_model::RobotId;
use serde_json::json;
use std::path::{Path, PathBuf};

/// More than any storage key has, in bytes.
const STORAGE_KEY_LIMIT: u64 = 4096;

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum RecoverCommand {
    /// At the authority: let another TPM take a lost robot's name; two approvers vote
    Release(Release),
    /// On the recovering robot: write its storage key, for the holders to wrap their shares to
    Present(Present),
    /// On a holder's TPM: open the holder's share and wrap it to the recovering robot's
    Pass(Pass),
    /// On the recovering robot: join the shares and take the duplicates
    Join(Join),
}

/// Arguments of `key recover release`.
#[derive(Debug, clap::Args)]
pub(crate) struct Release {
    /// The lost robot
    #[arg(value_name = "ROBOT")]
    robot: RobotId,
    /// An approver with their private key, as NAME=FILE; two different persons
    #[arg(long, value_name = "NAME=FILE", required = true)]
    approve: Vec<NamedFile>,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Arguments of `key recover present`.
#[derive(Debug, clap::Args)]
pub(crate) struct Present {
    /// Where it goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Arguments of `key recover pass`.
#[derive(Debug, clap::Args)]
pub(crate) struct Pass {
    /// The curve that `chip present` was given
    #[arg(long, default_value = "p384", value_parser = crate::commands::authority::curve)]
    curve: Curve,
    /// The holder's share
    #[arg(value_name = "SHARE")]
    share: PathBuf,
    /// The recovering robot's storage key, as `key recover present` wrote it there
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// The Name that `key recover present` showed there; ask for it on another way than the file came
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Where the share goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Arguments of `key recover join`.
#[derive(Debug, clap::Args)]
pub(crate) struct Join {
    /// The recovery set; without it the duplicates are of this robot's own storage key
    #[arg(long, value_name = "FILE")]
    set: Option<PathBuf>,
    /// A share that was passed on to this robot
    #[arg(long, value_name = "FILE", requires = "set")]
    share: Vec<PathBuf>,
    /// A duplicate
    #[arg(long, value_name = "FILE", required = true)]
    item: Vec<PathBuf>,
}

/// Runs the command.
pub(super) fn run(command: &RecoverCommand, context: &Context) -> Result<Answer, CliError> {
    match command {
        RecoverCommand::Release(arguments) => release(arguments),
        RecoverCommand::Present(arguments) => present(arguments, context),
        RecoverCommand::Pass(arguments) => pass(arguments, context),
        RecoverCommand::Join(arguments) => join(arguments, context),
    }
}

fn release(arguments: &Release) -> Result<Answer, CliError> {
    let persons = parties::persons(&arguments.approve)?;
    let robot = &arguments.robot;
    arguments.authority.open()?.release_name(robot, &persons)?;
    let text = format!(
        "the next TPM that enrols as {robot} takes the name over; provision it with `alcub3 provision`"
    );
    Ok(Answer::done(json!({"released": robot}), text))
}

fn present(arguments: &Present, context: &Context) -> Result<Answer, CliError> {
    let public = parties::with_robot(context, |robot, _| Ok(robot.keys().record().storage_root.clone()))?;
    files::write_private(&arguments.out, public.as_tpmt_bytes())?;
    let name = public.name().to_hex();
    let text = format!("storage key {name}: {}", arguments.out.display());
    Ok(Answer::done(json!({"name": name, "out": arguments.out}), text))
}

fn pass(arguments: &Pass, context: &Context) -> Result<Answer, CliError> {
    let share = read(&arguments.share, WrappedShare::from_canonical)?;
    let to = read_storage_key(&arguments.to)?;
    backup::named(&to, &arguments.name, "--name", &arguments.to)?;
    let holder = PersonTpm::open(tpm_access::start(context.tpm_spec())?, arguments.curve)?;
    let passed = holder.pass_on(&share, &to)?;
    files::write_private(&arguments.out, &passed.to_canonical())?;
    let json = json!({"set": passed.set, "holder": passed.holder, "out": arguments.out});
    let text = format!(
        "the share of {} is wrapped to that robot: {}",
        passed.holder,
        arguments.out.display()
    );
    Ok(Answer::done(json, text))
}

fn join(arguments: &Join, context: &Context) -> Result<Answer, CliError> {
    let parse = |path: &PathBuf| read(path, RecoveryItem::from_canonical);
    let items: Vec<RecoveryItem> = arguments.item.iter().map(parse).collect::<Result<_, _>>()?;
    let parse = |path: &PathBuf| read(path, WrappedShare::from_canonical);
    let shares: Vec<WrappedShare> = arguments.share.iter().map(parse).collect::<Result<_, _>>()?;
    let set = arguments.set.as_ref();
    let set = set
        .map(|path| read(path, RecoverySet::from_canonical))
        .transpose()?;
    let keys = parties::with_robot(context, |robot, _| {
        let keys = robot.keys();
        let parent = set.as_ref().map(|set| keys.gather(set, &shares)).transpose()?;
        Ok(robot.recover_keys(parent.as_ref(), &items, now_ms())?)
    })?;
    let labels: Vec<&str> = keys.iter().map(|key| key.label()).collect();
    let json = json!({"recovered": keys.iter().map(backup::to_json).collect::<Vec<_>>()});
    Ok(Answer::done(json, format!("recovered: {}", labels.join(", "))))
}

/// Reads a storage key, as `key recover present` wrote it.
fn read_storage_key(path: &Path) -> Result<Public, CliError> {
    let bytes = files::read(path, "a storage key", STORAGE_KEY_LIMIT)?;
    let key = Public::from_tpmt(&bytes).map_err(|source| CliError::StorageKey {
        path: path.into(),
        source,
    })?;
    storage_root(&key).map_err(|source| CliError::NoStorageKey {
        path: path.into(),
        source,
    })?;
    Ok(key)
}
