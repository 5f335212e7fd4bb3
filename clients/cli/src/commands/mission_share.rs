//! `mission share`: one secret for the same mission on several robots, and for whoever commands them with it.

use super::{files, mission_key};
use crate::args::Context;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::output::{Answer, table};
use crate::parties::{self, AuthorityArgs};
use alcub3_fleet_protocol::shared_key::SharedKeyRequest;
use alcub3_server::EXCHANGE_MS;
use alcub3_trust_model::{MissionId, MissionKeyPurpose, OperatorId, RobotId, SessionId};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// More than any message of a shared key has, in bytes.
const LIMIT: u64 = 256 * 1024;

/// The commands of the group, in their order.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ShareCommand {
    /// 1. At the authority: open an exchange for a robot; it prints the number for `ask`, good for 5 minutes
    Open(Open),
    /// 2. On each robot: ask for its copy, with proof of its chip's storage key and PCRs
    Ask(Ask),
    /// 3. At the authority: make one secret and wrap it for each robot that asked, and for the commander's chip
    Wrap(Wrap),
    /// 4. On each robot: take its copy into the chip (the commander: `commander take`)
    Take(Take),
}

/// Arguments of `mission share open`.
#[derive(Debug, clap::Args)]
pub(crate) struct Open {
    /// The robot
    #[arg(value_name = "ROBOT")]
    robot: RobotId,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Arguments of `mission share ask`.
#[derive(Debug, clap::Args)]
pub(crate) struct Ask {
    /// The mission
    #[arg(value_name = "MISSION")]
    mission: MissionId,
    /// The exchange that the authority opened for this robot (`mission share open`)
    #[arg(long, value_name = "EXCHANGE")]
    exchange: SessionId,
    /// What the key is for: command-mac or data-sealing
    #[arg(long, default_value = "command-mac")]
    purpose: MissionKeyPurpose,
    /// Where the request goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Arguments of `mission share wrap`.
#[derive(Debug, clap::Args)]
pub(crate) struct Wrap {
    /// The robots' requests, as `mission share ask` wrote them
    #[arg(value_name = "REQUEST", required = true)]
    requests: Vec<PathBuf>,
    /// Who commands with it, where it is a command key; their chip must be admitted (`authority chip`)
    #[arg(long, value_name = "NAME")]
    commander: Option<OperatorId>,
    /// The folder for the copies: ROBOT.shared for each robot, NAME.command for the commander
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Arguments of `mission share take`.
#[derive(Debug, clap::Args)]
pub(crate) struct Take {
    /// This robot's copy, as `mission share wrap` wrote it
    #[arg(value_name = "COPY")]
    copy: PathBuf,
    /// The request that it answers, as `mission share ask` wrote it
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
}

/// Runs the command.
pub(crate) fn run(command: &ShareCommand, context: &Context) -> Result<Answer, CliError> {
    match command {
        ShareCommand::Open(arguments) => open(arguments),
        ShareCommand::Ask(arguments) => ask(arguments, context),
        ShareCommand::Wrap(arguments) => wrap(arguments),
        ShareCommand::Take(arguments) => take(arguments, context),
    }
}

fn open(arguments: &Open) -> Result<Answer, CliError> {
    let now = now_ms();
    let mut authority = arguments.authority.open_records()?;
    let exchange = authority.open_shared_key(&arguments.robot, now)?;
    let json = json!({
        "robot": arguments.robot, "exchange": exchange, "expires_ms": now.saturating_add(EXCHANGE_MS),
    });
    let text = format!(
        "exchange {exchange} is open for 5 minutes\nnext, on {}: `alcub3 mission share ask MISSION --exchange {exchange} -o FILE`",
        arguments.robot
    );
    Ok(Answer::done(json, text))
}

fn ask(arguments: &Ask, context: &Context) -> Result<Answer, CliError> {
    let (mission, purpose) = (arguments.mission, arguments.purpose);
    let request = parties::with_robot(context, |robot, _| {
        Ok(robot.shared_key_request(arguments.exchange, mission, purpose)?)
    })?;
    files::write_private(&arguments.out, &request)?;
    let json = json!({"mission": mission, "purpose": purpose, "out": arguments.out});
    let text = format!(
        "request: {}\nnext, at the authority: `alcub3 mission share wrap`",
        arguments.out.display()
    );
    Ok(Answer::done(json, text))
}

fn read_request(path: &Path) -> Result<Vec<u8>, CliError> {
    files::read(path, "a request of `mission share ask`", LIMIT)
}

fn wrap(arguments: &Wrap) -> Result<Answer, CliError> {
    let requests = arguments.requests.iter().map(|path| read_request(path));
    let requests: Vec<Vec<u8>> = requests.collect::<Result<_, _>>()?;
    let mut local = arguments.authority.open()?;
    let (authority, vault) = (&mut local.authority, &mut local.vault);
    let shared = authority.share_mission_key(&requests, arguments.commander.as_ref(), vault, now_ms())?;
    std::fs::create_dir_all(&arguments.out).map_err(|source| CliError::Write {
        path: arguments.out.clone(),
        source,
    })?;
    let robots = shared
        .messages
        .iter()
        .map(|(robot, message)| (robot.to_string(), format!("{robot}.shared"), message));
    let commander = arguments.commander.as_ref().zip(shared.commander.as_ref());
    let commander = commander.map(|(name, message)| (name.to_string(), format!("{name}.command"), message));
    let mut copies = Vec::new();
    for (name, file, message) in robots.chain(commander) {
        let path = arguments.out.join(file);
        files::write_private(&path, message)?;
        copies.push((name, path));
    }
    let json: Vec<Value> = copies
        .iter()
        .map(|(name, path)| json!({"for": name, "file": path}))
        .collect();
    let rows = copies
        .iter()
        .map(|(name, path)| [name.clone(), path.display().to_string()]);
    let mut text = table(["for", "copy"], rows);
    text.push_str("each is of use in that chip alone; next: `alcub3 mission share take` on each robot");
    if arguments.commander.is_some() {
        text.push_str(", `alcub3 commander take` for the commander");
    }
    Ok(Answer::done(json!({"copies": json}), text))
}

fn take(arguments: &Take, context: &Context) -> Result<Answer, CliError> {
    let request = SharedKeyRequest::from_canonical(&read_request(&arguments.request)?);
    let request = request.map_err(|source| CliError::Message { source })?;
    let copy = files::read(&arguments.copy, "a copy of `mission share wrap`", LIMIT)?;
    let (session, mission) = (request.session, request.mission);
    let record = parties::with_robot(context, |robot, _| {
        Ok(robot.take_shared_key(session, mission, &copy, now_ms())?)
    })?;
    let text = match record.issuer() {
        Some(issuer) => format!("key {} authenticates the commands of {issuer}", record.key),
        None => format!(
            "key {} is shared; see `alcub3 mission key list {mission}`",
            record.key
        ),
    };
    Ok(Answer::done(mission_key::to_json(&record), text))
}
