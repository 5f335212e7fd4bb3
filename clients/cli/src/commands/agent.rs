//! `agent`: the robot as a service.

use crate::args::Context;
use crate::error::CliError;
use crate::output::Answer;
use crate::tpm_access;
use alcub3_agent::Surroundings;
use alcub3_agent::daemon::{self, Config};
use alcub3_keys::StateFolder;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the configuration is when none was named.
const CONFIG: &str = "/etc/alcub3/agent.toml";

/// Hold the robot and serve it: a local interface for programs, and a socket that stops it. Ends by SIGTERM
#[derive(Debug, clap::Args)]
pub(crate) struct Agent {
    /// Its configuration (docs/agent.md) [default: /etc/alcub3/agent.toml where that is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say whether the configuration is one, and do nothing
    #[arg(long)]
    check: bool,
}

/// Serves until it is told to end.
pub(crate) fn run(arguments: &Agent, context: &Context) -> Result<Answer, CliError> {
    let path = arguments
        .config
        .clone()
        .or_else(|| Path::new(CONFIG).is_file().then(|| CONFIG.into()));
    let config = path.as_deref().map(Config::read).transpose()?.unwrap_or_default();
    if arguments.check {
        let programs = config.stop_programs()?.len();
        let json =
            json!({"config": path, "api_socket": config.api.socket, "stop_socket": config.stop.socket});
        let text = format!(
            "the configuration holds: interface {}, stop {}, {programs} programs that stop the machine",
            config.api.socket.display(),
            config.stop.socket.display()
        );
        return Ok(Answer::done(json, text));
    }
    let tpm = context
        .named_tpm()
        .or(config.tpm.as_ref())
        .unwrap_or(context.tpm_spec());
    let state = match (context.named_state(), &config.state) {
        (Some(named), _) => named.to_owned(),
        (None, Some(configured)) => configured.clone(),
        (None, None) => context.state_dir()?,
    };
    let folder = Arc::new(StateFolder::open(&state)?);
    daemon::run::<CliError>(
        || tpm_access::start(tpm),
        folder,
        &config,
        path.as_deref(),
        Box::new(Surroundings::unknown),
    )?;
    Ok(Answer::done(json!({"ended": true}), "the agent has ended"))
}
