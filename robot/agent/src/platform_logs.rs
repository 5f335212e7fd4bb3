//! The logs of the platform itself: what the firmware and the kernel measured.

use crate::{AgentError, Result};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where Linux shows the firmware's event log.
const UEFI_LOG: &str = "/sys/kernel/security/tpm0/binary_bios_measurements";
/// Where Linux shows what it measured itself.
const RUNTIME_LOG: &str = "/sys/kernel/security/ima/binary_runtime_measurements";

/// Where a log is.
#[derive(Clone, Debug, Default)]
pub enum LogSource {
    /// The machine's own, where it has one; none otherwise.
    #[default]
    Platform,
    /// A file.
    File(PathBuf),
    /// Bytes that the caller has.
    Bytes(Vec<u8>),
    /// There is none.
    Absent,
}

/// The logs that go into evidence.
#[derive(Clone, Debug, Default)]
pub struct PlatformLogs {
    /// The firmware's and the boot loader's.
    pub uefi: LogSource,
    /// The kernel's list of what the running system measured (IMA).
    pub runtime: LogSource,
}

impl PlatformLogs {
    /// No log at all.
    pub const NONE: Self = Self {
        uefi: LogSource::Absent,
        runtime: LogSource::Absent,
    };

    /// This UEFI log, and no list.
    pub const fn uefi(log: LogSource) -> Self {
        Self {
            uefi: log,
            runtime: LogSource::Absent,
        }
    }

    /// The UEFI log; `None` where the machine has none.
    ///
    /// # Errors
    /// A log that is there and cannot be read.
    pub fn read_uefi(&self) -> Result<Option<Vec<u8>>> {
        self.uefi
            .read(Path::new(UEFI_LOG))
            .map_err(|(path, source)| AgentError::BootLog { path, source })
    }

    /// The list of what the running system measured; `None` where the machine has none.
    ///
    /// # Errors
    /// A list that is there and cannot be read.
    pub fn read_runtime(&self) -> Result<Option<Vec<u8>>> {
        self.runtime
            .read(Path::new(RUNTIME_LOG))
            .map_err(|(path, source)| AgentError::RuntimeLog { path, source })
    }
}

impl LogSource {
    fn read(&self, platform: &Path) -> core::result::Result<Option<Vec<u8>>, (PathBuf, std::io::Error)> {
        let (path, optional) = match self {
            Self::Absent => return Ok(None),
            Self::Bytes(bytes) => return Ok(Some(bytes.clone())),
            Self::Platform => (platform, true),
            Self::File(path) => (path.as_path(), false),
        };
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if optional && error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err((path.to_owned(), error)),
        }
    }
}
