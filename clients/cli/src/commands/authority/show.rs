//! `authority show`.

use super::platform;
use crate::args::Context;
use crate::clock::now_ms;
use crate::commands::audit::{self, Selection};
use crate::commands::files;
use crate::error::CliError;
use crate::key_file;
use crate::output::{Answer, pairs, table};
use crate::parties::AuthorityArgs;
use alcub3_server::{Authority, ChipRefusal, Operator};
use alcub3_trust_model::RobotId;
use serde_json::json;
use std::path::PathBuf;

/// Arguments of `authority show`.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// Write the authority's public key to this file as well, as PEM, for those who check what it signed
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Arguments of `authority audit`.
#[derive(Debug, clap::Args)]
pub(crate) struct Audit {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Shows the authority's audit log. Needs no TPM, and waits for nobody who has the authority open.
pub(crate) fn audit(arguments: &Audit) -> Result<Answer, CliError> {
    let log = Authority::audit_file(&arguments.authority.folder()?);
    audit::show(&log, &arguments.selection)
}

/// Arguments of `authority checkpoint`.
#[derive(Debug, clap::Args)]
pub(crate) struct Checkpoint {
    /// What left the robot: `audit checkpoint --report`
    #[arg(value_name = "FILE")]
    report: PathBuf,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Takes a checkpoint of a robot's audit log. Needs no TPM.
pub(crate) fn checkpoint(arguments: &Checkpoint) -> Result<Answer, CliError> {
    let report = files::read(&arguments.report, "a checkpoint", 64 << 10)?;
    let head = arguments
        .authority
        .open_records()?
        .take_audit_report(&report, now_ms())?;
    let root = hex::encode(head.root().as_bytes());
    let text = format!("{} entries of {}, root {root}", head.size(), head.origin());
    let json = json!({"log": head.origin(), "size": head.size(), "root": root});
    Ok(Answer::done(json, text))
}

/// Shows configuration, key, persons and robots. Needs no TPM.
pub(crate) fn run(arguments: &Show, context: &Context) -> Result<Answer, CliError> {
    let authority = arguments.authority.open_records()?;
    let config = authority.config();
    let key = key_file::public_pem(&authority.verifying_key());
    if let Some(path) = &arguments.key {
        files::write_private(path, key.as_bytes())?;
    }
    let mut robots = Vec::new();
    for name in authority.robots().map_err(alcub3_server::AuthorityError::from)? {
        let robot = RobotId::new(name).map_err(CliError::Id)?;
        let enrolment = authority.enrolment(&robot)?;
        let trusted_at_ms = authority.standing(&robot)?.trusted_at_ms;
        robots.push((
            robot,
            (
                enrolment.record().tier,
                enrolment.record().endorsement.name(),
                enrolment.record().origin.clone(),
            ),
            enrolment.record().ceiling,
            trusted_at_ms,
        ));
    }
    let mut operators = Vec::new();
    for operator in authority.operators().iter() {
        operators.push((operator, chip_of(&authority, operator)?));
    }
    let (platforms, platform_rows) = platform::described_all(&authority)?;
    let json = json!({
        "authority": authority.path(), "public_key": key, "ceiling": config.ceiling,
        "admit_simulators": config.admit_simulators, "require_crls": config.require_revocation_lists,
        "operators": operators.iter().map(|(operator, chip)| json!({
            "id": operator.id, "role": operator.role, "labels": operator.labels, "tpm": chip,
        })).collect::<Vec<_>>(),
        "robots": robots.iter().map(|(robot, (tier, basis, origin), ceiling, trusted_at_ms)| json!({
            "robot": robot, "tier": tier.name(), "endorsement": basis,
            "origin": crate::commands::origin::json(origin), "ceiling": ceiling, "trusted_at_ms": trusted_at_ms,
        })).collect::<Vec<_>>(),
        "platforms": platforms,
    });
    let mut text = pairs([
        ("authority", authority.path().display().to_string()),
        ("ceiling", config.ceiling.to_string()),
        (
            "simulators",
            if config.admit_simulators {
                "ADMITTED (development only)"
            } else {
                "refused"
            }
            .to_owned(),
        ),
    ]);
    text.push_str(&format!("\n{key}\n{}\n", context.style().bold("persons")));
    let rows = operators.iter().map(|(operator, chip)| {
        let labels = &operator.labels;
        [
            operator.id.to_string(),
            operator.role.to_string(),
            labels.level.to_string(),
            labels.integrity.to_string(),
            chip.unwrap_or_default().to_owned(),
        ]
    });
    text.push_str(&table(
        ["name", "role", "level", "integrity", "admitted TPM"],
        rows,
    ));
    text.push_str(&format!("\n{}\n", context.style().bold("robots")));
    let rows = robots
        .iter()
        .map(|(robot, (tier, basis, origin), ceiling, trusted)| {
            let trusted = if trusted.is_some() { "yes" } else { "no" };
            [
                robot.to_string(),
                tier.name().to_owned(),
                (*basis).to_owned(),
                crate::commands::origin::machine(origin),
                ceiling.to_string(),
                trusted.to_owned(),
            ]
        });
    text.push_str(&table(
        [
            "name",
            "TPM",
            "vouched for by",
            "machine",
            "ceiling",
            "last found trusted",
        ],
        rows,
    ));
    if !platform_rows.is_empty() {
        text.push_str(&format!("\n{}\n", context.style().bold("robots without a TPM")));
        text.push_str(&table(platform::HEADER, platform_rows));
    }
    Ok(Answer::done(json, text))
}

/// The kind of TPM that is admitted for a person, if one is.
fn chip_of(authority: &Authority, operator: &Operator) -> Result<Option<&'static str>, CliError> {
    match authority.chip(&operator.id) {
        Ok(chip) => Ok(Some(chip.tier().name())),
        Err(ChipRefusal::NoChip(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
