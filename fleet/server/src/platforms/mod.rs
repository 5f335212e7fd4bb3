//! Robots whose root of trust is no TPM: their enrolment, the request for evidence, the appraisal by the enrolled kind, the
//! result, the lease. The rule that admits them to levels is the one of TPM robots (`admission.rs`).

mod names;
mod record;
mod stops;

use std::error::Error;

use alcub3_attestation::appraisal::StateReferences;
use alcub3_attestation::ear::EarError;
use alcub3_attestation::evidence::Nonce;
use alcub3_attestation::health::Health;
use alcub3_audit_log::EntryKind;
use alcub3_command_authority::cose::SignError;
use alcub3_crypto::HashAlg;
use alcub3_fleet_protocol::attestation::AttestResult;
use alcub3_fleet_protocol::platform::{
    Expected, OtherRoot, PlatformAnswer, PlatformEnrolment, PlatformError, PlatformRequest, PlatformVerdict,
    RootKind, RootOfTrust, VerifiedPlatform,
};
use alcub3_trust_model::canonical::DecodeError;
use alcub3_trust_model::{BelowFloor, HardwareTier, Level, RobotId};

pub use record::PlatformStanding;
pub use stops::PlatformRearm;

use crate::admission::untrusted_codes;
use crate::approval::ApprovalError;
use crate::attestation::MAX_STATE_AGE_MS;
use crate::audit::Decision;
use crate::authority::Authority;
use crate::exchanges::{self, ExchangeError, Purpose};
use crate::robots::RobotError;
use crate::store::StoreError;
use names::{Beginning, Sequence};

/// Why a robot whose root of trust is no TPM was not enrolled, or not judged. A judgement that it is untrusted is none of these.
#[derive(Debug, thiserror::Error)]
pub enum PlatformRefusal {
    /// The message is not the one form allowed.
    #[error(transparent)]
    Message(#[from] DecodeError),
    /// The exchange is unknown, used, late or another robot's.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// A robot's records.
    #[error(transparent)]
    Robot(#[from] RobotError),
    /// What was to be recorded is none of its kind.
    #[error(transparent)]
    Record(#[from] PlatformError),
    /// It has a TPM, or was never enrolled.
    #[error(
        "robot {0} is not enrolled as one whose root of trust is DICE, PSA or none: enrol it with `authority platform enrol`, or \
         attest it by its TPM"
    )]
    NoPlatform(RobotId),
    /// The name is another robot's.
    #[error(
        "robot {0} is enrolled with another root of trust; a name stays with the device it was first given to: choose another name, or \
         release this one (`authority platform release`, `key recover release` for one with a TPM)"
    )]
    NameTaken(RobotId),
    /// The device's key is another robot's.
    #[error(
        "the device's key is enrolled as robot {0}: a device has one name, use that one, or release it first (`authority platform release`)"
    )]
    DeviceTaken(RobotId),
    /// The evidence is of another kind than was enrolled.
    #[error(transparent)]
    OtherRoot(#[from] OtherRoot),
    /// The message and the signed state name different runs of the robot's agent.
    #[error("the evidence is of another run of the robot's agent than the message says: attest again")]
    OtherBoot,
    /// A key of the chain is of no suite.
    #[error("a key that the device made of itself is on neither P-256 nor P-384: no level admits it")]
    NoSuite,
    /// No level's floor is met. What the evidence shows is noted all the same.
    #[error("no level's floor is met: {0}")]
    BelowFloor(#[from] BelowFloor),
    /// It is not known to be stopped.
    #[error("robot {0} is not known to be stopped: there is nothing to rearm")]
    NotStopped(RobotId),
    /// A stop of it is in force.
    #[error(
        "a stop of robot {0} is in force: two persons rearm it first (`authority platform rearm`), then release it"
    )]
    StillStopped(RobotId),
    /// It was stopped again between the vote's beginning and its end.
    #[error(
        "robot {0} said that it is stopped since the vote began: release the stop at the robot, then begin the vote anew"
    )]
    StoppedAgain(RobotId),
    /// The robot was enrolled anew since the vote began.
    #[error("robot {0} was enrolled anew since the vote began: look at its record, and begin the vote anew")]
    EnrolledAnew(RobotId),
    /// The votes or the vault.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    /// The vault did not begin the approval.
    #[error("the authority's TPM did not begin the approval: {0}")]
    Vault(#[source] Box<dyn Error + Send + Sync>),
    /// The result could not be signed.
    #[error(transparent)]
    Result(#[from] EarError),
    /// The record or the lease could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl From<StoreError> for PlatformRefusal {
    fn from(error: StoreError) -> Self {
        Self::Robot(error.into())
    }
}

/// A robot that is to be enrolled, as the operator found it.
#[derive(Clone, Debug)]
pub struct PlatformPlan {
    /// The name it is to have.
    pub robot: RobotId,
    /// Its root of trust, and what it is held to.
    pub root: RootOfTrust,
    /// The kind of hardware that its root of trust is in.
    pub tier: HardwareTier,
    /// The highest level that it may serve; never above the authority's own.
    pub ceiling: Level,
    /// What its state is held to, if to anything.
    pub state: Option<StateReferences>,
}

/// A judgement and what was issued on it.
#[derive(Clone, Debug)]
pub struct AppraisedPlatform {
    /// The robot.
    pub robot: RobotId,
    /// The kind of its root of trust, as it was enrolled.
    pub root: RootKind,
    /// Its tier, as it was enrolled.
    pub tier: HardwareTier,
    /// The judgement, with its reasons.
    pub verdict: PlatformVerdict,
    /// The level that it is admitted to; none where it is untrusted.
    pub level: Option<Level>,
    /// The signed attestation result: an EAR as JWT.
    pub ear: String,
    /// The answer to the robot. It holds a lease where the robot was found trusted.
    pub answer: AttestResult,
}

/// An answer that was judged, and nothing noted or issued on it yet.
struct JudgedAnswer {
    answer: PlatformAnswer,
    nonce: Nonce,
    platform: VerifiedPlatform,
    standing: PlatformStanding,
    level: Result<Level, BelowFloor>,
    verdict: PlatformVerdict,
}

impl Authority {
    /// Enrols a robot whose root of trust is no TPM, or puts other references in place of those that it was enrolled with.
    /// What binds its name is its device key, which nobody has proven yet: the first evidence does.
    ///
    /// # Errors
    /// [`PlatformRefusal`]: the name or the key is another robot's, or no level's floor is met.
    pub fn enrol_platform(
        &mut self,
        plan: PlatformPlan,
        now_ms: u64,
    ) -> Result<VerifiedPlatform, PlatformRefusal> {
        self.enrol_platform_as(plan, Sequence::GoesOn, now_ms)
    }

    fn enrol_platform_as(
        &mut self,
        plan: PlatformPlan,
        sequence: Sequence,
        now_ms: u64,
    ) -> Result<VerifiedPlatform, PlatformRefusal> {
        let anew = match sequence {
            Sequence::GoesOn => "",
            Sequence::Anew => ", whose sequence numbers begin anew",
        };
        let kind = plan.root.kind();
        let subject = format!("enrolment of a robot whose root of trust is {kind}{anew}");
        let robot = plan.robot.clone();
        let decision = Decision::about(EntryKind::Provision, Some(&robot), subject);
        let (signed, standing) = match self.sign_platform(plan, sequence, now_ms) {
            Ok(signed) => signed,
            Err(refusal) => return self.on_record(decision, now_ms, Err(refusal)),
        };
        let decision = decision.with_object(HashAlg::Sha256.digest(&[signed.as_bytes()]));
        self.acting_on_record(decision, now_ms, |authority| {
            // In this order: no record is ever beside a standing that is easier on it than its own.
            record::put(&authority.folder, &robot, &signed)?;
            record::put_standing(&authority.folder, &robot, &standing)?;
            Ok(signed)
        })
    }

    /// The record, and what is remembered of the robot from before: nothing unless it is the same device.
    fn sign_platform(
        &self,
        plan: PlatformPlan,
        sequence: Sequence,
        now_ms: u64,
    ) -> Result<(VerifiedPlatform, PlatformStanding), PlatformRefusal> {
        let Beginning { standing, generation } = self.beginning_of_name(&plan, sequence)?;
        self.check_device(&plan)?;
        let PlatformPlan {
            robot,
            root,
            tier,
            ceiling,
            state,
        } = plan;
        let ceiling = ceiling.min(self.config.ceiling);
        let mut record =
            PlatformEnrolment::new(robot, root, tier, ceiling, now_ms)?.of_generation(generation);
        if let Some(state) = state {
            record = record.holding_state_to(state)?;
        }
        // One without a root of trust is enrolled so that it is known for what it is; no level admits it.
        if record.root().kind() != RootKind::None {
            self.platform_level(&record)?;
        }
        let signed = record.unsigned(self.signing().suite()).sign(self.signing())?;
        // A reader's own questions, before it is kept.
        Ok((
            VerifiedPlatform::verify(&signed, &self.verifying_key())?,
            standing,
        ))
    }

    fn check_device(&self, plan: &PlatformPlan) -> Result<(), PlatformRefusal> {
        let Some(key) = plan.root.device_key() else {
            return Ok(());
        };
        for other in self.platforms()?.into_iter().filter(|other| *other != plan.robot) {
            if self.platform_enrolment(&other)?.record().root().device_key() == Some(key) {
                return Err(PlatformRefusal::DeviceTaken(other));
            }
        }
        Ok(())
    }

    /// The robots that are enrolled without a TPM, sorted by name.
    ///
    /// # Errors
    /// What the folder refused.
    pub fn platforms(&self) -> Result<Vec<RobotId>, StoreError> {
        record::names(&self.folder)
    }

    /// The enrolment of a robot whose root of trust is no TPM.
    ///
    /// # Errors
    /// [`PlatformRefusal::NoPlatform`], or a record that does not verify.
    pub fn platform_enrolment(&self, robot: &RobotId) -> Result<VerifiedPlatform, PlatformRefusal> {
        let found = self.find_platform(robot)?;
        found.ok_or_else(|| PlatformRefusal::NoPlatform(robot.clone()))
    }

    /// Its enrolment, where it is such a robot.
    ///
    /// # Errors
    /// [`RobotError`] where its record does not verify.
    pub fn find_platform(&self, robot: &RobotId) -> Result<Option<VerifiedPlatform>, RobotError> {
        record::find(&self.folder, &self.verifying_key(), robot)
    }

    /// What was last seen of such a robot.
    ///
    /// # Errors
    /// [`RobotError`] where the record does not read.
    pub fn platform_standing(&self, robot: &RobotId) -> Result<PlatformStanding, RobotError> {
        record::standing(&self.folder, robot)
    }

    /// The level that a record's own key and tier are admitted to now.
    ///
    /// # Errors
    /// [`BelowFloor`] where it is none.
    pub fn platform_level(&self, record: &PlatformEnrolment) -> Result<Level, BelowFloor> {
        let tier = record.tier();
        match record.root().suite() {
            Some(keys) => self.admitted_level(keys, tier, record.ceiling()),
            // Nothing signs for it, so that there is a tier alone to hold against the floor.
            None => {
                let lowest = self.profile_for(Level::Unclassified, tier);
                lowest.check_tier(tier).map(|()| Level::Unclassified)
            }
        }
    }

    pub(crate) fn platform_health(
        &self,
        platform: &VerifiedPlatform,
        now_ms: u64,
    ) -> Result<Health, RobotError> {
        let record = platform.record();
        let standing = record::standing(&self.folder, record.robot())?;
        Ok(self.health_at(self.platform_level(record), &standing.history, now_ms))
    }

    /// Asks a robot whose root of trust is no TPM for evidence of the kind that it was enrolled with.
    ///
    /// # Errors
    /// [`PlatformRefusal`]: not such a robot, or the folder refuses.
    pub fn challenge_platform(
        &mut self,
        robot: &RobotId,
        now_ms: u64,
    ) -> Result<PlatformRequest, PlatformRefusal> {
        let decision = Decision::about(EntryKind::Attest, Some(robot), "a new exchange");
        let request = self.open_platform_exchange(robot, now_ms);
        self.refusal_on_record(decision, now_ms, request)
    }

    fn open_platform_exchange(
        &self,
        robot: &RobotId,
        now_ms: u64,
    ) -> Result<PlatformRequest, PlatformRefusal> {
        let platform = self.platform_enrolment(robot)?;
        let record = platform.record();
        let mut entropy = self.entropy;
        let exchange = exchanges::open(&self.folder, &mut entropy, Purpose::Platform, robot, None, now_ms)?;
        Ok(PlatformRequest {
            session: exchange.session,
            root: record.root().kind(),
            nonce: record.nonce(&Nonce(exchange.nonce)),
        })
    }

    /// Judges the answer to [`Self::challenge_platform`]. The exchange is used up first, so that the same evidence never counts
    /// twice.
    ///
    /// # Errors
    /// [`PlatformRefusal`] where no judgement could be made.
    pub fn appraise_platform(
        &mut self,
        message: &[u8],
        now_ms: u64,
    ) -> Result<AppraisedPlatform, PlatformRefusal> {
        let digest = HashAlg::Sha256.digest(&[message]);
        let answer = PlatformAnswer::from_canonical(message);
        let decision = Decision::on(EntryKind::Attest, &answer, |sent| {
            let kind = sent.evidence.kind();
            (&sent.robot, format!("evidence of the kind {kind}"))
        });
        let decision = decision.with_object(digest);
        let judged = answer
            .map_err(Into::into)
            .and_then(|answer| self.judge_answer(answer, now_ms));
        let judged = match judged {
            Ok(judged) => judged,
            Err(error) => return self.on_record(decision, now_ms, Err(error)),
        };
        let codes = judged.verdict.judgement().reason_codes();
        let below = judged.level.as_ref().err().map(BelowFloor::code);
        let decision = decision.because(codes.into_iter().chain(below));
        let is_good = judged.verdict.judgement().is_trusted() && judged.level.is_ok();
        self.judgement_on_record(decision, is_good, now_ms)?;
        self.issue_on_answer(judged, now_ms)
    }

    fn judge_answer(&self, answer: PlatformAnswer, now_ms: u64) -> Result<JudgedAnswer, PlatformRefusal> {
        let robot = &answer.robot;
        let exchange = exchanges::close(&self.folder, Purpose::Platform, robot, answer.session, now_ms)?;
        let platform = self.platform_enrolment(robot)?;
        let record = platform.record();
        let nonce = record.nonce(&Nonce(exchange.nonce));
        let standing = record::standing(&self.folder, robot)?;
        let judged_at = self.platform_level(record).unwrap_or(Level::Unclassified);
        let expected = Expected {
            nonce: &nonce,
            min_tier: self.min_tier(judged_at, record.tier()),
            last_sequence: standing.last_sequence,
            max_state_age_ms: MAX_STATE_AGE_MS,
        };
        let mut verdict = record.appraise(&answer.evidence, &expected, now_ms)?;
        if let Some(since_ms) = standing.stopped_at_ms {
            verdict = verdict.with_stop_in_force(since_ms);
        }
        if let Some(rule) = self.appraisal_rule(robot, judged_at) {
            verdict = verdict.held_to(&rule, record);
        }
        let level = match verdict.state().filter(|state| state.boot != answer.boot) {
            Some(_) => Err(PlatformRefusal::OtherBoot),
            None => self.level_of_chain(record, &verdict),
        };
        if level.is_err() {
            self.note_signed_stop(record, standing.clone(), &verdict)?;
        }
        let level = level?;
        Ok(JudgedAnswer {
            answer,
            nonce,
            platform,
            standing,
            level,
            verdict,
        })
    }

    /// As [`Self::platform_level`], by the weakest of the keys that the evidence hangs on.
    fn level_of_chain(
        &self,
        record: &PlatformEnrolment,
        verdict: &PlatformVerdict,
    ) -> Result<Result<Level, BelowFloor>, PlatformRefusal> {
        let Some(enrolled) = record.root().suite() else {
            return Ok(self.platform_level(record));
        };
        let weakest = verdict.weakest_suite(enrolled).ok_or(PlatformRefusal::NoSuite)?;
        Ok(self.admitted_level(weakest, record.tier(), record.ceiling()))
    }

    /// Notes a stop that the root of trust signed, although the answer around it is refused: whoever carries it could make it so.
    fn note_signed_stop(
        &self,
        record: &PlatformEnrolment,
        mut standing: PlatformStanding,
        verdict: &PlatformVerdict,
    ) -> Result<(), PlatformRefusal> {
        let is_stopped = verdict.state().is_some_and(|state| state.stopped);
        if !is_stopped || !is_signed(record, verdict) {
            return Ok(());
        }
        standing.stopped_at(verdict.judgement().judged_at_ms());
        Ok(record::put_standing(&self.folder, record.robot(), &standing)?)
    }

    /// Notes what was judged, and gives out what is issued on it.
    fn issue_on_answer(
        &self,
        judged: JudgedAnswer,
        now_ms: u64,
    ) -> Result<AppraisedPlatform, PlatformRefusal> {
        let JudgedAnswer {
            answer,
            nonce,
            platform,
            mut standing,
            level,
            verdict,
        } = judged;
        let (record, robot, judgement) = (platform.record(), &answer.robot, verdict.judgement());
        if is_signed(record, &verdict) {
            standing.note(&verdict, &untrusted_codes(judgement.findings()));
            record::put_standing(&self.folder, robot, &standing)?;
        }
        let is_trusted = judgement.is_trusted();
        let level = match level {
            Ok(level) => level,
            Err(below) if is_trusted => return Err(below.into()),
            Err(_) => Level::Unclassified,
        };
        let (ear, _) = self.result(robot, judgement, &nonce, level)?;
        let asked = (robot, answer.boot, answer.lease);
        let lease = match is_trusted {
            true => Some(self.lease(asked, judgement, &ear, level, now_ms)?),
            false => None,
        };
        let (root, tier) = (record.root().kind(), record.tier());
        Ok(AppraisedPlatform {
            answer: AttestResult {
                session: answer.session,
                result: ear.clone().into_bytes(),
                lease,
            },
            robot: answer.robot,
            root,
            tier,
            level: is_trusted.then_some(level),
            verdict,
            ear,
        })
    }
}

/// Whether the enrolled root of trust signed what was judged, or there is none to sign: all else makes nobody failing.
fn is_signed(record: &PlatformEnrolment, verdict: &PlatformVerdict) -> bool {
    verdict.judgement().tier().is_some() && record.root().kind() == verdict.kind()
}
