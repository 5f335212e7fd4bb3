//! `mission`: what a robot may do, until when, at whose command.

use crate::args::Context;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::output::{Answer, pairs, table};
use crate::parties::{self, AuthorityArgs, NamedFile};
use alcub3_agent::Robot;
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
    /// The missions that are active
    List,
    /// End a mission: its key is dead from then on
    Complete(Named),
}

/// A mission by its identifier.
#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// The mission
    #[arg(value_name = "MISSION")]
    mission: MissionId,
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

fn token(robot: &Robot, record: &MissionRecord) -> Result<MissionToken, CliError> {
    let authority = &robot.keys().anchors().authority;
    let verified = VerifiedMission::verify(&record.token, authority, robot.robot());
    verified
        .map(|mission| mission.token().clone())
        .map_err(|source| CliError::Token { source })
}

fn to_json(robot: &Robot, token: &MissionToken) -> Value {
    let issuers = token.issuers.iter().map(|issuer| {
        let allowed: Vec<&str> = issuer.allowed.iter().map(CommandPattern::as_str).collect();
        json!({"operator": issuer.operator, "role": issuer.role, "allowed": allowed})
    });
    json!({
        "mission": token.mission, "robot": token.robot, "lease": robot.lease_id(), "labels": token.labels,
        "not_before_ms": token.not_before_ms, "not_after_ms": token.not_after_ms,
        "end_clock_ms": token.end_clock_ms, "anchor": token.anchor.number(), "limits": token.limits,
        "issuers": issuers.collect::<Vec<_>>(), "stopped": robot.is_level_stopped(token.labels.level),
    })
}

fn show(robot: &Robot, record: &MissionRecord) -> Result<Answer, CliError> {
    let token = token(robot, record)?;
    let mut text = pairs([
        ("mission", token.mission.to_string()),
        ("robot", token.robot.to_string()),
        ("lease", robot.lease_id().to_string()),
        (
            "level",
            format!("{}, {}", token.labels.level, token.labels.integrity),
        ),
        ("ends in", remaining(token.not_after_ms)),
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
    Ok(Answer::done(to_json(robot, &token), text))
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
        tokens.push(token(robot, &record)?);
    }
    let missions: Vec<Value> = tokens.iter().map(|token| to_json(robot, token)).collect();
    let rows = tokens.iter().map(|token| {
        [
            token.mission.to_string(),
            token.labels.level.to_string(),
            remaining(token.not_after_ms),
        ]
    });
    let text = if tokens.is_empty() {
        "no mission is active".into()
    } else {
        table(["mission", "level", "ends in"], rows)
    };
    Ok(Answer::done(json!({"missions": missions}), text))
}
