//! `key backup`: recoverable keys, and the holders of the shares that bring them back.

use crate::args::Context;
use crate::clock::now_ms;
use crate::commands::authority::backup as authority_backup;
use crate::commands::files;
use crate::error::CliError;
use crate::output::{Answer, table};
use crate::parties::{self, AuthorityArgs, NamedFile};
use alcub3_crypto::Secret;
use alcub3_crypto::tpm::Public;
use alcub3_fleet_protocol::chip::ChipAdmission;
use alcub3_fleet_protocol::recovery::RecoverySet;
use alcub3_keys::RecoverableKey;
use alcub3_server::BackupDestination;
use alcub3_trust_model::Level;
use alcub3_trust_model::canonical::DecodeError;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// More than any file of a backup has, in bytes.
const LIMIT: u64 = 64 * 1024;
/// The most a kept secret has, in bytes.
const SECRET_LIMIT: u64 = 128;

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum BackupCommand {
    /// Make a signing key of a level that can be recovered, or keep a secret so
    Keep(Keep),
    /// List the recoverable keys
    List,
    /// Make a recovery set: any NEEDED of the holders bring back what is duplicated to it
    Split(Split),
    /// Duplicate a recoverable key to a recovery set or another TPM: two approvers vote
    Duplicate(Duplicate),
}

/// Arguments of `key backup keep`.
#[derive(Debug, clap::Args)]
pub(crate) struct Keep {
    /// What it is called
    #[arg(value_name = "LABEL")]
    label: String,
    /// Its level; the robot must be armed for it
    #[arg(long, value_name = "LEVEL")]
    level: Level,
    /// Keep this secret of at most 128 bytes instead of making a key
    #[arg(long, value_name = "FILE")]
    secret: Option<PathBuf>,
}

/// Arguments of `key backup split`.
#[derive(Debug, clap::Args)]
pub(crate) struct Split {
    /// The admission of a holder's chip (`authority chip admit -o`); each another person and another chip
    #[arg(long, value_name = "ADMISSION", required = true)]
    holder: Vec<PathBuf>,
    /// How many of them are needed
    #[arg(long, value_name = "NUMBER")]
    needed: u8,
    /// The folder for the set (set.cbor) and each holder's share (NAME.share)
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
}

/// Arguments of `key backup duplicate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Duplicate {
    /// The key
    #[arg(value_name = "LABEL")]
    label: String,
    /// The recovery set, or the admission of a recovery TPM (`authority chip admit -o`)
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// The Name of its storage key, as `authority backup check` showed it to the approvers
    #[arg(long, value_name = "NAME")]
    parent: String,
    /// Where the duplicate goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// An approver with their private key, as NAME=FILE; two different persons
    #[arg(long, value_name = "NAME=FILE", required = true)]
    approve: Vec<NamedFile>,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Runs the command.
pub(super) fn run(command: &BackupCommand, context: &Context) -> Result<Answer, CliError> {
    match command {
        BackupCommand::Keep(arguments) => keep(arguments, context),
        BackupCommand::List => list(context),
        BackupCommand::Split(arguments) => split(arguments, context),
        BackupCommand::Duplicate(arguments) => duplicate(arguments, context),
    }
}

fn keep(arguments: &Keep, context: &Context) -> Result<Answer, CliError> {
    let (level, label) = (arguments.level, &arguments.label);
    let secret = arguments
        .secret
        .as_ref()
        .map(|path| files::read(path, "a secret to keep", SECRET_LIMIT).map(Secret::from_vec))
        .transpose()?;
    let key = parties::with_robot(context, |robot, _| {
        Ok(match secret {
            Some(secret) => robot.keep_recoverable_secret((level, label), secret, now_ms())?,
            None => robot.create_recoverable_key(level, label, now_ms())?,
        })
    })?;
    let text =
        format!("{label} of {level} can be recovered; duplicate it with `alcub3 key backup duplicate`");
    Ok(Answer::done(to_json(&key), text))
}

/// A key as JSON.
pub(super) fn to_json(key: &RecoverableKey) -> Value {
    json!({
        "label": key.label(), "level": key.level(), "recovered": key.is_recovered(),
        "name": hex::encode(key.public().name().as_bytes()),
        "kind": kind(key),
    })
}

fn kind(key: &RecoverableKey) -> &'static str {
    if key.public().ec_point().is_some() {
        "signing-key"
    } else {
        "secret"
    }
}

fn list(context: &Context) -> Result<Answer, CliError> {
    let keys = parties::with_robot(context, |robot, _| Ok(robot.keys().recoverable_keys()?))?;
    let rows = keys.iter().map(|key| {
        let origin = if key.is_recovered() {
            "recovered"
        } else {
            "made here"
        };
        [
            key.label().to_owned(),
            key.level().to_string(),
            kind(key).to_owned(),
            origin.to_owned(),
        ]
    });
    let text = table(["label", "level", "kind", "origin"], rows);
    let json = json!({"recoverable": keys.iter().map(to_json).collect::<Vec<_>>()});
    Ok(Answer::done(json, text))
}

fn split(arguments: &Split, context: &Context) -> Result<Answer, CliError> {
    let (set, shares) = parties::with_robot(context, |robot, _| {
        let mut holders = Vec::new();
        for path in &arguments.holder {
            let admission = files::read(path, "an admission of a chip", LIMIT)?;
            let chip = robot.keys().admitted_chip(&admission);
            holders.push(chip.map_err(|source| CliError::ChipMessage {
                path: path.clone(),
                source,
            })?);
        }
        Ok(robot.make_recovery_set(&holders, arguments.needed, now_ms())?)
    })?;
    let failed = |source| CliError::Write {
        path: arguments.out.clone(),
        source,
    };
    std::fs::create_dir_all(&arguments.out).map_err(failed)?;
    for share in &shares {
        let path = arguments.out.join(format!("{}.share", share.holder));
        files::write_private(&path, &share.to_canonical())?;
    }
    files::write_private(&arguments.out.join("set.cbor"), &set.to_canonical())?;
    let names: Vec<String> = set.holders().map(ToString::to_string).collect();
    let json = json!({"set": set.set(), "needed": set.needed(), "holders": names, "out": arguments.out});
    let text = format!(
        "any {} of {} bring back what is duplicated to this set: {}",
        set.needed(),
        names.join(", "),
        arguments.out.display()
    );
    Ok(Answer::done(json, text))
}

fn duplicate(arguments: &Duplicate, context: &Context) -> Result<Answer, CliError> {
    let persons = parties::persons(&arguments.approve)?;
    let to = read_destination(&arguments.to)?;
    named(&to.parent, &arguments.parent, "--parent", &arguments.to)?;
    let mut authority = arguments.authority.open()?;
    let (item, approval) = parties::with_robot(context, |robot, _| {
        let key = robot.keys().recoverable_key(&arguments.label)?;
        let approval = authority.approve_backup(robot, &key, &to.destination, &persons)?;
        let signature = approval.signature.clone();
        let item = robot.duplicate_key(&key, &to.parent, signature, now_ms())?;
        Ok((item, approval))
    })?;
    files::write_private(&arguments.out, &item.to_canonical())?;
    let json = json!({
        "label": item.label, "level": item.level, "parent_name": item.parent.to_hex(),
        "parent": authority_backup::to_json(&approval.parent), "out": arguments.out,
    });
    let text = format!(
        "{} duplicated to {}: {}",
        item.label,
        authority_backup::in_words(&approval.parent),
        arguments.out.display()
    );
    Ok(Answer::done(json, text))
}

/// Refuses a storage key that is not the one that somebody looked at and named.
pub(super) fn named(key: &Public, name: &str, option: &'static str, path: &Path) -> Result<(), CliError> {
    let found = key.name().to_hex();
    if found.eq_ignore_ascii_case(name) {
        return Ok(());
    }
    Err(CliError::OtherParent {
        path: path.to_owned(),
        option,
        found,
    })
}

/// Reads a message of a backup.
pub(super) fn read<T>(path: &Path, parse: impl Fn(&[u8]) -> Result<T, DecodeError>) -> Result<T, CliError> {
    let bytes = files::read(path, "a file of a backup", LIMIT)?;
    parse(&bytes).map_err(|source| CliError::Backup {
        path: path.into(),
        source,
    })
}

/// What a key is to be duplicated to.
pub(crate) struct Destination {
    /// As the authority judges it.
    pub(crate) destination: BackupDestination,
    /// The storage key in it.
    parent: Public,
}

/// Reads a recovery set or the admission of a recovery TPM. A storage key alone is neither: nothing says whose it is.
pub(crate) fn read_destination(path: &Path) -> Result<Destination, CliError> {
    let bytes = files::read(path, "a recovery set or an admission", LIMIT)?;
    let source = match RecoverySet::from_canonical(&bytes) {
        Ok(set) => {
            return Ok(Destination {
                parent: set.parent().clone(),
                destination: BackupDestination::Set(Box::new(set)),
            });
        }
        Err(source) => source,
    };
    if let Ok(admission) = ChipAdmission::unverified(&bytes) {
        return Ok(Destination {
            parent: admission.storage_key,
            destination: BackupDestination::Chip(bytes),
        });
    }
    let path = path.to_owned();
    if Public::from_tpmt(&bytes).is_ok() {
        return Err(CliError::BareStorageKey { path });
    }
    Err(CliError::Backup { path, source })
}
