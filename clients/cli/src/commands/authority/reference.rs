//! `authority reference` and `authority roots`: what the authority compares with.

use crate::commands::files;
use crate::error::{CliError, with_sources};
use crate::output::Answer;
use crate::parties::AuthorityArgs;
use alcub3_attestation::appraisal::ReferenceValues;
use alcub3_attestation::ek_certificate::{RootKind, Roots};
use alcub3_attestation::event_log::{EventLog, MAX_LOG_BYTES};
use alcub3_crypto::HashAlg;
use alcub3_server::{PRODUCTION_ROOTS, SIMULATOR_ROOTS};
use alcub3_trust_model::RobotId;
use serde_json::json;
use std::path::{Path, PathBuf};

const LIMIT: u64 = 1024 * 1024;

/// Arguments of `authority reference`.
#[derive(Debug, clap::Args)]
pub(crate) struct Reference {
    /// The robot
    #[arg(value_name = "ROBOT")]
    robot: RobotId,
    /// The UEFI event log of a start that is known to be good
    #[arg(long, value_name = "FILE", required_unless_present = "values")]
    eventlog: Option<PathBuf>,
    /// Reference values as a JSON document
    #[arg(long, value_name = "FILE", conflicts_with = "eventlog")]
    values: Option<PathBuf>,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Sets a robot's reference values, in the bank of its attestation key's hash.
pub(crate) fn run(arguments: &Reference) -> Result<Answer, CliError> {
    let mut authority = arguments.authority.open_records()?;
    let bank = authority.enrolment(&arguments.robot)?.nv_map().name_alg();
    let values = match (&arguments.eventlog, &arguments.values) {
        (Some(log), _) => golden(&read_log(log)?, log, bank)?,
        (None, Some(path)) => {
            let text = files::read(path, "reference values", LIMIT)?;
            let values = ReferenceValues::from_json(&String::from_utf8_lossy(&text));
            values.map_err(|source| CliError::Reference {
                path: path.clone(),
                source,
            })?
        }
        (None, None) => return Err(CliError::NoInput),
    };
    authority.set_reference(&arguments.robot, &values)?;
    let json = json!({"robot": arguments.robot, "bank": values.bank().name()});
    Ok(Answer::done(
        json,
        format!(
            "{}: reference values of the {} bank are set",
            arguments.robot,
            values.bank().name()
        ),
    ))
}

/// Reads an event log's file.
pub(crate) fn read_log(path: &Path) -> Result<Vec<u8>, CliError> {
    files::read(
        path,
        "an event log",
        u64::try_from(MAX_LOG_BYTES).unwrap_or(u64::MAX),
    )
}

/// The values that a known good log leads to.
pub(crate) fn golden(log: &[u8], path: &Path, bank: HashAlg) -> Result<ReferenceValues, CliError> {
    let log = EventLog::parse(log).map_err(|source| CliError::EventLog {
        path: path.into(),
        source,
    })?;
    ReferenceValues::golden(&log, bank).map_err(CliError::Golden)
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
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Copies root files into the authority's folder; each is checked before any is copied.
pub(crate) fn add_roots(arguments: &AddRoots) -> Result<Answer, CliError> {
    let authority = arguments.authority.open_records()?;
    let (kind, name) = if arguments.simulator {
        (RootKind::Simulator, SIMULATOR_ROOTS)
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
    for (path, bytes) in contents {
        let file = path.file_name().unwrap_or(path.as_os_str());
        files::write_private(&authority.path().join(name).join(file), &bytes)?;
    }
    let json = json!({"roots": count, "simulator": arguments.simulator});
    Ok(Answer::done(json, format!("{count} root certificates added")))
}
