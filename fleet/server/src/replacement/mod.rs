//! Parts of a robot that were replaced: the robot proves what it measured, one approver signs that very change, and the
//! robot's enrolment is issued anew with the binding to its new hardware.

mod record;

use std::error::Error;

use alcub3_audit_log::EntryKind;
use alcub3_fleet_protocol::VerifiedEnrolment;
use alcub3_fleet_protocol::replacement::{ProvenHardware, Replacement, ReplacementError, ReplacementRequest};
use alcub3_trust_model::canonical::DecodeError;
use alcub3_trust_model::hardware::{Difference, HardwareRecord};
use alcub3_trust_model::{OperatorId, RobotId, SessionId};

use crate::approval::{ApprovalError, ApprovalVault, OperatorVote, one_vote};
use crate::audit::Decision;
use crate::authority::Authority;
use crate::enrolment::EnrolmentError;
use crate::exchanges::{self, ExchangeError, Purpose};
use crate::robots::{self, RobotError};
use crate::store::StoreError;

pub use record::ApprovedReplacement;
pub(crate) use record::finish;

/// Another robot whose record names a part that comes in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PartElsewhere {
    /// The robot.
    pub holder: RobotId,
    /// The slot in the robot that asks.
    pub slot: String,
    /// The serial number.
    pub serial: String,
}

/// What a request asks a person to approve.
#[derive(Clone, Debug)]
pub struct Review {
    /// The change, whose message the person signs.
    pub change: Replacement,
    /// The parts that differ.
    pub differences: Vec<Difference>,
    /// Those of them that other robots' records name. Serial numbers of such parts repeat in the field, and a spare part may
    /// come from a robot that cannot speak any more: it is shown, signed with the change, and not refused.
    pub elsewhere: Vec<PartElsewhere>,
}

/// A proven request that waits for its vote.
#[derive(Clone, Debug)]
pub struct ReplacementProposal {
    proven: ProvenHardware,
    before: HardwareRecord,
    review: Review,
}

impl ReplacementProposal {
    /// What the person approves.
    pub const fn review(&self) -> &Review {
        &self.review
    }
}

/// What became of a request.
#[derive(Debug)]
pub enum Proposed {
    /// One person has to approve it.
    Vote(Box<ReplacementProposal>),
    /// It was approved before, and the robot has not taken it or has an old disk: the answer, made anew.
    Approved {
        /// The answer for the robot.
        grant: Vec<u8>,
        /// Who approved.
        approver: OperatorId,
    },
}

/// Why a replacement was not approved. Nothing was changed, but where it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum ReplacementRefusal {
    /// The message is not the one form allowed.
    #[error("replacement message refused: {0}; name the file that `identity parts ask` wrote, unchanged")]
    Message(#[source] DecodeError),
    /// The request proves nothing, or asks for nothing that one person may approve.
    #[error(transparent)]
    Replacement(#[from] ReplacementError),
    /// The exchange is unknown, used, late or another robot's.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The robot's records.
    #[error(transparent)]
    Robot(#[from] RobotError),
    /// The robot's record changed between the proposal and the vote.
    #[error("the record of robot {0} is another one by now: begin again, and look at what differs")]
    Outdated(RobotId),
    /// The vote.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    /// The robot's endorsement authorisation.
    #[error(transparent)]
    Custody(#[from] EnrolmentError),
    /// The approval keys could not be read.
    #[error("the authority's approval keys: {0}")]
    Vault(#[source] Box<dyn Error + Send + Sync>),
    /// The approval is on record, and the answer could not be made.
    #[error(
        "the replacement is approved and on record, and its answer failed: {0}; ask again on the robot, no vote is needed"
    )]
    Unanswered(#[source] Box<ReplacementRefusal>),
}

impl From<StoreError> for ReplacementRefusal {
    fn from(error: StoreError) -> Self {
        Self::Robot(error.into())
    }
}

impl Authority {
    /// Opens the exchange in which a robot may ask that its replaced parts be taken into its record. A person's act: the
    /// robot's endorsement authorisation leaves custody for its chip once another act, the vote, has followed.
    ///
    /// # Errors
    /// [`ReplacementRefusal`]: not enrolled, purged, or the folder refuses.
    pub fn open_replacement(
        &mut self,
        robot: &RobotId,
        now_ms: u64,
    ) -> Result<SessionId, ReplacementRefusal> {
        self.open_session(Purpose::Replacement, robot, now_ms)
    }

    /// What a request asks for, checked as for the vote; the exchange stays open. None where it was approved before.
    ///
    /// # Errors
    /// [`ReplacementRefusal`] with the reason why it would be refused.
    pub fn review_replacement(
        &self,
        request: &[u8],
        now_ms: u64,
    ) -> Result<Option<Review>, ReplacementRefusal> {
        let request = ReplacementRequest::from_canonical(request).map_err(ReplacementRefusal::Message)?;
        let (robot, session) = (request.robot.clone(), request.session);
        exchanges::look(&self.folder, Purpose::Replacement, &robot, session, now_ms)?;
        let enrolment = self.active(&robot)?;
        let proven = ProvenHardware::verify(request, &enrolment, session)?;
        if self.approved_before(&proven, &enrolment)?.is_some() {
            return Ok(None);
        }
        let before = robots::hardware(&self.folder, &robot)?;
        Ok(Some(self.review(&proven, &before)?))
    }

    /// Checks a request and begins the vote. A robot that did not get the answer to an approved replacement, or that has an
    /// old disk, is answered anew: the authority goes by its own record, and by what the robot's chip measured.
    ///
    /// # Errors
    /// [`ReplacementRefusal`] with the reason; the exchange counts no more, whatever was wrong.
    pub fn propose_replacement<V: ApprovalVault>(
        &mut self,
        request: &[u8],
        vault: &mut V,
        now_ms: u64,
    ) -> Result<Proposed, ReplacementRefusal> {
        let request = ReplacementRequest::from_canonical(request).map_err(ReplacementRefusal::Message);
        let decision = Decision::on(EntryKind::Configuration, &request, |asked| {
            (&asked.robot, "replaced parts".to_owned())
        });
        let proposed = request.and_then(|request| self.judge_replacement(request, vault, now_ms));
        match proposed {
            Ok(Proposed::Approved { .. }) => self.on_record(decision, now_ms, proposed),
            _ => self.refusal_on_record(decision, now_ms, proposed),
        }
    }

    fn judge_replacement<V: ApprovalVault>(
        &self,
        request: ReplacementRequest,
        vault: &mut V,
        now_ms: u64,
    ) -> Result<Proposed, ReplacementRefusal> {
        let (robot, session) = (request.robot.clone(), request.session);
        exchanges::close(&self.folder, Purpose::Replacement, &robot, session, now_ms)?;
        let enrolment = self.active(&robot)?;
        let proven = ProvenHardware::verify(request, &enrolment, session)?;
        if let Some(approved) = self.approved_before(&proven, &enrolment)? {
            let approver = approved.approver.clone();
            let grant = self.answer(&proven, &approved, vault)?;
            return Ok(Proposed::Approved { grant, approver });
        }
        let before = robots::hardware(&self.folder, &robot)?;
        let review = self.review(&proven, &before)?;
        Ok(Proposed::Vote(Box::new(ReplacementProposal {
            proven,
            before,
            review,
        })))
    }

    /// Counts the person's vote, keeps who approved what, takes the new hardware into the robot's record, issues its enrolment
    /// anew, and gives the answer for the robot. Its certificates of before count until it uses new ones.
    ///
    /// # Errors
    /// [`ReplacementRefusal`]; the proposal counts no more, whatever was wrong.
    pub fn approve_replacement<V: ApprovalVault>(
        &mut self,
        proposal: ReplacementProposal,
        vote: &OperatorVote,
        vault: &mut V,
        now_ms: u64,
    ) -> Result<Vec<u8>, ReplacementRefusal> {
        let robot = &proposal.review.change.robot;
        let decision = Decision::about(EntryKind::Configuration, Some(robot), "replaced parts")
            .voted_by(std::slice::from_ref(vote));
        self.acting_on_record(decision, now_ms, |authority| {
            authority.replace_by(proposal, vote, vault, now_ms)
        })
    }

    fn replace_by<V: ApprovalVault>(
        &self,
        proposal: ReplacementProposal,
        vote: &OperatorVote,
        vault: &mut V,
        now_ms: u64,
    ) -> Result<Vec<u8>, ReplacementRefusal> {
        let ReplacementProposal {
            proven,
            before,
            review,
        } = proposal;
        let change = &review.change;
        let approver = one_vote(&self.operators, &change.message(), vote)?;
        let enrolment = self.active(&change.robot)?;
        if enrolment.record().hardware_binding != change.before {
            return Err(ReplacementRefusal::Outdated(change.robot.clone()));
        }
        let record = enrolment.record().with_hardware(change.after, now_ms);
        let signing = self.signing();
        let signed = record.unsigned(signing.suite()).sign(signing);
        let approved = ApprovedReplacement {
            robot: change.robot.clone(),
            session: change.session,
            before,
            after: proven.hardware().clone(),
            elsewhere: change.elsewhere.clone(),
            approver,
            signature: vote.signature.clone(),
            approved_at_ms: now_ms,
            enrolment: signed.map_err(ReplacementError::from)?,
        };
        approved.keep(&self.folder)?;
        let placed = approved.put_in_place(&self.folder).map_err(Into::into);
        placed
            .and_then(|()| self.answer(&proven, &approved, vault))
            .map_err(|failed| ReplacementRefusal::Unanswered(Box::new(failed)))
    }

    /// The replacements that were approved for a robot, oldest first.
    ///
    /// # Errors
    /// [`RobotError`] where a record does not read.
    pub fn replacements(&self, robot: &RobotId) -> Result<Vec<ApprovedReplacement>, RobotError> {
        record::of_robot(&self.folder, robot)
    }

    /// The approved replacement that the robot's present enrolment came from, where the robot found what was approved and its
    /// own enrolment does not name it.
    fn approved_before(
        &self,
        proven: &ProvenHardware,
        enrolment: &VerifiedEnrolment,
    ) -> Result<Option<ApprovedReplacement>, RobotError> {
        let found = proven.binding() == enrolment.record().hardware_binding;
        if !found || proven.is_enrolled_at_robot() {
            return Ok(None);
        }
        let mut approved = self.replacements(proven.robot())?;
        approved.retain(|replacement| replacement.enrolment == enrolment.as_bytes());
        Ok(approved.pop())
    }

    /// The parts that make the robot what it is are those on record, which no other robot can have been enrolled with.
    fn review(&self, proven: &ProvenHardware, before: &HardwareRecord) -> Result<Review, ReplacementRefusal> {
        let robot = proven.robot();
        let verdict = proven.replaces(before)?;
        let elsewhere = self.elsewhere(robot, &verdict.differences)?;
        let mut holders: Vec<RobotId> = elsewhere.iter().map(|part| part.holder.clone()).collect();
        holders.sort();
        holders.dedup();
        Ok(Review {
            change: Replacement {
                session: proven.session(),
                robot: robot.clone(),
                before: before.binding(proven.binding().alg()),
                after: proven.binding(),
                elsewhere: holders,
            },
            differences: verdict.differences,
            elsewhere,
        })
    }

    fn elsewhere(
        &self,
        robot: &RobotId,
        differences: &[Difference],
    ) -> Result<Vec<PartElsewhere>, RobotError> {
        let mut elsewhere = Vec::new();
        for difference in differences {
            let Some(serial) = &difference.found else { continue };
            for holder in robots::holders_of_part(&self.folder, robot, difference.class, serial)? {
                elsewhere.push(PartElsewhere {
                    holder,
                    slot: difference.slot.clone(),
                    serial: serial.clone(),
                });
            }
        }
        Ok(elsewhere)
    }

    fn answer<V: ApprovalVault>(
        &self,
        proven: &ProvenHardware,
        approved: &ApprovedReplacement,
        vault: &mut V,
    ) -> Result<Vec<u8>, ReplacementRefusal> {
        let anchors = self
            .anchors(vault)
            .map_err(|fault| ReplacementRefusal::Vault(Box::new(fault)))?;
        let (signing, suite) = (self.signing(), self.signing().suite());
        let enrolled = anchors.unsigned(proven.session(), &approved.enrolment, suite);
        let enrolled = enrolled.sign(signing).map_err(ReplacementError::from)?;
        let custody = self.custody(proven.robot())?;
        let mut entropy = self.entropy;
        let approver = approved.approver.clone();
        let grant = proven.grant(approver, &custody.endorsement, enrolled, &mut entropy)?;
        Ok(grant
            .unsigned(suite)
            .sign(signing)
            .map_err(ReplacementError::from)?)
    }
}
