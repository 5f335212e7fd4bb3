//! The receipt of a stop: what the chip signs about it, and what it had certified before there was one.

use crate::Result;
use crate::robot::RobotKeys;
use crate::stop::event_of;
use alcub3_attestation::certify::Signed;
use alcub3_attestation::receipt::{
    Expected, Outcome, Receipt, Statement, Step as ReceiptStep, StepTime, epoch_before_data, extends_between,
    verify_receipt,
};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_security_hal::{MadeReceipt, Step, StepRecord, StopIntent, StopScope};
use alcub3_tpm::Lane;
use alcub3_tpm::ops::Attestation;
use alcub3_trust_model::BootId;
use alcub3_trust_model::nv_map::NvIndex;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The counters as the chip certified them before a stop moves them: without that no receipt shows an increment.
///
/// One command for each, and never inside a stop: the robot's and the levels' at the start, a mission's anchor when it is
/// taken. Cloning is cheap; all clones know the same.
#[derive(Clone, Debug)]
pub struct CountersBefore {
    keys: RobotKeys,
    boot: BootId,
    certified: Arc<Mutex<BTreeMap<NvIndex, Attestation>>>,
}

impl CountersBefore {
    /// None yet, of this run of the robot.
    pub fn new(keys: RobotKeys, boot: BootId) -> Self {
        Self {
            keys,
            boot,
            certified: Arc::default(),
        }
    }

    /// Has the chip certify a counter as it is now. Commands: 1 NV_Certify.
    ///
    /// # Errors
    /// The chip's. What was certified earlier is forgotten all the same: it may be out of date.
    pub fn certify(&self, index: NvIndex) -> Result<()> {
        self.certified().remove(&index);
        let data = epoch_before_data(self.keys.hash(), &self.boot);
        let made = self.keys.certify_index(index, data.as_bytes().to_vec())?;
        self.certified().insert(index, made);
        Ok(())
    }

    /// After a stop: what was certified is used up. A later stop must show an increment of its own.
    fn renew(&self, scope: &StopScope) {
        let index = scope.counter();
        let renewed = match scope {
            StopScope::Robot | StopScope::Level(_) => self.certify(index),
            // The anchor is certified again when the next mission takes it.
            StopScope::Mission(..) => {
                self.certified().remove(&index);
                Ok(())
            }
        };
        if let Err(error) = renewed {
            tracing::warn!(%error, "the receipt of the next such stop will lack the counter before it");
        }
    }

    fn get(&self, index: NvIndex) -> Option<Attestation> {
        self.certified().get(&index).cloned()
    }

    fn certified(&self) -> MutexGuard<'_, BTreeMap<NvIndex, Attestation>> {
        self.certified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the PCR of a stop held before and after it.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Observed {
    before: Digest,
    after: Digest,
    /// How often the stop's event was extended in between; `None` where that does not explain it.
    pub extends: Option<u8>,
}

impl Observed {
    /// What the PCR held when it was looked at.
    pub const fn after(&self) -> Digest {
        self.after
    }
}

/// Makes the receipt of a stop from what the chip signs.
#[derive(Debug)]
pub struct StopReceipts {
    keys: RobotKeys,
    /// The lockdown and the retire PCR before the stop, in the bank in use.
    before: [Digest; 2],
    counters: CountersBefore,
}

impl StopReceipts {
    /// Reads what a receipt needs from before the stop. Commands: 1 PCR_Read.
    ///
    /// # Errors
    /// The chip's.
    pub fn prepare(keys: RobotKeys, counters: CountersBefore) -> Result<Self> {
        let before = keys.stop_pcrs()?;
        Ok(Self {
            keys,
            before,
            counters,
        })
    }

    /// Tells what the lockdown and the retire PCR hold before the next stop, where more than stops has extended them.
    pub fn expect_before(&mut self, before: [Digest; 2]) {
        self.before = before;
    }

    /// Looks what a stop has made of its PCR: once, not at all, or more than once where an answer was no good.
    /// Commands: 1 PCR_Read; one more where the answer was no good.
    ///
    /// # Errors
    /// The chip's.
    pub fn observe(&mut self, intent: &StopIntent) -> Result<Observed> {
        let after = again(|| self.keys.stop_pcrs())?;
        let of_scope = |[lockdown, retire]: [Digest; 2]| match intent.order().scope {
            StopScope::Robot => lockdown,
            StopScope::Level(_) | StopScope::Mission(..) => retire,
        };
        let (before, now) = (of_scope(self.before), of_scope(after));
        let digest = intent.event_digest(self.keys.hash());
        self.before = after;
        Ok(Observed {
            before,
            after: now,
            extends: extends_between(&before, &now, &digest),
        })
    }

    /// The receipt, and what it proves by the enrolled key alone. Commands: 1 Quote, 1 NV_Certify, each once more where
    /// the answer was no good; for a robot's or a level's stop 1 NV_Certify for the next one.
    ///
    /// # Errors
    /// That the robot's own record is damaged. What the chip does not sign is missing in the receipt, which says so.
    pub fn make(
        &mut self,
        intent: &StopIntent,
        steps: &[StepRecord],
        observed: &Observed,
    ) -> Result<MadeReceipt> {
        let statement = self.statement(intent, steps, observed);
        let alg: HashAlg = self.keys.hash();
        let qualifying = statement.qualifying_data(alg).as_bytes().to_vec();
        let pcr = statement.event.scope.pcr(&self.keys.pcrs);
        let quote = again(|| {
            let (signer, data) = (self.keys.attestation_key(), qualifying.clone());
            self.keys.run(Lane::Command, move |chip| {
                chip.quote(&signer, &data, &[(alg, 1 << pcr)])
            })
        });
        let counter = intent.order().scope.counter();
        let epoch = again(|| self.keys.certify_index(counter, qualifying.clone()));
        let attestation_key = self.keys.record.attestation_key.verifying_key()?;
        let receipt = Receipt {
            attestation_key: attestation_key.to_spki_der(),
            quote: quote.ok().map(signed),
            epoch_after: epoch.ok().map(signed),
            epoch_before: self.counters.get(counter).map(signed),
            statement,
        };
        self.counters.renew(&intent.order().scope);
        let expected = Expected {
            attestation_key: &attestation_key,
            nv: self.keys.nv,
            pcrs: self.keys.pcrs,
            robot: Some(&self.keys.record.robot),
            stop: Some(intent.order().stop),
            alive_at: None,
            anchor: None,
        };
        Ok(judged(receipt.to_canonical(), &expected))
    }

    fn statement(&self, intent: &StopIntent, steps: &[StepRecord], observed: &Observed) -> Statement {
        Statement {
            event: event_of(intent),
            boot: self.counters.boot,
            pcr_before: observed.before,
            pcr_after: observed.after,
            // Where the event does not explain the PCR, the verifier finds the chain broken.
            extends: observed.extends.filter(|times| *times > 0).unwrap_or(1),
            steps: steps.iter().filter_map(step_time).collect(),
        }
    }
}

/// A receipt as whoever checks it offline will find it.
fn judged(bytes: Vec<u8>, expected: &Expected<'_>) -> MadeReceipt {
    let verdict = verify_receipt(&bytes, expected);
    let refused = verdict.outcome == Outcome::Refused;
    let of_tpm = [ReceiptStep::PcrExtended, ReceiptStep::CounterIncremented];
    let mut lacks: Vec<&'static str> = verdict.reasons.iter().map(|reason| reason.code()).collect();
    lacks.extend(verdict.unconfirmed.iter().map(|step| step.name()));
    MadeReceipt {
        bytes,
        proves_lock: !refused && of_tpm.iter().all(|step| !verdict.unconfirmed.contains(step)),
        lacks,
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
