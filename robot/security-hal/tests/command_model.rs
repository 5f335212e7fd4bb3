//! The command half of a robot against a reference model: whatever happens in whatever order, no command is accepted that
//! the model refuses, and none is carried out after a stop.
//!
//! `ALCUB3_MODEL_STEPS` says how many steps; `make model` takes millions.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing
)]

mod model;
mod support;

use model::robot::{Cast, Counts, World};
use model::steps::step;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::cell::Cell;

/// How many steps one run of the robot has: enough for several boots, few enough to be made smaller when it fails.
const RUN: usize = 400;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

#[test]
fn no_command_is_accepted_that_the_model_refuses() {
    let steps = number("ALCUB3_MODEL_STEPS", 40_000);
    let cases = u32::try_from(steps.div_ceil(RUN as u64)).unwrap();
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number("ALCUB3_MODEL_SEED", 1).to_be_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let cast = Cast::new();
    let total = Cell::new(Counts::default());
    let run = proptest::collection::vec(step(), RUN);
    let outcome = runner.run(&run, |steps| {
        let mut world = World::new(&cast);
        for step in steps {
            world.step(step);
            world.check_gates();
        }
        let (mut sum, counts) = (total.get(), world.counts);
        sum.admitted += counts.admitted;
        sum.refused += counts.refused;
        sum.carried_out += counts.carried_out;
        sum.suspended += counts.suspended;
        sum.rearmed += counts.rearmed;
        total.set(sum);
        Ok::<(), TestCaseError>(())
    });
    outcome.unwrap();
    let counts = total.get();
    println!("{steps} steps: {counts:?}");
    // It would be easy to accept nothing.
    assert!(counts.admitted * 50 > steps, "{counts:?}");
    assert!(
        counts.carried_out > 0
            && counts.suspended * 2 > u64::from(cases)
            && counts.rearmed > u64::from(cases),
        "{counts:?}"
    );
}
