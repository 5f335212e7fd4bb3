//! The steps of one stop as they are taken, each with its times and its outcome.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::guard;
use crate::isolated::Isolated;
use crate::order::{StopIntent, StopOrder};
use crate::ports::{ReceiptMaker, Zeroizer};
use crate::report::{MadeReceipt, PortError, Step, StepOutcome, StepRecord, StopReport, TpmLockOutcome};

/// One stop's steps as they are taken.
pub(crate) struct Course<'a> {
    clock: &'a dyn Clock,
    pub(crate) start_ns: u64,
    pub(crate) steps: Vec<StepRecord>,
}

impl<'a> Course<'a> {
    pub(crate) fn new(clock: &'a dyn Clock, start_ns: u64) -> Self {
        Self {
            clock,
            start_ns,
            steps: Vec::with_capacity(11),
        }
    }

    /// Records a step that began at a time of the clock and ends now.
    pub(crate) fn record(&mut self, step: Step, began_ns: u64, outcome: StepOutcome) {
        let began_ns = began_ns.saturating_sub(self.start_ns);
        let ended_ns = self.clock.monotonic_ns().saturating_sub(self.start_ns);
        self.steps.push(StepRecord {
            step,
            began_ns,
            ended_ns,
            outcome,
        });
    }

    /// Takes a step on its part's thread.
    pub(crate) fn step<P, T, F>(
        &mut self,
        step: Step,
        part: &Isolated<P>,
        limit: Duration,
        work: F,
    ) -> Option<T>
    where
        P: ?Sized + Send + 'static,
        T: Send + 'static,
        F: FnOnce(&mut P) -> Result<T, PortError> + Send + 'static,
    {
        let began_ns = self.clock.monotonic_ns();
        let answer = part.submit(move |port| guard::attempt(|| work(port))).wait(limit);
        let (value, outcome) = match answer {
            Ok(Ok(value)) => (Some(value), StepOutcome::Done),
            Ok(Err(outcome)) => (None, outcome),
            Err(reason) => (None, reason.into()),
        };
        self.record(step, began_ns, outcome);
        value
    }

    /// Locks the TPM: one job, two recorded steps.
    pub(crate) fn lock(
        &mut self,
        zeroizer: &Isolated<dyn Zeroizer>,
        limit: Duration,
        intent: &Arc<StopIntent>,
    ) -> TpmLockOutcome {
        let began_ns = self.clock.monotonic_ns();
        let intent = Arc::clone(intent);
        let answer = zeroizer
            .submit(move |zeroizer| zeroizer.lock(&intent))
            .wait(limit);
        let lock = answer.unwrap_or_else(|reason| TpmLockOutcome::unconfirmed(reason.into()));
        self.record(Step::CounterIncremented, began_ns, lock.increment.clone());
        self.record(Step::PcrExtended, began_ns, lock.extend.clone());
        lock
    }

    /// Has the receipt made. It is done where it proves the whole stop; and where it proves the two TPM commands, they are
    /// done, whatever became of their answers.
    pub(crate) fn receipt(
        &mut self,
        receipts: &Isolated<dyn ReceiptMaker>,
        limit: Duration,
        intent: &Arc<StopIntent>,
        lock: &TpmLockOutcome,
    ) -> Option<MadeReceipt> {
        let began_ns = self.clock.monotonic_ns();
        let (intent, lock, steps) = (Arc::clone(intent), lock.clone(), self.steps.clone());
        let made = receipts
            .submit(move |receipts| guard::attempt(|| receipts.receipt(&intent, &lock, &steps)))
            .wait(limit);
        let (made, outcome) = match made {
            Ok(Ok(made)) => {
                let outcome = made.outcome();
                (Some(made), outcome)
            }
            Ok(Err(outcome)) => (None, outcome),
            Err(reason) => (None, reason.into()),
        };
        self.record(Step::ReceiptMade, began_ns, outcome);
        if made.as_ref().is_some_and(|made| made.proves_lock) {
            self.prove_lock();
        }
        made
    }

    fn prove_lock(&mut self) {
        let of_tpm = [Step::PcrExtended, Step::CounterIncremented];
        let unproven = |record: &&mut StepRecord| of_tpm.contains(&record.step) && !record.outcome.is_done();
        for record in self.steps.iter_mut().filter(unproven) {
            record.outcome = StepOutcome::Proven(Arc::new(record.outcome.clone()));
        }
    }

    pub(crate) fn snapshot(
        &self,
        order: &StopOrder,
        lock: &TpmLockOutcome,
        receipt: Option<Vec<u8>>,
    ) -> StopReport {
        StopReport {
            stop: order.stop,
            scope: order.scope.clone(),
            joined: None,
            called_utc_ms: order.called_utc_ms,
            steps: self.steps.clone(),
            adapters: Vec::new(),
            extended: lock.extended,
            counter: lock.counter,
            receipt,
        }
    }

    pub(crate) fn report(
        self,
        order: &StopOrder,
        lock: &TpmLockOutcome,
        receipt: Option<Vec<u8>>,
    ) -> StopReport {
        self.snapshot(order, lock, receipt)
    }
}
