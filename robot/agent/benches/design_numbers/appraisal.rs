//! Appraisal on one core, against the bare signature check.

use crate::row::{Must, Row, median};
use crate::software_robot::{BANK, NOW_MS, Robot, Verifier};
use alcub3_attestation::appraisal::{Policy, appraise};
use alcub3_attestation::evidence::Evidence;
use alcub3_crypto::tpm::Signature;
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: usize = 2_000;

fn per_second(rounds: usize, mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..rounds).for_each(|_| work());
    rounds as f64 / start.elapsed().as_secs_f64()
}

pub fn rates() -> Vec<Row> {
    let robot = Robot::new();
    let verifier = Verifier::of(&robot);
    let full = robot.evidence();
    let first = appraise(&full, &verifier.policy(), NOW_MS);
    assert!(first.is_trusted(), "{:?}", first.findings());
    let short = robot.evidence_with(robot.pcrs(), false);
    let known = Policy {
        known_boot: first.boot(),
        ..verifier.policy()
    };
    assert!(appraise(&short, &known, NOW_MS).is_trusted());
    let evidence = Evidence::from_canonical(&short).unwrap();
    let signature = Signature::from_tpmt_signature(evidence.signature).unwrap();
    let key = robot.verifying_key();
    let (mut quotes, mut bare, mut logs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        quotes.push(per_second(ROUNDS, || {
            assert!(appraise(black_box(&short), &known, NOW_MS).is_trusted());
        }));
        bare.push(per_second(ROUNDS, || {
            signature.verify(&key, black_box(evidence.quote)).unwrap()
        }));
        logs.push(per_second(ROUNDS / 4, || {
            assert!(appraise(black_box(&full), &verifier.policy(), NOW_MS).is_trusted());
        }));
    }
    assert_eq!(BANK.size(), 32);
    vec![
        Row::over(
            "appraise_quote_ratio",
            median(quotes),
            "1/s",
            median(bare),
            Must::AtLeast(0.85),
        ),
        Row::of("appraise_uefi_per_s", median(logs), "1/s", Must::AtLeast(2_000.0)),
    ]
}
