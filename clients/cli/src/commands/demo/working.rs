//! A mission, its commands, and its key.

use super::actors::person;
use super::judging::{Life, Mission};
use super::story::Telling;
use super::tour::{held, levels};
use crate::clock::now_ms;
use crate::error::CliError;
use crate::local_authority::Person;
use crate::robot_side::Opened;
use alcub3_agent::ActiveMission;
use alcub3_command_authority::{
    Arguments, CommandEnvelope, CommandName, CommandPattern, SafetyLimits, Value as Argument,
};
use alcub3_crypto::{Curve, Suite};
use alcub3_security_hal::GateVerdict;
use alcub3_server::MissionPlan;
use alcub3_tpm::PolicySession;
use alcub3_trust_model::{Integrity, Labels};

const MISSION_MS: u64 = 10 * 60_000;

impl Life {
    pub(super) fn start_mission(&mut self, telling: &mut Telling) -> Result<Mission, CliError> {
        let level = held(levels(self.curve).pop(), "the robot serves no level")?;
        let pattern = CommandPattern::new("move.*").map_err(CliError::Role)?;
        let limits = SafetyLimits {
            max_speed_mm_per_s: 1_500,
            max_turn_mdeg_per_s: 90_000,
            max_duration_ms: 10_000,
            geofence: None,
        };
        let plan = MissionPlan {
            issuers: vec![(self.persons.operator.id.clone(), vec![pattern])],
            limits,
        };
        let labels = Labels::new(level, Integrity::Operational);
        let persons = alcub3_trust_model::profile(level).persons;
        let voters = self
            .persons
            .approvers
            .get(..usize::from(persons))
            .unwrap_or_default();
        let record = self.authority.start_mission(
            &Opened::at_rest(&self.demo.robot),
            labels,
            MISSION_MS,
            &plan,
            voters,
        )?;
        let key = self.demo.robot.mission_key(record.mission)?;
        telling.done(format!(
            "{persons} of the approvers voted for ten minutes at {level}; carol may give move commands up \
                              to 1.5 m/s"
        ));
        telling.done("the mission's key was made in the robot's chip, and certified by its attestation key");
        telling.enforced("the key signs only before its end on the TPM's clock, while no stop extended the lockdown PCR, \
                          while the robot's epoch, the level's epoch and the mission's anchor stand where they stood");
        telling.fact("mission", record.mission.to_string());
        Ok((record, key))
    }

    pub(super) fn command(&mut self, telling: &mut Telling, mission: &ActiveMission) -> Result<(), CliError> {
        let good = self.envelope(mission, 1, 1_000)?;
        let verdict = self.demo.robot.validate(&good, Some(now_ms()))?;
        held(
            matches!(verdict, GateVerdict::Admitted(_)).then_some(()),
            "a good command was refused",
        )?;
        telling.done("carol sends `move.velocity`, 1.0 m/s: admitted");
        self.refuse(telling, "the same envelope again", &good)?;
        let mut forged = self.envelope(mission, 2, 1_000)?;
        if let Some(byte) = forged.last_mut() {
            *byte ^= 1;
        }
        self.refuse(telling, "one bit of the signature changed", &forged)?;
        let stranger = person("carol", Curve::P384)?;
        let theirs = self.envelope_by(&stranger, mission, 3, 1_000)?;
        self.refuse(telling, "another's key in carol's name", &theirs)?;
        let fast = self.envelope(mission, 4, 9_000)?;
        self.refuse(telling, "9 m/s, which the mission does not allow", &fast)
    }

    pub(super) fn refuse(&self, telling: &mut Telling, what: &str, envelope: &[u8]) -> Result<(), CliError> {
        let reasons = match self.demo.robot.validate(envelope, Some(now_ms()))? {
            GateVerdict::Refused(refusal) => Some(
                refusal
                    .reasons()
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>(),
            ),
            GateVerdict::Admitted(_) => None,
        };
        let reasons = held(reasons, "a command that must be refused was admitted")?;
        telling.refused(format!("{what}: {}", reasons.join(", ")));
        Ok(())
    }

    pub(super) fn envelope(
        &self,
        mission: &ActiveMission,
        sequence: u64,
        speed_mm_per_s: i64,
    ) -> Result<Vec<u8>, CliError> {
        self.envelope_by(&self.persons.operator, mission, sequence, speed_mm_per_s)
    }

    pub(super) fn envelope_by(
        &self,
        issuer: &Person,
        mission: &ActiveMission,
        sequence: u64,
        speed_mm_per_s: i64,
    ) -> Result<Vec<u8>, CliError> {
        let now = now_ms();
        let speed = Arguments::new().with("velocity_x_mm_per_s", Argument::Int(speed_mm_per_s));
        let envelope = CommandEnvelope {
            robot: self.demo.robot.robot().clone(),
            mission: mission.mission,
            lease: self.demo.robot.lease_id(),
            issuer: issuer.id.clone(),
            sequence,
            issued_at_ms: now,
            expires_at_ms: now + 10_000,
            command: CommandName::new("move.velocity").map_err(CliError::Role)?,
            labels: Labels::new(mission.labels.level, Integrity::Operational),
            arguments: speed.map_err(CliError::Argument)?,
        };
        Ok(envelope.unsigned(Suite::EcdsaP384Sha384).sign(&issuer.key)?)
    }

    pub(super) fn use_key(
        &self,
        telling: &mut Telling,
        (_, key): &Mission,
    ) -> Result<PolicySession, CliError> {
        let keys = self.demo.robot.keys();
        keys.sign(key, keys.hash().digest(&[b"telemetry"]))?;
        let armed = keys.arm(key)?;
        telling.done("it signed a message: the TPM checked the eight parts of its policy first");
        telling.done(
            "one more policy session was armed and kept, as an attacker would, to be used after the stop",
        );
        Ok(armed)
    }
}
