//! Gathers evidence again and again.

use crate::Result;
use crate::Surroundings;
use crate::platform_logs::PlatformLogs;
use crate::robot::Robot;
use alcub3_security_hal::{Clock, SystemClock};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What tells the robot's surroundings at the time.
pub type SurroundingsNow = Box<dyn Fn() -> Surroundings + Send>;

/// Makes offline evidence at intervals, until it is dropped: for as long as no authority is in reach.
#[derive(Debug)]
pub struct OfflineGatherer {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl OfflineGatherer {
    /// Starts gathering; the first evidence is made at once. The robot may be dropped before: it then ends.
    ///
    /// # Errors
    /// The operating system's, if it gives no thread.
    pub fn start(
        robot: &Arc<Robot>,
        surroundings: SurroundingsNow,
        logs: PlatformLogs,
        every: Duration,
    ) -> Result<Self> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let (robot, shared) = (Arc::downgrade(robot), stop.clone());
        let gather = move |robot: &Robot, now_ms| {
            if let Err(error) = robot.gather_offline(&surroundings(), &logs, now_ms) {
                tracing::warn!(%error, "no offline evidence was made; it is tried again");
            }
        };
        let thread = thread::Builder::new()
            .name("offline-evidence".to_owned())
            .spawn(move || gather_until(&shared, &robot, every, gather))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for OfflineGatherer {
    fn drop(&mut self) {
        let (stopped, woken) = &*self.stop;
        *stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        woken.notify_all();
        let ended = self.thread.take().map(JoinHandle::join);
        if ended.is_some_and(|ended| ended.is_err()) {
            tracing::error!("the gathering of offline evidence ended by a panic");
        }
    }
}

fn gather_until(
    (stopped, woken): &(Mutex<bool>, Condvar),
    robot: &Weak<Robot>,
    every: Duration,
    gather: impl Fn(&Robot, u64),
) {
    let clock = SystemClock::new();
    loop {
        let Some(robot) = robot.upgrade() else { return };
        // Where the robot does not know the time its state says so, and the link's place in time is the TPM's alone.
        gather(&robot, clock.utc_ms().unwrap_or_default());
        drop(robot);
        let guard = stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = woken.wait_timeout_while(guard, every, |stopped| !*stopped);
        let (guard, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if *guard {
            return;
        }
    }
}
