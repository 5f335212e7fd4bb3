//! `demo`: one robot's life on two throwaway software TPMs.

mod actors;
mod boot;
mod judging;
mod stopping;
mod story;
mod tour;
mod working;

use crate::args::Context;
use crate::error::CliError;
use crate::output::Answer;
use std::path::PathBuf;

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// A UEFI event log to boot another robot with, and to judge
    #[arg(long, value_name = "FILE")]
    eventlog: Option<PathBuf>,
}

/// Runs the tour; for people it is told while it runs.
pub(crate) fn run(arguments: &Demo, context: &Context) -> Result<Answer, CliError> {
    let folder = tempfile::Builder::new()
        .prefix("alcub3-demo-")
        .tempdir()
        .map_err(CliError::Folder)?;
    let json = tour::run(folder.path(), arguments.eventlog.as_deref(), context)?;
    Ok(Answer::done(json, ""))
}
