//! `cargo xtask bench [NAME…] [--json]`: the numbers of DESIGN §8, in release mode; commands are counted in any.

use std::process::Command;

use clap::Args;

use crate::failure::Failure;

#[derive(Args)]
pub(crate) struct BenchArguments {
    /// Rows to measure; all without any. `commands` is the table of TPM commands per operation, `chips` the README's
    /// table of five chips' models.
    names: Vec<String>,
    /// One JSON array of objects on standard output, nothing else.
    #[arg(long)]
    json: bool,
}

/// Builds the measurements, with optimisation unless they only count, and runs them; fails when a row does not hold.
pub(crate) fn run(arguments: &BenchArguments) -> Result<(), Failure> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    command.args([
        "bench",
        "--quiet",
        "--package",
        "alcub3-agent",
        "--bench",
        "design_numbers",
    ]);
    // What is built for tests counts the same, and is there already.
    if !arguments.names.is_empty() && arguments.names.iter().all(|name| name == "commands") {
        command.args(["--profile", "dev"]);
    }
    command.arg("--");
    command.args(&arguments.names);
    if arguments.json {
        command.arg("--json");
    }
    run_to_end(&mut command, "a number does not hold; the rows above say which")
}

/// Runs `cargo bench`, whose rows are its account; a number that is not as it must be is a failure with this reason.
pub(crate) fn run_to_end(command: &mut Command, otherwise: &str) -> Result<(), Failure> {
    let named = || "cargo bench".to_owned();
    let status = command.status().map_err(|source| Failure::Command {
        command: named(),
        source,
    })?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::Refused {
        command: named(),
        stderr: otherwise.to_owned(),
    })
}
