//! The number of TPM commands per operation is a promise: the code, this test and SPECIFICATION.md say the same.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/missions.rs"]
mod missions;
mod support;

use missions::counted_mission_operations;
use std::collections::BTreeMap;
use support::Life;
use support::counts::counted_operations;

/// The rows of SPECIFICATION.md's table "TPM commands per operation" that start with `robot:`.
fn promised() -> BTreeMap<String, u64> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../SPECIFICATION.md");
    let text = std::fs::read_to_string(path).unwrap();
    let section = text
        .split("## TPM commands of a robot's life")
        .nth(1)
        .expect("the section is there");
    let section = section.split("\n## ").next().unwrap();
    section
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let count = cells.get(2)?.parse().ok()?;
            Some((cells[1].to_owned(), count))
        })
        .collect()
}

#[test]
fn operations_cost_what_the_specification_says() {
    let mut life = Life::running();
    let mut measured: BTreeMap<String, u64> = counted_operations(&mut life).into_iter().collect();
    drop(life);
    measured.extend(counted_mission_operations(&mut Life::running()));
    assert_eq!(measured, promised());
}
