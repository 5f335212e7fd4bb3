//! `mission`: what a robot may do, until when, at whose command.

use super::{mission_key, mission_share};
use crate::args::Context;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::output::{Answer, pairs, table};
use crate::parties::{self, AuthorityArgs, NamedFile};
use alcub3_agent::{MissionEnd, Robot};
use alcub3_command_authority::{CommandPattern, MissionToken, SafetyLimits, VerifiedMission};
use alcub3_keys::MissionRecord;
use alcub3_server::MissionPlan;
use alcub3_trust_model::{Integrity, Labels, Level, MissionId, OperatorId};
use serde_json::{Value, json};

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
            parties::with_robot(context, |robot, _| show(robot, &robot.keys().mission(*mission)?))
        }
        MissionCommand::List => parties::with_robot(context, |robot, _| list(robot)),
        MissionCommand::Extend(arguments) => extend(arguments, context),
        MissionCommand::Key(command) => mission_key::run(command, context),
        MissionCommand::Share(command) => mission_share::run(command, context),
        MissionCommand::Complete(Named { mission }) => {
            parties::with_robot(
                context,
                |robot, _| Ok(robot.complete_mission(*mission, now_ms())?),
            )?;
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
    parties::with_robot(context, |robot, _| {
        let record = authority.start_mission(robot, labels, duration_ms, &plan, &persons)?;
        show(robot, &record)
    })
}

fn extend(arguments: &Extend, context: &Context) -> Result<Answer, CliError> {
    let persons = parties::persons(&arguments.approve)?;
    let mut authority = arguments.authority.open()?;
    let duration_ms = arguments.duration_s.saturating_mul(1_000);
    parties::with_robot(context, |robot, _| {
        let record = authority.extend_mission(robot, arguments.mission, duration_ms, &persons)?;
        show(robot, &record)
    })
}

fn token(robot: &Robot, record: &MissionRecord) -> Result<MissionToken, CliError> {
    let authority = &robot.keys().anchors().authority;
    let verified = VerifiedMission::as_approved(record.token_in_force(), authority, robot.robot());
    verified
        .map(|mission| mission.token().clone())
        .map_err(|source| CliError::Token { source })
}

/// How many keys a mission has: the one that it began with, and the further ones.
fn key_count(robot: &Robot, mission: MissionId) -> Result<u64, CliError> {
    Ok(robot.keys().mission_key_count(mission)?.saturating_add(1))
}

fn to_json(robot: &Robot, token: &MissionToken, keys: u64) -> Value {
    let issuers = token.issuers.iter().map(|issuer| {
        let allowed: Vec<&str> = issuer.allowed.iter().map(CommandPattern::as_str).collect();
        json!({"operator": issuer.operator, "role": issuer.role, "allowed": allowed})
    });
    json!({
        "mission": token.mission, "robot": token.robot, "lease": robot.lease_id(), "labels": token.labels,
        "not_before_ms": token.not_before_ms, "not_after_ms": token.not_after_ms,
        "end_clock_ms": token.end_clock_ms, "anchor": token.anchor.number(), "limits": token.limits,
        "issuers": issuers.collect::<Vec<_>>(), "keys": keys, "stopped": robot.is_level_stopped(token.labels.level),
    })
}

fn show(robot: &Robot, record: &MissionRecord) -> Result<Answer, CliError> {
    let token = token(robot, record)?;
    let keys = key_count(robot, token.mission)?;
    let mut text = pairs([
        ("mission", token.mission.to_string()),
        ("robot", token.robot.to_string()),
        ("lease", robot.lease_id().to_string()),
        (
            "level",
            format!("{}, {}", token.labels.level, token.labels.integrity),
        ),
        ("ends in", remaining(token.not_after_ms)),
        ("keys", keys.to_string()),
        ("at most", format!("{} mm/s", token.limits.max_speed_mm_per_s)),
    ]);
    let rows = token.issuers.iter().map(|issuer| {
        let allowed: Vec<&str> = issuer.allowed.iter().map(CommandPattern::as_str).collect();
        [
            issuer.operator.to_string(),
            issuer.role.to_string(),
            allowed.join(", "),
        ]
    });
    text.push_str(&table(["who commands", "role", "what"], rows));
    Ok(Answer::done(to_json(robot, &token, keys), text))
}

fn remaining(not_after_ms: u64) -> String {
    match not_after_ms.checked_sub(now_ms()) {
        Some(left_ms) => format!("{} s", left_ms / 1_000),
        None => "it is over".to_owned(),
    }
}

fn list(robot: &Robot) -> Result<Answer, CliError> {
    let mut tokens = Vec::new();
    for record in robot.keys().missions()? {
        let keys = key_count(robot, record.mission)?;
        tokens.push((token(robot, &record)?, keys));
    }
    let ends = robot.mission_ends()?;
    let missions: Vec<Value> = tokens
        .iter()
        .map(|(token, keys)| to_json(robot, token, *keys))
        .collect();
    let ended: Vec<Value> = ends.iter().map(end_to_json).collect();
    let rows = tokens.iter().map(|(token, keys)| {
        [
            token.mission.to_string(),
            token.labels.level.to_string(),
            keys.to_string(),
            remaining(token.not_after_ms),
        ]
    });
    let mut text = if tokens.is_empty() {
        "no mission is active\n".to_owned()
    } else {
        table(["mission", "level", "keys", "ends in"], rows)
    };
    if !ends.is_empty() {
        let rows = ends.iter().rev().map(|end| {
            [
                end.mission.to_string(),
                end.level.to_string(),
                end.over.code().to_owned(),
            ]
        });
        text.push_str(&table(["ended", "level", "because"], rows));
    }
    Ok(Answer::done(json!({"missions": missions, "ended": ended}), text))
}

fn end_to_json(end: &MissionEnd) -> Value {
    json!({
        "mission": end.mission, "level": end.level, "reason": end.over.code(), "at_utc_ms": end.at_utc_ms,
    })
}
