//! A fleet of every kind of root of trust, judged by one rule: what each robot is found to be, and how none passes for another.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_attestation::appraisal::{Reason, ReferenceValues};
use alcub3_attestation::ear::{Ear, Status, Submodule};
use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::evidence::Nonce;
use alcub3_attestation::health::HealthState;
use alcub3_audit_log::{Entry, EntryKind, Outcome, Piece, pieces};
use alcub3_command_authority::VerifiedLease;
use alcub3_crypto::{Curve, HashAlg, SigningKey};
use alcub3_fleet_protocol::attestation::EvidenceMessage;
use alcub3_fleet_protocol::platform::{PlatformError, RootEvidence, RootOfTrust};
use alcub3_server::{
    AppraisedPlatform, AttestationError, Authority, AuthorityConfig, EnrolmentError, ExchangeError,
    PRODUCTION_ROOTS, PlatformRefusal, Refusal,
};
use alcub3_trust_model::HardwareTier::{self, Discrete, Firmware, Simulator};
use alcub3_trust_model::{BelowFloor, BootId, FleetId, Level, LevelProfiles, RobotId};
use support::devices::{DiceDevice, PsaDevice, answer, claiming, discrete, state, unrooted};
use support::robot::Robot;
use support::{NOW, World};

/// The five robots: a Spot, a ROS 2 robot, a PX4 vehicle, a DJI drone, and one of our own making.
struct Fleet {
    world: World,
    spot: Robot,
    ros2: DiceDevice,
    px4: PsaDevice,
    dji: RobotId,
    custom: Robot,
}

/// What a robot was found to be: status, tier, the level of its lease, why.
type Found = (Status, Option<HardwareTier>, Option<Level>, Vec<String>);

impl Fleet {
    fn new() -> Self {
        let mut world = World::new();
        let (spot, custom) = (discrete("spot-1"), Robot::new("custom-1"));
        std::fs::write(world.state().join(PRODUCTION_ROOTS).join("maker.der"), &spot.root).unwrap();
        enrol_tpm(&mut world, &spot);
        world.enrol(&custom);
        let (ros2, px4, dji) = (
            DiceDevice::new("ros2-1"),
            PsaDevice::new("px4-1"),
            unrooted("dji-1"),
        );
        let robot = dji.robot.clone();
        for plan in [ros2.plan(), px4.plan(), dji] {
            world.authority.enrol_platform(plan, NOW).unwrap();
        }
        Self {
            world,
            spot,
            ros2,
            px4,
            dji: robot,
            custom,
        }
    }

    /// What each is found to be now, in the order of the fields.
    fn judge_all(&mut self) -> [Found; 5] {
        let authority = &mut self.world.authority;
        let request = authority.challenge(&self.spot.id, NOW).unwrap();
        let spot = claiming(&self.spot.evidence(&request), Discrete);
        let request = authority.challenge(&self.custom.id, NOW).unwrap();
        let custom = self.custom.evidence(&request);
        let request = authority.challenge_platform(&self.ros2.id, NOW).unwrap();
        let ros2 = self.ros2.answer(&request);
        let request = authority.challenge_platform(&self.px4.id, NOW).unwrap();
        let px4 = self.px4.answer(&request);
        let request = authority.challenge_platform(&self.dji, NOW).unwrap();
        let dji = answer(request.session, &self.dji, RootEvidence::None);
        [
            found_by_tpm(authority, &spot),
            found(authority, &ros2),
            found(authority, &px4),
            found(authority, &dji),
            found_by_tpm(authority, &custom),
        ]
    }

    fn judge(&mut self, message: &[u8]) -> Result<AppraisedPlatform, PlatformRefusal> {
        self.world.authority.appraise_platform(message, NOW)
    }

    /// The refusal's word.
    fn refusal(&mut self, message: &[u8]) -> &'static str {
        self.judge(message).unwrap_err().code()
    }

    /// The reasons for which a robot is untrusted; it gets a result that says so, and no lease.
    fn untrusted(&mut self, message: &[u8]) -> Vec<String> {
        let judged = self.judge(message).unwrap();
        assert!(judged.answer.lease.is_none() && judged.level.is_none());
        let result = result(&self.world.authority, &judged.robot, &judged.ear);
        assert_eq!(result.status, Status::Contraindicated);
        result.reasons
    }

    fn health(&self, robot: &RobotId) -> HealthState {
        self.world.authority.health(robot, NOW).unwrap().state
    }
}

fn enrol_tpm(world: &mut World, robot: &Robot) {
    let message = robot.begin();
    let challenge = world.authority.begin_enrolment(&message, NOW).unwrap();
    let response = robot.answer(&message, &challenge, &world.authority.verifying_key());
    world
        .authority
        .finish_enrolment(&response, &mut world.vault, NOW)
        .unwrap();
    let log = EventLog::parse(&robot.uefi_log).unwrap();
    let references = ReferenceValues::golden(&log, support::robot::BANK).unwrap();
    world
        .authority
        .set_reference(&robot.id, &references, NOW)
        .unwrap();
}

fn result(authority: &Authority, robot: &RobotId, ear: &str) -> Submodule {
    let ear = Ear::verify(ear, &authority.verifying_key(), NOW / 1000).unwrap();
    ear.submods[robot.as_str()].clone()
}

fn row(authority: &Authority, robot: &RobotId, ear: &str, lease: Option<Vec<u8>>) -> Found {
    let result = result(authority, robot, ear);
    let level = lease.map(|lease| {
        let (key, boot) = (authority.verifying_key(), BootId::new([1; 16]));
        let lease = VerifiedLease::verify(&lease, &key, robot, boot, &authority.profiles()).unwrap();
        lease.lease().ceiling
    });
    (result.status, result.tier, level, result.reasons)
}

fn found(authority: &mut Authority, message: &[u8]) -> Found {
    let judged = authority.appraise_platform(message, NOW).unwrap();
    let row = row(authority, &judged.robot, &judged.ear, judged.answer.lease);
    assert_eq!(judged.level, row.2);
    row
}

fn found_by_tpm(authority: &mut Authority, message: &[u8]) -> Found {
    match authority.appraise(message, NOW) {
        Ok(judged) => row(authority, &judged.robot, &judged.ear, judged.answer.lease),
        Err(error) => panic!("{error}"),
    }
}

fn because(reasons: &[&str]) -> Vec<String> {
    reasons.iter().map(ToString::to_string).collect()
}

fn entries(world: &World) -> Vec<Entry> {
    let content = std::fs::read(Authority::audit_file(&world.state())).unwrap();
    pieces(&content)
        .map(|piece| match piece {
            Piece::Entry { entry, .. } => *entry,
            Piece::Damaged(bytes) => panic!("{bytes:?}"),
        })
        .collect()
}

#[test]
fn five_robots_of_five_kinds_are_judged_by_one_rule() {
    let mut fleet = Fleet::new();
    let dji: Found = (
        Status::Contraindicated,
        Some(HardwareTier::None),
        None,
        because(&["no-root-of-trust", "hardware-tier"]),
    );
    let custom: Found = (
        Status::Warning,
        Some(Simulator),
        Some(Level::TopSecret),
        because(&["simulator"]),
    );
    let spot: Found = (Status::Affirming, Some(Discrete), Some(Level::TopSecret), vec![]);
    let in_processor: Found = (Status::Affirming, Some(Firmware), Some(Level::Cui), vec![]);
    let expected = [
        spot.clone(),
        in_processor.clone(),
        in_processor,
        dji.clone(),
        custom.clone(),
    ];
    assert_eq!(fleet.judge_all(), expected);
    for robot in [&fleet.spot.id, &fleet.ros2.id, &fleet.px4.id, &fleet.custom.id] {
        assert_eq!(fleet.health(robot), HealthState::Fresh, "{robot}");
    }
    assert_eq!(fleet.health(&fleet.dji), HealthState::Failing);
    // Over a restart too.
    fleet.world = fleet.world.restarted();
    assert_eq!(fleet.judge_all(), expected);
    // One policy for all: from now on only a chip of its own is enough.
    let mut rows = *LevelProfiles::builtin().rows();
    for row in &mut rows {
        row.min_tier = Discrete;
    }
    let stricter = LevelProfiles::tightened(rows).unwrap();
    fleet.world.authority.issue_level_policy(stricter, NOW).unwrap();
    let below: Found = (
        Status::Contraindicated,
        Some(Firmware),
        None,
        because(&["hardware-tier"]),
    );
    assert_eq!(fleet.judge_all(), [spot, below.clone(), below, dji, custom]);
    assert_eq!(fleet.health(&fleet.ros2.id), HealthState::Failing);
}

#[test]
fn an_authority_of_real_hardware_admits_no_simulated_root_of_whatever_kind() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = AuthorityConfig::production(dir.path().join("seal.key"), FleetId::new("test").unwrap());
    config.ceiling = Level::Unclassified;
    let mut authority = Authority::create(&dir.path().join("state"), config).unwrap();
    for mut plan in [DiceDevice::new("ros2-1").plan(), PsaDevice::new("px4-1").plan()] {
        plan.tier = Simulator;
        let refused = authority.enrol_platform(plan, NOW).unwrap_err();
        let PlatformRefusal::BelowFloor(BelowFloor::Tier { found, .. }) = refused else {
            panic!("{refused}");
        };
        assert_eq!(found, Simulator);
    }
    assert!(authority.platforms().unwrap().is_empty());
    // Nor is any robot admitted above what the authority itself is for.
    let plan = DiceDevice::new("ros2-1").plan();
    let platform = authority.enrol_platform(plan, NOW).unwrap();
    assert_eq!(platform.record().ceiling(), Level::Unclassified);
}

#[test]
fn the_weakest_key_of_a_chain_bounds_the_level_whatever_the_tier() {
    let mut fleet = Fleet::new();
    // A chip of its own: the tier would admit every level, the keys of the chain are on P-256.
    let mut plan = fleet.ros2.plan();
    plan.tier = Discrete;
    fleet.world.authority.enrol_platform(plan, NOW).unwrap();
    let mut plan = fleet.px4.plan();
    plan.tier = Discrete;
    fleet.world.authority.enrol_platform(plan, NOW).unwrap();
    let [_, ros2, px4, ..] = fleet.judge_all();
    assert_eq!((ros2.1, ros2.2), (Some(Discrete), Some(Level::Cui)));
    assert_eq!((px4.1, px4.2), (Some(Discrete), Some(Level::TopSecret)));
    // The operator's ceiling holds as well.
    let mut plan = fleet.px4.plan();
    (plan.tier, plan.ceiling) = (Discrete, Level::Unclassified);
    fleet.world.authority.enrol_platform(plan, NOW).unwrap();
    assert_eq!(fleet.judge_all()[2].2, Some(Level::Unclassified));
}

#[test]
fn evidence_of_one_robot_is_no_evidence_of_another() {
    let mut fleet = Fleet::new();
    let (px4_2, mut ros2_2) = (PsaDevice::new("px4-2"), DiceDevice::new("ros2-2"));
    let mut other = ros2_2.plan();
    if let RootOfTrust::Dice(root) = &mut other.root {
        root.device_key = SigningKey::generate(Curve::P256).unwrap().verifying_key();
    }
    fleet.world.authority.enrol_platform(px4_2.plan(), NOW).unwrap();
    fleet.world.authority.enrol_platform(other, NOW).unwrap();
    // The token of one vehicle under the name of another, and in its own name in the other's exchange.
    let request = fleet.world.ask(&px4_2.id);
    let sent = answer(request.session, &px4_2.id, fleet.px4.evidence(&request.nonce));
    assert_eq!(fleet.untrusted(&sent), ["psa-signature"]);
    let request = fleet.world.ask(&px4_2.id);
    let sent = fleet.px4.answer(&request);
    assert_eq!(fleet.refusal(&sent), "exchange");
    // Another device of the same maker, with the same firmware.
    let request = fleet.world.ask(&ros2_2.id);
    let sent = ros2_2.answer(&request);
    assert_eq!(fleet.untrusted(&sent), ["dice-device"]);
    // The right device, and a statement for another robot.
    let request = fleet.world.ask(&fleet.ros2.id);
    let sent = answer(request.session, &fleet.ros2.id, ros2_2.evidence(request.nonce));
    assert_eq!(fleet.untrusted(&sent), ["robot"]);
    // A TPM's evidence under another TPM robot's name.
    let request = fleet.world.authority.challenge(&fleet.spot.id, NOW).unwrap();
    let mut sent = EvidenceMessage::from_canonical(&fleet.custom.evidence(&request)).unwrap();
    sent.robot = fleet.spot.id.clone();
    let judged = fleet.world.authority.appraise(&sent.to_canonical(), NOW).unwrap();
    assert!(judged.verdict.has(Reason::Signature) && judged.answer.lease.is_none());
    // None of it touched how it stands with the robots whose names were used.
    for robot in [&px4_2.id, &ros2_2.id, &fleet.ros2.id, &fleet.spot.id] {
        assert_eq!(fleet.health(robot), HealthState::Unknown, "{robot}");
    }
}

#[test]
fn evidence_counts_once_and_for_its_nonce_only() {
    let mut fleet = Fleet::new();
    let request = fleet.world.ask(&fleet.ros2.id);
    let ros2 = fleet.ros2.evidence(request.nonce);
    let sent = answer(request.session, &fleet.ros2.id, ros2.clone());
    assert!(fleet.judge(&sent).unwrap().answer.lease.is_some());
    assert_eq!(fleet.refusal(&sent), "exchange");
    let request = fleet.world.ask(&fleet.ros2.id);
    let sent = answer(request.session, &fleet.ros2.id, ros2);
    assert_eq!(fleet.untrusted(&sent), ["binding"]);
    // A nonce is used up by whatever is sent first.
    let genuine = fleet.ros2.answer(&request);
    assert_eq!(fleet.refusal(&genuine), "exchange");
    let request = fleet.world.ask(&fleet.px4.id);
    let px4 = fleet.px4.evidence(&request.nonce);
    let sent = answer(request.session, &fleet.px4.id, px4.clone());
    assert!(fleet.judge(&sent).unwrap().answer.lease.is_some());
    let request = fleet.world.ask(&fleet.px4.id);
    let sent = answer(request.session, &fleet.px4.id, px4);
    assert_eq!(fleet.untrusted(&sent), ["psa-challenge"]);
    // A sequence number that is not higher, over a nonce that is new.
    fleet.ros2.sequence = 0;
    let request = fleet.world.ask(&fleet.ros2.id);
    let sent = fleet.ros2.answer(&request);
    assert_eq!(fleet.untrusted(&sent), ["sequence"]);
    // Late.
    let request = fleet.world.ask(&fleet.px4.id);
    let late = NOW + alcub3_server::EXCHANGE_MS + 1;
    let refused = fleet
        .world
        .authority
        .appraise_platform(&fleet.px4.answer(&request), late);
    let Err(PlatformRefusal::Exchange(ExchangeError::Expired { .. })) = refused else {
        panic!("{refused:?}");
    };
}

#[test]
fn a_token_answers_the_challenge_in_each_of_its_sizes_and_nothing_else() {
    let mut fleet = Fleet::new();
    for alg in [HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512] {
        fleet.px4.alg = alg;
        let request = fleet.world.ask(&fleet.px4.id);
        let judged = fleet
            .world
            .authority
            .appraise_platform(&fleet.px4.answer(&request), NOW)
            .unwrap();
        assert!(judged.answer.lease.is_some(), "{alg}");
    }
    // The bare nonce, another nonce's challenge, and the challenge over another state.
    let state = state(&fleet.px4.id).to_canonical();
    let zeros = fleet.px4.challenge(&Nonce([0; 32]), &state);
    for wrong in 0..3 {
        let request = fleet.world.ask(&fleet.px4.id);
        let other = fleet.px4.challenge(&request.nonce, b"another state");
        let challenge = [request.nonce.0.as_slice(), zeros.as_bytes(), other.as_bytes()][wrong];
        let evidence = RootEvidence::Psa {
            token: fleet.px4.token(challenge),
            state: state.clone(),
        };
        let sent = answer(request.session, &fleet.px4.id, evidence);
        assert_eq!(fleet.untrusted(&sent), ["psa-challenge"], "{wrong}");
    }
}

#[test]
fn a_robot_is_judged_by_the_kind_that_was_enrolled_and_by_no_other() {
    let mut fleet = Fleet::new();
    let known = fleet.judge_all();
    let (ros2, px4) = (fleet.ros2.id.clone(), fleet.px4.id.clone());
    // A token where a chain was enrolled, and the other way round: the exchange is used up, and nothing was judged.
    for robot in [&ros2, &px4] {
        let request = fleet.world.ask(robot);
        let swapped = match *robot == ros2 {
            true => fleet.px4.evidence(&request.nonce),
            false => fleet.ros2.evidence(request.nonce),
        };
        let sent = answer(request.session, robot, swapped);
        assert_eq!(fleet.refusal(&sent), "other-root-of-trust");
        assert_eq!(fleet.refusal(&sent), "exchange");
        assert_eq!(fleet.health(robot), HealthState::Fresh);
    }
    // One that withholds its root of trust is told so; anybody could have sent that, so that its health stays.
    let request = fleet.world.ask(&ros2);
    let sent = answer(request.session, &ros2, RootEvidence::None);
    assert_eq!(
        fleet.untrusted(&sent),
        ["no-root-of-trust", "root-withheld", "hardware-tier"]
    );
    assert_eq!(fleet.health(&ros2), HealthState::Fresh);
    // One without a root of trust shows one.
    let request = fleet.world.ask(&fleet.dji);
    let sent = answer(request.session, &fleet.dji, fleet.px4.evidence(&request.nonce));
    assert_eq!(fleet.refusal(&sent), "other-root-of-trust");
    // A TPM robot is no platform, and a platform has no TPM; nor does the exchange of one count for the other.
    let spot = fleet.spot.id.clone();
    assert!(matches!(
        fleet.world.authority.challenge_platform(&spot, NOW),
        Err(PlatformRefusal::NoPlatform(_))
    ));
    assert!(matches!(
        fleet.world.authority.challenge(&ros2, NOW),
        Err(AttestationError::Robot(_))
    ));
    let request = fleet.world.authority.challenge(&spot, NOW).unwrap();
    let sent = answer(request.session, &spot, RootEvidence::None);
    assert_eq!(fleet.refusal(&sent), "exchange");
    assert_eq!(fleet.judge_all(), known);
}

#[test]
fn nobody_declares_a_tier_of_himself() {
    let mut fleet = Fleet::new();
    // There is no field for it in a message: one more is one too many.
    let request = fleet.world.ask(&fleet.px4.id);
    let mut sent = fleet.px4.answer(&request);
    // A map of nine pairs, with the domain and the version among them, gets a tenth: key 10, tier 4.
    assert_eq!(sent[0], 0xa9);
    sent[0] += 1;
    sent.extend([10, 4]);
    assert_eq!(fleet.refusal(&sent), "malformed-message");
    // Nor does a kind of root of trust have a tier that is none of its own.
    for (plan, tiers) in [
        (
            fleet.ros2.plan(),
            &[HardwareTier::None, HardwareTier::Virtual][..],
        ),
        (fleet.px4.plan(), &[HardwareTier::None, HardwareTier::Virtual][..]),
        (unrooted("dji-1"), &HardwareTier::ALL[1..]),
    ] {
        for tier in tiers {
            let mut plan = plan.clone();
            plan.tier = *tier;
            let refused = fleet.world.authority.enrol_platform(plan, NOW).unwrap_err();
            assert!(
                matches!(
                    refused,
                    PlatformRefusal::Record(PlatformError::Tier { .. }) | PlatformRefusal::BelowFloor(_)
                ),
                "{refused}"
            );
        }
    }
    // A TPM robot that says more of itself than was enrolled.
    let request = fleet.world.authority.challenge(&fleet.custom.id, NOW).unwrap();
    let sent = claiming(&fleet.custom.evidence(&request), Discrete);
    let judged = fleet.world.authority.appraise(&sent, NOW).unwrap();
    assert!(judged.verdict.has(Reason::TierClaim) && judged.answer.lease.is_none());
}

#[test]
fn what_is_signed_and_bad_is_noted_with_its_reason() {
    let mut fleet = Fleet::new();
    fleet.judge_all();
    fleet.px4.measured = [7; 32];
    let request = fleet.world.ask(&fleet.px4.id);
    let sent = fleet.px4.answer(&request);
    assert_eq!(
        fleet.untrusted(&sent),
        ["psa-component-measurement", "psa-component-missing"]
    );
    fleet.ros2.stopped = true;
    let request = fleet.world.ask(&fleet.ros2.id);
    let sent = fleet.ros2.answer(&request);
    assert_eq!(fleet.untrusted(&sent), ["stopped"]);
    for robot in [&fleet.px4.id, &fleet.ros2.id] {
        assert_eq!(fleet.health(robot), HealthState::Failing);
        let standing = fleet.world.authority.platform_standing(robot).unwrap();
        assert_eq!(standing.trusted_at_ms, None);
    }
    // The state that was signed is of another run than the message's lease is for.
    let request = fleet.world.ask(&fleet.px4.id);
    let mut sent = fleet.px4.answer(&request);
    let boot = sent.windows(16).position(|window| window == [1; 16]).unwrap();
    sent[boot] ^= 1;
    assert_eq!(fleet.refusal(&sent), "other-boot");
}

#[test]
fn a_name_stays_with_its_device_and_a_device_with_its_name() {
    let mut fleet = Fleet::new();
    let authority = &mut fleet.world.authority;
    let mut refusal = |plan| authority.enrol_platform(plan, NOW).unwrap_err().code();
    // Another device, another kind, or none at all, under a name that is given.
    let mut other = PsaDevice::new("px4-1").plan();
    assert_eq!(refusal(other.clone()), "name-taken");
    other.root = DiceDevice::new("px4-1").plan().root;
    assert_eq!(refusal(other), "name-taken");
    assert_eq!(refusal(unrooted("ros2-1")), "name-taken");
    assert_eq!(refusal(unrooted("spot-1")), "name-taken");
    // The same device under another name.
    let mut twice = fleet.px4.plan();
    twice.robot = RobotId::new("px4-9").unwrap();
    assert_eq!(refusal(twice), "device-elsewhere");
    // A TPM robot does not get a platform's name either.
    let taken = Robot::new("ros2-1");
    fleet.world.trust(&taken);
    let refused = fleet.world.authority.begin_enrolment(&taken.begin(), NOW);
    assert!(matches!(refused, Err(EnrolmentError::NameOfPlatform(_))));
    // Other references for the same device: what was seen of it stays, so that no old sequence number comes back.
    fleet.judge_all();
    let plan = fleet.ros2.plan();
    fleet.world.authority.enrol_platform(plan, NOW).unwrap();
    let standing = fleet.world.authority.platform_standing(&fleet.ros2.id).unwrap();
    assert_eq!(standing.last_sequence, Some(fleet.ros2.sequence));
    // One that had no root of trust may get one.
    let mut plan = PsaDevice::new("dji-1").plan();
    plan.robot = fleet.dji.clone();
    fleet.world.authority.enrol_platform(plan, NOW).unwrap();
    assert_eq!(fleet.health(&fleet.dji), HealthState::Unknown);
}

#[test]
fn enrolments_and_judgements_are_on_record_before_they_are_given_out() {
    let mut fleet = Fleet::new();
    let of = |world: &World, robot: &str, kind| {
        let entries = entries(world).into_iter();
        let of_robot = entries.filter(|entry| entry.robot.as_ref().is_some_and(|id| id.as_str() == robot));
        let of_kind = of_robot.filter(|entry| entry.kind == kind);
        of_kind
            .map(|entry| (entry.outcome, entry.reasons.join(",")))
            .collect::<Vec<_>>()
    };
    let none = String::new;
    for robot in ["ros2-1", "px4-1", "dji-1"] {
        assert_eq!(
            of(&fleet.world, robot, EntryKind::Provision),
            [(Outcome::Unconfirmed, none()), (Outcome::Done, none())]
        );
    }
    fleet.judge_all();
    assert_eq!(
        of(&fleet.world, "ros2-1", EntryKind::Attest),
        [(Outcome::Done, none())]
    );
    let refused = "no-root-of-trust,hardware-tier,tpm-kind-too-weak".to_owned();
    assert_eq!(
        of(&fleet.world, "dji-1", EntryKind::Attest),
        [(Outcome::Refused, refused)]
    );
    let taken = fleet
        .world
        .authority
        .enrol_platform(unrooted("ros2-1"), NOW)
        .unwrap_err();
    let last = of(&fleet.world, "ros2-1", EntryKind::Provision).pop().unwrap();
    assert_eq!(last, (Outcome::Refused, taken.code().to_owned()));
}
