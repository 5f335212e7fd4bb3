//! The emergency stop: the steps of DESIGN §6 in their order, each attempted whatever became of the others.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alcub3_trust_model::{Level, StopId};

use crate::adapters::{AdapterPool, Told};
use crate::clock::Clock;
use crate::course::Course;
use crate::gate::Gates;
use crate::guard;
use crate::isolated::Isolated;
use crate::latch::{EpochSnapshot, RearmRecord, RearmRefusal, RearmTrust};
use crate::order::{StopIntent, StopOrder, StopScope};
use crate::ports::{
    AuditSink, MissionKeys, PlatformAdapter, ReceiptMaker, SecretVault, StopJournal, Zeroizer,
};
use crate::report::{PortError, Step, StepOutcome, StepRecord, StopReport, TpmLockOutcome};

/// Everything a stop works on.
pub struct StopParts {
    /// What stops the platform.
    pub adapters: Vec<Box<dyn PlatformAdapter>>,
    /// Secrets in memory.
    pub vault: Box<dyn SecretVault>,
    /// The durable list of unfinished stops.
    pub journal: Box<dyn StopJournal>,
    /// The TPM part.
    pub zeroizer: Box<dyn Zeroizer>,
    /// The mission keys.
    pub keys: Box<dyn MissionKeys>,
    /// The receipt.
    pub receipts: Box<dyn ReceiptMaker>,
    /// The audit log.
    pub audit: Box<dyn AuditSink>,
    /// The clock that measures the steps.
    pub clock: Arc<dyn Clock>,
}

/// How long a stop waits for each part before it names the part's step `unconfirmed` and goes on.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct StopLimits {
    /// For wiping secrets in memory.
    pub memory: Duration,
    /// For making the intent durable, before the TPM is locked without it.
    pub journal: Duration,
    /// For the two TPM commands.
    pub tpm: Duration,
    /// For flushing and deleting the mission keys, each.
    pub keys: Duration,
    /// For the receipt.
    pub receipt: Duration,
    /// For the audit entry.
    pub audit: Duration,
    /// For the adapters' answers, counted from when all other steps are done.
    pub adapters: Duration,
}

impl Default for StopLimits {
    fn default() -> Self {
        Self {
            memory: Duration::from_millis(200),
            // Flash that is busy with other writes takes some hundred milliseconds for one fsync; gate and adapters are
            // through by then.
            journal: Duration::from_secs(1),
            tpm: Duration::from_secs(5),
            keys: Duration::from_secs(2),
            receipt: Duration::from_secs(5),
            audit: Duration::from_secs(2),
            adapters: Duration::from_secs(2),
        }
    }
}

/// The robot's emergency stop.
///
/// This is a security-triggered protective stop with evidence. It is not a certified ISO 13850 emergency stop.
pub struct EmergencyStop {
    gates: Arc<Gates>,
    adapters: AdapterPool,
    vault: Isolated<dyn SecretVault>,
    journal: Isolated<dyn StopJournal>,
    zeroizer: Isolated<dyn Zeroizer>,
    keys: Isolated<dyn MissionKeys>,
    receipts: Isolated<dyn ReceiptMaker>,
    audit: Isolated<dyn AuditSink>,
    clock: Arc<dyn Clock>,
    limits: StopLimits,
    running: Mutex<Vec<Arc<Run>>>,
    /// Calls of [`Self::stop`] that have not returned.
    in_flight: AtomicUsize,
    /// Stops whose TPM part is not confirmed, so that the epochs prove nothing yet.
    unconfirmed: Mutex<BTreeMap<StopId, StopOrder>>,
    /// Whether the journal of earlier runs was read in full.
    recovered: AtomicBool,
}

/// A stop that is under way, and its report when it has one.
struct Run {
    stop: StopId,
    scope: StopScope,
    report: Mutex<Option<StopReport>>,
    ended: Condvar,
}

/// Unfinished stops of an earlier run could not be completed.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The journal cannot be read.
    #[error(
        "the stop journal cannot be read, so the robot stays stopped: {0}; repair or remove the journal file"
    )]
    Journal(#[source] Arc<PortError>),
    /// The journal gave no answer.
    #[error("the stop journal gave no answer, so the robot stays stopped: {0}")]
    NoAnswer(StepOutcome),
}

impl EmergencyStop {
    /// Builds the stop and starts a thread for each part, so that a stop starts none.
    ///
    /// # Errors
    /// Where the operating system gives no thread; a robot must not run then.
    pub fn new(gates: Arc<Gates>, parts: StopParts, limits: StopLimits) -> io::Result<Self> {
        Ok(Self {
            gates,
            adapters: AdapterPool::spawn(parts.adapters, Arc::clone(&parts.clock))?,
            vault: Isolated::spawn("vault", parts.vault)?,
            journal: Isolated::spawn("journal", parts.journal)?,
            zeroizer: Isolated::spawn("tpm", parts.zeroizer)?,
            keys: Isolated::spawn("keys", parts.keys)?,
            receipts: Isolated::spawn("receipt", parts.receipts)?,
            audit: Isolated::spawn("audit", parts.audit)?,
            clock: parts.clock,
            limits,
            running: Mutex::new(Vec::new()),
            in_flight: AtomicUsize::new(0),
            unconfirmed: Mutex::new(BTreeMap::new()),
            recovered: AtomicBool::new(false),
        })
    }

    /// The gates that this stop closes.
    pub const fn gates(&self) -> &Arc<Gates> {
        &self.gates
    }

    /// Stops. Always closes the gate and tells the adapters; where a stop that covers this one is under way, it
    /// then waits for that one's report instead of repeating its steps.
    pub fn stop(&self, order: StopOrder) -> StopReport {
        let start_ns = self.clock.monotonic_ns();
        // Before the gate closes: a rearm that sees the closure must see the stop that made it.
        let _in_flight = InFlight::enter(&self.in_flight);
        self.gates.close(&order.scope);
        let closed_ns = self.clock.monotonic_ns();
        let order = Arc::new(order);
        let told = self.adapters.tell(&order, start_ns);

        let mut course = Course::new(self.clock.as_ref(), start_ns);
        course.record(Step::GateClosed, start_ns, StepOutcome::Done);
        if let Some(gate) = course.steps.first_mut() {
            gate.ended_ns = closed_ns.saturating_sub(start_ns);
        }
        let delivered = if told.all_delivered() {
            StepOutcome::Done
        } else {
            StepOutcome::NotDelivered
        };
        course.record(Step::AdaptersTold, closed_ns, delivered);

        match self.join_or_run(&order) {
            Entry::Join(run) => self.joined(&run, &order, course, told),
            Entry::Run(run) => {
                let report = self.run(&order, course, told);
                self.leave(&run, &report);
                report
            }
        }
    }

    /// Completes the stops that an earlier run of the process began and did not finish. Called at start, before
    /// anything else uses the TPM; the gates are closed then and stay so.
    ///
    /// # Errors
    /// [`RecoverError`] where the journal cannot be read: what it holds is unknown, so the robot stays stopped.
    pub fn recover(&self) -> Result<Vec<StopReport>, RecoverError> {
        let read = self
            .journal
            .submit(|journal| guard::attempt(|| journal.unfinished()));
        let unfinished = match read.wait(self.limits.journal.saturating_mul(10)) {
            Ok(Ok(intents)) => intents,
            Ok(Err(StepOutcome::Failed(error))) => return Err(RecoverError::Journal(error)),
            Ok(Err(outcome)) => return Err(RecoverError::NoAnswer(outcome)),
            Err(reason) => return Err(RecoverError::NoAnswer(reason.into())),
        };
        let mut orders = self.unconfirmed().clone();
        for intent in &unfinished {
            orders.insert(intent.order().stop, intent.order().clone());
        }
        // Noted as unconfirmed first: until each is through, no rearm may count on the epochs.
        self.unconfirmed().extend(orders.clone());
        self.recovered.store(true, Ordering::SeqCst);
        Ok(orders.into_values().map(|order| self.stop(order)).collect())
    }

    /// Ends a stop: opens the gates of the levels that two persons approved at the epochs the TPM holds now.
    /// `read_epochs` reads them with authenticated responses; it is called after the closures were noted.
    ///
    /// # Errors
    /// [`RearmRefusal`] says why the robot stays stopped. A stop that comes at any moment of this call wins.
    pub fn rearm(
        &self,
        trust: &RearmTrust,
        record: &RearmRecord,
        read_epochs: impl FnOnce() -> Result<EpochSnapshot, PortError>,
    ) -> Result<Vec<Level>, RearmRefusal> {
        let closures = self.gates.closures();
        self.settled()?;
        let epochs = read_epochs().map_err(RearmRefusal::Epochs)?;
        let proof = trust.verify(record, &epochs, closures)?;
        self.settled()?;
        let levels = proof.levels().to_vec();
        self.gates.open(proof)?;
        Ok(levels)
    }

    /// Whether every stop so far is confirmed by the TPM, so that its epochs tell the truth about stops.
    fn settled(&self) -> Result<(), RearmRefusal> {
        if !self.recovered.load(Ordering::SeqCst) {
            return Err(RearmRefusal::NotRecovered);
        }
        let under_way = self.in_flight.load(Ordering::SeqCst) != 0;
        if under_way || !self.unconfirmed().is_empty() {
            Err(RearmRefusal::StopUnfinished)
        } else {
            Ok(())
        }
    }

    fn unconfirmed(&self) -> MutexGuard<'_, BTreeMap<StopId, StopOrder>> {
        self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether the TPM confirmed a stop. A confirmed one confirms all that it covers.
    fn note(&self, order: &StopOrder, confirmed: bool) {
        let mut unconfirmed = self.unconfirmed();
        if confirmed {
            unconfirmed.retain(|_, other| !order.scope.covers(&other.scope));
        } else {
            unconfirmed.insert(order.stop, order.clone());
        }
    }

    fn running(&self) -> MutexGuard<'_, Vec<Arc<Run>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join_or_run(&self, order: &StopOrder) -> Entry {
        let mut running = self.running();
        if let Some(run) = running.iter().find(|run| run.scope.covers(&order.scope)) {
            return Entry::Join(Arc::clone(run));
        }
        let run = Arc::new(Run {
            stop: order.stop,
            scope: order.scope.clone(),
            report: Mutex::new(None),
            ended: Condvar::new(),
        });
        running.push(Arc::clone(&run));
        Entry::Run(run)
    }

    fn leave(&self, run: &Arc<Run>, report: &StopReport) {
        *run.report.lock().unwrap_or_else(PoisonError::into_inner) = Some(report.clone());
        run.ended.notify_all();
        self.running().retain(|other| !Arc::ptr_eq(other, run));
    }

    /// Waits for the stop that covers this one and answers with what it did, this one's own first steps in front.
    fn joined(&self, run: &Run, order: &StopOrder, course: Course<'_>, told: Told) -> StopReport {
        let slot = run.report.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = run
            .ended
            .wait_timeout_while(slot, self.limits.total(), |report| report.is_none());
        let (slot, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let other = slot.clone();
        drop(slot);

        let shift_ns = course.start_ns;
        let mut report = course.report(
            order,
            &TpmLockOutcome::unconfirmed(StepOutcome::NotPossible),
            None,
        );
        report.joined = Some(run.stop);
        report.adapters = told.collect(self.clock.as_ref(), self.limits.adapters);
        match other {
            Some(other) => {
                report
                    .steps
                    .extend(other.steps.into_iter().skip(report.steps.len()));
                report.extended = other.extended;
                report.counter = other.counter;
                report.receipt = other.receipt;
            }
            None => report.steps.push(StepRecord {
                step: Step::CounterIncremented,
                began_ns: 0,
                ended_ns: self.clock.monotonic_ns().saturating_sub(shift_ns),
                outcome: StepOutcome::Unanswered(millis(self.limits.total())),
            }),
        }
        report
    }

    fn run(&self, order: &Arc<StopOrder>, mut course: Course<'_>, told: Told) -> StopReport {
        let limits = self.limits;
        let intent = Arc::new(StopIntent::new(StopOrder::clone(order)));

        let scope = order.scope.clone();
        course.step(Step::MemoryWiped, &self.vault, limits.memory, move |vault| {
            vault.wipe(&scope)
        });
        let begun = Arc::clone(&intent);
        course.step(
            Step::IntentWritten,
            &self.journal,
            limits.journal,
            move |journal| journal.begin(&begun),
        );
        let lock = course.lock(&self.zeroizer, limits.tpm, &intent);
        self.note(order, lock.is_done());
        let scope = order.scope.clone();
        course.step(Step::KeysFlushed, &self.keys, limits.keys, move |keys| {
            keys.flush_loaded(&scope)
        });
        let scope = order.scope.clone();
        course.step(Step::BlobsDeleted, &self.keys, limits.keys, move |keys| {
            keys.delete_blobs(&scope)
        });
        let receipt = course.receipt(&self.receipts, limits.receipt, &intent, &lock);
        let confirmed = lock.is_done() || receipt.as_ref().is_some_and(|made| made.proves_lock);
        self.note(order, confirmed);

        let mut report = course.snapshot(order, &lock, receipt.map(|made| made.bytes));
        report.adapters = told.collect(self.clock.as_ref(), limits.adapters);
        let entry = report.clone();
        course.step(Step::Audited, &self.audit, limits.audit, move |audit| {
            audit.stopped(&entry)
        });
        self.finish(&mut course, confirmed, intent);
        report.steps = course.steps;
        report
    }

    /// An intent is finished when both TPM commands are confirmed, by their answers or by the receipt; otherwise the next
    /// start completes it.
    fn finish(&self, course: &mut Course<'_>, confirmed: bool, intent: Arc<StopIntent>) {
        if confirmed {
            course.step(
                Step::IntentFinished,
                &self.journal,
                self.limits.journal,
                move |journal| journal.finish(&intent),
            );
        } else {
            course.record(
                Step::IntentFinished,
                self.clock.monotonic_ns(),
                StepOutcome::NotPossible,
            );
        }
    }
}

impl StopLimits {
    /// The longest a stop can take.
    fn total(&self) -> Duration {
        let parts = [
            self.memory,
            self.journal,
            self.journal,
            self.tpm,
            self.keys,
            self.keys,
        ];
        let rest = [self.receipt, self.audit, self.adapters];
        parts
            .into_iter()
            .chain(rest)
            .fold(Duration::from_secs(1), Duration::saturating_add)
    }
}

/// Counts a call while it lasts, whatever way it ends.
struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

enum Entry {
    Join(Arc<Run>),
    Run(Arc<Run>),
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
