//! The end of a robot.

use crate::robot::Robot;
use crate::{AgentError, Result};
use alcub3_attestation::certify::Signed;
use alcub3_audit_log::{EntryKind, Outcome};
use alcub3_fleet_protocol::purge::{PurgeRequest, VerifiedPurge, purge_binding};
use alcub3_security_hal::StopReport;
use alcub3_trust_model::SessionId;
use alcub3_trust_model::nv_map::NvIndex;

impl Robot {
    /// Asks to be purged: the robot's epoch as the chip certifies it, in the exchange the authority opened. Stop the robot
    /// first: an approval from before a stop purges nothing after it. Commands: 1 NV_Certify.
    ///
    /// # Errors
    /// The chip's.
    pub fn purge_request(&self, session: SessionId) -> Result<Vec<u8>> {
        let binding = purge_binding(self.keys.hash(), session, self.robot());
        let made = self
            .keys
            .certify_index(NvIndex::RobotEpoch, binding.as_bytes().to_vec())?;
        let request = PurgeRequest {
            session,
            robot: self.robot().clone(),
            robot_epoch: Signed {
                message: made.message,
                signature: made.signature,
            },
        };
        Ok(request.to_canonical())
    }

    /// Clears the chip by an order of two persons and wipes the state folder; gives the receipt. `stop` is the report of the
    /// stop that came before. Export the audit log before: it goes with the folder. Where the purge does not come through, the
    /// log stays and says so.
    ///
    /// # Errors
    /// Why the order is refused, which is on record then, and nothing was changed; that the robot is not stopped, or its stop has no receipt;
    /// what the chip or the folder refused, and then [`alcub3_keys::resume_purge`] goes on.
    pub fn purge(
        self,
        order: &[u8],
        session: SessionId,
        stop: &StopReport,
        now_utc_ms: u64,
    ) -> Result<Vec<u8>> {
        let judged = self.judge_purge(order, session, stop);
        let subject = self.robot().to_string();
        let (order, receipt) = self.refusals_audited(EntryKind::Purge, subject, now_utc_ms, judged)?;
        let (keys, audit) = (self.keys.clone(), self.audit.clone());
        let mut entry = audit.entry(
            EntryKind::Purge,
            self.robot().to_string(),
            now_utc_ms,
            Outcome::Unconfirmed,
        );
        audit.append(&entry)?;
        // Nothing of the robot writes to the folder from here on but the end of a purge that did not come through.
        drop(self);
        let purged = keys.purge(&order, receipt, now_utc_ms).map_err(AgentError::from);
        if let Err(error) = &purged {
            let code = error.reason_code();
            entry.outcome = code.map_or(Outcome::Failed, |_| Outcome::Refused);
            entry.reasons = code.map(str::to_owned).into_iter().collect();
            if let Err(error) = audit.append(&entry) {
                tracing::error!(%error, "that the purge did not come through is in the audit log as unconfirmed only");
            }
        }
        purged
    }

    /// The order, if it is this robot's and the robot is stopped, with that stop's receipt.
    fn judge_purge(
        &self,
        order: &[u8],
        session: SessionId,
        stop: &StopReport,
    ) -> Result<(VerifiedPurge, Vec<u8>)> {
        let order = VerifiedPurge::verify(order, self.keys.anchors(), &self.keys.nv(), self.robot())?;
        if order.order().session != session {
            return Err(AgentError::OtherApproval { what: "the exchange" });
        }
        let receipt = stop.receipt.clone().filter(|_| self.is_stopped());
        let receipt = receipt.ok_or(AgentError::NotStopped)?;
        self.keys.check_purge_stop(&receipt)?;
        Ok((order, receipt))
    }
}
