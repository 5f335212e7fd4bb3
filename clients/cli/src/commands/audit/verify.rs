//! `audit verify`: what a bundle or a log proves, and what is wrong with it, where.

use super::to_json;
use crate::commands::{files, receipt};
use crate::error::CliError;
use crate::output::Answer;
use alcub3_agent::{AgentError, AuditReader};
use alcub3_audit_log::{AuditBundle, Checkpoint, Entry, Finding, NoteVerifier, SignedCheckpoint};
use alcub3_crypto::VerifyingKey;
use alcub3_fleet_protocol::audit::ProvenHead;
use alcub3_trust_model::RobotId;
use alcub3_trust_model::nv_map::NvMap;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;

/// The longest bundle, in bytes.
const LIMIT: u64 = 1 << 30;
const NOTE_LIMIT: u64 = 64 << 10;

/// Arguments of `audit verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// An auditor's bundle [default: this robot's log]
    #[arg(value_name = "BUNDLE")]
    bundle: Option<PathBuf>,
    /// The robot's attestation key, which vouches for the log's own: TPM2B_PUBLIC, TPMT_PUBLIC or PEM
    #[arg(long, value_name = "AK")]
    ak: Option<PathBuf>,
    /// The log's key, as it was pinned: name+hash+key
    #[arg(long, value_name = "KEY", value_parser = log_key)]
    key: Option<NoteVerifier>,
    /// The robot whose log it must be
    #[arg(long, value_name = "ROBOT")]
    robot: Option<RobotId>,
    /// A checkpoint that somebody holds, and that the log must go on from; may be repeated
    #[arg(long, value_name = "NOTE")]
    held: Vec<PathBuf>,
}

fn log_key(text: &str) -> Result<NoteVerifier, String> {
    NoteVerifier::from_text(text).map_err(|error| error.to_string())
}

/// What was found.
struct Found {
    head: Option<Checkpoint>,
    /// The number of the head by the chip's count, where the attestation key vouches for it.
    counted: Option<u64>,
    /// What is wrong that has no place in the log.
    refused: Option<String>,
    findings: Vec<Finding>,
    entries: Vec<(u64, Entry)>,
    hidden: u64,
}

pub(super) fn run(
    arguments: &Verify,
    log: impl FnOnce() -> Result<AuditReader, CliError>,
) -> Result<Answer, CliError> {
    let ak = arguments
        .ak
        .as_deref()
        .map(receipt::attestation_key)
        .transpose()?;
    let found = match &arguments.bundle {
        Some(path) => bundle(
            &files::read(path, "an auditor's bundle", LIMIT)?,
            arguments,
            ak.as_ref(),
        )?,
        None => folder(&log()?, arguments, ak.as_ref())?,
    };
    Ok(answer(&found, arguments.bundle.is_some()))
}

/// The key that the log must be signed with: the pinned one, or the one it comes with, which the attestation key then vouches for.
fn key_of(arguments: &Verify, came_with: &str) -> Result<NoteVerifier, String> {
    let came_with = NoteVerifier::from_text(came_with).map_err(|error| error.to_string())?;
    match &arguments.key {
        Some(pinned) if *pinned != came_with => Err(format!(
            "it is of the key {}, not the pinned one",
            came_with.to_text()
        )),
        Some(pinned) => Ok(pinned.clone()),
        None if came_with.is_named_by_key() => Ok(came_with),
        None => Err("the log's name is not of its key".to_owned()),
    }
}

fn bundle(bytes: &[u8], arguments: &Verify, ak: Option<&VerifyingKey>) -> Result<Found, CliError> {
    if ak.is_none() && arguments.key.is_none() {
        return Err(CliError::NoAuditKey);
    }
    let bundle = match AuditBundle::from_canonical(bytes) {
        Ok(bundle) => bundle,
        Err(error) => return Ok(Found::refused(error.to_string())),
    };
    let key = match key_of(arguments, &bundle.key) {
        Ok(key) => key,
        Err(why) => return Ok(Found::refused(why)),
    };
    let mut found = match bundle.verify(&key) {
        Ok(verified) => Found {
            head: Some(verified.head.checkpoint().clone()),
            entries: verified.entries,
            hidden: verified.hidden,
            ..Found::nothing()
        },
        Err(findings) => Found {
            findings,
            ..Found::nothing()
        },
    };
    if let Some(ak) = ak {
        let proven = ProvenHead::of_bundle(&bundle, arguments.robot.as_ref(), ak, &nv_of(ak)?);
        found.vouched(Some(proven.map_err(|error| error.to_string())));
    }
    Ok(found)
}

/// What the attestation key says of the head, or why it says nothing.
type Vouched = Result<Option<ProvenHead>, String>;

fn folder(log: &AuditReader, arguments: &Verify, ak: Option<&VerifyingKey>) -> Result<Found, CliError> {
    let came_with = log.read("key").ok_or(AgentError::NoCheckpoint)?;
    let key = match key_of(arguments, String::from_utf8_lossy(&came_with).trim_end()) {
        Ok(key) => key,
        Err(why) => return Ok(Found::refused(why)),
    };
    let mut held = Vec::new();
    for path in &arguments.held {
        let note = files::read(path, "a checkpoint", NOTE_LIMIT)?;
        match SignedCheckpoint::verify(&String::from_utf8_lossy(&note), &key) {
            Ok(head) => held.push(head.checkpoint().clone()),
            Err(error) => return Ok(Found::refused(format!("{}: {error}", path.display()))),
        }
    }
    let verified = log.verify(&key, &held)?;
    let mut found = Found {
        head: verified.checked.head.map(|head| head.checkpoint().clone()),
        findings: verified.findings,
        ..Found::nothing()
    };
    if let Some(ak) = ak {
        let nv = nv_of(ak)?;
        let vouched: Vouched = match log.anchored() {
            None => Ok(None),
            Some(report) => report
                .verify(ak, &nv)
                .map(Some)
                .map_err(|error| error.to_string()),
        };
        found.vouched(Some(vouched));
    }
    Ok(found)
}

fn nv_of(ak: &VerifyingKey) -> Result<NvMap, CliError> {
    NvMap::new(ak.native_scheme().hash()).map_err(|source| CliError::NvMap { source })
}

impl Found {
    const fn nothing() -> Self {
        Self {
            head: None,
            counted: None,
            refused: None,
            findings: Vec::new(),
            entries: Vec::new(),
            hidden: 0,
        }
    }

    fn refused(why: String) -> Self {
        Self {
            refused: Some(why),
            ..Self::nothing()
        }
    }

    fn vouched(&mut self, vouched: Option<Vouched>) {
        match vouched {
            None => {}
            Some(Ok(Some(proven))) => self.counted = Some(proven.count()),
            Some(Ok(None)) => self.refused = Some("nothing of the chip came with it".to_owned()),
            Some(Err(why)) => self.refused = Some(why),
        }
    }

    fn holds(&self) -> bool {
        self.head.is_some() && self.refused.is_none() && self.findings.is_empty()
    }
}

fn answer(found: &Found, is_bundle: bool) -> Answer {
    let findings = found.findings.iter().map(
        |finding| json!({"code": finding.code(), "entry": finding.position(), "text": finding.to_string()}),
    );
    let entries = found
        .entries
        .iter()
        .map(|(index, entry)| to_json(*index, Some(entry)));
    let mut json = json!({
        "holds": found.holds(),
        "log": found.head.as_ref().map(Checkpoint::origin),
        "size": found.head.as_ref().map(Checkpoint::size),
        "root": found.head.as_ref().map(|head| hex::encode(head.root().as_bytes())),
        "head_number": found.counted,
        "refused": found.refused,
        "findings": findings.collect::<Vec<Value>>(),
    });
    if let (true, Some(fields)) = (is_bundle, json.as_object_mut()) {
        fields.insert("entries".into(), entries.collect());
        fields.insert("hidden".into(), found.hidden.into());
    }
    Answer::verdict(found.holds(), json, text(found))
}

fn text(found: &Found) -> String {
    let mut text = match &found.head {
        Some(head) if found.holds() => format!("the log {} holds: {} entries\n", head.origin(), head.size()),
        _ => "the log does not hold\n".to_owned(),
    };
    if let Some(why) = &found.refused {
        let _ = writeln!(text, "  {why}");
    }
    for finding in &found.findings {
        let _ = writeln!(text, "  {finding}");
    }
    match found.counted {
        Some(count) => drop(writeln!(
            text,
            "  its head is number {count} that the chip counted and signed"
        )),
        None => {
            text.push_str("  by the log's own key alone: give --ak for what the chip counted and signed\n");
        }
    }
    text
}
