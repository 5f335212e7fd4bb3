//! The stop, and the proof of it.

use super::judging::{Life, Mission};
use super::story::{Telling, duration};
use super::tour::{held, said};
use crate::clock::now_ms;
use crate::commands::receipt;
use crate::error::CliError;
use alcub3_attestation::receipt::Outcome;
use alcub3_keys::KeysError;
use alcub3_security_hal::{Step, StopReport, StopScope};
use alcub3_tpm::PolicySession;
use alcub3_trust_model::StopCause;
use serde_json::Value;
use std::time::Duration;

impl Life {
    pub(super) fn stop(&self, telling: &mut Telling) -> Result<StopReport, CliError> {
        let report = self
            .demo
            .robot
            .stop(StopScope::Robot, StopCause::ManualTrigger, now_ms())?;
        let missing = report.unconfirmed().next().map(|step| step.step.name());
        held(
            missing.is_none().then_some(()),
            "a step of the stop is unconfirmed",
        )?;
        let at = |step| {
            report
                .step(step)
                .map_or(Duration::ZERO, |record| Duration::from_nanos(record.ended_ns))
        };
        telling.done(format!(
            "gate closed {} after the call, secrets in memory wiped {}; then the TPM's two commands: robot's epoch incremented \
             {}, lockdown PCR extended {}",
            duration(at(Step::GateClosed)),
            duration(at(Step::MemoryWiped)),
            duration(at(Step::CounterIncremented)),
            duration(at(Step::PcrExtended)),
        ));
        telling.done("two TPM commands stop everything, whatever the number of keys; the others prove it: the receipt's \
                      quote and certification");
        telling
            .enforced("the counter makes it permanent, the PCR kills what is armed: neither can be undone");
        telling.fact("stop", report.stop.to_string());
        telling.fact(
            "note",
            "a security-triggered protective stop with evidence, not a certified ISO 13850 emergency stop",
        );
        Ok(report)
    }

    pub(super) fn prove_dead(
        &self,
        telling: &mut Telling,
        (record, key): &Mission,
        armed: &PolicySession,
    ) -> Result<(), CliError> {
        let keys = self.demo.robot.keys();
        let digest = keys.hash().digest(&[b"after the stop"]);
        let code = |error: KeysError| match error {
            KeysError::Tpm(error) if error.response_code().is_some() => Some(error),
            _ => None,
        };
        let old = keys.sign_armed(key, armed, digest).err().and_then(code);
        let old = held(old, "a session armed before the stop still signs")?;
        telling.refused(format!(
            "the session that was armed before the stop: {}",
            said(&old)
        ));
        let new = keys.arm(key).err().and_then(code);
        let new = held(new, "the mission key can be armed after the stop")?;
        telling.refused(format!(
            "a new session with the same approvals: {}: the lockdown PCR is not what the policy names",
            said(&new)
        ));
        let late = self.envelope(record, 5, 100)?;
        self.refuse(telling, "a command after the stop", &late)
    }

    pub(super) fn verify_receipt(
        &self,
        telling: &mut Telling,
        report: &StopReport,
    ) -> Result<Value, CliError> {
        let bytes = held(report.receipt.clone(), "the stop has no receipt")?;
        let enrolment = self.authority.authority.enrolment(self.demo.robot.robot())?;
        let (key, robot) = (enrolment.attestation_key(), self.demo.robot.robot());
        let verdict = receipt::judge(&bytes, key, Some(robot), Some(report.stop))?;
        held(
            (verdict.outcome == Outcome::Proven).then_some(()),
            "the receipt does not prove the stop",
        )?;
        telling.done(format!(
            "{} bytes and the robot's attestation key were enough; no robot, TPM or network was asked",
            bytes.len()
        ));
        telling.enforced("quote and counter were signed by the robot's TPM over this stop's own identifier, before and after");
        let size = bytes.len();
        let mut forged = bytes;
        let middle = size / 2;
        if let Some(byte) = forged.get_mut(middle) {
            *byte ^= 1;
        }
        let refused = receipt::judge(&forged, key, Some(robot), Some(report.stop))?;
        held(
            (refused.outcome != Outcome::Proven).then_some(()),
            "a changed receipt was accepted",
        )?;
        let reasons: Vec<_> = refused.reasons.iter().map(|reason| reason.text()).collect();
        telling.refused(format!(
            "the receipt with one bit changed: {}",
            reasons.join("; ")
        ));
        Ok(receipt::to_json(&verdict))
    }
}
