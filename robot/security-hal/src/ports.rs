//! What a stop needs of the rest of the robot, as small traits that others implement.
//!
//! Each part is moved to a thread of its own when the [`crate::EmergencyStop`] is built, so an implementation may
//! block; the stop then names it `unconfirmed` after its limit and goes on. An implementation reports what it
//! knows to have happened and nothing more: an error where the effect is not certain.

use alcub3_crypto::Digest;
use alcub3_trust_model::hardware::Part;

use crate::order::{StopIntent, StopOrder, StopScope};
use crate::report::{MadeReceipt, PortError, StepOutcome, StepRecord, StopReport, TpmLockOutcome};

/// What makes the robot itself stop: its motion controller, its power stage, its flight controller.
///
/// Called on a thread of its own at once with all others, before the TPM, the disk or the network is touched.
/// Being called twice for one stop must be harmless.
pub trait PlatformAdapter: Send {
    /// The adapter's name, for the report.
    fn name(&self) -> String;

    /// The parts that the platform knows by their serial numbers, such as motor controllers and sensors: asked once, when
    /// the robot starts, for its hardware inventory. A platform that knows none leaves this as it is.
    ///
    /// # Errors
    /// Where a part that should answer does not.
    fn parts(&mut self) -> Result<Vec<Part>, PortError> {
        Ok(Vec::new())
    }

    /// Stops the platform. Returns when the platform is known to have taken the order.
    ///
    /// # Errors
    /// Whatever keeps it from knowing that the platform stops.
    fn stop(&mut self, order: &StopOrder) -> Result<(), PortError>;
}

/// Secrets in memory: session keys, unsealed data.
pub trait SecretVault: Send {
    /// Wipes every secret in scope and gives their number.
    ///
    /// # Errors
    /// Where any of them cannot be known to be wiped.
    fn wipe(&mut self, scope: &StopScope) -> Result<u64, PortError>;
}

/// Several vaults as one: each is wiped, whatever became of the others; the first error is reported.
impl SecretVault for Vec<Box<dyn SecretVault>> {
    fn wipe(&mut self, scope: &StopScope) -> Result<u64, PortError> {
        let wiped: Vec<_> = self
            .iter_mut()
            .map(|vault| crate::guard::attempt(|| vault.wipe(scope)))
            .collect();
        let mut total = 0u64;
        for count in wiped {
            total = total.saturating_add(count.map_err(|outcome| WipeError { outcome })?);
        }
        Ok(total)
    }
}

/// One of several vaults was not wiped.
#[derive(Debug, thiserror::Error)]
#[error("a vault of secrets: {outcome}")]
struct WipeError {
    outcome: StepOutcome,
}

/// The TPM part of a stop, on the emergency lane: two commands, whatever the number of keys.
///
/// Both must be authenticated answers (a session's response HMAC), so that a faked success on the bus is an error.
pub trait Zeroizer: Send {
    /// Extends the lockdown PCR (scope robot) or the retire PCR (level, mission) with
    /// [`StopIntent::event_digest`], in every bank; gives what was extended into the policy's bank.
    ///
    /// # Errors
    /// Where the extend is not confirmed.
    fn extend(&mut self, intent: &StopIntent) -> Result<Digest, PortError>;

    /// Increments [`StopScope::counter`]; gives its value after, where the chip tells it without another command.
    ///
    /// # Errors
    /// Where the increment is not confirmed.
    fn increment(&mut self, intent: &StopIntent) -> Result<Option<u64>, PortError>;

    /// Both, the increment first (decision 0010); the second is attempted whatever became of the first.
    fn lock(&mut self, intent: &StopIntent) -> TpmLockOutcome {
        let increment = crate::guard::attempt(|| self.increment(intent));
        let extend = crate::guard::attempt(|| self.extend(intent));
        TpmLockOutcome {
            extended: extend.as_ref().ok().copied(),
            counter: increment.as_ref().ok().copied().flatten(),
            extend: outcome_of(extend),
            increment: outcome_of(increment),
        }
    }
}

fn outcome_of<T>(result: Result<T, StepOutcome>) -> StepOutcome {
    result.map_or_else(|outcome| outcome, |_| StepOutcome::Done)
}

/// The mission keys that a stop ends.
pub trait MissionKeys: Send {
    /// Flushes loaded keys and their sessions from the TPM, and gives their number.
    ///
    /// # Errors
    /// Where any of them may still be loaded.
    fn flush_loaded(&mut self, scope: &StopScope) -> Result<u64, PortError>;

    /// Deletes the keys' blobs from the disk, and gives their number.
    ///
    /// # Errors
    /// Where any of them may still be there.
    fn delete_blobs(&mut self, scope: &StopScope) -> Result<u64, PortError>;
}

/// The durable list of stops that were begun and not finished.
pub trait StopJournal: Send {
    /// Makes the intent durable.
    ///
    /// # Errors
    /// Where it may be lost by a crash.
    fn begin(&mut self, intent: &StopIntent) -> Result<(), PortError>;

    /// Marks the intent finished: the TPM part is confirmed.
    ///
    /// # Errors
    /// Where the next start would complete it once more.
    fn finish(&mut self, intent: &StopIntent) -> Result<(), PortError>;

    /// The intents that were begun and not finished, oldest first.
    ///
    /// # Errors
    /// Where the journal cannot be read in full; the robot then stays stopped.
    fn unfinished(&mut self) -> Result<Vec<StopIntent>, PortError>;
}

/// What makes the signed receipt: a quote over the PCR and a certification of the counter, by the AK.
pub trait ReceiptMaker: Send {
    /// The receipt for a stop whose TPM part ended so, with the steps done so far, and what it proves.
    ///
    /// # Errors
    /// Where there is none to be had.
    fn receipt(
        &mut self,
        intent: &StopIntent,
        lock: &TpmLockOutcome,
        steps: &[StepRecord],
    ) -> Result<MadeReceipt, PortError>;
}

/// The audit log.
pub trait AuditSink: Send {
    /// Makes a stop's entry durable. The report holds all steps before this one.
    ///
    /// # Errors
    /// Where the entry may be lost.
    fn stopped(&mut self, report: &StopReport) -> Result<(), PortError>;
}
