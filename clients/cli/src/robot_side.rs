//! The robot that a command is about: opened by this process, or held by an agent that serves it.

use crate::agent_client::AgentClient;
use crate::clock::now_ms;
use crate::error::CliError;
use alcub3_agent::{ActiveMission, MissionList, PlatformLogs, Robot, Surroundings};
use alcub3_fleet_protocol::audit::AuditReport;
use alcub3_trust_model::{Labels, LeaseId, Level, MissionId, RobotId, SessionId};
use serde_json::{Value, json};

/// What commands ask of a robot, whoever holds it.
pub(crate) trait RobotSide {
    /// Its name.
    fn name(&self) -> Result<RobotId, CliError>;
    /// Whether the whole robot is stopped.
    fn is_stopped(&self) -> Result<bool, CliError>;
    /// The levels that it serves.
    fn levels(&self) -> Result<Vec<Level>, CliError>;
    /// The receipts of its stops.
    fn receipts(&self) -> Result<Vec<Vec<u8>>, CliError>;
    /// Evidence for an authority's request.
    fn evidence(&self, request: &[u8]) -> Result<Vec<u8>, CliError>;
    /// Gives it the lease of an authority's result.
    fn take_lease(&self, lease: &[u8]) -> Result<LeaseId, CliError>;
    /// Its epochs, certified for an exchange.
    fn ask_rearm(&self, session: SessionId, levels: &[Level]) -> Result<Vec<u8>, CliError>;
    /// Gives it an approval of two persons.
    fn rearm(&self, approval: &[u8], session: SessionId) -> Result<Vec<Level>, CliError>;
    /// Asks for a mission, has it approved, and starts it.
    fn start_mission(
        &self,
        session: SessionId,
        labels: Labels,
        duration_ms: u64,
        approve: &mut Approve<'_>,
    ) -> Result<ActiveMission, CliError>;
    /// Asks for a mission's later end, has it approved, and takes it; `duration_ms` counts from its start.
    fn extend_mission(
        &self,
        session: SessionId,
        mission: MissionId,
        duration_ms: u64,
        approve: &mut Approve<'_>,
    ) -> Result<ActiveMission, CliError>;
    /// Asks that others command a mission, has it approved, and takes it.
    fn hand_over_mission(
        &self,
        session: SessionId,
        mission: MissionId,
        approve: &mut Approve<'_>,
    ) -> Result<ActiveMission, CliError>;
    /// What runs, and what ended lately.
    fn missions(&self) -> Result<MissionList, CliError>;
    /// One mission that runs.
    fn mission(&self, mission: MissionId) -> Result<ActiveMission, CliError>;
    /// Ends a mission.
    fn complete_mission(&self, mission: MissionId) -> Result<(), CliError>;
    /// The audit log's head now, with the proof that it goes on from one of so many entries.
    fn audit_report(&self, held: Option<u64>) -> Result<AuditReport, CliError>;
    /// Judges a command envelope.
    fn judge(&self, envelope: &[u8]) -> Result<Value, CliError>;
}

/// What turns a request into an approval.
pub(crate) type Approve<'a> = dyn FnMut(&[u8]) -> Result<Vec<u8>, CliError> + 'a;

/// A robot in this process, with what its evidence is made of.
pub(crate) struct Opened<'a> {
    /// The robot.
    pub(crate) robot: &'a Robot,
    /// What it knows of itself.
    pub(crate) surroundings: Surroundings,
    /// Its logs.
    pub(crate) logs: PlatformLogs,
}

impl<'a> Opened<'a> {
    /// A robot at rest with the platform's own logs.
    pub(crate) fn at_rest(robot: &'a Robot) -> Self {
        Self {
            robot,
            surroundings: Surroundings::unknown(),
            logs: PlatformLogs::default(),
        }
    }
}

impl RobotSide for Opened<'_> {
    fn name(&self) -> Result<RobotId, CliError> {
        Ok(self.robot.robot().clone())
    }

    fn is_stopped(&self) -> Result<bool, CliError> {
        Ok(self.robot.is_stopped())
    }

    fn levels(&self) -> Result<Vec<Level>, CliError> {
        let parents = &self.robot.keys().record().parents;
        Ok(parents.iter().map(|parent| parent.level).collect())
    }

    fn receipts(&self) -> Result<Vec<Vec<u8>>, CliError> {
        Ok(self.robot.receipts()?)
    }

    fn evidence(&self, request: &[u8]) -> Result<Vec<u8>, CliError> {
        if !self.robot.has_measured_hardware() {
            let machine = crate::parties::machine_root(self.robot)?;
            self.robot.measure_hardware(machine.as_deref(), now_ms())?;
        }
        Ok(self
            .robot
            .attest(request, &self.surroundings, &self.logs, now_ms())?)
    }

    fn take_lease(&self, lease: &[u8]) -> Result<LeaseId, CliError> {
        self.robot.take_lease(lease)?;
        Ok(self.robot.lease_id())
    }

    fn ask_rearm(&self, session: SessionId, levels: &[Level]) -> Result<Vec<u8>, CliError> {
        Ok(self.robot.rearm_request(session, levels)?)
    }

    fn rearm(&self, approval: &[u8], session: SessionId) -> Result<Vec<Level>, CliError> {
        Ok(self.robot.rearm(approval, session, now_ms())?)
    }

    fn start_mission(
        &self,
        session: SessionId,
        labels: Labels,
        duration_ms: u64,
        approve: &mut Approve<'_>,
    ) -> Result<ActiveMission, CliError> {
        let (start, request) = self.robot.mission_request(session, labels, duration_ms)?;
        let approval = approve(&request)?;
        let record = self.robot.start_mission(&start, &approval, now_ms())?;
        Ok(self.robot.active_mission(record.mission)?)
    }

    fn extend_mission(
        &self,
        session: SessionId,
        mission: MissionId,
        duration_ms: u64,
        approve: &mut Approve<'_>,
    ) -> Result<ActiveMission, CliError> {
        let approval = approve(&self.robot.extension_request(session, mission, duration_ms)?)?;
        self.robot.extend_mission(session, mission, &approval, now_ms())?;
        self.mission(mission)
    }

    fn hand_over_mission(
        &self,
        session: SessionId,
        mission: MissionId,
        approve: &mut Approve<'_>,
    ) -> Result<ActiveMission, CliError> {
        let approval = approve(&self.robot.hand_over_request(session, mission)?)?;
        self.robot
            .hand_over_mission(session, mission, &approval, now_ms())?;
        self.mission(mission)
    }

    fn missions(&self) -> Result<MissionList, CliError> {
        Ok(self.robot.mission_list()?)
    }

    fn mission(&self, mission: MissionId) -> Result<ActiveMission, CliError> {
        Ok(self.robot.active_mission(mission)?)
    }

    fn complete_mission(&self, mission: MissionId) -> Result<(), CliError> {
        Ok(self.robot.complete_mission(mission, now_ms())?)
    }

    fn audit_report(&self, held: Option<u64>) -> Result<AuditReport, CliError> {
        self.robot.checkpoint_audit()?;
        Ok(self.robot.audit_report(held)?)
    }

    fn judge(&self, envelope: &[u8]) -> Result<Value, CliError> {
        Ok(self.robot.judge(envelope, Some(now_ms()))?)
    }
}

impl RobotSide for AgentClient {
    fn name(&self) -> Result<RobotId, CliError> {
        self.field("/v1/robot", "robot")
    }

    fn is_stopped(&self) -> Result<bool, CliError> {
        self.field("/v1/robot", "stopped")
    }

    fn levels(&self) -> Result<Vec<Level>, CliError> {
        self.field("/v1/robot", "levels")
    }

    fn receipts(&self) -> Result<Vec<Vec<u8>>, CliError> {
        let receipts: Vec<String> = self.field("/v1/stops", "receipts")?;
        let decoded = receipts.iter().map(hex::decode);
        decoded
            .collect::<Result<_, _>>()
            .map_err(|_| self.misunderstood("a receipt is not hexadecimal"))
    }

    fn evidence(&self, request: &[u8]) -> Result<Vec<u8>, CliError> {
        self.post("/v1/evidence", request)
    }

    fn take_lease(&self, lease: &[u8]) -> Result<LeaseId, CliError> {
        self.field_of("lease", &self.post("/v1/lease", lease)?)
    }

    fn ask_rearm(&self, session: SessionId, levels: &[Level]) -> Result<Vec<u8>, CliError> {
        self.post_json(
            "/v1/rearm/requests",
            &json!({"session": session, "levels": levels}),
        )
    }

    fn rearm(&self, approval: &[u8], session: SessionId) -> Result<Vec<Level>, CliError> {
        let answer = self.post(&format!("/v1/rearm/approvals?session={session}"), approval)?;
        self.field_of("levels", &answer)
    }

    fn start_mission(
        &self,
        session: SessionId,
        labels: Labels,
        duration_ms: u64,
        approve: &mut Approve<'_>,
    ) -> Result<ActiveMission, CliError> {
        let wanted = json!({"session": session, "labels": labels, "duration_ms": duration_ms});
        let request = self.post_json("/v1/missions/requests", &wanted)?;
        let approval = approve(&request)?;
        self.parse(&self.post(&format!("/v1/missions/approvals?session={session}"), &approval)?)
    }

    fn extend_mission(
        &self,
        session: SessionId,
        mission: MissionId,
        duration_ms: u64,
        approve: &mut Approve<'_>,
    ) -> Result<ActiveMission, CliError> {
        let wanted = json!({"session": session, "duration_ms": duration_ms});
        self.change_mission(
            &format!("/v1/missions/{mission}/extension"),
            session,
            &wanted,
            approve,
        )
    }

    fn hand_over_mission(
        &self,
        session: SessionId,
        mission: MissionId,
        approve: &mut Approve<'_>,
    ) -> Result<ActiveMission, CliError> {
        let wanted = json!({"session": session});
        self.change_mission(
            &format!("/v1/missions/{mission}/hand-over"),
            session,
            &wanted,
            approve,
        )
    }

    fn missions(&self) -> Result<MissionList, CliError> {
        self.get("/v1/missions")
    }

    fn mission(&self, mission: MissionId) -> Result<ActiveMission, CliError> {
        self.get(&format!("/v1/missions/{mission}"))
    }

    fn complete_mission(&self, mission: MissionId) -> Result<(), CliError> {
        self.delete(&format!("/v1/missions/{mission}")).map(|_| ())
    }

    fn audit_report(&self, held: Option<u64>) -> Result<AuditReport, CliError> {
        let report = self.post_json("/v1/audit/report", &json!({"held": held}))?;
        AuditReport::from_canonical(&report).map_err(|error| self.misunderstood(error.to_string()))
    }

    fn judge(&self, envelope: &[u8]) -> Result<Value, CliError> {
        self.parse(&self.post("/v1/commands", envelope)?)
    }
}

impl AgentClient {
    fn change_mission(
        &self,
        path: &str,
        session: SessionId,
        wanted: &Value,
        approve: &mut Approve<'_>,
    ) -> Result<ActiveMission, CliError> {
        let approval = approve(&self.post_json(&format!("{path}/requests"), wanted)?)?;
        self.parse(&self.post(&format!("{path}/approvals?session={session}"), &approval)?)
    }
}
