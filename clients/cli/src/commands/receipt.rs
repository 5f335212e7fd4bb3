//! `receipt verify`: what a stop's or a purge's receipt proves, checked offline.

use super::files;
use crate::args::Context;
use crate::error::CliError;
use crate::output::{Answer, pairs, table};
use crate::style::Style;
use alcub3_attestation::attest::ClockInfo;
use alcub3_attestation::checkquote;
use alcub3_attestation::event_log::agent::StopScope;
use alcub3_attestation::receipt::{
    Expected, Outcome, PurgeReceipt, PurgeVerdict, ReceiptVerdict, Statement, verify_purge_receipt,
    verify_receipt,
};
use alcub3_crypto::VerifyingKey;
use alcub3_trust_model::nv_map::{MISSION_ANCHOR_COUNT, MissionAnchor, NvMap};
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::{RobotId, StopId};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const LIMIT: u64 = 1024 * 1024;

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ReceiptCommand {
    /// Check a stop's or a purge's receipt offline with the robot's attestation key
    Verify(Verify),
}

/// Arguments of `receipt verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// The receipt
    #[arg(value_name = "RECEIPT")]
    file: PathBuf,
    /// The robot's attestation key: TPM2B_PUBLIC, TPMT_PUBLIC or PEM
    #[arg(long, value_name = "AK")]
    ak: PathBuf,
    /// The robot it must be of
    #[arg(long, value_name = "ROBOT")]
    robot: Option<RobotId>,
    /// The stop it must be of
    #[arg(long, value_name = "STOP")]
    stop: Option<StopId>,
    /// What the counter held while what was stopped still ran: the mission's anchor, or the epoch of its start
    #[arg(long, value_name = "VALUE")]
    alive_at: Option<u64>,
    /// The number of the stopped mission's anchor
    #[arg(long, value_name = "NUMBER", value_parser = anchor)]
    anchor: Option<MissionAnchor>,
}

fn anchor(text: &str) -> Result<MissionAnchor, String> {
    let number = text.parse().ok().and_then(MissionAnchor::new);
    number.ok_or_else(|| format!("not the number of an anchor, 0 to {}", MISSION_ANCHOR_COUNT - 1))
}

/// Runs the command.
pub(crate) fn run(command: &ReceiptCommand, context: &Context) -> Result<Answer, CliError> {
    let ReceiptCommand::Verify(arguments) = command;
    let key = attestation_key(&arguments.ak)?;
    let receipt = files::read(&arguments.file, "a receipt", LIMIT)?;
    if PurgeReceipt::is_one(&receipt) {
        return judge_purge(&receipt, &key, arguments.robot.as_ref(), context.style());
    }
    let expected = Expected {
        alive_at: arguments.alive_at,
        anchor: arguments.anchor,
        ..expected(&key, arguments.robot.as_ref(), arguments.stop)?
    };
    let verdict = verify_receipt(&receipt, &expected);
    Ok(answer(&verdict, context.style()))
}

/// Reads an attestation key's public file.
pub(crate) fn attestation_key(path: &Path) -> Result<VerifyingKey, CliError> {
    let file = files::read(path, "a public key", LIMIT)?;
    checkquote::public_key(&file).map_err(|source| CliError::PublicKey {
        path: path.into(),
        source,
    })
}

/// Judges a receipt; the NV map is that of the attestation key's hash.
pub(crate) fn judge(
    receipt: &[u8],
    key: &VerifyingKey,
    robot: Option<&RobotId>,
    stop: Option<StopId>,
) -> Result<ReceiptVerdict, CliError> {
    Ok(verify_receipt(receipt, &expected(key, robot, stop)?))
}

fn expected<'a>(
    key: &'a VerifyingKey,
    robot: Option<&'a RobotId>,
    stop: Option<StopId>,
) -> Result<Expected<'a>, CliError> {
    let nv = NvMap::new(key.native_scheme().hash()).map_err(|source| CliError::NvMap { source })?;
    Ok(Expected {
        attestation_key: key,
        nv,
        pcrs: PcrMap::default(),
        robot,
        stop,
        alive_at: None,
        anchor: None,
    })
}

/// The robot that a purge's receipt says it is of.
pub(super) fn purged_robot(receipt: &[u8]) -> Result<RobotId, CliError> {
    let receipt = PurgeReceipt::from_canonical(receipt).map_err(|source| CliError::Receipt { source })?;
    Ok(receipt.statement.robot)
}

/// Judges a purge's receipt, for people and programs.
fn judge_purge(
    receipt: &[u8],
    key: &VerifyingKey,
    robot: Option<&RobotId>,
    style: Style,
) -> Result<Answer, CliError> {
    let verdict = verify_purge_receipt(receipt, &expected(key, robot, None)?);
    Ok(purge_answer(&verdict, style))
}

/// The judgement of a purge's receipt, for people and programs.
pub(super) fn purge_answer(verdict: &PurgeVerdict, style: Style) -> Answer {
    Answer::verdict(
        verdict.is_proven(),
        purge_json(verdict),
        purge_text(verdict, style),
    )
}

fn purge_json(verdict: &PurgeVerdict) -> Value {
    let reasons = verdict
        .reasons
        .iter()
        .map(|reason| json!({"code": reason.code(), "text": reason.text()}));
    json!({
        "purge": if verdict.is_proven() { "proven" } else { "refused" },
        "reasons": reasons.collect::<Vec<_>>(),
        "robot": verdict.statement.as_ref().map(|statement| &statement.robot),
        "purged_utc_ms": verdict.statement.as_ref().map(|statement| statement.purged_utc_ms),
        "stop": verdict.stop.as_ref().map(to_json),
    })
}

fn purge_text(verdict: &PurgeVerdict, style: Style) -> String {
    let mut text = if verdict.is_proven() {
        style.good("the purge is proven: the TPM was cleared after the stop")
    } else {
        style.bad("the purge is not proven")
    };
    text.push('\n');
    for reason in &verdict.reasons {
        let _ = writeln!(text, "  {}: {}", reason.code(), reason.text());
    }
    let clock = |clock: Option<ClockInfo>| {
        let known = clock.map(|clock| format!("{} resets, {} ms", clock.reset_count, clock.clock_ms));
        known.unwrap_or_else(|| "not proven".to_owned())
    };
    if let Some(statement) = &verdict.statement {
        let before = verdict.stop.as_ref().and_then(|stop| stop.clock);
        text.push_str(&pairs([
            ("robot", statement.robot.to_string()),
            ("counts before", clock(before)),
            ("counts after", clock(verdict.clock)),
        ]));
    }
    text
}

/// The verdict for people and programs. Whatever is not proven is a no.
pub(crate) fn answer(verdict: &ReceiptVerdict, style: Style) -> Answer {
    Answer::verdict(
        verdict.outcome == Outcome::Proven,
        to_json(verdict),
        text(verdict, style),
    )
}

/// The verdict as JSON.
pub(crate) fn to_json(verdict: &ReceiptVerdict) -> Value {
    let reasons = verdict
        .reasons
        .iter()
        .map(|reason| json!({"code": reason.code(), "text": reason.text()}));
    let unconfirmed = verdict.unconfirmed.iter().map(|step| step.name());
    let mut json = json!({
        "outcome": verdict.outcome.name(),
        "reasons": reasons.collect::<Vec<_>>(),
        "unconfirmed": unconfirmed.collect::<Vec<_>>(),
        "epoch_before": verdict.epoch_before,
        "epoch_after": verdict.epoch_after,
    });
    if let (Some(statement), Some(fields)) = (&verdict.statement, json.as_object_mut()) {
        fields.insert("statement".into(), statement_json(statement));
    }
    json
}

fn statement_json(statement: &Statement) -> Value {
    let steps = statement.steps.iter().map(|step| {
        json!({
            "step": step.step.name(), "began_ns": step.began_ns, "ended_ns": step.ended_ns,
            "confirmed": step.confirmed,
        })
    });
    json!({
        "stop": statement.event.stop,
        "robot": statement.event.robot,
        "scope": scope_text(&statement.event.scope),
        "called_utc_ms": statement.event.called_utc_ms,
        "pcr_before": statement.pcr_before.to_hex(),
        "pcr_after": statement.pcr_after.to_hex(),
        "extends": statement.extends,
        "steps": steps.collect::<Vec<_>>(),
    })
}

fn scope_text(scope: &StopScope) -> String {
    match scope {
        StopScope::Robot => "robot".to_owned(),
        StopScope::Level(level) => format!("level {level}"),
        StopScope::Mission(mission, _) => format!("mission {mission}"),
    }
}

fn text(verdict: &ReceiptVerdict, style: Style) -> String {
    let mut text = match verdict.outcome {
        Outcome::Proven => style.good("the stop is proven"),
        Outcome::Incomplete => {
            style.warn("the stop is not fully proven: the receipt holds, but parts are unconfirmed")
        }
        Outcome::Refused => style.bad("the receipt is refused"),
    };
    text.push('\n');
    for reason in &verdict.reasons {
        let _ = writeln!(text, "  {}: {}", reason.code(), reason.text());
    }
    for step in &verdict.unconfirmed {
        let _ = writeln!(text, "  {}: unconfirmed", step.name());
    }
    let Some(statement) = &verdict.statement else {
        return text;
    };
    let epoch = |value: Option<u64>| value.map_or_else(|| "not proven".to_owned(), |value| value.to_string());
    text.push_str(&pairs([
        ("robot", statement.event.robot.to_string()),
        ("stop", statement.event.stop.to_string()),
        ("scope", scope_text(&statement.event.scope)),
        (
            "counter",
            format!(
                "{} before, {} after",
                epoch(verdict.epoch_before),
                epoch(verdict.epoch_after)
            ),
        ),
        ("PCR before", statement.pcr_before.to_hex()),
        ("PCR after", statement.pcr_after.to_hex()),
        ("extended", times(statement.extends)),
    ]));
    let rows = statement.steps.iter().map(|step| {
        let taken_us = step.ended_ns.saturating_sub(step.began_ns) / 1_000;
        let at = format!("{} us", step.began_ns / 1_000);
        [
            step.step.name().to_owned(),
            at,
            format!("{taken_us} us"),
            yes_no(step.confirmed).to_owned(),
        ]
    });
    text.push_str(&table(["step", "began", "took", "confirmed"], rows));
    text
}

fn times(extends: u8) -> String {
    match extends {
        1 => "once".to_owned(),
        more => format!("{more} times: an answer of the TPM was lost or damaged"),
    }
}

const fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}
