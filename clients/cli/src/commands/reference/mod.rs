//! `reference`: reference values, learned from a machine that is known to be good, and what they say.

mod diff;
mod document;
mod show;

pub(crate) use document::Foreign;

use super::files;
use super::ima::read_list;
use crate::args::Context;
use crate::error::CliError;
use crate::output::Answer;
use alcub3_attestation::appraisal::{ReferenceError, ReferenceValues, RuntimeReferences, Violations};
use alcub3_attestation::event_log::{EventLog, MAX_LOG_BYTES};
use alcub3_attestation::ima::ImaLog;
use alcub3_crypto::HashAlg;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Reference values
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ReferenceCommand {
    /// Write what a good machine measured as a document, to be read, edited and given to `authority reference`
    Learn(Learn),
    /// Say in words what a document of reference values accepts
    Show(show::Show),
    /// Compare two documents of reference values: 0 where they say the same, 1 where they differ
    Diff(diff::Diff),
}

/// Arguments of `reference learn`.
#[derive(Debug, clap::Args)]
pub(crate) struct Learn {
    #[command(flatten)]
    learned: Learned,
    /// The bank that robots are judged in: the hash of their attestation keys
    #[arg(long, value_name = "ALG", default_value = "sha256", value_parser = bank)]
    bank: HashAlg,
    /// Where the document goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// How it is written [default: by the file's name, .json as JSON, .corim as CoRIM, else TOML]
    #[arg(long, value_name = "FORM")]
    format: Option<document::Format>,
    #[command(flatten)]
    names: document::CorimNames,
}

/// What a good machine measured.
#[derive(Debug, clap::Args)]
#[group(requires = "eventlog")]
pub(crate) struct Learned {
    /// The UEFI event log of a start that is known to be good
    #[arg(long, value_name = "FILE", required = false)]
    eventlog: PathBuf,
    /// A claim that each boot's log must show, such as secure-boot (`alcub3 eventlog --facts` lists them); once for each
    #[arg(long, value_name = "CLAIM")]
    claim: Vec<String>,
    /// What its kernel measured since (binary_ or ascii_runtime_measurements): then every other file makes a robot untrusted
    #[arg(long, value_name = "FILE")]
    ima: Option<PathBuf>,
    /// Do not judge this file, or what begins so where * ends it; once for each
    #[arg(long, value_name = "PATH", requires = "ima")]
    exclude: Vec<String>,
    /// Only note files that were changed while they were measured
    #[arg(long, requires = "ima")]
    note_violations: bool,
}

/// Runs the command.
pub(crate) fn run(command: &ReferenceCommand, context: &Context) -> Result<Answer, CliError> {
    match command {
        ReferenceCommand::Learn(arguments) => learn(arguments),
        ReferenceCommand::Show(arguments) => show::run(arguments, context.style()),
        ReferenceCommand::Diff(arguments) => diff::run(arguments, context.style()),
    }
}

fn learn(arguments: &Learn) -> Result<Answer, CliError> {
    let values = arguments.learned.references(arguments.bank)?;
    let format = arguments
        .format
        .unwrap_or_else(|| document::Format::by_name(&arguments.out));
    let document = format.write(&values, &arguments.names, &arguments.out)?;
    files::write_private(&arguments.out, &document)?;
    let files = values.runtime().map(RuntimeReferences::len);
    let json =
        json!({"out": arguments.out, "format": format.name(), "bank": values.bank().name(), "files": files});
    let text = format!(
        "reference values of the {} bank{}: {}",
        values.bank().name(),
        files.map_or_else(String::new, |files| format!(" and of {files} files")),
        arguments.out.display()
    );
    Ok(Answer::done(json, text))
}

fn bank(text: &str) -> Result<HashAlg, &'static str> {
    let approved = HashAlg::from_name(text).filter(|alg| alg.is_approved());
    approved.ok_or("use sha256, sha384 or sha512")
}

impl Learned {
    /// The references that follow.
    pub(crate) fn references(&self, bank: HashAlg) -> Result<ReferenceValues, CliError> {
        let usage = |source: ReferenceError| CliError::Usage {
            message: source.to_string(),
        };
        let boot = golden(&read_log(&self.eventlog)?, &self.eventlog, bank)?;
        let boot = boot.asking(self.claim.iter().cloned()).map_err(usage)?;
        let Some(path) = &self.ima else { return Ok(boot) };
        let bytes = read_list(path)?;
        let list = ImaLog::parse(&bytes).map_err(|source| super::ImaFileError::List {
            path: path.clone(),
            source,
        })?;
        let violations = match self.note_violations {
            true => Violations::Note,
            false => Violations::Refuse,
        };
        let runtime = RuntimeReferences::golden(&list).map_err(CliError::Golden)?;
        let runtime = runtime
            .with_violations(violations)
            .excluding(self.exclude.iter().cloned());
        Ok(boot.with_runtime(runtime.map_err(usage)?))
    }
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
