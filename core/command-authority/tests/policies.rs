//! The command policy: written, signed by two persons, and asked of commands.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod fixture;

use alcub3_command_authority::policy::{
    Change, CommandPolicy, CommandPolicyOrder, CommandRules, Fence, FenceError, PolicyDocumentError,
    PolicyFault, PolicyOrderError, PolicyStatement, RecordedCommand, VerifiedCommandPolicy,
};
use alcub3_command_authority::{Arguments, CommandEnvelope, CommandName, Role, Value, VerifiedMission};
use alcub3_crypto::tpm::{Public, PublicTemplate, Signature};
use alcub3_crypto::{Curve, SigningKey};
use alcub3_trust_model::{Level, OperatorId, RobotId};
use fixture::{MISSION, NOW_MS, World, signed_token};
use proptest::prelude::*;

const POLICY: &str = r#"
kind = "command-policy"

[[platform]]
name = "rover"
robots = ["rover-*"]

[[platform]]
name = "arm"
robots = ["arm-1", "arm-2"]

[[rights]]
role = "operator"
commands = ["observe.*", "move.*", "payload.grip", "payload.release"]

[[rights]]
role = "commander"
commands = ["mission.*"]

[[persons]]
commands = ["payload.release"]
from_level = "CUI"

[[argument]]
name = "slot"
commands = ["payload.*"]
min = 0
max = 7

[[argument]]
name = "surface"
commands = ["payload.grip"]
one_of = ["glass", "steel"]

[[argument]]
name = "gently"
commands = ["payload.*"]
flag = true

[[limit]]
max_speed_mm_per_s = 1200

[[limit]]
platform = "rover"
max_force_mn = 50000
tools = ["gripper", "brush"]
min_altitude_mm = -1000
max_altitude_mm = 30000

[[limit]]
platform = "rover"
from_level = "CONFIDENTIAL"
max_speed_mm_per_s = 300

[[limit]]
platform = "arm"
max_speed_mm_per_s = 10

[[limit]]
mission = "03030303-0303-0303-0303-030303030303"
max_turn_mdeg_per_s = 20000
max_duration_ms = 2000
geofence = [[0, 0], [0, 1000], [500, 500], [1000, 1000], [1000, 0]]
"#;

fn policy(text: &str) -> CommandPolicy {
    CommandPolicy::from_toml(text.as_bytes()).unwrap()
}

fn two_persons(key: &SigningKey) -> Public {
    let hash = key.verifying_key().native_scheme().hash();
    PublicTemplate::external(&key.verifying_key(), hash)
        .to_public()
        .unwrap()
}

fn names(names: &[&str]) -> Vec<OperatorId> {
    names.iter().map(|name| OperatorId::new(*name).unwrap()).collect()
}

/// An order as the authority signs it, with the approval of a key.
fn order(statement: &PolicyStatement, approval: &SigningKey, authority: &SigningKey, by: &[&str]) -> Vec<u8> {
    let scheme = approval.verifying_key().native_scheme();
    let bytes = approval.sign(&statement.approved_message(scheme.hash())).unwrap();
    let order = CommandPolicyOrder {
        statement: statement.to_canonical(),
        approval: Signature { scheme, bytes }.to_tpmt(),
        approvers: names(by),
    };
    order.unsigned(authority.suite()).sign(authority).unwrap()
}

fn statement(version: u64, text: &str) -> PolicyStatement {
    PolicyStatement {
        version,
        issued_at_ms: NOW_MS,
        policy: policy(text),
    }
}

fn in_force(text: &str, robot: &str) -> CommandRules {
    let (rearm, authority) = (
        SigningKey::generate(Curve::P384).unwrap(),
        SigningKey::generate(Curve::P384).unwrap(),
    );
    let signed = order(&statement(3, text), &rearm, &authority, &["ann", "ben"]);
    let verified =
        VerifiedCommandPolicy::verify(&signed, &authority.verifying_key(), &two_persons(&rearm)).unwrap();
    CommandRules::Policy(Box::new(verified.for_robot(&RobotId::new(robot).unwrap())))
}

/// The fixture's world under a policy, its limits wide enough that only the policy's count.
fn world(text: &str, level: Level) -> World {
    let curve = if level >= Level::Confidential {
        Curve::P384
    } else {
        Curve::P256
    };
    let mut world = World::new(curve, level);
    world.token.limits.max_speed_mm_per_s = u32::MAX;
    world.token.limits.max_turn_mdeg_per_s = u32::MAX;
    world.token.limits.max_duration_ms = u32::MAX;
    let signed = signed_token(&world.token, &world.authority);
    let key = world.authority.verifying_key();
    world
        .missions
        .insert(VerifiedMission::verify(&signed, &key, &world.robot, &world.profiles).unwrap());
    world.rules = in_force(text, world.robot.as_str());
    world
}

fn command(world: &World, sequence: u64, name: &str, arguments: &[(&str, Value)]) -> CommandEnvelope {
    let arguments = arguments.iter().fold(Arguments::new(), |all, (name, value)| {
        all.with(name, value.clone()).unwrap()
    });
    CommandEnvelope {
        command: CommandName::new(name).unwrap(),
        arguments,
        ..world.envelope(sequence)
    }
}

fn int(name: &str, value: i64) -> (&str, Value) {
    (name, Value::Int(value))
}

fn text<'n>(name: &'n str, value: &str) -> (&'n str, Value) {
    (name, Value::Text(value.to_owned()))
}

/// A command, its arguments, and the code it is refused with, if it is.
type Case<'c> = (&'c str, Vec<(&'c str, Value)>, &'c str);

#[test]
fn every_limit_refuses_with_its_code_and_only_beyond_it() {
    let mut world = world(POLICY, Level::Cui);
    let here = |latitude, longitude| {
        vec![
            int("latitude_e7_deg", latitude),
            int("longitude_e7_deg", longitude),
        ]
    };
    let cases: &[Case<'_>] = &[
        ("move.velocity", vec![int("speed_mm_per_s", 1200)], ""),
        (
            "move.velocity",
            vec![int("speed_mm_per_s", -1201)],
            "policy-speed",
        ),
        (
            "move.velocity",
            vec![int("velocity_x_mm_per_s", 849), int("velocity_y_mm_per_s", 849)],
            "policy-speed",
        ),
        (
            "move.velocity",
            vec![int("turn_mdeg_per_s", 20_000), int("duration_ms", 2000)],
            "",
        ),
        (
            "move.velocity",
            vec![int("turn_mdeg_per_s", 20_001)],
            "policy-turn",
        ),
        ("move.velocity", vec![int("duration_ms", 2001)], "policy-duration"),
        ("move.to", here(100, 100), ""),
        ("move.to", here(500, 500), ""),
        ("move.to", here(500, 501), "policy-geofence"),
        ("move.to", here(-1, 0), "policy-geofence"),
        ("move.to", vec![int("latitude_e7_deg", 100)], "policy-geofence"),
        ("move.to", vec![int("altitude_mm", 30_000)], ""),
        ("move.to", vec![int("altitude_mm", 30_001)], "policy-altitude"),
        ("move.to", vec![int("altitude_mm", -1001)], "policy-altitude"),
        (
            "payload.grip",
            vec![int("force_mn", 50_000), text("tool", "gripper"), int("slot", 7)],
            "",
        ),
        ("payload.grip", vec![int("force_mn", i64::MIN)], "policy-force"),
        ("payload.grip", vec![text("tool", "saw")], "policy-tool"),
        ("payload.grip", vec![int("speed_mm_per_s", 1201)], "policy-speed"),
        ("payload.grip", vec![int("slot", 8)], "policy-argument"),
        ("payload.grip", vec![text("slot", "7")], "policy-argument"),
        ("payload.grip", vec![text("surface", "glass")], ""),
        ("payload.grip", vec![text("surface", "water")], "policy-argument"),
        ("payload.grip", vec![("gently", Value::Bool(true))], ""),
        ("payload.grip", vec![int("gently", 1)], "policy-argument"),
        ("payload.grip", vec![int("speed", 9999)], "policy-argument"),
        ("payload.grip", vec![int("tool", 1)], "safety-argument"),
        ("move.to", vec![int("slot", 1)], "policy-argument"),
        ("move.to", vec![int("force_mn", 1)], ""),
        ("observe.camera", vec![int("zoom", 9)], ""),
        ("payload.open", vec![], "policy-role"),
        ("payload.release", vec![], "second-person-missing"),
    ];
    for (at, (name, arguments, code)) in cases.iter().enumerate() {
        let envelope = command(&world, u64::try_from(at).unwrap() + 1, name, arguments);
        let codes = world.codes(&envelope);
        let expected: Vec<&str> = Some(*code).into_iter().filter(|code| !code.is_empty()).collect();
        assert_eq!(codes, expected, "{name} {arguments:?}");
    }
}

#[test]
fn rows_are_for_their_platform_level_and_mission_and_all_that_fit_are_asked() {
    let fast = |world: &mut World, speed: i64| {
        let next = world
            .replay
            .window(&OperatorId::new("alice").unwrap())
            .unwrap()
            .highest()
            + 1;
        let envelope = command(world, next, "move.velocity", &[int("speed_mm_per_s", speed)]);
        world.codes(&envelope)
    };
    let mut cui = world(POLICY, Level::Cui);
    assert_eq!(fast(&mut cui, 1200), [""; 0]);
    let mut confidential = world(POLICY, Level::Confidential);
    assert_eq!(fast(&mut confidential, 300), [""; 0]);
    assert_eq!(fast(&mut confidential, 301), ["policy-speed"]);
    let other_mission = POLICY.replace("03030303-", "04030303-");
    let mut elsewhere = world(&other_mission, Level::Cui);
    let envelope = command(&elsewhere, 1, "move.velocity", &[int("turn_mdeg_per_s", 90_000)]);
    assert_eq!(elsewhere.codes(&envelope), [""; 0]);
    // The policy does not widen what the mission allows.
    let mut narrow = World::p256();
    narrow.rules = in_force(&POLICY.replace("1200", "9000"), "rover-17");
    assert_eq!(fast(&mut narrow, 1501), ["safety-speed"]);
    // An arm's limits are no rover's, and the other way round: without a row nobody limits the force.
    cui.rules = in_force(POLICY, "arm-1");
    assert_eq!(fast(&mut cui, 11), ["policy-speed"]);
    let force = command(&cui, 3, "payload.grip", &[int("force_mn", 1)]);
    assert_eq!(cui.codes(&force), ["policy-force"]);
    let tool = command(&cui, 4, "payload.grip", &[text("tool", "gripper")]);
    assert_eq!(cui.codes(&tool), ["policy-tool"]);
}

#[test]
fn a_robot_of_no_platform_and_one_that_lost_its_policy_are_commanded_by_nobody() {
    let mut world = world(POLICY, Level::Cui);
    world.rules = in_force(POLICY, "drone-1");
    let observe = command(&world, 1, "observe.camera", &[]);
    assert_eq!(world.codes(&observe), ["policy-platform"]);
    world.rules = CommandRules::Lost;
    assert_eq!(world.codes(&observe), ["policy-lost"]);
    world.rules = CommandRules::Builtin;
    assert_eq!(world.codes(&observe), [""; 0]);
}

#[test]
fn without_a_policy_force_and_tools_move_nothing() {
    let mut world = World::p256();
    let force = command(&world, 1, "move.to", &[int("force_mn", 1)]);
    assert_eq!(world.codes(&force), ["safety-argument"]);
    let tool = command(&world, 2, "move.to", &[text("tool", "gripper")]);
    assert_eq!(world.codes(&tool), ["safety-argument"]);
}

#[test]
fn a_policy_takes_two_persons_its_authority_and_a_higher_version() {
    let key = || SigningKey::generate(Curve::P384).unwrap();
    let (rearm, authority, other) = (key(), key(), key());
    let statement = statement(7, POLICY);
    let verify =
        |bytes: &[u8]| VerifiedCommandPolicy::verify(bytes, &authority.verifying_key(), &two_persons(&rearm));
    let good = order(&statement, &rearm, &authority, &["ann", "ben"]);
    let verified = verify(&good).unwrap();
    assert_eq!(verified.statement(), &statement);
    assert_eq!(verified.approvers(), names(&["ann", "ben"]));
    let code = |bytes: &[u8]| verify(bytes).unwrap_err().code();
    assert_eq!(
        code(&order(&statement, &rearm, &other, &["ann", "ben"])),
        "bad-policy"
    );
    assert_eq!(
        code(&order(&statement, &other, &authority, &["ann", "ben"])),
        "policy-not-approved"
    );
    assert_eq!(
        code(&order(&statement, &rearm, &authority, &["ann"])),
        "too-few-votes"
    );
    assert_eq!(
        code(&order(&statement, &rearm, &authority, &["ann", "ann"])),
        "bad-policy"
    );
    // The approval of one policy is none of another.
    let approved = rearm
        .sign(&statement.approved_message(alcub3_crypto::HashAlg::Sha384))
        .unwrap();
    let scheme = rearm.verifying_key().native_scheme();
    let looser = PolicyStatement {
        version: 8,
        ..statement
    };
    let swapped = CommandPolicyOrder {
        statement: looser.to_canonical(),
        approval: Signature {
            scheme,
            bytes: approved,
        }
        .to_tpmt(),
        approvers: names(&["ann", "ben"]),
    };
    let swapped = swapped.unsigned(authority.suite()).sign(&authority).unwrap();
    assert_eq!(code(&swapped), "policy-not-approved");
    for at in (0..good.len()).step_by(7) {
        let mut changed = good.clone();
        changed[at] ^= 4;
        assert!(verify(&changed).is_err(), "byte {at}");
    }
    let after = |newest| {
        VerifiedCommandPolicy::after(newest, &good, &authority.verifying_key(), &two_persons(&rearm))
            .map(|_| ())
    };
    assert!(after(6).is_ok());
    for newest in [7, 8] {
        let refused = after(newest).unwrap_err();
        assert!(matches!(refused, PolicyOrderError::RolledBack { given: 7, .. }));
        assert_eq!(refused.code(), "policy-rolled-back");
    }
}

#[test]
fn what_is_signed_is_what_was_written() {
    let statement = statement(7, POLICY);
    let bytes = statement.to_canonical();
    assert_eq!(PolicyStatement::from_canonical(&bytes).unwrap(), statement);
    for length in 0..bytes.len() {
        assert!(PolicyStatement::from_canonical(&bytes[..length]).is_err());
    }
    let words = statement.policy.in_words().join("\n");
    for told in [
        "rover-*",
        "payload.release take two persons from CUI up",
        "tools: brush, gripper",
        "5 corners",
    ] {
        assert!(words.contains(told), "{told}: {words}");
    }
}

#[test]
fn a_policy_whose_parts_do_not_fit_is_refused_and_says_which() {
    let fault = |from: &str, to: &str| {
        assert!(POLICY.contains(from), "{from}");
        match CommandPolicy::from_toml(POLICY.replacen(from, to, 1).as_bytes()) {
            Err(PolicyDocumentError::Fault(fault)) => fault,
            other => panic!("{to}: {other:?}"),
        }
    };
    assert_eq!(
        fault("platform = \"arm\"", "platform = \"leg\""),
        PolicyFault::OtherPlatform("leg".into())
    );
    assert!(matches!(
        fault("[\"mission.*\"]", "[\"maintain.*\"]"),
        PolicyFault::BeyondRole { .. }
    ));
    assert!(matches!(
        fault("role = \"commander\"", "role = \"operator\""),
        PolicyFault::Twice { .. }
    ));
    assert!(matches!(
        fault("from_level = \"CUI\"", "second = [\"observer\"]"),
        PolicyFault::NoSecond(Role::Observer)
    ));
    assert!(matches!(
        fault("from_level = \"CUI\"", "second = []"),
        PolicyFault::List { .. }
    ));
    assert!(matches!(fault("max = 7", "max = -7"), PolicyFault::Kind(_)));
    assert!(matches!(fault("max = 7", ""), PolicyFault::Kind(_)));
    assert!(matches!(
        fault("name = \"slot\"", "name = \"force_mn\""),
        PolicyFault::Known(_)
    ));
    assert!(matches!(
        fault("max_speed_mm_per_s = 1200", ""),
        PolicyFault::Limit(1, _)
    ));
    assert!(matches!(
        fault("min_altitude_mm = -1000", "min_altitude_mm = 30001"),
        PolicyFault::Limit(2, _)
    ));
    assert!(matches!(fault("\"arm-1\"", "\"arm *\""), PolicyFault::Robots(_)));
    let parse = |text: &str| CommandPolicy::from_toml(text.as_bytes());
    for text in [
        POLICY.replace("kind = \"command-policy\"", ""),
        POLICY.replace("kind = \"command-policy\"", "kind = \"level-policy\""),
        POLICY.replace("max = 7", "max = 7\nmaximum = 8"),
        POLICY.replace("[500, 500]", "[500, 500, 1]"),
        POLICY.replace("\"move.*\"", "\"*\""),
    ] {
        assert!(
            matches!(parse(&text), Err(PolicyDocumentError::Toml(_))),
            "{text}"
        );
    }
    assert!(matches!(
        parse("kind = \"command-policy\""),
        Err(PolicyDocumentError::Fault(PolicyFault::NoPlatform))
    ));
}

#[test]
fn fences_that_enclose_nothing_that_could_be_told_are_refused() {
    let fence = |corners: &[(i64, i64)]| Fence::new(corners.to_vec()).map(|_| ());
    assert_eq!(fence(&[(0, 0), (0, 9)]), Err(FenceError::Corners(2)));
    assert_eq!(
        fence(&[(0, 0), (0, 9), (900_000_001, 0)]),
        Err(FenceError::OffGlobe(2))
    );
    assert_eq!(
        fence(&[(0, 0), (0, 9), (0, 9), (9, 0)]),
        Err(FenceError::Repeated(1))
    );
    assert_eq!(
        fence(&[(0, 0), (0, 9), (9, 0), (9, 9)]),
        Err(FenceError::Crossing(1, 3)),
        "a bow tie"
    );
    assert_eq!(
        fence(&[(0, 0), (0, 9), (0, 3)]),
        Err(FenceError::Crossing(0, 1)),
        "flat"
    );
    assert_eq!(
        fence(&[(0, 0), (0, 9), (9, 9), (0, 4), (9, 0)]),
        Err(FenceError::Crossing(0, 2)),
        "touching"
    );
    assert!(
        fence(&[(0, 0), (0, 9), (0, 18), (9, 9)]).is_ok(),
        "a corner on the way"
    );
}

/// By angles, in floating point: another way to the same answer, away from the edges.
fn is_inside_by_angles(corners: &[(i64, i64)], (y, x): (i64, i64)) -> bool {
    let at = |corner: (i64, i64)| ((corner.0 - y) as f64, (corner.1 - x) as f64);
    let turned: f64 = (0..corners.len())
        .map(|n| {
            let (a, b) = (at(corners[n]), at(corners[(n + 1) % corners.len()]));
            (a.1 * b.0 - a.0 * b.1).atan2(a.0 * b.0 + a.1 * b.1)
        })
        .sum();
    turned.abs() > std::f64::consts::PI
}

proptest! {
    #[test]
    fn a_fence_agrees_with_the_sum_of_angles(
        corners in proptest::collection::vec((-20i64..20, -20i64..20), 3..9),
        point in (-22i64..22, -22i64..22),
    ) {
        // Corners twice as far apart, points on odd numbers: few points lie on an edge, and those are left out.
        let corners: Vec<_> = corners.iter().map(|(y, x)| (y * 2, x * 2)).collect();
        let point = (point.0 * 2 + 1, point.1 * 2 + 1);
        if let Ok(fence) = Fence::new(corners.clone()) {
            let on_edge = (0..corners.len()).any(|n| {
                let (a, b) = (corners[n], corners[(n + 1) % corners.len()]);
                (b.0 - a.0) * (point.1 - a.1) == (b.1 - a.1) * (point.0 - a.0)
            });
            if !on_edge {
                prop_assert_eq!(fence.contains(point.0, point.1), is_inside_by_angles(&corners, point));
            }
            for corner in &corners {
                prop_assert!(fence.contains(corner.0, corner.1));
            }
        }
    }

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = PolicyStatement::from_canonical(&bytes);
        let _ = CommandPolicy::from_toml(&bytes);
    }
}

fn recorded(name: &str, arguments: &[(&str, Value)], reasons: &[&str]) -> RecordedCommand {
    let arguments = arguments.iter().fold(Arguments::new(), |all, (name, value)| {
        all.with(name, value.clone()).unwrap()
    });
    RecordedCommand {
        robot: RobotId::new("rover-17").unwrap(),
        mission: MISSION,
        level: Level::Cui,
        role: Role::Operator,
        second: None,
        command: CommandName::new(name).unwrap(),
        arguments,
        admitted: reasons.is_empty(),
        reasons: reasons.iter().map(|code| (*code).to_owned()).collect(),
        digest: None,
    }
}

#[test]
fn a_policy_is_tried_against_what_was_recorded() {
    let CommandRules::Policy(policy) = in_force(POLICY, "rover-17") else {
        panic!()
    };
    let cases = [
        (
            recorded("move.velocity", &[int("speed_mm_per_s", 1000)], &[]),
            Change::Same,
            "",
        ),
        (
            recorded("move.velocity", &[int("speed_mm_per_s", 1300)], &[]),
            Change::NewlyRefused,
            "policy-speed",
        ),
        (
            recorded("payload.release", &[], &[]),
            Change::NewlyRefused,
            "second-person-missing",
        ),
        (
            recorded("payload.open", &[], &[]),
            Change::NewlyRefused,
            "policy-role",
        ),
        (
            recorded("payload.grip", &[], &["policy-role"]),
            Change::NewlyAdmitted,
            "",
        ),
        (
            recorded("payload.grip", &[], &["policy-role", "expired"]),
            Change::OtherReasons,
            "expired",
        ),
        (
            recorded("move.velocity", &[], &["lease-over"]),
            Change::Same,
            "lease-over",
        ),
        (
            recorded("move.to", &[int("force_mn", 1)], &["safety-argument"]),
            Change::NewlyAdmitted,
            "",
        ),
        (
            recorded("move.to", &[int("mass", 1)], &["safety-argument"]),
            Change::OtherReasons,
            "policy-argument",
        ),
    ];
    for (command, change, after) in cases {
        let trial = command.under(&policy);
        assert_eq!(
            (
                trial.change(),
                trial.after.into_iter().collect::<Vec<_>>().join(",").as_str()
            ),
            (change, after),
            "{command:?}"
        );
        let line = serde_json::to_string(&command).unwrap();
        assert_eq!(serde_json::from_str::<RecordedCommand>(&line).unwrap(), command);
    }
    let approved = RecordedCommand {
        second: Some(Role::Commander),
        ..recorded("payload.release", &[], &[])
    };
    assert_eq!(approved.under(&policy).change(), Change::Same);
    let by_operator = RecordedCommand {
        second: Some(Role::Operator),
        ..recorded("payload.release", &[], &[])
    };
    assert_eq!(
        by_operator.under(&policy).difference(),
        (vec!["second-person-role"], vec![])
    );
}
