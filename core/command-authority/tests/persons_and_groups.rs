//! Commands of two persons, and commands to several robots.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod fixture;

use alcub3_command_authority::policy::{CommandPolicy, CommandRules, PolicyInForce};
use alcub3_command_authority::{
    CommandApproval, CommandEnvelope, CommandName, GroupEnvelope, GroupError, GroupMember, GroupVerdicts,
    MAX_MEMBERS, MemberVerdict, Role, Verdict, VerifiedMission, explain, with_approval,
};
use alcub3_crypto::{Curve, HashAlg, SigningKey};
use alcub3_trust_model::{Integrity, LeaseId, Level, MissionId, OperatorId, RobotId};
use fixture::{LEASE, MISSION, World, codes, issuer, signed_token};

/// The fixture's robot under a policy by which a release takes two persons, with those who may be one of them.
struct Persons {
    world: World,
    sam: SigningKey,
    cora: SigningKey,
    low: SigningKey,
}

const POLICY: &str = r#"
kind = "command-policy"
platform = [{ name = "rover", robots = ["*"] }]
rights = [{ role = "operator", commands = ["move.*", "payload.*"] }]
persons = [{ commands = ["payload.release"] }]
"#;

fn rules(text: &str) -> CommandRules {
    let policy = CommandPolicy::from_toml(text.as_bytes()).unwrap();
    let digest = HashAlg::Sha256.digest(&[b"order"]);
    let robot = RobotId::new("rover-17").unwrap();
    CommandRules::Policy(Box::new(PolicyInForce::of(&policy, 1, digest, &robot)))
}

impl Persons {
    fn new() -> Self {
        let mut world = World::p256();
        let key = || SigningKey::generate(Curve::P256).unwrap();
        let (sam, cora, low) = (key(), key(), key());
        let all = ["payload.*"];
        let high = Integrity::MissionCritical;
        world.token.issuers.extend([
            issuer("sam", Role::SecurityOfficer, &sam, high, &all),
            issuer("cora", Role::Commander, &cora, high, &["payload.grip"]),
            issuer("lou", Role::SecurityOfficer, &low, Integrity::Operational, &all),
            issuer("twin", Role::SecurityOfficer, &world.operator, high, &all),
            issuer("omar", Role::Operator, &cora, high, &all),
        ]);
        let signed = signed_token(&world.token, &world.authority);
        let key = world.authority.verifying_key();
        let mission = VerifiedMission::verify(&signed, &key, &world.robot, &world.profiles).unwrap();
        world.missions.insert(mission);
        world.rules = rules(POLICY);
        Self {
            world,
            sam,
            cora,
            low,
        }
    }

    fn release(&self, sequence: u64) -> CommandEnvelope {
        CommandEnvelope {
            command: CommandName::new("payload.release").unwrap(),
            arguments: alcub3_command_authority::Arguments::new(),
            ..self.world.envelope(sequence)
        }
    }

    fn approved(&self, envelope: &[u8], name: &str, key: &SigningKey) -> Vec<u8> {
        let approver = OperatorId::new(name).unwrap();
        let approval = CommandApproval::of(envelope, approver, key.suite());
        approval.unsigned(key.suite()).sign(key).unwrap()
    }
}

#[test]
fn a_command_that_takes_two_persons_is_admitted_with_two_and_names_both() {
    let mut persons = Persons::new();
    for maced in [false, true] {
        let envelope = persons.release(1 + u64::from(maced));
        let bytes = if maced {
            persons.world.maced(&envelope)
        } else {
            persons.world.signed(&envelope)
        };
        let pair = with_approval(&bytes, &persons.approved(&bytes, "sam", &persons.sam));
        let Verdict::Authorized(command) = persons.world.judge(&pair) else {
            panic!()
        };
        let (second, role) = command.second().unwrap();
        assert_eq!(
            (command.issuer().as_str(), second.as_str(), *role),
            ("alice", "sam", Role::SecurityOfficer)
        );
        assert_eq!(*command.digest(), HashAlg::Sha256.digest(&[&bytes]));
        assert_eq!(codes(&persons.world.judge(&pair)), ["replay-used"]);
    }
}

#[test]
fn each_second_person_who_does_not_count_is_refused_with_a_code() {
    let mut persons = Persons::new();
    let other = persons.world.signed(&persons.release(99));
    let of_other = persons.approved(&other, "sam", &persons.sam);
    let mut sequence = 0;
    let mut code = |name: Option<&str>, key: fn(&Persons) -> &SigningKey| {
        sequence += 1;
        let bytes = persons.world.signed(&persons.release(sequence));
        let presented = match name {
            Some("other") => with_approval(&bytes, &of_other),
            Some("malformed") => with_approval(&bytes, b"\xd2"),
            Some(name) => with_approval(&bytes, &persons.approved(&bytes, name, key(&persons))),
            None => bytes,
        };
        let found = codes(&persons.world.judge(&presented));
        assert_eq!(found.len(), 1, "{name:?} {found:?}");
        found[0]
    };
    assert_eq!(code(None, |p| &p.sam), "second-person-missing");
    assert_eq!(code(Some("malformed"), |p| &p.sam), "second-person-malformed");
    assert_eq!(code(Some("other"), |p| &p.sam), "second-person-other-command");
    assert_eq!(code(Some("alice"), |p| &p.world.operator), "second-person-same");
    assert_eq!(code(Some("twin"), |p| &p.world.operator), "second-person-same");
    assert_eq!(code(Some("mallory"), |p| &p.sam), "second-person-unknown");
    assert_eq!(code(Some("omar"), |p| &p.cora), "second-person-role");
    assert_eq!(code(Some("cora"), |p| &p.cora), "second-person-role");
    assert_eq!(code(Some("lou"), |p| &p.low), "second-person-integrity");
    assert_eq!(code(Some("sam"), |p| &p.cora), "second-person-not-authentic");
}

#[test]
fn an_approval_is_checked_where_none_is_asked_for_and_any_changed_bit_counts() {
    let mut persons = Persons::new();
    persons.world.rules = CommandRules::Builtin;
    let bytes = persons.world.signed(&persons.release(1));
    let approval = persons.approved(&bytes, "sam", &persons.cora);
    assert_eq!(
        codes(&persons.world.judge(&with_approval(&bytes, &approval))),
        ["second-person-not-authentic"]
    );
    persons.world.rules = rules(POLICY);
    let bytes = persons.world.signed(&persons.release(2));
    let pair = with_approval(&bytes, &persons.approved(&bytes, "sam", &persons.sam));
    let fresh = persons.world.replay.clone();
    for at in 0..pair.len() {
        let mut changed = pair.clone();
        changed[at] ^= 1;
        assert!(!codes(&persons.world.judge(&changed)).is_empty(), "byte {at}");
        persons.world.replay = fresh.clone();
    }
    let longer = [pair.as_slice(), &[0]].concat();
    assert_eq!(codes(&persons.world.judge(&longer)), ["payload-malformed"]);
    assert_eq!(codes(&persons.world.judge(&pair)), [""; 0]);
}

#[test]
fn a_weak_second_suite_is_refused_where_the_level_asks_for_more() {
    let mut world = World::new(Curve::P384, Level::Secret);
    let weak = SigningKey::generate(Curve::P256).unwrap();
    world.rules = rules(&POLICY.replace("\"payload.release\"", "\"move.*\""));
    let strong = SigningKey::generate(Curve::P384).unwrap();
    let sam = issuer(
        "sam",
        Role::SecurityOfficer,
        &strong,
        Integrity::MissionCritical,
        &["move.*"],
    );
    world.token.issuers.push(sam);
    let signed = signed_token(&world.token, &world.authority);
    let key = world.authority.verifying_key();
    world
        .missions
        .insert(VerifiedMission::verify(&signed, &key, &world.robot, &world.profiles).unwrap());
    let bytes = world.signed(&world.envelope(1));
    let approval = CommandApproval::of(&bytes, OperatorId::new("sam").unwrap(), weak.suite());
    let approval = approval.unsigned(weak.suite()).sign(&weak).unwrap();
    assert_eq!(
        codes(&world.judge(&with_approval(&bytes, &approval))),
        ["second-person-suite"]
    );
}

fn member(robot: &str, lease: LeaseId, sequence: u64) -> GroupMember {
    GroupMember {
        robot: RobotId::new(robot).unwrap(),
        mission: MISSION,
        lease,
        sequence,
    }
}

#[test]
fn one_command_to_a_group_is_judged_by_each_robot_for_itself() {
    let mut world = World::p256();
    let members = vec![
        member("rover-18", LEASE, 9),
        member("rover-17", LEASE, 4),
        member("arm-1", LeaseId::new([8; 16]), 1),
    ];
    let group = GroupEnvelope::new("alpha", members, world.envelope(0)).unwrap();
    let suite = world.operator.suite();
    let bytes = group.unsigned(suite).sign(&world.operator).unwrap();
    let Verdict::Authorized(command) = world.judge(&bytes) else {
        panic!()
    };
    assert_eq!(
        (command.sequence(), command.name().as_str()),
        (4, "move.velocity")
    );
    assert_eq!(codes(&world.judge(&bytes)), ["replay-used"], "once by each robot");
    // A robot under another lease, one that is not in the group, and one that is not in the mission.
    let mut verdicts = GroupVerdicts::of(group.members().map(|member| member.robot.clone()));
    let mut judge_as = |robot: &str| {
        world.robot = RobotId::new(robot).unwrap();
        codes(&world.judge(&bytes))
    };
    assert_eq!(judge_as("arm-1"), ["wrong-lease"]);
    assert_eq!(judge_as("arm-2"), ["wrong-robot"]);
    assert!(verdicts.note(&RobotId::new("rover-17").unwrap(), MemberVerdict::Admitted));
    let refused = MemberVerdict::Refused(vec!["wrong-lease".to_owned()]);
    assert!(verdicts.note(&RobotId::new("arm-1").unwrap(), refused));
    assert!(
        !verdicts.note(&RobotId::new("arm-2").unwrap(), MemberVerdict::Admitted),
        "not asked"
    );
    assert!(!verdicts.is_unanimous());
    let unanswered: Vec<_> = verdicts
        .iter()
        .filter(|(_, verdict)| **verdict == MemberVerdict::Unanswered)
        .map(|(robot, _)| robot.as_str())
        .collect();
    assert_eq!(unanswered, ["rover-18"]);
}

#[test]
fn a_group_command_is_read_as_strictly_as_any_other() {
    let mut world = World::p256();
    let members = vec![member("rover-16", LEASE, 1), member("rover-17", LEASE, 1)];
    let group = GroupEnvelope::new("alpha", members.clone(), world.envelope(0)).unwrap();
    let bytes = group
        .unsigned(world.operator.suite())
        .sign(&world.operator)
        .unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(!codes(&world.judge(&changed)).is_empty(), "byte {at}");
    }
    assert_eq!(codes(&world.judge(&bytes)), [""; 0]);
    let twice = vec![members[0].clone(), members[0].clone()];
    assert_eq!(
        GroupEnvelope::new("alpha", twice, world.envelope(0)).unwrap_err(),
        GroupError::Twice(members[0].robot.clone())
    );
    assert_eq!(
        GroupEnvelope::new("alpha", vec![], world.envelope(0)).unwrap_err(),
        GroupError::Members(0)
    );
    let many = (0..=MAX_MEMBERS)
        .map(|n| member(&format!("r{n}"), LEASE, 1))
        .collect();
    assert!(matches!(
        GroupEnvelope::new("alpha", many, world.envelope(0)),
        Err(GroupError::Members(_))
    ));
    assert!(matches!(
        GroupEnvelope::new("", members, world.envelope(0)),
        Err(GroupError::Name(_))
    ));
    // The most robots fit into one envelope, with the longest names.
    let most = (0..MAX_MEMBERS).map(|n| member(&format!("{n:0>64}"), LEASE, u64::MAX));
    let most = most
        .map(|member| GroupMember {
            mission: MissionId::new([9; 16]),
            ..member
        })
        .collect();
    let group = GroupEnvelope::new("broadcast", most, world.envelope(0)).unwrap();
    let bytes = group
        .unsigned(world.operator.suite())
        .sign(&world.operator)
        .unwrap();
    assert_eq!(codes(&world.judge(&bytes)), ["wrong-robot"]);
}

#[test]
fn every_reason_has_words_and_something_to_do() {
    for code in [
        "replay-used",
        "lease-over",
        "policy-tool",
        "second-person-missing",
        "emergency-stop",
    ] {
        let explained = explain(code).unwrap();
        assert!(explained.says.ends_with('.') && !explained.remedy.is_empty());
    }
    assert_eq!(explain("no-such-code"), None);
}
