//! The self tests pass, and any wrong or missing answer makes them fail.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_crypto::{KnownAnswers, SelfTestError, TestedAlgorithm, run_self_tests};

#[test]
fn every_approved_algorithm_gives_its_known_answer() {
    let report = run_self_tests().unwrap();
    assert_eq!(report.passed, TestedAlgorithm::ALL);
    assert_eq!(report.pairwise.len(), 2);
    assert_eq!(
        report.fips_module,
        cfg!(feature = "fips"),
        "the feature and the provider that is linked agree"
    );
}

#[test]
fn any_corrupted_answer_fails_and_is_named() {
    let good = KnownAnswers::built_in();
    for at in 0..good.0.len() {
        for byte in [0, good.0[at].expected.len() / 2, good.0[at].expected.len() - 1] {
            let mut bad = good.clone();
            bad.0[at].expected[byte] ^= 1;
            assert_eq!(
                bad.run(),
                Err(SelfTestError::WrongAnswer(good.0[at].algorithm)),
                "byte {byte}"
            );
        }
    }
}

#[test]
fn a_missing_answer_fails_and_is_named() {
    let good = KnownAnswers::built_in();
    for at in 0..good.0.len() {
        let mut bad = good.clone();
        let removed = bad.0.remove(at);
        assert_eq!(bad.run(), Err(SelfTestError::NotTested(removed.algorithm)));
    }
}

#[test]
fn an_empty_answer_is_never_right() {
    let good = KnownAnswers::built_in();
    for at in 0..good.0.len() {
        let mut bad = good.clone();
        bad.0[at].expected.clear();
        assert_eq!(bad.run(), Err(SelfTestError::WrongAnswer(good.0[at].algorithm)));
    }
}
