//! Rate of appraisals against the bare signature check, in one run on one core:
//! `cargo run --release -p alcub3-attestation --example appraise_rate`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

#[path = "../tests/software_robot/mod.rs"]
mod software_robot;

use alcub3_attestation::appraisal::{Policy, appraise};
use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::evidence::Evidence;
use alcub3_crypto::tpm::Signature;
use software_robot::{NOW_MS, Robot, Verifier};
use std::time::Instant;

/// Calls a second of each, from the fastest of many interleaved batches: other load on the machine slows some
/// batches, and none makes one faster.
fn rates(calls: &mut [&mut dyn FnMut()]) -> Vec<f64> {
    const BATCH: u32 = 50;
    let mut fastest = vec![f64::INFINITY; calls.len()];
    for _ in 0..200 {
        for (call, fastest) in calls.iter_mut().zip(&mut fastest) {
            let start = Instant::now();
            (0..BATCH).for_each(|_| call());
            *fastest = fastest.min(start.elapsed().as_secs_f64());
        }
    }
    fastest.iter().map(|seconds| f64::from(BATCH) / seconds).collect()
}

fn main() {
    let robot = Robot::new();
    let verifier = Verifier::of(&robot);
    let full = robot.evidence();
    let first = appraise(&full, &verifier.policy(), NOW_MS);
    assert!(first.is_trusted(), "{:?}", first.findings());
    let known = Policy {
        known_boot: first.boot(),
        known_runtime: None,
        ..verifier.policy()
    };
    let short = robot.evidence_with(robot.pcrs(), false);
    assert!(appraise(&short, &known, NOW_MS).is_trusted());

    let parsed = Evidence::from_canonical(&full).unwrap();
    let signature = Signature::from_tpmt_signature(parsed.signature).unwrap();
    let log = std::env::args()
        .nth(1)
        .map_or(robot.uefi_log.clone(), |path| std::fs::read(path).unwrap());
    let measured = rates(&mut [
        &mut || signature.verify(&verifier.key, parsed.quote).unwrap(),
        &mut || assert!(appraise(&short, &known, NOW_MS).is_trusted()),
        &mut || assert!(appraise(&full, &verifier.policy(), NOW_MS).is_trusted()),
        &mut || drop(EventLog::parse(&log).unwrap().replay().unwrap()),
    ]);
    if let [bare, quote, whole, replay] = measured[..] {
        println!("bare signature check  {bare:>8.0}/s");
        println!("quote, known boot     {quote:>8.0}/s  ratio {:.3}", quote / bare);
        println!(
            "quote and UEFI log    {whole:>8.0}/s  ({} events)",
            events(&robot.uefi_log)
        );
        println!(
            "parse and replay      {replay:>8.0}/s  ({} events, all banks)",
            events(&log)
        );
    }
}

fn events(log: &[u8]) -> usize {
    EventLog::parse(log).unwrap().events().len()
}
