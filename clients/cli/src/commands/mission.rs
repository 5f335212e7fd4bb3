//! `mission`: what a robot may do, until when, at whose command.

use super::{mission_key, mission_share};
use crate::args::Context;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::output::{Answer, pairs, table};
use crate::parties::{self, AuthorityArgs, NamedFile};
use alcub3_agent::{ActiveMission, MissionList};
use alcub3_command_authority::{CommandPattern, SafetyLimits};
use alcub3_server::MissionPlan;
use alcub3_trust_model::{Integrity, Labels, Level, MissionId, OperatorId};
use serde_json::json;

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum MissionCommand {
    /// Start a mission: persons approve it, and its key is made in the robot's chip
    Start(Start),
    /// One mission
    Show(Named),
    /// The missions that are active, and those that ended lately
    List,
    /// Move a mission's end, with the approval of as many persons as its level takes
    Extend(Extend),
    /// Hand a mission over: others command it from then on, with the approval of as many persons as its level takes
    HandOver(HandOver),
    /// End a mission: its keys are dead from then on
    Complete(Named),
    /// Further keys of a mission
    #[command(subcommand)]
    Key(mission_key::KeyCommand),
    /// One secret for several robots of a mission, and for whoever commands them with it
    #[command(subcommand)]
    Share(mission_share::ShareCommand),
}

/// A mission by its identifier.
#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// The mission
    #[arg(value_name = "MISSION")]
    mission: MissionId,
}

/// Arguments of `mission extend`.
#[derive(Debug, clap::Args)]
pub(crate) struct Extend {
    /// The mission
    #[arg(value_name = "MISSION")]
    mission: MissionId,
    /// How long it lasts in all, counted from its start, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    duration_s: u64,
    /// An approver with their private key, as NAME=FILE; as many as the level takes
    #[arg(long, value_name = "NAME=FILE", required = true)]
    approve: Vec<NamedFile>,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Arguments of `mission hand-over`.
#[derive(Debug, clap::Args)]
pub(crate) struct HandOver {
    /// The mission
    #[arg(value_name = "MISSION")]
    mission: MissionId,
    /// Who commands it from then on, and what, as NAME=PATTERN,PATTERN; nobody else does
    #[arg(long, value_name = "NAME=PATTERNS", required = true, value_parser = issuer)]
    to: Vec<Issuer>,
    /// An approver with their private key, as NAME=FILE; as many as the level takes
    #[arg(long, value_name = "NAME=FILE", required = true)]
    approve: Vec<NamedFile>,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Arguments of `mission start`.
#[derive(Debug, clap::Args)]
pub(crate) struct Start {
    /// The level
    #[arg(long)]
    level: Level,
    /// The least integrity its commands must have
    #[arg(long, default_value = "operational")]
    integrity: Integrity,
    /// How long it lasts, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    duration_s: u64,
    /// Who commands, and what, as NAME=PATTERN,PATTERN (move.*, observe.camera)
    #[arg(long, value_name = "NAME=PATTERNS", required = true, value_parser = issuer)]
    issuer: Vec<Issuer>,
    /// The greatest speed, in millimetres per second
    #[arg(long, value_name = "MM_PER_S", default_value_t = 1_000)]
    max_speed_mm_per_s: u32,
    /// The greatest rate of turn, in thousandths of a degree per second
    #[arg(long, value_name = "MDEG_PER_S", default_value_t = 45_000)]
    max_turn_mdeg_per_s: u32,
    /// The longest single movement, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    max_movement_ms: u32,
    /// An approver with their private key, as NAME=FILE; as many as the level takes
    #[arg(long, value_name = "NAME=FILE", required = true)]
    approve: Vec<NamedFile>,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Who commands, and what.
type Issuer = (OperatorId, Vec<CommandPattern>);

fn issuer(text: &str) -> Result<Issuer, String> {
    let (id, patterns) = text.split_once('=').ok_or("write it as NAME=PATTERN,PATTERN")?;
    let id = OperatorId::new(id).map_err(|error| error.to_string())?;
    let patterns = patterns
        .split(',')
        .map(CommandPattern::new)
        .collect::<Result<_, _>>();
    Ok((id, patterns.map_err(|error| error.to_string())?))
}

/// Runs the command.
pub(crate) fn run(command: &MissionCommand, context: &Context) -> Result<Answer, CliError> {
    match command {
        MissionCommand::Start(arguments) => start(arguments, context),
        MissionCommand::Show(Named { mission }) => {
            parties::with_side(context, |robot| Ok(show(&robot.mission(*mission)?)))
        }
        MissionCommand::List => parties::with_side(context, |robot| Ok(list(&robot.missions()?))),
        MissionCommand::Extend(arguments) => extend(arguments, context),
        MissionCommand::HandOver(arguments) => hand_over(arguments, context),
        MissionCommand::Key(command) => mission_key::run(command, context),
        MissionCommand::Share(command) => mission_share::run(command, context),
        MissionCommand::Complete(Named { mission }) => {
            parties::with_side(context, |robot| robot.complete_mission(*mission))?;
            Ok(Answer::done(
                json!({"mission": mission, "completed": true}),
                format!("mission {mission} has ended"),
            ))
        }
    }
}

fn start(arguments: &Start, context: &Context) -> Result<Answer, CliError> {
    let persons = parties::persons(&arguments.approve)?;
    let mut authority = arguments.authority.open()?;
    let limits = SafetyLimits {
        max_speed_mm_per_s: arguments.max_speed_mm_per_s,
        max_turn_mdeg_per_s: arguments.max_turn_mdeg_per_s,
        max_duration_ms: arguments.max_movement_ms,
        geofence: None,
    };
    let plan = MissionPlan {
        issuers: arguments.issuer.clone(),
        limits,
    };
    let labels = Labels::new(arguments.level, arguments.integrity);
    let duration_ms = arguments.duration_s.saturating_mul(1_000);
    parties::with_side(context, |robot| {
        let mission = authority.start_mission(robot, labels, duration_ms, &plan, &persons)?;
        Ok(show(&mission))
    })
}

fn extend(arguments: &Extend, context: &Context) -> Result<Answer, CliError> {
    let persons = parties::persons(&arguments.approve)?;
    let mut authority = arguments.authority.open()?;
    let duration_ms = arguments.duration_s.saturating_mul(1_000);
    parties::with_side(context, |robot| {
        let mission = authority.extend_mission(robot, arguments.mission, duration_ms, &persons)?;
        Ok(show(&mission))
    })
}

fn hand_over(arguments: &HandOver, context: &Context) -> Result<Answer, CliError> {
    let persons = parties::persons(&arguments.approve)?;
    let mut authority = arguments.authority.open()?;
    parties::with_side(context, |robot| {
        let mission = authority.hand_over_mission(robot, arguments.mission, &arguments.to, &persons)?;
        Ok(show(&mission))
    })
}

fn show(mission: &ActiveMission) -> Answer {
    let mut text = pairs([
        ("mission", mission.mission.to_string()),
        ("robot", mission.robot.to_string()),
        ("lease", mission.lease.to_string()),
        (
            "level",
            format!("{}, {}", mission.labels.level, mission.labels.integrity),
        ),
        ("ends in", remaining(mission.not_after_ms)),
        ("keys", mission.keys.to_string()),
        ("state", state(mission).to_owned()),
        ("at most", format!("{} mm/s", mission.limits.max_speed_mm_per_s)),
    ]);
    let rows = mission.issuers.iter().map(|issuer| {
        [
            issuer.operator.to_string(),
            issuer.role.to_string(),
            issuer.allowed.join(", "),
        ]
    });
    text.push_str(&table(["who commands", "role", "what"], rows));
    Answer::done(json!(mission), text)
}

const fn state(mission: &ActiveMission) -> &'static str {
    match (mission.stopped, mission.suspended) {
        (true, _) => "stopped",
        (false, true) => "suspended: only mission.resume is accepted",
        (false, false) => "runs",
    }
}

fn remaining(not_after_ms: u64) -> String {
    match not_after_ms.checked_sub(now_ms()) {
        Some(left_ms) => format!("{} s", left_ms / 1_000),
        None => "it is over".to_owned(),
    }
}

fn list(list: &MissionList) -> Answer {
    let rows = list.missions.iter().map(|mission| {
        [
            mission.mission.to_string(),
            mission.labels.level.to_string(),
            mission.keys.to_string(),
            remaining(mission.not_after_ms),
        ]
    });
    let mut text = if list.missions.is_empty() {
        "no mission is active\n".to_owned()
    } else {
        table(["mission", "level", "keys", "ends in"], rows)
    };
    if !list.ended.is_empty() {
        let rows = list
            .ended
            .iter()
            .rev()
            .map(|end| [end.mission.to_string(), end.level.to_string(), end.reason.clone()]);
        text.push_str(&table(["ended", "level", "because"], rows));
    }
    Answer::done(json!(list), text)
}
