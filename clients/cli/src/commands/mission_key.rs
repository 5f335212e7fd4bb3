//! `mission key`: further keys of a mission, each for one purpose.

use super::files;
use crate::args::Context;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::output::{Answer, pairs, table};
use crate::parties;
use alcub3_agent::Robot;
use alcub3_crypto::HashAlg;
use alcub3_keys::{KeyOrigin, MissionData, MissionKeyRecord};
use alcub3_trust_model::{MissionId, MissionKeyId, MissionKeyPurpose};
use serde_json::{Value, json};
use std::path::PathBuf;

/// The most keys made by one command: a slip of the finger fills no disk.
const MOST_KEYS: i64 = 10_000;
/// The longest file that is signed, sealed or opened, in bytes.
const MOST_BYTES: u64 = 64 << 20;

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum KeyCommand {
    /// Make keys in the chip for a mission that runs
    Create(Create),
    /// The keys of a mission
    List(Of),
    /// Sign a file's SHA-256 (SHA-384 on a P-384 chip) with a signing key
    Sign(Use),
    /// The HMAC of up to 1024 bytes by a command key
    Mac(Use),
    /// Seal a file with a data key: it opens while the mission runs, and never after
    Seal(Use),
    /// Open what `seal` sealed; it names its key itself, unless another robot sealed it with its copy of a shared key
    Open(Open),
}

/// A mission.
#[derive(Debug, clap::Args)]
pub(crate) struct Of {
    /// The mission
    #[arg(value_name = "MISSION")]
    mission: MissionId,
}

/// Arguments of `mission key create`.
#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// The mission
    #[arg(value_name = "MISSION")]
    mission: MissionId,
    /// What they are for: signing, command-mac or data-sealing
    #[arg(long)]
    purpose: MissionKeyPurpose,
    /// How many
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=MOST_KEYS))]
    count: u32,
}

/// Arguments of the commands that use a key.
#[derive(Debug, clap::Args)]
pub(crate) struct Use {
    /// The mission
    #[arg(value_name = "MISSION")]
    mission: MissionId,
    /// The key (`mission key list`)
    #[arg(value_name = "KEY")]
    key: MissionKeyId,
    /// The file, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where the result goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Arguments of `mission key open`.
#[derive(Debug, clap::Args)]
pub(crate) struct Open {
    /// The sealed file, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where the data goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// For what another robot sealed: this robot's mission
    #[arg(long, value_name = "MISSION", requires = "key")]
    mission: Option<MissionId>,
    /// And its copy of the shared key (`mission key list`)
    #[arg(long, value_name = "KEY", requires = "mission")]
    key: Option<MissionKeyId>,
}

/// Runs the command.
pub(crate) fn run(command: &KeyCommand, context: &Context) -> Result<Answer, CliError> {
    match command {
        KeyCommand::Create(arguments) => create(arguments, context),
        KeyCommand::List(Of { mission }) => parties::with_robot(context, |robot, _| list(robot, *mission)),
        KeyCommand::Sign(arguments) => used(arguments, context, "signed", |robot, data| {
            let digest = hash(robot).digest(&[data]);
            let (mission, key) = (arguments.mission, Some(arguments.key));
            Ok(robot.mission_sign(mission, key, digest, now_ms())?.bytes)
        }),
        KeyCommand::Mac(arguments) => used(arguments, context, "authenticated", |robot, data| {
            let tag = robot.mission_mac(arguments.mission, arguments.key, data, now_ms())?;
            Ok(tag.as_bytes().to_vec())
        }),
        KeyCommand::Seal(arguments) => used(arguments, context, "sealed", |robot, data| {
            let (mission, key) = (arguments.mission, arguments.key);
            let sealed = robot.seal_mission_data(mission, key, data, now_ms())?;
            Ok(sealed.to_canonical())
        }),
        KeyCommand::Open(arguments) => open(arguments, context),
    }
}

fn hash(robot: &Robot) -> HashAlg {
    robot.keys().hash()
}

fn create(arguments: &Create, context: &Context) -> Result<Answer, CliError> {
    let count = usize::try_from(arguments.count).unwrap_or(usize::MAX);
    let made = parties::with_robot(context, |robot, _| {
        Ok(robot.create_mission_keys(arguments.mission, arguments.purpose, count, now_ms())?)
    })?;
    let keys: Vec<Value> = made.iter().map(to_json).collect();
    let ids: Vec<String> = made.iter().map(|record| record.key.to_string()).collect();
    Ok(Answer::done(
        json!({"mission": arguments.mission, "keys": keys}),
        ids.join("\n"),
    ))
}

/// A key as JSON.
pub(super) fn to_json(record: &MissionKeyRecord) -> Value {
    json!({
        "key": record.key, "purpose": record.purpose, "origin": record.origin.name(),
        "certified": matches!(record.origin, KeyOrigin::Certified { .. }), "issuer": record.issuer(),
    })
}

fn list(robot: &Robot, mission: MissionId) -> Result<Answer, CliError> {
    // A mission that is not there has no keys to list: that is said, not an empty list.
    robot.keys().mission(mission)?;
    let records = robot.keys().mission_keys(mission)?;
    let rows = records.iter().map(|record| {
        [
            record.key.to_string(),
            record.purpose.to_string(),
            record.origin.name().to_owned(),
            record.issuer().map(ToString::to_string).unwrap_or_default(),
        ]
    });
    let text = if records.is_empty() {
        "the mission has the key that it began with, for signing, and no other".to_owned()
    } else {
        table(["key", "for", "origin", "commands of"], rows)
    };
    let keys: Vec<Value> = records.iter().map(to_json).collect();
    Ok(Answer::done(json!({"mission": mission, "keys": keys}), text))
}

/// Reads the file, has the robot work on it, writes what came of it.
fn used(
    arguments: &Use,
    context: &Context,
    what: &str,
    work: impl FnOnce(&Robot, &[u8]) -> Result<Vec<u8>, CliError>,
) -> Result<Answer, CliError> {
    let data = files::read(&arguments.file, "a file for a mission key", MOST_BYTES)?;
    let result = parties::with_robot(context, |robot, _| work(robot, &data))?;
    files::write_private(&arguments.out, &result)?;
    let json = json!({
        "mission": arguments.mission, "key": arguments.key, "out": arguments.out, "bytes": result.len(),
    });
    Ok(Answer::done(json, format!("{what}: {}", arguments.out.display())))
}

fn open(arguments: &Open, context: &Context) -> Result<Answer, CliError> {
    let bytes = files::read(&arguments.file, "a file of `mission key seal`", MOST_BYTES + 256)?;
    let data = MissionData::from_canonical(&bytes).map_err(|source| CliError::Message { source })?;
    let mission = arguments.mission.unwrap_or(data.mission);
    let key = arguments.key.unwrap_or(data.key);
    let opened = parties::with_robot(context, |robot, _| {
        Ok(robot.open_shared_data(mission, key, &data, now_ms())?)
    })?;
    files::write_private(&arguments.out, opened.expose())?;
    let json = json!({
        "mission": mission, "key": key, "out": arguments.out, "bytes": opened.len(),
    });
    let text = pairs([
        ("mission", mission.to_string()),
        ("opened", arguments.out.display().to_string()),
    ]);
    Ok(Answer::done(json, text))
}
