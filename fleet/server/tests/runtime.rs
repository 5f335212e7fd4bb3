//! What robots measure while they run, with the authority: only what was added is asked for, and a restart costs nothing but
//! the whole list.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_attestation::appraisal::{Reason, ReferenceValues, RuntimeReferences, Verdict};
use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::evidence::Evidence;
use alcub3_attestation::ima::ImaLog;
use alcub3_attestation::ima::builder::ListBuilder;
use alcub3_crypto::Digest;
use alcub3_fleet_protocol::attestation::{AttestRequest, EvidenceMessage};
use alcub3_server::AttestationError;
use support::robot::{BANK, Robot};
use support::{NOW, World};

fn file(list: &mut ListBuilder, name: &str) {
    list.file(name, &BANK.digest(&[name.as_bytes()]));
}

fn ask(world: &mut World, robot: &Robot) -> AttestRequest {
    world.authority.challenge(&robot.id, NOW).unwrap()
}

fn answer(world: &mut World, robot: &mut Robot, request: &AttestRequest) -> Verdict {
    let evidence = robot.evidence(request);
    world.authority.appraise(&evidence, NOW).unwrap().verdict
}

/// Bytes of the list in a message, and the number of the first entry.
fn sent(message: &[u8]) -> (u64, usize) {
    let message = EvidenceMessage::from_canonical(message).unwrap();
    let log = Evidence::from_canonical(&message.evidence)
        .unwrap()
        .runtime_log
        .unwrap();
    (log.first, log.entries.len())
}

/// An enrolled robot that measured its boot and two programs, whose references are those programs and `/opt/later`.
fn running() -> (World, Robot) {
    let (mut world, mut robot) = (World::new(), Robot::new("rover-1"));
    world.enrol(&robot);
    let boot = robot.pcrs();
    robot.measured.boot_aggregate(BANK, &boot);
    for program in ["/sbin/init", "/usr/bin/driver"] {
        file(&mut robot.measured, program);
    }
    let mut good = robot.measured.clone();
    file(&mut good, "/opt/later");
    let log = EventLog::parse(&robot.uefi_log).unwrap();
    let runtime = RuntimeReferences::golden(&ImaLog::parse(good.bytes()).unwrap()).unwrap();
    let references = ReferenceValues::golden(&log, BANK).unwrap().with_runtime(runtime);
    world
        .authority
        .set_reference(&robot.id, &references, NOW)
        .unwrap();
    (world, robot)
}

#[test]
fn only_what_was_added_is_asked_for_until_the_robot_starts_anew() {
    let (mut world, mut robot) = running();
    let first = ask(&mut world, &robot);
    assert_eq!(first.runtime_from, None);
    assert!(answer(&mut world, &mut robot, &first).is_trusted());

    let second = ask(&mut world, &robot);
    assert_eq!(second.runtime_from.unwrap().entries, 3);
    file(&mut robot.measured, "/opt/later");
    let evidence = robot.evidence(&second);
    let (first_entry, bytes) = sent(&evidence);
    assert_eq!(first_entry, 3);
    assert!(bytes < 100, "{bytes}");
    assert!(
        world
            .authority
            .appraise(&evidence, NOW)
            .unwrap()
            .verdict
            .is_trusted()
    );
    assert_eq!(ask(&mut world, &robot).runtime_from.unwrap().entries, 4);

    // The robot starts anew: its list begins again, and it sends all of it although less was asked for.
    robot.clock.reset_count += 1;
    robot.clock.clock_ms += 1;
    let asked = ask(&mut world, &robot);
    let evidence = robot.evidence(&asked);
    assert_eq!(sent(&evidence).0, 0);
    assert!(
        world
            .authority
            .appraise(&evidence, NOW)
            .unwrap()
            .verdict
            .is_trusted()
    );

    // The authority starts anew, and still knows how far it judged.
    world = world.restarted();
    let asked = ask(&mut world, &robot);
    assert_eq!(asked.runtime_from.unwrap().entries, 4);
    assert!(answer(&mut world, &mut robot, &asked).is_trusted());
    // It lost what it knew, or cannot read it: it asks for all.
    for lost in [None, Some(b"damaged")] {
        let record = platform_record(&world, &robot);
        match lost {
            None => std::fs::remove_file(&record).unwrap(),
            Some(damaged) => std::fs::write(&record, damaged).unwrap(),
        }
        world = world.restarted();
        let asked = ask(&mut world, &robot);
        assert_eq!(asked.runtime_from, None);
        assert!(answer(&mut world, &mut robot, &asked).is_trusted());
    }
}

/// Where the authority keeps what it judged good of a robot's platform.
fn platform_record(world: &World, robot: &Robot) -> std::path::PathBuf {
    let folder = world.state().join("platforms");
    let names = std::fs::read_dir(folder).unwrap();
    let mut found = names.map(|entry| entry.unwrap().path());
    found
        .find(|path| path.to_string_lossy().contains(robot.id.as_str()))
        .unwrap()
}

#[test]
fn an_authority_that_was_restarted_between_request_and_evidence_makes_nobody_untrusted() {
    let (mut world, mut robot) = running();
    let request = ask(&mut world, &robot);
    assert!(answer(&mut world, &mut robot, &request).is_trusted());
    let open = ask(&mut world, &robot);
    world = world.restarted();
    let evidence = robot.evidence(&open);
    assert!(
        world
            .authority
            .appraise(&evidence, NOW)
            .unwrap()
            .verdict
            .is_trusted()
    );
    // Also where its record of what it judged was lost in between: then it has to be asked again.
    let open = ask(&mut world, &robot);
    std::fs::remove_file(platform_record(&world, &robot)).unwrap();
    world = world.restarted();
    let evidence = robot.evidence(&open);
    let error = world.authority.appraise(&evidence, NOW).unwrap_err();
    assert!(matches!(error, AttestationError::PlatformForgotten), "{error}");
    let again = ask(&mut world, &robot);
    assert!(answer(&mut world, &mut robot, &again).is_trusted());
}

#[test]
fn an_intruder_stays_found_and_other_references_judge_the_whole_list_anew() {
    let (mut world, mut robot) = running();
    let request = ask(&mut world, &robot);
    assert!(answer(&mut world, &mut robot, &request).is_trusted());
    file(&mut robot.measured, "/opt/intruder");
    for _ in 0..2 {
        let request = ask(&mut world, &robot);
        let verdict = answer(&mut world, &mut robot, &request);
        assert!(!verdict.is_trusted() && verdict.has(Reason::RuntimeFile));
    }
    // The list is sent from behind the intruder.
    let mut request = ask(&mut world, &robot);
    if let Some(from) = &mut request.runtime_from {
        from.entries = 4;
    }
    assert!(answer(&mut world, &mut robot, &request).has(Reason::RuntimeLogHole));

    let log = EventLog::parse(&robot.uefi_log).unwrap();
    let all = RuntimeReferences::golden(&ImaLog::parse(robot.measured.bytes()).unwrap()).unwrap();
    let references = ReferenceValues::golden(&log, BANK).unwrap().with_runtime(all);
    world
        .authority
        .set_reference(&robot.id, &references, NOW)
        .unwrap();
    let request = ask(&mut world, &robot);
    assert_eq!(request.runtime_from, None);
    assert!(answer(&mut world, &mut robot, &request).is_trusted());
}

#[test]
fn a_robot_that_measures_nothing_is_asked_to_where_there_are_references() {
    let (mut world, mut robot) = running();
    robot.measured = ListBuilder::new();
    let request = ask(&mut world, &robot);
    let verdict = answer(&mut world, &mut robot, &request);
    assert!(!verdict.is_trusted() && verdict.has(Reason::RuntimeLogMissing));
    assert_eq!(
        *verdict.attested().unwrap().quote.pcrs().value(BANK, 10).unwrap(),
        Digest::zero(BANK)
    );
}
