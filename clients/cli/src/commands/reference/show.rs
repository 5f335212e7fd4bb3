//! `reference show`: what a document accepts, in words.

use super::document::Foreign;
use crate::error::CliError;
use crate::output::Answer;
use crate::style::Style;
use alcub3_attestation::appraisal::{ReferenceReport, ReferenceValues, RuleReport, Violations, what_is_in};
use alcub3_attestation::corim::Corim;
use alcub3_attestation::ima::name_for_people;
use alcub3_trust_model::pcr_map::BOOT;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;

/// How many digests of one rule, or patterns, are written out.
const SHOWN: usize = 8;

/// Arguments of `reference show`.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// The document: TOML, JSON or CoRIM
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    foreign: Foreign,
}

/// Shows.
pub(super) fn run(arguments: &Show, style: Style) -> Result<Answer, CliError> {
    let document = arguments.foreign.read(&arguments.file)?;
    let report = ReferenceReport::of(&document.values);
    let mut text = in_words(&report, &document.values, style);
    let mut json = json!(report);
    if let (Some(corim), Some(fields)) = (&document.corim, json.as_object_mut()) {
        text.insert_str(0, &of_corim(corim));
        fields.insert("corim".to_owned(), corim_json(corim));
    }
    Ok(Answer::done(json, text))
}

/// What a CoRIM says besides; its texts are harmless since it was read.
fn of_corim(corim: &Corim) -> String {
    let of = &corim.environment;
    let class: Vec<&str> = [&of.vendor, &of.model, &of.class_id]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    let signer = corim.signer.as_deref().map_or_else(
        || "nobody: it is as good as where it came from".to_owned(),
        |signer| format!("{signer}, with the key that was named"),
    );
    let mut text = format!(
        "CoRIM        {}\nof           {}\nsigned by    {signer}\n",
        corim.id,
        class.join(", ")
    );
    if !corim.ignored.is_empty() {
        let _ = writeln!(text, "not used     {}", corim.ignored.join(", "));
    }
    text
}

fn corim_json(corim: &Corim) -> Value {
    let of = &corim.environment;
    json!({
        "id": corim.id, "signer": corim.signer, "ignored": corim.ignored,
        "class": {"id": of.class_id, "vendor": of.vendor, "model": of.model, "layer": of.layer, "index": of.index},
    })
}

fn in_words(report: &ReferenceReport, values: &ReferenceValues, style: Style) -> String {
    let mut text = format!(
        "bank         {}\nfingerprint  {}\n",
        report.bank, report.fingerprint
    );
    let _ = writeln!(text, "\n{}", style.bold("What a boot may measure"));
    let silent = BOOT.filter(|pcr| values.rule(*pcr).is_none());
    let mut lines: Vec<(u8, String)> = report.pcrs.iter().map(|rule| (rule.pcr, of_rule(rule))).collect();
    lines.extend(silent.map(|pcr| {
        let refused = style.warn("nothing: it has no rule, and every boot is refused");
        (pcr, format!("{}: {refused}\n", what_is_in(pcr)))
    }));
    lines.sort_by_key(|(pcr, _)| *pcr);
    lines
        .iter()
        .for_each(|(_, line)| text.push_str(&format!("  {line}")));
    let claims: Vec<&str> = report.claims.iter().copied().collect();
    let _ = match claims.as_slice() {
        [] => writeln!(text, "  no claims are asked of its log"),
        claims => writeln!(text, "  its log must show: {}", claims.join(", ")),
    };
    let _ = writeln!(text, "\n{}", style.bold("What the running system may measure"));
    text.push_str(&of_runtime(report));
    let _ = writeln!(text, "\n{}", style.bold("What the robot may say of itself"));
    text.push_str(&of_state(report));
    text
}

fn of_rule(rule: &RuleReport) -> String {
    let count = rule.digests.len();
    let accepts = match (rule.rule, count) {
        ("any", _) => return format!("{}: any value that the log explains\n", rule.about),
        ("events", 0) => "no event at all".to_owned(),
        ("events", 1) => "this event only".to_owned(),
        ("events", _) => format!("these {count} events only, in any order"),
        (_, 0) => "no value at all: every boot is refused".to_owned(),
        (_, 1) => "this value".to_owned(),
        _ => format!("one of {count} values"),
    };
    let mut text = format!("{}: {accepts}\n", rule.about);
    for digest in rule.digests.iter().take(SHOWN) {
        let _ = writeln!(text, "    {digest}");
    }
    if count > SHOWN {
        let _ = writeln!(text, "    and {} more", count - SHOWN);
    }
    text
}

fn of_runtime(report: &ReferenceReport) -> String {
    let (Some(files), Some(digests)) = (report.files, report.digests) else {
        return "  it is not judged: a verdict notes that (runtime-unjudged)\n".to_owned();
    };
    let mut text = format!("  {files} files with {digests} digests; any other makes the robot untrusted\n");
    let shown: Vec<String> = report
        .exclude
        .iter()
        .take(SHOWN)
        .map(|name| name_for_people(name.as_bytes()))
        .collect();
    let more = report.exclude.len().saturating_sub(SHOWN);
    let _ = match (shown.is_empty(), more) {
        (true, _) => writeln!(text, "  nothing is left out"),
        (_, 0) => writeln!(text, "  not judged: {}", shown.join(", ")),
        (_, more) => writeln!(text, "  not judged: {}, and {more} more", shown.join(", ")),
    };
    text.push_str(match report.violations {
        Some(Violations::Note) => "  a file that changed while it was measured is noted\n",
        _ => "  a file that changed while it was measured makes the robot untrusted\n",
    });
    text
}

fn of_state(report: &ReferenceReport) -> String {
    if report.state.is_empty() {
        return "  nothing of it is held to anything\n".to_owned();
    }
    let line = |(name, value): (&String, &Value)| format!("  {}\n", of_part(name, value));
    report.state.iter().map(line).collect()
}

/// A part of the state as a sentence; one that is not known here is shown as the document has it.
fn of_part(name: &str, value: &Value) -> String {
    let count = value.as_array().map_or(0, Vec::len);
    let list = || {
        let words = value.as_array().into_iter().flatten().take(SHOWN);
        let words: Vec<String> = words.map(shown).collect();
        let more = count.saturating_sub(SHOWN);
        match more {
            0 => words.join(", "),
            more => format!("{}, and {more} more", words.join(", ")),
        }
    };
    match name {
        "within" => format!("it must be within one of {count} areas: {}", list()),
        "min_battery_permille" => format!("its charge is at least {value} permille, else a warning"),
        "max_speed_mm_per_s" => format!("its speed is at most {value} mm/s, else a warning"),
        _ if value.is_array() => format!("{} is one of: {}", name.replace('_', " "), list()),
        _ => format!("{}: {}", name.replace('_', " "), shown(value)),
    }
}

/// A value for people, cut and harmless.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => name_for_people(text.as_bytes()),
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let field =
                |(name, value): (&String, &Value)| format!("{} {}", name.replace('_', " "), shown(value));
            fields.iter().map(field).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}
