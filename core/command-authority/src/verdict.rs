//! The verdict over a command envelope, fail-closed.
//!
//! The order: form → robot and mission → issuer and role, by the command policy too → suite and authenticity → labels →
//! time → suspension → replay → lease → limits of mission and policy → second person. Up to authenticity the first reason ends the judgement, since what follows would be said about
//! nobody's words. After it every check is made and every reason collected, and the sequence number is used up in any
//! case: an authentic envelope that was refused once never becomes valid by waiting.

use std::collections::BTreeMap;

use alcub3_crypto::{Digest, HashAlg, MacKey};
use alcub3_trust_model::{Labels, LeaseId, LevelProfiles, MissionId, OperatorId, RobotId, domain};

use crate::cose::Message;
use crate::envelope::EnvelopeRef;
use crate::policy::{CommandRules, PolicyInForce, SecondReason};
use crate::safety::Asked;
use crate::second::{ApprovalRef, Presented};
use crate::{
    ActiveMissions, Arguments, CommandClass, CommandName, Issuer, MAX_VALIDITY_MS, MissionOrder, Reason,
    ReplayWindows, Role, VerifiedLease, VerifiedMission,
};

/// How far ahead of the robot's an issuer's clock may be, in milliseconds.
pub const MAX_CLOCK_SKEW_MS: u64 = 2_000;

/// The generation of the security HAL's gate: it moves with every stop.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub struct Generation(pub u64);

/// The MAC keys that issuers agreed with this robot, by mission and issuer. Dropping it wipes them.
#[derive(Debug, Default)]
pub struct SessionKeys(BTreeMap<MissionId, BTreeMap<OperatorId, MacKey>>);

impl SessionKeys {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an issuer's key on a mission, in place of an earlier one.
    pub fn insert(&mut self, mission: MissionId, issuer: OperatorId, key: MacKey) {
        self.0.entry(mission).or_default().insert(issuer, key);
    }

    /// Takes out, and so wipes, all keys of a mission.
    pub fn remove_mission(&mut self, mission: &MissionId) {
        self.0.remove(mission);
    }

    /// Takes out, and so wipes, the keys of those who do not command a mission any more.
    pub fn keep_issuers_of(&mut self, mission: &VerifiedMission) {
        if let Some(keys) = self.0.get_mut(&mission.token().mission) {
            keys.retain(|issuer, _| mission.issuer(issuer.as_str()).is_some());
        }
    }

    /// Takes out, and so wipes, all keys: a stop.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn get(&self, mission: &MissionId, issuer: &OperatorId) -> Option<&MacKey> {
        self.0.get(mission)?.get(issuer)
    }
}

/// What a command is judged against.
#[derive(Copy, Clone, Debug)]
pub struct Context<'a> {
    /// This robot.
    pub robot: &'a RobotId,
    /// What the robot is cleared for, and the integrity it asks of those who command it.
    pub labels: &'a Labels,
    /// What each level asks of envelopes.
    pub profiles: &'a LevelProfiles,
    /// The active missions.
    pub missions: &'a ActiveMissions,
    /// The issuers' MAC keys.
    pub sessions: &'a SessionKeys,
    /// The command policy that the robot follows, if it was ever given one.
    pub rules: &'a CommandRules,
    /// The robot's attestation lease, if it holds one.
    pub lease: Option<&'a VerifiedLease>,
    /// The gate's generation, read before the judgement begins.
    pub generation: Generation,
}

/// The answer.
#[derive(Clone, Debug)]
#[must_use]
pub enum Verdict {
    /// The command may be carried out, if the gate has not moved meanwhile.
    Authorized(Box<AuthorizedCommand>),
    /// It may not.
    Refused(Refusal),
}

/// Why a command was refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    reasons: Vec<Reason>,
}

impl Refusal {
    fn of(reason: Reason) -> Self {
        Self {
            reasons: vec![reason],
        }
    }

    /// The reasons, at least one, in the order of the checks.
    pub fn reasons(&self) -> &[Reason] {
        &self.reasons
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::of(reason)
    }
}

/// A command that passed every check. Only a judgement makes one; only [`Self::revalidate`] gives the command out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuthorizedCommand {
    generation: Generation,
    mission: MissionId,
    lease: LeaseId,
    issuer: OperatorId,
    second: Option<(OperatorId, Role)>,
    sequence: u64,
    expires_at_ms: u64,
    command: CommandName,
    arguments: Arguments,
    digest: Digest,
}

impl AuthorizedCommand {
    /// The command and its arguments, if the gate is still of the generation that the judgement began with.
    ///
    /// # Errors
    /// [`Reason::StoppedMeanwhile`] where a stop came between, [`Reason::Expired`] where it is late by now.
    pub fn revalidate(&self, current: Generation, now_ms: u64) -> Result<(&CommandName, &Arguments), Reason> {
        if current != self.generation {
            return Err(Reason::StoppedMeanwhile);
        }
        if now_ms >= self.expires_at_ms {
            return Err(Reason::Expired);
        }
        Ok((&self.command, &self.arguments))
    }

    /// The mission.
    pub const fn mission(&self) -> MissionId {
        self.mission
    }

    /// The robot's lease.
    pub const fn lease(&self) -> LeaseId {
        self.lease
    }

    /// Who commanded.
    pub const fn issuer(&self) -> &OperatorId {
        &self.issuer
    }

    /// The second person, where the command has one, with their role on the mission.
    pub const fn second(&self) -> Option<&(OperatorId, Role)> {
        self.second.as_ref()
    }

    /// The issuer's number of this command.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The command's name, for the log.
    pub const fn name(&self) -> &CommandName {
        &self.command
    }

    /// What the command orders of its mission, where the gate itself obeys it.
    pub fn order(&self) -> Option<MissionOrder> {
        MissionOrder::of(self.command.as_str())
    }

    /// The SHA-256 of the envelope, for the log.
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// An envelope whose form, mission, issuer and suite are in order, and whose authenticity is the next question. For
/// keys in memory [`judge`] asks it; where the key is inside the TPM, the caller computes the tag over
/// [`Self::signed_parts`] and hands it to [`Self::with_tag`].
#[derive(Debug)]
pub struct Pending<'a> {
    message: Message<'a>,
    envelope: EnvelopeRef<'a>,
    mission: &'a VerifiedMission,
    issuer: &'a Issuer,
    class: CommandClass,
    policy: Option<&'a PolicyInForce>,
    presented: Presented<'a>,
}

/// Judges an envelope with keys in memory. `now_ms` is UTC in milliseconds since 1970, none where the robot has no
/// trustworthy time.
pub fn judge(
    context: &Context<'_>,
    replay: &mut ReplayWindows,
    bytes: &[u8],
    now_ms: Option<u64>,
) -> Verdict {
    let pending = match begin(context, bytes) {
        Ok(pending) => pending,
        Err(refusal) => return Verdict::Refused(refusal),
    };
    match pending.authenticate(context) {
        Ok(()) => pending.conclude(context, replay, now_ms),
        Err(reason) => Verdict::Refused(reason.into()),
    }
}

/// The first half of a judgement: all that can be said before the envelope is known to be authentic.
///
/// # Errors
/// The [`Refusal`].
pub fn begin<'a>(context: &Context<'a>, bytes: &'a [u8]) -> Result<Pending<'a>, Refusal> {
    let presented = Presented::parse(bytes)?;
    let message = Message::parse(domain::COMMAND, presented.envelope).map_err(Reason::Envelope)?;
    let envelope = EnvelopeRef::for_robot(message.payload(), context.robot)?;
    if envelope.robot != context.robot.as_str() {
        return Err(Reason::WrongRobot.into());
    }
    let mission = context
        .missions
        .get(&envelope.mission)
        .ok_or(Reason::UnknownMission)?;
    let issuer = mission.issuer(envelope.issuer).ok_or(Reason::UnknownIssuer)?;
    let class = CommandClass::of(envelope.command).ok_or(Reason::UnknownCommand)?;
    if !issuer.role.permits(class) {
        return Err(Reason::RoleForbids.into());
    }
    if !issuer.is_allowed(envelope.command) {
        return Err(Reason::NotAllowed.into());
    }
    let policy = context.rules.policy().map_err(Reason::Policy)?;
    if let Some(policy) = policy {
        policy
            .check_role(issuer.role, envelope.command)
            .map_err(Reason::Policy)?;
    }
    let floor = context.profiles.of(mission.token().labels.level);
    if !floor.admits_suite(message.suite()) {
        return Err(Reason::SuiteTooWeak.into());
    }
    Ok(Pending {
        message,
        envelope,
        mission,
        issuer,
        class,
        policy,
        presented,
    })
}

impl<'a> Pending<'a> {
    /// Who is said to command.
    pub const fn issuer(&self) -> &'a OperatorId {
        &self.issuer.operator
    }

    /// The mission.
    pub const fn mission(&self) -> &'a VerifiedMission {
        self.mission
    }

    /// The hash of the HMAC that the envelope carries; none where it carries a signature.
    pub const fn mac_alg(&self) -> Option<HashAlg> {
        let suite = self.message.suite();
        if suite.is_signature() {
            None
        } else {
            Some(suite.hash())
        }
    }

    /// Whether only a key inside the TPM can say if the envelope is authentic: it carries a MAC, and no key for it is in
    /// memory.
    pub fn needs_chip(&self, context: &Context<'_>) -> bool {
        let in_memory = || {
            context
                .sessions
                .get(&self.envelope.mission, &self.issuer.operator)
        };
        self.mac_alg().is_some() && in_memory().is_none()
    }

    /// The parts whose concatenation was signed or MACed.
    pub const fn signed_parts(&self) -> [&'a [u8]; 4] {
        self.message.signed_parts()
    }

    fn authenticate(&self, context: &Context<'_>) -> Result<(), Reason> {
        if self.message.suite().is_signature() {
            return self
                .message
                .verify(&self.issuer.key)
                .map_err(|_| Reason::NotAuthentic);
        }
        let key = context
            .sessions
            .get(&self.envelope.mission, &self.issuer.operator)
            .ok_or(Reason::NoSessionKey)?;
        self.message.verify_mac(key).map_err(|_| Reason::NotAuthentic)
    }

    /// The second half where the key is inside the TPM: `computed` is the HMAC that it made over
    /// [`Self::signed_parts`] with the session key of this mission and this issuer.
    pub fn with_tag(
        self,
        computed: &Digest,
        context: &Context<'_>,
        replay: &mut ReplayWindows,
        now_ms: Option<u64>,
    ) -> Verdict {
        match self.message.verify_tag(computed) {
            Ok(()) => self.conclude(context, replay, now_ms),
            Err(_) => Verdict::Refused(Reason::NotAuthentic.into()),
        }
    }

    fn conclude(self, context: &Context<'_>, replay: &mut ReplayWindows, now_ms: Option<u64>) -> Verdict {
        let mut reasons = Vec::new();
        self.check_labels(context, &mut reasons);
        self.check_times(now_ms, &mut reasons);
        self.check_suspension(context, &mut reasons);
        self.check_replay(replay, &mut reasons);
        self.check_lease(context, now_ms, &mut reasons);
        reasons.extend(self.check_limits().err());
        let second = self.check_second(context, !reasons.is_empty());
        let second = second
            .map_err(|reason| reasons.push(reason.into()))
            .ok()
            .flatten();
        match CommandName::new(self.envelope.command) {
            Ok(command) if reasons.is_empty() => {
                Verdict::Authorized(Box::new(self.authorize(context, command, second)))
            }
            Ok(_) => Verdict::Refused(Refusal { reasons }),
            Err(_) => Verdict::Refused(Reason::UnknownCommand.into()),
        }
    }

    fn check_limits(&self) -> Result<(), Reason> {
        let token = self.mission.token();
        let asked = Asked {
            class: self.class,
            command: self.envelope.command,
            arguments: &self.envelope.arguments,
            level: token.labels.level,
            mission: token.mission,
        };
        token.limits.check(&asked, self.policy)
    }

    /// The second person, where there has to be one or is one. A signature costs more than all else, so the approval of what
    /// is refused already is not looked into.
    fn check_second(
        &self,
        context: &Context<'_>,
        is_refused: bool,
    ) -> Result<Option<&'a Issuer>, SecondReason> {
        let (command, level) = (self.envelope.command, self.mission.token().labels.level);
        match self.presented.approval {
            None if self
                .policy
                .is_some_and(|policy| policy.takes_second(command, level)) =>
            {
                Err(SecondReason::Missing)
            }
            Some(approval) if !is_refused => self.verify_second(context, approval).map(Some),
            _ => Ok(None),
        }
    }

    fn verify_second(&self, context: &Context<'_>, approval: &'a [u8]) -> Result<&'a Issuer, SecondReason> {
        let approval = ApprovalRef::parse(approval, self.presented.envelope)?;
        let second = self
            .mission
            .issuer(approval.approver)
            .ok_or(SecondReason::Unknown)?;
        let level = self.mission.token().labels.level;
        if second.is_same_person(self.issuer) {
            return Err(SecondReason::Same);
        }
        let command = self.envelope.command;
        let may = second.role.may_second()
            && self
                .policy
                .is_none_or(|policy| policy.may_second(second.role, command, level));
        if !may || !second.is_allowed(command) {
            return Err(SecondReason::Role);
        }
        let asked = [
            &self.envelope.labels,
            context.labels,
            &self.mission.token().labels,
        ];
        if asked.iter().any(|labels| second.integrity < labels.integrity) {
            return Err(SecondReason::Integrity);
        }
        if !context.profiles.of(level).admits_suite(approval.message.suite()) {
            return Err(SecondReason::Suite);
        }
        let verified = approval.message.verify(&second.key);
        verified.map(|()| second).map_err(|_| SecondReason::NotAuthentic)
    }

    fn check_labels(&self, context: &Context<'_>, reasons: &mut Vec<Reason>) {
        let labels = &self.envelope.labels;
        let mission = &self.mission.token().labels;
        if labels.integrity > self.issuer.integrity {
            reasons.push(Reason::IntegrityClaimed);
        }
        if !labels.may_command(context.labels) || !labels.may_command(mission) {
            reasons.push(Reason::IntegrityTooLow);
        }
        if !context.labels.can_read(labels) {
            reasons.push(Reason::LabelsAboveRobot);
        }
        if !labels.can_write(mission) {
            reasons.push(Reason::LabelsAboveMission);
        }
    }

    fn check_suspension(&self, context: &Context<'_>, reasons: &mut Vec<Reason>) {
        let resumes = MissionOrder::of(self.envelope.command) == Some(MissionOrder::Resume);
        if !resumes && context.missions.is_suspended(&self.envelope.mission) {
            reasons.push(Reason::MissionSuspended);
        }
    }

    fn check_times(&self, now_ms: Option<u64>, reasons: &mut Vec<Reason>) {
        let Some(now_ms) = now_ms else {
            reasons.push(Reason::NoClock);
            return;
        };
        reasons.extend(self.mission.runs_at(now_ms).err());
        let (issued, expires) = (self.envelope.issued_at_ms, self.envelope.expires_at_ms);
        if issued > now_ms.saturating_add(MAX_CLOCK_SKEW_MS) {
            reasons.push(Reason::NotYetIssued);
        }
        if now_ms >= expires {
            reasons.push(Reason::Expired);
        }
        if expires.saturating_sub(issued) > MAX_VALIDITY_MS {
            reasons.push(Reason::ValidityTooLong);
        }
    }

    /// A number under another lease is of no account here: the lease's check refuses it.
    fn check_replay(&self, replay: &mut ReplayWindows, reasons: &mut Vec<Reason>) {
        if self.envelope.lease != replay.lease() {
            reasons.push(Reason::WrongLease);
            return;
        }
        let recorded = replay.check_and_record(&self.issuer.operator, self.envelope.sequence);
        reasons.extend(recorded.err().map(Reason::Replay));
    }

    fn check_lease(&self, context: &Context<'_>, now_ms: Option<u64>, reasons: &mut Vec<Reason>) {
        let Some(lease) = context.lease else {
            reasons.push(Reason::NoLease);
            return;
        };
        // Without a time the reason is already there.
        let Some(now_ms) = now_ms else { return };
        let level = self.mission.token().labels.level;
        let against = lease.supports(self.envelope.lease, level, now_ms).err();
        reasons.extend(against.filter(|reason| !reasons.contains(reason)));
    }

    fn authorize(
        self,
        context: &Context<'_>,
        command: CommandName,
        second: Option<&Issuer>,
    ) -> AuthorizedCommand {
        AuthorizedCommand {
            generation: context.generation,
            mission: self.envelope.mission,
            lease: self.envelope.lease,
            issuer: self.issuer.operator.clone(),
            second: second.map(|second| (second.operator.clone(), second.role)),
            sequence: self.envelope.sequence,
            expires_at_ms: self.envelope.expires_at_ms,
            command,
            arguments: self.envelope.arguments.to_arguments(),
            digest: HashAlg::Sha256.digest(&[self.presented.envelope]),
        }
    }
}
