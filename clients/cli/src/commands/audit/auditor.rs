//! `audit prove` and `audit bundle`: what is given out of a log, and proves itself.

use super::Reader;
use crate::commands::files;
use crate::error::CliError;
use crate::output::Answer;
use alcub3_agent::{AgentError, AuditReader};
use alcub3_audit_log::{AuditBundle, BundleParts, Cut, Part};
use alcub3_trust_model::{Integrity, Labels, Level};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Arguments of `audit prove`.
#[derive(Debug, clap::Args)]
pub(crate) struct Prove {
    /// The entry's index
    #[arg(value_name = "INDEX")]
    index: u64,
    /// Where the bundle goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Arguments of `audit bundle`.
#[derive(Debug, clap::Args)]
pub(crate) struct Bundle {
    #[command(flatten)]
    reader: Reader,
    /// Entries from this index on
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    from: u64,
    /// Entries up to this index, which is not in it
    #[arg(long, value_name = "INDEX")]
    before: Option<u64>,
    /// Where the bundle goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn prove(arguments: &Prove, log: &AuditReader) -> Result<Answer, CliError> {
    let cut = Cut {
        // Whoever asks names the entry: what he may read of it is his to know.
        reader: Labels::new(Level::TopSecret, Integrity::Untrusted),
        from: arguments.index,
        before: arguments.index.saturating_add(1),
    };
    write(log, cut, &arguments.out)
}

pub(super) fn bundle(arguments: &Bundle, log: &AuditReader) -> Result<Answer, CliError> {
    let cut = Cut {
        reader: arguments.reader.labels(),
        from: arguments.from,
        before: arguments.before.unwrap_or(u64::MAX),
    };
    write(log, cut, &arguments.out)
}

fn write(log: &AuditReader, cut: Cut, out: &Path) -> Result<Answer, CliError> {
    let bundle = cut_of(log, cut)?;
    files::write_private(out, &bundle.to_canonical())?;
    let readable = |part: &&Part| matches!(part, Part::Entry { .. });
    let entries = bundle.parts.iter().filter(readable).count();
    let json = json!({"out": out, "entries": entries, "key": bundle.key});
    let text = format!(
        "{entries} entries: {}; there: `alcub3 audit verify`",
        out.display()
    );
    Ok(Answer::done(json, text))
}

/// The bundle over the last checkpoint.
fn cut_of(log: &AuditReader, cut: Cut) -> Result<AuditBundle, CliError> {
    let (head, key) = log.last_checkpoint().ok_or(AgentError::NoCheckpoint)?;
    let size = head.checkpoint().size();
    let earlier = log.earlier(&key).into_iter();
    let earlier: Vec<_> = earlier.filter(|(_, head)| head.size() < size).collect();
    let mut parts = BundleParts::new(cut, earlier.iter().map(|(_, head)| head.size()).collect());
    let leaves = log.leaves()?;
    let count = usize::try_from(size).unwrap_or(usize::MAX);
    leaves.iter().take(count).for_each(|leaf| parts.push(leaf));
    let (reader, parts) = parts.finish();
    let note = head.note().encode();
    // What the chip certified is of this checkpoint, or of one that a crash kept from being laid out.
    let anchored = log.anchored().filter(|report| report.note == note);
    Ok(AuditBundle {
        key: key.to_text(),
        note,
        anchor: anchored.map(|report| report.anchor),
        earlier: earlier.into_iter().map(|(note, _)| note).collect(),
        reader,
        parts,
    })
}
