//! What a stop does in the chip and to the keys: two commands on the emergency lane, and the receipt that proves it.

use crate::Result;
use crate::mission_record::MissionRecord;
use crate::robot::RobotKeys;
use alcub3_attestation::certify::Signed;
use alcub3_attestation::event_log::agent::{StopEvent, StopScope as EventScope};
use alcub3_attestation::receipt::{Receipt, Statement, Step as ReceiptStep, StepTime, epoch_before_data};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_security_hal::{
    MissionKeys, PortError, ReceiptMaker, Step, StepOutcome, StepRecord, StopIntent, StopScope,
    TpmLockOutcome, Zeroizer,
};
use alcub3_tpm::ops::Attestation;
use alcub3_tpm::{Lane, TpmError};
use alcub3_trust_model::BootId;
use std::time::Duration;

/// How long the emergency lane tries. A chip answers in milliseconds; beyond this the step is unconfirmed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a part of a stop is not confirmed.
#[derive(Debug, thiserror::Error)]
enum StopError {
    #[error("the TPM answered without proof that it was the TPM")]
    Unproven,
    #[error(
        "the PCR after the stop is not what the stop extended; something else extended it or the stop did not"
    )]
    OtherPcr,
}

/// The TPM part of a stop.
#[derive(Clone, Debug)]
pub struct RobotZeroizer(RobotKeys);

impl RobotZeroizer {
    /// For this robot's chip.
    pub fn new(keys: RobotKeys) -> Self {
        Self(keys)
    }

    fn pcr(&self, scope: &StopScope) -> u32 {
        match scope {
            StopScope::Robot => self.0.pcrs.lockdown().into(),
            StopScope::Level(_) | StopScope::Mission(..) => self.0.pcrs.retire().into(),
        }
    }

    fn digests(&self, intent: &StopIntent) -> Vec<Digest> {
        self.0
            .banks
            .iter()
            .map(|bank| intent.event_digest(*bank))
            .collect()
    }
}

impl Zeroizer for RobotZeroizer {
    fn extend(&mut self, intent: &StopIntent) -> std::result::Result<Digest, PortError> {
        let (pcr, digests) = (self.pcr(&intent.order().scope), self.digests(intent));
        self.0.tpm.run(Lane::Emergency, STOP_TIMEOUT, move |chip| {
            chip.pcr_extend(pcr, &digests)
        })?;
        Ok(intent.event_digest(self.0.hash()))
    }

    fn increment(&mut self, intent: &StopIntent) -> std::result::Result<Option<u64>, PortError> {
        let handle = self.0.nv.spec(intent.order().scope.counter()).handle;
        self.0.tpm.run(Lane::Emergency, STOP_TIMEOUT, move |chip| {
            chip.nv_increment(handle)
        })?;
        Ok(None)
    }

    /// Both in one visit to the chip. Commands: 1 PCR_Extend, 1 NV_Increment, whatever the number of keys.
    fn lock(&mut self, intent: &StopIntent) -> TpmLockOutcome {
        let (pcr, digests) = (self.pcr(&intent.order().scope), self.digests(intent));
        let handle = self.0.nv.spec(intent.order().scope.counter()).handle;
        let done = self.0.tpm.run(Lane::Emergency, STOP_TIMEOUT, move |chip| {
            Ok(chip.emergency_stop_commands(pcr, &digests, handle))
        });
        match done {
            Err(error) => TpmLockOutcome::unconfirmed(StepOutcome::failed(error)),
            Ok(done) => TpmLockOutcome {
                extended: done.extend.is_ok().then(|| intent.event_digest(self.0.hash())),
                extend: outcome(done.extend, done.protected),
                increment: outcome(done.increment, done.protected),
                counter: None,
            },
        }
    }
}

/// A success counts only if the answer carried the chip's HMAC.
fn outcome(result: alcub3_tpm::Result<()>, protected: bool) -> StepOutcome {
    match result {
        Ok(()) if protected => StepOutcome::Done,
        Ok(()) => StepOutcome::failed(StopError::Unproven),
        Err(error) => StepOutcome::failed(error),
    }
}

/// The keys on disk and in the chip that a stop ends.
#[derive(Clone, Debug)]
pub struct StoredMissionKeys {
    keys: RobotKeys,
    /// Loaded keys and armed sessions: dropping them flushes them.
    loaded: crate::robot::LoadedKeys,
}

impl StoredMissionKeys {
    /// Of this robot, with the keys its callers have loaded.
    pub fn new(keys: RobotKeys, loaded: crate::robot::LoadedKeys) -> Self {
        Self { keys, loaded }
    }
}

fn in_scope(scope: &StopScope, record: &MissionRecord) -> bool {
    match scope {
        StopScope::Robot => true,
        StopScope::Level(level) => record.level == *level,
        StopScope::Mission(mission, _) => record.mission == *mission,
    }
}

impl MissionKeys for StoredMissionKeys {
    fn flush_loaded(&mut self, scope: &StopScope) -> std::result::Result<u64, PortError> {
        let dropped = self.loaded.forget(|record| in_scope(scope, record));
        // Dropped leases are flushed by the owner thread between commands: one round trip makes sure of it.
        self.keys
            .tpm
            .run(Lane::Command, STOP_TIMEOUT, |chip| chip.flush_dropped())?;
        Ok(dropped)
    }

    fn delete_blobs(&mut self, scope: &StopScope) -> std::result::Result<u64, PortError> {
        Ok(self.keys.delete_missions(|record| in_scope(scope, record))?)
    }
}

/// Makes the receipt of a stop from what the chip signs.
#[derive(Debug)]
pub struct StopReceipts {
    keys: RobotKeys,
    boot: BootId,
    /// The lockdown and the retire PCR before the stop, in the bank in use.
    before: [Digest; 2],
    epoch_before: Option<Attestation>,
}

impl StopReceipts {
    /// Reads what a receipt needs from before the stop. Commands: 1 PCR_Read, 1 NV_Certify.
    ///
    /// # Errors
    /// The chip's.
    pub fn prepare(keys: RobotKeys, boot: BootId) -> Result<Self> {
        let before = keys.stop_pcrs()?;
        let index = StopScope::Robot.counter();
        let data = epoch_before_data(keys.hash(), &boot);
        let epoch_before = Some(keys.certify_index(index, data.as_bytes().to_vec())?);
        Ok(Self {
            keys,
            boot,
            before,
            epoch_before,
        })
    }

    /// Tells what the lockdown and the retire PCR hold before the next stop, where more than stops has extended them.
    pub fn expect_before(&mut self, before: [Digest; 2]) {
        self.before = before;
    }

    fn statement(
        &self,
        intent: &StopIntent,
        steps: &[StepRecord],
        after: [Digest; 2],
    ) -> std::result::Result<Statement, StopError> {
        let which = usize::from(intent.order().scope != StopScope::Robot);
        let [before, after] = [self.before, after].map(|values| values.get(which).copied());
        let (Some(pcr_before), Some(pcr_after)) = (before, after) else {
            return Err(StopError::OtherPcr);
        };
        Ok(Statement {
            event: event_of(intent),
            boot: self.boot,
            pcr_before,
            pcr_after,
            steps: steps.iter().filter_map(step_time).collect(),
        })
    }
}

/// The event as appraisal knows it. Both sides encode the same bytes; a test holds them together.
pub fn event_of(intent: &StopIntent) -> StopEvent {
    let order = intent.order();
    let scope = match order.scope {
        StopScope::Robot => EventScope::Robot,
        StopScope::Level(level) => EventScope::Level(level),
        StopScope::Mission(mission, anchor) => EventScope::Mission(mission, anchor),
    };
    StopEvent {
        stop: order.stop,
        robot: order.robot.clone(),
        scope,
        cause: order.cause.id(),
        called_utc_ms: order.called_utc_ms,
    }
}

fn step_time(record: &StepRecord) -> Option<StepTime> {
    let step = match record.step {
        Step::GateClosed => ReceiptStep::GateClosed,
        Step::AdaptersTold => ReceiptStep::AdaptersTold,
        Step::MemoryWiped => ReceiptStep::MemoryWiped,
        Step::IntentWritten => ReceiptStep::IntentWritten,
        Step::PcrExtended => ReceiptStep::PcrExtended,
        Step::CounterIncremented => ReceiptStep::CounterIncremented,
        Step::KeysFlushed => ReceiptStep::KeysFlushed,
        Step::BlobsDeleted => ReceiptStep::BlobsDeleted,
        Step::ReceiptMade | Step::Audited | Step::IntentFinished => return None,
    };
    Some(StepTime {
        step,
        began_ns: record.began_ns,
        ended_ns: record.ended_ns,
        confirmed: record.outcome.is_done(),
    })
}

impl RobotKeys {
    /// The lockdown and the retire PCR, in the bank in use. Commands: 1 PCR_Read.
    ///
    /// # Errors
    /// The chip's.
    pub fn stop_pcrs(&self) -> Result<[Digest; 2]> {
        let (bank, pcrs) = (
            self.hash(),
            [self.pcrs.lockdown(), self.pcrs.retire()].map(u32::from),
        );
        self.run(Lane::Command, move |chip| {
            let values = chip.pcr_read(&[(bank, pcrs.iter().fold(0, |mask, pcr| mask | 1 << pcr))])?;
            let value = |pcr| {
                values.get(bank, pcr).copied().ok_or(TpmError::Unsupported {
                    what: "the bank in use",
                })
            };
            let [lockdown, retire] = pcrs;
            Ok([value(lockdown)?, value(retire)?])
        })
    }
}

fn signed(attestation: Attestation) -> Signed {
    Signed {
        message: attestation.message,
        signature: attestation.signature,
    }
}

/// Asks a second time where the first answer was lost or forged: asking changes nothing in the chip.
fn again<T>(mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    ask().or_else(|_| ask())
}

impl ReceiptMaker for StopReceipts {
    /// Commands: 1 PCR_Read, 1 Quote, 1 NV_Certify; one more for each whose answer was no good.
    fn receipt(
        &mut self,
        intent: &StopIntent,
        _lock: &TpmLockOutcome,
        steps: &[StepRecord],
    ) -> std::result::Result<Vec<u8>, PortError> {
        let after = again(|| self.keys.stop_pcrs())?;
        let statement = self.statement(intent, steps, after)?;
        let alg: HashAlg = self.keys.hash();
        let qualifying = statement.qualifying_data(alg).as_bytes().to_vec();
        let pcr: u8 = if intent.order().scope == StopScope::Robot {
            self.keys.pcrs.lockdown()
        } else {
            self.keys.pcrs.retire()
        };
        let quote = again(|| {
            let (signer, data) = (self.keys.attestation_key(), qualifying.clone());
            self.keys.run(Lane::Command, move |chip| {
                chip.quote(&signer, &data, &[(alg, 1 << pcr)])
            })
        });
        let counter = intent.order().scope.counter();
        let epoch = again(|| self.keys.certify_index(counter, qualifying.clone()));
        let attestation_key = self.keys.record.attestation_key.verifying_key()?.to_spki_der();
        let receipt = Receipt {
            attestation_key,
            quote: quote.ok().map(signed),
            epoch_after: epoch.ok().map(signed),
            epoch_before: self
                .epoch_before
                .clone()
                .filter(|_| intent.order().scope == StopScope::Robot)
                .map(signed),
            statement,
        };
        self.before = after;
        if intent.order().scope == StopScope::Robot {
            // The next stop of this run must show an increment of its own.
            let data = epoch_before_data(alg, &self.boot);
            self.epoch_before = self.keys.certify_index(counter, data.as_bytes().to_vec()).ok();
        }
        Ok(receipt.to_canonical())
    }
}
