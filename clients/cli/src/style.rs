//! Colour for terminals, none for pipes and files (and none where `NO_COLOR` is set).

use std::io::IsTerminal;

/// How text is marked. Plain text passes unchanged where standard output is no terminal.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Style {
    colour: bool,
}

impl Style {
    /// The style for standard output as it is now.
    pub(crate) fn of_stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            colour: wanted && std::io::stdout().is_terminal(),
        }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// Headings.
    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// What may be skipped when reading.
    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// Yes, done, holds.
    pub(crate) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// No, refused, does not hold.
    pub(crate) fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// Neither: worth a look.
    pub(crate) fn warn(self, text: &str) -> String {
        self.paint("33", text)
    }
}
