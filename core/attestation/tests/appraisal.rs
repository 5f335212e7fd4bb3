//! Verdicts: good evidence is trusted; each thing wrong is found, named, and untrusted.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod software_robot;

use alcub3_attestation::appraisal::{
    LastSeen, Policy, Reason, ReferenceError, ReferenceValues, Severity, Verdict, VerdictReport, appraise,
};
use alcub3_attestation::attest::ClockInfo;
use alcub3_attestation::event_log::agent::AgentEvent;
use alcub3_attestation::event_log::builder::{Boot, Builder};
use alcub3_attestation::event_log::{EventLog, EventType, Replay};
use alcub3_attestation::evidence::{Evidence, Nonce};
use alcub3_attestation::pcr::PcrValues;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::{HardwareTier, MissionId, RobotId, StopId};
use software_robot::{BANK, NOW_MS, Robot, Verifier, uefi_log};

fn judge(robot: &Robot) -> Verdict {
    judge_at(&robot.evidence(), &Verifier::of(robot).policy())
}

fn judge_at(evidence: &[u8], policy: &Policy<'_>) -> Verdict {
    appraise(evidence, policy, NOW_MS)
}

#[track_caller]
fn assert_untrusted(verdict: &Verdict, expected: &[Reason]) {
    let fatal = verdict
        .findings()
        .iter()
        .filter(|finding| finding.severity == Severity::Untrusted);
    let reasons: Vec<Reason> = fatal.map(|finding| finding.reason).collect();
    assert_eq!(reasons, expected, "{:#?}", verdict.findings());
    assert!(!verdict.is_trusted() && verdict.boot().is_none());
}

#[test]
fn good_evidence_is_trusted() {
    let robot = Robot::new();
    let verdict = judge(&robot);
    assert!(verdict.is_trusted(), "{:?}", verdict.findings());
    assert_eq!(verdict.findings(), []);
    let attested = verdict.attested().unwrap();
    assert_eq!(attested.state.as_ref(), Some(&robot.state));
    assert_eq!((attested.sequence, attested.tier), (10, HardwareTier::Discrete));
    assert_eq!(attested.quote.clock(), robot.clock);
    assert!(verdict.boot().is_some());
}

#[test]
fn no_changed_byte_of_evidence_is_trusted() {
    let robot = Robot::new();
    let evidence = robot.evidence();
    let verifier = Verifier::of(&robot);
    let tier = Evidence::from_canonical(&evidence).unwrap().tier;
    let original = EventLog::parse(&robot.uefi_log).unwrap().replay().unwrap();
    let judged = |replay: &Replay| {
        (0..=9)
            .chain(12..=13)
            .map(|pcr| replay.value(BANK, pcr))
            .collect::<Vec<_>>()
    };
    for at in 0..evidence.len() {
        let mut changed = evidence.clone();
        changed[at] ^= 0x01;
        let verdict = judge_at(&changed, &verifier.policy());
        // What is not judged may change: some events' descriptions, other banks and PCRs, and the tier downwards.
        let same_values = |log: &[u8]| {
            let replay = EventLog::parse(log).ok().and_then(|log| log.replay().ok());
            replay.is_some_and(|replay| judged(&replay) == judged(&original))
        };
        let harmless = Evidence::from_canonical(&changed).is_ok_and(|new| {
            new.tier != tier
                || (new.uefi_log != Some(&robot.uefi_log) && new.uefi_log.is_some_and(same_values))
        });
        assert!(!verdict.is_trusted() || harmless, "byte {at}");
    }
    for length in 0..evidence.len().min(600) {
        assert_untrusted(
            &judge_at(&evidence[..length], &verifier.policy()),
            &[Reason::Malformed],
        );
    }
    let longer = [evidence.as_slice(), &[0]].concat();
    assert_untrusted(&judge_at(&longer, &verifier.policy()), &[Reason::Malformed]);
}

#[test]
fn a_replayed_quote_is_refused() {
    let mut robot = Robot::new();
    robot.nonce = Nonce([0x43; 32]);
    assert_untrusted(&judge(&robot), &[Reason::Binding]);
}

#[test]
fn another_key_state_mission_or_sequence_does_not_fit() {
    let robot = Robot::new();
    assert_untrusted(
        &judge_at(&Robot::new().evidence(), &Verifier::of(&robot).policy()),
        &[Reason::Signature],
    );
    let evidence = robot.evidence();
    let parsed = Evidence::from_canonical(&evidence).unwrap();
    let mut state = robot.state.clone();
    state.battery_permille = 901;
    let state = state.to_canonical();
    for changed in [
        Evidence {
            state: &state,
            ..parsed.clone()
        },
        Evidence {
            mission: BANK.digest(&[b"other"]),
            ..parsed.clone()
        },
        Evidence {
            mission: Digest::zero(HashAlg::Sha384),
            ..parsed.clone()
        },
        Evidence {
            sequence: 11,
            ..parsed.clone()
        },
    ] {
        let verdict = judge_at(&changed.to_canonical(), &Verifier::of(&robot).policy());
        assert_untrusted(&verdict, &[Reason::Binding]);
        assert!(verdict.attested().is_none());
    }
    let mut values: Vec<Digest> = parsed.pcrs.iter().map(|(_, _, value)| *value).collect();
    values[14] = BANK.digest(&[b"y"]);
    let pcrs = PcrValues::new(*parsed.pcrs.selection(), values).unwrap();
    let changed = Evidence { pcrs, ..parsed }.to_canonical();
    assert_untrusted(
        &judge_at(&changed, &Verifier::of(&robot).policy()),
        &[Reason::PcrValues],
    );
}

#[test]
fn a_changed_machine_differs_from_the_references_by_pcr() {
    let mut robot = Robot::new();
    for (boot, pcr) in [
        (
            Boot {
                firmware: "evil",
                ..Boot::default()
            },
            0,
        ),
        (
            Boot {
                boot_loader: b"evil",
                ..Boot::default()
            },
            4,
        ),
        (
            Boot {
                kernel: b"evil",
                ..Boot::default()
            },
            9,
        ),
        (
            Boot {
                command_line: "init=/bin/sh",
                ..Boot::default()
            },
            8,
        ),
        (
            Boot {
                secure_boot: false,
                ..Boot::default()
            },
            7,
        ),
    ] {
        robot.uefi_log = uefi_log(&boot);
        let verdict = judge(&robot);
        assert_untrusted(&verdict, &[Reason::Reference]);
        assert_eq!(verdict.findings()[0].pcr, Some(pcr));
    }
}

#[test]
fn a_tampered_log_is_found_with_the_event() {
    let robot = Robot::new();
    let pcrs = robot.pcrs();
    let log = EventLog::parse(&robot.uefi_log).unwrap();
    let kernel = log.events().iter().rfind(|event| event.pcr == 9).unwrap();
    let variable = log.events().iter().find(|event| event.pcr == 7).unwrap();
    let verdict_with = |log: &[u8]| {
        let evidence = robot.evidence_with(pcrs.clone(), true);
        let evidence = Evidence {
            uefi_log: Some(log),
            ..Evidence::from_canonical(&evidence).unwrap()
        };
        judge_at(&evidence.to_canonical(), &Verifier::of(&robot).policy())
    };
    // The digest of a measured event was changed (12 bytes into the event: count, then SHA-1, then SHA-256).
    let mut changed = robot.uefi_log.clone();
    changed[kernel.position.offset + 12 + 2 + 20 + 2] ^= 1;
    let verdict = verdict_with(&changed);
    assert_untrusted(&verdict, &[Reason::BootLogMismatch]);
    assert_eq!(verdict.findings()[0].pcr, Some(9));
    // The data of a variable was changed, its digest was not.
    let mut changed = robot.uefi_log.clone();
    let data_at = variable.position.offset + 12 + 2 + 20 + 2 + 32 + 4;
    changed[data_at + variable.data.len() - 1] ^= 1;
    let verdict = verdict_with(&changed);
    assert_untrusted(&verdict, &[Reason::EventData]);
    assert_eq!(verdict.findings()[0].event, Some(variable.position.event));
    // An event was slipped in that was never measured.
    let mut longer = robot.uefi_log.clone();
    let extra = Builder::new(&[HashAlg::Sha1, BANK]).unwrap().finish().len();
    let added = Builder::new(&[HashAlg::Sha1, BANK])
        .unwrap()
        .event(9, alcub3_attestation::event_log::EventType::IPL, b"x")
        .clone()
        .finish();
    longer.extend(&added[extra..]);
    let verdict = verdict_with(&longer);
    assert_untrusted(&verdict, &[Reason::BootLogMismatch]);
    assert_eq!(verdict.findings()[0].event, Some(log.events().len()));
    // It was cut.
    let verdict = verdict_with(&robot.uefi_log[..robot.uefi_log.len() - 1]);
    assert_untrusted(&verdict, &[Reason::BootLogMalformed]);
}

#[test]
fn a_known_boot_needs_no_log_and_an_unknown_one_does() {
    let mut robot = Robot::new();
    let verifier = Verifier::of(&robot);
    let first = judge(&robot);
    let short = robot.evidence_with(robot.pcrs(), false);
    assert_untrusted(&judge_at(&short, &verifier.policy()), &[Reason::BootLogMissing]);
    let known = Policy {
        known_boot: first.boot(),
        known_runtime: None,
        ..verifier.policy()
    };
    assert!(judge_at(&short, &known).is_trusted());
    // Another boot of the machine, or other references, and the record does not count.
    let other = ReferenceValues::golden(
        &EventLog::parse(&uefi_log(&Boot {
            kernel: b"new",
            ..Boot::default()
        }))
        .unwrap(),
        BANK,
    )
    .unwrap();
    let policy = Policy {
        references: &other,
        ..known.clone()
    };
    assert_untrusted(&judge_at(&short, &policy), &[Reason::BootLogMissing]);
    robot.uefi_log = uefi_log(&Boot {
        kernel: b"evil",
        ..Boot::default()
    });
    let changed = robot.evidence_with(robot.pcrs(), false);
    assert_untrusted(&judge_at(&changed, &known), &[Reason::BootLogMissing]);
}

#[test]
fn the_agents_log_must_explain_the_lockdown_and_retire_pcrs() {
    let mut robot = Robot::new();
    robot.agent = vec![AgentEvent::MissionEnded(MissionId::new([3; 16]))];
    assert!(judge(&robot).is_trusted());
    let with_event = robot.pcrs();
    robot.agent.clear();
    let verdict = judge_at(
        &robot.evidence_with(with_event, true),
        &Verifier::of(&robot).policy(),
    );
    assert_untrusted(&verdict, &[Reason::AgentLogMismatch]);
    assert_eq!(verdict.findings()[0].pcr, Some(12));
}

#[test]
fn a_stop_is_in_force_until_rearmed() {
    let mut robot = Robot::new();
    robot.agent = vec![robot.stop_event(7)];
    let verdict = judge(&robot);
    assert_untrusted(&verdict, &[Reason::StopInForce]);
    assert_eq!(verdict.attested().unwrap().stops, [StopId::new([7; 16])]);
    let mut verifier = Verifier::of(&robot);
    verifier.rearmed = vec![StopId::new([7; 16])];
    assert!(judge_at(&robot.evidence(), &verifier.policy()).is_trusted());
    robot.agent.push(robot.stop_event(8));
    assert_untrusted(
        &judge_at(&robot.evidence(), &verifier.policy()),
        &[Reason::StopInForce],
    );
    robot.agent.clear();
    robot.state.stopped = true;
    assert_untrusted(&judge(&robot), &[Reason::Stopped]);
}

#[test]
fn foreign_events_in_the_agents_log_are_refused() {
    let robot = Robot::new();
    let mut foreign = Builder::new(&[BANK]).unwrap();
    let foreign = foreign
        .event(12, alcub3_attestation::event_log::EventType::IPL, b"x")
        .clone()
        .finish();
    let mut misplaced = Builder::new(&[BANK]).unwrap();
    let misplaced = misplaced.agent(12, &robot.stop_event(1)).clone().finish();
    let bankless = Builder::new(&[HashAlg::Sha384]).unwrap().finish();
    // The platform class in its header.
    let mut relabelled = robot.agent_log();
    relabelled[32 + 16] = 1;
    let evidence = robot.evidence();
    for log in [foreign, misplaced, bankless, relabelled, vec![1]] {
        let parsed = Evidence::from_canonical(&evidence).unwrap();
        let changed = Evidence {
            agent_log: Some(&log),
            runtime_log: None,
            ..parsed
        }
        .to_canonical();
        let verdict = judge_at(&changed, &Verifier::of(&robot).policy());
        assert_untrusted(&verdict, &[Reason::AgentLogMalformed]);
    }
}

#[test]
fn simulators_say_so_and_production_refuses_them() {
    let mut robot = Robot::new();
    robot.tier = HardwareTier::Simulator;
    let verdict = judge(&robot);
    assert_untrusted(&verdict, &[Reason::Tier]);
    assert!(verdict.has(Reason::Simulator));
    let verifier = Verifier::of(&robot);
    let enrolled = HardwareTier::Simulator;
    let demonstration = Policy {
        enrolled_tier: enrolled,
        min_tier: enrolled,
        ..verifier.policy()
    };
    let verdict = judge_at(&robot.evidence(), &demonstration);
    assert!(verdict.is_trusted() && verdict.has(Reason::Simulator));
    robot.tier = HardwareTier::Discrete;
    let verdict = judge_at(&robot.evidence(), &demonstration);
    assert_untrusted(&verdict, &[Reason::TierClaim]);
    assert!(verdict.has(Reason::Simulator));
}

#[test]
fn sequences_and_counters_only_go_up() {
    let robot = Robot::new();
    let mut verifier = Verifier::of(&robot);
    let mut judged_after = |sequence, reset_count, restart_count, clock_ms| {
        let clock = ClockInfo {
            clock_ms,
            reset_count,
            restart_count,
            safe: true,
        };
        verifier.last_seen = Some(LastSeen { sequence, clock });
        judge_at(&robot.evidence(), &verifier.policy())
    };
    assert!(judged_after(9, 3, 0, 4000).is_trusted());
    assert_untrusted(&judged_after(10, 3, 0, 4000), &[Reason::Sequence]);
    assert_untrusted(&judged_after(11, 3, 0, 4000), &[Reason::Sequence]);
    assert_untrusted(&judged_after(9, 4, 0, 4000), &[Reason::ResetCount]);
    assert_untrusted(&judged_after(9, 3, 1, 4000), &[Reason::ClockBack]);
    assert_untrusted(&judged_after(9, 3, 0, 5001), &[Reason::ClockBack]);
    // A reset since, with the clock behind after a power cut, is not held against it.
    let verdict = judged_after(9, 2, 5, 9000);
    assert!(verdict.is_trusted() && verdict.has(Reason::Restarted));
}

/// Asked once more, a TPM that was set back is as untrusted: what it is compared with does not go back with it.
#[test]
fn a_tpm_that_was_set_back_stays_untrusted_however_often_it_is_asked() {
    let good = Robot::new();
    for (reset_count, back_ms, reason) in [(2, 0, Reason::ResetCount), (3, 1000, Reason::ClockBack)] {
        let mut robot = good.clone();
        let mut verifier = Verifier::of(&robot);
        let first = judge_at(&robot.evidence(), &verifier.policy());
        verifier.last_seen = LastSeen::after(None, &first);
        robot.clock.reset_count = reset_count;
        robot.clock.clock_ms -= back_ms;
        for _ in 0..3 {
            robot.sequence += 1;
            robot.clock.clock_ms += 100;
            let verdict = judge_at(&robot.evidence(), &verifier.policy());
            assert_untrusted(&verdict, &[reason]);
            verifier.last_seen = LastSeen::after(verifier.last_seen, &verdict);
            let seen = verifier.last_seen.unwrap();
            assert_eq!((seen.sequence, seen.clock), (robot.sequence, good.clock));
        }
        robot.clock = good.clock;
        robot.sequence += 1;
        assert!(judge_at(&robot.evidence(), &verifier.policy()).is_trusted());
    }
}

#[test]
fn an_unsafe_clock_or_a_wrong_wall_time_is_said_and_not_held_against_it() {
    let mut robot = Robot::new();
    robot.clock.safe = false;
    robot.state.time_ms = 0;
    let verdict = judge(&robot);
    assert!(verdict.is_trusted());
    assert!(verdict.has(Reason::ClockUnsafe) && verdict.has(Reason::StateAge));
}

#[test]
fn a_pcr_that_was_not_quoted_is_missed() {
    let mut robot = Robot::new();
    robot.selected.retain(|pcr| *pcr != 13);
    let verdict = judge(&robot);
    assert_untrusted(&verdict, &[Reason::PcrNotQuoted]);
    assert_eq!(verdict.findings()[0].pcr, Some(13));
}

#[test]
fn the_state_must_be_this_robots() {
    let mut robot = Robot::new();
    robot.state.robot = RobotId::new("r2").unwrap();
    assert_untrusted(&judge(&robot), &[Reason::StateRobot]);
}

#[test]
fn references_come_from_json_strictly() {
    let robot = Robot::new();
    let golden = robot.references();
    assert_eq!(ReferenceValues::from_json(&golden.to_json()).unwrap(), golden);
    let judged_by = |json: &str| {
        let mut verifier = Verifier::of(&robot);
        verifier.references = ReferenceValues::from_json(json).unwrap();
        judge_at(&robot.evidence(), &verifier.policy())
    };
    let any: Vec<String> = (0..9).map(|pcr| format!("\"{pcr}\":{{\"any\":true}}")).collect();
    let document = |nine: &str| {
        format!(
            "{{\"version\":1,\"bank\":\"sha256\",\"pcrs\":{{{},\"9\":{nine}}}}}",
            any.join(",")
        )
    };
    let kernel = BANK.digest(&[b"alcub3 reference kernel"]).to_hex();
    assert!(judged_by(&document(&format!("{{\"events\":[\"{kernel}\"]}}"))).is_trusted());
    let verdict = judged_by(&document(&format!("{{\"events\":[\"{}\"]}}", "00".repeat(32))));
    assert_untrusted(&verdict, &[Reason::Reference]);
    assert!(verdict.findings()[0].event.is_some());
    let nothing = "{\"version\":1,\"bank\":\"sha256\",\"pcrs\":{}}";
    assert_untrusted(&judged_by(nothing), &[Reason::ReferenceMissing; 10]);
    for (json, wrong) in [
        (document("{\"any\":true,\"values\":[]}"), "exactly one"),
        (document("{\"values\":[\"zz\"]}"), "not a sha256 digest"),
        (nothing.replace(":1", ":2"), "unknown version 2"),
        (nothing.replace("sha256", "sha1"), "sha1"),
        (nothing.replace("{}", "{\"14\":{\"any\":true}}"), "PCR 14"),
        (nothing.replace("\"pcrs\"", "\"pcr\""), "documented form"),
    ] {
        let error: ReferenceError = ReferenceValues::from_json(&json).unwrap_err();
        assert!(error.to_string().contains(wrong), "{json}: {error}");
    }
}

#[test]
fn a_report_says_what_the_verdict_says() {
    let mut robot = Robot::new();
    let good = serde_json::to_value(VerdictReport::of(&judge(&robot))).unwrap();
    assert_eq!(good["verdict"], "trusted");
    assert_eq!(good["attested"]["robot"], "r1");
    assert_eq!(good["attested"]["simulator"], false);
    robot.nonce = Nonce([0; 32]);
    let bad = serde_json::to_value(VerdictReport::of(&judge(&robot))).unwrap();
    assert_eq!(bad["verdict"], "untrusted");
    assert_eq!(bad["findings"][0]["reason"], "binding");
    assert_eq!(bad["findings"][0]["severity"], "untrusted");
    assert!(bad.get("attested").is_none());
}

#[test]
fn codes_are_distinct_and_fatal_ones_are_not_by_accident() {
    let codes: std::collections::BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
    assert_eq!(codes.len(), Reason::ALL.len());
    let mild: Vec<&str> = Reason::ALL
        .iter()
        .filter(|reason| reason.severity() != Severity::Untrusted)
        .map(|reason| reason.code())
        .collect();
    assert_eq!(
        mild,
        [
            "register-history",
            "state-fault",
            "state-battery",
            "state-speed",
            "state-age",
            "simulator",
            "clock-unsafe",
            "restarted",
            "boot-aggregate-unchecked",
            "runtime-violation-noted",
            "runtime-sha1",
            "runtime-unjudged",
            "shared-silicon",
            "evidence-gap",
            "no-root-of-trust",
            "psa-header-ignored",
            "psa-claim-unknown",
            "psa-lifecycle-debug"
        ]
    );
}

/// What the boot did to the agent's PCRs is what the UEFI log says, and nobody judges that: a stop that is moved there
/// would be explained and no stop.
#[test]
fn a_stop_that_is_hidden_in_the_boots_log_is_found() {
    let mut robot = Robot::new();
    robot.agent = vec![robot.stop_event(7)];
    let pcrs = robot.pcrs();
    let mut log = Builder::new(&[HashAlg::Sha1, BANK]).unwrap();
    log.uefi_boot(&Boot::default()).agent(13, &robot.agent[0]);
    robot.uefi_log = log.finish();
    robot.agent.clear();
    let verdict = judge_at(&robot.evidence_with(pcrs, true), &Verifier::of(&robot).policy());
    assert_untrusted(&verdict, &[Reason::AgentPcr]);
    assert_eq!(verdict.findings()[0].pcr, Some(13));
}

/// `systemd-stub` measures into PCRs 12 and 13 as well: then the references say to what value, and nothing else will do.
#[test]
fn a_boot_may_lead_the_agents_pcrs_to_what_the_references_name_and_nowhere_else() {
    let mut robot = Robot::new();
    let booted = |extended: &[u8]| {
        let mut log = Builder::new(&[HashAlg::Sha1, BANK]).unwrap();
        log.uefi_boot(&Boot::default())
            .event(13, EventType::IPL, extended);
        log.finish()
    };
    robot.uefi_log = booted(b"an extension");
    let mut verifier = Verifier::of(&robot);
    let judged = |robot: &Robot, verifier: &Verifier| judge_at(&robot.evidence(), &verifier.policy());
    assert_untrusted(&judged(&robot, &verifier), &[Reason::AgentPcr]);
    let log = EventLog::parse(&robot.uefi_log).unwrap();
    verifier.references = ReferenceValues::golden(&log, BANK).unwrap();
    let again = ReferenceValues::from_json(&verifier.references.to_json()).unwrap();
    assert_eq!(again, verifier.references);
    let verdict = judged(&robot, &verifier);
    assert!(verdict.is_trusted(), "{:?}", verdict.findings());
    // A stop after it counts as ever, and hides in no boot log.
    let mut stopped = robot.clone();
    stopped.agent = vec![stopped.stop_event(7)];
    assert!(judged(&stopped, &verifier).has(Reason::StopInForce));
    let pcrs = stopped.pcrs();
    let mut hidden = Builder::new(&[HashAlg::Sha1, BANK]).unwrap();
    hidden.uefi_boot(&Boot::default());
    hidden.event(13, EventType::IPL, b"an extension");
    hidden.agent(13, &stopped.agent[0]);
    stopped.uefi_log = hidden.finish();
    stopped.agent.clear();
    let verdict = judge_at(&stopped.evidence_with(pcrs, true), &verifier.policy());
    assert_untrusted(&verdict, &[Reason::AgentPcr]);
    robot.uefi_log = booted(b"another extension");
    assert_untrusted(&judged(&robot, &verifier), &[Reason::AgentPcr]);
    for rule in [r#"{"any":true}"#, r#"{"events":[]}"#] {
        let json = format!(r#"{{"version":1,"bank":"sha256","pcrs":{{"13":{rule}}}}}"#);
        let refused = ReferenceValues::from_json(&json);
        assert!(matches!(refused, Err(ReferenceError::Pcr(13))), "{refused:?}");
    }
}
