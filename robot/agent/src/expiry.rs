//! The timer that ends missions on their time. It works from the TPM's clock, sleeps until the earliest end, and looks
//! again where a clock may have jumped.

use crate::ending::Ending;
use alcub3_security_hal::Clock;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How long it waits after a chip or a disk that refused.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// A thread that ends missions on their time, for as long as this lives.
pub(crate) struct ExpiryTimer {
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Bell {
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Copy, Clone, Default)]
struct State {
    /// A mission was started, moved or ended: what the timer computed is out of date.
    changed: bool,
    closed: bool,
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.rung.notify_all();
    }

    /// Waits until something changed or the time is up; false once the robot is closed.
    fn wait(&self, for_at_most: Option<Duration>) -> bool {
        let state = self.lock();
        let quiet = |state: &mut State| !state.changed && !state.closed;
        let mut state = match for_at_most {
            Some(limit) => {
                let waited = self.rung.wait_timeout_while(state, limit, quiet);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self
                .rung
                .wait_while(state, quiet)
                .unwrap_or_else(PoisonError::into_inner),
        };
        state.changed = false;
        !state.closed
    }
}

impl ExpiryTimer {
    pub(crate) fn start(
        ending: Ending,
        clock: Arc<dyn Clock>,
        look_again: Duration,
    ) -> std::io::Result<Self> {
        let bell = Arc::new(Bell::default());
        let heard = bell.clone();
        let thread = Builder::new()
            .name("mission-ends".to_owned())
            .spawn(move || while heard.wait(pause(&ending, &*clock, look_again)) {})?;
        Ok(Self {
            bell,
            thread: Some(thread),
        })
    }

    /// A mission was started, or its end moved: the earliest end may be another one.
    pub(crate) fn changed(&self) {
        self.bell.ring(|state| state.changed = true);
    }
}

impl Drop for ExpiryTimer {
    fn drop(&mut self) {
        self.bell.ring(|state| state.closed = true);
        if let Some(thread) = self.thread.take() {
            // It is asleep, or at one bounded operation of the chip.
            drop(thread.join());
        }
    }
}

/// Ends what is due, and says how long nothing will be; none while there is no mission.
fn pause(ending: &Ending, clock: &dyn Clock, look_again: Duration) -> Option<Duration> {
    match ending.sweep(clock.utc_ms()) {
        Ok(swept) => swept
            .next_in_ms
            .map(|in_ms| Duration::from_millis(in_ms).min(look_again)),
        Err(error) => {
            tracing::warn!(%error, "a mission's end could not be looked after; it is tried again");
            Some(TRY_AGAIN)
        }
    }
}
