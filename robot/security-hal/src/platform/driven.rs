//! One adapter at work: its driver on a thread of its own, and what is known of it.

use std::io;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use alcub3_command_authority::{CommandName, Reason};

use super::{
    AdapterTrouble, Capabilities, Description, DriveLimits, DriveRefusal, NotExecuted, PlatformDriver,
    StopLevel, Telemetry,
};
use crate::clock::Clock;
use crate::command_gate::{Admitted, CommandGate};
use crate::guard;
use crate::report::StepOutcome;

/// Nobody has begun with the command, and whoever asked still waits.
const WAITING: u8 = 0;
/// The driver's thread has begun with it.
const BEGUN: u8 = 1;
/// Whoever asked has given it up before anybody began: it must not be begun any more.
const GIVEN_UP: u8 = 2;

/// One adapter at work.
pub(super) struct Driven {
    pub(super) name: String,
    jobs: SyncSender<Job>,
    pub(super) known: Arc<Known>,
    limits: DriveLimits,
}

/// A command on its way to the driver.
struct Job {
    gate: Arc<CommandGate>,
    admitted: Arc<Admitted>,
    stage: Arc<AtomicU8>,
    answer: SyncSender<Result<(), DriveRefusal>>,
}

/// What is known of an adapter, by whoever asks.
pub(super) struct Known {
    /// When its driver last came back, in nanoseconds of the clock.
    alive_ns: AtomicU64,
    /// How many stops it was told of.
    stops: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Clone, Default)]
pub(super) struct Seen {
    pub(super) description: Option<Description>,
    pub(super) telemetry: Option<Telemetry>,
    trouble: Option<AdapterTrouble>,
}

impl Known {
    fn new(now_ns: u64) -> Self {
        Self {
            alive_ns: AtomicU64::new(now_ns),
            stops: AtomicU64::new(0),
            seen: Mutex::default(),
        }
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one stop more and gives its number.
    pub(super) fn count_stop(&self) -> u64 {
        self.stops.fetch_add(1, Ordering::SeqCst).saturating_add(1)
    }

    pub(super) fn stop_levels(&self) -> Vec<StopLevel> {
        let seen = self.seen();
        let known = seen.description.as_ref();
        known.map_or_else(Vec::new, |known| known.capabilities.stop_levels())
    }

    fn capabilities(&self) -> Option<Capabilities> {
        let seen = self.seen();
        seen.description.as_ref().map(|known| known.capabilities.clone())
    }

    /// What is wrong with the adapter at this time; nothing where it may be commanded.
    pub(super) fn trouble(&self, now_ns: u64, stall_after: Duration) -> Option<AdapterTrouble> {
        let silent = Duration::from_nanos(now_ns.saturating_sub(self.alive_ns.load(Ordering::SeqCst)));
        if silent > stall_after {
            let silent_ms = u64::try_from(silent.as_millis()).unwrap_or(u64::MAX);
            return Some(AdapterTrouble::Stalled(silent_ms));
        }
        let seen = self.seen();
        let nothing_known = || seen.description.is_none().then_some(AdapterTrouble::NotConnected);
        seen.trouble.clone().or_else(nothing_known)
    }

    /// Takes what the driver says of its platform.
    fn take(&self, found: Result<(Description, Telemetry), AdapterTrouble>) {
        let mut seen = self.seen();
        match found {
            Ok((description, telemetry)) => {
                let first = seen.description.as_ref();
                if first.is_some_and(|first| first.identity != description.identity) {
                    seen.trouble = Some(AdapterTrouble::IdentityChanged);
                    return;
                }
                seen.description = Some(description);
                seen.telemetry = Some(telemetry);
                seen.trouble = None;
            }
            // One that was never there is not lost.
            Err(AdapterTrouble::Lost(_)) if seen.description.is_none() => {
                seen.trouble = Some(AdapterTrouble::NotConnected);
            }
            Err(trouble) => seen.trouble = Some(trouble),
        }
    }
}

impl Driven {
    /// Moves the driver to a thread of its own, which ends when this value is dropped and the driver comes back.
    pub(super) fn spawn(
        name: String,
        driver: Box<dyn PlatformDriver>,
        clock: Arc<dyn Clock>,
        limits: DriveLimits,
    ) -> io::Result<Self> {
        let known = Arc::new(Known::new(clock.monotonic_ns()));
        // One under way and one behind it: a platform that takes longer is busy.
        let (jobs, inbox) = sync_channel(1);
        let work = Work {
            driver,
            known: known.clone(),
            clock,
        };
        thread::Builder::new()
            .name(format!("drive-{name}"))
            .spawn(move || work.run(&inbox, limits.poll))?;
        Ok(Self {
            name,
            jobs,
            known,
            limits,
        })
    }

    pub(super) fn takes(&self, command: &CommandName) -> bool {
        let seen = self.known.seen();
        let known = seen.description.as_ref();
        known.is_some_and(|known| known.capabilities.takes(command).is_some())
    }

    /// Has a command carried out, and waits until the platform has taken it, no longer than the limit.
    pub(super) fn execute(
        &self,
        gate: Arc<CommandGate>,
        admitted: Arc<Admitted>,
    ) -> Result<(), DriveRefusal> {
        let (answer, answered) = sync_channel(1);
        let stage = Arc::new(AtomicU8::new(WAITING));
        let job = Job {
            gate,
            admitted,
            stage: stage.clone(),
            answer,
        };
        match self.jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(DriveRefusal::Busy),
            Err(TrySendError::Disconnected(_)) => return Err(AdapterTrouble::Panicked.into()),
        }
        let late = match answered.recv_timeout(self.limits.execute) {
            Ok(done) => return done,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                stage.compare_exchange(WAITING, GIVEN_UP, Ordering::SeqCst, Ordering::SeqCst)
            }
        };
        let waited_ms = u64::try_from(self.limits.execute.as_millis()).unwrap_or(u64::MAX);
        match late {
            Ok(_) => Err(AdapterTrouble::Stalled(waited_ms).into()),
            Err(_) => Err(DriveRefusal::Unconfirmed { waited_ms }),
        }
    }
}

/// The driver's thread.
struct Work {
    driver: Box<dyn PlatformDriver>,
    known: Arc<Known>,
    clock: Arc<dyn Clock>,
}

impl Work {
    fn run(mut self, inbox: &Receiver<Job>, poll: Duration) {
        loop {
            self.poll();
            match inbox.recv_timeout(poll) {
                Ok(job) => self.carry_out(&job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn poll(&mut self) {
        let driver = &mut self.driver;
        let found = guard::attempt(|| Ok((driver.describe()?, driver.observe()?)));
        self.alive();
        self.known.take(found.map_err(trouble_of).and_then(checked));
    }

    fn alive(&self) {
        let now_ns = self.clock.monotonic_ns();
        self.known.alive_ns.store(now_ns, Ordering::SeqCst);
    }

    fn carry_out(&mut self, job: &Job) {
        let begun = job
            .stage
            .compare_exchange(WAITING, BEGUN, Ordering::SeqCst, Ordering::SeqCst);
        if begun.is_err() {
            return;
        }
        let done = self.execute(&job.gate, &job.admitted);
        self.alive();
        // Nobody may be waiting any more: it was done all the same.
        let _ = job.answer.send(done);
    }

    /// Releases the command at the last moment. The stops are counted before the gate is asked: a stop that comes between makes
    /// the number too small, and the platform refuses.
    fn execute(&mut self, gate: &CommandGate, admitted: &Admitted) -> Result<(), DriveRefusal> {
        let after_stops = self.known.stops.load(Ordering::SeqCst);
        let now_ms = self.clock.utc_ms().ok_or(DriveRefusal::Gate(Reason::NoClock))?;
        let command = gate
            .hand_out(admitted, now_ms, after_stops)
            .map_err(DriveRefusal::Gate)?;
        let capabilities = self.known.capabilities().ok_or(AdapterTrouble::NotConnected)?;
        capabilities.admit(command.name(), command.arguments())?;
        let driver = &mut self.driver;
        match guard::attempt(|| Ok(driver.execute(&command))) {
            Ok(done) => done.map_err(DriveRefusal::Platform),
            Err(outcome) => Err(DriveRefusal::Platform(NotExecuted::Failed(
                outcome.to_string().into(),
            ))),
        }
    }
}

fn checked(
    (description, telemetry): (Description, Telemetry),
) -> Result<(Description, Telemetry), AdapterTrouble> {
    description.check().map_err(AdapterTrouble::Description)?;
    telemetry.check().map_err(AdapterTrouble::Telemetry)?;
    Ok((description, telemetry))
}

fn trouble_of(outcome: StepOutcome) -> AdapterTrouble {
    match outcome {
        StepOutcome::Failed(error) => AdapterTrouble::Lost(error.to_string()),
        _ => AdapterTrouble::Panicked,
    }
}
