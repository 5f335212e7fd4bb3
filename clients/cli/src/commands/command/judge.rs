//! `command validate`, `command verdicts` and `command explain`: what robots say, and what it means.

use crate::args::Context;
use crate::commands::files;
use crate::error::CliError;
use crate::output::{Answer, table};
use crate::parties;
use crate::style::Style;
use alcub3_command_authority::{
    Explanation, GroupVerdicts, MAX_APPROVAL_BYTES, MAX_ENVELOPE_BYTES, MemberVerdict,
    explain as explanation_of,
};
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
    let mut verdict = parties::with_side(context, |robot| robot.judge(&envelope))?;
    let record = verdict.as_object_mut().and_then(|fields| fields.remove("record"));
    if let (Some(path), Some(record)) = (&arguments.record, record.filter(|record| !record.is_null())) {
        append(path, &record)?;
    }
    Ok(answer(verdict, context.style()))
}

fn answer(verdict: Value, style: Style) -> Answer {
    let word = |name: &str| verdict.get(name).and_then(Value::as_str).unwrap_or_default();
    if verdict.get("admitted") == Some(&Value::Bool(true)) {
        let by = match word("second") {
            "" => String::new(),
            second => format!(" and {second}"),
        };
        let text = format!(
            "{}: {} by {}{by}",
            style.good("admitted"),
            word("command"),
            word("issuer")
        );
        if verdict.get("carried_out") == Some(&Value::Bool(false)) {
            let why = words_of(&verdict, "reasons").join(", ");
            let text = format!("{text}\n{}: {why}", style.bad("not carried out"));
            return Answer::verdict(false, verdict, text);
        }
        return Answer::done(verdict, text);
    }
    let named = words_of(&verdict, "reasons");
    let mut text = format!("{}: {}", style.bad("refused"), named.join(", "));
    for explained in words_of(&verdict, "codes").into_iter().filter_map(explanation_of) {
        text.push_str(&format!("\n  {} {}", explained.says, sentence(explained.remedy)));
    }
    Answer::verdict(false, verdict, text)
}

fn words_of<'a>(verdict: &'a Value, name: &str) -> Vec<&'a str> {
    let words = verdict.get(name).and_then(Value::as_array);
    words.into_iter().flatten().filter_map(Value::as_str).collect()
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
fn append(path: &Path, record: &Value) -> Result<(), CliError> {
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
