//! Appraisal on one core, against the bare signature check.

use crate::row::{Must, Row, best_rates};
use crate::software_robot::{BANK, NOW_MS, Robot, Verifier};
use alcub3_attestation::appraisal::{
    Policy, ReferenceValues, RegisterRecord, RuntimeReferences, Verdict, appraise,
};
use alcub3_attestation::event_log::builder::{Boot, Builder};
use alcub3_attestation::event_log::{EventLog, EventType};
use alcub3_attestation::evidence::Evidence;
use alcub3_attestation::ima::ImaLog;
use alcub3_attestation::ima::builder::ListBuilder;
use alcub3_crypto::tpm::Signature;
use std::hint::black_box;

pub fn rates() -> Vec<Row> {
    let mut robot = Robot::new();
    let verifier = knowing_registers(&mut robot, Verifier::of);
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

/// Events and entries of the server whose evidence DESIGN §10 names.
const SERVER_EVENTS: usize = 153;
const SERVER_ENTRIES: usize = 780;

/// Quote, UEFI log and IMA list, nothing known of any of them.
pub fn full() -> Vec<Row> {
    let mut robot = Robot::new();
    let mut log = Builder::new(&[BANK]).unwrap();
    log.uefi_boot(&Boot::default());
    let booted = EventLog::parse(&log.clone().finish()).unwrap().events().len();
    for number in booted..SERVER_EVENTS {
        log.event(4, EventType::EFI_ACTION, format!("action {number}").as_bytes());
    }
    robot.uefi_log = log.finish();
    assert_eq!(
        EventLog::parse(&robot.uefi_log).unwrap().events().len(),
        SERVER_EVENTS
    );
    let list = measured(&mut robot, SERVER_ENTRIES);
    let verifier = knowing_registers(&mut robot, |robot| verifier(robot, &list));
    let evidence = robot.evidence();
    let (rate, _) = best_rates(
        100,
        20,
        || assert!(appraise(black_box(&evidence), &verifier.policy(), NOW_MS).is_trusted()),
        || {},
    );
    vec![Row::of(
        "appraise_full_per_s",
        rate,
        "1/s",
        Must::AtLeast(2_000.0),
    )]
}

/// Ten entries more, on lists of 1,000 and of 100,000 that were judged before.
pub fn added() -> Vec<Row> {
    let [short, long] = [1_000, 100_000].map(|entries| {
        let mut robot = Robot::new();
        let list = measured(&mut robot, entries + 10);
        let verifier = knowing_registers(&mut robot, |robot| verifier(robot, &list));
        let parsed = ImaLog::parse(list.bytes()).unwrap();
        let before = list.bytes().len() - parsed.bytes_from(entries).len();
        let all = std::mem::take(&mut robot.measured);
        robot.measured = all[..entries].to_vec();
        robot.sent = Some((0, list.bytes()[..before].to_vec()));
        let judged = appraise(&robot.evidence(), &verifier.policy(), NOW_MS);
        robot.measured = all;
        robot.sent = Some((entries as u64, list.bytes()[before..].to_vec()));
        (robot.evidence(), verifier, judged)
    });
    let judge = |(evidence, verifier, judged): &(Vec<u8>, Verifier, Verdict)| {
        let known = Policy {
            known_boot: judged.boot(),
            known_runtime: Some(judged.runtime().unwrap()),
            ..verifier.policy()
        };
        assert!(appraise(black_box(evidence), &known, NOW_MS).is_trusted());
    };
    let (long, short) = best_rates(100, 50, || judge(&long), || judge(&short));
    vec![Row::over(
        "appraise_added_100000_over_1000",
        1e6 / long,
        "us",
        1e6 / short,
        Must::AtMost(1.1),
    )]
}

/// A verifier that has judged the robot's registers before, as in the steady state.
fn knowing_registers(robot: &mut Robot, verifier: impl Fn(&Robot) -> Verifier) -> Verifier {
    let mut verifier = verifier(robot);
    let judged = appraise(&robot.evidence(), &verifier.policy(), NOW_MS);
    robot.known = judged.registers().map(RegisterRecord::positions);
    verifier.registers = judged.registers().cloned();
    assert!(verifier.registers.is_some(), "{:?}", judged.findings());
    verifier
}

/// A kernel's list of so many entries, extended and sent.
fn measured(robot: &mut Robot, entries: usize) -> ListBuilder {
    let mut list = ListBuilder::new();
    list.boot_aggregate(BANK, &robot.pcrs());
    for number in 1..entries {
        let name = format!("/usr/lib/x86_64-linux-gnu/libnumber-{number}.so");
        list.file(&name, &BANK.digest(&[name.as_bytes()]));
    }
    robot.measured = list.extends(BANK);
    robot.sent = Some((0, list.bytes().to_vec()));
    list
}

fn verifier(robot: &Robot, list: &ListBuilder) -> Verifier {
    let mut verifier = Verifier::of(robot);
    let boot = ReferenceValues::golden(&EventLog::parse(&robot.uefi_log).unwrap(), BANK).unwrap();
    let runtime = RuntimeReferences::golden(&ImaLog::parse(list.bytes()).unwrap()).unwrap();
    verifier.references = boot.with_runtime(runtime);
    verifier
}
