//! `command sign`: one command, for one robot or for several.

use crate::args::Context;
use crate::clock::now_ms;
use crate::commands::{commander, files};
use crate::error::CliError;
use crate::output::Answer;
use crate::{key_file, tpm_access};
use alcub3_command_authority::cose::{SignError, Unsigned};
use alcub3_command_authority::{
    Arguments, CommandEnvelope, CommandName, GroupEnvelope, GroupMember, Value as Argument,
};
use alcub3_crypto::Suite;
use alcub3_keys::PersonTpm;
use alcub3_trust_model::{Integrity, Labels, LeaseId, Level, MissionId, OperatorId, RobotId};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Arguments of `command sign`.
#[derive(Debug, clap::Args)]
pub(crate) struct Sign {
    /// The command, for example move.velocity
    #[arg(value_name = "COMMAND", value_parser = name)]
    command: CommandName,
    /// An argument, as NAME=VALUE: a whole number, true, false, or text
    #[arg(long, value_name = "NAME=VALUE")]
    arg: Vec<String>,
    #[command(flatten)]
    to: To,
    /// Who commands
    #[arg(long, value_name = "NAME")]
    issuer: OperatorId,
    #[command(flatten)]
    by: By,
    /// The command's level
    #[arg(long, default_value = "UNCLASSIFIED")]
    level: Level,
    /// The command's integrity
    #[arg(long, default_value = "operational")]
    integrity: Integrity,
    /// How long it stays valid, in milliseconds, at most 60000
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    valid_ms: u64,
    /// Where the envelope goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Whom it is for: one robot, or the members of a group.
#[derive(Debug, clap::Args)]
struct To {
    /// The robot
    #[arg(long, required_unless_present = "member")]
    robot: Option<RobotId>,
    /// The mission (`mission show`)
    #[arg(long, required_unless_present = "member")]
    mission: Option<MissionId>,
    /// The robot's lease of this boot (`mission show`)
    #[arg(long, required_unless_present = "member")]
    lease: Option<LeaseId>,
    /// The issuer's number of this command under this lease, from 1 upward, each used once
    #[arg(long, required_unless_present = "member")]
    sequence: Option<u64>,
    /// A robot of a group, instead of one robot: with its mission, its lease and the issuer's number there; give it for each
    #[arg(long, value_name = "ROBOT:MISSION:LEASE:SEQUENCE", conflicts_with_all = ["robot", "mission", "lease", "sequence"])]
    member: Vec<Member>,
    /// What the group is called
    #[arg(long, value_name = "NAME", default_value = "group", requires = "member")]
    group: String,
}

#[derive(Clone, Debug)]
struct Member(GroupMember);

impl FromStr for Member {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split(':').collect();
        let [robot, mission, lease, sequence] = words.as_slice() else {
            return Err("write it as ROBOT:MISSION:LEASE:SEQUENCE".to_owned());
        };
        Ok(Self(GroupMember {
            robot: RobotId::new(*robot).map_err(|error| error.to_string())?,
            mission: mission.parse().map_err(|error| format!("{error}"))?,
            lease: lease.parse().map_err(|error| format!("{error}"))?,
            sequence: sequence
                .parse()
                .map_err(|_| format!("{sequence:?} is no number"))?,
        }))
    }
}

/// What authenticates the command.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct By {
    /// The issuer's private key
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The issuer's shared key (`commander take`), instead of a private key; --tpm names the chip that took it
    #[arg(long, value_name = "FILE")]
    mac: Option<PathBuf>,
}

fn name(text: &str) -> Result<CommandName, String> {
    CommandName::new(text).map_err(|error| error.to_string())
}

/// A command, to one robot or to several.
enum Addressed {
    One(CommandEnvelope),
    Group(GroupEnvelope),
}

impl Addressed {
    fn unsigned(&self, suite: Suite) -> Unsigned {
        match self {
            Self::One(envelope) => envelope.unsigned(suite),
            Self::Group(group) => group.unsigned(suite),
        }
    }

    fn robots(&self) -> Vec<RobotId> {
        match self {
            Self::One(envelope) => vec![envelope.robot.clone()],
            Self::Group(group) => group.members().map(|member| member.robot.clone()).collect(),
        }
    }
}

pub(super) fn run(arguments: &Sign, context: &Context) -> Result<Answer, CliError> {
    let issued_at_ms = now_ms();
    let expires_at_ms = issued_at_ms.saturating_add(arguments.valid_ms);
    let addressed = addressed(arguments, issued_at_ms, expires_at_ms)?;
    let signed = match (&arguments.by.key, &arguments.by.mac) {
        (_, Some(mac)) => authenticated(&addressed, &arguments.issuer, mac, context)?,
        (Some(key), None) => {
            let key = key_file::read_private(key)?;
            addressed.unsigned(key.suite()).sign(&key)?
        }
        (None, None) => return Err(CliError::NoInput),
    };
    files::write_private(&arguments.out, &signed)?;
    let json = json!({
        "envelope": arguments.out, "bytes": signed.len(), "expires_at_ms": expires_at_ms, "robots": addressed.robots(),
    });
    Ok(Answer::done(
        json,
        format!("{} signed: {}", arguments.command, arguments.out.display()),
    ))
}

fn addressed(arguments: &Sign, issued_at_ms: u64, expires_at_ms: u64) -> Result<Addressed, CliError> {
    let to = &arguments.to;
    let first = to.member.first().map(|member| &member.0);
    let missing = || CliError::Usage {
        message: "name --robot, --mission, --lease and --sequence, or --member for each robot".to_owned(),
    };
    let envelope = CommandEnvelope {
        robot: to
            .robot
            .clone()
            .or(first.map(|member| member.robot.clone()))
            .ok_or_else(missing)?,
        mission: to
            .mission
            .or(first.map(|member| member.mission))
            .ok_or_else(missing)?,
        lease: to
            .lease
            .or(first.map(|member| member.lease))
            .ok_or_else(missing)?,
        issuer: arguments.issuer.clone(),
        sequence: to
            .sequence
            .or(first.map(|member| member.sequence))
            .ok_or_else(missing)?,
        issued_at_ms,
        expires_at_ms,
        command: arguments.command.clone(),
        labels: Labels::new(arguments.level, arguments.integrity),
        arguments: parse_arguments(&arguments.arg)?,
    };
    if to.member.is_empty() {
        return Ok(Addressed::One(envelope));
    }
    let members = to.member.iter().map(|member| member.0.clone()).collect();
    let group = GroupEnvelope::new(to.group.clone(), members, envelope);
    group.map(Addressed::Group).map_err(|error| CliError::Usage {
        message: error.to_string(),
    })
}

/// The envelope with the MAC that the commander's chip makes.
fn authenticated(
    command: &Addressed,
    issuer: &OperatorId,
    mac: &Path,
    context: &Context,
) -> Result<Vec<u8>, CliError> {
    let held = commander::read_held(mac)?;
    if held.operator() != issuer {
        return Err(CliError::OtherIssuer {
            issuer: issuer.clone(),
            holder: held.operator().clone(),
        });
    }
    let chip = PersonTpm::open(tpm_access::open(context.tpm_spec())?, held.curve())?;
    let unsigned = command.unsigned(held.suite());
    let tag = chip.mac(&held, &unsigned.to_be_signed())?;
    Ok(unsigned
        .finish(tag.as_bytes().to_vec())
        .map_err(SignError::from)?)
}

fn parse_arguments(words: &[String]) -> Result<Arguments, CliError> {
    let mut arguments = Arguments::new();
    for word in words {
        let (name, value) = word
            .split_once('=')
            .ok_or_else(|| CliError::NotAnArgument { text: word.clone() })?;
        let value = match (value.parse::<i64>(), value.parse::<bool>()) {
            (Ok(number), _) => Argument::Int(number),
            (_, Ok(truth)) => Argument::Bool(truth),
            _ => Argument::Text(value.to_owned()),
        };
        arguments = arguments.with(name, value).map_err(CliError::Argument)?;
    }
    Ok(arguments)
}
