//! `identity parts`: which parts of this robot were replaced, and taking them into its record.

use crate::args::Context;
use crate::clock::now_ms;
use crate::commands::{files, parts};
use crate::error::CliError;
use crate::output::Answer;
use crate::{parties, tpm_access};
use alcub3_agent::{DeclaredAnew, Robot};
use alcub3_keys::StateFolder;
use alcub3_trust_model::SessionId;
use alcub3_trust_model::hardware::{Part, PartClass, Sameness};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum PartsCommand {
    /// Compare the parts that are there with those on record, and say what each difference takes
    Show,
    /// 2. On the robot: ask for its replaced parts to be taken into its record (1. is `authority parts open`)
    Ask(Ask),
    /// 4. On the robot: take the answer of `authority parts approve`; then `identity create` for new certificates
    Take(Take),
}

/// Arguments of `identity parts ask`.
#[derive(Debug, clap::Args)]
pub(crate) struct Ask {
    /// The exchange that the authority opened for this robot (`authority parts open`)
    #[arg(long, value_name = "EXCHANGE")]
    exchange: SessionId,
    /// A part that the machine does not know and that was replaced or added, as CLASS:SLOT=SERIAL: sensor:lidar=L-8
    #[arg(long, value_name = "CLASS:SLOT=SERIAL", value_parser = parts::part)]
    part: Vec<Part>,
    /// A part that the machine does not know and that is there no more, as CLASS:SLOT: sensor:lidar
    #[arg(long, value_name = "CLASS:SLOT", value_parser = parts::place)]
    without: Vec<(PartClass, String)>,
    /// Where the request goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Arguments of `identity parts take`.
#[derive(Debug, clap::Args)]
pub(crate) struct Take {
    /// The answer, as `authority parts approve` wrote it
    #[arg(value_name = "ANSWER")]
    answer: PathBuf,
}

/// Runs the command.
pub(super) fn run(command: &PartsCommand, context: &Context) -> Result<Answer, CliError> {
    match command {
        PartsCommand::Show => parties::with_robot(context, |robot, _| show(robot, context)),
        PartsCommand::Ask(arguments) => parties::with_robot(context, |robot, _| ask(robot, arguments)),
        PartsCommand::Take(arguments) => take(arguments, context),
    }
}

fn show(robot: &Robot, context: &Context) -> Result<Answer, CliError> {
    let root = parties::machine_root(robot)?;
    let verdict = robot.measure_hardware(root.as_deref(), now_ms())?;
    let name = verdict.sameness.name();
    let json = json!({
        "robot": robot.robot(), "sameness": name, "differences": parts::to_json(&verdict.differences),
    });
    let (style, robot) = (context.style(), robot.robot());
    let text = match verdict.sameness {
        Sameness::Same => style.good("every part is as it was enrolled"),
        Sameness::NeedsOnePerson => format!(
            "{}{}\nnext, at the authority: `alcub3 authority parts open {robot}`",
            parts::to_table(&verdict.differences),
            style.warn("one person's approval takes these parts into the record"),
        ),
        Sameness::AnotherRobot => format!(
            "{}{}\nput the part back, or enrol this as another robot: `alcub3 provision`",
            parts::to_table(&verdict.differences),
            style.bad("these parts make it another robot, and nobody can approve that"),
        ),
    };
    Ok(Answer::verdict(verdict.sameness == Sameness::Same, json, text))
}

fn ask(robot: &Robot, arguments: &Ask) -> Result<Answer, CliError> {
    let root = parties::machine_root(robot)?;
    let declared = DeclaredAnew {
        parts: arguments.part.clone(),
        gone: arguments.without.clone(),
    };
    let request = robot.replacement_request(arguments.exchange, root.as_deref(), &declared)?;
    files::write_private(&arguments.out, &request)?;
    let out = arguments.out.display();
    let text = format!("request: {out}\nnext, at the authority: `alcub3 authority parts review {out}`");
    let json = json!({"robot": robot.robot(), "exchange": arguments.exchange, "out": arguments.out});
    Ok(Answer::done(json, text))
}

fn take(arguments: &Take, context: &Context) -> Result<Answer, CliError> {
    let answer = files::read(
        &arguments.answer,
        "an answer of `authority parts approve`",
        parts::LIMIT,
    )?;
    let folder = Arc::new(StateFolder::open(&context.state_dir()?)?);
    let robot = Robot::open(tpm_access::start(context.tpm_spec())?, folder, Vec::new())?;
    let name = robot.robot().clone();
    let taken = robot.take_replacement(&answer, now_ms())?;
    let json = json!({
        "robot": name, "approver": taken.approver, "differences": parts::to_json(&taken.differences),
    });
    let done = format!(
        "{name} is enrolled with its new parts, as {} approved",
        taken.approver
    );
    let text = format!(
        "{}{}\nits keys are the same; its certificates count until it has new ones. Next: `alcub3 identity create`",
        parts::to_table(&taken.differences),
        context.style().good(&done),
    );
    Ok(Answer::done(json, text))
}
