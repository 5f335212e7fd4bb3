//! Judging evidence that a robot gathered while this authority was out of its reach: each link as what it was then.
//!
//! A queue begins behind an answer that this authority signed for that robot: a lease, or the answer to a queue. What is found is
//! put on record with the time it is of. It gives no lease and no freshness: nothing here says that a robot is trusted now.

use alcub3_attestation::appraisal::{Asked, LastSeen, Policy, Verdict};
use alcub3_attestation::offline::{Anchored, JudgedLink, JudgedQueue, anchor, digest, judge};
use alcub3_audit_log::EntryKind;
use alcub3_command_authority::cose::SignError;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_fleet_protocol::offline::{OfflineAnswer, OfflineQueue};
use alcub3_trust_model::canonical::DecodeError;
use alcub3_trust_model::{Level, RobotId};

use crate::audit::Decision;
use crate::authority::Authority;
use crate::epochs;
use crate::exchanges::EXCHANGE_MS;
use crate::offline_anchors::{self, Answer, Judged};
use crate::robots::{self, RobotError, Standing};
use crate::store::StoreError;

/// How far a robot's own time may be from when a link can have been made, in milliseconds, before that is said.
const MAX_STATE_AGE_MS: u64 = 30_000;

/// Why a queue was not judged. A finding about one of its links is none of these.
#[derive(Debug, thiserror::Error)]
pub enum OfflineRefusal {
    /// The message is not the one form allowed.
    #[error(transparent)]
    Message(#[from] DecodeError),
    /// The robot's records.
    #[error(transparent)]
    Robot(#[from] RobotError),
    /// It begins behind no answer that this authority gave the robot, or behind one that is too old to be known.
    #[error(
        "the queue begins behind no answer that this authority gave robot {0} and still knows: it proves nothing of its time"
    )]
    Anchor(RobotId),
    /// Other links behind the same answer were judged.
    #[error("other links were judged behind the same answer: this queue was cut or made anew")]
    OtherQueue,
    /// The answer could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was found of a queue.
#[derive(Debug)]
pub struct OfflineJudged {
    /// The robot.
    pub robot: RobotId,
    /// The links, with the time each judgement is of.
    pub queue: JudgedQueue,
    /// How many of them were judged before.
    pub known: usize,
    /// Numbers between the newest link and the evidence that was judged live behind the same answer, where that came first.
    pub gap: Option<(u64, u64)>,
    /// The signed answer to the robot.
    pub answer: Vec<u8>,
}

impl Authority {
    /// Judges a queue of offline evidence at the time it was received. What was judged before is judged again and not put on record
    /// again: where an answer is lost, the robot sends the queue once more.
    ///
    /// # Errors
    /// [`OfflineRefusal`] where nothing could be judged.
    pub fn appraise_offline(&mut self, message: &[u8], now_ms: u64) -> Result<OfflineJudged, OfflineRefusal> {
        let decision_digest = HashAlg::Sha256.digest(&[message]);
        let message = OfflineQueue::from_canonical(message);
        let decision = Decision::on(EntryKind::Attest, &message, |sent| {
            (&sent.robot, "offline evidence".to_owned())
        });
        let decision = decision.with_object(decision_digest);
        let judged = message
            .map_err(Into::into)
            .and_then(|queue| self.judge_offline(&queue, now_ms).map(|judged| (queue, judged)));
        let (sent, (answer, queue)) = match judged {
            Ok(judged) => judged,
            Err(refusal) => return self.on_record(decision, now_ms, Err(refusal)),
        };
        let known = known_links(&answer, &queue);
        for link in queue.links.iter().skip(known) {
            self.link_on_record(&sent.robot, link, now_ms)?;
        }
        if let Some(broken) = &queue.broken {
            let subject = format!("offline evidence, from link {} on not proven", broken.index());
            let decision = Decision::about(EntryKind::Attest, Some(&sent.robot), subject);
            self.judgement_on_record(decision.because([broken.code()]), false, now_ms)?;
        }
        let next = sent.links.get(queue.links.len());
        let broken = next.filter(|_| queue.broken.is_some()).map(|link| digest(link));
        self.answer_offline(sent.robot, answer, queue, (known, broken), now_ms)
    }

    fn judge_offline(
        &self,
        queue: &OfflineQueue,
        now_ms: u64,
    ) -> Result<(Answer, JudgedQueue), OfflineRefusal> {
        let robot = &queue.robot;
        let enrolment = self.active(robot)?;
        let answer = offline_anchors::find(&self.folder, robot, &queue.anchor)?
            .ok_or_else(|| OfflineRefusal::Anchor(robot.clone()))?;
        check_continues(&answer, queue)?;
        let record = enrolment.record();
        let ceiling = self.lease_ceiling(&enrolment).unwrap_or(Level::Unclassified);
        let references = self.references_in_force(robot, ceiling)?;
        let policy = Policy {
            attestation_key: enrolment.attestation_key(),
            robot,
            // Each link has its own.
            nonce: &alcub3_attestation::evidence::Nonce([0; 32]),
            asked: Asked::Operational,
            references: &references,
            pcrs: self.config.pcrs,
            nv: *enrolment.nv_map(),
            enrolled_tier: record.tier,
            min_tier: self.profile_for(ceiling, record.tier).min_tier,
            rearmed_stops: &[],
            last_seen: None,
            known_boot: None,
            known_runtime: None,
            // Each link certifies all of them: whoever lacks one link loses no other.
            known_registers: None,
            max_state_age_ms: MAX_STATE_AGE_MS,
        };
        let links = queue.links.iter().map(Vec::as_slice);
        let rule = self.appraisal_rule(robot, ceiling);
        let rule = rule.map(|rule| rule.over_origin(record.origin.kinds()));
        let judged = judge(links, &answer.anchored, (&policy, rule.as_ref()), now_ms);
        Ok((answer, judged))
    }

    /// A judgement with the time it is of. A stop that a link shows is remembered: it is in force until persons rearm it.
    fn link_on_record(
        &mut self,
        robot: &RobotId,
        link: &JudgedLink,
        now_ms: u64,
    ) -> Result<(), OfflineRefusal> {
        let subject = format!(
            "offline evidence {}, link {}, as of {} +- {} ms",
            link.sequence,
            link.index,
            link.as_of.at_ms(),
            link.as_of.uncertainty_ms()
        );
        let codes = link.findings().iter().map(|found| found.reason.code());
        let decision = Decision::about(EntryKind::Attest, Some(robot), subject)
            .with_object(link.digest)
            .because(codes);
        self.judgement_on_record(decision, link.was_good(), now_ms)?;
        self.note_stops_of(robot, link, now_ms)?;
        Ok(())
    }

    /// Notes the stops that a link shows. Those that it showed before its chip certified the epoch of the last rearm were rearmed
    /// with it.
    fn note_stops_of(&self, robot: &RobotId, link: &JudgedLink, now_ms: u64) -> Result<(), RobotError> {
        if link.stops().is_empty() {
            return Ok(());
        }
        let enrolment = self.active(robot)?;
        let rearmed = epochs::rearmed(&self.folder, robot, enrolment.attestation_key())?;
        let is_behind = rearmed
            .zip(link.clock())
            .is_some_and(|(rearmed, clock)| rearmed.is_behind(clock));
        let mut standing = self.standing(robot)?;
        let before = standing.clone();
        if is_behind {
            link.stops().iter().for_each(|stop| standing.saw_rearmed(*stop));
        } else {
            standing.learned_of_stops(link.stops().iter().copied(), now_ms);
        }
        if standing != before {
            robots::put_standing(&self.folder, robot, &standing)?;
        }
        Ok(())
    }

    fn answer_offline(
        &mut self,
        robot: RobotId,
        mut answer: Answer,
        queue: JudgedQueue,
        (known, broken): (usize, Option<Digest>),
        now_ms: u64,
    ) -> Result<OfflineJudged, OfflineRefusal> {
        let count = queue.links.len() as u64;
        let gap = answer.live.and_then(|live| gap(queue.last_seen.sequence, live));
        // What says nothing new has the answer that it had: old queues, sent again, push no newer answer out.
        let given = answer.judged.as_ref();
        if let Some(given) = given.filter(|given| given.covers(count, broken.as_ref())) {
            let answer = given.answer.clone();
            return Ok(OfflineJudged {
                robot,
                queue,
                known,
                gap,
                answer,
            });
        }
        let signed = OfflineAnswer {
            robot: robot.clone(),
            anchor: answer.anchored.anchor,
            judged: count,
            head: queue.head,
            given_at_ms: now_ms,
            broken,
        };
        let signing = self.signing();
        let signed = signed.unsigned(signing.suite()).sign(signing)?;
        answer.judged = Some(Judged {
            count,
            head: queue.head,
            sequence: queue.last_seen.sequence,
            broken,
            answer: signed.clone(),
        });
        offline_anchors::put(&self.folder, &robot, answer)?;
        let quoted_after_ms = queue.links.last().map_or(0, |link| link.as_of.earliest_ms);
        self.anchor_offline(&robot, &signed, queue.last_seen, quoted_after_ms, now_ms)?;
        Ok(OfflineJudged {
            robot,
            queue,
            known,
            gap,
            answer: signed,
        })
    }

    fn anchor_offline(
        &self,
        robot: &RobotId,
        signed: &[u8],
        last_seen: LastSeen,
        quoted_after_ms: u64,
        now_ms: u64,
    ) -> Result<(), RobotError> {
        let answer = self.begun_behind(robot, signed, last_seen, quoted_after_ms, now_ms)?;
        offline_anchors::put(&self.folder, robot, answer)
    }

    fn begun_behind(
        &self,
        robot: &RobotId,
        signed: &[u8],
        last_seen: LastSeen,
        quoted_after_ms: u64,
        now_ms: u64,
    ) -> Result<Answer, RobotError> {
        Ok(Answer::new(Anchored {
            anchor: anchor(signed),
            given_at_ms: now_ms,
            last_seen,
            quoted_after_ms,
            rearmed: self.standing(robot)?.rearmed,
        }))
    }

    /// Notes live evidence, and the lease that is given on it: the robot's next queue may begin behind it.
    pub(crate) fn note_live(
        &self,
        robot: &RobotId,
        verdict: &Verdict,
        lease: Option<&[u8]>,
        now_ms: u64,
    ) -> Result<(), RobotError> {
        let Some(attested) = verdict.attested() else {
            return Ok(());
        };
        // The evidence answers a question that is no older than an exchange.
        let quoted_after_ms = now_ms.saturating_sub(EXCHANGE_MS);
        let answer = |lease| self.begun_behind(robot, lease, attested.last_seen(), quoted_after_ms, now_ms);
        let answer = lease.map(answer).transpose()?;
        offline_anchors::note_live(&self.folder, robot, attested.sequence, answer)
    }

    /// Names what lies between the newest offline evidence that was shown and the first live evidence since.
    pub(crate) fn behind_offline_evidence(
        &self,
        robot: &RobotId,
        standing: &Standing,
        verdict: Verdict,
    ) -> Result<Verdict, RobotError> {
        let newest = standing.last_seen.map_or(0, |last| last.sequence);
        let shown = offline_anchors::shown(&self.folder, robot)?;
        Ok(match shown.filter(|shown| *shown > newest) {
            Some(shown) => verdict.behind_offline_evidence(shown),
            None => verdict,
        })
    }
}

/// The numbers strictly between.
fn gap(shown: u64, live: u64) -> Option<(u64, u64)> {
    let (from, to) = (shown.checked_add(1)?, live.checked_sub(1)?);
    (from <= to).then_some((from, to))
}

/// A queue that was judged before may have grown, and be nothing else.
fn check_continues(answer: &Answer, queue: &OfflineQueue) -> Result<(), OfflineRefusal> {
    let Some(judged) = &answer.judged else {
        return Ok(());
    };
    if judged.count == 0 {
        return Ok(());
    }
    let last = usize::try_from(judged.count).ok();
    let last = last.and_then(|count| queue.links.get(count.checked_sub(1)?));
    if last.map(|link| digest(link)) == Some(judged.head) {
        Ok(())
    } else {
        Err(OfflineRefusal::OtherQueue)
    }
}

fn known_links(answer: &Answer, queue: &JudgedQueue) -> usize {
    let known = answer.judged.as_ref().map_or(0, |judged| judged.count);
    usize::try_from(known)
        .unwrap_or(usize::MAX)
        .min(queue.links.len())
}
