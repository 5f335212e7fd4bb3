//! What an authority says of robots under a stop to those who judge them while it is out of reach.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_attestation::receipt::Outcome;
use alcub3_fleet_protocol::StopStanding;
use alcub3_fleet_protocol::policy_bundle::VerifiedBundle;
use alcub3_trust_model::{AttestationKind, StopId};
use support::approvals::{rearm, stopped_world};
use support::robot::Robot;
use support::{NOW, World};

/// What the next bundle says of a robot, as its readers have it.
fn standing(world: &mut World, robot: &Robot) -> StopStanding {
    let robots = std::slice::from_ref(&robot.id);
    let bundle = world.authority.issue_policy_bundle(robots, 1000, NOW).unwrap();
    let read = VerifiedBundle::verify(bundle.as_bytes(), &world.authority.verifying_key()).unwrap();
    read.peers()[0].policy().stops
}

fn attest(world: &mut World, robot: &mut Robot, kind: AttestationKind) {
    let request = world.authority.challenge_for(&robot.id, kind, NOW).unwrap();
    world.authority.appraise(&robot.evidence(&request), NOW).unwrap();
}

#[test]
fn a_bundle_names_a_stop_in_force_by_the_epoch_that_its_rearm_would_have_to_name() {
    // Its evidence showed the stop; no epoch was certified with it, and none was rearmed before: the least there is.
    let (mut world, mut robot) = stopped_world();
    assert_eq!(standing(&mut world, &robot), StopStanding::new(None, Some(1)));
    // The TPM certifies it, at 8.
    attest(&mut world, &mut robot, AttestationKind::Emergency);
    assert_eq!(standing(&mut world, &robot), StopStanding::new(None, Some(8)));
    let mut world = world.restarted();
    assert_eq!(standing(&mut world, &robot), StopStanding::new(None, Some(8)));
    rearm(&mut world, &robot).unwrap();
    robot.stopped = false;
    let rearmed = StopStanding::new(Some(8), None);
    assert_eq!(standing(&mut world, &robot), rearmed);
    attest(&mut world, &mut robot, AttestationKind::Operational);
    assert_eq!(standing(&mut world, &robot), rearmed);

    // The next stop comes as a receipt, which certifies the epoch.
    let receipt = robot.stop(StopId::new([6; 16]));
    let verdict = world.authority.verify_receipt(&robot.id, &receipt, NOW).unwrap();
    assert_eq!((verdict.outcome, verdict.epoch_after), (Outcome::Proven, Some(9)));
    let stopped = StopStanding::new(Some(8), Some(9));
    assert_eq!(standing(&mut world, &robot), stopped);
    // Evidence of the boot behind it, which shows nothing of the stop, changes nothing.
    robot.boots_anew();
    robot.stopped = false;
    attest(&mut world, &mut robot, AttestationKind::Operational);
    assert_eq!(standing(&mut world, &robot), stopped);
    rearm(&mut world, &robot).unwrap();
    assert_eq!(standing(&mut world, &robot), StopStanding::new(Some(9), None));
    // A receipt of before the rearm stops nobody.
    world.authority.verify_receipt(&robot.id, &receipt, NOW).unwrap();
    assert_eq!(standing(&mut world, &robot), StopStanding::new(Some(9), None));
}

#[test]
fn a_stop_without_a_certified_epoch_is_named_by_the_one_above_the_last_rearm() {
    let (mut world, mut robot) = stopped_world();
    rearm(&mut world, &robot).unwrap();
    robot.stops.push(StopId::new([7; 16]));
    attest(&mut world, &mut robot, AttestationKind::Operational);
    assert_eq!(standing(&mut world, &robot), StopStanding::new(Some(8), Some(9)));
}
