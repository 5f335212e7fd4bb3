//! `identity show`: who this robot is.

use super::certificates::{describe, until};
use crate::args::Context;
use crate::clock::now_ms;
use crate::commands::{files, parts};
use crate::error::CliError;
use crate::output::{Answer, pairs};
use crate::{key_file, parties};
use alcub3_agent::Robot;
use alcub3_keys::DeviceKeySlot;
use serde_json::json;
use std::path::PathBuf;

/// Arguments of `identity show`.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// Write the attestation key (TPM2B_PUBLIC) to this file as well, for those who check receipts and quotes
    #[arg(long, value_name = "FILE")]
    ak: Option<PathBuf>,
}

/// Opens the robot, which proves that its chip is the one that was provisioned.
pub(crate) fn run(arguments: &Show, context: &Context) -> Result<Answer, CliError> {
    parties::with_robot(context, |robot, _| show(robot, arguments, context))
}

fn show(robot: &Robot, arguments: &Show, context: &Context) -> Result<Answer, CliError> {
    let record = robot.keys().record();
    if let Some(path) = &arguments.ak {
        files::write_private(path, &record.attestation_key.to_tpm2b())?;
    }
    let pem = key_file::public_pem(&record.identity.verifying_key().map_err(CliError::Crypto)?);
    let levels: Vec<String> = record
        .parents
        .iter()
        .map(|parent| parent.level.to_string())
        .collect();
    let (entries, head) = robot.audit().head();
    let keys = robot.keys().device_keys();
    let devices = (
        keys.load(DeviceKeySlot::Initial)?,
        keys.load(DeviceKeySlot::Local)?,
    );
    let parsed = |key: &Option<_>| key.as_ref().map(describe).transpose();
    let line = |key: &Option<_>| {
        let none = Ok("none yet: `alcub3 identity create`".to_owned());
        key.as_ref().map_or(none, until)
    };
    let hardware = hardware(robot)?;
    let current = robot.is_identity_current()?;
    let json = json!({
        "certificates_current": current,
        "robot": record.robot, "stopped": robot.is_stopped(), "levels": levels, "boot": robot.boot(),
        "lease": robot.lease_id(),
        "endorsement_key": record.endorsement_key.name().to_hex(),
        "attestation_key": record.attestation_key.name().to_hex(),
        "identity": record.identity.name().to_hex(), "identity_public_key": pem,
        "idevid": parsed(&devices.0)?, "ldevid": parsed(&devices.1)?, "hardware": hardware.1,
        "audit": {"entries": entries, "root": hex::encode(head.as_bytes())},
    });
    let state = if robot.is_stopped() {
        context.style().bad("stopped")
    } else {
        context.style().good("armed")
    };
    let mut text = pairs([
        ("robot", record.robot.to_string()),
        ("state", state),
        ("levels", levels.join(", ")),
        ("boot", robot.boot().to_string()),
        ("lease", robot.lease_id().to_string()),
        ("endorsement key", record.endorsement_key.name().to_hex()),
        ("attestation key", record.attestation_key.name().to_hex()),
        ("identity", record.identity.name().to_hex()),
        ("IDevID certificate", line(&devices.0)?),
        ("LDevID certificate", line(&devices.1)?),
        ("hardware", hardware.0),
        ("audit log", format!("{entries} entries")),
    ]);
    if !current && devices.1.is_some() {
        text.push_str("the certificates are for parts that were replaced since: `alcub3 identity create`\n");
    }
    text.push_str(&format!("\n{pem}"));
    Ok(Answer::done(json, text))
}

/// What the hardware's comparison with the enrolled one says, for people and for programs.
fn hardware(robot: &Robot) -> Result<(String, serde_json::Value), CliError> {
    let root = parties::machine_root(robot)?;
    let verdict = robot.measure_hardware(root.as_deref(), now_ms())?;
    let differences = parts::to_json(&verdict.differences);
    let name = verdict.sameness.name();
    let text = if differences.is_empty() {
        name.to_owned()
    } else {
        format!(
            "{name}: {} parts differ (`alcub3 identity parts show`)",
            differences.len()
        )
    };
    Ok((text, json!({"sameness": name, "differences": differences})))
}
