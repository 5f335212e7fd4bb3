//! `attest` and `appraise`: evidence, and the judgement of it.

use super::platform::{self, Judged, Offline};
use super::{files, findings, surroundings};
use crate::args::Context;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::output::Answer;
use crate::parties::{self, AuthorityArgs};
use crate::robot_side::{Opened, RobotSide};
use crate::style::Style;
use alcub3_agent::{LogSource, PlatformLogs};
use alcub3_attestation::appraisal::Verdict;
use alcub3_fleet_protocol::attestation::AttestResult;
use alcub3_fleet_protocol::platform::PlatformAnswer;
use alcub3_server::{Appraised, AppraisedPlatform};
use alcub3_trust_model::{AttestationKind, RobotId};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

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
    if let Some(path) = &arguments.take {
        return take(path, context);
    }
    if let (Some(request), Some(out)) = (&arguments.request, &arguments.out) {
        return with_side(arguments, context, |robot| answer_request(robot, request, out));
    }
    let mut authority = arguments.authority.open()?;
    let appraised = with_side(arguments, context, |robot| {
        authority.attest_as(robot, arguments.kind)
    })?;
    Ok(answer(&appraised, context.style()))
}

/// The robot with what goes into its evidence: an agent has its own of that.
fn with_side<T>(
    arguments: &Attest,
    context: &Context,
    work: impl FnOnce(&dyn RobotSide) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let given = [&arguments.surroundings, &arguments.eventlog, &arguments.ima];
    if let Some(agent) = context.agent() {
        if given.iter().any(|file| file.is_some()) {
            return Err(CliError::Usage {
                message: "the agent knows its robot's logs and parts: leave --eventlog, --ima and --surroundings out, or set them in \
                          its configuration"
                    .to_owned(),
            });
        }
        return work(&agent);
    }
    let source = |file: &Option<PathBuf>| file.clone().map_or(LogSource::Platform, LogSource::File);
    let logs = PlatformLogs {
        uefi: source(&arguments.eventlog),
        runtime: source(&arguments.ima),
    };
    let surroundings = surroundings::read(arguments.surroundings.as_ref())?;
    parties::with_robot(context, |robot, _| {
        work(&Opened {
            robot,
            surroundings,
            logs,
        })
    })
}

fn answer_request(robot: &dyn RobotSide, request: &Path, out: &Path) -> Result<Answer, CliError> {
    let evidence = robot.evidence(&files::read(request, "a request", LIMIT)?)?;
    files::write_private(out, &evidence)?;
    let json = json!({"evidence": out, "bytes": evidence.len()});
    Ok(Answer::done(
        json,
        format!("evidence of {} bytes: {}", evidence.len(), out.display()),
    ))
}

fn take(path: &Path, context: &Context) -> Result<Answer, CliError> {
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
    let lease = parties::with_side(context, |robot| robot.take_lease(lease))?;
    Ok(Answer::done(
        json!({"lease": lease}),
        format!("lease {lease} is taken"),
    ))
}

/// Arguments of `appraise`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Appraise {
    #[command(subcommand)]
    offline: Option<Offline>,
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
    if let Some(offline) = &arguments.offline {
        return platform::appraise(offline, context);
    }
    let mut authority = arguments.authority.open_records()?;
    if let (Some(robot), Some(out)) = (&arguments.request, &arguments.out) {
        let (request, session) = if authority.find_platform(robot)?.is_some() {
            if arguments.kind != AttestationKind::Operational {
                return Err(CliError::Usage {
                    message: format!(
                        "--kind {}: robot {robot} has no TPM, and its root of trust is asked for all that it shows: leave --kind out",
                        arguments.kind
                    ),
                });
            }
            let request = authority.challenge_platform(robot, now_ms())?;
            (request.to_canonical(), request.session)
        } else {
            let request = authority.challenge_for(robot, arguments.kind, now_ms())?;
            (request.to_canonical(), request.session)
        };
        files::write_private(out, &request)?;
        let json = json!({"request": out, "robot": robot, "session": session, "kind": arguments.kind});
        return Ok(Answer::done(
            json,
            format!("request for {robot}: {}", out.display()),
        ));
    }
    let Some(evidence) = &arguments.evidence else {
        return Err(CliError::NoInput);
    };
    let evidence = files::read(evidence, "evidence", LIMIT)?;
    let keep = |answer: &AttestResult| match &arguments.out {
        Some(out) => files::write_private(out, &answer.to_canonical()),
        None => Ok(()),
    };
    if PlatformAnswer::is_one(&evidence) {
        let appraised = authority.appraise_platform(&evidence, now_ms())?;
        keep(&appraised.answer)?;
        return Ok(platform_answer(&appraised, context.style()));
    }
    let appraised = authority.appraise(&evidence, now_ms())?;
    keep(&appraised.answer)?;
    Ok(answer(&appraised, context.style()))
}

fn platform_answer(appraised: &AppraisedPlatform, style: Style) -> Answer {
    let judged = Judged {
        robot: &appraised.robot,
        root: appraised.root,
        tier: appraised.tier,
        level: appraised.level,
        verdict: &appraised.verdict,
    };
    judged.answer(style).with_fields([
        ("result", json!(appraised.ear)),
        ("lease", json!(appraised.answer.lease.is_some())),
    ])
}

fn answer(appraised: &Appraised, style: Style) -> Answer {
    let (robot, verdict) = (&appraised.robot, &appraised.verdict);
    let (json, text) = (to_json(robot, verdict), in_words(robot, verdict, style));
    Answer::verdict(verdict.is_proven(), json, text).with_fields([
        ("result", json!(appraised.ear)),
        ("lease", json!(appraised.answer.lease.is_some())),
        ("not_after_ms", json!(appraised.not_after_ms)),
    ])
}

/// A verdict as JSON.
pub(super) fn to_json(robot: &RobotId, verdict: &Verdict) -> Value {
    json!({
        "robot": robot, "kind": verdict.kind(), "trusted": verdict.is_trusted(), "proven": verdict.is_proven(),
        "findings": findings::to_json(verdict.findings()), "judged_at_ms": verdict.judged_at_ms(), "not_before_ms": verdict.judged_at_ms(),
    })
}

/// A verdict for people.
pub(super) fn in_words(robot: &RobotId, verdict: &Verdict, style: Style) -> String {
    let word = match (verdict.is_trusted(), verdict.is_proven()) {
        (true, _) => style.good("trusted"),
        (false, true) => style.warn("stopped, and the stop is proven"),
        (false, false) => style.bad("untrusted"),
    };
    format!(
        "{robot}: {word} ({})\n{}",
        verdict.kind(),
        findings::in_words(verdict.findings(), style)
    )
}
