//! The `alcub3` command: what people and scripts use to ask a robot's TPM, judge evidence and stop robots.
//!
//! What it does: reads arguments and files, calls the libraries, and says the answer to people or, with `--json`,
//! as exactly one JSON document. Its exit code is the verdict (see [`exit::Exit`]).
//!
//! What it does not do: decide anything itself, or choose a simulator where a chip is absent.
//!
//! The three types to know: [`args::Cli`] is the whole command line, [`output::Answer`] what a command has to say,
//! [`error::CliError`] why it has none, with the remedy.
#![forbid(unsafe_code)]

mod agent_client;
mod args;
mod authority_vault;
mod clock;
mod commands;
mod error;
mod exit;
mod key_file;
mod local_authority;
mod output;
mod parties;
mod process_memory;
mod robot_side;
mod sealed_file;
mod simulator;
mod state_dir;
mod style;
mod tpm_access;

fn main() -> std::process::ExitCode {
    args::start().into()
}
