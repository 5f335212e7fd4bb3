//! Stops of a robot with 10,000 keys in memory and a TPM whose queue is full of other work (DESIGN §8).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use alcub3_crypto::{Digest, HashAlg, Secret};
use alcub3_security_hal::{
    EmergencyStop, GateMeasurement, MemoryVault, PortError, StopIntent, StopLimits, StopReport, StopScope,
    Zeroizer, measure_gate,
};
use alcub3_trust_model::Level;

use super::fleet::{Fleet, epochs};
use super::{Robot, order};

const KEYS: u32 = 10_000;

type Job = Box<dyn FnOnce() + Send>;

/// A TPM that takes one command at a time, each a millisecond long, with an urgent lane and 64 callers who always
/// have the next command waiting.
struct BusyTpm {
    queue: Arc<(Mutex<VecDeque<Job>>, Condvar)>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl BusyTpm {
    fn start() -> Self {
        let queue: Arc<(Mutex<VecDeque<Job>>, Condvar)> = Arc::default();
        let over = Arc::new(AtomicBool::new(false));
        let mut threads = vec![{
            let (queue, over) = (Arc::clone(&queue), Arc::clone(&over));
            thread::spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let mut jobs = queue.0.lock().unwrap();
                    while jobs.is_empty() && !over.load(Ordering::SeqCst) {
                        jobs = queue.1.wait_timeout(jobs, Duration::from_millis(20)).unwrap().0;
                    }
                    let job = jobs.pop_front();
                    drop(jobs);
                    job.into_iter().for_each(|job| job());
                }
            })
        }];
        threads.extend((0..64).map(|_| {
            let (queue, over) = (Arc::clone(&queue), Arc::clone(&over));
            thread::spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let (done, waiting) = channel();
                    let command = move || {
                        thread::sleep(Duration::from_millis(1));
                        let _ = done.send(());
                    };
                    queue.0.lock().unwrap().push_back(Box::new(command));
                    queue.1.notify_one();
                    let _ = waiting.recv_timeout(Duration::from_secs(1));
                }
            })
        }));
        Self { queue, over, threads }
    }

    fn lane(&self) -> UrgentLane {
        UrgentLane(Arc::clone(&self.queue))
    }

    fn waiting(&self) -> usize {
        self.queue.0.lock().unwrap().len()
    }

    fn end(self) {
        self.over.store(true, Ordering::SeqCst);
        self.queue.1.notify_all();
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

struct UrgentLane(Arc<(Mutex<VecDeque<Job>>, Condvar)>);

impl UrgentLane {
    fn run(&self) -> Result<(), PortError> {
        let (done, waiting): (Sender<()>, _) = channel();
        let command = move || {
            thread::sleep(Duration::from_millis(1));
            let _ = done.send(());
        };
        self.0.0.lock().unwrap().push_front(Box::new(command));
        self.0.1.notify_one();
        Ok(waiting.recv()?)
    }
}

impl Zeroizer for UrgentLane {
    fn extend(&mut self, intent: &StopIntent) -> Result<Digest, PortError> {
        self.run().map(|()| intent.event_digest(HashAlg::Sha256))
    }

    fn increment(&mut self, _: &StopIntent) -> Result<Option<u64>, PortError> {
        self.run().map(|()| None)
    }
}

/// One stop of a rearmed robot with all its keys in memory.
fn one_stop(fleet: &Fleet, tpm: &BusyTpm) -> StopReport {
    let robot = Robot::new();
    let vault = MemoryVault::new(Arc::clone(&robot.gates));
    let mut parts = robot.parts();
    parts.vault = Box::new(vault.clone());
    parts.zeroizer = Box::new(tpm.lane());
    let stop = EmergencyStop::new(Arc::clone(&robot.gates), parts, StopLimits::default()).unwrap();
    stop.recover().unwrap();
    let record = fleet.record(&epochs(1), &[Level::Secret]);
    stop.rearm(&fleet.trust(), &record, || Ok(epochs(1))).unwrap();
    for number in 0..KEYS {
        vault
            .insert(
                Level::Secret,
                None,
                Secret::from_slice(&number.to_be_bytes().repeat(12)),
            )
            .unwrap();
    }
    assert_eq!(vault.len(), 10_000);
    let report = stop.stop(order(1, StopScope::Robot));
    assert!(vault.is_empty(), "every key is wiped");
    report
}

/// Measures so many stops, each of a robot of its own.
pub fn measured(rounds: usize) -> GateMeasurement {
    let (fleet, tpm) = (Fleet::new(), BusyTpm::start());
    let result = measure_gate(rounds, |_| {
        while tpm.waiting() < 32 {
            thread::sleep(Duration::from_millis(1));
        }
        let report = one_stop(&fleet, &tpm);
        assert!(report.is_complete(), "{report:?}");
        report
    });
    tpm.end();
    result
}
