//! A part of the stop on a thread of its own, so that one that hangs or panics holds up nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use crate::report::StepOutcome;

type Job<P> = Box<dyn FnOnce(&mut P) + Send>;

/// How many jobs may wait for one part. A stop gives each part at most three.
const BACKLOG: usize = 16;

/// A part that lives on its own, already running thread. Work is handed over without waiting, and its answer is
/// waited for no longer than the caller says; a part that panics answers so and goes on with the next job.
pub(crate) struct Isolated<P: ?Sized> {
    jobs: SyncSender<Job<Box<P>>>,
}

/// Why there is no answer.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum NoAnswer {
    Late(u64),
    Panicked,
    NotDelivered,
}

impl From<NoAnswer> for StepOutcome {
    fn from(reason: NoAnswer) -> Self {
        match reason {
            NoAnswer::Late(waited_ms) => Self::Unanswered(waited_ms),
            NoAnswer::Panicked => Self::Panicked,
            NoAnswer::NotDelivered => Self::NotDelivered,
        }
    }
}

/// An answer that is on its way.
pub(crate) struct Pending<T> {
    answer: Result<Receiver<Option<T>>, NoAnswer>,
}

impl<P: ?Sized + Send + 'static> Isolated<P> {
    /// Moves a part to a thread of its own, which ends when this value is dropped and its work is done.
    pub(crate) fn spawn(name: &str, mut part: Box<P>) -> std::io::Result<Self> {
        let (jobs, inbox) = sync_channel::<Job<Box<P>>>(BACKLOG);
        thread::Builder::new()
            .name(format!("stop-{name}"))
            .spawn(move || {
                while let Ok(job) = inbox.recv() {
                    job(&mut part);
                }
            })?;
        Ok(Self { jobs })
    }

    /// Hands work over, without waiting.
    pub(crate) fn submit<T, F>(&self, work: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut P) -> T + Send + 'static,
    {
        let (answer, answered) = sync_channel(1);
        let job: Job<Box<P>> = Box::new(move |part| {
            let done = catch_unwind(AssertUnwindSafe(|| work(part.as_mut()))).ok();
            // Nobody may be waiting any more: the work was done all the same.
            let _ = answer.send(done);
        });
        let answer = match self.jobs.try_send(job) {
            Ok(()) => Ok(answered),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(NoAnswer::NotDelivered),
        };
        Pending { answer }
    }
}

impl<T> Pending<T> {
    /// Whether the work was handed over.
    pub(crate) const fn is_delivered(&self) -> bool {
        self.answer.is_ok()
    }

    /// The answer, waited for at most so long.
    pub(crate) fn wait(self, limit: Duration) -> Result<T, NoAnswer> {
        match self.answer?.recv_timeout(limit) {
            Ok(Some(value)) => Ok(value),
            Ok(None) | Err(RecvTimeoutError::Disconnected) => Err(NoAnswer::Panicked),
            Err(RecvTimeoutError::Timeout) => Err(NoAnswer::Late(
                u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(5);

    #[test]
    fn a_panic_is_answered_and_the_part_goes_on() {
        let part: Isolated<u32> = Isolated::spawn("test", Box::new(41)).unwrap();
        let first = part.submit(|_| -> u32 { panic!("on purpose") }).wait(LONG);
        assert_eq!(first, Err(NoAnswer::Panicked));
        let second = part.submit(|value| *value + 1).wait(LONG);
        assert_eq!(second, Ok(42));
    }

    #[test]
    fn a_hanging_part_is_given_up_after_the_limit_and_refuses_a_flood() {
        let part: Isolated<()> = Isolated::spawn("test", Box::new(())).unwrap();
        let (release, held) = sync_channel::<()>(1);
        let stuck = part.submit(move |()| held.recv().is_ok());
        assert_eq!(
            part.submit(|()| ()).wait(Duration::from_millis(20)),
            Err(NoAnswer::Late(20))
        );
        let flood: Vec<_> = (0..=BACKLOG).map(|_| part.submit(|()| ())).collect();
        assert!(
            flood
                .into_iter()
                .any(|job| job.wait(Duration::ZERO) == Err(NoAnswer::NotDelivered))
        );
        release.send(()).unwrap();
        assert_eq!(stuck.wait(LONG), Ok(true));
    }
}
