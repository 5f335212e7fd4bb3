//! Appraisal policies and policy bundles as files: read, and said in words.

use super::files;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::key_file;
use crate::output::Answer;
use alcub3_attestation::appraisal::{AppraisalPolicy, ClassInWords};
use alcub3_fleet_protocol::policy_bundle::{
    MAX_BUNDLE_BYTES, PolicyBundleError, VerifiedBundle, VerifiedPeer,
};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;

const LIMIT: u64 = 256 * 1024;
/// How far a bundle may be from the future, in milliseconds: what robots allow.
const CLOCKS_APART_MS: u64 = 30_000;

/// Reads a policy.
pub(super) fn read(path: &Path) -> Result<AppraisalPolicy, CliError> {
    of_bytes(&files::read(path, "an appraisal policy", LIMIT)?, path)
}

/// A policy from a file's content.
pub(super) fn of_bytes(bytes: &[u8], path: &Path) -> Result<AppraisalPolicy, CliError> {
    AppraisalPolicy::from_bytes(bytes).map_err(|source| CliError::AppraisalPolicyFile {
        path: path.into(),
        source: Box::new(source),
    })
}

/// Whether text is meant as an appraisal policy: only such a one has classes.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    let table = core::str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.parse::<toml::Table>().ok());
    table.is_some_and(|table| table.contains_key("class") || table.contains_key("version"))
}

/// What a policy asks, for programs and for people.
pub(super) fn explained(policy: &AppraisalPolicy) -> (Value, String) {
    let classes = policy.in_words();
    let json = json!({"kind": "appraisal-policy", "name": policy.name(), "version": policy.version(), "classes": classes});
    let mut text = format!(
        "appraisal policy {} version {}\n",
        policy.name(),
        policy.version()
    );
    classes.iter().for_each(|class| text.push_str(&of_class(class)));
    text.push_str("\nany other robot: refused\n");
    (json, text)
}

fn of_class(class: &ClassInWords) -> String {
    let mut text = format!("\n{}: {}\n", class.name, class.robots.join(", "));
    let mut before: Option<&Vec<String>> = None;
    for level in &class.levels {
        let _ = match (before == Some(&level.asks), level.asks.as_slice()) {
            (true, _) => continue,
            (false, []) => writeln!(
                text,
                "  from {}: nothing beyond the reference values",
                level.level
            ),
            (false, asks) => writeln!(text, "  from {}:\n    {}", level.level, asks.join("\n    ")),
        };
        before = Some(&level.asks);
    }
    text
}

/// Whether a file is a signed message (a tagged COSE_Sign1) and no text.
pub(super) fn is_signed(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0xd2)
}

/// The longest file that is checked, in bytes.
pub(super) fn longest() -> u64 {
    u64::try_from(MAX_BUNDLE_BYTES).unwrap_or(u64::MAX)
}

/// Checks a policy bundle: whose it is, what is in it, until when, and whether it is newer than one that is known.
pub(super) fn check_bundle(bytes: &[u8], key: &Path, newest: Option<u64>) -> Result<Answer, CliError> {
    let bundle = VerifiedBundle::verify(bytes, &key_file::read_public(key)?)?;
    let now = now_ms();
    let time = bundle.check_time(now, CLOCKS_APART_MS);
    let old = newest.filter(|newest| bundle.version() <= *newest);
    let old = old.map(|newest| PolicyBundleError::RolledBack {
        given: bundle.version(),
        newest,
    });
    let refused: Vec<PolicyBundleError> = time.err().into_iter().chain(old).collect();
    let mut text = format!(
        "policy bundle version {}, signed by that authority\nfrom  {}\nuntil {}\n",
        bundle.version(),
        when(bundle.issued_at_ms()),
        when(bundle.not_after_ms())
    );
    bundle
        .peers()
        .iter()
        .for_each(|peer| text.push_str(&of_peer(peer)));
    for error in &refused {
        let _ = writeln!(text, "\n{error}");
    }
    let json = json!({
        "kind": "policy-bundle", "version": bundle.version(), "issued_at_ms": bundle.issued_at_ms(),
        "not_after_ms": bundle.not_after_ms(), "robots": bundle.peers().iter().map(peer_json).collect::<Vec<_>>(),
        "refused": refused.iter().map(PolicyBundleError::code).collect::<Vec<_>>(),
    });
    Ok(Answer::verdict(refused.is_empty(), json, text))
}

fn when(at_ms: u64) -> String {
    let at = i64::try_from(at_ms / 1000).ok();
    let at = at.and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok());
    let text = at.and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok());
    text.unwrap_or_else(|| format!("{at_ms} ms since 1970"))
}

fn of_peer(peer: &VerifiedPeer) -> String {
    let (record, policy) = (peer.enrolment().record(), peer.policy());
    let mut text = format!(
        "\n{}: a root of trust that is {} or better; a judgement holds {} s; {} rearmed stops\n",
        record.robot,
        policy.min_tier,
        policy.lease_ms / 1000,
        policy.rearmed.len()
    );
    if let Some(epoch) = policy.stops.in_force() {
        let _ = writeln!(
            text,
            "  under a stop: refused until a bundle says that a rearm named epoch {epoch} or a later one"
        );
    }
    let (bank, files) = (peer.references().bank().name(), peer.references().runtime());
    let _ = match files {
        Some(files) => writeln!(
            text,
            "  reference values of the {bank} bank and of {} files",
            files.len()
        ),
        None => writeln!(
            text,
            "  reference values of the {bank} bank; what runs is not judged"
        ),
    };
    if let Some(rule) = &policy.rule {
        let _ = writeln!(
            text,
            "  by appraisal policy {}: {}",
            rule.policy_id(),
            rule.in_words().join("; ")
        );
    }
    text
}

fn peer_json(peer: &VerifiedPeer) -> Value {
    let policy = peer.policy();
    json!({
        "robot": peer.enrolment().record().robot, "min_tier": policy.min_tier, "lease_ms": policy.lease_ms,
        "rearmed": policy.rearmed, "stopped_epoch": policy.stops.in_force(), "rearmed_epoch": policy.stops.rearmed(), "bank": peer.references().bank().name(),
        "files": peer.references().runtime().map(alcub3_attestation::appraisal::RuntimeReferences::len),
        "rule": policy.rule,
    })
}
