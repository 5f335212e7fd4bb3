//! What a policy would have said of commands that were judged before it: to try it before it is adopted.

use std::collections::BTreeSet;

use alcub3_crypto::HashAlg;
use alcub3_trust_model::canonical::{Encoder, Reader};
use alcub3_trust_model::{Level, MissionId, RobotId, domain};

use super::{PolicyInForce, PolicyReason, SecondReason};
use crate::arguments::ArgumentsRef;
use crate::cose::Message;
use crate::demand::Demand;
use crate::envelope::EnvelopeRef;
use crate::second::{ApprovalRef, Presented};
use crate::{ActiveMissions, Arguments, CommandClass, CommandName, Reason, Role};

/// A command that a robot judged, with as much of its verdict as a policy could change.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedCommand {
    /// The robot.
    pub robot: RobotId,
    /// The mission.
    pub mission: MissionId,
    /// The mission's level.
    pub level: Level,
    /// What the issuer was on the mission.
    pub role: Role,
    /// What the second person was, where one approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<Role>,
    /// The command.
    pub command: CommandName,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Arguments,
    /// Whether it was admitted.
    pub admitted: bool,
    /// The codes of the reasons against it.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// The SHA-256 of what was judged, in hex: the audit log's entry names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// What becomes of a recorded command.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum Change {
    /// Nothing: admitted as before, or refused for the same reasons.
    Same,
    /// It was admitted, and would be refused.
    NewlyRefused,
    /// It was refused, and would be admitted.
    NewlyAdmitted,
    /// It was refused, and would be refused for other reasons.
    OtherReasons,
}

/// A recorded command under another policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trial {
    /// The codes it was refused for.
    pub before: BTreeSet<String>,
    /// The codes it would be refused for.
    pub after: BTreeSet<String>,
}

impl Trial {
    /// What changes.
    pub fn change(&self) -> Change {
        match (self.before.is_empty(), self.after.is_empty()) {
            _ if self.before == self.after => Change::Same,
            (true, _) => Change::NewlyRefused,
            (_, true) => Change::NewlyAdmitted,
            _ => Change::OtherReasons,
        }
    }

    /// The codes that are new, and those that fall away.
    pub fn difference(&self) -> (Vec<&str>, Vec<&str>) {
        let new = self.after.difference(&self.before).map(String::as_str);
        let gone = self.before.difference(&self.after).map(String::as_str);
        (new.collect(), gone.collect())
    }
}

impl RecordedCommand {
    /// The record of a verdict over what was presented; none for bytes that are no command for this robot, or of a mission
    /// or an issuer that it does not know.
    pub fn of(
        presented: &[u8],
        robot: &RobotId,
        missions: &ActiveMissions,
        against: &[Reason],
    ) -> Option<Self> {
        let parts = Presented::parse(presented).ok()?;
        let message = Message::parse(domain::COMMAND, parts.envelope).ok()?;
        let envelope = EnvelopeRef::for_robot(message.payload(), robot).ok()?;
        let mission = missions.get(&envelope.mission)?;
        let approval = parts
            .approval
            .and_then(|bytes| ApprovalRef::parse(bytes, parts.envelope).ok());
        let second = approval.and_then(|approval| mission.issuer(approval.approver));
        Some(Self {
            robot: robot.clone(),
            mission: envelope.mission,
            level: mission.token().labels.level,
            role: mission.issuer(envelope.issuer)?.role,
            second: second.map(|second| second.role),
            command: CommandName::new(envelope.command).ok()?,
            arguments: envelope.arguments.to_arguments(),
            admitted: against.is_empty(),
            reasons: against.iter().map(|reason| reason.code().to_owned()).collect(),
            digest: Some(HashAlg::Sha256.digest(&[presented]).to_hex()),
        })
    }

    /// The command under a policy that is about its robot. What a policy cannot change stays as it was recorded.
    pub fn under(&self, policy: &PolicyInForce) -> Trial {
        let before: BTreeSet<String> = self.reasons.iter().cloned().collect();
        let mut after: BTreeSet<String> = before
            .iter()
            .filter(|code| !is_of_policy(code))
            .cloned()
            .collect();
        let class = CommandClass::of(self.command.as_str());
        // What the mission's limits alone did not know, the policy judges.
        if class.is_some_and(|class| class != CommandClass::Observe) {
            after.remove(Reason::SafetyArgument.code());
        }
        after.extend(
            self.reasons_of(policy)
                .into_iter()
                .map(|reason| reason.code().to_owned()),
        );
        Trial { before, after }
    }

    fn reasons_of(&self, policy: &PolicyInForce) -> Vec<Reason> {
        let command = self.command.as_str();
        if let Err(reason) = policy.check_role(self.role, command) {
            // A verdict ends here too.
            return vec![reason.into()];
        }
        let mut reasons = Vec::new();
        if CommandClass::of(command) != Some(CommandClass::Observe) {
            reasons.extend(self.check_arguments(policy).err());
        }
        match self.second {
            None if policy.takes_second(command, self.level) => reasons.push(SecondReason::Missing.into()),
            Some(role) if !policy.may_second(role, command, self.level) => {
                reasons.push(SecondReason::Role.into());
            }
            _ => {}
        }
        reasons
    }

    fn check_arguments(&self, policy: &PolicyInForce) -> Result<(), Reason> {
        let mut out = Encoder::new();
        self.arguments.encode(&mut out);
        let bytes = out.finish();
        let mut reader = Reader::new("arguments", &bytes);
        let arguments = ArgumentsRef::decode(&mut reader).map_err(Reason::Payload)?;
        let command = self.command.as_str();
        let demand = Demand::read(&arguments, |name, value| {
            Ok(policy.check_declared(command, name, value)?)
        })?;
        Ok(policy.check_limits(&demand, self.level, self.mission)?)
    }
}

fn is_of_policy(code: &str) -> bool {
    PolicyReason::ALL.into_iter().any(|reason| reason.code() == code)
        || [SecondReason::Missing, SecondReason::Role]
            .into_iter()
            .any(|reason| reason.code() == code)
}
