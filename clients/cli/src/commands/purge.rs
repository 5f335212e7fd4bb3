//! `estop purge`: the end of a robot, by two persons.

use super::{files, receipt};
use crate::args::Context;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::output::Answer;
use crate::parties::{self, AuthorityArgs, NamedFile};
use crate::tpm_access;
use alcub3_agent::Robot;
use alcub3_keys::{StateFolder, resume_purge};
use alcub3_security_hal::StopScope;
use alcub3_trust_model::StopCause;
use alcub3_trust_model::pcr_map::PcrMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Arguments of `estop purge`.
#[derive(Debug, clap::Args)]
pub(super) struct Purge {
    /// An approver with their private key, as NAME=FILE; two different persons
    #[arg(long, value_name = "NAME=FILE", required = true)]
    approve: Vec<NamedFile>,
    /// Write the receipt to this file as well; the robot keeps one in any case
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Stops the robot, has two persons order the purge, clears the chip and wipes the state folder. Goes on with a purge that
/// was cut short.
pub(super) fn run(arguments: &Purge, context: &Context) -> Result<Answer, CliError> {
    let persons = parties::persons(&arguments.approve)?;
    let mut authority = arguments.authority.open()?;
    let folder = Arc::new(StateFolder::open(&context.state_dir()?)?);
    let tpm = tpm_access::start(context.tpm_spec())?;
    let bytes = match resume_purge(&tpm, &folder, PcrMap::DEFAULT)? {
        Some(receipt) => receipt,
        None => {
            let robot = Robot::open(tpm, folder, Vec::new())?;
            let report = robot.stop(StopScope::Robot, StopCause::ManualTrigger, now_ms())?;
            let (session, order) = authority.order_purge(&robot, &persons)?;
            robot.purge(&order, session, &report, now_ms())?
        }
    };
    if let Some(path) = &arguments.receipt {
        files::write_private(path, &bytes)?;
    }
    let robot = receipt::purged_robot(&bytes)?;
    // Judged and kept by the authority: with it the chip may be enrolled again.
    let verdict = authority.authority.take_purge_receipt(&robot, &bytes, now_ms())?;
    Ok(receipt::purge_answer(&verdict, context.style()))
}
