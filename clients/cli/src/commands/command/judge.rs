//! `command validate`, `command verdicts` and `command explain`: what robots say, and what it means.

use crate::args::Context;
use crate::clock::now_ms;
use crate::commands::files;
use crate::error::CliError;
use crate::output::{Answer, table};
use crate::parties;
use crate::style::Style;
use alcub3_command_authority::policy::RecordedCommand;
use alcub3_command_authority::{
    Explanation, GroupVerdicts, MAX_APPROVAL_BYTES, MAX_ENVELOPE_BYTES, MemberVerdict, Reason,
    explain as explanation_of,
};
use alcub3_security_hal::GateVerdict;
use alcub3_trust_model::RobotId;
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const ANSWER_LIMIT: u64 = 64 * 1024;

/// Arguments of `command validate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Validate {
    /// The envelope, or - for standard input
    #[arg(value_name = "ENVELOPE")]
    file: PathBuf,
    /// Append the command and its verdict to this file, to try a command policy against (`policy try`)
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

/// Arguments of `command verdicts`.
#[derive(Debug, clap::Args)]
pub(crate) struct Verdicts {
    /// A robot that the command went to; give it for each
    #[arg(long, value_name = "ROBOT", required = true)]
    robot: Vec<RobotId>,
    /// Answers of robots, as `command validate --json` printed them
    #[arg(value_name = "ANSWER")]
    answers: Vec<PathBuf>,
}

/// Arguments of `command explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// Reason codes; all of them without any
    #[arg(value_name = "CODE")]
    codes: Vec<String>,
}

pub(super) fn validate(arguments: &Validate, context: &Context) -> Result<Answer, CliError> {
    // One byte more than allowed is enough for the robot itself to say that it is too long.
    let most = MAX_ENVELOPE_BYTES
        .saturating_add(MAX_APPROVAL_BYTES)
        .saturating_add(64);
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    let envelope = files::read(&arguments.file, "a command envelope", limit)?;
    let (robot, verdict, record) = parties::with_robot(context, |robot, _| {
        let verdict = robot.validate(&envelope, Some(now_ms()))?;
        let record = robot.recorded(&envelope, &verdict);
        Ok((robot.robot().clone(), verdict, record))
    })?;
    if let (Some(path), Some(record)) = (&arguments.record, record) {
        append(path, &record)?;
    }
    Ok(answer(&robot, &verdict, context.style()))
}

fn answer(robot: &RobotId, verdict: &GateVerdict, style: Style) -> Answer {
    match verdict {
        GateVerdict::Admitted(admitted) => {
            let command = admitted.command();
            let second = command.second().map(|(second, _)| second);
            let json = json!({
                "robot": robot, "admitted": true, "command": command.name().as_str(), "issuer": command.issuer(),
                "second": second, "mission": command.mission(), "sequence": command.sequence(),
            });
            let by = second.map_or_else(String::new, |second| format!(" and {second}"));
            let (word, name, issuer) = (style.good("admitted"), command.name(), command.issuer());
            Answer::done(json, format!("{word}: {name} by {issuer}{by}"))
        }
        GateVerdict::Refused(refusal) => {
            let reasons = refusal.reasons();
            let named: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            let words: Vec<Value> = reasons
                .iter()
                .filter_map(Reason::explanation)
                .map(to_json)
                .collect();
            let mut text = format!("{}: {}", style.bad("refused"), named.join(", "));
            for explained in reasons.iter().filter_map(Reason::explanation) {
                text.push_str(&format!("\n  {} {}", explained.says, sentence(explained.remedy)));
            }
            let codes: Vec<&str> = reasons.iter().map(Reason::code).collect();
            let json =
                json!({"robot": robot, "admitted": false, "reasons": named, "codes": codes, "words": words});
            Answer::verdict(false, json, text)
        }
    }
}

fn to_json(explained: &Explanation) -> Value {
    json!({"code": explained.code, "says": explained.says, "remedy": explained.remedy})
}

/// A remedy as a sentence of its own.
fn sentence(remedy: &str) -> String {
    let mut letters = remedy.chars();
    let first = letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().to_string());
    format!("{first}{}.", letters.as_str())
}

/// Appends a record as a line of its own.
fn append(path: &Path, record: &RecordedCommand) -> Result<(), CliError> {
    let failed = |source| CliError::Write {
        path: path.into(),
        source,
    };
    let mut line = serde_json::to_vec(record).map_err(|error| failed(error.into()))?;
    line.push(b'\n');
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(&line)).map_err(failed)
}

/// A robot's answer, as far as it counts here.
#[derive(Debug, serde::Deserialize)]
struct RobotAnswer {
    robot: RobotId,
    admitted: bool,
    #[serde(default)]
    codes: Vec<String>,
}

pub(super) fn verdicts(arguments: &Verdicts, context: &Context) -> Result<Answer, CliError> {
    let mut verdicts = GroupVerdicts::of(arguments.robot.iter().cloned());
    for path in &arguments.answers {
        let bytes = files::read(path, "a robot's answer", ANSWER_LIMIT)?;
        let answer: RobotAnswer = serde_json::from_slice(&bytes).map_err(|error| CliError::Usage {
            message: format!(
                "{} is no answer of `command validate --json`: {error}",
                path.display()
            ),
        })?;
        let verdict = if answer.admitted {
            MemberVerdict::Admitted
        } else {
            MemberVerdict::Refused(answer.codes)
        };
        if !verdicts.note(&answer.robot, verdict) {
            return Err(CliError::Usage {
                message: format!("robot {} is none that the command went to", answer.robot),
            });
        }
    }
    let style = context.style();
    let rows = verdicts.iter().map(|(robot, verdict)| match verdict {
        MemberVerdict::Admitted => [robot.to_string(), style.good("admitted"), String::new()],
        MemberVerdict::Refused(codes) => [robot.to_string(), style.bad("refused"), in_words(codes)],
        MemberVerdict::Unanswered => [
            robot.to_string(),
            style.bad("no answer"),
            "It may or may not be carried out.".to_owned(),
        ],
    });
    let text = table(["robot", "verdict", ""], rows);
    Ok(Answer::verdict(
        verdicts.is_unanimous(),
        verdicts_json(&verdicts),
        text,
    ))
}

fn in_words(codes: &[String]) -> String {
    let words = codes.iter().map(|code| {
        let says = explanation_of(code).map_or("", |explained| explained.says);
        format!("{code}: {says}")
    });
    words.collect::<Vec<_>>().join(" ")
}

fn verdicts_json(verdicts: &GroupVerdicts) -> Value {
    let which = |wanted: fn(&MemberVerdict) -> bool| -> Vec<&RobotId> {
        verdicts
            .iter()
            .filter(|(_, verdict)| wanted(verdict))
            .map(|(robot, _)| robot)
            .collect()
    };
    let refused: Vec<Value> = verdicts
        .iter()
        .filter_map(|(robot, verdict)| match verdict {
            MemberVerdict::Refused(codes) => Some(json!({"robot": robot, "codes": codes})),
            _ => None,
        })
        .collect();
    json!({
        "admitted": which(|verdict| *verdict == MemberVerdict::Admitted), "refused": refused,
        "unanswered": which(|verdict| *verdict == MemberVerdict::Unanswered),
    })
}

pub(super) fn explain(arguments: &Explain) -> Result<Answer, CliError> {
    let unknown = |code: &String| CliError::Usage {
        message: format!("{code:?} is no reason code of commands; `alcub3 command explain` lists them"),
    };
    let explained: Vec<&Explanation> = if arguments.codes.is_empty() {
        Explanation::all().iter().collect()
    } else {
        let codes = arguments.codes.iter();
        codes
            .map(|code| explanation_of(code).ok_or_else(|| unknown(code)))
            .collect::<Result<_, _>>()?
    };
    let json: Vec<Value> = explained.iter().copied().map(to_json).collect();
    let lines = explained
        .iter()
        .map(|one| format!("{}\n  {}\n  {}\n", one.code, one.says, sentence(one.remedy)));
    Ok(Answer::done(
        json!({"reasons": json}),
        lines.collect::<Vec<_>>().join("\n"),
    ))
}
