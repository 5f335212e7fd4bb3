//! `peer`: this robot judges another one, with no authority in reach.

use super::{attest, files};
use crate::args::Context;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::output::Answer;
use crate::parties;
use alcub3_trust_model::RobotId;
use serde_json::json;
use std::path::PathBuf;

const BUNDLE_LIMIT: u64 = 12 << 20;
const EVIDENCE_LIMIT: u64 = 64 << 20;

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum PeerCommand {
    /// Take a policy bundle of the authority (`authority bundle`): by it this robot judges others from now on
    Trust(Trust),
    /// Ask another robot: write the request that it answers with `attest --request`
    Ask(Ask),
    /// Judge the evidence of a robot that was asked; a question counts once, for a minute
    Judge(Judge),
}

/// Arguments of `peer trust`.
#[derive(Debug, clap::Args)]
pub(crate) struct Trust {
    /// The signed bundle
    #[arg(value_name = "FILE")]
    bundle: PathBuf,
}

/// Arguments of `peer ask`.
#[derive(Debug, clap::Args)]
pub(crate) struct Ask {
    /// The other robot
    #[arg(value_name = "ROBOT")]
    robot: RobotId,
    /// Where the request goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Arguments of `peer judge`.
#[derive(Debug, clap::Args)]
pub(crate) struct Judge {
    /// The evidence
    #[arg(value_name = "EVIDENCE")]
    evidence: PathBuf,
}

/// Runs the command.
pub(crate) fn run(command: &PeerCommand, context: &Context) -> Result<Answer, CliError> {
    match command {
        PeerCommand::Trust(arguments) => trust(arguments, context),
        PeerCommand::Ask(arguments) => ask(arguments, context),
        PeerCommand::Judge(arguments) => judge(arguments, context),
    }
}

fn trust(arguments: &Trust, context: &Context) -> Result<Answer, CliError> {
    let bundle = files::read(&arguments.bundle, "a policy bundle", BUNDLE_LIMIT)?;
    let version = parties::with_robot(context, |robot, _| {
        Ok(robot.take_policy_bundle(&bundle, now_ms())?)
    })?;
    let text = format!("others are judged by version {version} of the policy bundle");
    Ok(Answer::done(json!({"version": version}), text))
}

fn ask(arguments: &Ask, context: &Context) -> Result<Answer, CliError> {
    let (robot, out) = (&arguments.robot, &arguments.out);
    let request = parties::with_robot(context, |own, _| Ok(own.ask_peer(robot, now_ms())?))?;
    files::write_private(out, &request)?;
    let text = format!(
        "request for {robot}: {}; there: `alcub3 attest --request`",
        out.display()
    );
    Ok(Answer::done(json!({"robot": robot, "request": out}), text))
}

fn judge(arguments: &Judge, context: &Context) -> Result<Answer, CliError> {
    let evidence = files::read(&arguments.evidence, "evidence", EVIDENCE_LIMIT)?;
    let judged = parties::with_robot(context, |robot, _| Ok(robot.judge_peer(&evidence, now_ms())?))?;
    let mut json = attest::to_json(&judged.robot, &judged.verdict);
    if let Some(fields) = json.as_object_mut() {
        fields.insert("not_after_ms".into(), json!(judged.not_after_ms));
    }
    let text = attest::in_words(&judged.robot, &judged.verdict, context.style());
    Ok(Answer::verdict(judged.verdict.is_trusted(), json, text))
}
