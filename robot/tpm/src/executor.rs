//! One owner thread for each TPM, four lanes, and a place in the queue that can be withdrawn.
//!
//! A TPM runs one command at a time and cannot be pre-empted. So an operation is a closure over [`Chip`] that runs
//! on the owner thread, and between any two of its commands the owner looks whether a higher lane has work. An
//! emergency is looked for once more right before the bytes leave, so it is the next command the chip sees.

use crate::chip::JobContext;
use crate::transport::{Cancel, Transport};
use crate::{Chip, ChipOptions, Result, TpmError};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Who goes first. Declared in order of precedence.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Lane {
    /// Emergency stops: the next command the chip sees.
    Emergency,
    /// Commands to the robot that wait for a key in the chip.
    Command,
    /// Quotes and certifications for verifiers.
    Attestation,
    /// Everything else.
    Background,
}

const LANES: usize = 4;

/// A job taken from the queue, ready to run on the chip.
pub(crate) type RunnableJob = Box<dyn FnOnce(&mut Chip) + Send>;

/// The owner thread's view of the queue, from inside a running operation.
pub(crate) trait Preempt: Send + Sync {
    /// The first job of a lane above this one.
    fn next_above(&self, lane: Lane) -> Option<RunnableJob>;
    /// The first job of the emergency lane.
    fn next_emergency(&self) -> Option<RunnableJob>;
}

/// Settings of [`Tpm::start`].
#[derive(Clone, Debug, Default)]
pub struct TpmOptions {
    /// Settings of the chip.
    pub chip: ChipOptions,
}

struct Job {
    lane: Lane,
    run: RunnableJob,
}

#[derive(Default)]
struct Queue {
    lanes: [VecDeque<Job>; LANES],
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    /// How many emergencies wait: read without the lock before every command.
    emergencies: AtomicUsize,
    canceller: Option<Box<dyn Cancel>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the first job of the lanes up to and including `limit`.
    fn take_up_to(&self, limit: usize) -> Option<RunnableJob> {
        let mut queue = self.lock();
        let job = queue.lanes.iter_mut().take(limit).find_map(VecDeque::pop_front)?;
        if job.lane == Lane::Emergency {
            self.emergencies.fetch_sub(1, Ordering::AcqRel);
        }
        Some(job.run)
    }

    fn submit(&self, job: Job) -> Result<()> {
        let lane = job.lane;
        let mut queue = self.lock();
        if queue.closed {
            return Err(TpmError::OwnerGone);
        }
        if let Some(waiting) = queue.lanes.get_mut(lane as usize) {
            waiting.push_back(job);
        }
        if lane == Lane::Emergency {
            self.emergencies.fetch_add(1, Ordering::AcqRel);
        }
        drop(queue);
        self.work.notify_one();
        Ok(())
    }

    /// Waits for a job; `None` once the queue is closed and empty.
    fn wait(&self) -> Option<RunnableJob> {
        loop {
            if let Some(job) = self.take_up_to(LANES) {
                return Some(job);
            }
            let queue = self.lock();
            if queue.lanes.iter().any(|lane| !lane.is_empty()) {
                continue;
            }
            if queue.closed {
                return None;
            }
            drop(self.work.wait(queue).unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Preempt for Shared {
    fn next_above(&self, lane: Lane) -> Option<RunnableJob> {
        self.take_up_to(lane as usize)
    }

    fn next_emergency(&self) -> Option<RunnableJob> {
        if self.emergencies.load(Ordering::Acquire) == 0 {
            None
        } else {
            self.take_up_to(1)
        }
    }
}

/// One TPM shared by many callers. Cloning is cheap; the chip is closed when the last clone is dropped.
#[derive(Clone)]
pub struct Tpm {
    owner: Arc<Owner>,
}

struct Owner {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    thread_id: std::thread::ThreadId,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The last clone may be dropped by an operation on the owner thread itself.
        if let Some(thread) = thread.filter(|_| std::thread::current().id() != self.thread_id) {
            let _ = thread.join();
        }
    }
}

impl Tpm {
    /// Starts the owner thread of a TPM. No command is sent before the first operation.
    ///
    /// # Errors
    /// The transport's, or [`TpmError::OwnerGone`] if the system gives no thread.
    pub fn start(transport: Box<dyn Transport>, options: TpmOptions) -> Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue::default()),
            work: Condvar::new(),
            emergencies: AtomicUsize::new(0),
            canceller: transport.canceller(),
        });
        let mut chip = Chip::new(transport, options.chip)?;
        chip.preempt = Some(shared.clone());
        let queue = shared.clone();
        let thread = std::thread::Builder::new()
            .name("tpm-owner".into())
            .spawn(move || {
                while let Some(job) = queue.wait() {
                    job(&mut chip);
                }
                chip.close();
            })
            .map_err(|_| TpmError::OwnerGone)?;
        let thread_id = thread.thread().id();
        Ok(Self {
            owner: Arc::new(Owner {
                shared,
                thread: Mutex::new(Some(thread)),
                thread_id,
            }),
        })
    }

    /// Queues an operation. It starts when no higher lane waits and is refused once `timeout` has passed.
    ///
    /// The operation may issue several commands; higher lanes run between them. It must not wait for another
    /// operation of the same TPM.
    pub fn submit<T, F>(&self, lane: Lane, timeout: Duration, operation: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Chip) -> Result<T> + Send + 'static,
    {
        let slot = Arc::new(Slot::default());
        let cancelled = Arc::new(AtomicBool::new(false));
        let deadline = Instant::now().checked_add(timeout);
        let context = JobContext {
            lane,
            deadline,
            waits: true,
            cancelled: Some(cancelled.clone()),
        };
        let guard = Fulfil(slot.clone());
        let run: RunnableJob = Box::new(move |chip| {
            let result = run_job(chip, context, timeout, operation);
            guard.0.fill(result);
        });
        if self.owner.shared.submit(Job { lane, run }).is_err() {
            slot.fill(Err(TpmError::OwnerGone));
        } else if lane == Lane::Emergency {
            self.cancel_running_command();
        }
        Pending {
            slot,
            cancelled,
            taken: false,
        }
    }

    /// Queues an operation and waits for its result.
    ///
    /// # Errors
    /// The operation's, or why it did not run.
    pub fn run<T, F>(&self, lane: Lane, timeout: Duration, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Chip) -> Result<T> + Send + 'static,
    {
        self.submit(lane, timeout, operation).wait()
    }

    /// Asks the chip to give up a long command; it is sent again after the emergency.
    fn cancel_running_command(&self) {
        if let Some(canceller) = &self.owner.shared.canceller {
            // A chip that does not listen finishes its command: the emergency waits for one command at most.
            let _ = canceller.cancel();
        }
    }
}

impl std::fmt::Debug for Tpm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tpm").finish_non_exhaustive()
    }
}

fn run_job<T>(
    chip: &mut Chip,
    mut context: JobContext,
    timeout: Duration,
    operation: impl FnOnce(&mut Chip) -> Result<T>,
) -> Result<T> {
    if context
        .cancelled
        .as_ref()
        .is_some_and(|c| c.load(Ordering::Acquire))
    {
        return Err(TpmError::Cancelled);
    }
    if context.lane == Lane::Emergency {
        // A stop that had to wait for a slow command is sent all the same: its time counts from here.
        context.deadline = Instant::now().checked_add(timeout);
    }
    let starting = std::mem::take(&mut chip.starting_session);
    let outer = std::mem::replace(&mut chip.job, context);
    // An operation that panics must not take the owner, and with it the stop, down.
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| operation(chip)));
    chip.job = outer;
    chip.starting_session = starting;
    result.unwrap_or_else(|_| {
        tracing::error!("an operation on the TPM panicked; its result is lost, the TPM goes on");
        Err(TpmError::Cancelled)
    })
}

struct SlotState<T> {
    result: Option<Result<T>>,
    filled: bool,
    waker: Option<Waker>,
}

struct Slot<T> {
    state: Mutex<SlotState<T>>,
    done: Condvar,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(SlotState {
                result: None,
                filled: false,
                waker: None,
            }),
            done: Condvar::new(),
        }
    }
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, SlotState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self, result: Result<T>) {
        let mut state = self.lock();
        if !state.filled {
            state.filled = true;
            state.result = Some(result);
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        }
        drop(state);
        self.done.notify_all();
    }
}

/// Answers the caller even if the job is dropped without running.
struct Fulfil<T>(Arc<Slot<T>>);

impl<T> Drop for Fulfil<T> {
    fn drop(&mut self) {
        self.0.fill(Err(TpmError::OwnerGone));
    }
}

/// The result of an operation to come: wait for it, await it, or drop it to withdraw the operation.
#[must_use = "dropping it withdraws the operation"]
pub struct Pending<T> {
    slot: Arc<Slot<T>>,
    cancelled: Arc<AtomicBool>,
    taken: bool,
}

impl<T> Pending<T> {
    /// Blocks until the operation is done.
    ///
    /// # Errors
    /// The operation's, or why it did not run.
    pub fn wait(mut self) -> Result<T> {
        let mut state = self.slot.lock();
        while !state.filled {
            state = self.slot.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let result = state.result.take().unwrap_or(Err(TpmError::OwnerGone));
        drop(state);
        self.taken = true;
        result
    }

    /// Whether the operation is done.
    pub fn is_done(&self) -> bool {
        self.slot.lock().filled
    }

    /// Lets the operation run without anyone waiting for its result.
    pub fn detach(mut self) {
        self.taken = true;
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let slot = self.slot.clone();
        let mut state = slot.lock();
        if !state.filled {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        self.taken = true;
        Poll::Ready(state.result.take().unwrap_or(Err(TpmError::OwnerGone)))
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        if !self.taken {
            self.cancelled.store(true, Ordering::Release);
        }
    }
}
