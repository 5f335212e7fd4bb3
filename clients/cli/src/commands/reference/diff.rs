//! `reference diff`: what changed between two documents.

use super::document::Foreign;
use super::show::shown;
use crate::error::CliError;
use crate::output::Answer;
use crate::style::Style;
use alcub3_attestation::appraisal::{Listed, PcrChange, ReferenceDifferences};
use alcub3_attestation::ima::name_for_people;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;

/// How many names of one kind are written out; `--json` has them all.
const SHOWN: usize = 40;

/// Arguments of `reference diff`.
#[derive(Debug, clap::Args)]
pub(crate) struct Diff {
    /// The document before
    #[arg(value_name = "BEFORE")]
    before: PathBuf,
    /// The document after
    #[arg(value_name = "AFTER")]
    after: PathBuf,
    #[command(flatten)]
    foreign: Foreign,
}

/// Compares.
pub(super) fn run(arguments: &Diff, style: Style) -> Result<Answer, CliError> {
    let read = |path| arguments.foreign.read(path).map(|document| document.values);
    let (before, after) = (read(&arguments.before)?, read(&arguments.after)?);
    let differences = ReferenceDifferences::between(&before, &after);
    let mut json = json!(differences);
    if let Some(fields) = json.as_object_mut() {
        fields.insert("same".to_owned(), Value::Bool(differences.is_same()));
    }
    Ok(Answer::verdict(
        differences.is_same(),
        json,
        in_words(&differences, style),
    ))
}

fn in_words(differences: &ReferenceDifferences, style: Style) -> String {
    if differences.is_same() {
        return "they say the same\n".to_owned();
    }
    let mut text = String::new();
    if let Some(bank) = &differences.bank {
        let _ = writeln!(text, "the bank is {} and was {}", bank.after, bank.before);
    }
    for change in &differences.pcrs {
        text.push_str(&of_pcr(change, style));
    }
    group(
        &mut text,
        "claims that a boot's log must show",
        &differences.claims,
        style,
    );
    if let Some(judged) = &differences.runtime {
        text.push_str(match judged.after {
            true => "what the running system measures is judged, and was not\n",
            false => "what the running system measures is not judged any more\n",
        });
    }
    group(&mut text, "files", &differences.files, style);
    let changed = &differences.files_changed;
    if !changed.is_empty() {
        let _ = writeln!(
            text,
            "{}",
            style.bold(&format!("{} files have other digests", changed.len()))
        );
    }
    for change in changed.iter().take(SHOWN) {
        let _ = writeln!(text, "  {}", name_for_people(change.name.as_bytes()));
        list(&mut text, "    ", &change.digests, style);
    }
    more(&mut text, changed.len());
    group(
        &mut text,
        "names that are not judged",
        &differences.exclude,
        style,
    );
    if let Some(violations) = &differences.violations {
        let _ = writeln!(
            text,
            "a file that changed while it was measured: {} and was {}",
            shown(&json!(violations.after)),
            shown(&json!(violations.before))
        );
    }
    for (name, change) in &differences.state {
        let value = |value: &Option<Value>| value.as_ref().map_or("nothing asked".to_owned(), shown);
        let _ = writeln!(
            text,
            "state, {}: {} and was {}",
            name.replace('_', " "),
            value(&change.after),
            value(&change.before)
        );
    }
    if differences.order {
        text.push_str("the same rules are in another order\n");
    }
    text
}

fn of_pcr(change: &PcrChange, style: Style) -> String {
    let rule = |kind: &str| match kind {
        "values" => "values",
        "events" => "events in any order",
        "any" => "any value that the log explains",
        _ => "no rule, so that every boot is refused",
    };
    let mut text = format!("{}\n", style.bold(change.about));
    if change.before != change.after {
        let _ = writeln!(
            text,
            "  its rule: {}; it was: {}",
            rule(change.after),
            rule(change.before)
        );
    }
    list(&mut text, "  ", &change.digests, style);
    text
}

fn group(text: &mut String, heading: &str, listed: &Listed, style: Style) {
    if listed.is_same() {
        return;
    }
    let (added, removed) = (listed.added.len(), listed.removed.len());
    let heading = format!("{heading}: {added} added, {removed} removed");
    let _ = writeln!(text, "{}", style.bold(&heading));
    list(text, "  ", listed, style);
}

fn list(text: &mut String, indent: &str, listed: &Listed, style: Style) {
    for (mark, names) in [
        (style.good("+"), &listed.added),
        (style.bad("-"), &listed.removed),
    ] {
        for name in names.iter().take(SHOWN) {
            let _ = writeln!(text, "{indent}{mark} {}", name_for_people(name.as_bytes()));
        }
        more(text, names.len());
    }
}

fn more(text: &mut String, count: usize) {
    if count > SHOWN {
        let _ = writeln!(text, "  and {} more", count - SHOWN);
    }
}
