//! Appraisal on one core, against the bare signature check.

use crate::row::{Must, Row, best_rates};
use crate::software_robot::{BANK, NOW_MS, Robot, Verifier};
use alcub3_attestation::appraisal::{Policy, appraise};
use alcub3_attestation::evidence::Evidence;
use alcub3_crypto::tpm::Signature;
use std::hint::black_box;

pub fn rates() -> Vec<Row> {
    let robot = Robot::new();
    let verifier = Verifier::of(&robot);
    let full = robot.evidence();
    let first = appraise(&full, &verifier.policy(), NOW_MS);
    assert!(first.is_trusted(), "{:?}", first.findings());
    let short = robot.evidence_with(robot.pcrs(), false);
    let known = Policy {
        known_boot: first.boot(),
        known_runtime: None,
        ..verifier.policy()
    };
    assert!(appraise(&short, &known, NOW_MS).is_trusted());
    let evidence = Evidence::from_canonical(&short).unwrap();
    let signature = Signature::from_tpmt_signature(evidence.signature).unwrap();
    let key = robot.verifying_key();
    let (quotes, bare) = best_rates(
        150,
        100,
        || assert!(appraise(black_box(&short), &known, NOW_MS).is_trusted()),
        || signature.verify(&key, black_box(evidence.quote)).unwrap(),
    );
    let (logs, _) = best_rates(
        100,
        50,
        || assert!(appraise(black_box(&full), &verifier.policy(), NOW_MS).is_trusted()),
        || signature.verify(&key, black_box(evidence.quote)).unwrap(),
    );
    assert_eq!(BANK.size(), 32);
    vec![
        Row::over("appraise_quote_ratio", quotes, "1/s", bare, Must::AtLeast(0.85)),
        Row::of("appraise_uefi_per_s", logs, "1/s", Must::AtLeast(2_000.0)),
    ]
}
