//! `authority platform`: robots whose root of trust is no TPM.

use crate::args::Context;
use crate::clock::now_ms;
use crate::commands::platform::{DiceArgs, Found, PsaArgs};
use crate::error::CliError;
use crate::output::{Answer, table};
use crate::parties::{self, AuthorityArgs, NamedFile};
use alcub3_attestation::appraisal::StateReferences;
use alcub3_fleet_protocol::platform::PlatformEnrolment;
use alcub3_server::{Authority, PlatformPlan, PlatformRefusal};
use alcub3_trust_model::{Level, RobotId};
use serde_json::{Value, json};

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum PlatformCommand {
    /// Enrol a robot, or put other references in place of those that it was enrolled with
    #[command(subcommand)]
    Enrol(EnrolCommand),
    /// Rearm a robot whose own stop was released: two approvers vote
    Rearm(Rearm),
    /// Release a robot's name and its device, so that each may be enrolled anew; nothing of before counts any more
    Release(Release),
    /// The robots that are enrolled without a TPM
    List(List),
}

/// The kinds of root of trust.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum EnrolCommand {
    /// With a DICE certificate chain
    Dice(EnrolDice),
    /// With Arm PSA attestation tokens
    Psa(Enrol<PsaArgs>),
    /// Without any root of trust: it is known, and never trusted
    None(Named),
}

/// Which robot, up to which level.
#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// The robot's name
    #[arg(value_name = "ROBOT")]
    robot: RobotId,
    /// The highest level that it may serve; floors may admit it to a lower one only
    #[arg(long, value_name = "LEVEL", default_value = "TOP_SECRET")]
    ceiling: Level,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Arguments of `authority platform enrol dice` and `psa`.
#[derive(Debug, clap::Args)]
pub(crate) struct Enrol<R: clap::Args> {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    root: R,
}

/// Arguments of `authority platform enrol dice`.
#[derive(Debug, clap::Args)]
pub(crate) struct EnrolDice {
    #[command(flatten)]
    enrol: Enrol<DiceArgs>,
    /// The device's sequence numbers begin anew, because its counter was lost or used up. Evidence of before counts no more
    #[arg(long)]
    sequence_anew: bool,
}

/// Arguments of `authority platform release`.
#[derive(Debug, clap::Args)]
pub(crate) struct Release {
    /// The robot's name
    #[arg(value_name = "ROBOT")]
    robot: RobotId,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Arguments of `authority platform rearm`.
#[derive(Debug, clap::Args)]
pub(crate) struct Rearm {
    /// The robot
    #[arg(value_name = "ROBOT")]
    robot: RobotId,
    /// An approver with their private key, as NAME=FILE; two different persons
    #[arg(long, value_name = "NAME=FILE", required = true)]
    approve: Vec<NamedFile>,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Arguments of `authority platform list`.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Runs the command. Needs no TPM.
pub(crate) fn run(command: &PlatformCommand, _context: &Context) -> Result<Answer, CliError> {
    match command {
        PlatformCommand::Enrol(EnrolCommand::Dice(arguments)) => {
            let Enrol { named, root } = &arguments.enrol;
            enrol(named, root.read()?, arguments.sequence_anew)
        }
        PlatformCommand::Enrol(EnrolCommand::Psa(arguments)) => {
            enrol(&arguments.named, arguments.root.read()?, false)
        }
        PlatformCommand::Enrol(EnrolCommand::None(named)) => enrol(named, Found::UNROOTED, false),
        PlatformCommand::Release(arguments) => release(arguments),
        PlatformCommand::Rearm(arguments) => rearm(arguments),
        PlatformCommand::List(arguments) => list(arguments),
    }
}

fn enrol(named: &Named, found: Found, sequence_anew: bool) -> Result<Answer, CliError> {
    let mut authority = named.authority.open_records()?;
    let plan = PlatformPlan {
        robot: named.robot.clone(),
        root: found.root,
        tier: found.tier,
        ceiling: named.ceiling,
        state: found.state,
    };
    let platform = match sequence_anew {
        true => authority.enrol_platform_anew(plan, now_ms())?,
        false => authority.enrol_platform(plan, now_ms())?,
    };
    let record = platform.record();
    let level = authority.platform_level(record).ok();
    let text = format!(
        "{} is enrolled: root of trust {}, tier {}, {}",
        record.robot(),
        record.root().kind(),
        record.tier(),
        level.map_or_else(
            || "admitted to no level".to_owned(),
            |level| format!("up to {level}")
        )
    );
    Ok(Answer::done(to_json(record, level), text))
}

fn rearm(arguments: &Rearm) -> Result<Answer, CliError> {
    let persons = parties::persons(&arguments.approve)?;
    let robot = &arguments.robot;
    arguments.authority.open()?.rearm_platform(robot, &persons)?;
    let text = format!(
        "{robot} is rearmed: its next evidence is judged without the stop; ask for it with `appraise --request`"
    );
    Ok(Answer::done(json!({"rearmed": robot}), text))
}

fn release(arguments: &Release) -> Result<Answer, CliError> {
    let mut authority = arguments.authority.open_records()?;
    authority.release_platform(&arguments.robot, now_ms())?;
    let text = format!(
        "{} is released: the name and the device may be enrolled anew; a lease that it was given holds to its end",
        arguments.robot
    );
    Ok(Answer::done(json!({"released": arguments.robot}), text))
}

fn list(arguments: &List) -> Result<Answer, CliError> {
    let authority = arguments.authority.open_records()?;
    let (json, rows) = described_all(&authority)?;
    Ok(Answer::done(json!({"robots": json}), table(HEADER, rows)))
}

/// What the columns of [`described_all`] are.
pub(super) const HEADER: [&str; 5] = [
    "name",
    "root of trust",
    "tier",
    "admitted to",
    "last found trusted",
];

/// All of them, for programs and as rows.
pub(super) fn described_all(authority: &Authority) -> Result<(Vec<Value>, Vec<[String; 5]>), CliError> {
    let robots = authority.platforms().map_err(PlatformRefusal::from)?;
    let described = robots.iter().map(|robot| described(authority, robot));
    Ok(described.collect::<Result<Vec<_>, _>>()?.into_iter().unzip())
}

fn described(authority: &Authority, robot: &RobotId) -> Result<(Value, [String; 5]), CliError> {
    let platform = authority.platform_enrolment(robot)?;
    let record = platform.record();
    let level = authority.platform_level(record).ok();
    let standing = authority.platform_standing(robot)?;
    let trusted_at_ms = standing.trusted_at_ms;
    let mut json = to_json(record, level);
    if let Some(fields) = json.as_object_mut() {
        fields.insert("trusted_at_ms".into(), json!(trusted_at_ms));
        fields.insert("stopped_at_ms".into(), json!(standing.stopped_at_ms));
    }
    let row = [
        robot.to_string(),
        record.root().kind().to_string(),
        record.tier().to_string(),
        level.map_or_else(|| "none".to_owned(), |level| level.to_string()),
        match (trusted_at_ms, standing.stopped_at_ms) {
            (Some(_), _) => "yes",
            (None, Some(_)) => "no: stopped",
            (None, None) => "no",
        }
        .to_owned(),
    ];
    Ok((json, row))
}

fn to_json(record: &PlatformEnrolment, level: Option<Level>) -> Value {
    json!({
        "robot": record.robot(), "root": record.root().kind().name(), "tier": record.tier(), "ceiling": record.ceiling(),
        "level": level, "issued_at_ms": record.issued_at_ms(), "generation": record.generation(),
        "state": record.state().map(StateReferences::parts),
    })
}
