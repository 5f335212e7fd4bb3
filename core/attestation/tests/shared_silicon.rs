//! A TPM that is a program in the system's own processor: named wherever it is judged, and refused where a policy asks for a chip.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod software_robot;

use alcub3_attestation::appraisal::{Policy, Reason, Severity, Verdict, appraise};
use alcub3_attestation::ear::{Context, Ear, Status, VerifierId};
use alcub3_trust_model::HardwareTier;
use software_robot::{NONCE, NOW_MS, Robot, Verifier};

/// What is found of a robot that says one kind and was enrolled as another.
fn judged(claimed: HardwareTier, enrolled: HardwareTier, least: HardwareTier) -> Verdict {
    let mut robot = Robot::new();
    robot.tier = claimed;
    let verifier = Verifier::of(&robot);
    let policy = Policy {
        enrolled_tier: enrolled,
        min_tier: least,
        ..verifier.policy()
    };
    appraise(&robot.evidence(), &policy, NOW_MS)
}

#[test]
fn a_tpm_in_the_processor_is_named_in_verdict_and_result_and_trusted_where_the_policy_admits_it() {
    use HardwareTier::{Discrete, Firmware, Simulator, Virtual};
    // By the certificate, or by what the chip says of itself.
    for (claimed, enrolled) in [(Firmware, Firmware), (Firmware, Discrete)] {
        let verdict = judged(claimed, enrolled, Firmware);
        assert!(verdict.is_trusted(), "{:?}", verdict.findings());
        let found = verdict
            .findings()
            .iter()
            .find(|f| f.reason == Reason::SharedSilicon);
        assert_eq!(found.unwrap().severity, Severity::Warning);
        assert!(Reason::SharedSilicon.text().contains("silicon"));
        let context = Context {
            robot: &alcub3_trust_model::RobotId::new("r1").unwrap(),
            nonce: &NONCE,
            verifier: VerifierId {
                developer: "alcub3".to_owned(),
                build: "test".to_owned(),
            },
            policy: "test".to_owned(),
            lifetime_s: 60,
        };
        let result = &Ear::of(&verdict, &context).submods["r1"];
        assert_eq!(result.status, Status::Warning);
        assert_eq!(result.tier, Some(Firmware));
        assert!(result.reasons.iter().any(|code| code == "shared-silicon"));
    }
    let refused = judged(Firmware, Firmware, Discrete);
    assert!(refused.has(Reason::Tier) && refused.has(Reason::SharedSilicon) && !refused.is_trusted());
    for kind in [Discrete, Virtual, Simulator] {
        assert!(
            !judged(kind, kind, Simulator).has(Reason::SharedSilicon),
            "{kind}"
        );
    }
    // A claim above the certificate is what it was: a lie, and a TPM in the processor.
    let lie = judged(Discrete, Firmware, Firmware);
    assert!(lie.has(Reason::TierClaim) && lie.has(Reason::SharedSilicon));
}
