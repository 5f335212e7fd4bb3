//! The mutation campaign: each kind of genuine evidence, changed, and none of it accepted.
//!
//! `cargo xtask mutate [NAME…] [--count N] [--seed S] [--case N] [--json]` runs this in release mode.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::cast_precision_loss
)]

mod campaign;
#[path = "../../tests/dice_platform/mod.rs"]
mod dice_platform;
mod kinds;
#[path = "../../tests/software_robot/mod.rs"]
mod software_robot;
#[path = "../../tests/tpm_tools/mod.rs"]
mod tpm_tools;

use campaign::{Kind, Outcome, Row};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;

const COUNT: u64 = 100_000;
const SEED: u64 = 1;
/// Accepted cases that are named; the others are counted.
const NAMED: usize = 10;

struct Arguments {
    names: Vec<String>,
    count: u64,
    seed: u64,
    case: Option<u64>,
    json: bool,
}

impl Arguments {
    fn read() -> Option<Self> {
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        let mut arguments = Self {
            names: Vec::new(),
            count: COUNT,
            seed: SEED,
            case: None,
            json: false,
        };
        while let Some(word) = words.next() {
            let mut number = || words.next()?.parse().ok();
            match word.as_str() {
                "--json" => arguments.json = true,
                "--count" => arguments.count = number()?,
                "--seed" => arguments.seed = number()?,
                "--case" => arguments.case = Some(number()?),
                name if kinds::ALL.iter().any(|(known, _)| *known == name) => {
                    arguments.names.push(name.to_owned());
                }
                _ => return None,
            }
        }
        Some(arguments)
    }

    fn kinds(&self) -> impl Iterator<Item = Kind> {
        let wanted = |name: &str| self.names.is_empty() || self.names.iter().any(|wanted| wanted == name);
        kinds::ALL.into_iter().filter_map(move |(name, make)| {
            let kind = wanted(name).then(make)?;
            if kind.is_none() {
                eprintln!("{name}: skipped, no real data beside the checkout");
            }
            kind
        })
    }
}

fn main() -> ExitCode {
    let Some(arguments) = Arguments::read() else {
        let names: Vec<&str> = kinds::ALL.iter().map(|(name, _)| *name).collect();
        eprintln!(
            "mutate: [NAME…] [--count N] [--seed S] [--case N] [--json]; the names: {}",
            names.join(", ")
        );
        return ExitCode::from(2);
    };
    if let Some(number) = arguments.case {
        return rerun(&arguments, number);
    }
    if !arguments.json {
        println!(
            "{:20} {:>10} {:>9} {:>13} {:>11}",
            "genuine evidence", "mutations", "accepted", "same meaning", "per second"
        );
    }
    let rows: Vec<Row> = arguments
        .kinds()
        .map(|kind| {
            let row = kind.run(arguments.seed, arguments.count);
            if !arguments.json {
                print_row(&row, arguments.seed);
            }
            row
        })
        .collect();
    if arguments.json {
        println!(
            "{}",
            Value::Array(rows.iter().map(|row| to_json(row, arguments.seed)).collect())
        );
    } else {
        print_totals(&rows);
    }
    ExitCode::from(u8::from(rows.iter().any(|row| !row.accepted.is_empty())))
}

/// One case of each wanted kind: what it changes, and what the judge says.
fn rerun(arguments: &Arguments, number: u64) -> ExitCode {
    let mut accepted = false;
    for kind in arguments.kinds() {
        let Some(case) = kind.case(arguments.seed, number) else {
            println!("{} case {number}: changes nothing", kind.name);
            continue;
        };
        let said = match kind.judged(&case, &kind.meaning()) {
            Outcome::Refused(reason) => format!("refused: {reason}"),
            Outcome::Same(class) => format!("same meaning: {class}"),
            Outcome::Accepted => {
                accepted = true;
                "ACCEPTED".to_owned()
            }
        };
        println!("{} case {number}: {}\n  {said}", kind.name, case.what);
    }
    ExitCode::from(u8::from(accepted))
}

fn print_row(row: &Row, seed: u64) {
    println!(
        "{:20} {:>10} {:>9} {:>13} {:>11.0}",
        row.name,
        row.mutations,
        row.accepted.len(),
        row.same(),
        row.per_second()
    );
    for (number, what) in row.accepted.iter().take(NAMED) {
        println!("  ACCEPTED: --seed {seed} --case {number}: {what}");
    }
}

fn print_totals(rows: &[Row]) {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    let mut same: BTreeMap<&str, u64> = BTreeMap::new();
    for row in rows {
        for (reason, count) in &row.reasons {
            *reasons.entry(reason).or_default() += count;
        }
        for (class, count) in &row.same_meaning {
            *same.entry(class).or_default() += count;
        }
    }
    println!("\nrefused because of (the first reason of each)");
    print_histogram(reasons);
    if !same.is_empty() {
        println!(
            "\nsame meaning, not counted as mutations: all that the verdict relies on is the genuine one's (weaker: it says less)"
        );
        print_histogram(same);
    }
    let total: u64 = rows.iter().map(|row| row.mutations).sum();
    let accepted: usize = rows.iter().map(|row| row.accepted.len()).sum();
    println!(
        "\n{total} mutations of {} genuine evidences, {accepted} accepted",
        rows.len()
    );
}

fn print_histogram(counts: BTreeMap<&str, u64>) {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (what, count) in counts {
        println!("{count:>10}  {what}");
    }
}

fn to_json(row: &Row, seed: u64) -> Value {
    let accepted: Vec<Value> = row
        .accepted
        .iter()
        .map(|(number, what)| json!({"case": number, "change": what}))
        .collect();
    json!({
        "name": row.name,
        "seed": seed,
        "mutations": row.mutations,
        "accepted": accepted,
        "same_meaning": row.same_meaning,
        "per_second": row.per_second().round(),
        "reasons": row.reasons,
    })
}
