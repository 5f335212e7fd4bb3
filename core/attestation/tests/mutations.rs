//! The mutation campaign in its short form, and that it finds a verifier that is broken. `cargo xtask mutate` is the long one.
#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::print_stdout
)]

#[path = "../benches/mutations/campaign/mod.rs"]
mod campaign;
mod dice_platform;
#[path = "../benches/mutations/kinds/mod.rs"]
mod kinds;
mod software_robot;
mod tpm_tools;

use alcub3_attestation::evidence::{Evidence, qualifying_data};
use alcub3_attestation::pcr::PcrValues;
use campaign::{Judge, Judgement, Kind, twins};
use kinds::{platform, receipts};
use software_robot::{BANK, NONCE, Robot};

const COUNT: u64 = 2000;
/// The real server's logs are long.
const FEWER: u64 = 300;
const SEED: u64 = 7;

fn none_of(kinds: &[&str], count: u64) {
    for (name, make) in kinds::ALL.into_iter().filter(|(name, _)| kinds.contains(name)) {
        let Some(kind) = make() else { continue };
        let row = kind.run(SEED, count);
        assert!(row.mutations >= count, "{name}: {}", row.mutations);
        assert_eq!(row.accepted, [], "{name}, seed {SEED}");
        let counted = row.reasons.values().sum::<u64>();
        assert_eq!(counted, row.mutations, "{name}");
        assert!(row.reasons.len() > 3, "{name}: {:?}", row.reasons);
    }
}

#[test]
fn no_mutation_of_platform_evidence_is_accepted() {
    none_of(
        &[
            "evidence-uefi",
            "evidence-stopped",
            "evidence-ima",
            "evidence-ima-added",
            "evidence-register",
            "evidence-mission",
            "evidence-emergency",
        ],
        COUNT,
    );
}

#[test]
fn no_mutation_of_the_real_servers_evidence_is_accepted() {
    none_of(&["server-platform"], FEWER);
}

#[test]
fn no_mutation_of_a_receipt_is_accepted() {
    none_of(
        &[
            "receipt-robot",
            "receipt-level",
            "receipt-mission",
            "receipt-purge",
        ],
        COUNT,
    );
}

#[test]
fn no_mutation_of_a_result_a_lease_a_key_or_a_certificate_is_accepted() {
    none_of(
        &["result", "lease", "mission-key", "ek-st", "ek-simulator"],
        COUNT,
    );
}

#[test]
fn no_mutation_of_a_dice_chain_or_a_psa_token_is_accepted() {
    none_of(&["dice-chain", "psa-token"], COUNT);
}

#[test]
fn a_case_is_the_same_one_again() {
    let kind = platform::with_uefi_log();
    for number in 0..200 {
        let [one, again] = [(); 2].map(|()| kind.case(SEED, number).map(|case| (case.what, case.parts)));
        assert_eq!(one, again, "{number}");
    }
}

#[test]
fn what_means_the_same_is_counted_apart_and_explained() {
    let kind = receipts::of_the_robot();
    let row = kind.run(SEED, 20_000);
    let classes: Vec<_> = row.same_meaning.keys().copied().collect();
    assert_eq!(classes, [twins::CLASS, receipts::OLDER]);
    assert_eq!(row.accepted, []);
}

/// The kind with its judge replaced by one that is given the sound one.
fn broken(kind: Kind, judge: impl FnOnce(Judge) -> Judge) -> Kind {
    Kind {
        judge: judge(kind.judge),
        ..kind
    }
}

fn found(kind: &Kind, what: &str) {
    let row = kind.run(SEED, COUNT);
    assert!(
        row.accepted.iter().any(|(_, change)| change.contains(what)),
        "{what}: {:?}",
        row.accepted
    );
    // The number leads back to it.
    let (number, change) = &row.accepted[0];
    assert_eq!(kind.case(SEED, *number).unwrap().what, *change);
}

/// Another verifier's expectation is not looked at: nonce, sequence, key, stop.
#[test]
fn a_verifier_that_does_not_look_at_its_nonce_or_its_stop_is_found() {
    let careless = |judge: Judge| -> Judge { Box::new(move |parts, _| judge(parts, 0)) };
    found(&broken(platform::with_uefi_log(), careless), "a nonce with bit");
    found(&broken(receipts::of_the_robot(), careless), "a stop with bit");
}

/// What was received is made to fit: as if no signature were checked.
#[test]
fn a_verifier_that_checks_no_signature_is_found() {
    let robot = Robot::new();
    let setting = platform::Setting::of(&robot);
    let kind = platform::with_uefi_log();
    let careless = broken(kind, |_| {
        Box::new(move |parts, _| {
            let Ok(mut evidence) = Evidence::from_canonical(&parts[0]) else {
                return Judgement::Refused("malformed".to_owned());
            };
            let state = BANK.digest(&[evidence.state]);
            let Some(extra) = qualifying_data(BANK, &NONCE, &state, &evidence.mission, evidence.sequence)
            else {
                return Judgement::Refused("binding".to_owned());
            };
            let values: PcrValues = evidence.pcrs.clone();
            let quote = robot.quote(extra.as_bytes(), &values);
            let signature = robot.sign(&quote);
            (evidence.quote, evidence.signature) = (&quote, &signature);
            evidence.registers = robot.registers(extra.as_bytes());
            setting.judge(&evidence.to_canonical())
        })
    });
    found(&careless, "state RobotState");
}
