//! `estop`, `estop reset` and `estop purge`.

use super::{direct_stop, files, purge, stop_socket};
use crate::agent_client::AgentClient;
use crate::args::Context;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{Answer, table};
use crate::parties::{self, AuthorityArgs, NamedFile};
use crate::style::Style;
use alcub3_agent::AgentError;
use alcub3_attestation::receipt::Outcome;
use alcub3_keys::KeysError;
use alcub3_security_hal::{StopReport, StopScope};
use alcub3_trust_model::{Level, MissionId, RobotId, StopCause};
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Stop a robot now. Anyone who may reach it may stop it; starting again takes two persons (`estop reset`).
///
/// A security-triggered protective stop with evidence; not a certified ISO 13850 emergency stop.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Estop {
    /// How much: robot, level:LEVEL or mission:MISSION
    #[arg(long, value_name = "SCOPE", default_value = "robot")]
    scope: Scope,
    /// Why: manual-trigger, safety-violation, security-breach, classification-violation, unauthorized-access,
    /// network-intrusion or system-failure
    #[arg(long, value_name = "REASON", default_value = "manual-trigger")]
    reason: StopCause,
    /// Write the receipt to this file as well; the robot keeps one in any case
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<EstopCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum EstopCommand {
    /// Arm a stopped robot again: two approvers vote
    Reset(Reset),
    /// Clear the robot's TPM and wipe its state folder, for good: two approvers vote. Export the audit log before
    Purge(purge::Purge),
}

impl Estop {
    /// Why.
    pub(super) const fn reason(&self) -> StopCause {
        self.reason
    }

    /// Whether all of the robot is to be stopped.
    pub(super) const fn is_whole(&self) -> bool {
        matches!(self.scope, Scope::Robot)
    }
}

/// Arguments of `estop reset`.
#[derive(Debug, clap::Args)]
struct Reset {
    /// A level to arm; all that the robot serves where none is named
    #[arg(long, value_name = "LEVEL")]
    level: Vec<Level>,
    /// An approver with their private key, as NAME=FILE; two different persons
    #[arg(long, value_name = "NAME=FILE", required = true)]
    approve: Vec<NamedFile>,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// How much is stopped.
#[derive(Clone, Debug)]
enum Scope {
    Robot,
    Level(Level),
    Mission(MissionId),
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Robot => out.write_str("robot"),
            Self::Level(level) => write!(out, "level:{level}"),
            Self::Mission(mission) => write!(out, "mission:{mission}"),
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "robot" => Ok(Self::Robot),
            Some(("level", level)) => level.parse().map(Self::Level).map_err(|error| format!("{error}")),
            Some(("mission", mission)) => mission
                .parse()
                .map(Self::Mission)
                .map_err(|error| format!("{error}")),
            _ => Err("use robot, level:LEVEL or mission:MISSION".to_owned()),
        }
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Estop, context: &Context) -> Result<Answer, CliError> {
    match &arguments.command {
        Some(EstopCommand::Reset(reset)) => rearm(reset, context),
        Some(EstopCommand::Purge(arguments)) => purge::run(arguments, context),
        None => stop(arguments, context),
    }
}

fn stop(arguments: &Estop, context: &Context) -> Result<Answer, CliError> {
    if let Some(agent) = context.agent() {
        return stop_by_agent(arguments, &agent);
    }
    if let Some(answer) = stop_socket::stop(arguments, context) {
        return Ok(answer);
    }
    let stopped = parties::with_robot_as_it_is(context, |robot, _| {
        let scope = match &arguments.scope {
            Scope::Robot => StopScope::Robot,
            Scope::Level(level) => StopScope::Level(*level),
            Scope::Mission(mission) => robot.mission_scope(*mission)?,
        };
        Ok(robot.stop(scope, arguments.reason, now_ms())?)
    });
    let report = match stopped {
        Ok(report) => report,
        // A mission that is not there is the caller's mistake; anything else must not keep the robot from being stopped.
        Err(error) if is_mistake(&error) || error.exit() == Exit::Unavailable => return Err(error),
        Err(error) => {
            let direct = direct_stop::stop(context.tpm_spec(), arguments.reason, &error, context.style());
            return direct.map_err(|inner| {
                tracing::error!(error = %inner, "the stop straight in the TPM failed as well");
                error
            });
        }
    };
    if let (Some(path), Some(receipt)) = (&arguments.receipt, &report.receipt) {
        // The stop stands whatever becomes of the copy.
        if let Err(error) = files::write_private(path, receipt) {
            tracing::error!(%error, "the receipt was not written; the robot keeps its own");
        }
    }
    Ok(Answer::verdict(
        report.is_complete(),
        to_json(&report),
        text(&report, context.style()),
    ))
}

/// The agent holds the robot and stops it. Where it does not answer, the stop socket and the TPM itself are left: `docs/agent.md`.
fn stop_by_agent(arguments: &Estop, agent: &AgentClient) -> Result<Answer, CliError> {
    let wanted = json!({"scope": arguments.scope.to_string(), "cause": arguments.reason});
    let mut report: Value = agent.parse(&agent.post_json("/v1/stop", &wanted)?)?;
    let stop = report
        .get("stop")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if let Some(path) = &arguments.receipt {
        let receipt = agent
            .receipt(&stop)
            .and_then(|receipt| files::write_private(path, &receipt));
        // The stop stands whatever becomes of the copy.
        if let Err(error) = receipt {
            tracing::error!(%error, "the receipt was not written; the robot keeps its own");
        }
    }
    let is_complete = report.get("complete") == Some(&Value::Bool(true));
    let text = match is_complete {
        true => format!("stopped, and every step is confirmed\nstop {stop}"),
        false => {
            format!("stopped; not every step could be confirmed, so treat those as not done\nstop {stop}")
        }
    };
    if let Some(fields) = report.as_object_mut() {
        fields.insert("agent".into(), true.into());
    }
    Ok(Answer::verdict(is_complete, report, text))
}

fn is_mistake(error: &CliError) -> bool {
    matches!(
        error,
        CliError::Keys(KeysError::NoSuchMission { .. })
            | CliError::Agent(AgentError::Keys(KeysError::NoSuchMission { .. }))
    )
}

fn to_json(report: &StopReport) -> Value {
    let steps = report.steps.iter().map(|step| {
        json!({
            "step": step.step.name(), "confirmed": step.outcome.is_done(), "outcome": step.outcome.to_string(),
            "began_ns": step.began_ns, "ended_ns": step.ended_ns,
        })
    });
    json!({
        "stop": report.stop, "scope": report.scope.name(), "complete": report.is_complete(),
        "joined": report.joined, "called_utc_ms": report.called_utc_ms,
        "steps": steps.collect::<Vec<_>>(), "receipt": report.receipt.as_ref().map(hex::encode),
    })
}

fn text(report: &StopReport, style: Style) -> String {
    let head = if report.is_complete() {
        style.good("stopped, and every step is confirmed")
    } else {
        style.bad("stopped; not every step could be confirmed, so treat those as not done")
    };
    let rows = report.steps.iter().map(|step| {
        let ended = format!("{} us", step.ended_ns / 1_000);
        [step.step.name().to_owned(), ended, step.outcome.to_string()]
    });
    let table = table(["step", "ended after", "outcome"], rows);
    format!(
        "{head}\nstop {}, scope {}\n{table}",
        report.stop,
        report.scope.name()
    )
}

fn rearm(arguments: &Reset, context: &Context) -> Result<Answer, CliError> {
    let persons = parties::persons(&arguments.approve)?;
    let mut authority = arguments.authority.open()?;
    let (name, armed) = parties::with_side(context, |robot| {
        let name = robot.name()?;
        let levels = match arguments.level.is_empty() {
            true => robot.levels()?,
            false => arguments.level.clone(),
        };
        show_receipts(&robot.receipts()?, &name, &mut authority.authority)?;
        let armed = authority.rearm(robot, &levels, &persons)?;
        Ok((name, armed))
    })?;
    let names: Vec<String> = armed.iter().map(ToString::to_string).collect();
    let json = json!({"robot": name, "armed": names});
    Ok(Answer::done(
        json,
        format!(
            "{name} is armed for {}; attest it before it is given missions",
            names.join(", ")
        ),
    ))
}

/// Lets the authority see the receipts of the robot's stops, so that what is approved includes them.
fn show_receipts(
    receipts: &[Vec<u8>],
    robot: &RobotId,
    authority: &mut alcub3_server::Authority,
) -> Result<(), CliError> {
    for receipt in receipts {
        let verdict = authority.verify_receipt(robot, receipt, now_ms())?;
        if verdict.outcome != Outcome::Proven {
            tracing::warn!(
                outcome = verdict.outcome.name(),
                "a receipt of this robot does not prove its stop fully"
            );
        }
    }
    Ok(())
}
