//! What the authority issues on each kind of attestation, and what it remembers.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_attestation::appraisal::{Reason, ReferenceValues, Severity};
use alcub3_attestation::ear::{Ear, Status};
use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::event_log::builder::{Boot, Builder};
use alcub3_attestation::health::HealthState;
use alcub3_command_authority::VerifiedLease;
use alcub3_fleet_protocol::attestation::EvidenceMessage;
use alcub3_server::{Appraised, AttestationError};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::{AttestationKind, Level, MissionId, StopId};
use support::approvals::{HOUR, MISSION, approve, approved_mission, propose, rearm, stopped_world};
use support::robot::{BANK, Robot};
use support::{NOW, World};

fn judged(world: &mut World, robot: &mut Robot, kind: AttestationKind, now_ms: u64) -> Appraised {
    let request = world.authority.challenge_for(&robot.id, kind, now_ms).unwrap();
    let evidence = robot.evidence(&request);
    world.authority.appraise(&evidence, now_ms).unwrap()
}

fn untrusted(appraised: &Appraised) -> Vec<Reason> {
    let fatal = appraised.verdict.findings().iter();
    let fatal = fatal.filter(|found| found.severity == Severity::Untrusted);
    fatal.map(|found| found.reason).collect()
}

/// The result's claims on the robot, as a relying party reads them.
fn result(world: &World, appraised: &Appraised, now_ms: u64) -> (Ear, Status, Option<AttestationKind>) {
    let key = world.authority.verifying_key();
    let ear = Ear::verify(&appraised.ear, &key, now_ms / 1000).unwrap();
    let part = &ear.submods[appraised.robot.as_str()];
    let (status, kind) = (part.status, part.kind);
    (ear, status, kind)
}

#[test]
fn only_what_asks_for_all_gives_a_lease_and_is_fresh() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::new();
    world.enrol(&robot);
    for kind in [AttestationKind::Platform, AttestationKind::Sensor] {
        let appraised = judged(&mut world, &mut robot, kind, NOW);
        assert!(
            appraised.verdict.is_trusted(),
            "{:?}",
            appraised.verdict.findings()
        );
        assert_eq!(appraised.answer.lease, None, "{kind}");
        let (_, status, named) = result(&world, &appraised, NOW);
        assert_eq!(named, Some(kind), "a relying party sees what was proven");
        assert_ne!(status, Status::Contraindicated);
        assert_eq!(world.authority.standing(&robot.id).unwrap().trusted_at_ms, None);
    }
    assert_eq!(
        world.authority.health(&robot.id, NOW).unwrap().state,
        HealthState::Unknown
    );
    let appraised = judged(&mut world, &mut robot, AttestationKind::Operational, NOW);
    assert!(appraised.answer.lease.is_some());
    assert_eq!(
        world.authority.health(&robot.id, NOW).unwrap().state,
        HealthState::Fresh
    );
    // A part that is bad is bad, whatever was asked for.
    let mut log = Builder::new(&[BANK]).unwrap();
    log.uefi_boot(&Boot {
        boot_loader: b"another loader",
        ..Boot::default()
    });
    robot.uefi_log = log.finish();
    let appraised = judged(&mut world, &mut robot, AttestationKind::Sensor, NOW + 1);
    assert!(untrusted(&appraised).contains(&Reason::Reference));
    assert_eq!(
        world.authority.health(&robot.id, NOW + 1).unwrap().state,
        HealthState::Failing
    );
    assert_eq!(world.authority.standing(&robot.id).unwrap().trusted_at_ms, None);
}

/// A robot that cannot prove what is not there is no worse than before.
#[test]
fn asking_for_what_is_not_there_makes_no_healthy_robot_failing() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    for kind in [
        AttestationKind::Emergency,
        AttestationKind::Mission(MissionId::new([9; 16])),
    ] {
        let appraised = judged(&mut world, &mut robot, kind, NOW);
        assert!(
            !appraised.verdict.is_proven() && appraised.answer.lease.is_none(),
            "{kind}"
        );
        assert_eq!(
            world.authority.health(&robot.id, NOW).unwrap().state,
            HealthState::Fresh
        );
        assert!(
            world
                .authority
                .standing(&robot.id)
                .unwrap()
                .trusted_at_ms
                .is_some()
        );
    }
}

/// The robot answers what it likes: it is held to what was asked.
#[test]
fn evidence_of_another_kind_than_was_asked_for_is_refused() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::new();
    world.enrol(&robot);
    for (asked, answered) in [
        (AttestationKind::Operational, AttestationKind::Platform),
        (AttestationKind::Operational, AttestationKind::Emergency),
        (AttestationKind::Emergency, AttestationKind::Operational),
        (AttestationKind::Sensor, AttestationKind::Operational),
    ] {
        let mut request = world.authority.challenge_for(&robot.id, asked, NOW).unwrap();
        request.kind = answered;
        let appraised = world.authority.appraise(&robot.evidence(&request), NOW).unwrap();
        assert!(
            untrusted(&appraised).contains(&Reason::Kind),
            "{asked} {answered}"
        );
        assert_eq!(appraised.answer.lease, None);
        assert!(!appraised.verdict.is_proven());
    }
}

#[test]
fn on_a_mission_result_and_lease_end_with_it() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    robot.counters.insert(NvIndex::RobotEpoch.handle(), 7);
    let proposal = propose(&mut world, &robot, Level::Cui, HOUR).unwrap();
    let votes = [world.alice.vote(proposal.ballot())];
    let approval = approve(&mut world, proposal, &votes).unwrap();
    (robot.token, robot.mission_level, robot.missions) = (approval.token, Level::Cui, vec![MISSION]);
    let kind = AttestationKind::Mission(MISSION);
    let appraised = judged(&mut world, &mut robot, kind, NOW);
    assert!(
        appraised.verdict.grants_lease(),
        "{:?}",
        appraised.verdict.findings()
    );

    // A minute before its end.
    let late = NOW + HOUR - 5000;
    let appraised = judged(&mut world, &mut robot, kind, late);
    let (ear, _, named) = result(&world, &appraised, late);
    assert_eq!((ear.exp, named), ((NOW + HOUR) / 1000, Some(kind)));
    let lease = appraised.answer.lease.unwrap();
    let (key, profiles) = (world.authority.verifying_key(), world.authority.profiles());
    let lease = VerifiedLease::verify(&lease, &key, &robot.id, robot.boot(), &profiles).unwrap();
    assert_eq!(lease.lease().not_after_ms, NOW + HOUR);
    let over = judged(&mut world, &mut robot, kind, NOW + HOUR);
    assert_eq!(untrusted(&over), [Reason::MissionWindow]);
    assert_eq!(over.answer.lease, None);

    robot.counters.insert(NvIndex::RobotEpoch.handle(), 8);
    let stopped = judged(&mut world, &mut robot, kind, late + 1);
    assert_eq!(untrusted(&stopped), [Reason::MissionOver]);
}

#[test]
fn a_mission_that_this_authority_did_not_approve_for_this_robot_is_never_proven() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    let (mission, level) = approved_mission(&mut world, &robot, Level::Cui);
    let token = world.authority.mission(&mission).unwrap().unwrap();
    (robot.mission_level, robot.missions) = (level, vec![mission, MissionId::new([9; 16])]);
    robot.token = b"no token".to_vec();
    let kind = AttestationKind::Mission(mission);
    assert!(untrusted(&judged(&mut world, &mut robot, kind, NOW)).contains(&Reason::MissionUnknown));
    robot.token.clone_from(&token);
    assert!(judged(&mut world, &mut robot, kind, NOW).verdict.is_proven());
    let other = AttestationKind::Mission(MissionId::new([9; 16]));
    assert_eq!(
        untrusted(&judged(&mut world, &mut robot, other, NOW)),
        [Reason::MissionUnknown],
        "the token is of another mission"
    );
    let mut another = Robot::new("rover-2");
    world.enrol(&another);
    (another.token, another.mission_level, another.missions) = (token, level, vec![mission]);
    assert_eq!(
        untrusted(&judged(&mut world, &mut another, kind, NOW)),
        [Reason::MissionUnknown],
        "it is another robot's"
    );
}

#[test]
fn a_stop_is_proven_gives_no_lease_and_counts_as_no_failure_of_the_proof() {
    let (mut world, mut robot) = stopped_world();
    let appraised = judged(&mut world, &mut robot, AttestationKind::Emergency, NOW);
    assert!(
        appraised.verdict.is_proven(),
        "{:?}",
        appraised.verdict.findings()
    );
    assert_eq!(untrusted(&appraised), [Reason::Stopped, Reason::StopInForce]);
    assert_eq!(appraised.answer.lease, None);
    assert_eq!(appraised.verdict.attested().unwrap().epoch, Some(8));
    let (_, status, _) = result(&world, &appraised, NOW);
    assert_eq!(
        status,
        Status::Contraindicated,
        "nobody may rely on a stopped robot"
    );
    rearm(&mut world, &robot).unwrap();
    // Approved at this epoch: it proves no stop any more, not even to who says that it is stopped.
    let appraised = judged(&mut world, &mut robot, AttestationKind::Emergency, NOW);
    assert!(!appraised.verdict.is_proven());
    assert!(untrusted(&appraised).contains(&Reason::NotStopped));
    robot.stops.push(StopId::new([6; 16]));
    robot.counters.insert(NvIndex::RobotEpoch.handle(), 9);
    let appraised = judged(&mut world, &mut robot, AttestationKind::Emergency, NOW);
    assert!(appraised.verdict.is_proven(), "the next stop is");
}

/// What the authority forgets between its question and the answer makes nobody fail; what was withheld does.
#[test]
fn registers_that_were_forgotten_are_asked_for_again() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::new();
    world.enrol(&robot);
    let withheld = |world: &mut World, robot: &mut Robot| {
        let mut request = world.authority.challenge(&robot.id, NOW).unwrap();
        let known = request.registers.is_some();
        if !known {
            // The robot leaves out what it was not told that it may.
            let mut pretended = request.clone();
            pretended.registers = None;
            let evidence = robot.evidence(&pretended);
            let mut message = EvidenceMessage::from_canonical(&evidence).unwrap();
            let mut evidence =
                alcub3_attestation::evidence::Evidence::from_canonical(&message.evidence).unwrap();
            evidence.registers.clear();
            message.evidence = evidence.to_canonical();
            request.registers = None;
            return world.authority.appraise(&message.to_canonical(), NOW);
        }
        let evidence = robot.evidence(&request);
        let log = EventLog::parse(&robot.uefi_log).unwrap();
        let references = ReferenceValues::golden(&log, BANK).unwrap();
        world
            .authority
            .set_reference(&robot.id, &references, NOW)
            .unwrap();
        world.authority.appraise(&evidence, NOW)
    };
    let appraised = withheld(&mut world, &mut robot).unwrap();
    assert_eq!(untrusted(&appraised), [Reason::RegisterMissing; 4]);
    assert!(
        judged(&mut world, &mut robot, AttestationKind::Operational, NOW)
            .verdict
            .is_trusted()
    );
    let forgotten = withheld(&mut world, &mut robot);
    assert!(matches!(forgotten, Err(AttestationError::PlatformForgotten)));
    assert!(
        judged(&mut world, &mut robot, AttestationKind::Operational, NOW)
            .verdict
            .is_trusted()
    );
}
