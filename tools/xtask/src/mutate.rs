//! `cargo xtask mutate [NAME…] [--count N] [--seed S] [--case N] [--json]`: the mutation campaign, in release mode.

use std::process::Command;

use clap::Args;

use crate::failure::Failure;

#[derive(Args)]
pub(crate) struct MutateArguments {
    /// Kinds of genuine evidence to change; all without any.
    names: Vec<String>,
    /// Different mutations of each kind, without those that mean the same.
    #[arg(long, default_value_t = 100_000)]
    count: u64,
    /// What the choices follow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Judge this case alone, and say what it changes.
    #[arg(long)]
    case: Option<u64>,
    /// One JSON array of objects on standard output, nothing else.
    #[arg(long)]
    json: bool,
}

/// Builds the campaign with optimisation and runs it; fails when a mutation was accepted.
pub(crate) fn run(arguments: &MutateArguments) -> Result<(), Failure> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    let package = ["--package", "alcub3-attestation", "--bench", "mutations"];
    command.args(["bench", "--quiet"]).args(package).arg("--");
    command.args(&arguments.names);
    let numbers = [
        ("--count", Some(arguments.count)),
        ("--seed", Some(arguments.seed)),
        ("--case", arguments.case),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            command.arg(name).arg(number.to_string());
        }
    }
    if arguments.json {
        command.arg("--json");
    }
    crate::bench::run_to_end(
        &mut command,
        "a mutation was accepted, or there is no such kind; the lines above say which, and the case that makes it again",
    )
}
