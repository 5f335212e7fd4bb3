//! Judging robots: the request for evidence, the appraisal, the result, the lease.

use std::collections::btree_map::Entry;

use alcub3_attestation::appraisal::{
    Asked, LastSeen, MissionScope, PlatformRecord, Policy, Reason, RegisterRecord, Severity, Verdict,
    appraise,
};
use alcub3_attestation::ear::{self, Ear, EarError, Judgement, VerifierId};
use alcub3_attestation::evidence::{Evidence, Nonce, RuntimePosition};
use alcub3_attestation::health::Health;
use alcub3_audit_log::EntryKind;
use alcub3_command_authority::cose::SignError;
use alcub3_command_authority::{AttestationLease, VerifiedMission};
use alcub3_crypto::HashAlg;
use alcub3_fleet_protocol::VerifiedEnrolment;
use alcub3_fleet_protocol::attestation::{AttestRequest, AttestResult, EvidenceMessage, mission_scope};
use alcub3_trust_model::canonical::DecodeError;
use alcub3_trust_model::{AttestationKind, BelowFloor, BootId, LeaseId, Level, MissionId, RobotId};

use crate::admission::untrusted_codes;
use crate::audit::Decision;
use crate::authority::Authority;
use crate::epochs;
use crate::exchanges::{self, AskedFor, ExchangeError, Purpose};
use crate::robots::{self, RobotError, Standing};
use crate::store::StoreError;

/// How far a robot's own time may be from the authority's before the verdict says so, in milliseconds.
pub(crate) const MAX_STATE_AGE_MS: u64 = 30_000;
/// The shortest a result holds, in seconds.
const MIN_RESULT_S: u64 = 15;

/// Why evidence was not judged. A judgement that the robot is untrusted is none of these.
#[derive(Debug, thiserror::Error)]
pub enum AttestationError {
    /// The message is not the one form allowed.
    #[error(transparent)]
    Message(#[from] DecodeError),
    /// The exchange is unknown, used, late or another robot's.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The robot's records.
    #[error(transparent)]
    Robot(#[from] RobotError),
    /// The message and the state that the TPM signed name different runs of the robot's agent.
    #[error("the evidence is of another run of the robot's agent than the message says: attest again")]
    OtherBoot,
    /// The evidence leaves out what this authority said that it knows, and it does not know it any more.
    #[error(
        "the evidence leaves out what this authority knew when it asked, and what it has forgotten since: attest again"
    )]
    PlatformForgotten,
    /// The robot's keys, its kind of TPM or this authority's key meet the floor of no level any more. What the evidence
    /// shows is noted all the same.
    #[error("no level's floor is met: {0}")]
    BelowFloor(#[from] BelowFloor),
    /// The result could not be signed.
    #[error(transparent)]
    Result(#[from] EarError),
    /// The lease could not be signed.
    #[error(transparent)]
    Lease(#[from] SignError),
}

/// A judgement and what was issued on it.
#[derive(Clone, Debug)]
pub struct Appraised {
    /// The robot.
    pub robot: RobotId,
    /// The judgement, with its reasons.
    pub verdict: Verdict,
    /// The signed attestation result: an EAR as JWT.
    pub ear: String,
    /// When the result ends, UTC in milliseconds.
    pub not_after_ms: u64,
    /// The answer to the robot. It holds a lease where the robot was found trusted.
    pub answer: AttestResult,
}

/// Evidence that was judged, and nothing noted or issued on it yet.
struct JudgedMessage {
    message: EvidenceMessage,
    nonce: Nonce,
    standing: Standing,
    ceiling: Result<Level, BelowFloor>,
    verdict: Verdict,
}

impl From<StoreError> for AttestationError {
    fn from(error: StoreError) -> Self {
        Self::Robot(error.into())
    }
}

impl Authority {
    /// Asks a robot for all that it takes to be commanded: [`AttestationKind::Operational`].
    ///
    /// # Errors
    /// As [`Self::challenge_for`].
    pub fn challenge(&mut self, robot: &RobotId, now_ms: u64) -> Result<AttestRequest, AttestationError> {
        self.challenge_for(robot, AttestationKind::Operational, now_ms)
    }

    /// Asks a robot for evidence of a kind.
    ///
    /// # Errors
    /// [`AttestationError`]: not enrolled, or the folder refuses.
    pub fn challenge_for(
        &mut self,
        robot: &RobotId,
        kind: AttestationKind,
        now_ms: u64,
    ) -> Result<AttestRequest, AttestationError> {
        let runtime_from = self.runtime_from(robot)?;
        let registers = self
            .platform(robot)?
            .registers
            .as_ref()
            .map(RegisterRecord::positions);
        let asked = AskedFor {
            kind,
            spared: runtime_from.is_some() || registers.is_some(),
        };
        let exchange =
            self.open_exchange::<AttestationError>(Purpose::Attestation, robot, Some(asked), now_ms);
        // Nothing is kept in memory of whoever is not enrolled.
        let exchange = exchange.inspect_err(|_| drop(self.platforms.remove(robot)))?;
        Ok(AttestRequest {
            session: exchange.session,
            nonce: exchange.nonce.to_vec(),
            kind,
            runtime_from,
            registers,
        })
    }

    /// Where the robot's list may begin: nowhere but at its beginning where what is known was judged by other references than those
    /// that hold now.
    fn runtime_from(&mut self, robot: &RobotId) -> Result<Option<RuntimePosition>, RobotError> {
        let Some(known) = self.platform(robot)?.runtime.clone() else {
            return Ok(None);
        };
        let ceiling = self
            .lease_ceiling(&self.active(robot)?)
            .unwrap_or(Level::Unclassified);
        let references = self.references_in_force(robot, ceiling)?;
        Ok(known.position_under(&references))
    }

    /// Judges the evidence that a robot sent in answer to [`Self::challenge`]. The exchange is used up first, so that
    /// the same evidence never counts twice.
    ///
    /// # Errors
    /// [`AttestationError`] where no judgement could be made.
    pub fn appraise(&mut self, message: &[u8], now_ms: u64) -> Result<Appraised, AttestationError> {
        let digest = HashAlg::Sha256.digest(&[message]);
        let message = EvidenceMessage::from_canonical(message);
        let decision = Decision::on(EntryKind::Attest, &message, |sent| {
            (&sent.robot, "evidence".to_owned())
        });
        let decision = decision.with_object(digest);
        let judged = message
            .map_err(Into::into)
            .and_then(|message| self.judge_message(message, now_ms));
        let judged = match judged {
            Ok(judged) => judged,
            Err(error) => return self.on_record(decision, now_ms, Err(error)),
        };
        let codes = judged.verdict.findings().iter().map(|found| found.reason.code());
        let decision = decision.because(codes.chain(judged.ceiling.as_ref().err().map(BelowFloor::code)));
        let is_good = judged.verdict.is_proven() && judged.ceiling.is_ok();
        self.judgement_on_record(decision, is_good, now_ms)
            .map_err(RobotError::from)?;
        self.issue(judged, now_ms)
    }

    fn judge_message(
        &mut self,
        message: EvidenceMessage,
        now_ms: u64,
    ) -> Result<JudgedMessage, AttestationError> {
        let robot = &message.robot;
        let exchange = exchanges::close(&self.folder, Purpose::Attestation, robot, message.session, now_ms)?;
        let (enrolment, nonce) = (self.active(robot)?, Nonce(exchange.nonce));
        let standing = self.standing(robot)?;
        let ceiling = self.lease_ceiling(&enrolment);
        let judged_at = ceiling.unwrap_or(Level::Unclassified);
        self.platform(robot)?;
        // An exchange that says nothing of what it asks for was opened by an earlier version.
        let asked = exchange.asked.ok_or(ExchangeError::UnknownOrUsed)?;
        let verdict = self.judge(
            &enrolment,
            judged_at,
            &standing,
            &message,
            (asked, &nonce),
            now_ms,
        )?;
        let verdict = self.behind_offline_evidence(robot, &standing, verdict)?;
        Ok(JudgedMessage {
            message,
            nonce,
            standing,
            ceiling,
            verdict,
        })
    }

    /// Notes what was judged, and gives out what is issued on it.
    fn issue(&mut self, judged: JudgedMessage, now_ms: u64) -> Result<Appraised, AttestationError> {
        let JudgedMessage {
            message,
            nonce,
            mut standing,
            ceiling,
            verdict,
        } = judged;
        let robot = message.robot.clone();
        self.remember(&robot, &mut standing, &verdict)?;
        let ceiling = ceiling?;
        let (ear, not_after_ms) = self.result(&robot, &verdict, &nonce, ceiling)?;
        let lease = if verdict.grants_lease() {
            let asked = (&robot, message.boot, message.lease);
            Some(self.lease(asked, &verdict, &ear, ceiling, now_ms)?)
        } else {
            None
        };
        self.note_live(&robot, &verdict, lease.as_deref(), now_ms)?;
        let answer = AttestResult {
            session: message.session,
            result: ear.clone().into_bytes(),
            lease,
        };
        Ok(Appraised {
            robot,
            verdict,
            ear,
            not_after_ms,
            answer,
        })
    }

    fn judge(
        &self,
        enrolment: &VerifiedEnrolment,
        ceiling: Level,
        standing: &Standing,
        message: &EvidenceMessage,
        (asked, nonce): (AskedFor, &Nonce),
        now_ms: u64,
    ) -> Result<Verdict, AttestationError> {
        let record = enrolment.record();
        let scope = asked
            .kind
            .mission()
            .map(|mission| (mission, self.scope(mission, message)));
        let references = self.references_in_force(&record.robot, ceiling)?;
        let known = self.platforms.get(&record.robot);
        let policy = Policy {
            attestation_key: enrolment.attestation_key(),
            robot: &record.robot,
            nonce,
            asked: self.asked(asked.kind, scope.as_ref(), &record.robot)?,
            references: &references,
            pcrs: self.config.pcrs,
            nv: *enrolment.nv_map(),
            enrolled_tier: record.tier,
            min_tier: self.min_tier(ceiling, record.tier),
            rearmed_stops: &standing.rearmed,
            last_seen: standing.last_seen,
            known_boot: known.and_then(|known| known.boot.as_ref()),
            known_runtime: known.and_then(|known| known.runtime.as_ref()),
            known_registers: known.and_then(|known| known.registers.as_ref()),
            max_state_age_ms: MAX_STATE_AGE_MS,
        };
        let verdict = appraise(&message.evidence, &policy, now_ms);
        let verdict = verdict.with_stops_in_force(standing.stops_in_force());
        let verdict = match self.appraisal_rule(&record.robot, ceiling) {
            Some(rule) => verdict.held_to(&rule.over_origin(record.origin.kinds()), &references),
            None => verdict,
        };
        let state = verdict.attested().and_then(|attested| attested.state.as_ref());
        match state {
            Some(state) if state.boot != message.boot => Err(AttestationError::OtherBoot),
            _ if asked.spared && lacks_what_was_forgotten(&verdict, known) => {
                Err(AttestationError::PlatformForgotten)
            }
            _ => Ok(verdict),
        }
    }

    /// What a kind of attestation is held to.
    fn asked<'s>(
        &self,
        kind: AttestationKind,
        scope: Option<&'s (MissionId, Option<MissionScope>)>,
        robot: &RobotId,
    ) -> Result<Asked<'s>, RobotError> {
        Ok(match (kind, scope) {
            (_, Some((_, Some(scope)))) => Asked::Mission(scope),
            (AttestationKind::Mission(mission), _) => Asked::UnapprovedMission(mission),
            (AttestationKind::Platform, _) => Asked::Platform,
            (AttestationKind::Sensor, _) => Asked::Sensor,
            (AttestationKind::Operational, _) => Asked::Operational,
            (AttestationKind::Emergency, _) => Asked::Emergency {
                approved_epoch: epochs::approved(&self.folder, robot)?,
            },
        })
    }

    /// A mission as the token in the evidence has it, if this authority approved it for this robot. Its end is not later than the
    /// one approved last: a robot may not have heard of an end that moved.
    fn scope(&self, mission: MissionId, message: &EvidenceMessage) -> Option<MissionScope> {
        let evidence = Evidence::from_canonical(&message.evidence).ok()?;
        let token = evidence.mission_proof?.token;
        let shown = VerifiedMission::as_approved(token, &self.verifying_key(), &message.robot).ok()?;
        let (_, approved) = self.approved_mission(mission, &message.robot).ok()?;
        let (mut scope, approved) = (mission_scope(&shown, token), mission_scope(&approved, &[]));
        let is_it = scope.mission == mission
            && (scope.anchor, scope.anchor_value) == (approved.anchor, approved.anchor_value);
        scope.not_after_ms = scope.not_after_ms.min(approved.not_after_ms);
        scope.end_clock_ms = scope.end_clock_ms.min(approved.end_clock_ms);
        is_it.then_some(scope)
    }

    /// Notes what the TPM signed, before anything is issued on it.
    fn remember(
        &mut self,
        robot: &RobotId,
        standing: &mut Standing,
        verdict: &Verdict,
    ) -> Result<(), RobotError> {
        let Some(attested) = verdict.attested() else {
            return Ok(());
        };
        standing.last_seen = LastSeen::after(standing.last_seen, verdict);
        standing.saw_stops(attested.stops.iter().copied());
        if let Some(epoch) = attested.epoch.filter(|_| is_proven_stop(verdict)) {
            standing.stopped_at(epoch);
        }
        // Good evidence of a part says nothing of the rest; bad evidence of a part is bad.
        if shows_nothing_against(verdict) {
            robots::put_standing(&self.folder, robot, standing)?;
            return self.remember_platform(robot, verdict);
        }
        standing.trusted_at_ms = verdict.is_trusted().then(|| verdict.judged_at_ms());
        standing.history.note(
            verdict.judged_at_ms(),
            verdict.is_trusted(),
            &untrusted_codes(verdict.findings()),
        );
        robots::put_standing(&self.folder, robot, standing)?;
        self.remember_platform(robot, verdict)
    }

    fn remember_platform(&mut self, robot: &RobotId, verdict: &Verdict) -> Result<(), RobotError> {
        let known = self.platform(robot)?;
        let record = known.after(verdict);
        // In the steady state nothing of it changes, and nothing is written.
        if record != *known {
            robots::put_platform(&self.folder, robot, &record)?;
            self.platforms.insert(robot.clone(), record);
        }
        Ok(())
    }

    /// What of a robot's platform was judged good last. A record that does not read is none: the logs are asked for again.
    fn platform(&mut self, robot: &RobotId) -> Result<&PlatformRecord, StoreError> {
        let known = match self.platforms.entry(robot.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unread) => unread.insert(robots::platform(&self.folder, robot)?),
        };
        Ok(known)
    }

    /// Forgets what was judged good of a robot's platform: it is another one, or other references hold for it.
    pub(crate) fn forget_platform(&mut self, robot: &RobotId) -> Result<(), StoreError> {
        self.platforms.remove(robot);
        robots::remove_platform(&self.folder, robot)
    }

    /// The highest level of a robot whose floors its keys, its kind of TPM and this authority's own key meet now.
    pub(crate) fn lease_ceiling(&self, enrolment: &VerifiedEnrolment) -> Result<Level, BelowFloor> {
        let record = enrolment.record();
        self.admitted_level(enrolment.keys_suite(), record.tier, record.ceiling)
    }

    /// The attestation result: an EAR as JWT, in one form whatever the root of trust.
    pub(crate) fn result(
        &self,
        robot: &RobotId,
        verdict: &dyn Judgement,
        nonce: &Nonce,
        ceiling: Level,
    ) -> Result<(String, u64), EarError> {
        let context = ear::Context {
            robot,
            nonce,
            verifier: VerifierId {
                developer: "alcub3".to_owned(),
                build: env!("CARGO_PKG_VERSION").to_owned(),
            },
            policy: self.policy_name(),
            lifetime_s: (self.profiles().of(ceiling).lease_ms / 1000).max(MIN_RESULT_S),
        };
        let result = Ear::of(verdict, &context);
        let signed = result.sign(self.config.curve, self.signing().to_pkcs8().expose())?;
        Ok((signed, result.exp.saturating_mul(1000)))
    }

    /// The lease that a robot asks for with its run and the lease's name.
    pub(crate) fn lease(
        &self,
        (robot, boot, lease): (&RobotId, BootId, LeaseId),
        verdict: &dyn Judgement,
        ear: &str,
        ceiling: Level,
        now_ms: u64,
    ) -> Result<Vec<u8>, SignError> {
        let begins_ms = verdict.judged_at_ms().min(now_ms);
        let ends_by_ms = verdict.ends_by_ms().unwrap_or(u64::MAX);
        let not_after_ms = begins_ms.saturating_add(self.profiles().of(ceiling).lease_ms);
        let lease = AttestationLease {
            robot: robot.clone(),
            lease,
            boot,
            ceiling,
            not_before_ms: begins_ms,
            not_after_ms: not_after_ms.min(ends_by_ms),
            verdict: HashAlg::Sha256.digest(&[ear.as_bytes()]),
        };
        lease.unsigned(self.signing().suite()).sign(self.signing())
    }

    /// How it stands with a robot's attestations: of the level it may serve now, a judgement holds as long as that level's
    /// profile says.
    ///
    /// # Errors
    /// [`RobotError`]: not enrolled, purged, or records that do not read.
    pub fn health(&self, robot: &RobotId, now_ms: u64) -> Result<Health, RobotError> {
        if let Some(platform) = self.find_platform(robot)? {
            return self.platform_health(&platform, now_ms);
        }
        let enrolment = self.active(robot)?;
        let ceiling = self.lease_ceiling(&enrolment);
        Ok(self.health_at(ceiling, &self.standing(robot)?.history, now_ms))
    }
}

/// Whether the evidence proves a stop, with the epoch that it left the TPM at.
fn is_proven_stop(verdict: &Verdict) -> bool {
    verdict.kind() == AttestationKind::Emergency && verdict.is_proven()
}

/// Whether something is missing that is not known here any more.
fn lacks_what_was_forgotten(verdict: &Verdict, known: Option<&PlatformRecord>) -> bool {
    let is_unknown = |part: fn(&PlatformRecord) -> bool| !known.is_some_and(part);
    (verdict.has(Reason::RuntimeLogHole) && is_unknown(|known| known.runtime.is_some()))
        || (verdict.has(Reason::RegisterMissing) && is_unknown(|known| known.registers.is_some()))
}

/// Whether a verdict is no reason to think better or worse of the robot than before: it is good, of a kind that proves a part; or
/// what was asked for is not there to be proven, as a stop of a robot at work or a mission that is over.
fn shows_nothing_against(verdict: &Verdict) -> bool {
    let is_absence = |reason| {
        matches!(
            reason,
            Reason::NotStopped
                | Reason::MissionOver
                | Reason::MissionWindow
                | Reason::MissionUnknown
                | Reason::ContentMissing
        )
    };
    let mut against = verdict.findings().iter();
    let partly_good = !(verdict.is_trusted() && verdict.kind().grants_lease());
    partly_good && against.all(|found| found.severity != Severity::Untrusted || is_absence(found.reason))
}
