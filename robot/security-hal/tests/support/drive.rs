//! A robot on a mission whose platforms are driven: gates, a command gate, a stop, and an operator who may move it.
#![allow(dead_code, unreachable_pub)]

use std::sync::Arc;
use std::time::Duration;

use alcub3_command_authority::{
    Arguments, AttestationLease, CommandEnvelope, CommandName, CommandPattern, Issuer, MissionToken,
    ReplayWindows, Reservation, Role, SafetyLimits, Value, VerifiedLease, VerifiedMission,
};
use alcub3_crypto::{Curve, HashAlg, SigningKey, Suite};
use alcub3_security_hal::platform::{DriveLimits, DriveRefusal, PlatformUnit, Platforms};
use alcub3_security_hal::{
    Admitted, Clock, CommandGate, EmergencyStop, GateVerdict, PlatformAdapter, PortError, ReplayStore,
    StopLimits, SystemClock,
};
use alcub3_trust_model::nv_map::MissionAnchor;
use alcub3_trust_model::{BootId, Integrity, Labels, LeaseId, Level, LevelProfiles, MissionId, OperatorId};

use super::Robot;
use super::fleet::{Fleet, epochs, rover};

pub const NOW: u64 = 1_790_000_000_000;
const SUITE: Suite = Suite::EcdsaP384Sha384;

/// Real nanoseconds, and a wall time that stands.
pub struct TestClock(pub SystemClock);

impl Clock for TestClock {
    fn monotonic_ns(&self) -> u64 {
        self.0.monotonic_ns()
    }

    fn utc_ms(&self) -> Option<u64> {
        Some(NOW)
    }
}

pub fn clock() -> Arc<dyn Clock> {
    Arc::new(TestClock(SystemClock::new()))
}

struct NoDisk;

impl ReplayStore for NoDisk {
    fn reserve(&self, _: &Reservation) -> Result<(), PortError> {
        Ok(())
    }
}

/// Limits short enough for tests of what stalls.
pub fn short() -> DriveLimits {
    DriveLimits {
        poll: Duration::from_millis(10),
        execute: Duration::from_millis(150),
        stall_after: Duration::from_millis(200),
    }
}

pub struct Driving {
    pub platforms: Platforms,
    pub gate: Arc<CommandGate>,
    pub stop: EmergencyStop,
    fleet: Fleet,
    issuer: SigningKey,
    sequence: std::cell::Cell<u64>,
    epoch: std::cell::Cell<u64>,
}

fn labels() -> Labels {
    Labels::new(Level::Secret, Integrity::Operational)
}

pub fn mission_id() -> MissionId {
    MissionId::new([5; 16])
}

impl Driving {
    /// A robot whose platforms are these, on a mission.
    pub fn new(units: Vec<PlatformUnit>, limits: DriveLimits) -> Self {
        let (robot, fleet) = (Robot::new(), Fleet::new());
        let gate = Arc::new(CommandGate::new(
            Arc::clone(&robot.gates),
            rover(),
            labels(),
            LevelProfiles::builtin(),
            ReplayWindows::new(LeaseId::new([6; 16])),
            Arc::new(NoDisk),
        ));
        let (platforms, brakes) = Platforms::start(units, clock(), limits).unwrap();
        let mut parts = robot.parts();
        parts.adapters = brakes;
        parts
            .adapters
            .push(robot.part("recorder") as Box<dyn PlatformAdapter>);
        let stop = EmergencyStop::new(Arc::clone(&robot.gates), parts, StopLimits::default()).unwrap();
        stop.recover().unwrap();
        let driving = Self {
            platforms,
            gate,
            stop,
            fleet,
            issuer: SigningKey::generate(Curve::P384).unwrap(),
            sequence: std::cell::Cell::new(0),
            epoch: std::cell::Cell::new(3),
        };
        driving.go();
        driving
    }

    /// Rearms, attests and starts the mission.
    pub fn go(&self) {
        let epoch = self.epoch.get();
        self.epoch.set(epoch + 1);
        let now = epochs(epoch);
        let record = self.fleet.record(&now, &Level::ALL);
        self.stop.rearm(&self.fleet.trust(), &record, || Ok(now)).unwrap();
        self.gate.renew_lease(self.lease()).unwrap();
        self.gate.start_mission(self.mission()).unwrap();
    }

    fn lease(&self) -> VerifiedLease {
        let lease = AttestationLease {
            robot: rover(),
            lease: LeaseId::new([6; 16]),
            boot: BootId::new([7; 16]),
            ceiling: Level::Secret,
            not_before_ms: NOW - 1000,
            not_after_ms: NOW + 30_000,
            verdict: HashAlg::Sha384.digest(&[b"verdict"]),
        };
        let bytes = lease.unsigned(SUITE).sign(&self.fleet.authority).unwrap();
        let key = self.fleet.authority.verifying_key();
        VerifiedLease::verify(
            &bytes,
            &key,
            &rover(),
            BootId::new([7; 16]),
            &LevelProfiles::builtin(),
        )
        .unwrap()
    }

    fn mission(&self) -> VerifiedMission {
        let pattern = |text| CommandPattern::new(text).unwrap();
        let issuer = Issuer {
            operator: OperatorId::new("alice").unwrap(),
            role: Role::Operator,
            key: self.issuer.verifying_key(),
            integrity: Integrity::Operational,
            allowed: vec![pattern("move.*"), pattern("observe.*")],
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
            limits: SafetyLimits {
                max_speed_mm_per_s: 9_000,
                max_turn_mdeg_per_s: 90_000,
                max_duration_ms: 60_000,
                geofence: None,
            },
            replaces: None,
        };
        let bytes = token.unsigned(SUITE).sign(&self.fleet.authority).unwrap();
        VerifiedMission::as_approved(&bytes, &self.fleet.authority.verifying_key(), &rover()).unwrap()
    }

    /// A command that the gate admits.
    pub fn admitted(&self, command: &str, arguments: &[(&str, i64)]) -> Admitted {
        self.sequence.set(self.sequence.get() + 1);
        let with = |all: Arguments, (name, value): &(&str, i64)| all.with(name, Value::Int(*value)).unwrap();
        let envelope = CommandEnvelope {
            robot: rover(),
            mission: mission_id(),
            lease: LeaseId::new([6; 16]),
            issuer: OperatorId::new("alice").unwrap(),
            sequence: self.sequence.get(),
            issued_at_ms: NOW - 10,
            expires_at_ms: NOW + 10_000,
            command: CommandName::new(command).unwrap(),
            labels: labels(),
            arguments: arguments.iter().fold(Arguments::new(), with),
        };
        let bytes = envelope.unsigned(SUITE).sign(&self.issuer).unwrap();
        match self.gate.validate(&bytes, Some(NOW)) {
            GateVerdict::Admitted(admitted) => admitted,
            GateVerdict::Refused(refusal) => panic!("refused: {refusal:?}"),
        }
    }

    /// Has a command judged and carried out.
    pub fn command(&self, command: &str, arguments: &[(&str, i64)]) -> Result<(), DriveRefusal> {
        self.platforms
            .execute(&self.gate, self.admitted(command, arguments))
    }
}
