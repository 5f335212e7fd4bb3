//! What a command says: text for people or one JSON document for programs.

use crate::error::CliError;
use crate::exit::Exit;
use crate::style::Style;
use comfy_table::{Cell, ContentArrangement, Table, presets};
use serde_json::{Value, json};
use std::io::Write;

/// A command's answer in both forms.
#[derive(Debug)]
pub(crate) struct Answer {
    exit: Exit,
    json: Value,
    text: Text,
}

/// What people get.
#[derive(Debug)]
enum Text {
    Lines(String),
    /// As it is, without a line end.
    Bytes(Vec<u8>),
}

impl Answer {
    /// An answer that means yes or done.
    pub(crate) fn done(json: Value, text: impl Into<String>) -> Self {
        Self::with(Exit::Yes, json, text)
    }

    /// An answer that is a verdict.
    pub(crate) fn verdict(yes: bool, json: Value, text: impl Into<String>) -> Self {
        Self::with(Exit::verdict(yes), json, text)
    }

    /// With more fields in the JSON document.
    pub(crate) fn with_fields<const N: usize>(mut self, more: [(&str, Value); N]) -> Self {
        if let Some(fields) = self.json.as_object_mut() {
            fields.extend(more.map(|(name, value)| (name.to_owned(), value)));
        }
        self
    }

    /// Data as it is.
    pub(crate) fn bytes(json: Value, bytes: Vec<u8>) -> Self {
        Self {
            exit: Exit::Yes,
            json,
            text: Text::Bytes(bytes),
        }
    }

    /// An answer that ends the process so.
    pub(crate) fn with(exit: Exit, json: Value, text: impl Into<String>) -> Self {
        Self {
            exit,
            json,
            text: Text::Lines(text.into()),
        }
    }
}

/// Where answers go.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Output {
    json: bool,
    style: Style,
}

impl Output {
    /// Output as the command line asked for it.
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            style: Style::of_stdout(),
        }
    }

    /// How text is to be marked.
    pub(crate) fn style(&self) -> Style {
        self.style
    }

    /// Prints the answer, or why there is none, and says how the process ends.
    pub(crate) fn finish(&self, result: Result<Answer, CliError>) -> Exit {
        match result {
            Ok(answer) => {
                match answer.text {
                    _ if self.json => print(format!("{:#}\n", answer.json).as_bytes()),
                    Text::Lines(text) => print(ended(text).as_bytes()),
                    Text::Bytes(bytes) => print(&bytes),
                }
                answer.exit
            }
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&self, error: &CliError) -> Exit {
        let (message, remedy) = error.message_and_remedy();
        if self.json {
            let error = json!({"error": {"code": error.code(), "message": message, "remedy": remedy}});
            print(format!("{error:#}\n").as_bytes());
        } else {
            complain(&format!("alcub3: {}\n", harmless(&message)));
            if !remedy.is_empty() {
                complain(&format!("  remedy: {remedy}\n"));
            }
        }
        error.exit()
    }
}

/// A message may quote what a file of whatever origin says: nothing in it does anything to a terminal.
fn harmless(message: &str) -> String {
    let shown = |character: char| match character {
        '\n' => "\n".to_owned(),
        control if control.is_control() => control.escape_debug().to_string(),
        other => other.to_string(),
    };
    message.chars().map(shown).collect()
}

fn ended(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// A reader that went away (`| head`) is no failure of ours.
fn print(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
}

/// One message on standard error.
pub(crate) fn complain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// A table without frames, so that it reads well in a terminal and in a pipe.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.map(Cell::new));
    for row in rows {
        table.add_row(row.map(Cell::new));
    }
    lines(&table)
}

/// Names and values in two columns.
pub(crate) fn pairs<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    for (name, value) in rows {
        table.add_row([Cell::new(name), Cell::new(value)]);
    }
    lines(&table)
}

fn lines(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.strip_prefix(' ').unwrap_or(&line).trim_end());
        text.push('\n');
    }
    text
}
