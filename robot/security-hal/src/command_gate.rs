//! The gate for commands: the verdict of `alcub3-command-authority` between two looks at the stop.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use alcub3_command_authority::policy::{CommandRules, RecordedCommand};
use alcub3_command_authority::{
    ActiveMissions, Arguments, AuthorizedCommand, CommandName, Context, MissionOrder, MissionToken, Reason,
    Refusal, ReplayWindows, Reservation, SessionKeys, Verdict, VerifiedLease, VerifiedMission, begin, judge,
};
use alcub3_crypto::{Digest, HashAlg, MacKey};
use alcub3_trust_model::{Labels, LeaseId, Level, LevelProfiles, MissionId, OperatorId, RobotId};

use crate::gate::{Admission, Gates, Snapshot};
use crate::order::StopScope;
use crate::platform::PlatformCommand;
use crate::ports::SecretVault;
use crate::report::PortError;

/// Where reservations of sequence numbers are made durable.
pub trait ReplayStore: Send + Sync {
    /// Makes a reservation durable, in place of an earlier one of the same lease and issuer.
    ///
    /// # Errors
    /// Where a crash may lose it.
    fn reserve(&self, reservation: &Reservation) -> Result<(), PortError>;
}

/// Judges commands. Whatever a stop ends is refused, also where the stop came while the command was being judged.
pub struct CommandGate {
    gates: Arc<Gates>,
    robot: RobotId,
    labels: Labels,
    profiles: LevelProfiles,
    standing: RwLock<Standing>,
    replay: Mutex<ReplayWindows>,
    store: Arc<dyn ReplayStore>,
    judged: AtomicU64,
}

/// What commands are judged against, as it stands now. A stop ends what it covers, whether or not anybody wipes it:
/// the missions' keys are dead in the TPM by then, and a fresh attestation is due.
struct Standing {
    /// The gates as they were when the rest was last looked at.
    gates: Snapshot,
    missions: ActiveMissions,
    sessions: SessionKeys,
    rules: CommandRules,
    lease: Option<VerifiedLease>,
}

impl Standing {
    fn new(gates: Snapshot) -> Self {
        Self {
            gates,
            missions: ActiveMissions::new(),
            sessions: SessionKeys::new(),
            rules: CommandRules::Builtin,
            lease: None,
        }
    }

    /// Takes out everything that a stop since the last look ended.
    fn catch_up(&mut self, now: Snapshot) {
        let before = std::mem::replace(&mut self.gates, now);
        if before.robot_moved(&now) {
            self.sessions.clear();
            self.lease = None;
        }
        self.end_missions(|token| before.level_moved(&now, token.labels.level));
    }

    /// That nobody took back what an admitted command rests on: its mission is not suspended, unless the command is about that,
    /// and its issuer is still one of the mission's.
    fn still_commands(&self, command: &AuthorizedCommand) -> Result<(), Reason> {
        let mission = command.mission();
        if command.order().is_none() && self.missions.is_suspended(&mission) {
            return Err(Reason::MissionSuspended);
        }
        let mission = self.missions.get(&mission).ok_or(Reason::UnknownMission)?;
        let issuer = mission.issuer(command.issuer().as_str());
        issuer.map(|_| ()).ok_or(Reason::UnknownIssuer)
    }

    /// Takes out missions with their session keys; gives their number.
    fn end_missions(&mut self, is_over: impl Fn(&MissionToken) -> bool) -> usize {
        let tokens = self.missions.iter().map(VerifiedMission::token);
        let over: Vec<MissionId> = tokens
            .filter(|token| is_over(token))
            .map(|token| token.mission)
            .collect();
        for mission in &over {
            self.sessions.remove_mission(mission);
            self.missions.remove(mission);
        }
        over.len()
    }
}

/// A command that may be carried out now. It must be [released](CommandGate::release) at the last moment.
#[derive(Debug)]
pub struct Admitted {
    admission: Admission,
    level: Level,
    command: Box<AuthorizedCommand>,
}

impl Admitted {
    /// The authorized command, for the log.
    pub const fn command(&self) -> &AuthorizedCommand {
        &self.command
    }
}

/// An HMAC that only a key inside the TPM can make: the command key of an issuer on a mission, over an envelope.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChipMac {
    /// The mission.
    pub mission: MissionId,
    /// Its level.
    pub level: Level,
    /// Who is said to command.
    pub issuer: OperatorId,
    /// The HMAC's hash.
    pub alg: HashAlg,
    /// What was authenticated.
    pub signed: Vec<u8>,
}

/// The gate's answer to an envelope.
#[derive(Debug)]
#[must_use]
pub enum GateVerdict {
    /// It may be carried out, once it is released.
    Admitted(Admitted),
    /// It may not.
    Refused(Refusal),
}

/// Why something was not taken by the gate.
#[derive(Debug, thiserror::Error)]
pub enum CommandGateError {
    /// A stop is in force.
    #[error("refused: emergency stop; two persons must rearm the robot first")]
    Stopped,
    /// The lease is under another identifier than this boot's.
    #[error("the lease is {found}, and this boot's is {expected}: attest again")]
    OtherLease {
        /// This boot's.
        expected: LeaseId,
        /// The lease's.
        found: LeaseId,
    },
    /// Sequence numbers could not be reserved durably, so that no command could be accepted.
    #[error("sequence numbers could not be reserved, so no command is accepted: {0}; check the disk")]
    Reserve(#[source] PortError),
}

/// How many judgements pass between two looks at the reservations. Far below what one reservation covers.
const REPLENISH_EVERY: u64 = 1024;

impl CommandGate {
    /// The gate of a robot, held to the profiles in force, under this boot's lease identifier and what is known of earlier reservations.
    pub fn new(
        gates: Arc<Gates>,
        robot: RobotId,
        labels: Labels,
        profiles: LevelProfiles,
        replay: ReplayWindows,
        store: Arc<dyn ReplayStore>,
    ) -> Self {
        let standing = RwLock::new(Standing::new(gates.snapshot()));
        let replay = Mutex::new(replay);
        Self {
            gates,
            robot,
            labels,
            profiles,
            standing,
            replay,
            store,
            judged: AtomicU64::new(0),
        }
    }

    /// Takes a mission, or one that was changed in place of what it was, and reserves sequence numbers for its issuers.
    ///
    /// # Errors
    /// [`CommandGateError::Stopped`] while its level or the robot is stopped, [`CommandGateError::Reserve`] where the
    /// disk refuses; the mission is not taken then.
    pub fn start_mission(&self, mission: VerifiedMission) -> Result<(), CommandGateError> {
        let id = mission.token().mission;
        let issuers: Vec<OperatorId> = mission
            .token()
            .issuers
            .iter()
            .map(|issuer| issuer.operator.clone())
            .collect();
        {
            let mut replay = self.replay();
            issuers.iter().for_each(|issuer| replay.open(issuer));
        }
        self.replenish()?;
        let mut standing = self.write_current();
        // Looked at under the lock that wiping takes, so that no mission slips in behind a stop.
        if self.gates.is_level_stopped(mission.token().labels.level) || self.gates.is_mission_stopped(id) {
            return Err(CommandGateError::Stopped);
        }
        standing.sessions.keep_issuers_of(&mission);
        standing.missions.insert(mission);
        Ok(())
    }

    /// Takes a mission out, with its session keys.
    pub fn end_mission(&self, mission: &MissionId) -> Option<VerifiedMission> {
        let mut standing = self.write();
        standing.sessions.remove_mission(mission);
        standing.missions.remove(mission)
    }

    /// Suspends a mission, or resumes it; whether it is active. What was admitted on it and is not released yet is refused once
    /// it is suspended.
    pub fn obey(&self, mission: &MissionId, order: MissionOrder) -> bool {
        let mut standing = self.write_current();
        !self.gates.is_mission_stopped(*mission) && standing.missions.obey(mission, order)
    }

    /// Whether a mission is suspended.
    pub fn is_suspended(&self, mission: &MissionId) -> bool {
        self.read().missions.is_suspended(mission)
    }

    /// Takes the command policy that the robot follows from the next command on. A command that was admitted before is
    /// carried out by what was in force then.
    pub fn follow(&self, rules: CommandRules) {
        self.write().rules = rules;
    }

    /// The record of a verdict, to try another policy against; none for what is no command of an active mission.
    pub fn record(&self, presented: &[u8], against: &[Reason]) -> Option<RecordedCommand> {
        RecordedCommand::of(presented, &self.robot, &self.read().missions, against)
    }

    /// Takes an issuer's MAC key for an active mission.
    ///
    /// # Errors
    /// [`CommandGateError::Stopped`] while the robot is stopped, or the mission is not active.
    pub fn insert_session_key(
        &self,
        mission: MissionId,
        issuer: OperatorId,
        key: MacKey,
    ) -> Result<(), CommandGateError> {
        let mut standing = self.write_current();
        if self.gates.is_robot_stopped() || standing.missions.get(&mission).is_none() {
            return Err(CommandGateError::Stopped);
        }
        standing.sessions.insert(mission, issuer, key);
        Ok(())
    }

    /// Takes a new lease. One that was taken before a stop is void after it.
    ///
    /// # Errors
    /// [`CommandGateError::Stopped`] while the robot is stopped, [`CommandGateError::OtherLease`] where it is not of
    /// this boot.
    pub fn renew_lease(&self, lease: VerifiedLease) -> Result<(), CommandGateError> {
        let expected = self.replay().lease();
        let found = lease.lease().lease;
        if found != expected {
            return Err(CommandGateError::OtherLease { expected, found });
        }
        let mut standing = self.write_current();
        self.gates.admit().ok_or(CommandGateError::Stopped)?;
        standing.lease = Some(lease);
        Ok(())
    }

    /// Makes durable what the windows want reserved. Called by the gate itself now and then; a daemon calls it from
    /// a thread of its own as well, so that no command waits for the disk.
    ///
    /// # Errors
    /// [`CommandGateError::Reserve`] where the disk refuses. Numbers reserved before stay good.
    pub fn replenish(&self) -> Result<(), CommandGateError> {
        let wanted = self.replay().wanted();
        for reservation in wanted {
            self.store
                .reserve(&reservation)
                .map_err(CommandGateError::Reserve)?;
            self.replay().confirm(&reservation);
        }
        Ok(())
    }

    /// Judges an envelope with keys in memory. `now_ms` is UTC in milliseconds since 1970, none where the robot has
    /// no trustworthy time.
    pub fn validate(&self, envelope: &[u8], now_ms: Option<u64>) -> GateVerdict {
        self.pass(|context, replay| judge(context, replay, envelope, now_ms))
    }

    /// Judges an envelope whose MAC key may be inside the TPM: where no key in memory decides, `tag` has the chip make the
    /// HMAC, or says why not. Nothing is locked meanwhile, so that neither a stop nor other commands wait for the chip;
    /// what it ended is refused after it.
    pub fn validate_with_tag(
        &self,
        envelope: &[u8],
        now_ms: Option<u64>,
        tag: impl FnOnce(&ChipMac) -> Result<Digest, Reason>,
    ) -> GateVerdict {
        let Some(admission) = self.gates.admit() else {
            return stopped();
        };
        let asked = match self.question(envelope, &admission) {
            Ok(Some(asked)) => asked,
            Ok(None) => return self.validate(envelope, now_ms),
            Err(refusal) => return GateVerdict::Refused(refusal),
        };
        self.count_judgement();
        let computed = match tag(&asked) {
            Ok(computed) => computed,
            Err(reason) => return GateVerdict::Refused(reason.into()),
        };
        if !self
            .gates
            .still_open(&admission, asked.level, Some(asked.mission))
        {
            return stopped();
        }
        let standing = self.read();
        let context = self.context(&standing, &admission);
        let verdict = match begin(&context, envelope) {
            Ok(pending) => pending.with_tag(&computed, &context, &mut self.replay(), now_ms),
            Err(refusal) => return GateVerdict::Refused(refusal),
        };
        self.conclude(verdict, admission, &standing)
    }

    /// What the chip has to be asked about an envelope; none where it need not be.
    fn question(&self, envelope: &[u8], admission: &Admission) -> Result<Option<ChipMac>, Refusal> {
        let standing = self.read();
        let context = self.context(&standing, admission);
        let pending = begin(&context, envelope)?;
        let chip = pending.mac_alg().filter(|_| pending.needs_chip(&context));
        Ok(chip.map(|alg| ChipMac {
            mission: pending.mission().token().mission,
            level: pending.mission().token().labels.level,
            issuer: pending.issuer().clone(),
            alg,
            signed: pending.signed_parts().concat(),
        }))
    }

    /// Gives a command out to be carried out, if no stop came since it was judged and it is not late.
    ///
    /// # Errors
    /// The [`Reason`] why it must not be carried out.
    pub fn release<'a>(
        &self,
        admitted: &'a Admitted,
        now_ms: u64,
    ) -> Result<(&'a CommandName, &'a Arguments), Reason> {
        let mission = Some(admitted.command.mission());
        if !self
            .gates
            .still_open(&admitted.admission, admitted.level, mission)
        {
            return Err(Reason::EmergencyStop);
        }
        self.read().still_commands(&admitted.command)?;
        admitted
            .command
            .revalidate(admitted.admission.generation(), now_ms)
    }

    /// As [`Self::release`], as what a platform's driver carries out. `after_stops` is how many stops its adapter had been told
    /// of before this was called.
    ///
    /// # Errors
    /// The [`Reason`] why it must not be carried out.
    pub fn hand_out(
        &self,
        admitted: &Admitted,
        now_ms: u64,
        after_stops: u64,
    ) -> Result<PlatformCommand, Reason> {
        let (name, arguments) = self.release(admitted, now_ms)?;
        Ok(PlatformCommand::new(name.clone(), arguments.clone(), after_stops))
    }

    /// What was used of the sequence numbers, to be stored in place of what was reserved ahead. Only for a gate that
    /// judges no more: a number used after this could be used again.
    pub fn used(&self) -> Vec<Reservation> {
        self.replay().used()
    }

    /// The active missions' digest, for the mission PCR.
    pub fn mission_digest(&self, alg: HashAlg) -> Digest {
        self.read().missions.set_digest(alg)
    }

    /// The labels of an active mission.
    pub fn mission_labels(&self, mission: &MissionId) -> Option<Labels> {
        let standing = self.read();
        let mission = standing.missions.get(mission)?;
        Some(mission.token().labels.clone())
    }

    /// The active missions, ascending.
    pub fn missions(&self) -> Vec<MissionId> {
        self.read()
            .missions
            .iter()
            .map(|mission| mission.token().mission)
            .collect()
    }

    fn pass(&self, verdict: impl FnOnce(&Context<'_>, &mut ReplayWindows) -> Verdict) -> GateVerdict {
        let Some(admission) = self.gates.admit() else {
            return stopped();
        };
        self.count_judgement();
        let standing = self.read();
        let verdict = verdict(&self.context(&standing, &admission), &mut self.replay());
        self.conclude(verdict, admission, &standing)
    }

    fn count_judgement(&self) {
        if self.judged.fetch_add(1, Ordering::Relaxed) % REPLENISH_EVERY == REPLENISH_EVERY - 1 {
            // A disk that refuses shows itself as refused commands once the reservations are used up.
            drop(self.replenish());
        }
    }

    fn context<'a>(&'a self, standing: &'a Standing, admission: &Admission) -> Context<'a> {
        Context {
            robot: &self.robot,
            labels: &self.labels,
            profiles: &self.profiles,
            missions: &standing.missions,
            sessions: &standing.sessions,
            rules: &standing.rules,
            lease: standing.lease.as_ref(),
            generation: admission.generation(),
        }
    }

    /// The second look at the gates: a stop that came during the judgement refuses the command.
    fn conclude(&self, verdict: Verdict, admission: Admission, standing: &Standing) -> GateVerdict {
        let command = match verdict {
            Verdict::Authorized(command) => command,
            Verdict::Refused(refusal) => return GateVerdict::Refused(refusal),
        };
        let mission = command.mission();
        let Some(level) = standing
            .missions
            .get(&mission)
            .map(|mission| mission.token().labels.level)
        else {
            return stopped();
        };
        if !self.gates.still_open(&admission, level, Some(mission)) {
            return stopped();
        }
        GateVerdict::Admitted(Admitted {
            admission,
            level,
            command,
        })
    }

    /// The standing, after what a stop ended was taken out. A stop that comes later voids the admission of whoever
    /// reads here.
    fn read(&self) -> RwLockReadGuard<'_, Standing> {
        let standing = self.standing.read().unwrap_or_else(PoisonError::into_inner);
        if standing.gates == self.gates.snapshot() {
            return standing;
        }
        drop(standing);
        drop(self.write_current());
        self.standing.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_current(&self) -> RwLockWriteGuard<'_, Standing> {
        let mut standing = self.write();
        standing.catch_up(self.gates.snapshot());
        standing
    }

    fn write(&self) -> RwLockWriteGuard<'_, Standing> {
        self.standing.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn replay(&self) -> MutexGuard<'_, ReplayWindows> {
        self.replay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stopped() -> GateVerdict {
    GateVerdict::Refused(Reason::EmergencyStop.into())
}

/// The session keys are secrets in memory: a stop wipes them, with the missions they belong to.
impl SecretVault for Arc<CommandGate> {
    fn wipe(&mut self, scope: &StopScope) -> Result<u64, PortError> {
        let mut standing = self.write();
        let ended = standing.end_missions(|token| match scope {
            StopScope::Robot => true,
            StopScope::Level(level) => token.labels.level == *level,
            StopScope::Mission(mission, _) => token.mission == *mission,
        });
        if *scope == StopScope::Robot {
            standing.sessions.clear();
            standing.lease = None;
        }
        Ok(u64::try_from(ended).unwrap_or(u64::MAX))
    }
}
