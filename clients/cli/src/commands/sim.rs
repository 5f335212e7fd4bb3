//! `sim robot`: the simulated robot as a process of its own, behind its agent's adapter socket.

use crate::args::Context;
use crate::error::CliError;
use crate::output::Answer;
use alcub3_agent::adapter_socket::{AdapterClient, AdapterSocket, ClientError};
use alcub3_security_hal::simulated::{SimulatedPlan, simulated};
use alcub3_security_hal::{Clock, SystemClock};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long it is waited before the agent is looked for again.
const AGAIN: Duration = Duration::from_millis(200);

/// The commands of `sim`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum SimCommand {
    /// A simulated robot, driven by an agent that waits for it in a folder (docs/adapter-socket.md)
    Robot(SimulatedRobot),
}

/// Arguments of `sim robot`.
#[derive(Debug, clap::Args)]
pub(crate) struct SimulatedRobot {
    /// The folder that the agent waits in for this adapter: its socket and its key are there
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// What its serial number and its faults are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds between two faults, on average; without it, it has none
    #[arg(long, value_name = "SECONDS")]
    seconds_per_fault: Option<u64>,
    /// End with the first session, instead of waiting for the next
    #[arg(long)]
    once: bool,
}

/// Runs a command of `sim`.
pub(crate) fn run(command: &SimCommand, _: &Context) -> Result<Answer, CliError> {
    match command {
        SimCommand::Robot(arguments) => robot(arguments),
    }
}

/// Serves session after session. It only returns where it is to end with the first, or where no session can ever be.
fn robot(arguments: &SimulatedRobot) -> Result<Answer, CliError> {
    let mut plan = SimulatedPlan::rover(arguments.seed);
    plan.seconds_per_fault = arguments.seconds_per_fault;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (driver, brake) = simulated(plan, clock);
    let place = AdapterSocket::own(&arguments.folder);
    let mut client = AdapterClient::new(&place.socket_path(), &place.key_path(), driver, brake);
    loop {
        let ended = client.serve();
        let for_ever = matches!(ended, ClientError::Platform(_) | ClientError::NotStopped { .. });
        if arguments.once || for_ever {
            return Err(CliError::Adapter(ended));
        }
        tracing::info!(%ended, "the simulated robot waits for its agent");
        std::thread::sleep(AGAIN);
    }
}
