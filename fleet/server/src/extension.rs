//! Moving a mission's end: what was asked is checked against the mission as it stands, the persons vote again.

use alcub3_audit_log::EntryKind;
use alcub3_command_authority::VerifiedMission;
use alcub3_fleet_protocol::extension::{ExtendedToken, ExtensionRequest};
use alcub3_trust_model::{MissionId, RobotId, SessionId};

use crate::approval::ApprovalVault;
use crate::audit::Decision;
use crate::authority::Authority;
use crate::exchanges::{self, Purpose};
use crate::missions::{MissionApprovalError, MissionProposal, MissionStep, begin_ballot, token_digest};

impl Authority {
    /// Opens the exchange in which a robot may ask for a later end. The robot's certification names it.
    ///
    /// # Errors
    /// [`MissionApprovalError`]: not enrolled, or the folder refuses.
    pub fn open_extension(
        &mut self,
        robot: &RobotId,
        now_ms: u64,
    ) -> Result<SessionId, MissionApprovalError> {
        self.open_session(Purpose::Extension, robot, now_ms)
    }

    /// Checks a robot's request against its mission and level, and begins the vote. It is approved with
    /// [`Self::approve_mission`], by as many persons as the level takes.
    ///
    /// # Errors
    /// [`MissionApprovalError`] with the reason why the end stays where it is.
    pub fn propose_extension<V: ApprovalVault>(
        &mut self,
        request: &[u8],
        vault: &mut V,
        now_ms: u64,
    ) -> Result<MissionProposal, MissionApprovalError> {
        let request = ExtensionRequest::from_canonical(request);
        let decision = Decision::on(EntryKind::MissionEnd, &request, |asked| {
            (&asked.robot, format!("a later end of mission {}", asked.mission))
        });
        let proposed = request
            .map_err(Into::into)
            .and_then(|request| self.judge_extension(&request, vault, now_ms));
        self.refusal_on_record(decision, now_ms, proposed)
    }

    fn judge_extension<V: ApprovalVault>(
        &self,
        request: &ExtensionRequest,
        vault: &mut V,
        now_ms: u64,
    ) -> Result<MissionProposal, MissionApprovalError> {
        let session = request.session;
        exchanges::close(&self.folder, Purpose::Extension, &request.robot, session, now_ms)?;
        let enrolment = self.active(&request.robot)?;
        let (signed, mission) = self.approved_mission(request.mission, &request.robot)?;
        let now = (&self.profiles(), now_ms);
        let later = ExtendedToken::of(request, mission.token(), &enrolment, session, now)?;
        let profile = self.profile_for(mission.token().labels.level, enrolment.record().tier);
        self.check_standing(&enrolment, &profile, now_ms)?;
        let token = later.token().clone();
        self.check_token(&token)?;
        let ballot = begin_ballot(vault, &token, &enrolment, &profile)?;
        Ok(MissionProposal {
            ballot,
            token,
            session,
            step: MissionStep::LaterEnd(token_digest(&signed)),
        })
    }

    /// A robot's mission as it was approved, signed and verified.
    pub(crate) fn approved_mission(
        &self,
        mission: MissionId,
        robot: &RobotId,
    ) -> Result<(Vec<u8>, VerifiedMission), MissionApprovalError> {
        let signed = self
            .mission(&mission)?
            .ok_or(MissionApprovalError::Unknown(mission))?;
        let verified = VerifiedMission::as_approved(&signed, &self.verifying_key(), robot)?;
        Ok((signed, verified))
    }
}
