//! `offline` and `authority offline`: evidence gathered while no authority is in reach, and what is found of it later.

use super::{files, findings, surroundings};
use crate::args::Context;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::output::Answer;
use crate::parties::{self, AuthorityArgs};
use crate::style::Style;
use alcub3_agent::{LogSource, OfflineStatus, PlatformLogs};
use alcub3_attestation::offline::JudgedLink;
use alcub3_server::OfflineJudged;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

const QUEUE_LIMIT: u64 = 48 << 20;
const ANSWER_LIMIT: u64 = 64 << 10;

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum OfflineCommand {
    /// Make evidence behind what is kept, and keep it: for as long as no authority is in reach
    Gather(Gather),
    /// How much is kept
    Show,
    /// Write what is kept to a file for the authority, which judges it with `authority offline`
    Send(Send),
    /// Take the authority's answer: what it has judged is removed
    Take(Take),
    /// Remove what is kept without its being judged; the authority finds its numbers missing
    Drop,
}

/// Arguments of `offline gather`.
#[derive(Debug, clap::Args)]
pub(crate) struct Gather {
    /// Go on, with so many seconds in between, until the process is ended
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    every: Option<u64>,
    /// What the robot's platform knows of it, as JSON; read again for each link
    #[arg(long, value_name = "FILE")]
    surroundings: Option<PathBuf>,
    /// The UEFI event log [default: the machine's own, where it has one]
    #[arg(long, value_name = "FILE")]
    eventlog: Option<PathBuf>,
    /// The kernel's list of what it measured, binary_runtime_measurements [default: the machine's own, where it has one]
    #[arg(long, value_name = "FILE")]
    ima: Option<PathBuf>,
}

/// Arguments of `offline send`.
#[derive(Debug, clap::Args)]
pub(crate) struct Send {
    /// Where it goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Arguments of `offline take`.
#[derive(Debug, clap::Args)]
pub(crate) struct Take {
    /// The authority's answer
    #[arg(value_name = "FILE")]
    answer: PathBuf,
}

/// Runs the command.
pub(crate) fn run(command: &OfflineCommand, context: &Context) -> Result<Answer, CliError> {
    match command {
        OfflineCommand::Gather(arguments) => gather(arguments, context),
        OfflineCommand::Show => Ok(status(parties::with_robot(context, |robot, _| {
            Ok(robot.offline_status()?)
        })?)),
        OfflineCommand::Send(arguments) => send(arguments, context),
        OfflineCommand::Take(arguments) => take(arguments, context),
        OfflineCommand::Drop => {
            let links = parties::with_robot(context, |robot, _| Ok(robot.drop_offline(now_ms())?))?;
            let text = format!("{links} links are removed unjudged");
            Ok(Answer::done(json!({"dropped": links}), text))
        }
    }
}

fn gather(arguments: &Gather, context: &Context) -> Result<Answer, CliError> {
    let source = |file: &Option<PathBuf>| file.clone().map_or(LogSource::Platform, LogSource::File);
    let logs = PlatformLogs {
        uefi: source(&arguments.eventlog),
        runtime: source(&arguments.ima),
    };
    // Other commands of this robot have its folder and its chip in between.
    let once = || {
        let surroundings = surroundings::read(arguments.surroundings.as_ref())?;
        parties::with_robot(context, |robot, _| {
            Ok(robot.gather_offline(&surroundings, &logs, now_ms())?)
        })
    };
    let first = once()?;
    let Some(every) = arguments.every else {
        return Ok(status(first));
    };
    loop {
        thread::sleep(Duration::from_secs(every));
        match once() {
            Ok(kept) => tracing::info!(links = kept.links, bytes = kept.bytes, "offline evidence is kept"),
            Err(error) => tracing::warn!(%error, "no offline evidence was made; it is tried again"),
        }
    }
}

fn status(kept: OfflineStatus) -> Answer {
    let OfflineStatus {
        links,
        bytes,
        is_full,
        is_anchored,
    } = kept;
    let mut text = format!("{links} links of offline evidence are kept, {bytes} bytes");
    if is_full {
        text.push_str("; no more fit: send them");
    }
    if !is_anchored {
        text.push_str("; attest once with the authority in reach before more can be made");
    }
    let json = json!({"links": links, "bytes": bytes, "full": is_full, "anchored": is_anchored});
    Answer::done(json, text)
}

fn send(arguments: &Send, context: &Context) -> Result<Answer, CliError> {
    let queue = parties::with_robot(context, |robot, _| Ok(robot.offline_queue(now_ms())?))?;
    files::write_private(&arguments.out, &queue)?;
    let text = format!(
        "offline evidence of {} bytes: {}; there: `alcub3 authority offline`",
        queue.len(),
        arguments.out.display()
    );
    Ok(Answer::done(
        json!({"out": arguments.out, "bytes": queue.len()}),
        text,
    ))
}

fn take(arguments: &Take, context: &Context) -> Result<Answer, CliError> {
    let answer = files::read(&arguments.answer, "an answer to offline evidence", ANSWER_LIMIT)?;
    let taken = parties::with_robot(context, |robot, _| {
        Ok(robot.take_offline_answer(&answer, now_ms())?)
    })?;
    let json = json!({"judged": taken.judged, "unproven": taken.unproven, "kept": taken.kept});
    let mut text = format!("{} links were judged", taken.judged);
    if taken.unproven > 0 {
        let _ = write!(
            text,
            "; {} behind them prove nothing and are removed",
            taken.unproven
        );
    }
    if taken.kept > 0 {
        let _ = write!(text, "; {} came since: send all again", taken.kept);
    }
    Ok(Answer::done(json, text))
}

/// Arguments of `authority offline`.
#[derive(Debug, clap::Args)]
pub(crate) struct Judge {
    /// What a robot sent (`offline send`)
    #[arg(value_name = "FILE")]
    queue: PathBuf,
    /// Where the answer to the robot goes, which takes it with `offline take`
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Judges a queue; a no where a link was not good, or proves nothing. Needs no TPM, and trusts nobody now.
pub(super) fn judge(arguments: &Judge, context: &Context) -> Result<Answer, CliError> {
    let mut authority = arguments.authority.open_records()?;
    let queue = files::read(&arguments.queue, "offline evidence", QUEUE_LIMIT)?;
    let judged = authority.appraise_offline(&queue, now_ms())?;
    files::write_private(&arguments.out, &judged.answer)?;
    let links = &judged.queue.links;
    let is_good = judged.queue.broken.is_none() && links.iter().all(JudgedLink::was_good);
    Ok(Answer::verdict(
        is_good,
        to_json(&judged),
        in_words(&judged, context.style()),
    ))
}

fn to_json(judged: &OfflineJudged) -> Value {
    let links: Vec<Value> = judged
        .queue
        .links
        .iter()
        .map(|link| {
            json!({
                "index": link.index, "sequence": link.sequence, "was_good": link.was_good(),
                "as_of_ms": link.as_of.at_ms(), "uncertainty_ms": link.as_of.uncertainty_ms(),
                "earliest_ms": link.as_of.earliest_ms, "latest_ms": link.as_of.latest_ms, "findings": findings::to_json(link.findings()),
            })
        })
        .collect();
    let broken = judged.queue.broken.as_ref();
    let broken = broken
        .map(|broken| json!({"index": broken.index(), "code": broken.code(), "why": broken.to_string()}));
    json!({
        "robot": judged.robot, "links": links, "known": judged.known, "broken": broken,
        "missing": judged.gap.map(|(from, to)| json!({"from": from, "to": to})),
    })
}

fn in_words(judged: &OfflineJudged, style: Style) -> String {
    let mut text = format!("{}: judged as of then; this says nothing of now\n", judged.robot);
    for link in &judged.queue.links {
        let word = if link.was_good() {
            style.good("good")
        } else {
            style.bad("not good")
        };
        let codes: Vec<_> = link.findings().iter().map(|found| found.reason.code()).collect();
        let _ = writeln!(
            text,
            "  link {}, as of {} ms +- {} ms: {word} {}",
            link.index,
            link.as_of.at_ms(),
            link.as_of.uncertainty_ms(),
            codes.join(", ")
        );
    }
    if let Some(broken) = &judged.queue.broken {
        let _ = writeln!(text, "  {}: {broken}", style.bad("no further"));
    }
    if let Some((from, to)) = judged.gap {
        let _ = writeln!(
            text,
            "  {}: numbers {from} to {to} were not shown before the evidence that was judged live",
            style.warn("missing")
        );
    }
    text
}
