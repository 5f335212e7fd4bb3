//! Who stops the robot: while it is not opened yet, the machine alone is braked, at once, and the stop is written down; the robot
//! is then stopped as soon as it is open, before anything else is done with it.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use alcub3_audit_log::{EntryKind, Outcome};
use alcub3_keys::StateFolder;
use alcub3_security_hal::{Clock, PlatformAdapter, PortError, StopOrder, StopReport, StopScope, SystemClock};
use alcub3_trust_model::hardware::Part;
use alcub3_trust_model::{RobotId, StopCause, StopId};

use crate::robot::{Adapters, Robot};
use crate::run::random_id;
use crate::{AgentError, Result};

/// A stop that was asked for before the robot was open: its cause.
const ASKED: &str = "stop-asked";

/// What became of a stop.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The robot was stopped.
    Robot(Box<StopReport>),
    /// The robot is not open: the machine was told, by so many of its adapters, and the rest follows.
    MachineAlone {
        /// How many adapters confirmed it.
        confirmed: usize,
        /// How many there are.
        of: usize,
    },
}

/// Stops the robot, from the first moment on.
pub(super) struct Stopper {
    folder: Arc<StateFolder>,
    brakes: Mutex<Adapters>,
    robot: OnceLock<Arc<Robot>>,
}

impl Stopper {
    /// One that brakes by these adapters; and the adapters for the robot, which are the same.
    pub(super) fn new(folder: Arc<StateFolder>, adapters: Adapters) -> (Arc<Self>, Adapters) {
        let shared = adapters
            .into_iter()
            .map(|adapter| Shared(Arc::new(Mutex::new(adapter))));
        let shared: Vec<Shared> = shared.collect();
        let boxed = |shared: &Shared| Box::new(shared.clone()) as Box<dyn PlatformAdapter>;
        let stopper = Self {
            folder,
            brakes: Mutex::new(shared.iter().map(boxed).collect()),
            robot: OnceLock::new(),
        };
        (Arc::new(stopper), shared.iter().map(boxed).collect())
    }

    /// As [`Self::stop`], with an entry of the audit log that says who asked for it.
    ///
    /// # Errors
    /// As there.
    pub(super) fn stop_by(&self, cause: StopCause, who: &str) -> Result<Stopped> {
        let stopped = self.stop(cause)?;
        if let Some(robot) = self.robot.get() {
            let mut entry = robot.audit().entry(
                EntryKind::Stop,
                format!("asked for by {who}"),
                now_ms(),
                Outcome::Done,
            );
            entry.reasons = vec![cause.name().to_owned()];
            if let Err(error) = robot.audit().append(&entry) {
                tracing::error!(%error, who, "who asked for the stop is not in the audit log");
            }
        }
        Ok(stopped)
    }

    /// As [`Self::stop_by`], for who has nobody to tell.
    pub(super) fn stop_for(&self, cause: StopCause, who: &str) {
        tracing::error!(%cause, who, "stop");
        if let Err(error) = self.stop_by(cause, who) {
            tracing::error!(%error, who, "the robot was not stopped");
        }
    }

    /// Whether the robot is open and not stopped.
    pub(super) fn is_running(&self) -> bool {
        self.robot.get().is_some_and(|robot| !robot.is_stopped())
    }

    /// Stops the whole robot.
    ///
    /// # Errors
    /// Only where the system gives no randomness for the stop's name.
    pub(super) fn stop(&self, cause: StopCause) -> Result<Stopped> {
        {
            let brakes = self.brakes();
            if self.robot.get().is_none() {
                return self.brake(brakes, cause);
            }
        }
        let Some(robot) = self.robot.get() else {
            return Err(AgentError::NotOpen);
        };
        let report = robot.stop(StopScope::Robot, cause, now_ms())?;
        Ok(Stopped::Robot(Box::new(report)))
    }

    /// The machine first: what is written down waits for the disk.
    fn brake(&self, mut brakes: MutexGuard<'_, Adapters>, cause: StopCause) -> Result<Stopped> {
        let order = StopOrder {
            stop: StopId::new(random_id()?),
            robot: RobotId::new("not-open").map_err(|_| AgentError::NotOpen)?,
            scope: StopScope::Robot,
            cause,
            called_utc_ms: now_ms(),
        };
        let of = brakes.len();
        let confirmed = std::thread::scope(|threads| {
            let order = &order;
            let told: Vec<_> = brakes
                .iter_mut()
                .map(|brake| threads.spawn(move || brake.stop(order)))
                .collect();
            let told = told.into_iter().map(|told| matches!(told.join(), Ok(Ok(()))));
            told.filter(|confirmed| *confirmed).count()
        });
        if let Err(error) = self.folder.write(ASKED, cause.name().as_bytes()) {
            tracing::error!(%error, "a stop that came before the robot was open is not on the disk");
        }
        Ok(Stopped::MachineAlone { confirmed, of })
    }

    /// The robot is open: a stop that was asked for before stops it now, also one that was asked of an agent before this one.
    pub(super) fn take_up(&self, robot: &Arc<Robot>) -> Result<()> {
        // A stop that is just being asked for is either written down before this or finds the robot after it.
        let brakes = self.brakes();
        let _ = self.robot.set(robot.clone());
        drop(brakes);
        let Some(asked) = self.folder.read(ASKED)? else {
            return Ok(());
        };
        let cause = String::from_utf8_lossy(&asked).parse();
        let cause = cause.unwrap_or(StopCause::ManualTrigger);
        tracing::warn!(%cause, "the stop that was asked for before the robot was open");
        let report = robot.stop(StopScope::Robot, cause, now_ms())?;
        if !report.is_complete() {
            tracing::error!(stop = %report.stop, "not every step of the stop could be confirmed");
        }
        Ok(self.folder.remove(ASKED)?)
    }

    fn brakes(&self) -> MutexGuard<'_, Adapters> {
        self.brakes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now_ms() -> u64 {
    SystemClock::new().utc_ms().unwrap_or_default()
}

/// An adapter that the stopper and the robot share.
#[derive(Clone)]
struct Shared(Arc<Mutex<Box<dyn PlatformAdapter>>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Box<dyn PlatformAdapter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PlatformAdapter for Shared {
    fn name(&self) -> String {
        self.lock().name()
    }

    fn parts(&mut self) -> std::result::Result<Vec<Part>, PortError> {
        self.lock().parts()
    }

    fn stop(&mut self, order: &StopOrder) -> std::result::Result<(), PortError> {
        self.lock().stop(order)
    }
}
