//! The robot: the real gate, stop and latch, with a chip, a disk and a journal that can be told to fail or go back.

use super::reference::{Facts, Model, Seen};
use super::steps::{LEVELS, Lease, Made, Number, Restart, Rules, Scope, Second, Step, WINDOWS, What, Who};
use crate::support::fleet::{Fleet, rover};
use crate::support::{Robot, order};
use alcub3_command_authority::policy::{CommandPolicy, CommandRules, PolicyInForce};
use alcub3_command_authority::{
    Arguments, AttestationLease, CommandApproval, CommandEnvelope, CommandName, CommandPattern, Issuer,
    MissionToken, Reason, ReplayFault, ReplayWindows, Reservation, Role, SafetyLimits, Value, VerifiedLease,
    VerifiedMission, with_approval,
};
use alcub3_crypto::{Curve, Digest, HashAlg, MacKey, SigningKey, Suite};
use alcub3_security_hal::{
    Admitted, CommandGate, EmergencyStop, EpochSnapshot, GateVerdict, PortError, RearmRecord, RearmTrust,
    ReplayStore, SecretVault, StopIntent, StopJournal, StopLimits, StopScope, Zeroizer,
};
use alcub3_trust_model::nv_map::{MissionAnchor, NvIndex};
use alcub3_trust_model::{
    BootId, Integrity, Labels, LeaseId, Level, LevelProfiles, MissionId, OperatorId, RobotId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// The beginning of time, UTC in milliseconds since 1970.
pub const BEGIN_MS: u64 = 1_790_000_000_000;
const SUITE: Suite = Suite::EcdsaP384Sha384;
const MAC: Suite = Suite::HmacSha384;

#[derive(Clone, Default)]
struct Disk(Arc<Mutex<BTreeMap<(LeaseId, OperatorId), Reservation>>>);

impl ReplayStore for Disk {
    fn reserve(&self, reservation: &Reservation) -> Result<(), PortError> {
        let key = (reservation.lease, reservation.issuer.clone());
        self.0.lock().unwrap().insert(key, reservation.clone());
        Ok(())
    }
}

/// The counters of a chip that may not answer.
#[derive(Clone)]
struct Chip {
    epochs: Arc<Mutex<EpochSnapshot>>,
    fails: Arc<AtomicBool>,
}

impl Chip {
    fn answers(&self) -> Result<(), PortError> {
        if self.fails.load(Ordering::SeqCst) {
            Err("the chip does not answer".into())
        } else {
            Ok(())
        }
    }
}

impl Zeroizer for Chip {
    fn extend(&mut self, intent: &StopIntent) -> Result<Digest, PortError> {
        self.answers().map(|()| intent.event_digest(HashAlg::Sha256))
    }

    fn increment(&mut self, intent: &StopIntent) -> Result<Option<u64>, PortError> {
        self.answers()?;
        let mut epochs = self.epochs.lock().unwrap();
        match intent.order().scope.counter() {
            NvIndex::LevelEpoch(level) => epochs.levels[usize::from(level.id())] += 1,
            NvIndex::RobotEpoch => epochs.robot += 1,
            _ => {}
        }
        Ok(None)
    }
}

#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<StopIntent>>>);

impl StopJournal for Journal {
    fn begin(&mut self, intent: &StopIntent) -> Result<(), PortError> {
        let mut begun = self.0.lock().unwrap();
        begun.retain(|other| other.order().stop != intent.order().stop);
        begun.push(intent.clone());
        Ok(())
    }

    fn finish(&mut self, intent: &StopIntent) -> Result<(), PortError> {
        self.0
            .lock()
            .unwrap()
            .retain(|other| other.order().stop != intent.order().stop);
        Ok(())
    }

    fn unfinished(&mut self) -> Result<Vec<StopIntent>, PortError> {
        Ok(self.0.lock().unwrap().clone())
    }
}

/// Everybody's keys, and what they signed once and for all.
pub struct Cast {
    fleet: Fleet,
    trust: RearmTrust,
    alice: SigningKey,
    sam: SigningKey,
    eve: SigningKey,
    mac: MacKey,
    missions: Vec<VerifiedMission>,
}

fn id(mission: usize) -> MissionId {
    MissionId::new([u8::try_from(mission).unwrap() + 1; 16])
}

fn lease_id(boot: u64) -> LeaseId {
    LeaseId::new(u128::from(boot).to_be_bytes())
}

fn anchor(mission: usize) -> MissionAnchor {
    MissionAnchor::new(u8::try_from(mission).unwrap()).unwrap()
}

fn name(who: Who) -> OperatorId {
    let name = match who {
        Who::Alice => "alice",
        Who::Sam => "sam",
        Who::Eve => "eve",
        Who::Mallory => "mallory",
    };
    OperatorId::new(name).unwrap()
}

impl Cast {
    pub fn new() -> Self {
        let key = || SigningKey::generate(Curve::P384).unwrap();
        let fleet = Fleet::new();
        let mut cast = Self {
            trust: fleet.trust(),
            fleet,
            alice: key(),
            sam: key(),
            eve: key(),
            mac: MacKey::new(HashAlg::Sha384, &[7; 48]),
            missions: Vec::new(),
        };
        cast.missions = (0..LEVELS.len()).map(|mission| cast.mission(mission)).collect();
        cast
    }

    fn issuer(who: Who, role: Role, key: &SigningKey, integrity: Integrity) -> Issuer {
        let allowed = match who {
            Who::Sam => vec!["observe.*", "payload.*"],
            _ => vec!["observe.*", "move.*", "payload.*", "mission.*"],
        };
        Issuer {
            operator: name(who),
            role,
            key: key.verifying_key(),
            integrity,
            allowed: allowed
                .into_iter()
                .map(|text| CommandPattern::new(text).unwrap())
                .collect(),
        }
    }

    fn mission(&self, mission: usize) -> VerifiedMission {
        let (begins, ends) = WINDOWS[mission];
        let token = MissionToken {
            mission: id(mission),
            robot: rover(),
            labels: Labels::new(LEVELS[mission], Integrity::Operational),
            not_before_ms: BEGIN_MS + begins,
            not_after_ms: BEGIN_MS + ends,
            end_clock_ms: 9_000_000,
            anchor: anchor(mission),
            anchor_value: 21,
            robot_epoch: 3,
            level_epoch: 14,
            reset_count: 2,
            allowed_resets: 0,
            issuers: vec![
                Self::issuer(
                    Who::Alice,
                    Role::Commander,
                    &self.alice,
                    Integrity::MissionCritical,
                ),
                Self::issuer(Who::Sam, Role::SecurityOfficer, &self.sam, Integrity::Operational),
                Self::issuer(Who::Eve, Role::Operator, &self.eve, Integrity::Untrusted),
            ],
            limits: SafetyLimits {
                max_speed_mm_per_s: 2_000,
                max_turn_mdeg_per_s: 90_000,
                max_duration_ms: 10_000,
                geofence: None,
            },
            replaces: None,
        };
        let authority = &self.fleet.authority;
        let bytes = token.unsigned(SUITE).sign(authority).unwrap();
        VerifiedMission::as_approved(&bytes, &authority.verifying_key(), &rover()).unwrap()
    }

    fn key(&self, who: Who) -> &SigningKey {
        match who {
            Who::Alice | Who::Mallory => &self.alice,
            Who::Sam => &self.sam,
            Who::Eve => &self.eve,
        }
    }

    /// The envelope of what was made, with its second person.
    fn present(&self, facts: &Facts) -> Vec<u8> {
        let (command, arguments) = match facts.what {
            What::Observe => ("observe.camera", Arguments::new()),
            What::Move(speed) => (
                "move.velocity",
                Arguments::new()
                    .with("speed_mm_per_s", Value::Int(speed))
                    .unwrap(),
            ),
            What::Payload => ("payload.release", Arguments::new()),
            What::Maintain => ("maintain.reset", Arguments::new()),
            What::Order(order) => (order.name(), Arguments::new()),
        };
        let envelope = CommandEnvelope {
            robot: if facts.robot {
                rover()
            } else {
                RobotId::new("rover-2").unwrap()
            },
            mission: id(facts.mission),
            lease: lease_id(facts.lease),
            issuer: name(facts.who),
            sequence: facts.sequence,
            issued_at_ms: facts.issued_ms,
            expires_at_ms: facts.expires_ms,
            command: CommandName::new(command).unwrap(),
            labels: Labels::new(facts.level, facts.integrity),
            arguments,
        };
        let mut bytes = if facts.maced {
            envelope.unsigned(MAC).mac(&self.mac).unwrap()
        } else {
            envelope.unsigned(SUITE).sign(self.key(facts.who)).unwrap()
        };
        if facts.forged {
            *bytes.last_mut().unwrap() ^= 1;
        }
        self.with_second(facts, bytes)
    }

    fn with_second(&self, facts: &Facts, envelope: Vec<u8>) -> Vec<u8> {
        let (who, key) = match facts.second {
            Second::None => return envelope,
            Second::Sam => (Who::Sam, &self.sam),
            Second::Issuer => (facts.who, self.key(facts.who)),
            Second::Forged => (Who::Sam, &self.eve),
        };
        let approval = CommandApproval::of(&envelope, name(who), SUITE);
        with_approval(&envelope, &approval.unsigned(SUITE).sign(key).unwrap())
    }

    fn rules(rules: Rules) -> CommandRules {
        let robots = match rules {
            Rules::Builtin => return CommandRules::Builtin,
            Rules::Lost => return CommandRules::Lost,
            Rules::Strict => "rover-*",
            Rules::Elsewhere => "arm-*",
        };
        let text = format!(
            "kind = \"command-policy\"\nplatform = [{{ name = \"rover\", robots = [\"{robots}\"] }}]\n\
             rights = [{{ role = \"operator\", commands = [\"move.*\", \"payload.*\"] }}, \
             {{ role = \"commander\", commands = [\"move.*\", \"payload.*\", \"mission.*\"] }}]\n\
             persons = [{{ commands = [\"payload.*\"] }}]\nlimit = [{{ max_speed_mm_per_s = 500 }}]\n"
        );
        let policy = CommandPolicy::from_toml(text.as_bytes()).unwrap();
        let digest = HashAlg::Sha256.digest(&[text.as_bytes()]);
        CommandRules::Policy(Box::new(PolicyInForce::of(&policy, 1, digest, &rover())))
    }
}

/// One run of the robot's agent.
struct Process {
    gates: Arc<alcub3_security_hal::Gates>,
    gate: Arc<CommandGate>,
    stop: EmergencyStop,
}

/// What a run did, so that a test is known not to pass by doing nothing.
#[derive(Copy, Clone, Debug, Default)]
pub struct Counts {
    pub admitted: u64,
    pub refused: u64,
    pub carried_out: u64,
    pub suspended: u64,
    pub rearmed: u64,
}

/// The real robot and the model of it, side by side.
pub struct World<'c> {
    cast: &'c Cast,
    model: Model,
    process: Process,
    disk: Disk,
    kept: BTreeMap<(LeaseId, OperatorId), Reservation>,
    chip: Chip,
    journal: Journal,
    /// Stops that the chip did not confirm, as the journal has them.
    begun: BTreeMap<u64, Scope>,
    /// Those of them that no later, confirmed stop covers.
    unconfirmed: Vec<Scope>,
    /// Missions that this process knows to be stopped.
    stopped_here: BTreeSet<usize>,
    clock_ms: u64,
    stops: u64,
    next: BTreeMap<(u64, u8), u64>,
    presented: Vec<(Facts, Vec<u8>)>,
    admitted: Vec<(Seen, Admitted)>,
    pub counts: Counts,
}

impl<'c> World<'c> {
    pub fn new(cast: &'c Cast) -> Self {
        let epochs = EpochSnapshot {
            robot: 3,
            levels: [11, 12, 13, 14, 15],
        };
        let chip = Chip {
            epochs: Arc::new(Mutex::new(epochs)),
            fails: Arc::default(),
        };
        let (disk, journal) = (Disk::default(), Journal::default());
        let process = Process::open(lease_id(1), &disk, &chip, &journal);
        let mut world = Self {
            cast,
            model: Model::started(BEGIN_MS, 1),
            process,
            disk,
            kept: BTreeMap::new(),
            chip,
            journal,
            begun: BTreeMap::new(),
            unconfirmed: Vec::new(),
            stopped_here: BTreeSet::new(),
            clock_ms: BEGIN_MS,
            stops: 0,
            next: BTreeMap::new(),
            presented: Vec::new(),
            admitted: Vec::new(),
            counts: Counts::default(),
        };
        // Into the middle of things.
        world.step(Step::Rearm {
            levels: 7,
            stale: false,
        });
        (0..3).for_each(|mission| world.step(Step::StartMission(mission)));
        world.step(Step::Attest {
            ceiling: 2,
            lasts_ms: 30_000,
        });
        world
    }

    /// Does a step to both. Panics where the robot does what the model refuses.
    pub fn step(&mut self, step: Step) {
        match step {
            Step::Command(made) => self.command(&made),
            Step::Replay(at) => self.replay(at),
            Step::Release(at) => self.release(at),
            Step::Wait(ms) => self.set_clock(self.clock_ms + ms),
            Step::ClockBack(ms) => self.set_clock(self.clock_ms.saturating_sub(ms).max(BEGIN_MS)),
            Step::ClockLost => self.model.now_ms = None,
            Step::ClockFound => self.model.now_ms = Some(self.clock_ms),
            Step::StartMission(mission) => self.start_mission(mission),
            Step::EndMission(mission) => {
                self.process.gate.end_mission(&id(mission));
                self.model.end(mission);
            }
            Step::Attest { ceiling, lasts_ms } => self.attest(ceiling, lasts_ms),
            Step::Stop(scope) => self.stop(scope),
            Step::ChipFails(fails) => self.chip.fails.store(fails, Ordering::SeqCst),
            Step::Recover => self.recover(),
            Step::Rearm { levels, stale } => self.rearm(levels, stale),
            Step::Restart(how) => self.restart(how),
            Step::Follow(rules) => {
                self.process.gate.follow(Cast::rules(rules));
                self.model.rules = Some(rules);
            }
            Step::KeepDisk => self.kept = self.disk.0.lock().unwrap().clone(),
        }
    }

    fn set_clock(&mut self, ms: u64) {
        self.clock_ms = ms;
        if self.model.now_ms.is_some() {
            self.model.now_ms = Some(ms);
        }
    }

    fn command(&mut self, made: &Made) {
        let lease = match made.lease {
            Lease::Present => self.model.boot,
            Lease::Before => self.model.boot - 1,
        };
        let next = self.next.entry((lease, made.who as u8)).or_insert(1);
        let sequence = match made.number {
            Number::Next => *next,
            Number::Ahead(by) => *next + by,
            Number::Back(by) => next.saturating_sub(by),
            Number::Zero => 0,
            Number::Beyond => *next + 200_000,
        };
        if matches!(made.number, Number::Next | Number::Ahead(_)) {
            *next = sequence + 1;
        }
        let issued_ms = self.clock_ms.saturating_add_signed(-made.age_ms);
        let facts = Facts {
            robot: made.robot,
            mission: made.mission,
            who: made.who,
            what: made.what,
            lease,
            sequence,
            issued_ms,
            expires_ms: issued_ms + made.valid_ms,
            level: made.level,
            integrity: made.integrity,
            maced: made.maced,
            forged: made.forged,
            second: made.second,
        };
        let bytes = self.cast.present(&facts);
        self.present(facts, &bytes);
        if self.presented.len() >= 64 {
            self.presented.remove(0);
        }
        self.presented.push((facts, bytes));
    }

    fn replay(&mut self, at: usize) {
        if !self.presented.is_empty() {
            let (facts, bytes) = self.presented[at % self.presented.len()].clone();
            self.present(facts, &bytes);
        }
    }

    fn present(&mut self, facts: Facts, bytes: &[u8]) {
        let verdict = self.process.gate.validate(bytes, self.model.now_ms);
        let reserved = |reason: &Reason| !matches!(reason, Reason::Replay(ReplayFault::NotReserved { .. }));
        let looked_at = match &verdict {
            GateVerdict::Admitted(_) => true,
            GateVerdict::Refused(refusal) => refusal.reasons().iter().all(reserved),
        };
        match (verdict, self.model.judge(&facts, looked_at)) {
            (GateVerdict::Admitted(admitted), Ok(seen)) => {
                self.counts.admitted += 1;
                if let Some(order) = admitted.command().order() {
                    assert!(self.process.gate.obey(&admitted.command().mission(), order));
                    self.model.obey(facts.mission, order.suspends());
                    self.counts.suspended += u64::from(order.suspends());
                }
                self.admitted.push((seen, admitted));
                if self.admitted.len() > 16 {
                    self.admitted.remove(0);
                }
            }
            (GateVerdict::Admitted(_), Err(why)) => {
                panic!("accepted what the model refuses for its {why}: {facts:?}")
            }
            (GateVerdict::Refused(refusal), judged) => {
                self.counts.refused += 1;
                // What was reserved ahead of a crash counts as used, which the model does not know.
                let by_window = |reason: &Reason| matches!(reason, Reason::Replay(_));
                let explained = judged.is_err() || refusal.reasons().iter().all(by_window);
                assert!(explained, "refused {refusal:?} what the model accepts: {facts:?}");
            }
        }
    }

    fn release(&mut self, at: usize) {
        if self.admitted.is_empty() {
            return;
        }
        let at = at % self.admitted.len();
        let (seen, admitted) = self.admitted.swap_remove(at);
        let now = self.model.now_ms.unwrap_or(u64::MAX);
        let released = self.process.gate.release(&admitted, now).is_ok();
        assert_eq!(released, self.model.may_release(&seen), "{seen:?}");
        self.counts.carried_out += u64::from(released);
    }

    fn start_mission(&mut self, mission: usize) {
        // Its keys are dead in the chip: an agent that started since has no such mission.
        if self.model.is_dead(mission) && !self.stopped_here.contains(&mission) {
            return;
        }
        let started = self
            .process
            .gate
            .start_mission(self.cast.missions[mission].clone());
        assert_eq!(started.is_ok(), self.model.is_open_for(mission));
        if started.is_ok() {
            self.model.start(mission);
            let keyed =
                self.process
                    .gate
                    .insert_session_key(id(mission), name(Who::Alice), self.cast.mac.clone());
            keyed.unwrap();
        }
    }

    fn attest(&mut self, ceiling: usize, lasts_ms: u64) {
        let (from, until) = (self.clock_ms, self.clock_ms + lasts_ms);
        let boot = BootId::new([1; 16]);
        let lease = AttestationLease {
            robot: rover(),
            lease: lease_id(self.model.boot),
            boot,
            ceiling: LEVELS[ceiling],
            not_before_ms: from,
            not_after_ms: until,
            verdict: HashAlg::Sha384.digest(&[b"verdict"]),
        };
        let authority = &self.cast.fleet.authority;
        let bytes = lease.unsigned(SUITE).sign(authority).unwrap();
        let profiles = LevelProfiles::builtin();
        let verified =
            VerifiedLease::verify(&bytes, &authority.verifying_key(), &rover(), boot, &profiles).unwrap();
        let taken = self.process.gate.renew_lease(verified);
        assert_eq!(taken.is_ok(), self.model.open, "a stopped robot takes no lease");
        if taken.is_ok() {
            self.model.attest(from, until, ceiling);
        }
    }

    fn stop(&mut self, scope: Scope) {
        let real = match scope {
            Scope::Robot => StopScope::Robot,
            Scope::Level(level) => StopScope::Level(LEVELS[level]),
            Scope::Mission(mission) => StopScope::Mission(id(mission), anchor(mission)),
        };
        self.stops += 1;
        let mut order = order(0, real);
        order.stop = alcub3_trust_model::StopId::new(u128::from(self.stops).to_be_bytes());
        self.process.stop.stop(order);
        self.is_stopped(scope);
        if self.chip.fails.load(Ordering::SeqCst) {
            self.begun.insert(self.stops, scope);
            self.unconfirmed.push(scope);
        } else {
            self.unconfirmed
                .retain(|other| scope != Scope::Robot && *other != scope);
        }
    }

    fn is_stopped(&mut self, scope: Scope) {
        self.model.stop(scope);
        if let Scope::Mission(mission) = scope {
            self.stopped_here.insert(mission);
        }
    }

    /// Stops that the chip did not confirm are done once more.
    fn recover(&mut self) {
        self.process.stop.recover().unwrap();
        self.recovered();
    }

    fn recovered(&mut self) {
        let again: Vec<Scope> = self.begun.values().copied().collect();
        again.into_iter().for_each(|scope| self.is_stopped(scope));
        if !self.chip.fails.load(Ordering::SeqCst) {
            self.begun.clear();
            self.unconfirmed.clear();
        }
    }

    fn rearm(&mut self, levels: u8, stale: bool) {
        let present = *self.chip.epochs.lock().unwrap();
        let mut named = present;
        if stale {
            named.robot -= 1;
        }
        let chosen: Vec<usize> = (0..3).filter(|level| levels >> level & 1 == 1).collect();
        let chosen_levels: Vec<Level> = chosen.iter().map(|level| LEVELS[*level]).collect();
        let record: RearmRecord = self.cast.fleet.record(&named, &chosen_levels);
        let rearmed = self.process.stop.rearm(&self.cast.trust, &record, || Ok(present));
        if rearmed.is_ok() {
            assert!(
                !stale && self.unconfirmed.is_empty(),
                "rearmed on epochs that prove nothing"
            );
            self.counts.rearmed += 1;
            self.model.open = true;
            for level in chosen {
                self.model.open_levels[level] = true;
            }
        }
    }

    fn restart(&mut self, how: Restart) {
        let mut boot = self.model.boot;
        match how {
            Restart::Clean => {
                for used in self.process.gate.used() {
                    self.disk.reserve(&used).unwrap();
                }
            }
            Restart::Crash => {}
            Restart::Reboot => boot += 1,
            Restart::OldDisk => {
                boot += 1;
                *self.disk.0.lock().unwrap() = self.kept.clone();
            }
        }
        self.process = Process::open(lease_id(boot), &self.disk, &self.chip, &self.journal);
        self.model.restart(boot);
        self.stopped_here.clear();
        self.recovered();
        self.admitted.clear();
        // Whoever commands goes on above what was reserved.
        for ((lease, issuer), reservation) in self.disk.0.lock().unwrap().iter() {
            if *lease == lease_id(boot) {
                let who = [Who::Alice, Who::Sam, Who::Eve]
                    .into_iter()
                    .find(|who| name(*who) == *issuer);
                self.next
                    .insert((boot, who.unwrap() as u8), reservation.through + 1);
            }
        }
        let rules = self.model.rules.unwrap_or(Rules::Builtin);
        self.process.gate.follow(Cast::rules(rules));
    }
}

impl Process {
    fn open(lease: LeaseId, disk: &Disk, chip: &Chip, journal: &Journal) -> Self {
        let robot = Robot::new();
        let stored: Vec<Reservation> = disk.0.lock().unwrap().values().cloned().collect();
        let gate = Arc::new(CommandGate::new(
            Arc::clone(&robot.gates),
            rover(),
            Labels::new(Level::Secret, Integrity::Operational),
            LevelProfiles::builtin(),
            ReplayWindows::restored(lease, &stored),
            Arc::new(disk.clone()),
        ));
        let mut parts = robot.parts();
        let vaults: Vec<Box<dyn SecretVault>> = vec![Box::new(Arc::clone(&gate))];
        parts.vault = Box::new(vaults);
        parts.zeroizer = Box::new(chip.clone());
        parts.journal = Box::new(journal.clone());
        let stop = EmergencyStop::new(Arc::clone(&robot.gates), parts, StopLimits::default()).unwrap();
        stop.recover().unwrap();
        Self {
            gates: robot.gates,
            gate,
            stop,
        }
    }
}

impl World<'_> {
    /// At the end of a run, and whenever it is asked: a stopped robot admits nothing.
    pub fn check_gates(&self) {
        assert_eq!(self.process.gates.admit().is_some(), self.model.open);
    }
}
