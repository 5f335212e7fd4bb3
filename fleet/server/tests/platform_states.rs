//! What a robot whose root of trust is no TPM says of itself: held to references, and remembered where it says that it is stopped.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_attestation::appraisal::{AppraisalPolicy, StateReferences};
use alcub3_attestation::ear::{Ear, Status};
use alcub3_attestation::health::HealthState;
use alcub3_fleet_protocol::platform::PlatformAnswer;
use alcub3_server::{PlatformPlan, PlatformRefusal, Refusal};
use alcub3_trust_model::{BootId, OperationalMode, RobotId};
use support::devices::{DiceDevice, PsaDevice, unrooted};
use support::{NOW, World};

/// A robot of each kind that proves a state.
struct Pair {
    world: World,
    ros2: DiceDevice,
    px4: PsaDevice,
}

/// Why a robot is untrusted; nothing where it is trusted and has its lease.
type Why = Vec<String>;

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            world: World::new(),
            ros2: DiceDevice::new("ros2-1"),
            px4: PsaDevice::new("px4-1"),
        };
        pair.enrol_held_to(None);
        pair
    }

    fn enrol_held_to(&mut self, state: Option<&[u8]>) {
        let state = state.map(|text| StateReferences::from_bytes(text).unwrap());
        for mut plan in [self.ros2.plan(), self.px4.plan()] {
            plan.state.clone_from(&state);
            self.world.authority.enrol_platform(plan, NOW).unwrap();
        }
    }

    fn judge(&mut self) -> [Why; 2] {
        let request = self.world.ask(&self.ros2.id);
        let ros2 = self.ros2.answer(&request);
        let request = self.world.ask(&self.px4.id);
        let px4 = self.px4.answer(&request);
        [ros2, px4].map(|answer| self.found(&answer))
    }

    fn found(&mut self, answer: &[u8]) -> Why {
        let authority = &mut self.world.authority;
        let judged = authority.appraise_platform(answer, NOW).unwrap();
        let ear = Ear::verify(&judged.ear, &authority.verifying_key(), NOW / 1000).unwrap();
        let result = &ear.submods[judged.robot.as_str()];
        assert_eq!(judged.answer.lease.is_some(), result.reasons.is_empty());
        assert_eq!(
            result.status == Status::Contraindicated,
            !result.reasons.is_empty()
        );
        result.reasons.clone()
    }

    /// What both are found to be, which is the same.
    fn both(&mut self) -> Why {
        let [ros2, px4] = self.judge();
        assert_eq!(ros2, px4);
        ros2
    }

    fn set_mode(&mut self, mode: OperationalMode) {
        (self.ros2.mode, self.px4.mode) = (mode, mode);
    }

    fn set_stopped(&mut self, stopped: bool) {
        (self.ros2.stopped, self.px4.stopped) = (stopped, stopped);
    }

    fn rearm(&mut self, robot: &RobotId, persons: usize) -> Result<(), PlatformRefusal> {
        let World {
            authority,
            vault,
            alice,
            bob,
            ..
        } = &mut self.world;
        let proposal = authority.propose_platform_rearm(robot, vault, NOW)?;
        let mut votes = vec![alice.vote(proposal.ballot()), bob.vote(proposal.ballot())];
        votes.truncate(persons);
        authority.approve_platform_rearm(&proposal, &votes, vault, NOW)
    }
}

#[test]
fn the_state_of_every_kind_of_robot_is_held_to_references() {
    let mut pair = Pair::new();
    pair.enrol_held_to(Some(b"modes = [\"idle\", \"mission\"]"));
    // Over a restart of the authority too: what it is held to is in the record.
    pair.world = pair.world.restarted();
    assert!(pair.both().is_empty());
    pair.set_mode(OperationalMode::Mission);
    assert!(pair.both().is_empty());
    pair.set_mode(OperationalMode::Maintenance);
    assert_eq!(pair.both(), ["state-mode"]);
    for robot in [&pair.ros2.id, &pair.px4.id] {
        let health = pair.world.authority.health(robot, NOW).unwrap();
        assert_eq!(health.state, HealthState::Failing);
    }
    // What a record cannot hold them to is refused when it is asked for, not passed over.
    for (plan, state) in [
        (unrooted("dji-1"), &b"min_battery_permille = 200"[..]),
        (pair.ros2.plan(), b""),
        (pair.px4.plan(), b"[transitions]\nidle = [\"mission\"]"),
    ] {
        let state = Some(StateReferences::from_bytes(state).unwrap());
        let plan = PlatformPlan { state, ..plan };
        let refused = pair.world.authority.enrol_platform(plan, NOW).unwrap_err();
        assert_eq!(refused.code(), "platform-refused", "{refused}");
    }
}

#[test]
fn a_policy_that_asks_for_a_part_of_the_state_is_met_by_references_in_the_record() {
    let mut pair = Pair::new();
    let policy = "name = \"held\"\nversion = 1\n[[class]]\nname = \"all\"\nrobots = [\"*\"]\n[class.level.UNCLASSIFIED]\n\
                  state = [\"max_speed_mm_per_s\"]\n";
    let policy = AppraisalPolicy::from_toml(policy).unwrap();
    pair.world.authority.put_appraisal_policy(&policy, NOW).unwrap();
    assert_eq!(pair.both(), ["policy-state"]);
    pair.enrol_held_to(Some(b"max_speed_mm_per_s = 500"));
    assert!(pair.both().is_empty());
    // Held to something else is not held to that.
    pair.enrol_held_to(Some(b"min_battery_permille = 0"));
    assert_eq!(pair.both(), ["policy-state"]);
}

#[test]
fn a_stop_that_was_signed_once_holds_until_two_persons_rearm_the_robot() {
    let mut pair = Pair::new();
    assert!(pair.both().is_empty());
    let (ros2, px4) = (pair.ros2.id.clone(), pair.px4.id.clone());
    let refused = pair.rearm(&ros2, 2).unwrap_err();
    assert!(matches!(refused, PlatformRefusal::NotStopped(_)), "{refused}");
    pair.set_stopped(true);
    assert_eq!(pair.both(), ["stopped"]);
    // It denies it, over a restart of the authority, and enrols anew.
    pair.set_stopped(false);
    pair.world = pair.world.restarted();
    assert_eq!(pair.both(), ["stop-in-force"]);
    pair.enrol_held_to(Some(b"modes = [\"idle\"]"));
    assert_eq!(pair.both(), ["stop-in-force"]);
    // Nor does a counter that begins anew end it, nor the release of its name, which one person asks for.
    let plan = pair.ros2.plan();
    pair.world.authority.enrol_platform_anew(plan, NOW).unwrap();
    assert_eq!(pair.both(), ["stop-in-force"]);
    let refused = pair.world.authority.release_platform(&ros2, NOW).unwrap_err();
    assert!(matches!(refused, PlatformRefusal::StillStopped(_)), "{refused}");
    // One person rearms nothing; two rearm the robot that they voted on.
    assert_eq!(pair.rearm(&ros2, 1).unwrap_err().code(), "too-few-votes");
    assert_eq!(pair.both(), ["stop-in-force"]);
    pair.rearm(&ros2, 2).unwrap();
    assert_eq!(pair.judge(), [vec![], vec!["stop-in-force".to_owned()]]);
    pair.rearm(&px4, 2).unwrap();
    assert!(pair.both().is_empty());
}

#[test]
fn a_stop_said_while_persons_vote_is_not_what_they_voted_on() {
    let mut pair = Pair::new();
    pair.set_stopped(true);
    assert_eq!(pair.both(), ["stopped"]);
    let px4 = pair.px4.id.clone();
    let World { authority, vault, .. } = &mut pair.world;
    let proposal = authority.propose_platform_rearm(&px4, vault, NOW).unwrap();
    let request = authority.challenge_platform(&px4, NOW + 1).unwrap();
    let answer = pair.px4.answer(&request);
    authority.appraise_platform(&answer, NOW + 1).unwrap();
    let votes = [
        pair.world.alice.vote(proposal.ballot()),
        pair.world.bob.vote(proposal.ballot()),
    ];
    let World { authority, vault, .. } = &mut pair.world;
    let refused = authority.approve_platform_rearm(&proposal, &votes, vault, NOW + 2);
    assert_eq!(refused.unwrap_err().code(), "stopped-again");
    pair.set_stopped(false);
    assert_eq!(pair.both(), ["stop-in-force"]);
}

/// What two persons voted on is the robot as it is enrolled.
#[test]
fn a_robot_that_is_enrolled_anew_while_persons_vote_is_not_what_they_voted_on() {
    let mut pair = Pair::new();
    pair.set_stopped(true);
    assert_eq!(pair.both(), ["stopped"]);
    pair.set_stopped(false);
    let px4 = pair.px4.id.clone();
    let World { authority, vault, .. } = &mut pair.world;
    let proposal = authority.propose_platform_rearm(&px4, vault, NOW).unwrap();
    pair.enrol_held_to(Some(b"max_speed_mm_per_s = 9000"));
    let votes = [
        pair.world.alice.vote(proposal.ballot()),
        pair.world.bob.vote(proposal.ballot()),
    ];
    let World { authority, vault, .. } = &mut pair.world;
    let refused = authority.approve_platform_rearm(&proposal, &votes, vault, NOW + 1);
    assert_eq!(refused.unwrap_err().code(), "enrolled-anew");
    assert_eq!(pair.both(), ["stop-in-force"]);
    pair.rearm(&px4, 2).unwrap();
}

/// The boot in the answer is signed by nobody: whoever carries a stop could have it refused, and so forgotten.
#[test]
fn a_signed_stop_is_remembered_although_the_answer_around_it_is_refused() {
    let mut pair = Pair::new();
    assert!(pair.both().is_empty());
    pair.set_stopped(true);
    let request = pair.world.ask(&pair.ros2.id);
    let mut answer = PlatformAnswer::from_canonical(&pair.ros2.answer(&request)).unwrap();
    answer.boot = BootId::new([0xee; 16]);
    let authority = &mut pair.world.authority;
    let refused = authority
        .appraise_platform(&answer.to_canonical(), NOW)
        .unwrap_err();
    assert!(matches!(refused, PlatformRefusal::OtherBoot), "{refused}");
    pair.set_stopped(false);
    assert_eq!(pair.judge(), [vec!["stop-in-force".to_owned()], vec![]]);
}
