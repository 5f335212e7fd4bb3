//! The platform adapters, each waiting on a thread of its own for the order to stop.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use crate::guard;
use crate::isolated::{Isolated, Pending};
use crate::order::StopOrder;
use crate::ports::PlatformAdapter;
use crate::report::{AdapterRecord, StepOutcome};

/// All adapters of a robot.
pub(crate) struct AdapterPool {
    adapters: Vec<(String, Isolated<dyn PlatformAdapter>)>,
    clock: Arc<dyn Clock>,
}

/// What an adapter's thread leaves behind even when it never returns.
#[derive(Default)]
struct Stamps {
    called: AtomicU64,
    returned: AtomicU64,
}

impl Stamps {
    fn mark(stamp: &AtomicU64, now_ns: u64) {
        // 0 means "not yet", so the first nanosecond is rounded up.
        stamp.store(now_ns.max(1), Ordering::Release);
    }

    fn since(stamp: &AtomicU64, start_ns: u64) -> Option<u64> {
        match stamp.load(Ordering::Acquire) {
            0 => None,
            at => Some(at.saturating_sub(start_ns)),
        }
    }
}

/// Orders that were handed out, and their answers when they come.
pub(crate) struct Told {
    start_ns: u64,
    orders: Vec<Order>,
}

/// One adapter's order: its name, its times so far, its answer when it comes.
struct Order {
    adapter: String,
    stamps: Arc<Stamps>,
    answer: Pending<Result<(), StepOutcome>>,
}

impl AdapterPool {
    /// Starts one thread for each adapter.
    pub(crate) fn spawn(adapters: Vec<Box<dyn PlatformAdapter>>, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let start = |adapter: Box<dyn PlatformAdapter>| {
            let name = adapter.name();
            Isolated::spawn(&name, adapter).map(|thread| (name, thread))
        };
        let adapters = adapters.into_iter().map(start).collect::<io::Result<_>>()?;
        Ok(Self { adapters, clock })
    }

    /// Hands the order to every adapter at once and waits for none.
    pub(crate) fn tell(&self, order: &Arc<StopOrder>, start_ns: u64) -> Told {
        let orders = self.adapters.iter().map(|(name, thread)| {
            let stamps = Arc::new(Stamps::default());
            let (order, clock, marks) = (Arc::clone(order), Arc::clone(&self.clock), Arc::clone(&stamps));
            let answer = thread.submit(move |adapter| {
                Stamps::mark(&marks.called, clock.monotonic_ns());
                let result = guard::attempt(|| adapter.stop(&order));
                Stamps::mark(&marks.returned, clock.monotonic_ns());
                result
            });
            Order {
                adapter: name.clone(),
                stamps,
                answer,
            }
        });
        Told {
            start_ns,
            orders: orders.collect(),
        }
    }
}

impl Told {
    /// Whether every adapter was handed the order.
    pub(crate) fn all_delivered(&self) -> bool {
        self.orders.iter().all(|order| order.answer.is_delivered())
    }

    /// The adapters' answers, waited for until the limit is used up; who has not answered is `unconfirmed`.
    pub(crate) fn collect(self, clock: &dyn Clock, limit: Duration) -> Vec<AdapterRecord> {
        let begun_ns = clock.monotonic_ns();
        let mut records = Vec::with_capacity(self.orders.len());
        for Order {
            adapter,
            stamps,
            answer,
        } in self.orders
        {
            let used = Duration::from_nanos(clock.monotonic_ns().saturating_sub(begun_ns));
            let outcome = match answer.wait(limit.saturating_sub(used)) {
                Ok(Ok(())) => StepOutcome::Done,
                Ok(Err(outcome)) => outcome,
                Err(reason) => reason.into(),
            };
            let called_ns = Stamps::since(&stamps.called, self.start_ns);
            let returned_ns = Stamps::since(&stamps.returned, self.start_ns);
            records.push(AdapterRecord {
                adapter,
                called_ns,
                returned_ns,
                outcome,
            });
        }
        records
    }
}
