//! The numbers of DESIGN §8 that apply so far, each beside its bare limit in one run.
//!
//! `cargo xtask bench [NAME…] [--json]` runs this in release mode.
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

mod appraisal;
mod audit;
mod chip;
mod commands;
#[path = "../../../../core/command-authority/tests/fixture/mod.rs"]
mod fixture;
mod keylime;
#[path = "../../tests/support/missions.rs"]
mod missions;
mod models;
mod row;
#[path = "../../tests/support/scale.rs"]
mod scale;
#[path = "../../../../core/attestation/tests/software_robot/mod.rs"]
mod software_robot;
mod stop;
#[path = "../../tests/support/mod.rs"]
mod support;
mod verdict;

use row::Row;

/// A measurement: the rows it can give, and how.
type Measurement = (&'static [&'static str], fn() -> Vec<Row>);

const MEASUREMENTS: [Measurement; 11] = [
    (&["attest_over_raw_quote"], chip::attest_over_raw_quote),
    (
        &[
            "keygen_slb9672_ms",
            "attest_slb9672_ms",
            "seal_slb9672_ms",
            "mission_sign_slb9672_ms",
            "stop_tpm_slb9672_ms",
        ],
        models::slb9672,
    ),
    (
        &["verdict_mac_per_s", "verdict_mac_p99_us", "verdict_ecdsa_ratio"],
        verdict::rates,
    ),
    (
        &["verdict_slb9672_ms", "verdict_unready_slb9672_ms"],
        models::verdicts_on_slb9672,
    ),
    (&["stop_gate_p99_ms"], stop::gate),
    (&["stop_tpm_10000_over_10", "stop_tpm_commands"], stop::tpm),
    (&["appraise_quote_ratio", "appraise_uefi_per_s"], appraisal::rates),
    (&["appraise_full_per_s"], appraisal::full),
    (&["keylime_checkquote_per_s"], keylime::checkquote),
    (&["appraise_added_100000_over_1000"], appraisal::added),
    (&["audit_durable_per_s", "audit_durable_p99_ms"], audit::durable),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let json = arguments.iter().any(|a| a == "--json");
    let wanted: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|a| !a.starts_with("--"))
        .collect();
    let known = |name: &str| {
        ["commands", "chips"].contains(&name) || MEASUREMENTS.iter().any(|(names, _)| names.contains(&name))
    };
    if let Some(unknown) = wanted.iter().find(|name| !known(name)) {
        eprintln!("bench: there is no row {unknown}");
        std::process::exit(2);
    }
    let is_wanted = |name: &str| wanted.is_empty() || wanted.contains(&name);
    let mut rows = Vec::new();
    for (names, measure) in MEASUREMENTS {
        if names.iter().any(|name| is_wanted(name)) {
            let made = measure().into_iter().filter(|row| is_wanted(row.name));
            for row in made {
                if !json {
                    println!("{row}");
                }
                rows.push(row);
            }
        }
    }
    let counts = if is_wanted("commands") {
        commands::per_operation()
    } else {
        Vec::new()
    };
    if wanted.contains(&"chips") {
        println!("{}", models::table());
    }
    if json {
        println!("{}", row::to_json(&rows, &counts));
    } else if !counts.is_empty() {
        println!("\nTPM commands per operation");
        counts
            .iter()
            .for_each(|(operation, count)| println!("  {operation:<58}{count:>4}"));
    }
    if rows.iter().any(|row| row.holds() == Some(false)) {
        std::process::exit(1);
    }
}
