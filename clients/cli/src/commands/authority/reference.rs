//! `authority reference`, `authority roots` and `authority crls`: what the authority compares with.

use crate::clock::now_ms;
use crate::commands::files;
use crate::commands::reference::{Foreign, Learned};
use crate::error::{CliError, with_sources};
use crate::output::Answer;
use crate::parties::AuthorityArgs;
use alcub3_attestation::appraisal::RuntimeReferences;
use alcub3_attestation::ek_certificate::{RootKind, Roots};
use alcub3_server::{DEVICE_ROOTS, PRODUCTION_ROOTS, REVOCATION_LISTS, SIMULATOR_ROOTS};
use alcub3_trust_model::RobotId;
use serde_json::json;
use std::path::{Path, PathBuf};

const LIMIT: u64 = 1024 * 1024;
/// Longest file of revocation lists, in bytes.
const LISTS_LIMIT: u64 = 16 * 1024 * 1024;

/// Arguments of `authority reference`.
#[derive(Debug, clap::Args)]
pub(crate) struct Reference {
    /// The robot
    #[arg(value_name = "ROBOT")]
    robot: RobotId,
    #[command(flatten)]
    learned: Option<Learned>,
    /// Reference values as a document, TOML, JSON or CoRIM, such as `alcub3 reference learn` writes
    #[arg(long, value_name = "FILE", required_unless_present = "eventlog", conflicts_with_all = ["eventlog", "ima"])]
    values: Option<PathBuf>,
    #[command(flatten)]
    foreign: Foreign,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Sets a robot's reference values, in the bank of its attestation key's hash.
pub(crate) fn run(arguments: &Reference) -> Result<Answer, CliError> {
    let mut authority = arguments.authority.open_records()?;
    let bank = authority.enrolment(&arguments.robot)?.nv_map().name_alg();
    let values = match (&arguments.learned, &arguments.values) {
        (Some(learned), _) => learned.references(bank)?,
        (None, Some(path)) => arguments.foreign.read(path)?.values,
        (None, None) => return Err(CliError::NoInput),
    };
    authority.set_reference(&arguments.robot, &values, now_ms())?;
    let files = values.runtime().map(RuntimeReferences::len);
    let json = json!({"robot": arguments.robot, "bank": values.bank().name(), "files": files});
    let text = format!(
        "{}: reference values of the {} bank are set{}",
        arguments.robot,
        values.bank().name(),
        files.map_or_else(String::new, |files| format!(", and of {files} files")),
    );
    Ok(Answer::done(json, text))
}

/// Arguments of `authority roots`.
#[derive(Debug, clap::Args)]
pub(crate) struct AddRoots {
    /// Certificates, PEM or DER
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// They vouch for simulators
    #[arg(long)]
    simulator: bool,
    /// They vouch for machines: their makers' roots, for initial attestation keys (IAK) and platform certificates
    #[arg(long, conflicts_with = "simulator")]
    devices: bool,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Copies root files into the authority's folder; each is checked before any is copied.
pub(crate) fn add_roots(arguments: &AddRoots) -> Result<Answer, CliError> {
    let authority = arguments.authority.open_records()?;
    let (kind, name) = if arguments.simulator {
        (RootKind::Simulator, SIMULATOR_ROOTS)
    } else if arguments.devices {
        (RootKind::Production, DEVICE_ROOTS)
    } else {
        (RootKind::Production, PRODUCTION_ROOTS)
    };
    let (mut roots, mut contents, mut count) = (Roots::new(), Vec::new(), 0);
    for path in &arguments.files {
        let bytes = files::read(path, "a root certificate", LIMIT)?;
        let added = roots.add(kind, &bytes);
        count += added.map_err(|error| CliError::Root {
            path: path.clone(),
            reason: with_sources(&error),
        })?;
        contents.push((path, bytes));
    }
    put_away(&authority.path().join(name), contents)?;
    let json = json!({"roots": count, "simulator": arguments.simulator});
    Ok(Answer::done(json, format!("{count} root certificates added")))
}

/// Arguments of `authority crls`.
#[derive(Debug, clap::Args)]
pub(crate) struct AddLists {
    /// Revocation lists (CRLs), PEM or DER; one of the same file name is replaced
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Copies revocation lists into the authority's folder; each is read before any is copied.
pub(crate) fn add_lists(arguments: &AddLists) -> Result<Answer, CliError> {
    let authority = arguments.authority.open_records()?;
    let (mut lists, mut contents, mut count) = (Roots::new(), Vec::new(), 0);
    for path in &arguments.files {
        let bytes = files::read(path, "a revocation list", LISTS_LIMIT)?;
        let added = lists.add_revocations(&bytes);
        count += added.map_err(|error| CliError::Root {
            path: path.clone(),
            reason: with_sources(&error),
        })?;
        contents.push((path, bytes));
    }
    put_away(&authority.path().join(REVOCATION_LISTS), contents)?;
    Ok(Answer::done(
        json!({"crls": count}),
        format!("{count} revocation lists added"),
    ))
}

fn put_away(folder: &Path, contents: Vec<(&PathBuf, Vec<u8>)>) -> Result<(), CliError> {
    for (path, bytes) in contents {
        let file = path.file_name().unwrap_or(path.as_os_str());
        files::write_private(&folder.join(file), &bytes)?;
    }
    Ok(())
}
