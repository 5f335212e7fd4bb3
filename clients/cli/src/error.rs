//! Why a command has no answer, and what to do about it.

use crate::exit::Exit;
use alcub3_attestation::event_log::EventLogError;
use std::error::Error;
use std::path::PathBuf;

/// Why a command has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The command line was not understood.
    #[error("{message}")]
    Usage {
        /// clap's message.
        message: String,
    },
    /// Neither a home folder nor XDG_STATE_HOME is known.
    #[error("there is no folder for state: neither XDG_STATE_HOME nor HOME is an absolute path")]
    NoStateFolder,
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file is too long to be what it should be.
    #[error("{} has more than {limit} bytes, too many for {what}", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// Bytes allowed.
        limit: u64,
    },
    /// A file is no event log.
    #[error("{}: {source}", path.display())]
    EventLog {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: EventLogError,
    },
    /// An answer could not be written as JSON.
    #[error("the answer cannot be written as JSON: {source}")]
    Json {
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl CliError {
    /// What clap did not understand, without its colours and its list of usages.
    pub(crate) fn usage(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let first = text.split("\n\n").next().unwrap_or_default();
        let message = first.strip_prefix("error: ").unwrap_or(first).split_whitespace();
        Self::Usage {
            message: message.collect::<Vec<_>>().join(" "),
        }
    }

    /// How the process ends.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } => Exit::Usage,
            _ => Exit::Failure,
        }
    }

    /// A word for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Usage { .. } => "usage",
            Self::NoStateFolder => "no-state-folder",
            Self::Read { .. } => "unreadable-file",
            Self::TooLong { .. } => "file-too-long",
            Self::EventLog { .. } => "bad-event-log",
            Self::Json { .. } => "output",
        }
    }

    /// The message and what to do. The libraries end their messages with the remedy, after the last semicolon.
    pub(crate) fn message_and_remedy(&self) -> (String, String) {
        let text = with_sources(self);
        match self.own_remedy() {
            Some(remedy) => (text, remedy.to_owned()),
            None => match text.rsplit_once("; ") {
                Some((message, remedy)) => (message.to_owned(), remedy.to_owned()),
                None => (text, String::new()),
            },
        }
    }

    fn own_remedy(&self) -> Option<&'static str> {
        match self {
            Self::Usage { .. } => Some("see `alcub3 --help`"),
            Self::NoStateFolder => Some("name a folder with --state DIR"),
            Self::Read { source, .. } => Some(match source.kind() {
                std::io::ErrorKind::NotFound => "check the path",
                std::io::ErrorKind::PermissionDenied => {
                    "make the file readable for this user, or run as one who may read it"
                }
                _ => "check the file and its disk",
            }),
            Self::TooLong { .. } => Some("check that this is the file you mean"),
            Self::EventLog { .. } | Self::Json { .. } => None,
        }
    }
}

/// The message with those of its sources that it does not repeat itself.
pub(crate) fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}
