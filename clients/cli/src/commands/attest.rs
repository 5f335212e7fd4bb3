//! `attest` and `appraise`: evidence, and the judgement of it.

use super::{files, surroundings};
use crate::args::Context;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::output::Answer;
use crate::parties::{self, AuthorityArgs};
use crate::style::Style;
use alcub3_agent::{LogSource, PlatformLogs};
use alcub3_attestation::appraisal::{Finding, Severity, Verdict};
use alcub3_fleet_protocol::attestation::AttestResult;
use alcub3_server::Appraised;
use alcub3_trust_model::{AttestationKind, RobotId};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;

const LIMIT: u64 = 64 * 1024 * 1024;

/// Arguments of `attest`.
#[derive(Debug, clap::Args)]
pub(crate) struct Attest {
    /// Answer this request of an authority elsewhere, instead of the one on this machine
    #[arg(long, value_name = "FILE", requires = "out", conflicts_with = "take")]
    request: Option<PathBuf>,
    /// Where the evidence goes
    #[arg(short, long, value_name = "FILE", requires = "request")]
    out: Option<PathBuf>,
    /// Take the result of an authority elsewhere, with the lease in it
    #[arg(long, value_name = "FILE")]
    take: Option<PathBuf>,
    /// What is to be proven: platform, sensor, operational, emergency, or mission:ID
    #[arg(long, value_name = "KIND", default_value_t = AttestationKind::Operational, conflicts_with_all = ["request", "take"])]
    kind: AttestationKind,
    /// What the robot's platform knows of it, as JSON: firmware, calibration, payload, faults, place
    #[arg(long, value_name = "FILE", conflicts_with = "take")]
    surroundings: Option<PathBuf>,
    /// The UEFI event log [default: the machine's own, where it has one]
    #[arg(long, value_name = "FILE")]
    eventlog: Option<PathBuf>,
    /// The kernel's list of what it measured, binary_runtime_measurements [default: the machine's own, where it has one]
    #[arg(long, value_name = "FILE")]
    ima: Option<PathBuf>,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Makes evidence, or goes through a whole attestation with the authority on this machine.
pub(crate) fn run(arguments: &Attest, context: &Context) -> Result<Answer, CliError> {
    let source = |file: &Option<PathBuf>| file.clone().map_or(LogSource::Platform, LogSource::File);
    let logs = PlatformLogs {
        uefi: source(&arguments.eventlog),
        runtime: source(&arguments.ima),
    };
    if let Some(path) = &arguments.take {
        return take(path, context);
    }
    if let (Some(request), Some(out)) = (&arguments.request, &arguments.out) {
        let request = files::read(request, "a request", LIMIT)?;
        let surroundings = surroundings::read(arguments.surroundings.as_ref())?;
        let evidence = parties::with_robot(context, |robot, _| {
            Ok(robot.attest(&request, &surroundings, &logs, now_ms())?)
        })?;
        files::write_private(out, &evidence)?;
        let json = json!({"evidence": out, "bytes": evidence.len()});
        return Ok(Answer::done(
            json,
            format!("evidence of {} bytes: {}", evidence.len(), out.display()),
        ));
    }
    let mut authority = arguments.authority.open()?;
    let surroundings = surroundings::read(arguments.surroundings.as_ref())?;
    let appraised = parties::with_robot(context, |robot, _| {
        authority.attest_as(robot, arguments.kind, &surroundings, &logs)
    })?;
    Ok(answer(&appraised, context.style()))
}

fn take(path: &std::path::Path, context: &Context) -> Result<Answer, CliError> {
    let bytes = files::read(path, "a result", LIMIT)?;
    let result = AttestResult::from_canonical(&bytes).map_err(|source| CliError::Message { source })?;
    let Some(lease) = &result.lease else {
        let json = json!({"lease": false});
        return Ok(Answer::verdict(
            false,
            json,
            "there is no lease: the authority found the robot untrusted, or asked for something that gives none",
        ));
    };
    let lease = parties::with_robot(context, |robot, _| {
        robot.take_lease(lease)?;
        Ok(robot.lease_id())
    })?;
    Ok(Answer::done(
        json!({"lease": lease}),
        format!("lease {lease} is taken"),
    ))
}

/// Arguments of `appraise`.
#[derive(Debug, clap::Args)]
pub(crate) struct Appraise {
    /// The evidence to judge
    #[arg(
        value_name = "EVIDENCE",
        required_unless_present = "request",
        conflicts_with = "request"
    )]
    evidence: Option<PathBuf>,
    /// Ask this robot for evidence: write the request to the file of --out
    #[arg(long, value_name = "ROBOT", requires = "out")]
    request: Option<RobotId>,
    /// What the robot is to prove: platform, sensor, operational, emergency, or mission:ID
    #[arg(long, value_name = "KIND", default_value_t = AttestationKind::Operational, requires = "request")]
    kind: AttestationKind,
    /// Where the request, or the result for the robot, goes
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Asks for evidence, or judges it. Needs no TPM.
pub(crate) fn appraise(arguments: &Appraise, context: &Context) -> Result<Answer, CliError> {
    let mut authority = arguments.authority.open_records()?;
    if let (Some(robot), Some(out)) = (&arguments.request, &arguments.out) {
        let request = authority.challenge_for(robot, arguments.kind, now_ms())?;
        files::write_private(out, &request.to_canonical())?;
        let json =
            json!({"request": out, "robot": robot, "session": request.session, "kind": arguments.kind});
        return Ok(Answer::done(
            json,
            format!("request for {robot}: {}", out.display()),
        ));
    }
    let Some(evidence) = &arguments.evidence else {
        return Err(CliError::NoInput);
    };
    let evidence = files::read(evidence, "evidence", LIMIT)?;
    let appraised = authority.appraise(&evidence, now_ms())?;
    if let Some(out) = &arguments.out {
        files::write_private(out, &appraised.answer.to_canonical())?;
    }
    Ok(answer(&appraised, context.style()))
}

fn answer(appraised: &Appraised, style: Style) -> Answer {
    let (robot, verdict) = (&appraised.robot, &appraised.verdict);
    let mut json = to_json(robot, verdict);
    if let Some(fields) = json.as_object_mut() {
        fields.insert("result".into(), json!(appraised.ear));
        fields.insert("lease".into(), json!(appraised.answer.lease.is_some()));
        fields.insert("not_after_ms".into(), json!(appraised.not_after_ms));
    }
    Answer::verdict(verdict.is_proven(), json, in_words(robot, verdict, style))
}

/// A verdict as JSON.
pub(super) fn to_json(robot: &RobotId, verdict: &Verdict) -> Value {
    json!({
        "robot": robot, "kind": verdict.kind(), "trusted": verdict.is_trusted(), "proven": verdict.is_proven(),
        "findings": verdict.findings().iter().map(Finding::explained).collect::<Vec<_>>(), "judged_at_ms": verdict.judged_at_ms(), "not_before_ms": verdict.judged_at_ms(),
    })
}

/// A verdict for people.
pub(super) fn in_words(robot: &RobotId, verdict: &Verdict, style: Style) -> String {
    let word = match (verdict.is_trusted(), verdict.is_proven()) {
        (true, _) => style.good("trusted"),
        (false, true) => style.warn("stopped, and the stop is proven"),
        (false, false) => style.bad("untrusted"),
    };
    let mut text = format!("{robot}: {word} ({})\n", verdict.kind());
    let mut findings = verdict.findings().iter().peekable();
    while let Some(finding) = findings.next() {
        let mark = match finding.severity {
            Severity::Untrusted => style.bad("untrusted"),
            Severity::Warning => style.warn("warning  "),
            Severity::Info => style.dim("note     "),
        };
        let _ = writeln!(text, "  {mark}  {}: {}", finding.reason.code(), finding.detail);
        // Several of one reason have one remedy, at their end.
        let is_last = findings.peek().is_none_or(|next| next.reason != finding.reason);
        let explained = finding.explained();
        if let Some(remedy) = explained.remedy.filter(|_| is_last) {
            let _ = writeln!(text, "             {}", style.dim(explained.meaning));
            let _ = writeln!(text, "             what to do: {remedy}");
        }
    }
    text
}
