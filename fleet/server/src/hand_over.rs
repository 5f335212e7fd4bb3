//! Handing a mission over: others command it from then on, by the votes of as many persons as its level takes.

use alcub3_audit_log::EntryKind;
use alcub3_fleet_protocol::hand_over::{HandOverRequest, HandedOverToken};
use alcub3_trust_model::{OperatorId, RobotId, SessionId};

use crate::approval::ApprovalVault;
use crate::audit::Decision;
use crate::authority::Authority;
use crate::exchanges::{self, Purpose};
use crate::missions::{MissionApprovalError, MissionProposal, MissionStep, begin_ballot, token_digest};

/// Who commands a mission, and which commands each may give.
type Commanders = [(OperatorId, Vec<alcub3_command_authority::CommandPattern>)];

impl Authority {
    /// Opens the exchange in which a robot may ask that its mission be handed over. The robot's certifications name it.
    ///
    /// # Errors
    /// [`MissionApprovalError`]: not enrolled, or the folder refuses.
    pub fn open_hand_over(
        &mut self,
        robot: &RobotId,
        now_ms: u64,
    ) -> Result<SessionId, MissionApprovalError> {
        self.open_session(Purpose::HandOver, robot, now_ms)
    }

    /// Checks a robot's request against its mission and level, and begins the vote: from its approval on, by
    /// [`Self::approve_mission`], these command the mission and nobody else.
    ///
    /// # Errors
    /// [`MissionApprovalError`] with the reason why those of before go on to command.
    pub fn propose_hand_over<V: ApprovalVault>(
        &mut self,
        request: &[u8],
        to: &Commanders,
        vault: &mut V,
        now_ms: u64,
    ) -> Result<MissionProposal, MissionApprovalError> {
        let request = HandOverRequest::from_canonical(request);
        let decision = Decision::on(EntryKind::MissionStart, &request, |asked| {
            (
                &asked.robot,
                format!("other commanders of mission {}", asked.mission),
            )
        });
        let proposed = request
            .map_err(Into::into)
            .and_then(|request| self.judge_hand_over(&request, to, vault, now_ms));
        self.refusal_on_record(decision, now_ms, proposed)
    }

    fn judge_hand_over<V: ApprovalVault>(
        &self,
        request: &HandOverRequest,
        to: &Commanders,
        vault: &mut V,
        now_ms: u64,
    ) -> Result<MissionProposal, MissionApprovalError> {
        let session = request.session;
        exchanges::close(&self.folder, Purpose::HandOver, &request.robot, session, now_ms)?;
        let enrolment = self.active(&request.robot)?;
        let (signed, mission) = self.approved_mission(request.mission, &request.robot)?;
        let issuers = self.issuers_for(&mission.token().labels, to)?;
        let handed = HandedOverToken::of(request, mission.token(), &enrolment, session, (issuers, now_ms))?;
        let profile = self.profile_for(mission.token().labels.level, enrolment.record().tier);
        self.check_standing(&enrolment, &profile, now_ms)?;
        let token = handed.token().clone();
        self.check_token(&token)?;
        let ballot = begin_ballot(vault, &token, &enrolment, &profile)?;
        Ok(MissionProposal {
            ballot,
            token,
            session,
            step: MissionStep::HandOver(token_digest(&signed)),
        })
    }
}
