//! A mission while it runs: it is suspended and resumed, and handed over to others.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/missions.rs"]
mod missions;
mod support;

use alcub3_command_authority::{CommandName, MissionToken, Reason};
use alcub3_crypto::{Curve, HashAlg, SigningKey};
use alcub3_keys::MissionRecord;
use alcub3_security_hal::GateVerdict;
use alcub3_trust_model::{OperatorId, SessionId, StopCause};
use missions::audit_names;
use support::{Life, NOW_MS};

const HOUR_MS: u64 = 3_600_000;

/// A robot on a mission that alice commands, with somebody else who could.
struct World {
    life: Life,
    mission: MissionRecord,
    bea: SigningKey,
    sequence: u64,
}

impl World {
    fn new() -> Self {
        let mut life = Life::running();
        let mission = life.start_mission(HOUR_MS);
        life.take_lease();
        Self {
            life,
            mission,
            bea: SigningKey::generate(Curve::P256).unwrap(),
            sequence: 0,
        }
    }

    fn verdict(&mut self, who: &str, command: &str) -> GateVerdict {
        self.sequence += 1;
        let mut envelope = self.life.envelope(&self.mission, self.sequence);
        envelope.command = CommandName::new(command).unwrap();
        if !command.starts_with("move.") {
            envelope.arguments = alcub3_command_authority::Arguments::new();
        }
        envelope.issuer = OperatorId::new(who).unwrap();
        let key = if who == "bea" {
            &self.bea
        } else {
            &self.life.authority.operator
        };
        let signed = envelope.unsigned(key.suite()).sign(key).unwrap();
        self.life.robot().validate(&signed, Some(NOW_MS)).unwrap()
    }

    /// The reasons against a command; none where it is admitted.
    fn give(&mut self, who: &str, command: &str) -> Vec<&'static str> {
        match self.verdict(who, command) {
            GateVerdict::Admitted(_) => Vec::new(),
            GateVerdict::Refused(refusal) => refusal.reasons().iter().map(Reason::code).collect(),
        }
    }

    /// The robot starts anew, in the same boot.
    fn restart(&mut self) {
        self.life.robot.take().unwrap().close().unwrap();
        self.life.open();
    }

    /// Asks for others to command; the exchange, and the token that the authority makes of it.
    fn ask(&mut self, who: &str) -> (SessionId, MissionToken) {
        let session = self.life.next_session();
        let authority = &self.life.authority;
        let key = if who == "bea" {
            &self.bea
        } else {
            &authority.operator
        };
        let handed = authority.handed_over(self.life.robot(), self.mission.mission, session, (who, key));
        (session, handed)
    }

    /// The code of why an approval of a token is not taken; none where it is.
    fn take(&self, session: SessionId, approval: &[u8]) -> Option<&'static str> {
        let robot = self.life.robot();
        let taken = robot.hand_over_mission(session, self.mission.mission, approval, NOW_MS);
        taken.err().map(|error| error.reason_code().unwrap())
    }

    fn hand_over(&mut self, who: &str) -> (SessionId, Vec<u8>) {
        let (session, token) = self.ask(who);
        let approval = self.life.authority.approve_token(&token, session);
        assert_eq!(self.take(session, &approval), None);
        (session, approval)
    }
}

#[test]
fn a_suspended_mission_takes_no_command_until_it_is_resumed_nor_after_a_restart() {
    let mut world = World::new();
    assert_eq!(world.give("alice", "mission.suspend"), [""; 0]);
    let robot = world.life.robot();
    assert!(robot.active_mission(world.mission.mission).unwrap().suspended);
    assert_eq!(world.give("alice", "move.velocity"), ["mission-suspended"]);
    assert_eq!(
        world.give("alice", "mission.suspend"),
        ["mission-suspended"],
        "it is, already"
    );
    world.restart();
    assert_eq!(world.give("alice", "move.velocity"), ["mission-suspended"]);
    assert_eq!(world.give("alice", "mission.resume"), [""; 0]);
    assert_eq!(world.give("alice", "move.velocity"), [""; 0]);
    world.restart();
    assert_eq!(world.give("alice", "move.velocity"), [""; 0]);
}

#[test]
fn an_order_that_the_disk_does_not_keep_is_told_as_such_and_a_suspension_holds_all_the_same() {
    let mut world = World::new();
    let folder = world.life.path().join("missions");
    let away = world.life.path().join("away");
    std::fs::rename(&folder, &away).unwrap();
    assert_eq!(world.give("alice", "mission.suspend"), ["order-not-kept"]);
    assert!(audit_names(&world.life, "order-not-kept"));
    assert_eq!(world.give("alice", "move.velocity"), ["mission-suspended"]);
    assert_eq!(world.give("alice", "mission.resume"), ["order-not-kept"]);
    assert_eq!(world.give("alice", "move.velocity"), ["mission-suspended"]);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::rename(&away, &folder).unwrap();
    assert_eq!(world.give("alice", "mission.resume"), [""; 0]);
    assert_eq!(world.give("alice", "move.velocity"), [""; 0]);
}

#[test]
fn a_mission_is_handed_over_and_no_approval_of_before_brings_a_commander_back() {
    let mut world = World::new();
    assert_eq!(world.give("bea", "move.velocity"), ["issuer-unknown"]);
    let (to_bea, bea) = world.hand_over("bea");
    assert!(audit_names(&world.life, "handed-over"));
    assert_eq!(world.give("alice", "move.velocity"), ["issuer-unknown"]);
    assert_eq!(world.give("bea", "move.velocity"), [""; 0]);
    world.restart();
    assert_eq!(world.give("alice", "move.velocity"), ["issuer-unknown"]);
    // A suspended mission is handed over as it is.
    assert_eq!(world.give("bea", "mission.suspend"), [""; 0]);
    let (to_alice, alice) = world.hand_over("alice");
    assert_eq!(world.give("alice", "move.velocity"), ["mission-suspended"]);
    assert_eq!(world.give("alice", "mission.resume"), [""; 0]);
    assert_eq!(world.give("alice", "move.velocity"), [""; 0]);
    for (session, approval) in [(to_bea, &bea), (to_alice, &alice)] {
        assert_eq!(world.take(session, approval), Some("not-in-force"));
    }
    assert_eq!(world.give("bea", "move.velocity"), ["issuer-unknown"]);
    // Its end is moved as before.
    world.mission = world.life.robot().keys().mission(world.mission.mission).unwrap();
    let mission = world.mission.clone();
    world.mission = world.life.move_end(&mission, 2 * HOUR_MS);
    assert_eq!(world.give("alice", "move.velocity"), [""; 0]);
    assert_eq!(world.take(to_alice, &alice), Some("not-in-force"));
}

/// Numbers that a commander used stay used while others command.
#[test]
fn a_command_of_before_a_hand_over_is_not_taken_again_after_the_next() {
    let mut world = World::new();
    let envelope = world.life.envelope(&world.mission, 1);
    let key = &world.life.authority.operator;
    let signed = envelope.unsigned(key.suite()).sign(key).unwrap();
    let first = world.life.robot().validate(&signed, Some(NOW_MS)).unwrap();
    assert!(matches!(first, GateVerdict::Admitted(_)));
    world.hand_over("bea");
    world.hand_over("alice");
    let again = world.life.robot().validate(&signed, Some(NOW_MS)).unwrap();
    let GateVerdict::Refused(refusal) = again else {
        panic!("a replay");
    };
    assert_eq!(refusal.reasons()[0].code(), "replay-used");
}

#[test]
fn nothing_but_who_commands_is_handed_over() {
    type Change = fn(&mut MissionToken);
    let changes: [(&str, Change); 6] = [
        ("not-in-force", |token| token.replaces = None),
        ("not-in-force", |token| {
            token.replaces = Some(HashAlg::Sha256.digest(&[b"another"]));
        }),
        ("not-handed-over", |token| token.limits.max_speed_mm_per_s += 1),
        ("not-handed-over", |token| token.end_clock_ms += 1),
        ("not-handed-over", |token| token.not_after_ms -= 1),
        ("not-handed-over", |token| token.allowed_resets = 0),
    ];
    let mut world = World::new();
    for (code, change) in changes {
        let (session, mut token) = world.ask("bea");
        change(&mut token);
        let approval = world.life.authority.approve_token(&token, session);
        assert_eq!(world.take(session, &approval), Some(code));
        assert!(audit_names(&world.life, code));
    }
    let (session, token) = world.ask("bea");
    let approval = world.life.authority.approve_token(&token, session);
    let other = world.life.next_session();
    assert_eq!(world.take(other, &approval), Some("other-approval"));
    assert_eq!(world.give("bea", "move.velocity"), ["issuer-unknown"]);
    assert_eq!(world.give("alice", "move.velocity"), [""; 0]);
}

#[test]
fn what_a_stop_ended_is_neither_resumed_nor_handed_over() {
    let mut world = World::new();
    assert_eq!(world.give("alice", "mission.suspend"), [""; 0]);
    let (session, token) = world.ask("bea");
    let approval = world.life.authority.approve_token(&token, session);
    let scope = world.life.robot().mission_scope(world.mission.mission).unwrap();
    let robot = world.life.robot();
    robot.stop(scope, StopCause::ManualTrigger, NOW_MS).unwrap();
    let handed = robot.hand_over_mission(session, world.mission.mission, &approval, NOW_MS);
    handed.unwrap_err();
    assert_eq!(world.give("alice", "mission.resume"), ["mission-unknown"]);
    assert_eq!(world.life.robot().keys().mission_ids().unwrap(), []);
}
