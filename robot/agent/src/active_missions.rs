//! What runs now, for people and programs that ask.

use crate::robot::Robot;
use crate::{AgentError, MissionEnd, Result};
use alcub3_command_authority::{CommandPattern, Role, SafetyLimits, VerifiedMission};
use alcub3_keys::MissionRecord;
use alcub3_trust_model::{Labels, LeaseId, MissionId, OperatorId, RobotId};
use serde::{Deserialize, Serialize};

/// A mission that is active, as its token in force says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActiveMission {
    /// The mission.
    pub mission: MissionId,
    /// The robot.
    pub robot: RobotId,
    /// What command envelopes of this run name.
    pub lease: LeaseId,
    /// Its labels.
    pub labels: Labels,
    /// When it begins, UTC in milliseconds since 1970.
    pub not_before_ms: u64,
    /// When it ends, UTC in milliseconds since 1970.
    pub not_after_ms: u64,
    /// When it ends on the TPM's clock, in milliseconds.
    pub end_clock_ms: u64,
    /// The number of its anchor.
    pub anchor: u8,
    /// The limits of every command.
    pub limits: SafetyLimits,
    /// Who commands, and what.
    pub issuers: Vec<ActiveIssuer>,
    /// How many keys it has: the one that it began with, and the further ones.
    pub keys: u64,
    /// Whether its level is stopped.
    pub stopped: bool,
    /// Whether it is suspended: no command of it is accepted but `mission.resume`.
    #[serde(default)]
    pub suspended: bool,
}

/// Somebody who commands on a mission.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActiveIssuer {
    /// Who.
    pub operator: OperatorId,
    /// In which role.
    pub role: Role,
    /// Which commands.
    pub allowed: Vec<String>,
}

/// What runs, and what ended lately.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MissionList {
    /// Those that are active.
    pub missions: Vec<ActiveMission>,
    /// The last that ended.
    pub ended: Vec<EndedMission>,
}

/// The end of a mission.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EndedMission {
    /// The mission.
    pub mission: MissionId,
    /// Its level.
    pub level: alcub3_trust_model::Level,
    /// Why it ended: a code.
    pub reason: String,
    /// When that was noticed, UTC in milliseconds since 1970.
    pub at_utc_ms: Option<u64>,
}

impl From<&MissionEnd> for EndedMission {
    fn from(end: &MissionEnd) -> Self {
        Self {
            mission: end.mission,
            level: end.level,
            reason: end.over.code().to_owned(),
            at_utc_ms: end.at_utc_ms,
        }
    }
}

impl Robot {
    /// An active mission.
    ///
    /// # Errors
    /// That there is no such mission, or that its token does not hold.
    pub fn active_mission(&self, mission: MissionId) -> Result<ActiveMission> {
        self.described(&self.keys.mission(mission)?)
    }

    /// What runs, and what ended lately.
    ///
    /// # Errors
    /// The state folder's, or a token that does not hold.
    pub fn mission_list(&self) -> Result<MissionList> {
        let records = self.keys.missions()?;
        let missions = records.iter().map(|record| self.described(record));
        Ok(MissionList {
            missions: missions.collect::<Result<_>>()?,
            ended: self.mission_ends()?.iter().map(EndedMission::from).collect(),
        })
    }

    fn described(&self, record: &MissionRecord) -> Result<ActiveMission> {
        let authority = &self.keys.anchors().authority;
        let verified = VerifiedMission::as_approved(record.token_in_force(), authority, self.robot());
        let verified = verified.map_err(AgentError::from)?;
        let token = verified.token();
        let issuers = token.issuers.iter().map(|issuer| ActiveIssuer {
            operator: issuer.operator.clone(),
            role: issuer.role,
            allowed: issuer
                .allowed
                .iter()
                .map(CommandPattern::as_str)
                .map(str::to_owned)
                .collect(),
        });
        Ok(ActiveMission {
            mission: token.mission,
            robot: token.robot.clone(),
            lease: self.lease_id(),
            labels: token.labels.clone(),
            not_before_ms: token.not_before_ms,
            not_after_ms: token.not_after_ms,
            end_clock_ms: token.end_clock_ms,
            anchor: token.anchor.number(),
            limits: token.limits,
            issuers: issuers.collect(),
            keys: self.keys.mission_key_count(token.mission)?.saturating_add(1),
            stopped: self.is_level_stopped(token.labels.level),
            suspended: record.suspended,
        })
    }
}
