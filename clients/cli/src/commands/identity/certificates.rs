//! `identity create`, `renew`, `export` and `recover`.

use super::super::files;
use crate::args::Context;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::output::{Answer, pairs};
use crate::parties::AuthorityArgs;
use crate::{key_file, parties, tpm_access};
use alcub3_agent::Identity;
use alcub3_fleet_protocol::certificate::summarize;
use alcub3_keys::{DeviceKey, StateFolder};
use alcub3_trust_model::RobotId;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const CERTIFICATE: &str = "CERTIFICATE";

/// Arguments of `identity create` and `identity renew`.
#[derive(Debug, clap::Args)]
pub(crate) struct Ask {
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Gets what is missing; what is there stays.
pub(crate) fn create(arguments: &Ask, context: &Context) -> Result<Answer, CliError> {
    let mut authority = arguments.authority.open()?;
    let identity = parties::with_robot(context, |robot, _| {
        Ok(robot.create_identity(&mut authority, now_ms())?)
    })?;
    answer(&identity, "the robot has its certificates", context)
}

/// Replaces the local device key.
pub(crate) fn renew(arguments: &Ask, context: &Context) -> Result<Answer, CliError> {
    let mut authority = arguments.authority.open()?;
    let identity = parties::with_robot(context, |robot, _| {
        robot.renew_identity(&mut authority, now_ms())?;
        Ok(robot.identity()?)
    })?;
    answer(
        &identity,
        "the local device key is replaced, and the one before destroyed",
        context,
    )
}

fn answer(identity: &Identity, done: &str, context: &Context) -> Result<Answer, CliError> {
    let json = json!({"idevid": describe(&identity.initial)?, "ldevid": describe(&identity.local)?});
    let mut text = format!("{}\n", context.style().good(done));
    text.push_str(&pairs(rows(identity)?));
    Ok(Answer::done(json, text))
}

/// A device key with its certificate, for programs.
pub(super) fn describe(key: &DeviceKey) -> Result<Value, CliError> {
    let name = key.public.name().to_hex();
    let Some(issued) = &key.issued else {
        return Ok(json!({"name": name, "certificate": null}));
    };
    let summary = summarize(&issued.certificate).map_err(CliError::Certificate)?;
    Ok(json!({
        "name": name, "certificate": key_file::pem(CERTIFICATE, &issued.certificate),
        "subject": summary.subject, "serial": summary.serial, "sha256": summary.sha256,
        "from": summary.from, "until": summary.until,
    }))
}

/// Both device keys, for people.
pub(super) fn rows(identity: &Identity) -> Result<Vec<(&'static str, String)>, CliError> {
    let mut rows = Vec::new();
    for (title, key) in [
        ("IDevID certificate", &identity.initial),
        ("LDevID certificate", &identity.local),
    ] {
        rows.push((title, until(key)?));
    }
    Ok(rows)
}

/// One certificate in a line.
pub(super) fn until(key: &DeviceKey) -> Result<String, CliError> {
    let Some(issued) = &key.issued else {
        return Ok("none yet: `alcub3 identity create`".to_owned());
    };
    let summary = summarize(&issued.certificate).map_err(CliError::Certificate)?;
    Ok(format!(
        "{} until {}, serial {}",
        summary.subject, summary.until, summary.serial
    ))
}

/// Arguments of `identity export`.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Export {
    /// The local device key as a TPM 2.0 key file (TSS2 PRIVATE KEY): it works in this robot's chip alone
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The local device key's certificate
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// The initial device key's certificate
    #[arg(long, value_name = "FILE")]
    initial: Option<PathBuf>,
    /// The authority's certificate
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Writes PEM files.
pub(crate) fn export(arguments: &Export, context: &Context) -> Result<Answer, CliError> {
    let identity = parties::with_robot(context, |robot, _| Ok(robot.identity()?))?;
    let local = issued(&identity.local)?;
    let mut written = Vec::new();
    let mut write = |path: &Option<PathBuf>, label: &str, der: &[u8]| {
        let Some(path) = path else { return Ok(()) };
        written.push(path.display().to_string());
        files::write_private(path, key_file::pem(label, der).as_bytes())
    };
    if arguments.key.is_some() {
        let file = identity.local.to_key_file()?;
        write(&arguments.key, DeviceKey::KEY_FILE_LABEL, &file)?;
    }
    if arguments.initial.is_some() {
        write(
            &arguments.initial,
            CERTIFICATE,
            &issued(&identity.initial)?.certificate,
        )?;
    }
    write(&arguments.certificate, CERTIFICATE, &local.certificate)?;
    write(&arguments.ca, CERTIFICATE, &local.authority)?;
    let text = format!("written: {}", written.join(", "));
    Ok(Answer::done(json!({"written": written}), text))
}

fn issued(key: &DeviceKey) -> Result<&alcub3_keys::IssuedCertificate, CliError> {
    key.issued.as_ref().ok_or(CliError::NoCertificate)
}

/// Arguments of `identity recover`.
#[derive(Debug, clap::Args)]
pub(crate) struct Recover {
    /// The robot's name in the fleet
    #[arg(value_name = "ROBOT")]
    robot: RobotId,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Makes the state folder again from the chip and the authority, and gets the certificates anew.
pub(crate) fn recover(arguments: &Recover, context: &Context) -> Result<Answer, CliError> {
    let mut authority = arguments.authority.open()?;
    let pinned = authority.authority.verifying_key();
    let path = context.state_dir()?;
    let record = restored(&path, arguments, context, pinned, &mut authority)?;
    let identity = parties::with_robot(context, |robot, _| {
        Ok(robot.create_identity(&mut authority, now_ms())?)
    })?;
    let json = json!({
        "robot": record.robot,
        "endorsement_key": record.endorsement_key.name().to_hex(),
        "attestation_key": record.attestation_key.name().to_hex(),
        "identity": record.identity.name().to_hex(),
        "idevid": describe(&identity.initial)?, "ldevid": describe(&identity.local)?,
    });
    let style = context.style();
    let mut text = format!(
        "{}\n",
        style.good(&format!(
            "{} is back, with the keys that its chip made again",
            record.robot
        ))
    );
    text.push_str(&pairs([
        ("endorsement key", record.endorsement_key.name().to_hex()),
        ("attestation key", record.attestation_key.name().to_hex()),
        ("identity", record.identity.name().to_hex()),
    ]));
    text.push_str(&pairs(rows(&identity)?));
    text.push_str(
        "its missions are gone, and it is stopped until two persons arm it: `alcub3 estop reset`\n",
    );
    Ok(Answer::done(json, text))
}

fn restored(
    path: &Path,
    arguments: &Recover,
    context: &Context,
    pinned: alcub3_crypto::VerifyingKey,
    authority: &mut crate::local_authority::LocalAuthority,
) -> Result<alcub3_keys::RobotRecord, CliError> {
    let folder = StateFolder::open(path)?;
    let tpm = tpm_access::start(context.tpm_spec())?;
    Ok(alcub3_agent::recover(
        &tpm,
        &folder,
        &arguments.robot,
        pinned,
        authority,
    )?)
}
