//! DICE certificate chains: those of other tools are trusted, and each way to be wrong is found by its reason.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod dice_platform;

use alcub3_attestation::appraisal::Reason;
use alcub3_attestation::dice::{Evidence, Policy, Statement, Verdict, appraise};
use alcub3_attestation::ear::{Context, Ear, Status, TrustVector, VerifierId};
use alcub3_attestation::evidence::Nonce;
use alcub3_crypto::{Curve, HashAlg, SigningKey, VerifyingKey};
use alcub3_trust_model::{HardwareTier, RobotId};
use dice_platform::{NOW_MS, OPEN, Platform, TCG, file, key_of, unproven, untrusted};

const LEAF: usize = 3;
/// 2017 and 2051.
const BEFORE_MS: u64 = 1_490_000_000_000;
const LATER_MS: u64 = 2_560_000_000_000;

fn with<'a>(platform: &'a Platform, change: impl FnOnce(&mut Policy<'a>)) -> Verdict {
    let mut policy = platform.policy();
    change(&mut policy);
    appraise(&platform.evidence, &policy, NOW_MS)
}

/// The verdict with another leaf in the TCG chain.
fn leaf(name: &str) -> Verdict {
    Platform::tcg().judge_chain(&["root", "device", "layer1", name])
}

fn ear(verdict: &Verdict, platform: &Platform) -> Ear {
    let context = Context {
        robot: &platform.robot,
        nonce: &platform.nonce,
        verifier: VerifierId {
            developer: "alcub3".to_owned(),
            build: "test".to_owned(),
        },
        policy: "urn:alcub3:policy:dice".to_owned(),
        lifetime_s: 600,
    };
    Ear::of(verdict, &context)
}

#[test]
fn chains_of_other_tools_are_trusted() {
    for platform in [Platform::tcg(), Platform::open()] {
        let verdict = platform.judge();
        assert_eq!(verdict.findings(), []);
        assert!(verdict.is_trusted());
        let attested = verdict.attested().unwrap();
        assert_eq!(attested.state.as_ref().unwrap().robot, platform.robot);
        assert_eq!((attested.sequence, attested.layers.len()), (10, 2));
    }
}

#[test]
fn evidence_and_statement_have_the_one_encoding_that_others_write() {
    for platform in [Platform::tcg(), Platform::open()] {
        let evidence = Evidence::from_canonical(&platform.evidence).unwrap();
        assert_eq!(evidence.to_canonical(), platform.evidence);
        let statement = Statement::from_canonical(evidence.statement).unwrap();
        assert_eq!(statement.to_canonical(), evidence.statement);
        for end in 0..platform.evidence.len() {
            assert!(Evidence::from_canonical(&platform.evidence[..end]).is_err());
        }
        unproven(
            &platform.judge_bytes(&[&platform.evidence[..], &[0]].concat()),
            Reason::Malformed,
        );
        unproven(&platform.judge_ders(&[]), Reason::Malformed);
        let many = vec![file("tcg/root.der"); 9];
        unproven(&platform.judge_ders(&many), Reason::Malformed);
    }
}

#[test]
fn no_changed_byte_of_evidence_proves_anything() {
    for platform in [Platform::tcg(), Platform::open()] {
        for at in 0..platform.evidence.len() {
            for bits in [0x01, 0x80, 0xff] {
                let mut changed = platform.evidence.clone();
                changed[at] ^= bits;
                let verdict = platform.judge_bytes(&changed);
                assert!(
                    !verdict.is_trusted() && verdict.attested().is_none(),
                    "byte {at} by {bits:#x}"
                );
            }
        }
    }
}

#[test]
fn a_result_states_the_verdict_as_it_does_a_tpms() {
    let platform = Platform::tcg();
    let key = SigningKey::generate(Curve::P384).unwrap();
    let issue = |verdict: &Verdict| {
        let result = ear(verdict, &platform);
        let token = result.sign(Curve::P384, key.to_pkcs8().expose()).unwrap();
        let verified = Ear::verify(&token, &key.verifying_key(), NOW_MS / 1000 + 1).unwrap();
        verified.submods["rover-7"].clone()
    };
    let good = issue(&platform.judge());
    assert_eq!((good.status, good.sequence), (Status::Affirming, Some(10)));
    assert_eq!(good.tier, Some(HardwareTier::Firmware));
    let vector = |identity, configuration, executables, hardware| TrustVector {
        instance_identity: identity,
        configuration,
        executables,
        hardware,
    };
    assert_eq!(good.vector, vector(2, 2, 3, 2));
    let debug = issue(&leaf("leaf_debug"));
    assert_eq!(debug.status, Status::Contraindicated);
    assert_eq!(debug.reasons, ["dice-mode"]);
    assert_eq!(debug.vector, vector(2, 96, 3, 2));
    let forged = issue(&leaf("leaf_forged"));
    assert_eq!(
        (forged.status, forged.tier, forged.sequence),
        (Status::Contraindicated, None, None)
    );
    assert_eq!(forged.vector, vector(99, 0, 0, 0));
    let changed = issue(&platform.judge_chain(&["root", "device", "layer1", "leaf_no_svn"]));
    assert_eq!(changed.vector, vector(2, 2, 96, 2));
}

#[test]
fn a_statement_counts_for_its_nonce_robot_and_state_only() {
    let platform = Platform::tcg();
    let nonce = Nonce([7; 32]);
    unproven(&with(&platform, |policy| policy.nonce = &nonce), Reason::Binding);
    let robot = RobotId::new("rover-8").unwrap();
    unproven(&with(&platform, |policy| policy.robot = &robot), Reason::Robot);
    let verdict = platform.judge_statement(
        |_| {},
        |statement| statement.state = HashAlg::Sha256.digest(&[b"other"]),
    );
    unproven(&verdict, Reason::Binding);
    let verdict = platform.judge_statement(
        |_| {},
        |statement| statement.state = HashAlg::Sha384.digest(&[b"other"]),
    );
    unproven(&verdict, Reason::Binding);
    assert!(platform.judge_statement(|_| {}, |_| {}).is_trusted());
}

#[test]
fn a_statement_of_another_key_is_refused() {
    let (tcg, open) = (Platform::tcg(), Platform::open());
    let other = Evidence::from_canonical(&open.evidence).unwrap();
    let mixed = Evidence {
        chain: Evidence::from_canonical(&tcg.evidence).unwrap().chain,
        ..other
    };
    unproven(&tcg.judge_bytes(&mixed.to_canonical()), Reason::Signature);
    // What the key signed for another purpose is no statement: here, the state itself.
    let sent = Evidence::from_canonical(&tcg.evidence).unwrap();
    let key = SigningKey::from_pkcs8(&file("tcg/leaf.p8")).unwrap();
    let signature = key.sign(sent.state).unwrap();
    let wrong = Evidence {
        statement: sent.state,
        signature: &signature,
        ..sent
    };
    unproven(&tcg.judge_bytes(&wrong.to_canonical()), Reason::Malformed);
}

#[test]
fn state_sequence_and_tier_are_judged_as_a_tpms() {
    let platform = Platform::tcg();
    let stopped = platform.judge_statement(|state| state.stopped = true, |_| {});
    untrusted(&stopped, None, &[Reason::Stopped]);
    let robot = RobotId::new("rover-8").unwrap();
    let other = platform.judge_statement(|state| state.robot = robot, |_| {});
    untrusted(&other, None, &[Reason::StateRobot]);
    let old = platform.judge_statement(|state| state.time_ms -= 60_001, |_| {});
    assert!(old.is_trusted() && old.has(Reason::StateAge));
    assert_eq!(ear(&old, &platform).submods["rover-7"].status, Status::Warning);
    untrusted(
        &with(&platform, |policy| policy.last_sequence = Some(10)),
        None,
        &[Reason::Sequence],
    );
    let low = with(&platform, |policy| policy.min_tier = HardwareTier::Discrete);
    untrusted(&low, None, &[Reason::Tier]);
    assert_eq!(ear(&low, &platform).submods["rover-7"].vector.hardware, 96);
    let simulated = with(&platform, |policy| {
        policy.enrolled_tier = HardwareTier::Simulator;
        policy.min_tier = HardwareTier::Simulator;
    });
    assert!(simulated.is_trusted() && simulated.has(Reason::Simulator));
    assert_eq!(
        ear(&simulated, &platform).submods["rover-7"].status,
        Status::Warning
    );
}

#[test]
fn the_chain_begins_at_a_pinned_key_and_is_of_the_enrolled_device() {
    let platform = Platform::tcg();
    let strangers = [key_of("tcg/layer1.der"), key_of("open/uds.der")];
    let verdict = with(&platform, |policy| policy.roots = &strangers);
    assert_eq!(unproven(&verdict, Reason::DiceRoot), Some(0));
    // The device's key is no root here: it did not sign the first certificate.
    unproven(&with(&platform, |policy| policy.roots = &[]), Reason::DiceRoot);
    for other in ["open/uds.der", "tcg/root.der", "tcg/leaf.der"] {
        let other = key_of(other);
        let verdict = with(&platform, |policy| policy.device_key = &other);
        assert_eq!(unproven(&verdict, Reason::DiceDevice), Some(2));
    }
    // Another authority stands between the pinned key and the first measurements.
    let root = key_of("tcg/root.der");
    let verdict = with(&platform, |policy| {
        (policy.roots, policy.device_key) = (&[], &root);
    });
    assert_eq!(unproven(&verdict, Reason::DiceDevice), Some(2));
    let other = key_of("open/cdi1.der");
    let open = Platform::open();
    unproven(
        &with(&open, |policy| policy.device_key = &other),
        Reason::DiceRoot,
    );
    let roots = [key_of("open/uds.der")];
    let verdict = with(&open, |policy| {
        (policy.roots, policy.device_key) = (&roots, &strangers[0]);
    });
    assert_eq!(unproven(&verdict, Reason::DiceDevice), Some(1));
    assert_eq!(unproven(&leaf("leaf_two_devices"), Reason::DiceDevice), None);
}

#[test]
fn the_roots_own_certificate_may_be_left_out() {
    let (tcg, open) = (Platform::tcg(), Platform::open());
    assert!(tcg.judge_chain(&TCG[1..]).is_trusted());
    assert!(open.judge_chain(&OPEN[1..]).is_trusted());
    assert_eq!(unproven(&tcg.judge_chain(&TCG[2..]), Reason::DiceRoot), Some(0));
}

#[test]
fn a_chain_in_another_order_or_with_a_gap_does_not_link() {
    let platform = Platform::tcg();
    for (chain, at) in [
        (vec!["root", "layer1", "device", "leaf"], 1),
        (vec!["root", "device", "leaf", "layer1"], 2),
        (vec!["root", "device", "leaf"], 2),
        (vec!["root", "root", "layer1", "leaf"], 2),
        (vec!["root", "device", "layer1", "layer1", "leaf"], 3),
    ] {
        let verdict = platform.judge_chain(&chain);
        assert_eq!(unproven(&verdict, Reason::DiceIssuer), Some(at), "{chain:?}");
    }
    assert_eq!(
        unproven(&leaf("leaf_other_issuer"), Reason::DiceIssuer),
        Some(LEAF)
    );
    assert_eq!(
        unproven(&leaf("leaf_forged"), Reason::DiceChainSignature),
        Some(LEAF)
    );
}

#[test]
fn only_authorities_issue_and_only_attestation_keys_attest() {
    let platform = Platform::tcg();
    for (chain, at) in [
        (vec!["root", "device", "layer1", "leaf", "below_leaf"], 3),
        (vec!["root", "device_no_depth", "layer1", "leaf"], 1),
        (vec!["root", "device", "layer1_may_not_issue", "leaf"], 2),
        (vec!["root", "device", "layer1_no_authority", "leaf"], 2),
        (vec!["root", "device", "layer1_other_purpose", "leaf"], 2),
    ] {
        let verdict = platform.judge_chain(&chain);
        assert_eq!(unproven(&verdict, Reason::DiceAuthority), Some(at), "{chain:?}");
    }
    for name in ["leaf_authority", "leaf_may_not_sign", "leaf_other_purpose"] {
        assert_eq!(unproven(&leaf(name), Reason::DiceLeaf), Some(LEAF), "{name}");
    }
    // A layer's own key certifies and does not attest (Open Profile, *Certificate Details*).
    let verdict = Platform::open().judge_chain(&["uds", "cdi1", "cdi2"]);
    assert_eq!(unproven(&verdict, Reason::DiceLeaf), Some(2));
}

#[test]
fn certificates_have_their_time_and_those_of_dice_have_no_end() {
    let platform = Platform::tcg();
    let at = |evidence: &[u8], now_ms| appraise(evidence, &platform.policy(), now_ms);
    let verdict = at(&platform.evidence, BEFORE_MS);
    assert_eq!(unproven(&verdict, Reason::DiceValidity), Some(0));
    let later = at(&platform.evidence, LATER_MS);
    assert!(later.attested().is_some() && later.has(Reason::StateAge));
    let sent = Evidence::from_canonical(&platform.evidence).unwrap();
    let expiring = file("tcg/leaf_expired.der");
    let mut chain = sent.chain.clone();
    chain[LEAF] = &expiring;
    let sent = Evidence { chain, ..sent }.to_canonical();
    assert!(at(&sent, NOW_MS).is_trusted());
    assert_eq!(unproven(&at(&sent, LATER_MS), Reason::DiceValidity), Some(LEAF));
}

#[test]
fn an_extension_that_is_critical_and_unknown_or_comes_twice_is_refused() {
    for name in ["leaf_unknown_critical", "leaf_twice", "leaf_constraints_default"] {
        assert_eq!(unproven(&leaf(name), Reason::DiceExtension), Some(LEAF), "{name}");
    }
    assert!(leaf("leaf_unknown_other").is_trusted());
}

#[test]
fn what_is_no_certificate_of_a_known_form_is_refused() {
    for name in ["leaf_version2", "leaf_two_algorithms", "leaf_explicit_default"] {
        assert_eq!(
            unproven(&leaf(name), Reason::DiceCertificate),
            Some(LEAF),
            "{name}"
        );
    }
    for name in ["leaf_ed25519", "leaf_sha1_signature"] {
        assert_eq!(unproven(&leaf(name), Reason::DiceAlgorithm), Some(LEAF), "{name}");
    }
    // Not what RFC 5758 says, but what the Open Profile's reference code writes.
    assert!(leaf("leaf_null_parameters").is_trusted());
    let platform = Platform::tcg();
    let chain: Vec<Vec<u8>> = TCG.map(|name| file(&format!("tcg/{name}.der"))).to_vec();
    for at in 0..chain.len() {
        let mut longer = chain.clone();
        longer[at].push(0);
        assert_eq!(
            unproven(&platform.judge_ders(&longer), Reason::DiceCertificate),
            Some(at)
        );
        let mut shorter = chain.clone();
        shorter[at].pop();
        assert_eq!(
            unproven(&platform.judge_ders(&shorter), Reason::DiceCertificate),
            Some(at)
        );
    }
}

#[test]
fn a_fleet_of_many_roots_pins_them_all() {
    let platform = Platform::tcg();
    let many: Vec<VerifyingKey> = vec![key_of("open/uds.der"), platform.roots[0].clone()];
    assert!(with(&platform, |policy| policy.roots = &many).is_trusted());
    // A manufacturer's root may be RSA; its certificate names the algorithm.
    let mut platform = Platform::tcg();
    platform.roots = vec![key_of("tcg/rsa_root.der")];
    let chain = ["rsa_root", "rsa_device", "layer1", "leaf"];
    assert!(platform.judge_chain(&chain).is_trusted());
    assert!(platform.judge_chain(&chain[1..]).is_trusted());
}
