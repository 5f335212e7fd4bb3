// A verifier of PSA tokens that pins the world's authority as a robot's attestation key, so that `signed` makes tokens of whatever
// claims. A test of `cargo xtask` compiles this file too, and checks that the seeds fit it.

use std::sync::LazyLock;

use alcub3_attestation::evidence::Nonce;
use alcub3_attestation::psa::{
    Accepted, Certification, ComponentReference, HashValue, InstanceId, Lifecycles, Policy, References,
    Verdict, Version, appraise,
};
use alcub3_crypto::VerifyingKey;
use alcub3_trust_model::HardwareTier;

use super::{NOW_MS, WORLD};

/// What stands for the robot's state. It is none, so that no token makes the robot trusted.
pub const PSA_STATE: &[u8] = b"no state of a robot";
/// The verifier's nonce.
pub const PSA_NONCE: Nonce = Nonce([7; 32]);

struct Verifier {
    key: VerifyingKey,
    references: References,
    certification: Certification,
}

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let reference = ComponentReference {
        kind: Some("PRoT".to_owned()),
        signer: HashValue::new(&[4; 32]).expect("32 bytes are a hash"),
        accepted: Accepted::SignedFrom(Version::parse("1.0").expect("1.0 is a version")),
        required: true,
    };
    Verifier {
        key: WORLD.authority.verifying_key(),
        references: References::new(vec![reference]).expect("there is one reference"),
        certification: Certification::default(),
    }
});

/// The judgement of a token.
pub fn judge_psa(token: &[u8]) -> Verdict {
    let policy = Policy {
        instance: InstanceId([2; 32]),
        attestation_key: &VERIFIER.key,
        robot: &WORLD.robot,
        nonce: &PSA_NONCE,
        implementation: &[0; 32],
        clients: &[-1],
        lifecycles: Lifecycles::SecuredOrNonPsaRotDebug,
        references: &VERIFIER.references,
        certification: &VERIFIER.certification,
        enrolled_tier: HardwareTier::Firmware,
        min_tier: HardwareTier::Firmware,
        max_state_age_ms: 60_000,
        state: None,
    };
    appraise(token, PSA_STATE, &policy, NOW_MS)
}
