//! A refused verdict explains itself: which event, which file, which value, found and expected, and what to do.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod software_robot;

use alcub3_attestation::appraisal::{
    ExplainedFinding, LastSeen, Policy, Reason, ReferenceValues, RuntimeReferences, Severity, Verdict,
    VerdictReport, appraise,
};
use alcub3_attestation::event_log::builder::{Boot, Builder};
use alcub3_attestation::event_log::{Event, EventLog, EventType};
use alcub3_attestation::ima::ImaLog;
use alcub3_attestation::ima::builder::ListBuilder;
use alcub3_crypto::HashAlg;
use alcub3_trust_model::{HardwareTier, RobotId};
use serde_json::{Value, json};
use software_robot::{BANK, NOW_MS, Robot, Verifier, uefi_log};

fn judged(robot: &Robot, verifier: &Verifier) -> Verdict {
    appraise(&robot.evidence(), &verifier.policy(), NOW_MS)
}

/// The first finding of a reason, explained; it names these, and says what to do.
fn explained(verdict: &Verdict, reason: Reason, parts: &[&str]) -> ExplainedFinding {
    let finding = verdict.findings().iter().find(|finding| finding.reason == reason);
    let finding = finding
        .unwrap_or_else(|| panic!("{reason}: {:?}", verdict.findings()))
        .explained();
    let detail = &finding.finding.detail;
    for part in parts.iter().chain(&["found", "expected"]) {
        assert!(detail.contains(part), "{reason}, {part}: {detail}");
    }
    if finding.finding.severity != Severity::Info {
        assert!(finding.remedy.is_some_and(|remedy| remedy.len() > 20), "{reason}");
    }
    assert_eq!(finding.meaning, reason.text());
    finding
}

fn with(references: &ReferenceValues, change: impl FnOnce(&mut Value)) -> ReferenceValues {
    let mut document: Value = serde_json::from_str(&references.to_json()).unwrap();
    change(&mut document);
    ReferenceValues::from_json(&document.to_string()).unwrap()
}

#[test]
fn every_reason_says_what_to_do() {
    for reason in Reason::ALL {
        assert!(reason.has_remedy(), "{reason} has no remedy of its own");
        assert!(reason.remedy().chars().next().unwrap().is_lowercase(), "{reason}");
    }
}

#[test]
fn a_refused_boot_names_the_event_the_value_found_and_the_one_expected() {
    let robot = Robot::new();
    let mut verifier = Verifier::of(&robot);
    let golden = robot.references();
    let (good, other) = (
        robot.pcrs().value(BANK, 4).copied().unwrap(),
        BANK.digest(&[b"other"]),
    );
    verifier.references = with(&golden, |of| {
        of["pcrs"]["4"] = json!({"values": [other.to_hex()]});
    });
    let finding = explained(
        &judged(&robot, &verifier),
        Reason::Reference,
        &["PCR 4: the boot loader", &good.to_hex(), &other.to_hex()],
    );
    assert_eq!(finding.finding.pcr, Some(4));
    let five: Vec<String> = (0_u8..5).map(|n| BANK.digest(&[&[n]]).to_hex()).collect();
    verifier.references = with(&golden, |of| of["pcrs"]["4"] = json!({"values": five}));
    explained(
        &judged(&robot, &verifier),
        Reason::Reference,
        &["one of", "and 2 more"],
    );
    verifier.references = with(&golden, |of| {
        of["pcrs"]["9"] = json!({"events": [other.to_hex()]});
    });
    let kernel = BANK.digest(&[b"alcub3 reference kernel"]).to_hex();
    let finding = explained(
        &judged(&robot, &verifier),
        Reason::Reference,
        &["PCR 9", "event", &kernel, &other.to_hex()],
    );
    assert!(finding.finding.event.is_some());
    verifier.references = with(&golden, |of| {
        of["pcrs"].as_object_mut().unwrap().remove("4");
    });
    explained(
        &judged(&robot, &verifier),
        Reason::ReferenceMissing,
        &["PCR 4", &good.to_hex(), "expected nothing"],
    );
    verifier.references = with(&golden, |of| of["claims"] = json!(["firmware-update-protected"]));
    explained(
        &judged(&robot, &verifier),
        Reason::BootClaim,
        &["expected firmware-update-protected"],
    );

    // A log that was edited: another event than was measured, and an event whose data is not what was.
    let verifier = Verifier::of(&robot);
    let mut log = Builder::new(&[HashAlg::Sha1, BANK]).unwrap();
    log.uefi_boot(&Boot::default())
        .event(4, EventType::IPL, b"never measured");
    let mut edited = robot.clone();
    edited.uefi_log = log.finish();
    let found = appraise(
        &edited.evidence_with(robot.pcrs(), true),
        &verifier.policy(),
        NOW_MS,
    );
    explained(
        &found,
        Reason::BootLogMismatch,
        &["PCR 4", &good.to_hex(), "never measured"],
    );
    let mut extended = robot;
    let mut log = Builder::new(&[HashAlg::Sha1, BANK]).unwrap();
    log.uefi_boot(&Boot::default())
        .event(13, EventType::IPL, b"an extension");
    extended.uefi_log = log.finish();
    explained(&judged(&extended, &verifier), Reason::AgentPcr, &["PCR 13"]);
}

#[test]
fn changed_data_of_an_event_is_named_with_both_digests() {
    let robot = Robot::new();
    let log = EventLog::parse(&robot.uefi_log).unwrap();
    let is_variable = |event: &&Event<'_>| event.event_type == EventType::EFI_VARIABLE_DRIVER_CONFIG;
    let variable = log.events().iter().find(is_variable).unwrap();
    // PCR and type, the number of digests, those of SHA-1 and SHA-256, the length of the data.
    let at = variable.position.offset + 12 + 2 + 20 + 2 + 32 + 4 + variable.data.len() - 1;
    let measured = BANK.digest(&[variable.data]).to_hex();
    let mut data = variable.data.to_vec();
    *data.last_mut().unwrap() ^= 1;
    let mut changed = robot.clone();
    changed.uefi_log[at] ^= 1;
    let found = appraise(
        &changed.evidence_with(robot.pcrs(), true),
        &Verifier::of(&robot).policy(),
        NOW_MS,
    );
    let finding = explained(
        &found,
        Reason::EventData,
        &["event", &BANK.digest(&[&data]).to_hex(), &measured],
    );
    assert!(finding.finding.event.is_some());
}

/// A robot whose kernel measured its boot's aggregate and these files.
fn running(robot: &Robot, files: &[(&str, &str)]) -> (Robot, ListBuilder) {
    let mut robot = Robot {
        measured: Vec::new(),
        ..robot.clone()
    };
    let mut list = ListBuilder::new();
    list.boot_aggregate(BANK, &robot.pcrs());
    for (name, content) in files {
        list.file(name, &BANK.digest(&[content.as_bytes()]));
    }
    robot.measured = list.extends(BANK);
    robot.sent = Some((0, list.bytes().to_vec()));
    (robot, list)
}

#[test]
fn a_refused_list_names_the_file_the_digest_found_and_those_expected() {
    let (good, list) = running(&Robot::new(), &[("/usr/bin/driver", "one")]);
    let mut verifier = Verifier::of(&good);
    let runtime = RuntimeReferences::golden(&ImaLog::parse(list.bytes()).unwrap()).unwrap();
    verifier.references = good.references().with_runtime(runtime);
    assert!(judged(&good, &verifier).is_trusted());
    let (one, two) = (BANK.digest(&[b"one"]).to_hex(), BANK.digest(&[b"two"]).to_hex());
    let (bad, _) = running(&good, &[("/usr/bin/driver", "two")]);
    let finding = explained(
        &judged(&bad, &verifier),
        Reason::RuntimeFile,
        &[
            "entry 1",
            "/usr/bin/driver",
            &format!("found sha256:{two}"),
            &format!("expected sha256:{one}"),
        ],
    );
    assert_eq!((finding.finding.event, finding.finding.pcr), (Some(1), Some(10)));
    let (bad, _) = running(&good, &[("/opt/intruder", "two")]);
    explained(
        &judged(&bad, &verifier),
        Reason::RuntimeFile,
        &["/opt/intruder", &two, "has no reference"],
    );
    let mut cut = good.clone();
    cut.sent = Some((0, running(&good, &[]).1.bytes().to_vec()));
    explained(
        &judged(&cut, &verifier),
        Reason::RuntimeLogMismatch,
        &["sha256:", "1 entries"],
    );
    let mut hole = good.clone();
    hole.sent = Some((3, list.bytes().to_vec()));
    explained(
        &judged(&hole, &verifier),
        Reason::RuntimeLogHole,
        &["entry 3", "entry 0"],
    );
    let mut violated = ListBuilder::new();
    violated.boot_aggregate(BANK, &good.pcrs());
    violated.violation("/var/log/x");
    let mut bad = good;
    bad.measured = violated.extends(BANK);
    bad.sent = Some((0, violated.bytes().to_vec()));
    let found = judged(&bad, &verifier);
    explained(&found, Reason::RuntimeViolation, &["entry 1", "/var/log/x"]);
    let mut other = ListBuilder::new();
    other.file("boot_aggregate", &BANK.digest(&[b"another boot"]));
    bad.measured = other.extends(BANK);
    bad.sent = Some((0, other.bytes().to_vec()));
    explained(
        &judged(&bad, &verifier),
        Reason::BootAggregate,
        &[&BANK.digest(&[b"another boot"]).to_hex(), "another boot"],
    );
}

#[test]
fn a_refused_robot_names_what_its_chip_state_and_log_say_and_should() {
    let robot = Robot::new();
    let verifier = Verifier::of(&robot);
    let seen = |change: fn(&mut LastSeen)| {
        let mut last = LastSeen {
            sequence: 1,
            clock: robot.clock,
        };
        change(&mut last);
        let policy = Policy {
            last_seen: Some(last),
            ..verifier.policy()
        };
        appraise(&robot.evidence(), &policy, NOW_MS)
    };
    explained(
        &seen(|last| last.sequence = 10),
        Reason::Sequence,
        &["found 10", "above 10"],
    );
    explained(
        &seen(|last| last.clock.reset_count = 9),
        Reason::ResetCount,
        &["found 3", "9 or more"],
    );
    explained(
        &seen(|last| last.clock.clock_ms = 6000),
        Reason::ClockBack,
        &["found 5000", "6000"],
    );
    let mut weak = robot.clone();
    weak.tier = HardwareTier::Virtual;
    explained(
        &judged(&weak, &verifier),
        Reason::Tier,
        &["found virtual", "firmware or better"],
    );
    let claimed = Policy {
        enrolled_tier: HardwareTier::Firmware,
        ..verifier.policy()
    };
    let found = appraise(&robot.evidence(), &claimed, NOW_MS);
    explained(
        &found,
        Reason::TierClaim,
        &["found discrete", "expected firmware"],
    );
    let mut other = robot.clone();
    other.state.robot = RobotId::new("r2").unwrap();
    explained(&judged(&other, &verifier), Reason::StateRobot, &["r2", "r1"]);
    let mut stopped = robot.clone();
    stopped.agent = vec![stopped.stop_event(7)];
    let pcrs = stopped.pcrs();
    stopped.agent.clear();
    let found = appraise(&stopped.evidence_with(pcrs, true), &verifier.policy(), NOW_MS);
    explained(&found, Reason::AgentLogMismatch, &["PCR 13"]);
    // The report for programs has the same.
    let report = serde_json::to_value(VerdictReport::of(&judged(&weak, &verifier))).unwrap();
    let finding = &report["findings"][0];
    assert_eq!(
        (&finding["reason"], &finding["severity"]),
        (&"hardware-tier".into(), &"untrusted".into())
    );
    assert!(finding["remedy"].as_str().unwrap().contains("root of trust") && finding["meaning"].is_string());
    assert_eq!(uefi_log(&Boot::default()), robot.uefi_log);
}
