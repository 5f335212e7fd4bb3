//! `cargo xtask check-layers`: fails on an arrow that DESIGN §2 forbids, and on impure code in `core/`.

mod graph;
mod rules;
mod sources;
#[cfg(test)]
mod tests;

use std::fmt;
use std::process::Command;

use crate::Failure;
use graph::Graph;

/// One broken rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Violation {
    rule: &'static str,
    place: String,
    what: String,
}

impl Violation {
    fn new(rule: &'static str, place: &str, what: String) -> Self {
        Self {
            rule,
            place: place.to_owned(),
            what,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {} {}", self.rule, self.place, self.what)
    }
}

/// Checks the workspace this runs in.
///
/// # Errors
/// [`Failure::Found`] with the count of broken rules, after printing each; otherwise what could not be run or read.
pub(crate) fn run() -> Result<(), Failure> {
    let graph = Graph::from_metadata(&metadata()?)?;
    let mut found = rules::violations(&graph);
    found.extend(sources::violations(&graph)?);
    for violation in &found {
        println!("{violation}");
    }
    if found.is_empty() {
        println!(
            "layers: {} crates, {} packages, no forbidden arrow",
            graph.members().count(),
            graph.packages.len()
        );
        Ok(())
    } else {
        Err(Failure::Found {
            what: "broken layer rules",
            count: found.len(),
        })
    }
}

fn metadata() -> Result<String, Failure> {
    let command = "cargo metadata --format-version 1";
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1"])
        .output()
        .map_err(|source| Failure::Command {
            command: command.to_owned(),
            source,
        })?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failure::Refused {
            command: command.to_owned(),
            stderr,
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
