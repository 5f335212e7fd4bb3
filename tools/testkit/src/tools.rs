//! `tpm2-tools`, the independent implementation that results are compared with.

use crate::TestkitError;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs `tpm2-tools` on one TPM in one folder.
#[derive(Clone, Debug)]
pub struct Tools {
    tcti: String,
    folder: PathBuf,
}

/// What a tool printed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ToolOutput {
    /// On stdout.
    pub stdout: Vec<u8>,
    /// On stderr.
    pub stderr: String,
}

impl ToolOutput {
    /// What it printed on stdout, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl Tools {
    /// Tools that reach their TPM by `tcti` (`none` for those that need none) and find files in `folder`.
    pub fn new(tcti: impl Into<String>, folder: impl Into<PathBuf>) -> Self {
        Self {
            tcti: tcti.into(),
            folder: folder.into(),
        }
    }

    /// The folder that relative paths start from.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The same TPM with another folder.
    #[must_use]
    pub fn in_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = folder.into();
        self
    }

    /// Runs `tpm2_NAME` with these arguments.
    ///
    /// # Errors
    /// [`TestkitError::ToolMissing`], on which a test says that it skips, or
    /// [`ToolFailed`](TestkitError::ToolFailed) when it ended with an error.
    pub fn run(&self, name: &str, arguments: &[&str]) -> Result<ToolOutput, TestkitError> {
        let program = format!("tpm2_{name}");
        let ran = Command::new(&program)
            .args(arguments)
            .env("TPM2TOOLS_TCTI", &self.tcti)
            .current_dir(&self.folder)
            .output();
        let output = match ran {
            Ok(output) => output,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(TestkitError::ToolMissing { program });
            }
            Err(source) => {
                return Err(TestkitError::Io {
                    what: "running tpm2-tools",
                    source,
                });
            }
        };
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            Ok(ToolOutput {
                stdout: output.stdout,
                stderr,
            })
        } else {
            Err(TestkitError::ToolFailed {
                program,
                status: output.status,
                stderr,
            })
        }
    }

    /// Whether `tpm2-tools` are installed.
    pub fn installed() -> bool {
        Command::new("tpm2_getrandom").arg("--version").output().is_ok()
    }
}
