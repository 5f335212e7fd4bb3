//! The appraisal policy that an authority follows: versions that only rise, on record, over restarts, into results and bundles.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_attestation::appraisal::{AppraisalPolicy, Reason, ReferenceValues, RuntimeReferences, Verdict};
use alcub3_attestation::ear::Ear;
use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::ima::ImaLog;
use alcub3_audit_log::{EntryKind, Outcome, Piece, pieces};
use alcub3_fleet_protocol::appraisal_policy::{VerifiedAppraisalPolicy, unsigned};
use alcub3_server::{Appraised, Authority, BundleIssueError, Refusal};
use support::robot::{BANK, Robot};
use support::{NOW, World};

fn policy(version: u64, robots: &str, asks: &str) -> AppraisalPolicy {
    let text = format!(
        "name = \"north\"\nversion = {version}\n[[class]]\nname = \"rovers\"\nrobots = [\"{robots}\"]\n[class.level.UNCLASSIFIED]\n{asks}\n"
    );
    AppraisalPolicy::from_toml(&text).unwrap()
}

fn put(world: &mut World, version: u64, robots: &str, asks: &str) {
    world
        .authority
        .put_appraisal_policy(&policy(version, robots, asks), NOW)
        .unwrap();
}

fn attest(world: &mut World, robot: &mut Robot) -> Appraised {
    let request = world.authority.challenge(&robot.id, NOW).unwrap();
    world.authority.appraise(&robot.evidence(&request), NOW).unwrap()
}

fn codes(verdict: &Verdict) -> Vec<&str> {
    verdict
        .findings()
        .iter()
        .map(|finding| finding.reason.code())
        .collect()
}

#[test]
fn robots_are_held_to_the_policy_and_results_name_it_also_after_a_restart() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    put(&mut world, 2, "rover-*", "");
    let good = attest(&mut world, &mut robot);
    assert!(good.verdict.is_trusted() && good.answer.lease.is_some());
    let key = world.authority.verifying_key();
    let named = |ear: &str| {
        Ear::verify(ear, &key, NOW / 1000).unwrap().submods["rover-1"]
            .policy
            .clone()
    };
    assert_eq!(named(&good.ear), "urn:alcub3:policy:admits-simulators:north:2");
    put(&mut world, 3, "rover-*", "min-tier = \"discrete\"");
    let mut world = world.restarted();
    let bad = attest(&mut world, &mut robot);
    assert!(bad.verdict.has(Reason::PolicyTier) && bad.answer.lease.is_none());
    assert_eq!(named(&bad.ear), "urn:alcub3:policy:admits-simulators:north:3");
    put(&mut world, 4, "other-*", "");
    assert!(attest(&mut world, &mut robot).verdict.has(Reason::PolicyClass));
    put(&mut world, 5, "*", "claims = [\"firmware-update-protected\"]");
    assert!(attest(&mut world, &mut robot).verdict.has(Reason::BootClaim));
    put(&mut world, 6, "*", "refuse = [\"simulator\"]");
    let refused = attest(&mut world, &mut robot);
    assert!(!refused.verdict.is_trusted(), "{:?}", codes(&refused.verdict));
}

#[test]
fn a_policy_that_is_not_newer_is_refused_and_both_are_on_record() {
    let mut world = World::new();
    put(&mut world, 7, "*", "");
    for version in [1, 6, 7] {
        let refused = world
            .authority
            .put_appraisal_policy(&policy(version, "*", ""), NOW)
            .unwrap_err();
        assert_eq!(refused.code(), "policy-rolled-back", "{refused}");
        assert_eq!(world.authority.appraisal_policy().unwrap().policy().version(), 7);
    }
    let state = world.state();
    let content = std::fs::read(Authority::audit_file(&state)).unwrap();
    let entries: Vec<_> = pieces(&content)
        .filter_map(|piece| match piece {
            Piece::Entry { entry, .. } => Some(entry),
            _ => None,
        })
        .filter(|entry| {
            entry.kind == EntryKind::Configuration && entry.subject.contains("appraisal policy north")
        })
        .collect();
    let refused: Vec<_> = entries
        .iter()
        .filter(|entry| entry.outcome == Outcome::Refused)
        .collect();
    assert_eq!(refused.len(), 3);
    assert_eq!(refused[0].reasons, ["policy-rolled-back"]);
    assert!(
        entries
            .iter()
            .any(|entry| entry.outcome == Outcome::Done && entry.subject.contains("version 7"))
    );
    let mut world = world.restarted();
    assert!(
        world
            .authority
            .put_appraisal_policy(&policy(7, "*", ""), NOW)
            .is_err()
    );
    put(&mut world, 8, "*", "");
}

#[test]
fn a_policy_counts_only_with_the_authoritys_signature_over_every_byte() {
    let (mut world, other) = (World::new(), World::new());
    put(&mut world, 1, "*", "");
    let key = alcub3_crypto::SigningKey::generate(alcub3_crypto::Curve::P256).unwrap();
    let suite = key.suite();
    let signed = unsigned(&policy(9, "*", ""), NOW, suite)
        .unwrap()
        .sign(&key)
        .unwrap();
    assert!(VerifiedAppraisalPolicy::verify(&signed, &key.verifying_key()).is_ok());
    assert!(VerifiedAppraisalPolicy::verify(&signed, &other.authority.verifying_key()).is_err());
    for at in 0..signed.len() {
        let mut changed = signed.clone();
        changed[at] ^= 1;
        assert!(
            VerifiedAppraisalPolicy::verify(&changed, &key.verifying_key()).is_err(),
            "byte {at}"
        );
    }
}

#[test]
fn a_bundle_carries_what_is_asked_of_each_robot_and_names_none_without_a_class() {
    let (mut robot, other) = (Robot::new("rover-1"), Robot::new("cart-1"));
    let mut world = World::ready(&mut robot);
    world.enrol(&other);
    let robots = [robot.id.clone()];
    let free = world.authority.issue_policy_bundle(&robots, 1000, NOW).unwrap();
    assert!(free.peers()[0].policy().rule.is_none());
    put(
        &mut world,
        4,
        "rover-*",
        "claims = [\"firmware-pcrs-closed\"]\nmax-state-age-ms = 77",
    );
    let bundle = world.authority.issue_policy_bundle(&robots, 1000, NOW).unwrap();
    let peer = &bundle.peers()[0];
    let rule = peer.policy().rule.as_ref().unwrap();
    assert_eq!(rule.policy_id(), "north:4");
    assert!(rule.in_words().join(" ").contains("77 ms"));
    assert!(peer.references().claims().contains("firmware-pcrs-closed"));
    let refused = world
        .authority
        .issue_policy_bundle(std::slice::from_ref(&other.id), 1000, NOW)
        .unwrap_err();
    assert!(matches!(refused, BundleIssueError::NoClass { .. }), "{refused}");
    assert_eq!(refused.code(), "policy-class");
}

/// A policy that asks for another claim is another reference: the list is then asked for from its beginning, and nobody is stuck.
#[test]
fn a_new_policy_has_what_runs_judged_anew() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::new();
    world.enrol(&robot);
    let boot = robot.pcrs();
    robot.measured.boot_aggregate(BANK, &boot);
    robot.measured.file("/sbin/init", &BANK.digest(&[b"init"]));
    let runtime = RuntimeReferences::golden(&ImaLog::parse(robot.measured.bytes()).unwrap()).unwrap();
    let log = EventLog::parse(&robot.uefi_log).unwrap();
    let references = ReferenceValues::golden(&log, BANK).unwrap().with_runtime(runtime);
    world
        .authority
        .set_reference(&robot.id, &references, NOW)
        .unwrap();
    put(&mut world, 1, "*", "runtime = \"required\"");
    let first = attest(&mut world, &mut robot);
    assert!(first.verdict.is_trusted(), "{:?}", first.verdict.findings());
    assert!(
        world
            .authority
            .challenge(&robot.id, NOW)
            .unwrap()
            .runtime_from
            .is_some()
    );
    put(
        &mut world,
        2,
        "*",
        "runtime = \"required\"\nclaims = [\"firmware-pcrs-closed\"]",
    );
    assert!(
        world
            .authority
            .challenge(&robot.id, NOW)
            .unwrap()
            .runtime_from
            .is_none()
    );
    let again = attest(&mut world, &mut robot);
    assert!(again.verdict.is_trusted(), "{:?}", again.verdict.findings());
    assert!(
        world
            .authority
            .challenge(&robot.id, NOW)
            .unwrap()
            .runtime_from
            .is_some()
    );
}
