//! Stopping and rearming.

use crate::events::AgentLog;
use crate::robot::{Robot, mission_subject};
use crate::run::random_id;
use crate::{AgentError, Result};
use alcub3_attestation::certify::Signed;
use alcub3_attestation::event_log::agent::AgentEvent;
use alcub3_audit_log::{EntryKind, Outcome};
use alcub3_crypto::tpm::Signature;
use alcub3_fleet_protocol::rearm::{RearmApproval, RearmRequest, VerifiedRearm, rearm_binding};
use alcub3_keys::{Observed, StateFolder, StopReceipts};
use alcub3_security_hal::{
    LevelApproval, MadeReceipt, PortError, RearmRecord, ReceiptMaker, StepRecord, StopIntent, StopOrder,
    StopReport, StopScope, TpmLockOutcome,
};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::{Level, MissionId, SessionId, StopCause, StopId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Where receipts are kept, by stop.
const RECEIPTS: &str = "receipts";

/// Enters what was extended into the agent's log, makes the receipt, and keeps it.
pub(crate) struct LoggedReceipts {
    inner: StopReceipts,
    folder: Arc<StateFolder>,
    log: Arc<Mutex<AgentLog>>,
    pcrs: PcrMap,
}

impl LoggedReceipts {
    pub(crate) fn new(
        inner: StopReceipts,
        folder: Arc<StateFolder>,
        log: Arc<Mutex<AgentLog>>,
        pcrs: PcrMap,
    ) -> Self {
        Self {
            inner,
            folder,
            log,
            pcrs,
        }
    }
}

impl LoggedReceipts {
    /// Looks what the stop made of its PCR, and enters it into the log.
    fn observe(&mut self, intent: &StopIntent, lock: &TpmLockOutcome) -> Result<Observed> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        // Missions that ended since the last stop have extended the retire PCR too.
        if let Some(before) = log.values(&self.pcrs) {
            self.inner.expect_before(before);
        }
        let observed = self.inner.observe(intent);
        let event = AgentEvent::Stop(alcub3_keys::event_of(intent));
        let entered = match &observed {
            Ok(Observed {
                extends: Some(times), ..
            }) => log.append_repeated(&self.folder, event, *times),
            Ok(other) => log.insert(
                &self.folder,
                &self.pcrs,
                other.after(),
                &event,
                lock.extended.is_some(),
            ),
            Err(_) => log.append_repeated(&self.folder, event, lock.extended.is_some().into()),
        };
        if let Err(error) = entered {
            // The next start finds the event again from the intent and the PCR.
            tracing::error!(%error, "the stop is not in the agent's log");
        }
        Ok(observed?)
    }
}

impl ReceiptMaker for LoggedReceipts {
    fn receipt(
        &mut self,
        intent: &StopIntent,
        lock: &TpmLockOutcome,
        steps: &[StepRecord],
    ) -> std::result::Result<MadeReceipt, PortError> {
        let observed = self.observe(intent, lock)?;
        let made = self.inner.make(intent, steps, &observed)?;
        let name = format!("{RECEIPTS}/{}.cbor", intent.order().stop);
        if let Err(error) = self.folder.write(&name, &made.bytes) {
            tracing::error!(%error, "the receipt is not kept on this robot; it is in the answer to the stop");
        }
        Ok(made)
    }
}

impl Robot {
    /// Stops the robot, a level or a mission, in the order of DESIGN §6. Never refused: the report says what was
    /// confirmed.
    ///
    /// # Errors
    /// Only where a mission's stop names no active mission, or the system gives no randomness for the stop's name.
    pub fn stop(&self, scope: StopScope, cause: StopCause, now_utc_ms: u64) -> Result<StopReport> {
        let order = StopOrder {
            stop: StopId::new(random_id()?),
            robot: self.robot().clone(),
            scope,
            cause,
            called_utc_ms: now_utc_ms,
        };
        let report = self.stop.stop(order);
        // The stop is over: what is told now delays nothing of it.
        if let Err(error) = self.ending.tell_stopped(now_utc_ms) {
            tracing::warn!(%error, "the missions that the stop ended are in its report alone");
        }
        Ok(report)
    }

    /// Where somebody stopped the robot in its TPM past this process, as a command line does that cannot open the robot: the gate
    /// is closed and the machine told, as by any stop; whether that was so. Commands: 1 NV_Read, none of a robot that is stopped.
    ///
    /// # Errors
    /// The chip's, or the folder's: it is not known then.
    pub fn follow_stop_in_chip(&self, now_utc_ms: u64) -> Result<bool> {
        if self.is_stopped() {
            return Ok(false);
        }
        let armed = self.keys.rearm_record()?;
        let armed = armed.and_then(|record| Some(record.approvals.first()?.robot_epoch));
        if armed == Some(self.keys.robot_epoch()?) || self.is_stopped() {
            return Ok(false);
        }
        tracing::warn!(
            "the robot's epoch in the TPM is above the one that was rearmed: somebody stopped it there"
        );
        self.stop(StopScope::Robot, StopCause::ManualTrigger, now_utc_ms)?;
        Ok(true)
    }

    /// The scope of one mission's stop.
    ///
    /// # Errors
    /// That there is no such mission.
    pub fn mission_scope(&self, mission: MissionId) -> Result<StopScope> {
        Ok(StopScope::Mission(mission, self.keys.mission(mission)?.anchor))
    }

    /// The receipts that are kept.
    ///
    /// # Errors
    /// The folder's.
    pub fn receipts(&self) -> Result<Vec<Vec<u8>>> {
        let names = self.folder.list(RECEIPTS)?;
        let read = names
            .iter()
            .map(|name| self.folder.read(&format!("{RECEIPTS}/{name}")));
        let found: std::result::Result<Vec<_>, _> = read.filter_map(std::result::Result::transpose).collect();
        Ok(found?)
    }

    /// The receipt of a stop, as kept; `None` if there is none.
    ///
    /// # Errors
    /// The folder's.
    pub fn receipt(&self, stop: StopId) -> Result<Option<Vec<u8>>> {
        Ok(self.folder.read(&format!("{RECEIPTS}/{stop}.cbor"))?)
    }

    /// Asks for a rearm of levels: their epochs as the chip certifies them, in the exchange the authority opened.
    ///
    /// # Errors
    /// The chip's.
    pub fn rearm_request(&self, session: SessionId, levels: &[Level]) -> Result<Vec<u8>> {
        let binding = rearm_binding(self.keys.hash(), session, self.robot());
        let certify = |index| -> Result<Signed> {
            let made = self.keys.certify_index(index, binding.as_bytes().to_vec())?;
            Ok(Signed {
                message: made.message,
                signature: made.signature,
            })
        };
        let mut level_epochs = BTreeMap::new();
        for level in levels {
            level_epochs.insert(*level, certify(NvIndex::LevelEpoch(*level))?);
        }
        let request = RearmRequest {
            session,
            robot: self.robot().clone(),
            robot_epoch: certify(NvIndex::RobotEpoch)?,
            level_epochs,
        };
        Ok(request.to_canonical())
    }

    /// Takes a rearm that two persons approved. The robot runs again for the levels whose epochs it names.
    ///
    /// # Errors
    /// Why the robot stays stopped, which is on record then.
    pub fn rearm(&self, approval: &[u8], session: SessionId, now_utc_ms: u64) -> Result<Vec<Level>> {
        let rearmed = self.try_rearm(approval, session, now_utc_ms);
        self.refusals_audited(EntryKind::Rearm, self.robot().to_string(), now_utc_ms, rearmed)
    }

    fn try_rearm(&self, approval: &[u8], session: SessionId, now_utc_ms: u64) -> Result<Vec<Level>> {
        let approval = RearmApproval::from_canonical(approval)?;
        if approval.session != session {
            return Err(AgentError::OtherApproval { what: "the exchange" });
        }
        let verified = VerifiedRearm::verify(
            &approval.record,
            self.keys.anchors(),
            &self.keys.nv(),
            self.robot(),
        )?;
        let before = self.keys.rearm_record()?;
        let record = with_levels_in_force(self.rearm_record(&verified)?, before.as_ref());
        let keys = self.keys.clone();
        // A mission that is just being started is refused by the gate as it is now, and by no gate that was opened meanwhile.
        let _turn = self.ending.take_turn();
        // Before the gate opens: a lease from before the stop must not save the robot a fresh attestation.
        self.drop_lease()?;
        let approvers: Vec<&str> = verified.record().approvers.iter().map(|a| a.as_str()).collect();
        let subject = approvers.join("+");
        let mut entry = self
            .audit
            .entry(EntryKind::Rearm, subject, now_utc_ms, Outcome::Done);
        entry.reasons = verified.record().levels.keys().map(ToString::to_string).collect();
        // In the log and on disk before any gate opens, and in the log first: the record alone opens gates at the next start.
        self.on_record(entry, |entry| {
            let kept = self.keys.keep_rearm_record(&record).map_err(AgentError::from);
            let rearmed = kept.and_then(|()| {
                let read_epochs = move || Ok(keys.epochs()?);
                Ok(self.stop.rearm(&self.trust, &record, read_epochs)?)
            });
            match &rearmed {
                Ok(levels) => entry.reasons = levels.iter().map(ToString::to_string).collect(),
                // What was told refused must not arm the robot when it starts again.
                Err(_) => self.keys.put_back_rearm_record(before.as_ref())?,
            }
            rearmed
        })
    }

    fn rearm_record(&self, verified: &VerifiedRearm) -> Result<RearmRecord> {
        let record = verified.record();
        let approvals = record.levels.iter().map(|(level, rearm)| {
            let signature =
                Signature::from_tpmt_signature(&rearm.approval).map_err(|source| AgentError::Structure {
                    what: "the rearm's approval",
                    source,
                })?;
            Ok(LevelApproval {
                level: *level,
                robot_epoch: record.robot_epoch,
                level_epoch: rearm.epoch,
                policy_alg: self.keys.hash(),
                signature,
            })
        });
        Ok(RearmRecord {
            robot: record.robot.clone(),
            approvals: approvals.collect::<Result<_>>()?,
        })
    }

    /// Ends a mission: in the gate, in the chip, in the log. Its keys are gone. Commands: 1 NV_Increment, 1 PCR_Extend,
    /// and a flush for each loaded key and session.
    ///
    /// # Errors
    /// That there is no such mission, or the chip's; ending can then be tried again.
    pub fn complete_mission(&self, mission: MissionId, now_utc_ms: u64) -> Result<()> {
        let ended = self.ending.complete(mission, now_utc_ms);
        let (kind, subject) = (EntryKind::MissionEnd, mission_subject(mission));
        self.refusals_audited(kind, subject, now_utc_ms, ended)
    }
}

/// A new record with the approvals of other levels that still name the robot's epoch: rearming one level disarms no other.
fn with_levels_in_force(mut record: RearmRecord, before: Option<&RearmRecord>) -> RearmRecord {
    let (Some(before), Some(first)) = (before, record.approvals.first()) else {
        return record;
    };
    let robot_epoch = first.robot_epoch;
    let named: Vec<Level> = record.approvals.iter().map(|approval| approval.level).collect();
    let in_force = |old: &&LevelApproval| old.robot_epoch == robot_epoch && !named.contains(&old.level);
    let others = before.approvals.iter().filter(in_force).cloned();
    record.approvals.extend(others);
    record.approvals.sort_by_key(|approval| approval.level);
    record
}
