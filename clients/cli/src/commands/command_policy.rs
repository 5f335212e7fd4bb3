//! Command policies as files: read, said in words, signed by two persons, and tried against what was recorded.

use super::files;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::key_file;
use crate::output::Answer;
use crate::parties::{self, AuthorityArgs, NamedFile};
use alcub3_audit_log::{Outcome, Piece, pieces};
use alcub3_command_authority::policy::{
    Change, CommandPolicy, CommandPolicyOrder, MAX_POLICY_BYTES, PolicyInForce, PolicyOrderError,
    RecordedCommand,
};
use alcub3_crypto::HashAlg;
use alcub3_trust_model::OperatorId;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The most bytes of records, or of an audit log, that are read.
const RECORDS_LIMIT: u64 = 1 << 30;

/// Arguments of `policy try`.
#[derive(Debug, clap::Args)]
pub(crate) struct Try {
    /// The command policy that is to be adopted, as TOML
    #[arg(value_name = "NEW")]
    file: PathBuf,
    /// Recorded commands, a JSON object a line (`command validate --record`)
    #[arg(long, value_name = "RECORDED")]
    commands: PathBuf,
    /// The robot's audit log: only commands whose verdict it has count, and its verdict counts
    #[arg(long, value_name = "LOG")]
    audit: Option<PathBuf>,
}

/// Whether text is meant as a command policy: it says so.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    let table = core::str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.parse::<toml::Table>().ok());
    let kind = table.and_then(|table| table.get("kind")?.as_str().map(str::to_owned));
    kind.as_deref() == Some("command-policy")
}

/// The longest file that is one.
pub(super) fn longest() -> u64 {
    u64::try_from(MAX_POLICY_BYTES).unwrap_or(u64::MAX)
}

/// A policy from a file's content.
pub(super) fn of_bytes(bytes: &[u8], path: &Path) -> Result<CommandPolicy, CliError> {
    CommandPolicy::from_toml(bytes).map_err(|source| CliError::CommandPolicyFile {
        path: path.into(),
        source: Box::new(source),
    })
}

/// What a policy says.
pub(super) fn explained(policy: &CommandPolicy) -> Answer {
    let words = policy.in_words();
    let text = format!("command policy\n  {}\n", words.join("\n  "));
    Answer::done(json!({"kind": "command-policy", "rows": words}), text)
}

/// Checks a signed policy: whose it is, who approved it, what it says, and whether it is newer than one that is known. That
/// the approval is the two-person key's, each robot asks itself.
pub(super) fn check_order(bytes: &[u8], key: &Path, newest: Option<u64>) -> Result<Answer, CliError> {
    let (order, statement) = CommandPolicyOrder::read(bytes, &key_file::read_public(key)?)?;
    let given = statement.version;
    let old = newest.filter(|newest| given <= *newest);
    let old = old.map(|newest| PolicyOrderError::RolledBack { given, newest });
    let words = statement.policy.in_words();
    let by: Vec<&str> = order.approvers.iter().map(OperatorId::as_str).collect();
    let mut text = format!(
        "command policy version {given}, signed by that authority, approved by {}\n  {}\n",
        by.join(" and "),
        words.join("\n  ")
    );
    if let Some(error) = &old {
        text.push_str(&format!("\n{error}"));
    }
    let json = json!({
        "kind": "command-policy", "version": given, "issued_at_ms": statement.issued_at_ms, "approvers": order.approvers,
        "rows": words, "refused": old.iter().map(PolicyOrderError::code).collect::<Vec<_>>(),
    });
    Ok(Answer::verdict(old.is_none(), json, text))
}

/// Has two persons approve a policy and the authority sign it.
pub(super) fn sign(
    policy: CommandPolicy,
    out: &Path,
    approve: &[NamedFile],
    authority: &AuthorityArgs,
) -> Result<Answer, CliError> {
    if approve.is_empty() {
        return Err(CliError::Usage {
            message: "a command policy takes two persons: name each with --approve NAME=KEYFILE".to_owned(),
        });
    }
    let persons = parties::persons(approve)?;
    let mut authority = authority.open()?;
    let (version, signed) = authority.issue_command_policy(policy, &persons)?;
    files::write_private(out, &signed)?;
    let text = format!(
        "version {version} is approved; install it on each robot: {}",
        out.display()
    );
    Ok(Answer::done(json!({"version": version, "out": out}), text))
}

/// Says what a policy would have changed.
pub(super) fn attempt(arguments: &Try) -> Result<Answer, CliError> {
    let policy = of_bytes(
        &files::read(&arguments.file, "a policy", longest())?,
        &arguments.file,
    )?;
    let records = read_records(&arguments.commands)?;
    let log = arguments.audit.as_deref().map(read_log).transpose()?;
    let mut outcome = Outcomes::default();
    for record in records {
        match &log {
            Some(log) => match held_to(record, log) {
                Some(record) => outcome.add(&policy, &record),
                None => outcome.unlogged += 1,
            },
            None => outcome.add(&policy, &record),
        }
    }
    Ok(outcome.answer())
}

fn read_records(path: &Path) -> Result<Vec<RecordedCommand>, CliError> {
    let bytes = files::read(path, "recorded commands", RECORDS_LIMIT)?;
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    let read = |(at, line): (usize, &[u8])| {
        serde_json::from_slice(line).map_err(|source| CliError::Recorded {
            path: path.into(),
            line: at.saturating_add(1),
            source,
        })
    };
    lines.map(read).collect()
}

/// The verdicts that an audit log has, by the digest of what was judged.
fn read_log(path: &Path) -> Result<BTreeMap<String, Vec<String>>, CliError> {
    let content = files::read(path, "an audit log", RECORDS_LIMIT)?;
    let mut log = BTreeMap::new();
    for piece in pieces(&content) {
        if let Piece::Entry { entry, .. } = piece
            && entry.kind == alcub3_audit_log::EntryKind::Command
            && let Some(object) = &entry.object
        {
            let reasons = if entry.outcome == Outcome::Done {
                Vec::new()
            } else {
                entry.reasons.clone()
            };
            // Judged twice, it was refused the second time as one that was used: the first verdict is about the command.
            log.entry(object.to_hex()).or_insert(reasons);
        }
    }
    Ok(log)
}

/// A record with the verdict that the log has of it.
fn held_to(record: RecordedCommand, log: &BTreeMap<String, Vec<String>>) -> Option<RecordedCommand> {
    let reasons = log.get(record.digest.as_ref()?)?;
    // A reason is logged with its detail behind a colon.
    let code = |reason: &String| reason.split(':').next().unwrap_or_default().to_owned();
    let reasons: Vec<String> = reasons.iter().map(code).collect();
    Some(RecordedCommand {
        admitted: reasons.is_empty(),
        reasons,
        ..record
    })
}

/// What changes, counted.
#[derive(Debug, Default)]
struct Outcomes {
    tried: usize,
    unlogged: usize,
    by_change: BTreeMap<Change, usize>,
    new: BTreeMap<String, usize>,
    gone: BTreeMap<String, usize>,
    commands: BTreeSet<(String, String, String)>,
}

impl Outcomes {
    fn add(&mut self, policy: &CommandPolicy, record: &RecordedCommand) {
        let digest = HashAlg::Sha256.digest(&[]);
        let policy = PolicyInForce::of(policy, 0, digest, &record.robot);
        let trial = record.under(&policy);
        let change = trial.change();
        self.tried += 1;
        *self.by_change.entry(change).or_default() += 1;
        let (new, gone) = trial.difference();
        for (counts, codes) in [(&mut self.new, &new), (&mut self.gone, &gone)] {
            for code in codes {
                *counts.entry((*code).to_owned()).or_default() += 1;
            }
        }
        if change == Change::NewlyRefused {
            let (robot, command) = (record.robot.to_string(), record.command.to_string());
            self.commands.insert((robot, command, new.join(", ")));
        }
    }

    fn of(&self, change: Change) -> usize {
        self.by_change.get(&change).copied().unwrap_or_default()
    }

    /// Nothing that was admitted would be refused: that is the answer "yes".
    fn answer(&self) -> Answer {
        let refused = self.of(Change::NewlyRefused);
        let admitted = self.of(Change::NewlyAdmitted);
        let mut text = format!(
            "{} recorded commands: {refused} that were admitted would be refused, {admitted} that were refused would be admitted\n",
            self.tried
        );
        for (word, counts) in [("new", &self.new), ("gone", &self.gone)] {
            for (code, count) in counts {
                text.push_str(&format!("  {word}: {code}, {count} times\n"));
            }
        }
        for (robot, command, codes) in &self.commands {
            text.push_str(&format!("  {robot} would refuse {command}: {codes}\n"));
        }
        if self.unlogged > 0 {
            text.push_str(&format!(
                "{} records are not in the audit log and were left out\n",
                self.unlogged
            ));
        }
        let commands: Vec<Value> = self
            .commands
            .iter()
            .map(|(robot, command, codes)| json!({"robot": robot, "command": command, "reasons": codes}))
            .collect();
        let json = json!({
            "tried": self.tried, "not_in_log": self.unlogged, "newly_refused": refused, "newly_admitted": admitted,
            "other_reasons": self.of(Change::OtherReasons), "same": self.of(Change::Same), "new_reasons": self.new,
            "gone_reasons": self.gone, "would_refuse": commands,
        });
        Answer::verdict(refused == 0, json, text)
    }
}

/// The order of the issued policy as robots take it.
pub(super) fn is_order(bytes: &[u8]) -> bool {
    CommandPolicyOrder::is_one(bytes)
}

/// Gives a robot a signed policy.
pub(super) fn install(signed: &[u8], context: &crate::args::Context) -> Result<Answer, CliError> {
    let policy = parties::with_robot(context, |robot, _| {
        Ok(robot.take_command_policy(signed, now_ms())?)
    })?;
    let version = policy.statement().version;
    Ok(Answer::done(
        json!({"kind": "command-policy", "version": version}),
        format!("version {version} of the command policy is in force on this robot from the next command on"),
    ))
}
