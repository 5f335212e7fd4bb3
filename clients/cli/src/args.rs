//! The command line (DESIGN §9).

use crate::agent_client::AgentClient;
use crate::commands::Command;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{Output, complain};
use crate::process_memory;
use crate::style::Style;
use alcub3_tpm::TpmSpec;
use clap::Parser;
use clap::error::ErrorKind;
use std::path::{Path, PathBuf};

/// Hardware root of trust for robot fleets.
#[derive(Debug, Parser)]
#[command(name = "alcub3", version, arg_required_else_help = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 yes or done, 1 the verdict is no, 2 usage, 69 a needed device or service is \
                        unavailable, 70 any other failure."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Global {
    /// The TPM: device[:PATH], swtpm[:DIR] (a simulator), socket:HOST:PORT or socket:PATH
    /// [default: device]
    #[arg(long, global = true, value_name = "SPEC", env = "ALCUB3_TPM")]
    tpm: Option<TpmSpec>,
    /// Folder for state [default: /var/lib/alcub3 for root, else $XDG_STATE_HOME/alcub3]
    #[arg(long, global = true, value_name = "DIR", env = "ALCUB3_STATE")]
    state: Option<PathBuf>,
    /// The socket of the agent that holds the robot (`alcub3 agent`), for attest, mission, command and estop
    #[arg(long, global = true, value_name = "SOCKET", env = "ALCUB3_AGENT")]
    agent: Option<PathBuf>,
    /// Print exactly one JSON document, errors included
    #[arg(long, global = true)]
    json: bool,
}

/// What a command knows besides its own arguments.
#[derive(Debug)]
pub(crate) struct Context {
    global: Global,
    tpm: TpmSpec,
    output: Output,
}

impl Context {
    /// The TPM: the one that was named, else the machine's.
    pub(crate) fn tpm_spec(&self) -> &TpmSpec {
        &self.tpm
    }

    /// The TPM, where one was named.
    pub(crate) fn named_tpm(&self) -> Option<&TpmSpec> {
        self.global.tpm.as_ref()
    }

    /// The folder for state, where one was named.
    pub(crate) fn named_state(&self) -> Option<&Path> {
        self.global.state.as_deref()
    }

    /// The agent that holds the robot, where one was named.
    pub(crate) fn agent(&self) -> Option<AgentClient> {
        self.global.agent.as_deref().map(AgentClient::at)
    }

    /// The folder for state.
    pub(crate) fn state_dir(&self) -> Result<PathBuf, CliError> {
        self.global
            .state
            .clone()
            .map_or_else(crate::state_dir::default, Ok)
    }

    /// How text is to be marked.
    pub(crate) fn style(&self) -> Style {
        self.output.style()
    }

    /// Whether the answer is to be one JSON document.
    pub(crate) fn is_json(&self) -> bool {
        self.global.json
    }
}

/// Reads the command line, runs the command and prints its answer.
pub(crate) fn start() -> Exit {
    start_log();
    if let Err(error) = process_memory::hide() {
        tracing::warn!(%error, "the system did not forbid core dumps of this process");
    }
    match Cli::try_parse() {
        Ok(Cli { global, command }) => {
            if command.handles_secrets()
                && let Err(reason) = process_memory::lock()
            {
                tracing::warn!("{reason}");
            }
            let output = Output::new(global.json);
            let tpm = global.tpm.clone().unwrap_or_default();
            let context = Context { global, tpm, output };
            let tested = alcub3_crypto::run_self_tests().map_err(|source| CliError::SelfTest { source });
            output.finish(tested.and_then(|_| command.run(&context)))
        }
        Err(error) => misunderstood(&error),
    }
}

/// The log goes to standard error; `RUST_LOG` chooses how much.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .init();
}

/// Help and version go to standard output and mean "done"; anything else is usage.
fn misunderstood(error: &clap::Error) -> Exit {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let json = std::env::args_os().any(|argument| argument == "--json");
    if json && !asked {
        return Output::new(true).finish(Err(CliError::usage(error)));
    }
    if error.print().is_err() {
        complain("alcub3: the help could not be printed\n");
    }
    if asked { Exit::Yes } else { Exit::Usage }
}
