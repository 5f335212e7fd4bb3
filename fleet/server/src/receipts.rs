//! Stop receipts: judged by the robot's enrolled key, and noted.

use alcub3_attestation::event_log::agent::StopScope;
use alcub3_attestation::receipt::{Expected, Outcome, Receipt, ReceiptVerdict, verify_receipt};
use alcub3_audit_log::EntryKind;
use alcub3_command_authority::VerifiedMission;
use alcub3_crypto::HashAlg;
use alcub3_trust_model::RobotId;

use crate::audit::Decision;
use crate::authority::Authority;
use crate::epochs;
use crate::robots::{self, RobotError};

impl Authority {
    /// Judges a stop's receipt with the robot's enrolled key, a mission's also by the anchor it was approved under, and
    /// notes the stop.
    ///
    /// # Errors
    /// [`RobotError`] where the robot's records are missing or do not read.
    pub fn verify_receipt(
        &mut self,
        robot: &RobotId,
        receipt: &[u8],
        now_ms: u64,
    ) -> Result<ReceiptVerdict, RobotError> {
        let decision = Decision::about(EntryKind::Stop, Some(robot), "receipt of a stop")
            .with_object(HashAlg::Sha256.digest(&[receipt]));
        let verdict = match self.judge_receipt(robot, receipt) {
            Ok(verdict) => verdict,
            Err(error) => return self.on_record(decision, now_ms, Err(error)),
        };
        let decision = decision.because(verdict.reasons.iter().map(|reason| reason.code()));
        self.judgement_on_record(decision, verdict.outcome != Outcome::Refused, now_ms)?;
        self.note_stop(robot, &verdict, now_ms)?;
        Ok(verdict)
    }

    fn judge_receipt(&self, robot: &RobotId, receipt: &[u8]) -> Result<ReceiptVerdict, RobotError> {
        let enrolment = self.enrolment(robot)?;
        let mission = self.stopped_mission(robot, receipt);
        let token = mission.as_ref().map(VerifiedMission::token);
        let expected = Expected {
            attestation_key: enrolment.attestation_key(),
            nv: *enrolment.nv_map(),
            pcrs: self.config.pcrs,
            robot: Some(robot),
            stop: None,
            alive_at: token.map(|token| token.anchor_value),
            anchor: token.map(|token| token.anchor),
        };
        Ok(verify_receipt(receipt, &expected))
    }

    /// Notes the stop that a receipt shows. One that is known says nothing new, whoever sends it again; one that was counted
    /// before the epoch of the last rearm is rearmed with it.
    fn note_stop(&self, robot: &RobotId, verdict: &ReceiptVerdict, now_ms: u64) -> Result<(), RobotError> {
        let event = verdict.statement.as_ref().map(|statement| &statement.event);
        let Some(event) = event.filter(|event| event.scope == StopScope::Robot) else {
            return Ok(());
        };
        if verdict.outcome == Outcome::Refused {
            return Ok(());
        }
        let mut standing = self.standing(robot)?;
        if self.is_rearmed_since(robot, verdict)? {
            standing.saw_rearmed(event.stop);
        } else {
            standing.learned_of_stops([event.stop], now_ms);
            if let Some(epoch) = verdict.epoch_after.filter(|_| verdict.outcome == Outcome::Proven) {
                standing.stopped_at(epoch);
            }
        }
        Ok(robots::put_standing(&self.folder, robot, &standing)?)
    }

    /// Whether the robot's TPM counted the stop of a receipt no later than the epoch that two persons last rearmed.
    fn is_rearmed_since(&self, robot: &RobotId, verdict: &ReceiptVerdict) -> Result<bool, RobotError> {
        let key = self.enrolment(robot)?;
        let rearmed = epochs::rearmed(&self.folder, robot, key.attestation_key())?;
        Ok(verdict.outcome == Outcome::Proven
            && verdict
                .epoch_after
                .zip(rearmed)
                .is_some_and(|(stopped, rearmed)| stopped <= rearmed.epoch))
    }

    /// The mission that a receipt says was stopped, as the authority approved it: the anchor it lived under.
    fn stopped_mission(&self, robot: &RobotId, receipt: &[u8]) -> Option<VerifiedMission> {
        let receipt = Receipt::from_canonical(receipt).ok()?;
        let StopScope::Mission(mission, _) = receipt.statement.event.scope else {
            return None;
        };
        let (_, mission) = self.approved_mission(mission, robot).ok()?;
        Some(mission)
    }
}
