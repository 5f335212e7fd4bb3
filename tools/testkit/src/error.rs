//! Why a test could not be set up.

use alcub3_tpm::transport::TransportError;
use std::io;
use std::process::ExitStatus;

/// Why a fixture could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestkitError {
    /// The TPM could not be started or reached.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A TPM command of the fixture itself was refused.
    #[error("{command} answered 0x{code:03x}")]
    Refused {
        /// The command.
        command: &'static str,
        /// The response code.
        code: u32,
    },
    /// A program is not installed; a test that compares with it says that it skips.
    #[error("the program `{program}` is not installed: install tpm2-tools")]
    ToolMissing {
        /// The program.
        program: String,
    },
    /// A program ended with an error.
    #[error("`{program}` ended with {status}: {stderr}")]
    ToolFailed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// What it printed.
        stderr: String,
    },
    /// A certificate could not be made.
    #[error("the certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A certificate does not read.
    #[error("the certificate does not read: {0}")]
    Parse(#[from] x509_cert::der::Error),
    /// The key is none of the kinds an endorsement key has.
    #[error("an endorsement key is P-256, P-384 or RSA-2048, not {0}")]
    UnsupportedKey(String),
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

impl TestkitError {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}
