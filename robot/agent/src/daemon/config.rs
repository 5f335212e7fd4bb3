//! The agent's configuration: one TOML file in which each key has a default and an unknown key is an error.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use alcub3_security_hal::platform::{StopLevel, StopPlan};
use alcub3_security_hal::{CommandAdapter, CommandAdapterError};
use alcub3_tpm::TpmSpec;
use serde::Deserialize;

use super::triggers::{Button, Heartbeat};
use crate::adapter_socket::AdapterSocket;
use crate::platform_logs::{LogSource, PlatformLogs};
use crate::robot::Adapters;

/// The longest configuration, in bytes.
const MOST: u64 = 256 << 10;

/// What the agent is to do. `docs/agent.md` explains each key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Config {
    /// The TPM, as `--tpm` takes it; what the command line names counts instead.
    #[serde(deserialize_with = "spec")]
    pub tpm: Option<TpmSpec>,
    /// The state folder; what the command line names counts instead.
    pub state: Option<PathBuf>,
    /// The folder below which the machine shows its parts.
    pub machine: PathBuf,
    /// The local interface.
    pub api: Api,
    /// The socket that stops the robot, and the programs that do.
    pub stop: Stop,
    /// The adapters of its platforms.
    pub adapter: Vec<Adapter>,
    /// How long the adapters are waited for before the robot is opened, in milliseconds: one that is not there by then names no
    /// parts for the inventory.
    pub adapter_wait_ms: u64,
    /// Where the logs of the boot and of the running system are.
    pub logs: Logs,
    /// What is done again and again.
    pub every: Every,
}

/// The local interface.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Api {
    /// Its socket.
    pub socket: PathBuf,
    /// Numbers of the users who may use it, besides root and the agent's own.
    pub uids: Vec<u32>,
}

/// How the robot is stopped.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Stop {
    /// The socket by which anyone on this machine may stop the robot.
    pub socket: PathBuf,
    /// Programs that stop the machine, all started at once.
    pub program: Vec<StopProgram>,
    /// Buttons that stop the robot.
    pub button: Vec<Button>,
    /// Endpoints whose silence stops it.
    pub heartbeat: Vec<Heartbeat>,
}

/// A program that stops the machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StopProgram {
    /// What it is called in reports.
    pub name: String,
    /// The executable file, by its absolute path.
    pub program: PathBuf,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// How long its end is waited for, in milliseconds.
    #[serde(default = "StopProgram::default_limit_ms")]
    pub limit_ms: u64,
}

/// An adapter out of process (docs/adapter-socket.md).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Adapter {
    /// What it is called in reports and faults: 1 to 64 of printing ASCII.
    pub name: String,
    /// The folder that it is waited for in.
    pub folder: PathBuf,
    /// The number of the user that it runs as; the agent's own where it is left out.
    pub user: Option<u32>,
    /// The number of the group through which an adapter of another user reaches folder, socket and key.
    pub group: Option<u32>,
    /// What a stop of the whole robot asks of its platform.
    #[serde(default = "Adapter::default_stop_robot")]
    pub stop_robot: StopLevel,
    /// What a stop of one level or mission asks of it.
    #[serde(default = "Adapter::default_stop_part")]
    pub stop_part: StopLevel,
}

/// Where the platform's logs are.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Logs {
    /// The UEFI event log; the machine's own where it is left out.
    pub eventlog: Option<PathBuf>,
    /// The kernel's list of what it measured; the machine's own where it is left out.
    pub ima: Option<PathBuf>,
}

/// Periods, in seconds.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Every {
    /// Looking at keys that are due.
    pub sweep_keys_s: u64,
    /// Asking the TPM for its clock and the robot's epoch, so that a chip that is gone and a stop that was made in it are seen.
    pub check_tpm_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tpm: None,
            state: None,
            machine: PathBuf::from("/"),
            api: Api::default(),
            stop: Stop::default(),
            adapter: Vec::new(),
            adapter_wait_ms: 5_000,
            logs: Logs::default(),
            every: Every::default(),
        }
    }
}

impl Default for Api {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/alcub3/agent.sock"),
            uids: Vec::new(),
        }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/alcub3/stop.sock"),
            program: Vec::new(),
            button: Vec::new(),
            heartbeat: Vec::new(),
        }
    }
}

impl Default for Every {
    fn default() -> Self {
        Self {
            sweep_keys_s: 60,
            check_tpm_s: 5,
        }
    }
}

impl Adapter {
    fn default_stop_robot() -> StopLevel {
        StopPlan::default().robot
    }

    fn default_stop_part() -> StopLevel {
        StopPlan::default().part
    }

    /// Where it is waited for.
    pub(super) fn socket(&self) -> AdapterSocket {
        AdapterSocket {
            folder: self.folder.clone(),
            user: self.user,
            group: self.group,
        }
    }

    /// What stops ask of its platform.
    pub(super) const fn plan(&self) -> StopPlan {
        StopPlan {
            robot: self.stop_robot,
            part: self.stop_part,
        }
    }

    fn has_name(&self) -> bool {
        (1..=64).contains(&self.name.len()) && self.name.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    }
}

impl StopProgram {
    const fn default_limit_ms() -> u64 {
        500
    }
}

/// Why a configuration is none.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is longer than one that people write.
    #[error("the configuration {0} is longer than {MOST} bytes")]
    TooLong(PathBuf),
    /// It is not of the documented form.
    #[error("the configuration {path}: {source}")]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line.
        source: Box<toml::de::Error>,
    },
    /// Two sockets have one path.
    #[error(
        "api.socket and stop.socket are both {0}: the stop has a socket of its own, so that nothing delays it"
    )]
    SameSocket(PathBuf),
    /// An adapter's name is none, or another's too.
    #[error("the adapter's name {0:?} is not of 1 to 64 printing ASCII characters, or two adapters have it")]
    AdapterName(String),
    /// Two adapters have one folder.
    #[error("two adapters have the folder {0}: each is waited for in one of its own")]
    AdapterFolder(PathBuf),
    /// A period is none.
    #[error("{0} is 0: give the seconds between two times, or leave it out")]
    Period(&'static str),
    /// A program that stops the machine cannot be used.
    #[error(transparent)]
    Program(#[from] CommandAdapterError),
}

impl Config {
    /// The configuration of a file.
    ///
    /// # Errors
    /// [`ConfigError`] says which key is unknown, missing or wrong, and in which line.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        if std::fs::metadata(path).map_err(failed)?.len() > MOST {
            return Err(ConfigError::TooLong(path.to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let config: Self = toml::from_str(&text).map_err(|source| ConfigError::Form {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.api.socket == self.stop.socket {
            return Err(ConfigError::SameSocket(self.stop.socket.clone()));
        }
        for (at, adapter) in self.adapter.iter().enumerate() {
            let before = || self.adapter.iter().take(at);
            if !adapter.has_name() || before().any(|other| other.name == adapter.name) {
                return Err(ConfigError::AdapterName(adapter.name.clone()));
            }
            if before().any(|other| other.folder == adapter.folder) {
                return Err(ConfigError::AdapterFolder(adapter.folder.clone()));
            }
        }
        let periods = [
            ("every.sweep-keys-s", self.every.sweep_keys_s),
            ("every.check-tpm-s", self.every.check_tpm_s),
        ];
        match periods.into_iter().find(|(_, seconds)| *seconds == 0) {
            Some((key, _)) => Err(ConfigError::Period(key)),
            None => Ok(()),
        }
    }

    /// The programs that stop the machine, each found now.
    ///
    /// # Errors
    /// One that is not there, or cannot be executed.
    pub fn stop_programs(&self) -> Result<Adapters, ConfigError> {
        let made = self.stop.program.iter().map(|stop| {
            let limit = Duration::from_millis(stop.limit_ms);
            let adapter = CommandAdapter::new(&stop.name, &stop.program, stop.arguments.clone(), limit)?;
            Ok(Box::new(adapter) as _)
        });
        made.collect()
    }

    /// The logs that go into evidence.
    pub fn platform_logs(&self) -> PlatformLogs {
        let source = |file: &Option<PathBuf>| file.clone().map_or(LogSource::Platform, LogSource::File);
        PlatformLogs {
            uefi: source(&self.logs.eventlog),
            runtime: source(&self.logs.ima),
        }
    }
}

fn spec<'de, D: serde::Deserializer<'de>>(document: D) -> Result<Option<TpmSpec>, D::Error> {
    let text = String::deserialize(document)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}
