//! `key backup`: recoverable keys, and the holders of the shares that bring them back.

use crate::args::Context;
use crate::clock::now_ms;
use crate::commands::files;
use crate::error::CliError;
use crate::output::{Answer, table};
use crate::parties::{self, AuthorityArgs, NamedFile};
use crate::tpm_access;
use alcub3_crypto::tpm::{Public, StructureError};
use alcub3_crypto::{Curve, Entropy, Secret};
use alcub3_fleet_protocol::recovery::{Holder, RecoverySet};
use alcub3_keys::{RecoverableKey, ShareHolder};
use alcub3_tpm::OsEntropy;
use alcub3_trust_model::canonical::DecodeError;
use alcub3_trust_model::{Level, SessionId};
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
    /// Write the storage key of a TPM, to which a share or a duplicate can be wrapped
    Holder(HolderKey),
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

/// Arguments of `key backup holder`.
#[derive(Debug, clap::Args)]
pub(crate) struct HolderKey {
    /// The curve of the storage key where the TPM has none of a robot: at least that of the set, p384 or p256
    #[arg(long, default_value = "p384", value_parser = crate::commands::authority::curve)]
    curve: Curve,
    /// Where it goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Arguments of `key backup split`.
#[derive(Debug, clap::Args)]
pub(crate) struct Split {
    /// A holder and the storage key of the holder's TPM, as NAME=FILE; each another person and another TPM
    #[arg(long, value_name = "NAME=FILE", required = true)]
    holder: Vec<NamedFile>,
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
    /// The recovery set, or the storage key of a recovery TPM
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
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
        BackupCommand::Holder(arguments) => holder(arguments, context),
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

fn holder(arguments: &HolderKey, context: &Context) -> Result<Answer, CliError> {
    let holder = ShareHolder::open(tpm_access::start(context.tpm_spec())?, arguments.curve)?;
    let public = holder.parent();
    files::write_private(&arguments.out, public.as_tpmt_bytes())?;
    let name = hex::encode(public.name().as_bytes());
    let text = format!("storage key {name}: {}", arguments.out.display());
    Ok(Answer::done(json!({"name": name, "out": arguments.out}), text))
}

fn split(arguments: &Split, context: &Context) -> Result<Answer, CliError> {
    let mut holders = Vec::new();
    for named in &arguments.holder {
        holders.push(Holder {
            name: named.id.clone(),
            parent: read_parent(&named.path)?,
        });
    }
    let (robot, curve) = parties::with_robot(context, |robot, _| {
        Ok((robot.robot().clone(), robot.keys().record().curve))
    })?;
    let mut set = [0; 16];
    OsEntropy
        .fill(&mut set)
        .map_err(|error| CliError::Crypto(error.into()))?;
    let made = RecoverySet::create(
        SessionId::new(set),
        robot,
        curve,
        (&holders, arguments.needed),
        &mut OsEntropy,
    );
    let (set, shares) = made.map_err(alcub3_keys::KeysError::from)?;
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
    let parent = read_parent(&arguments.to)?;
    let mut authority = arguments.authority.open()?;
    let item = parties::with_robot(context, |robot, _| {
        let key = robot.keys().recoverable_key(&arguments.label)?;
        let approval = authority.approve_backup(robot, &key, &parent, &persons)?;
        Ok(robot.duplicate_key(&key, &parent, approval, now_ms())?)
    })?;
    files::write_private(&arguments.out, &item.to_canonical())?;
    let parent = hex::encode(parent.name().as_bytes());
    let json = json!({"label": item.label, "level": item.level, "parent": parent, "out": arguments.out});
    let text = format!(
        "{} duplicated to {parent}: {}",
        item.label,
        arguments.out.display()
    );
    Ok(Answer::done(json, text))
}

/// Reads a message of a backup.
pub(super) fn read<T>(path: &Path, parse: impl Fn(&[u8]) -> Result<T, DecodeError>) -> Result<T, CliError> {
    let bytes = files::read(path, "a file of a backup", LIMIT)?;
    parse(&bytes).map_err(|source| CliError::Backup {
        path: path.into(),
        source,
    })
}

/// Reads a storage key that things are wrapped to: a recovery set's, or a TPM's as `key backup holder` wrote it.
pub(super) fn read_parent(path: &Path) -> Result<Public, CliError> {
    let bytes = files::read(path, "a storage key", LIMIT)?;
    if let Ok(set) = RecoverySet::from_canonical(&bytes) {
        return Ok(set.parent().clone());
    }
    let bad = |source: StructureError| CliError::StorageKey {
        path: path.into(),
        source,
    };
    Public::from_tpmt(&bytes).map_err(bad)
}
