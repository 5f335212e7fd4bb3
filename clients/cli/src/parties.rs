//! The arguments by which commands name the authority, the robot and persons, and how they are opened.

use crate::args::Context;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::local_authority::{LocalAuthority, Person};
use crate::robot_side::{Opened, RobotSide};
use crate::{key_file, state_dir, tpm_access};
use alcub3_agent::Robot;
use alcub3_keys::StateFolder;
use alcub3_tpm::TpmSpec;
use alcub3_trust_model::OperatorId;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// The environment's variable for the root folder of the machine's parts.
pub(crate) const MACHINE: &str = "ALCUB3_MACHINE";

/// The authority on this machine.
#[derive(Debug, clap::Args)]
pub(crate) struct AuthorityArgs {
    /// The authority's folder [default: /var/lib/alcub3-authority for root, else $XDG_STATE_HOME/alcub3-authority]
    #[arg(long, value_name = "DIR", env = "ALCUB3_AUTHORITY")]
    authority: Option<PathBuf>,
    /// The authority's own TPM, which holds its approval keys
    #[arg(
        long,
        value_name = "SPEC",
        env = "ALCUB3_AUTHORITY_TPM",
        default_value = "device"
    )]
    authority_tpm: TpmSpec,
}

impl AuthorityArgs {
    /// The folder.
    pub(crate) fn folder(&self) -> Result<PathBuf, CliError> {
        self.authority.clone().map_or_else(state_dir::authority, Ok)
    }

    /// The TPM.
    pub(crate) fn tpm(&self) -> &TpmSpec {
        &self.authority_tpm
    }

    /// Opens the authority with its approval keys.
    pub(crate) fn open(&self) -> Result<LocalAuthority, CliError> {
        LocalAuthority::open(&self.folder()?, &self.authority_tpm)
    }

    /// Opens the authority's records alone; what needs no approval key needs no TPM.
    pub(crate) fn open_records(&self) -> Result<alcub3_server::Authority, CliError> {
        Ok(alcub3_server::Authority::open(&self.folder()?)?)
    }
}

/// Opens the robot of the state folder on the TPM that was named, ends the missions whose end has passed, does something
/// with it, and closes it in order.
pub(crate) fn with_robot<T>(
    context: &Context,
    work: impl FnOnce(&Robot, &StateFolder) -> Result<T, CliError>,
) -> Result<T, CliError> {
    with_robot_as_it_is(context, |robot, folder| {
        if let Err(error) = robot.end_expired_missions(Some(now_ms())) {
            tracing::warn!(%error, "a mission whose end has passed is still on record; its commands are refused all the same");
        }
        work(robot, folder)
    })
}

/// As [`with_robot`], without looking at missions first: for a stop, which waits for nothing. The sequence numbers that
/// were reserved ahead and not used are given back.
pub(crate) fn with_robot_as_it_is<T>(
    context: &Context,
    work: impl FnOnce(&Robot, &StateFolder) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let folder = Arc::new(StateFolder::open(&context.state_dir()?)?);
    let robot = Robot::open(tpm_access::start(context.tpm_spec())?, folder.clone(), Vec::new())?;
    let result = work(&robot, &folder);
    if let Err(error) = robot.close() {
        tracing::warn!(%error, "reserved sequence numbers were not given back; the next command's number must be higher");
    }
    result
}

/// Does something with the robot, whoever holds it: the agent that was named, else this process, as [`with_robot`] does.
pub(crate) fn with_side<T>(
    context: &Context,
    work: impl FnOnce(&dyn RobotSide) -> Result<T, CliError>,
) -> Result<T, CliError> {
    match context.agent() {
        Some(agent) => work(&agent),
        None => with_robot(context, |robot, _| work(&Opened::at_rest(robot))),
    }
}

/// Where the machine shows its parts: the folder that ALCUB3_MACHINE names, else the whole system. None for a robot that
/// was enrolled without its machine's parts, as one under a simulator is.
pub(crate) fn machine_root(robot: &Robot) -> Result<Option<PathBuf>, CliError> {
    let named = std::env::var_os(MACHINE).map_or_else(|| PathBuf::from("/"), PathBuf::from);
    Ok(robot.has_machine()?.then_some(named))
}

/// A name and a file: `alice=alice.key`.
#[derive(Clone, Debug)]
pub(crate) struct NamedFile {
    /// The name.
    pub(crate) id: OperatorId,
    /// The file.
    pub(crate) path: PathBuf,
}

impl FromStr for NamedFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (id, path) = text.split_once('=').ok_or("write it as NAME=FILE")?;
        let id = OperatorId::new(id).map_err(|error| error.to_string())?;
        Ok(Self {
            id,
            path: path.into(),
        })
    }
}

impl NamedFile {
    /// The person with the private key of the file.
    pub(crate) fn person(&self) -> Result<Person, CliError> {
        Ok(Person {
            id: self.id.clone(),
            key: key_file::read_private(&self.path)?,
        })
    }
}

/// The persons who vote.
pub(crate) fn persons(files: &[NamedFile]) -> Result<Vec<Person>, CliError> {
    files.iter().map(NamedFile::person).collect()
}
