//! Exit codes (DESIGN §9).

/// How the process ends.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    /// Yes, or done.
    Yes,
    /// The verdict is no: refused, untrusted, not proven.
    No,
    /// The command line was not understood.
    Usage,
    /// A needed device or service is unavailable.
    Unavailable,
    /// Any other failure.
    Failure,
}

impl Exit {
    /// The number the shell sees.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Yes => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::Unavailable => 69,
            Self::Failure => 70,
        }
    }

    /// Yes or no.
    pub(crate) const fn verdict(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
