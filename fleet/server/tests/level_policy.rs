//! The level policy that an authority issued binds everything it grants.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_command_authority::{MissionError, Role, VerifiedLease, VerifiedMission};
use alcub3_crypto::{Curve, SigningKey, Suite};
use alcub3_server::{AttestationError, Authority, MissionApprovalError};
use alcub3_trust_model::{BelowFloor, Level, LevelProfile, LevelProfiles};
use support::approvals::{HOUR, approve, propose};
use support::robot::Robot;
use support::{NOW, Person, World};

/// The authority follows the built-in profiles with a change.
fn tighten(world: &mut World, change: impl FnMut(&mut LevelProfile)) {
    let mut rows = *LevelProfiles::builtin().rows();
    rows.iter_mut().for_each(change);
    let profiles = LevelProfiles::tightened(rows).unwrap();
    world.authority.issue_level_policy(profiles, NOW).unwrap();
}

fn strong_keys(row: &mut LevelProfile) {
    row.suite_floor = Suite::EcdsaP384Sha384;
}

fn too_weak(below: &BelowFloor) -> bool {
    below.code() == "suite-too-weak"
}

#[test]
fn a_level_policy_asks_for_fewer_resets_and_shorter_missions_also_after_a_restart() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    let mut rows = *LevelProfiles::builtin().rows();
    for row in &mut rows {
        row.max_mission_ms = row.max_mission_ms.min(HOUR);
        row.allowed_resets = 0;
    }
    let stricter = LevelProfiles::tightened(rows).unwrap();
    world.authority.issue_level_policy(stricter, NOW).unwrap();
    assert_eq!(world.authority.profiles(), stricter);
    let proposal = propose(&mut world, &robot, Level::Cui, HOUR).unwrap();
    let votes = [world.bob.vote(proposal.ballot())];
    let approval = approve(&mut world, proposal, &votes).unwrap();
    let key = world.authority.verifying_key();
    let mission = VerifiedMission::as_approved(&approval.token, &key, &robot.id).unwrap();
    assert_eq!(mission.token().allowed_resets, 0);
    assert!(propose(&mut world, &robot, Level::Cui, HOUR + 1).is_err());
    // The next one has a higher version.
    world
        .authority
        .issue_level_policy(LevelProfiles::builtin(), NOW)
        .unwrap();
    assert_eq!(world.authority.level_policy().unwrap().policy().version, 2);
    world.authority.issue_level_policy(stricter, NOW).unwrap();
    let state = world.state();
    drop(world.authority);
    let authority = Authority::open(&state).unwrap();
    assert_eq!(authority.profiles(), stricter);
    assert_eq!(authority.level_policy().unwrap().policy().version, 3);
}

#[test]
fn a_robot_below_a_later_policys_floor_gets_no_mission_and_no_lease() {
    let mut robot = Robot::on(Curve::P256, "rover-1");
    let mut world = World::ready(&mut robot);
    assert!(propose(&mut world, &robot, Level::Cui, HOUR).is_ok());
    tighten(&mut world, strong_keys);
    let refusal = propose(&mut world, &robot, Level::Cui, HOUR).unwrap_err();
    assert!(
        matches!(&refusal, MissionApprovalError::RobotFloor(below) if too_weak(below)),
        "{refusal}"
    );
    let request = world.authority.challenge(&robot.id, NOW).unwrap();
    let refusal = world.authority.appraise(&robot.evidence(&request), NOW);
    let refusal = refusal.unwrap_err();
    assert!(
        matches!(&refusal, AttestationError::BelowFloor(below) if too_weak(below)),
        "{refusal}"
    );
    // Nor is it enrolled again.
    let refusal = world.authority.begin_enrolment(&robot.begin(), NOW).unwrap_err();
    assert!(refusal.to_string().starts_with("below-every-floor"), "{refusal}");
}

#[test]
fn a_lease_reaches_the_levels_whose_floors_are_met_now() {
    let mut robot = Robot::on(Curve::P256, "rover-1");
    let mut world = World::ready(&mut robot);
    let mut ceiling = |world: &mut World| {
        let request = world.authority.challenge(&robot.id, NOW).unwrap();
        let appraised = world.authority.appraise(&robot.evidence(&request), NOW).unwrap();
        let (lease, key) = (appraised.answer.lease.unwrap(), world.authority.verifying_key());
        let profiles = world.authority.profiles();
        let lease = VerifiedLease::verify(&lease, &key, &robot.id, robot.boot(), &profiles).unwrap();
        lease.lease().ceiling
    };
    assert_eq!(ceiling(&mut world), Level::Cui);
    tighten(&mut world, |row| {
        if row.level >= Level::Cui {
            strong_keys(row);
        }
    });
    assert_eq!(ceiling(&mut world), Level::Unclassified);
}

#[test]
fn an_issuers_weak_key_is_refused_before_anybody_votes() {
    let mut robot = Robot::new("rover-1");
    let mut world = World::ready(&mut robot);
    let weak = Person {
        key: SigningKey::generate(Curve::P256).unwrap(),
        ..Person::new("weak")
    };
    world
        .authority
        .register_operator(weak.as_operator(Role::Operator), NOW)
        .unwrap();
    world.pilot = weak;
    let proposal = propose(&mut world, &robot, Level::Cui, HOUR).unwrap();
    let votes = [world.bob.vote(proposal.ballot())];
    tighten(&mut world, strong_keys);
    let refusal = propose(&mut world, &robot, Level::Cui, HOUR).unwrap_err();
    let named = |error: &MissionError| error.code() == "suite-too-weak" && error.to_string().contains("weak");
    assert!(
        matches!(&refusal, MissionApprovalError::Token(error) if named(error)),
        "{refusal}"
    );
    // Nor is one signed that was proposed before the policy.
    let refusal = approve(&mut world, proposal, &votes).unwrap_err();
    assert!(
        matches!(&refusal, MissionApprovalError::Token(error) if named(error)),
        "{refusal}"
    );
}
