//! Repository chores: `cargo xtask bench | check-layers | check-spec | fuzz | fuzz-seeds | mutate`.
//!
//! Each chore is a module with a `run` function. Nothing here ships.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod check_layers;
mod check_spec;
mod failure;
mod fuzz;
mod fuzz_seeds;
mod mutate;
mod rust_paths;
mod rust_source;
mod source_files;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

#[derive(Parser)]
#[command(name = "xtask", about = "Repository chores")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Measure the numbers of the design; fail when one does not hold.
    Bench(bench::BenchArguments),
    /// Fail on a dependency that the layers forbid, or on impure code in core/.
    CheckLayers,
    /// Fail when SPECIFICATION.md names a test that does not exist.
    CheckSpec,
    /// Run every fuzz target for a while; fail on a finding.
    Fuzz(fuzz::FuzzArguments),
    /// Write the inputs that fuzzing starts from.
    FuzzSeeds,
    /// Change each kind of genuine evidence a hundred thousand times; fail when a verifier accepts one.
    Mutate(mutate::MutateArguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().chore {
        Chore::Bench(arguments) => bench::run(&arguments),
        Chore::CheckLayers => check_layers::run(),
        Chore::CheckSpec => check_spec::run(),
        Chore::Fuzz(arguments) => fuzz::run(&arguments),
        Chore::FuzzSeeds => fuzz_seeds::run(),
        Chore::Mutate(arguments) => mutate::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}
