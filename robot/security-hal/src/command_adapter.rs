//! A platform adapter that runs a program: the robot's own stop script.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::order::StopOrder;
use crate::ports::PlatformAdapter;
use crate::report::PortError;

/// Runs one configured program on a stop, without a shell. The program is told of the stop in its environment:
/// `ALCUB3_STOP_ID`, `ALCUB3_STOP_SCOPE` and `ALCUB3_STOP_CAUSE`.
///
/// The program is found when the adapter is made, so that a stop looks nothing up, and it is not waited for
/// longer than the limit: a stop that follows must be able to start it again.
#[derive(Debug)]
pub struct CommandAdapter {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    limit: Duration,
    /// Programs that were not waited for to their end.
    left_running: Vec<Child>,
}

/// A stop program that cannot be used, or that did not do its part.
#[derive(Debug, thiserror::Error)]
pub enum CommandAdapterError {
    /// The path is not absolute: what it names would depend on where the agent was started.
    #[error("stop program {0}: give its absolute path")]
    NotAbsolute(PathBuf),
    /// The program is not there.
    #[error("stop program {path}: {source}; install it or correct the configuration")]
    Unusable {
        /// Its path.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The path is a folder, or a file that may not be executed.
    #[error("stop program {0} is not an executable file: chmod +x it or correct the configuration")]
    NotExecutable(PathBuf),
    /// It ended, and said that it failed.
    #[error("stop program {path} ended with {status}")]
    Failed {
        /// Its path.
        path: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },
    /// It was started and had not ended within the limit; it was left running.
    #[error("stop program {path} was started and had not ended after {waited_ms} ms")]
    StillRunning {
        /// Its path.
        path: PathBuf,
        /// How long it was waited for, in milliseconds.
        waited_ms: u128,
    },
}

const POLL: Duration = Duration::from_millis(2);

impl CommandAdapter {
    /// An adapter for a program, which must exist and be executable now.
    ///
    /// # Errors
    /// [`CommandAdapterError`] where the path is not absolute, or names no executable file.
    pub fn new(
        name: impl Into<String>,
        program: &Path,
        arguments: Vec<String>,
        limit: Duration,
    ) -> Result<Self, CommandAdapterError> {
        if !program.is_absolute() {
            return Err(CommandAdapterError::NotAbsolute(program.to_owned()));
        }
        let unusable = |source| CommandAdapterError::Unusable {
            path: program.to_owned(),
            source,
        };
        let resolved = program.canonicalize().map_err(unusable)?;
        let metadata = resolved.metadata().map_err(unusable)?;
        if !metadata.is_file() || !is_executable(&metadata) {
            return Err(CommandAdapterError::NotExecutable(resolved));
        }
        Ok(Self {
            name: name.into(),
            program: resolved,
            arguments,
            limit,
            left_running: Vec::new(),
        })
    }

    fn start(&self, order: &StopOrder) -> Result<Child, CommandAdapterError> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.env("ALCUB3_STOP_ID", order.stop.to_string());
        command.env("ALCUB3_STOP_SCOPE", order.scope.name());
        command.env("ALCUB3_STOP_CAUSE", order.cause.name());
        command.spawn().map_err(|source| self.unusable(source))
    }

    fn await_end(&self, child: &mut Child) -> Result<(), CommandAdapterError> {
        let begun = Instant::now();
        loop {
            if let Some(status) = child.try_wait().map_err(|source| self.unusable(source))? {
                let failed = || CommandAdapterError::Failed {
                    path: self.program.clone(),
                    status,
                };
                return if status.success() { Ok(()) } else { Err(failed()) };
            }
            if begun.elapsed() >= self.limit {
                let waited_ms = self.limit.as_millis();
                return Err(CommandAdapterError::StillRunning {
                    path: self.program.clone(),
                    waited_ms,
                });
            }
            thread::sleep(POLL);
        }
    }

    fn unusable(&self, source: io::Error) -> CommandAdapterError {
        CommandAdapterError::Unusable {
            path: self.program.clone(),
            source,
        }
    }

    /// Collects programs that have ended since, so that none stays behind as a zombie.
    fn reap(&mut self) {
        self.left_running
            .retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }
}

#[cfg(unix)]
fn is_executable(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &std::fs::Metadata) -> bool {
    true
}

impl PlatformAdapter for CommandAdapter {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn stop(&mut self, order: &StopOrder) -> Result<(), PortError> {
        let mut child = self.start(order)?;
        let ended = self.await_end(&mut child);
        if matches!(ended, Err(CommandAdapterError::StillRunning { .. })) {
            self.left_running.push(child);
        }
        self.reap();
        Ok(ended?)
    }
}
