//! The verdict: what passes, and each reason against what does not.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod fixture;

use alcub3_command_authority::{
    Arguments, CommandEnvelope, CommandName, Generation, Geofence, Reason, Role, SessionKeys, Value, Verdict,
    VerifiedLease, VerifiedMission, begin,
};
use alcub3_crypto::{Curve, HashAlg, MacKey, SigningKey, Suite};
use alcub3_trust_model::{
    Integrity, Labels, LeaseId, Level, LevelProfiles, Marking, MissionId, OperatorId, RobotId,
};
use fixture::{BOOT, LEASE, MISSION, NOW_MS, World, codes, issuer, lease, signed_token};

#[test]
fn a_good_command_is_authorized_signed_and_maced() {
    for (curve, level) in [(Curve::P256, Level::Cui), (Curve::P384, Level::TopSecret)] {
        let mut world = World::new(curve, level);
        let envelope = world.envelope(1);
        let bytes = world.signed(&envelope);
        let Verdict::Authorized(command) = world.judge(&bytes) else {
            panic!("{curve:?}")
        };
        let (name, arguments) = command.revalidate(Generation(5), NOW_MS).unwrap();
        assert_eq!(name.as_str(), "move.velocity");
        assert_eq!(arguments, &envelope.arguments);
        assert_eq!(
            (command.mission(), command.lease(), command.sequence()),
            (MISSION, LEASE, 1)
        );
        assert_eq!(command.issuer().as_str(), "alice");
        assert_eq!(*command.digest(), HashAlg::Sha256.digest(&[&bytes]));
        let maced = world.maced(&world.envelope(2));
        assert_eq!(codes(&world.judge(&maced)), [""; 0]);
    }
}

#[test]
fn a_command_is_given_out_only_if_the_gate_did_not_move() {
    let mut world = World::p256();
    let bytes = world.signed(&world.envelope(1));
    let Verdict::Authorized(command) = world.judge(&bytes) else {
        panic!()
    };
    assert_eq!(
        command.revalidate(Generation(6), NOW_MS),
        Err(Reason::StoppedMeanwhile)
    );
    assert_eq!(
        command.revalidate(Generation(4), NOW_MS),
        Err(Reason::StoppedMeanwhile)
    );
    assert_eq!(
        command.revalidate(Generation(5), NOW_MS + 1000),
        Err(Reason::Expired)
    );
    command.revalidate(Generation(5), NOW_MS + 999).unwrap();
}

/// Every bit of a signed and of a MACed envelope counts. ECDSA's (r, s) and (r, -s) is no single bit.
#[test]
fn any_changed_bit_is_refused() {
    let mut world = World::p256();
    for bytes in [world.signed(&world.envelope(1)), world.maced(&world.envelope(2))] {
        for at in 0..bytes.len() {
            for bit in [0, 3, 7] {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert!(!codes(&world.judge(&changed)).is_empty(), "byte {at} bit {bit}");
            }
        }
        for length in 0..bytes.len() {
            assert!(!codes(&world.judge(&bytes[..length])).is_empty());
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(codes(&world.judge(&longer)), ["envelope-malformed"]);
        // None of that used the number up.
        assert_eq!(codes(&world.judge(&bytes)), [""; 0]);
    }
}

#[test]
fn the_first_reason_ends_what_is_not_authentic() {
    let mut world = World::p256();
    let base = world.envelope(1);
    let cases = [
        (
            CommandEnvelope {
                robot: RobotId::new("rover-18").unwrap(),
                ..base.clone()
            },
            "wrong-robot",
        ),
        (
            CommandEnvelope {
                mission: MissionId::new([9; 16]),
                ..base.clone()
            },
            "mission-unknown",
        ),
        (
            CommandEnvelope {
                issuer: OperatorId::new("mallory").unwrap(),
                ..base.clone()
            },
            "issuer-unknown",
        ),
        (
            CommandEnvelope {
                command: CommandName::new("maintain.reset").unwrap(),
                ..base.clone()
            },
            "role-forbids",
        ),
        (
            CommandEnvelope {
                issuer: OperatorId::new("olga").unwrap(),
                ..base.clone()
            },
            "role-forbids",
        ),
    ];
    for (envelope, code) in cases {
        assert_eq!(world.codes(&envelope), [code]);
    }
    let max = OperatorId::new("max").unwrap();
    let other = CommandName::new("move.to").unwrap();
    assert_eq!(
        world.codes(&CommandEnvelope {
            issuer: max,
            command: other,
            ..base.clone()
        }),
        ["command-not-allowed"]
    );
    let stranger = SigningKey::generate(Curve::P256).unwrap();
    let forged = base.unsigned(Suite::EcdsaP256Sha256).sign(&stranger).unwrap();
    assert_eq!(codes(&world.judge(&forged)), ["not-authentic"]);
    let forged = base
        .unsigned(Suite::HmacSha256)
        .mac(&MacKey::new(HashAlg::Sha256, &[1; 32]))
        .unwrap();
    assert_eq!(codes(&world.judge(&forged)), ["not-authentic"]);
    let huge = vec![0; 20_000];
    assert_eq!(codes(&world.judge(&huge)), ["envelope-too-large"]);
}

#[test]
fn a_mac_needs_a_session_key_and_a_level_its_suite() {
    let mut world = World::p256();
    let bytes = world.maced(&world.envelope(1));
    world.sessions = SessionKeys::new();
    assert_eq!(codes(&world.judge(&bytes)), ["no-session-key"]);
    let mut strong = World::new(Curve::P384, Level::Secret);
    let weak = strong
        .envelope(1)
        .unsigned(Suite::HmacSha256)
        .mac(&MacKey::new(HashAlg::Sha256, &[0x5A; 32]))
        .unwrap();
    assert_eq!(codes(&strong.judge(&weak)), ["suite-too-weak"]);
    // A policy that came while the mission ran binds its envelopes, however they are authenticated.
    let mut world = World::p256();
    let mut rows = *world.profiles.rows();
    rows.iter_mut()
        .for_each(|row| row.suite_floor = Suite::EcdsaP384Sha384);
    let stricter = LevelProfiles::tightened(rows).unwrap();
    for bytes in [world.maced(&world.envelope(1)), world.signed(&world.envelope(2))] {
        assert!(codes(&world.judge(&bytes)).is_empty());
        world.profiles = stricter;
        assert_eq!(codes(&world.judge(&bytes)), ["suite-too-weak"]);
        world.profiles = LevelProfiles::builtin();
    }
    // An issuer's P-256 key does not come in by signing as if it were the P-384 one.
    let other = SigningKey::generate(Curve::P256).unwrap();
    let weak = strong
        .envelope(1)
        .unsigned(Suite::EcdsaP256Sha256)
        .sign(&other)
        .unwrap();
    assert_eq!(codes(&strong.judge(&weak)), ["suite-too-weak"]);
}

#[test]
fn labels_decide_by_integrity_and_level() {
    let mut world = World::p256();
    let with = |world: &World, sequence, labels| CommandEnvelope {
        labels,
        ..world.envelope(sequence)
    };
    let claimed = with(
        &world,
        1,
        Labels::new(Level::Unclassified, Integrity::SafetyCritical),
    );
    assert_eq!(world.codes(&claimed), ["integrity-claimed"]);
    let low = with(&world, 2, Labels::new(Level::Unclassified, Integrity::Untrusted));
    assert_eq!(world.codes(&low), ["integrity-too-low"]);
    let above = with(&world, 3, Labels::new(Level::Secret, Integrity::MissionCritical));
    assert_eq!(
        world.codes(&above),
        ["labels-above-robot", "labels-above-mission"]
    );
    let mut marked = Labels::new(Level::Cui, Integrity::MissionCritical);
    marked.compartments.insert(Marking::new("ALPHA").unwrap());
    world.labels.compartments.insert(Marking::new("ALPHA").unwrap());
    let marked = with(&world, 4, marked);
    assert_eq!(world.codes(&marked), ["labels-above-mission"]);
    let ute = CommandEnvelope {
        issuer: OperatorId::new("ute").unwrap(),
        labels: Labels::new(Level::Unclassified, Integrity::Untrusted),
        ..world.envelope(1)
    };
    assert_eq!(world.codes(&ute), ["integrity-too-low"]);
}

#[test]
fn time_is_checked_on_every_side() {
    let mut world = World::p256();
    let bytes = world.signed(&world.envelope(1));
    assert_eq!(codes(&world.judge_at(&bytes, None)), ["no-clock"]);
    let mut at = |sequence, issued_at_ms, expires_at_ms| {
        let envelope = CommandEnvelope {
            issued_at_ms,
            expires_at_ms,
            ..world.envelope(sequence)
        };
        world.codes(&envelope)
    };
    assert_eq!(at(2, NOW_MS + 2000, NOW_MS + 3000), [""; 0]);
    assert_eq!(at(3, NOW_MS + 2001, NOW_MS + 3000), ["not-yet-issued"]);
    assert_eq!(at(4, NOW_MS - 10, NOW_MS), ["expired"]);
    assert_eq!(at(5, NOW_MS - 10, NOW_MS + 1), [""; 0]);
    assert_eq!(at(6, NOW_MS, NOW_MS + 60_000), [""; 0]);
    assert_eq!(at(7, NOW_MS, NOW_MS + 60_001), ["validity-too-long"]);
}

#[test]
fn a_mission_counts_only_while_it_runs() {
    let mut world = World::p256();
    let bytes = world.signed(&CommandEnvelope {
        issued_at_ms: NOW_MS + 3_599_990,
        expires_at_ms: NOW_MS + 3_600_100,
        ..world.envelope(1)
    });
    assert_eq!(
        codes(&world.judge_at(&bytes, Some(NOW_MS + 3_600_000))),
        ["mission-over", "lease-over"]
    );
    let early = world.signed(&CommandEnvelope {
        issued_at_ms: NOW_MS - 2000,
        ..world.envelope(2)
    });
    assert_eq!(
        codes(&world.judge_at(&early, Some(NOW_MS - 1001))),
        ["mission-not-begun", "lease-not-begun"]
    );
}

#[test]
fn a_number_is_used_once_even_by_a_refused_command() {
    let mut world = World::p256();
    let bytes = world.signed(&world.envelope(7));
    assert_eq!(codes(&world.judge(&bytes)), [""; 0]);
    assert_eq!(codes(&world.judge(&bytes)), ["replay-used"]);
    // Refused for want of a lease, then replayed when there is one.
    let late = world.signed(&world.envelope(8));
    let lease = world.lease.take();
    assert_eq!(codes(&world.judge(&late)), ["no-lease"]);
    world.lease = lease;
    assert_eq!(codes(&world.judge(&late)), ["replay-used"]);
    assert_eq!(world.codes(&world.envelope(0)), ["replay-too-old"]);
    assert_eq!(world.codes(&world.envelope(1 << 40)), ["replay-not-reserved"]);
}

#[test]
fn the_lease_must_be_this_boots_and_in_force() {
    let mut world = World::p256();
    let other = CommandEnvelope {
        lease: LeaseId::new([8; 16]),
        ..world.envelope(1)
    };
    assert_eq!(world.codes(&other), ["wrong-lease"]);
    let bytes = world.signed(&CommandEnvelope {
        expires_at_ms: NOW_MS + 30_000,
        ..world.envelope(1)
    });
    assert_eq!(
        codes(&world.judge_at(&bytes, Some(NOW_MS + 25_000))),
        ["lease-over"]
    );
    let low = lease(Level::Unclassified)
        .unsigned(Suite::EcdsaP256Sha256)
        .sign(&world.authority)
        .unwrap();
    let low = VerifiedLease::verify(
        &low,
        &world.authority.verifying_key(),
        &world.robot,
        BOOT,
        &world.profiles,
    )
    .unwrap();
    world.lease = Some(low);
    assert_eq!(world.codes(&world.envelope(2)), ["lease-insufficient"]);
}

fn moving(world: &World, sequence: u64, arguments: &[(&str, Value)]) -> CommandEnvelope {
    let add = |all: Arguments, (name, value): &(&str, Value)| all.with(name, value.clone()).unwrap();
    let arguments = arguments.iter().fold(Arguments::new(), add);
    CommandEnvelope {
        arguments,
        ..world.envelope(sequence)
    }
}

#[test]
fn movements_stay_within_the_limits() {
    let mut world = World::p256();
    type Case<'a> = (&'a [(&'a str, Value)], &'a [&'a str]);
    let cases: [Case<'_>; 11] = [
        (&[("speed_mm_per_s", Value::Int(1500))], &[]),
        (&[("speed_mm_per_s", Value::Int(1501))], &["safety-speed"]),
        (&[("speed_mm_per_s", Value::Int(-1501))], &["safety-speed"]),
        (&[("speed_mm_per_s", Value::Int(i64::MIN))], &["safety-speed"]),
        (
            &[
                ("velocity_x_mm_per_s", Value::Int(900)),
                ("velocity_y_mm_per_s", Value::Int(1200)),
            ],
            &[],
        ),
        (
            &[
                ("velocity_x_mm_per_s", Value::Int(901)),
                ("velocity_y_mm_per_s", Value::Int(1200)),
            ],
            &["safety-speed"],
        ),
        (
            &[
                ("velocity_x_mm_per_s", Value::Int(i64::MAX)),
                ("velocity_z_mm_per_s", Value::Int(i64::MIN)),
            ],
            &["safety-speed"],
        ),
        (&[("turn_mdeg_per_s", Value::Int(-90_001))], &["safety-turn"]),
        (&[("duration_ms", Value::Int(5001))], &["safety-duration"]),
        (&[("speed_m_per_s", Value::Int(9))], &["safety-argument"]),
        (
            &[("speed_mm_per_s", Value::Text("9".to_owned()))],
            &["safety-argument"],
        ),
    ];
    for (sequence, (arguments, expected)) in (1..).zip(cases) {
        let envelope = moving(&world, sequence, arguments);
        assert_eq!(world.codes(&envelope), expected, "{arguments:?}");
    }
    let camera = moving(&world, 99, &[("anything", Value::Bool(true))]);
    let camera = CommandEnvelope {
        command: CommandName::new("observe.camera").unwrap(),
        ..camera
    };
    assert_eq!(world.codes(&camera), [""; 0]);
}

#[test]
fn movements_stay_within_the_fence() {
    let mut world = World::p256();
    world.token.limits.geofence = Some(Geofence {
        south_e7_deg: 100,
        north_e7_deg: 200,
        west_e7_deg: -50,
        east_e7_deg: 50,
        max_altitude_mm: 1000,
    });
    let bytes = signed_token(&world.token, &world.authority);
    let mission =
        VerifiedMission::as_approved(&bytes, &world.authority.verifying_key(), &world.robot).unwrap();
    world.missions.insert(mission);
    let at = |lat, lon| {
        vec![
            ("latitude_e7_deg", Value::Int(lat)),
            ("longitude_e7_deg", Value::Int(lon)),
        ]
    };
    let high = vec![("altitude_mm", Value::Int(1001))];
    let half = vec![("latitude_e7_deg", Value::Int(150))];
    type Case<'a> = (Vec<(&'a str, Value)>, &'a [&'a str]);
    let cases: [Case<'_>; 7] = [
        (at(100, -50), &[]),
        (at(200, 50), &[]),
        (at(99, 0), &["safety-geofence"]),
        (at(201, 0), &["safety-geofence"]),
        (at(150, 51), &["safety-geofence"]),
        (high, &["safety-geofence"]),
        (half, &["safety-geofence"]),
    ];
    for (sequence, (arguments, expected)) in (1..).zip(cases) {
        let envelope = moving(&world, sequence, &arguments);
        assert_eq!(world.codes(&envelope), expected, "{arguments:?}");
    }
}

#[test]
fn every_reason_of_an_authentic_command_is_given() {
    let mut world = World::p256();
    world.lease = None;
    let envelope = CommandEnvelope {
        labels: Labels::new(Level::TopSecret, Integrity::Untrusted),
        expires_at_ms: NOW_MS - 5,
        arguments: Arguments::new().with("speed_mm_per_s", Value::Int(9999)).unwrap(),
        ..world.envelope(1)
    };
    assert_eq!(
        world.codes(&envelope),
        [
            "integrity-too-low",
            "labels-above-robot",
            "labels-above-mission",
            "expired",
            "no-lease",
            "safety-speed"
        ]
    );
}

#[test]
fn a_tag_from_the_chip_is_as_good_as_a_key_in_memory() {
    let mut world = World::p256();
    let bytes = world.maced(&world.envelope(3));
    let mut replay = world.replay.clone();
    world.sessions = SessionKeys::new();
    let context = world.context();
    let pending = begin(&context, &bytes).unwrap();
    assert_eq!(pending.mac_alg(), Some(HashAlg::Sha256));
    assert_eq!(pending.issuer().as_str(), "alice");
    let tag = world.mac.tag(&[&pending.signed_parts().concat()]);
    let wrong = world.mac.tag(&[b"other"]);
    let refused = begin(&context, &bytes)
        .unwrap()
        .with_tag(&wrong, &context, &mut replay, Some(NOW_MS));
    assert_eq!(codes(&refused), ["not-authentic"]);
    assert_eq!(
        codes(&pending.with_tag(&tag, &context, &mut replay, Some(NOW_MS))),
        [""; 0]
    );
    let signed = world.signed(&world.envelope(4));
    let pending = begin(&context, &signed).unwrap();
    assert_eq!(pending.mac_alg(), None);
    assert_eq!(
        codes(&pending.with_tag(&tag, &context, &mut replay, Some(NOW_MS))),
        ["not-authentic"]
    );
}

#[test]
fn roles_bound_what_a_mission_may_allow() {
    let mut world = World::p256();
    let watcher = issuer(
        "olga",
        Role::Observer,
        &world.operator,
        Integrity::SafetyCritical,
        &["move.*"],
    );
    let approver = issuer(
        "anne",
        Role::Approver,
        &world.operator,
        Integrity::SafetyCritical,
        &["observe.*"],
    );
    world.token.issuers = vec![watcher, approver];
    let bytes = signed_token(&world.token, &world.authority);
    let mission =
        VerifiedMission::as_approved(&bytes, &world.authority.verifying_key(), &world.robot).unwrap();
    world.missions.insert(mission);
    for (name, command) in [("olga", "move.velocity"), ("anne", "observe.camera")] {
        let envelope = CommandEnvelope {
            issuer: OperatorId::new(name).unwrap(),
            command: CommandName::new(command).unwrap(),
            ..world.envelope(1)
        };
        assert_eq!(world.codes(&envelope), ["role-forbids"]);
    }
}

#[test]
fn commands_out_of_order_pass_within_the_window_and_not_beyond_it() {
    let mut world = World::p256();
    assert_eq!(world.codes(&world.envelope(2000)), [""; 0]);
    assert_eq!(world.codes(&world.envelope(1500)), [""; 0]);
    assert_eq!(
        world.codes(&world.envelope(977)),
        [""; 0],
        "the last of the window"
    );
    assert_eq!(world.codes(&world.envelope(976)), ["replay-too-old"]);
    assert_eq!(world.codes(&world.envelope(1500)), ["replay-used"]);
}
