//! The five kinds of attestation: each must hold what it is to prove, and none counts for another.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod software_robot;

use alcub3_attestation::appraisal::{
    Asked, LastSeen, MissionScope, PlatformRecord, Reason, Verdict, appraise,
};
use alcub3_attestation::ear::{Context, Ear, VerifierId};
use alcub3_attestation::evidence::Evidence;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::nv_map::{MissionAnchor, NvIndex, Register};
use alcub3_trust_model::{AttestationKind, Level, MissionId, OperationalMode, StopId};
use software_robot::{BANK, MISSION_COUNTERS, NONCE, NOW_MS, Robot, Verifier};

const MISSION: MissionId = MissionId::new([7; 16]);

fn of_kind(kind: AttestationKind) -> Robot {
    let mut robot = Robot::new();
    robot.state.kind = kind;
    robot
}

fn judged(robot: &Robot, asked: Asked<'static>) -> Verdict {
    let mut verifier = Verifier::of(robot);
    verifier.asked = asked;
    appraise(&robot.evidence(), &verifier.policy(), NOW_MS)
}

/// The verdict on evidence that was changed after it was signed.
fn judged_changed(robot: &Robot, asked: Asked<'static>, change: impl FnOnce(&mut Evidence<'_>)) -> Verdict {
    let bytes = robot.evidence();
    let mut evidence = Evidence::from_canonical(&bytes).unwrap();
    change(&mut evidence);
    let mut verifier = Verifier::of(robot);
    verifier.asked = asked;
    appraise(&evidence.to_canonical(), &verifier.policy(), NOW_MS)
}

fn found(verdict: &Verdict) -> Vec<Reason> {
    verdict.findings().iter().map(|finding| finding.reason).collect()
}

#[test]
fn each_kind_proves_what_it_was_asked_for_and_nothing_else() {
    let asked = [Asked::Platform, Asked::Sensor, Asked::Operational];
    for (of, asked_for) in asked.iter().enumerate() {
        let robot = of_kind(asked_for.kind());
        let verdict = judged(&robot, *asked_for);
        assert!(
            verdict.is_trusted() && verdict.is_proven(),
            "{:?}",
            verdict.findings()
        );
        assert_eq!(found(&verdict), []);
        assert_eq!(verdict.kind(), asked_for.kind());
        let may_be_commanded = asked_for.kind() == AttestationKind::Operational;
        assert_eq!(verdict.grants_lease(), may_be_commanded);
        for (other, asked_other) in asked.iter().enumerate().filter(|(other, _)| *other != of) {
            let verdict = judged(&robot, *asked_other);
            assert!(
                verdict.has(Reason::Kind) && !verdict.is_proven(),
                "{of} for {other}"
            );
        }
        let verdict = judged(&robot, Asked::UnapprovedMission(MISSION));
        assert!(verdict.has(Reason::Kind) && verdict.has(Reason::MissionUnknown));
        let verdict = judged(&robot, Asked::Emergency { approved_epoch: 0 });
        assert!(verdict.has(Reason::Kind) && verdict.has(Reason::NotStopped) && !verdict.is_proven());
    }
}

#[test]
fn registers_are_certified_with_the_quote_and_hold_what_the_state_says() {
    let robot = Robot::new();
    let asked = Asked::Operational;
    for at in 0..Register::ALL.len() {
        let left_out = judged_changed(&robot, asked, |evidence| {
            evidence.registers.remove(at);
        });
        assert_eq!(found(&left_out), [Reason::RegisterMissing], "{at}");
        let other = judged_changed(&robot, asked, |evidence| {
            evidence.registers[at].certified = evidence.registers[(at + 1) % 4].certified.clone();
        });
        assert!(found(&other).contains(&Reason::Register), "{at}");
        let unexplained = judged_changed(&robot, asked, |evidence| {
            evidence.registers[at]
                .measured
                .insert(0, BANK.digest(&[b"hidden"]));
        });
        assert!(found(&unexplained).contains(&Reason::RegisterMismatch), "{at}");
    }
    let mut lying = Robot::new();
    lying
        .measured_before
        .insert(Register::SensorCalibration, vec![BANK.digest(&[b"before"])]);
    let verdict = judged_changed(&lying, asked, |evidence| {
        let shown = &mut evidence.registers[1];
        shown.base = shown.register.replay(Digest::zero(BANK), &shown.measured[..1]);
        shown.measured.remove(0);
    });
    assert_eq!(found(&verdict), [Reason::RegisterHistory]);
    assert!(
        verdict.is_trusted(),
        "what was measured last is proven all the same"
    );
}

/// Requests and answers overtake each other: an answer to a request of before begins further back than what is known by then.
#[test]
fn what_is_shown_from_further_back_is_explained_where_it_passes_what_is_known() {
    let mut robot = Robot::new();
    let mut verifier = Verifier::of(&robot);
    let first = appraise(&robot.evidence(), &verifier.policy(), NOW_MS);
    let asked_before = first.registers().map(|known| known.positions());
    let register = Register::OperationalMode;
    let moved = |robot: &mut Robot, mode| {
        let measured = robot.measured_into(register);
        robot.measured_before.insert(register, measured);
        robot.state.mode = mode;
        robot.sequence += 1;
    };
    moved(&mut robot, OperationalMode::Mission);
    let second = appraise(&robot.evidence(), &verifier.policy(), NOW_MS);
    let record = PlatformRecord::default().after(&first).after(&second);
    verifier.registers = record.registers;
    verifier.last_seen = LastSeen::after(None, &second);
    // Asked when the first was known, quoted after the second was.
    robot.known = asked_before;
    robot.sequence += 1;
    let late_request = appraise(&robot.evidence(), &verifier.policy(), NOW_MS);
    assert_eq!(found(&late_request), []);
    moved(&mut robot, OperationalMode::Idle);
    let further = appraise(&robot.evidence(), &verifier.policy(), NOW_MS);
    assert_eq!(found(&further), []);
}

/// A register only grows: from its beginning it is led through all that it was certified to hold.
#[test]
fn a_register_that_is_shown_from_its_beginning_without_what_it_held_is_refused() {
    let mut robot = Robot::new();
    let register = Register::SensorCalibration;
    robot
        .measured_before
        .insert(register, vec![BANK.digest(&[b"before"])]);
    let mut verifier = Verifier::of(&robot);
    let first = appraise(&robot.evidence(), &verifier.policy(), NOW_MS);
    verifier.registers = PlatformRecord::default().after(&first).registers;
    verifier.last_seen = LastSeen::after(None, &first);
    robot
        .measured_before
        .insert(register, vec![BANK.digest(&[b"another beginning"])]);
    robot.sequence += 1;
    let contradicts = appraise(&robot.evidence(), &verifier.policy(), NOW_MS);
    assert_eq!(found(&contradicts), [Reason::RegisterMismatch]);
    assert!(!contradicts.is_trusted());
    // What newer evidence overtook is refused for its number, and says nothing of the register.
    robot.sequence = first.attested().unwrap().sequence;
    let late = appraise(&robot.evidence(), &verifier.policy(), NOW_MS);
    assert_eq!(found(&late), [Reason::Sequence]);
}

/// Another certification than of this quote: of another nonce, of another boot, by another key, of another definition.
#[test]
fn a_certification_counts_for_its_quote_only() {
    let robot = Robot::new();
    let verdict_with = |other: &Robot, data: Option<&[u8]>| {
        let bytes = robot.evidence();
        let quote = Evidence::from_canonical(&bytes).unwrap().quote.to_vec();
        let quote = alcub3_attestation::attest::Attest::parse(&quote).unwrap();
        let theirs = other.registers(data.unwrap_or(quote.extra_data));
        judged_changed(&robot, Asked::Operational, |evidence| evidence.registers = theirs)
    };
    assert!(verdict_with(&robot, None).is_trusted());
    assert!(found(&verdict_with(&robot, Some(&[7; 32]))).contains(&Reason::Register));
    let mut rebooted = robot.clone();
    rebooted.clock.reset_count += 1;
    assert!(found(&verdict_with(&rebooted, None)).contains(&Reason::Register));
    let mut stranger = robot.clone();
    stranger.key = Robot::new().key;
    assert!(found(&verdict_with(&stranger, None)).contains(&Reason::Register));
    let undefined = judged_changed(&robot, Asked::Operational, |evidence| {
        let quote = alcub3_attestation::attest::Attest::parse(evidence.quote).unwrap();
        let value = Register::SubsystemFirmware.replay(Digest::zero(BANK), &evidence.registers[0].measured);
        let counter = NvIndex::RobotEpoch;
        evidence.registers[0].certified = robot.certify(counter, value.as_bytes(), quote.extra_data);
    });
    assert!(found(&undefined).contains(&Reason::Register));
}

/// While the registers stay as they are known, nothing of them is sent; one that changed is, and only what was added to it.
#[test]
fn known_registers_need_not_be_certified_again_in_their_boot() {
    let mut robot = Robot::new();
    let mut verifier = Verifier::of(&robot);
    let first = appraise(&robot.evidence(), &verifier.policy(), NOW_MS);
    let record = PlatformRecord::default().after(&first);
    let again = PlatformRecord::from_canonical(&record.to_canonical()).unwrap();
    assert_eq!(again, record, "and over the verifier's restart");
    verifier.registers = again.registers;
    robot.known = first.registers().map(|known| known.positions());
    robot.sequence += 1;
    assert!(
        Evidence::from_canonical(&robot.evidence())
            .unwrap()
            .registers
            .is_empty()
    );
    let second = appraise(&robot.evidence(), &verifier.policy(), NOW_MS);
    assert_eq!(found(&second), []);
    assert!(second.grants_lease());

    robot.measured_before.insert(
        Register::OperationalMode,
        robot.measured_into(Register::OperationalMode),
    );
    robot.state.mode = OperationalMode::Mission;
    let bytes = robot.evidence();
    let sent = Evidence::from_canonical(&bytes).unwrap();
    assert_eq!((sent.registers.len(), sent.registers[0].measured.len()), (1, 1));
    let third = appraise(&bytes, &verifier.policy(), NOW_MS);
    assert_eq!(found(&third), []);
    let silent = judged_with(&robot, &verifier, |evidence| evidence.registers.clear());
    assert_eq!(
        found(&silent),
        [Reason::RegisterMismatch],
        "it changed, and was not certified"
    );

    let mut rebooted = robot.clone();
    rebooted.clock.reset_count += 1;
    let verdict = appraise(&rebooted.evidence(), &verifier.policy(), NOW_MS);
    assert!(
        found(&verdict).contains(&Reason::RegisterMissing),
        "what was known is of another boot"
    );

    for (kind, asked) in [
        (AttestationKind::Platform, Asked::Platform),
        (AttestationKind::Sensor, Asked::Sensor),
    ] {
        robot.state.kind = kind;
        verifier.asked = asked;
        assert_eq!(
            found(&appraise(&robot.evidence(), &verifier.policy(), NOW_MS)),
            []
        );
        let known = judged_with(&robot, &verifier, |evidence| evidence.registers.clear());
        assert!(
            found(&known).contains(&Reason::RegisterMissing),
            "{kind} certifies them anew"
        );
    }
}

fn judged_with(robot: &Robot, verifier: &Verifier, change: impl FnOnce(&mut Evidence<'_>)) -> Verdict {
    let bytes = robot.evidence();
    let mut evidence = Evidence::from_canonical(&bytes).unwrap();
    change(&mut evidence);
    appraise(&evidence.to_canonical(), &verifier.policy(), NOW_MS)
}

#[test]
fn sensors_are_proven_only_where_there_are_any() {
    let mut robot = of_kind(AttestationKind::Sensor);
    robot.state.calibration.clear();
    assert_eq!(found(&judged(&robot, Asked::Sensor)), [Reason::ContentMissing]);
}

fn on_mission() -> (Robot, MissionScope) {
    let mut robot = of_kind(AttestationKind::Mission(MISSION));
    robot.token = b"a token".to_vec();
    robot.state.missions = vec![MISSION];
    robot.counters = MISSION_COUNTERS.into_iter().zip([5, 6, 7]).collect();
    let scope = MissionScope {
        mission: MISSION,
        token: HashAlg::Sha256.digest(&[b"a token"]),
        level: Level::Unclassified,
        not_before_ms: NOW_MS,
        not_after_ms: NOW_MS + 10_000,
        end_clock_ms: robot.clock.clock_ms + 1,
        anchor: MissionAnchor::new(0).unwrap(),
        anchor_value: 7,
        robot_epoch: 5,
        level_epoch: 6,
        max_reset_count: robot.clock.reset_count,
    };
    (robot, scope)
}

#[test]
fn a_mission_is_proven_while_its_keys_would_work() {
    let (robot, genuine) = on_mission();
    let with = |change: fn(&mut MissionScope), robot: &Robot| {
        let mut scope = genuine.clone();
        change(&mut scope);
        let verifier = Verifier::of(robot);
        let mut policy = verifier.policy();
        policy.asked = Asked::Mission(&scope);
        appraise(&robot.evidence(), &policy, NOW_MS)
    };
    let verdict = with(|_| (), &robot);
    assert_eq!(found(&verdict), []);
    assert!(verdict.grants_lease());
    assert_eq!(verdict.attested().unwrap().epoch, Some(5));
    assert_eq!(verdict.ends_by_ms(), Some(NOW_MS + 10_000));
    let result = Ear::of(&verdict, &context(&robot, 3600));
    assert_eq!(
        result.exp,
        (NOW_MS + 10_000) / 1000,
        "a result ends with the mission"
    );
    assert_eq!(Ear::of(&verdict, &context(&robot, 5)).exp, NOW_MS / 1000 + 5);

    let over: [fn(&mut MissionScope); 5] = [
        |scope| scope.anchor_value = 6,
        |scope| scope.robot_epoch = 4,
        |scope| scope.level_epoch = 5,
        |scope| scope.end_clock_ms -= 1,
        |scope| scope.max_reset_count -= 1,
    ];
    for change in over {
        assert_eq!(found(&with(change, &robot)), [Reason::MissionOver]);
    }
    let window: [fn(&mut MissionScope); 2] = [
        |scope| scope.not_before_ms = NOW_MS + 1,
        |scope| scope.not_after_ms = NOW_MS,
    ];
    for change in window {
        assert_eq!(found(&with(change, &robot)), [Reason::MissionWindow]);
    }
    let other: fn(&mut MissionScope) = |scope| scope.token = HashAlg::Sha256.digest(&[b"another"]);
    assert_eq!(found(&with(other, &robot)), [Reason::MissionUnknown]);
    let mut elsewhere = robot.clone();
    elsewhere.state.missions.clear();
    assert_eq!(found(&with(|_| (), &elsewhere)), [Reason::MissionOver]);
    let anchor: fn(&mut MissionScope) = |scope| scope.anchor = MissionAnchor::new(1).unwrap();
    assert_eq!(found(&with(anchor, &robot)), [Reason::Register]);
    let without = judged_changed(&robot, Asked::Operational, |evidence| {
        evidence.mission_proof = None;
    });
    assert_eq!(found(&without), [Reason::Kind]);
}

fn context(robot: &Robot, lifetime_s: u64) -> Context<'_> {
    Context {
        robot: &robot.id,
        nonce: &NONCE,
        verifier: VerifierId {
            developer: "alcub3".to_owned(),
            build: "0".to_owned(),
        },
        policy: "urn:alcub3:policy:test".to_owned(),
        lifetime_s,
    }
}

/// A stop that is proven makes nobody trusted: what is shown is that the robot is stopped.
#[test]
fn a_stop_is_proven_and_never_trusted() {
    let mut robot = of_kind(AttestationKind::Emergency);
    robot.agent = vec![robot.stop_event(7)];
    robot.state.stopped = true;
    robot.state.mode = OperationalMode::Stopped;
    robot.counters.insert(NvIndex::RobotEpoch, 9);
    let asked = |approved_epoch| Asked::Emergency { approved_epoch };
    let verdict = judged(&robot, asked(8));
    assert_eq!(found(&verdict), [Reason::Stopped, Reason::StopInForce]);
    assert!(verdict.is_proven() && !verdict.is_trusted() && !verdict.grants_lease());
    assert_eq!(verdict.attested().unwrap().epoch, Some(9));

    let mut not_moved = judged(&robot, asked(9));
    assert!(not_moved.has(Reason::NotStopped) && !not_moved.is_proven());
    not_moved = judged_changed(&robot, asked(8), |evidence| evidence.epoch = None);
    assert!(not_moved.has(Reason::ContentMissing) && !not_moved.is_proven());
    let mut verifier = Verifier::of(&robot);
    verifier.asked = asked(8);
    verifier.rearmed = vec![StopId::new([7; 16])];
    let rearmed = appraise(&robot.evidence(), &verifier.policy(), NOW_MS);
    assert!(
        !rearmed.is_proven() && !rearmed.is_trusted(),
        "no stop is in force that was rearmed"
    );

    let mut working = robot.clone();
    working.state.stopped = false;
    let verdict = judged(&working, asked(8));
    assert!(verdict.has(Reason::NotStopped) && !verdict.is_proven());
    let mut running = of_kind(AttestationKind::Emergency);
    running.counters.insert(NvIndex::RobotEpoch, 9);
    running.state.stopped = true;
    let verdict = judged(&running, asked(8));
    assert!(
        !verdict.is_proven() && !verdict.is_trusted(),
        "no stop is in its log"
    );
}

#[test]
fn content_of_another_kind_is_refused() {
    let (robot, _) = on_mission();
    let (of_a_mission, working) = (robot.evidence(), Robot::new());
    let proof = Evidence::from_canonical(&of_a_mission)
        .unwrap()
        .mission_proof
        .unwrap();
    let bytes = working.evidence();
    let mut evidence = Evidence::from_canonical(&bytes).unwrap();
    evidence.epoch = Some(proof.anchor.clone());
    evidence.mission_proof = Some(proof);
    let verdict = appraise(&evidence.to_canonical(), &Verifier::of(&working).policy(), NOW_MS);
    assert_eq!(
        found(&verdict),
        [Reason::ContentUnexpected, Reason::ContentUnexpected]
    );
}
