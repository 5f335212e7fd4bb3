//! The command gate: what a stop ends is refused, also where the stop comes while a command is judged.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use alcub3_command_authority::{
    Arguments, AttestationLease, CommandEnvelope, CommandName, CommandPattern, Issuer, MissionOrder,
    MissionToken, Reason, ReplayFault, ReplayWindows, Reservation, Role, SafetyLimits, VerifiedLease,
    VerifiedMission,
};
use alcub3_crypto::{Curve, HashAlg, MacKey, SigningKey, Suite, hmac};
use alcub3_security_hal::{
    CommandGate, CommandGateError, EmergencyStop, GateVerdict, PortError, ReplayStore, SecretVault,
    StopLimits, StopScope,
};
use alcub3_trust_model::nv_map::MissionAnchor;
use alcub3_trust_model::{BootId, Integrity, Labels, LeaseId, Level, LevelProfiles, MissionId, OperatorId};
use support::fleet::{Fleet, epochs, rover};
use support::{Robot, order};

const NOW: u64 = 1_790_000_000_000;
const SUITE: Suite = Suite::EcdsaP384Sha384;

#[derive(Default)]
struct Disk {
    full: Mutex<bool>,
    kept: Mutex<BTreeMap<OperatorId, Reservation>>,
}

impl ReplayStore for Disk {
    fn reserve(&self, reservation: &Reservation) -> Result<(), PortError> {
        if *self.full.lock().unwrap() {
            return Err("no space left on device".into());
        }
        self.kept
            .lock()
            .unwrap()
            .insert(reservation.issuer.clone(), reservation.clone());
        Ok(())
    }
}

struct World {
    robot: Robot,
    fleet: Fleet,
    disk: Arc<Disk>,
    issuer: SigningKey,
    gate: Arc<CommandGate>,
    stop: EmergencyStop,
}

fn mission_id() -> MissionId {
    MissionId::new([5; 16])
}

fn lease_id() -> LeaseId {
    LeaseId::new([6; 16])
}

fn boot() -> BootId {
    BootId::new([7; 16])
}

fn limits() -> SafetyLimits {
    SafetyLimits {
        max_speed_mm_per_s: 2_000,
        max_turn_mdeg_per_s: 90_000,
        max_duration_ms: 10_000,
        geofence: None,
    }
}

fn alice() -> OperatorId {
    OperatorId::new("alice").unwrap()
}

fn labels() -> Labels {
    Labels::new(Level::Secret, Integrity::Operational)
}

impl World {
    fn new() -> Self {
        Self::wiping(true)
    }

    /// A robot whose stop wipes the gate's session keys, or leaves it to the gate itself.
    fn wiping(wipes_gate: bool) -> Self {
        let (robot, fleet, disk) = (Robot::new(), Fleet::new(), Arc::new(Disk::default()));
        let store: Arc<dyn ReplayStore> = disk.clone();
        let windows = ReplayWindows::new(lease_id());
        let gate = Arc::new(CommandGate::new(
            Arc::clone(&robot.gates),
            rover(),
            labels(),
            LevelProfiles::builtin(),
            windows,
            store,
        ));
        let mut parts = robot.parts();
        if wipes_gate {
            let vaults: Vec<Box<dyn SecretVault>> = vec![Box::new(Arc::clone(&gate)), parts.vault];
            parts.vault = Box::new(vaults);
        }
        let stop = EmergencyStop::new(Arc::clone(&robot.gates), parts, StopLimits::default()).unwrap();
        stop.recover().unwrap();
        let issuer = SigningKey::generate(Curve::P384).unwrap();
        Self {
            robot,
            fleet,
            disk,
            issuer,
            gate,
            stop,
        }
    }

    /// Rearmed, attested and on a mission.
    fn ready() -> Self {
        Self::new().on_mission()
    }

    fn on_mission(self) -> Self {
        let world = self;
        world.rearm(3);
        world.gate.renew_lease(world.lease()).unwrap();
        world.gate.start_mission(world.mission()).unwrap();
        world
    }

    fn rearm(&self, epoch: u64) {
        let now = epochs(epoch);
        let record = self.fleet.record(&now, &Level::ALL);
        self.stop.rearm(&self.fleet.trust(), &record, || Ok(now)).unwrap();
    }

    fn lease(&self) -> VerifiedLease {
        let lease = AttestationLease {
            robot: rover(),
            lease: lease_id(),
            boot: boot(),
            ceiling: Level::Secret,
            not_before_ms: NOW - 1000,
            not_after_ms: NOW + 30_000,
            verdict: HashAlg::Sha384.digest(&[b"verdict"]),
        };
        let bytes = lease.unsigned(SUITE).sign(&self.fleet.authority).unwrap();
        VerifiedLease::verify(
            &bytes,
            &self.fleet.authority.verifying_key(),
            &rover(),
            boot(),
            &LevelProfiles::builtin(),
        )
        .unwrap()
    }

    fn mission(&self) -> VerifiedMission {
        self.mission_of(alice(), &self.issuer)
    }

    fn mission_of(&self, operator: OperatorId, key: &SigningKey) -> VerifiedMission {
        let issuer = Issuer {
            operator,
            role: Role::Operator,
            key: key.verifying_key(),
            integrity: Integrity::Operational,
            allowed: vec![CommandPattern::new("observe.*").unwrap()],
        };
        let token = MissionToken {
            mission: mission_id(),
            robot: rover(),
            labels: labels(),
            not_before_ms: NOW - 1000,
            not_after_ms: NOW + 3_600_000,
            end_clock_ms: 9_000_000,
            anchor: MissionAnchor::new(1).unwrap(),
            anchor_value: 21,
            robot_epoch: 3,
            level_epoch: 14,
            reset_count: 2,
            allowed_resets: 0,
            issuers: vec![issuer],
            limits: limits(),
            replaces: None,
        };
        let bytes = token.unsigned(SUITE).sign(&self.fleet.authority).unwrap();
        VerifiedMission::as_approved(&bytes, &self.fleet.authority.verifying_key(), &rover()).unwrap()
    }

    fn envelope(&self, sequence: u64) -> CommandEnvelope {
        CommandEnvelope {
            robot: rover(),
            mission: mission_id(),
            lease: lease_id(),
            issuer: alice(),
            sequence,
            issued_at_ms: NOW - 10,
            expires_at_ms: NOW + 5_000,
            command: CommandName::new("observe.camera").unwrap(),
            labels: labels(),
            arguments: Arguments::new(),
        }
    }

    fn signed(&self, sequence: u64) -> Vec<u8> {
        self.envelope(sequence)
            .unsigned(SUITE)
            .sign(&self.issuer)
            .unwrap()
    }

    fn judge(&self, sequence: u64) -> GateVerdict {
        self.gate.validate(&self.signed(sequence), Some(NOW))
    }
}

fn reasons(verdict: GateVerdict) -> Vec<Reason> {
    match verdict {
        GateVerdict::Admitted(_) => Vec::new(),
        GateVerdict::Refused(refusal) => refusal.reasons().to_vec(),
    }
}

fn admitted(verdict: GateVerdict) -> alcub3_security_hal::Admitted {
    match verdict {
        GateVerdict::Admitted(admitted) => admitted,
        GateVerdict::Refused(refusal) => panic!("{:?}", refusal.reasons()),
    }
}

#[test]
fn a_command_in_order_is_admitted_once_and_released() {
    let world = World::ready();
    let command = admitted(world.judge(1));
    let (name, _) = world.gate.release(&command, NOW).unwrap();
    assert_eq!(name.as_str(), "observe.camera");
    assert_eq!(
        world.gate.release(&command, NOW + 5_000).unwrap_err(),
        Reason::Expired
    );
    assert_eq!(reasons(world.judge(1)), [Reason::Replay(ReplayFault::Used)]);
}

#[test]
fn what_was_admitted_before_a_suspension_or_a_hand_over_is_not_released_after_it() {
    let world = World::ready();
    let first = admitted(world.judge(1));
    assert!(world.gate.obey(&mission_id(), MissionOrder::Suspend));
    assert_eq!(
        world.gate.release(&first, NOW).unwrap_err(),
        Reason::MissionSuspended
    );
    assert_eq!(reasons(world.judge(2)), [Reason::MissionSuspended]);
    assert!(world.gate.obey(&mission_id(), MissionOrder::Resume));
    world.gate.release(&first, NOW).unwrap();
    let others = SigningKey::generate(Curve::P384).unwrap();
    world
        .gate
        .start_mission(world.mission_of(OperatorId::new("bea").unwrap(), &others))
        .unwrap();
    assert_eq!(
        world.gate.release(&first, NOW).unwrap_err(),
        Reason::UnknownIssuer
    );
    assert_eq!(reasons(world.judge(3)), [Reason::UnknownIssuer]);
    world.stop.stop(order(1, StopScope::Robot));
    assert!(
        !world.gate.obey(&mission_id(), MissionOrder::Resume),
        "it is over"
    );
}

#[test]
fn while_stopped_every_command_is_refused_as_such() {
    let world = World::new();
    assert_eq!(
        reasons(world.judge(1)),
        [Reason::EmergencyStop],
        "a start is stopped"
    );
    let world = World::ready();
    world.stop.stop(order(1, StopScope::Robot));
    assert_eq!(reasons(world.judge(1)), [Reason::EmergencyStop]);
    assert_eq!(
        reasons(world.gate.validate(b"not an envelope", Some(NOW))),
        [Reason::EmergencyStop]
    );
}

#[test]
fn a_command_judged_before_a_stop_is_not_released_after_it() {
    for scope in [
        StopScope::Robot,
        StopScope::Level(Level::Secret),
        StopScope::Mission(mission_id(), MissionAnchor::new(1).unwrap()),
    ] {
        let world = World::ready();
        let command = admitted(world.judge(1));
        world.stop.stop(order(1, scope.clone()));
        assert_eq!(
            world.gate.release(&command, NOW).unwrap_err(),
            Reason::EmergencyStop,
            "{scope:?}"
        );
        if scope == StopScope::Robot {
            world.rearm(4);
        }
        assert_eq!(
            world.gate.release(&command, NOW).unwrap_err(),
            Reason::EmergencyStop,
            "nor after a rearm"
        );
    }
}

/// The stop comes from inside the judgement: after the envelope was found in order, before the verdict.
#[test]
fn a_stop_during_the_judgement_refuses_the_command() {
    for scope in [StopScope::Robot, StopScope::Level(Level::Secret)] {
        let world = World::ready();
        let key = b"the key inside the TPM";
        let envelope = world.envelope(1).unsigned(Suite::HmacSha384);
        let bytes = envelope.mac(&MacKey::new(HashAlg::Sha384, key)).unwrap();
        let verdict = std::thread::scope(|threads| {
            world.gate.validate_with_tag(&bytes, Some(NOW), |asked| {
                // On another thread, as stops come.
                threads.spawn(|| world.stop.stop(order(1, scope.clone())));
                while !world.robot.gates.is_level_stopped(Level::Secret) {
                    std::thread::yield_now();
                }
                Ok(hmac(HashAlg::Sha384, key, &[&asked.signed]))
            })
        });
        assert_eq!(reasons(verdict), [Reason::EmergencyStop], "{scope:?}");
    }
}

#[test]
fn a_key_inside_the_tpm_judges_as_one_in_memory() {
    let world = World::ready();
    let key = b"the key inside the TPM";
    let bytes = |sequence| {
        let envelope = world.envelope(sequence).unsigned(Suite::HmacSha384);
        envelope.mac(&MacKey::new(HashAlg::Sha384, key)).unwrap()
    };
    let tag = |key: &'static [u8]| {
        move |asked: &alcub3_security_hal::ChipMac| Ok(hmac(HashAlg::Sha384, key, &[&asked.signed]))
    };
    admitted(world.gate.validate_with_tag(&bytes(1), Some(NOW), tag(key)));
    let forged = world
        .gate
        .validate_with_tag(&bytes(2), Some(NOW), tag(b"another key"));
    assert_eq!(reasons(forged), [Reason::NotAuthentic]);
    let silent = world
        .gate
        .validate_with_tag(&bytes(2), Some(NOW), |_| Err(Reason::KeyUnusable));
    assert_eq!(reasons(silent), [Reason::KeyUnusable], "no fallback");

    world
        .gate
        .insert_session_key(mission_id(), alice(), MacKey::new(HashAlg::Sha384, key))
        .unwrap();
    admitted(world.gate.validate(&bytes(2), Some(NOW)));
}

#[test]
fn after_a_rearm_the_lease_and_the_missions_of_before_are_gone() {
    let world = World::ready();
    world.stop.stop(order(1, StopScope::Robot));
    world.rearm(4);
    assert_eq!(reasons(world.judge(1)), [Reason::UnknownMission]);
    world.gate.start_mission(world.mission()).unwrap();
    assert_eq!(
        reasons(world.judge(1)),
        [Reason::NoLease],
        "a fresh attestation is due"
    );
    world.gate.renew_lease(world.lease()).unwrap();
    admitted(world.judge(2));
}

#[test]
fn what_a_stop_ended_stays_ended_even_when_nobody_wiped_the_gate() {
    let world = World::wiping(false).on_mission();
    let key = MacKey::new(HashAlg::Sha384, b"session key");
    world.gate.insert_session_key(mission_id(), alice(), key).unwrap();
    world.stop.stop(order(1, StopScope::Level(Level::Secret)));
    assert!(
        world.gate.missions().is_empty(),
        "a level's stop ends its missions"
    );

    let world = World::wiping(false).on_mission();
    world.stop.stop(order(1, StopScope::Robot));
    assert!(world.gate.missions().is_empty());
    world.rearm(4);
    assert_eq!(reasons(world.judge(1)), [Reason::UnknownMission]);
    world.gate.start_mission(world.mission()).unwrap();
    assert_eq!(
        reasons(world.judge(1)),
        [Reason::NoLease],
        "the lease of before is void"
    );
    let maced = world
        .envelope(2)
        .unsigned(Suite::HmacSha384)
        .mac(&MacKey::new(HashAlg::Sha384, b"session key"));
    let verdict = world.gate.validate(&maced.unwrap(), Some(NOW));
    assert_eq!(reasons(verdict), [Reason::NoSessionKey]);
}

#[test]
fn a_rearm_of_one_level_leaves_the_missions_of_another_running() {
    let world = World::wiping(false).on_mission();
    world.stop.stop(order(1, StopScope::Level(Level::Cui)));
    let now = epochs(3);
    let record = world.fleet.record(&now, &[Level::Cui]);
    world
        .stop
        .rearm(&world.fleet.trust(), &record, || Ok(now))
        .unwrap();
    admitted(world.judge(1));
}

#[test]
fn stopping_one_level_or_mission_leaves_the_rest_running() {
    let world = World::ready();
    world.stop.stop(order(1, StopScope::Level(Level::Cui)));
    admitted(world.judge(1));
    let other = StopScope::Mission(MissionId::new([9; 16]), MissionAnchor::new(2).unwrap());
    world.stop.stop(order(2, other));
    admitted(world.judge(2));
    let own = StopScope::Mission(mission_id(), MissionAnchor::new(1).unwrap());
    world.stop.stop(order(3, own));
    assert_eq!(reasons(world.judge(3)), [Reason::UnknownMission]);
    assert!(matches!(
        world.gate.start_mission(world.mission()),
        Err(CommandGateError::Stopped)
    ));
}

#[test]
fn a_full_disk_takes_no_mission_and_no_command() {
    let world = World::new();
    world.rearm(3);
    world.gate.renew_lease(world.lease()).unwrap();
    *world.disk.full.lock().unwrap() = true;
    assert!(matches!(
        world.gate.start_mission(world.mission()),
        Err(CommandGateError::Reserve(_))
    ));
    assert_eq!(reasons(world.judge(1)), [Reason::UnknownMission]);
    *world.disk.full.lock().unwrap() = false;
    world.gate.start_mission(world.mission()).unwrap();
    admitted(world.judge(1));
    assert!(
        world.disk.kept.lock().unwrap()[&alice()].through > 1,
        "reserved before anything was accepted"
    );
}
