//! The emergency stop: its order, and that no part's failure takes another down with it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use alcub3_crypto::Digest;
use alcub3_security_hal::{
    EmergencyStop, FileStopJournal, Gates, MadeReceipt, PortError, ReceiptMaker, Step, StepOutcome,
    StepRecord, StopIntent, StopJournal, StopLimits, StopReport, StopScope, TpmLockOutcome, Zeroizer,
};
use alcub3_trust_model::nv_map::MissionAnchor;
use alcub3_trust_model::{Level, MissionId, RobotId};
use support::{Manner, Robot, door, order, receipt, short_limits};

const STEPS: [Step; 11] = [
    Step::GateClosed,
    Step::AdaptersTold,
    Step::MemoryWiped,
    Step::IntentWritten,
    Step::CounterIncremented,
    Step::PcrExtended,
    Step::KeysFlushed,
    Step::BlobsDeleted,
    Step::ReceiptMade,
    Step::Audited,
    Step::IntentFinished,
];

fn stopped(robot: &Robot, limits: StopLimits) -> StopReport {
    let stop = EmergencyStop::new(Arc::clone(&robot.gates), robot.parts(), limits).unwrap();
    stop.stop(order(1, StopScope::Robot))
}

fn steps(report: &StopReport) -> Vec<Step> {
    report.steps.iter().map(|record| record.step).collect()
}

fn unconfirmed(report: &StopReport) -> Vec<Step> {
    report.unconfirmed().map(|record| record.step).collect()
}

#[test]
fn a_stop_takes_the_steps_in_the_order_of_the_design() {
    let robot = Robot::new();
    let report = stopped(&robot, StopLimits::default());
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(steps(&report), STEPS);
    let lines = robot.diary.lines();
    let (mut told, parts): (Vec<String>, Vec<String>) =
        lines.into_iter().partition(|line| line.starts_with("adapter"));
    told.sort();
    assert_eq!(told, ["adapter-a", "adapter-b"]);
    assert_eq!(
        parts,
        [
            "wipe",
            "begin",
            "increment",
            "extend",
            "flush",
            "delete",
            "receipt",
            "audit",
            "finish"
        ]
    );
    assert_eq!(report.receipt.as_deref(), Some(&b"receipt"[..]));
    assert_eq!(report.counter, Some(5));
    assert!(robot.gates.is_robot_stopped());
    for pair in report.steps.windows(2) {
        assert!(pair[0].began_ns <= pair[1].began_ns, "{pair:?}");
    }
}

#[test]
fn whatever_fails_or_panics_every_other_step_is_still_taken() {
    let parts = [
        ("vault", vec![Step::MemoryWiped]),
        ("journal", vec![Step::IntentWritten, Step::IntentFinished]),
        (
            "tpm",
            vec![
                Step::CounterIncremented,
                Step::PcrExtended,
                Step::ReceiptMade,
                Step::IntentFinished,
            ],
        ),
        ("keys", vec![Step::KeysFlushed, Step::BlobsDeleted]),
        ("receipts", vec![Step::ReceiptMade]),
        ("audit", vec![Step::Audited]),
    ];
    for (part, lost) in parts {
        for manner in [Manner::Fail, Manner::Panic] {
            let robot = Robot::new().with(part, manner);
            let report = stopped(&robot, StopLimits::default());
            assert_eq!(unconfirmed(&report), lost, "{part} {manner:?}");
            assert_eq!(steps(&report), STEPS, "{part} {manner:?}");
            for call in [
                "wipe",
                "begin",
                "extend",
                "increment",
                "flush",
                "delete",
                "receipt",
                "audit",
            ] {
                assert_eq!(robot.diary.count(call), 1, "{call} with {part} {manner:?}");
            }
        }
    }
}

/// Makes always the same receipt.
struct Receipts(MadeReceipt);

impl ReceiptMaker for Receipts {
    fn receipt(
        &mut self,
        _: &StopIntent,
        _: &TpmLockOutcome,
        _: &[StepRecord],
    ) -> Result<MadeReceipt, PortError> {
        Ok(self.0.clone())
    }
}

fn stop_with(robot: &Robot, receipt: MadeReceipt) -> EmergencyStop {
    let mut parts = robot.parts();
    parts.receipts = Box::new(Receipts(receipt));
    EmergencyStop::new(Arc::clone(&robot.gates), parts, StopLimits::default()).unwrap()
}

#[test]
fn a_stop_whose_receipt_lacks_a_part_does_not_call_itself_complete() {
    let robot = Robot::new();
    let incomplete = MadeReceipt {
        lacks: vec!["counter-incremented"],
        ..receipt(true)
    };
    let report = stop_with(&robot, incomplete).stop(order(1, StopScope::Robot));
    assert!(!report.is_complete());
    assert_eq!(unconfirmed(&report), [Step::ReceiptMade]);
    let said = report.step(Step::ReceiptMade).unwrap().outcome.to_string();
    assert!(said.contains("counter-incremented"), "{said}");
    assert!(report.receipt.is_some());
}

#[test]
fn what_the_receipt_proves_is_confirmed_although_the_answers_were_lost() {
    for proves in [false, true] {
        let robot = Robot::new().with("tpm", Manner::Fail);
        let report = stop_with(&robot, receipt(proves)).stop(order(1, StopScope::Robot));
        assert_eq!(report.is_complete(), proves);
        for step in [Step::PcrExtended, Step::CounterIncremented] {
            let outcome = &report.step(step).unwrap().outcome;
            assert_eq!(outcome.is_done(), proves);
            assert!(outcome.to_string().contains("on purpose"), "{outcome}");
        }
        assert_eq!(robot.diary.count("finish"), usize::from(proves));
    }
}

#[test]
fn a_disk_that_hangs_does_not_keep_the_tpm_from_being_locked() {
    let robot = Robot::new().with("journal", Manner::Hang);
    let report = stopped(&robot, short_limits());
    assert!(matches!(
        report.step(Step::IntentWritten).unwrap().outcome,
        StepOutcome::Unanswered(300)
    ));
    assert!(report.step(Step::PcrExtended).unwrap().outcome.is_done());
    assert!(report.step(Step::CounterIncremented).unwrap().outcome.is_done());
}

#[test]
fn a_tpm_that_never_answers_is_named_unconfirmed_and_leaves_the_intent() {
    let robot = Robot::new()
        .with("tpm", Manner::Hang)
        .with("receipts", Manner::Hang)
        .with("keys", Manner::Hang);
    let report = stopped(&robot, short_limits());
    let lost = unconfirmed(&report);
    for step in [
        Step::PcrExtended,
        Step::CounterIncremented,
        Step::ReceiptMade,
        Step::KeysFlushed,
    ] {
        assert!(lost.contains(&step), "{step:?}");
    }
    assert!(report.step(Step::Audited).unwrap().outcome.is_done());
    assert!(report.adapters.iter().all(|adapter| adapter.outcome.is_done()));
    assert!(robot.gates.is_robot_stopped());
    assert_eq!(
        robot.diary.count("finish"),
        0,
        "an unconfirmed stop must stay in the journal"
    );
}

#[test]
fn adapters_are_called_while_memory_disk_and_tpm_all_hang() {
    let robot = Robot::new()
        .with("vault", Manner::Hang)
        .with("journal", Manner::Hang)
        .with("tpm", Manner::Hang);
    let long = Duration::from_secs(60);
    let limits = StopLimits {
        memory: long,
        ..StopLimits::default()
    };
    let stop = EmergencyStop::new(Arc::clone(&robot.gates), robot.parts(), limits).unwrap();
    let stopping = thread::spawn(move || stop.stop(order(1, StopScope::Robot)));
    let begun = Instant::now();
    while robot.diary.count("adapter-a") + robot.diary.count("adapter-b") < 2 {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "the adapters wait for something that hangs"
        );
        thread::sleep(Duration::from_millis(1));
    }
    assert!(
        !stopping.is_finished(),
        "the stop itself still waits for the memory"
    );
    assert!(robot.gates.is_robot_stopped());
}

#[test]
fn an_adapter_that_panics_or_hangs_stops_no_other() {
    for manner in [Manner::Panic, Manner::Hang, Manner::Fail] {
        let robot = Robot::new().with("adapter-a", manner);
        let report = stopped(&robot, short_limits());
        let outcome = |name: &str| {
            &report
                .adapters
                .iter()
                .find(|record| record.adapter == name)
                .unwrap()
                .outcome
        };
        assert!(outcome("adapter-b").is_done(), "{manner:?}");
        assert!(!outcome("adapter-a").is_done(), "{manner:?}");
        assert!(report.adapters.iter().all(|record| record.called_ns.is_some()));
        assert!(unconfirmed(&report).is_empty(), "the steps themselves go on");
        assert!(!report.is_complete());
    }
}

/// A TPM that extends only when it is let to.
struct SlowTpm {
    door: std::sync::mpsc::Receiver<()>,
    entered: Arc<Barrier>,
    locks: Arc<Mutex<u32>>,
}

impl Zeroizer for SlowTpm {
    fn extend(&mut self, intent: &StopIntent) -> Result<Digest, PortError> {
        *self.locks.lock().unwrap() += 1;
        self.entered.wait();
        self.door.recv()?;
        Ok(intent.event_digest(alcub3_crypto::HashAlg::Sha256))
    }

    fn increment(&mut self, _: &StopIntent) -> Result<Option<u64>, PortError> {
        Ok(Some(9))
    }
}

#[test]
fn a_stop_during_a_stop_is_answered_with_the_same_work() {
    let robot = Robot::new();
    let mut parts = robot.parts();
    let (open, waiting) = door();
    let (entered, locks) = (Arc::new(Barrier::new(2)), Arc::new(Mutex::new(0)));
    parts.zeroizer = Box::new(SlowTpm {
        door: waiting,
        entered: Arc::clone(&entered),
        locks: Arc::clone(&locks),
    });
    let stop = Arc::new(EmergencyStop::new(Arc::clone(&robot.gates), parts, StopLimits::default()).unwrap());

    let first = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || stop.stop(order(1, StopScope::Robot)))
    };
    entered.wait();
    let others: Vec<_> = [StopScope::Robot, StopScope::Level(Level::Secret)]
        .into_iter()
        .map(|scope| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || stop.stop(order(2, scope)))
        })
        .collect();
    let begun = Instant::now();
    while robot.diary.count("adapter-a") < 3 && begun.elapsed() < Duration::from_secs(5) {
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(
        robot.diary.count("adapter-a"),
        3,
        "each call tells the adapters, at once"
    );
    thread::sleep(Duration::from_millis(50));
    open.send(()).unwrap();

    let first = first.join().unwrap();
    assert!(first.is_complete() && first.joined.is_none());
    for other in others {
        let other = other.join().unwrap();
        assert_eq!(other.joined, Some(first.stop));
        assert!(other.is_complete(), "{other:?}");
        assert_eq!(other.counter, Some(9));
        assert_eq!(steps(&other), STEPS);
    }
    assert_eq!(*locks.lock().unwrap(), 1, "one lock for all");
}

#[test]
fn a_robot_stop_is_not_answered_with_a_narrower_one() {
    let robot = Robot::new();
    let mut parts = robot.parts();
    let (open, waiting) = door();
    let (entered, locks) = (Arc::new(Barrier::new(2)), Arc::new(Mutex::new(0)));
    parts.zeroizer = Box::new(SlowTpm {
        door: waiting,
        entered: Arc::clone(&entered),
        locks: Arc::clone(&locks),
    });
    let stop = Arc::new(EmergencyStop::new(Arc::clone(&robot.gates), parts, StopLimits::default()).unwrap());
    let narrow = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || stop.stop(order(1, StopScope::Level(Level::Cui))))
    };
    entered.wait();
    let wide = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || stop.stop(order(2, StopScope::Robot)))
    };
    open.send(()).unwrap();
    entered.wait();
    open.send(()).unwrap();
    assert!(narrow.join().unwrap().joined.is_none());
    assert!(wide.join().unwrap().joined.is_none());
    assert_eq!(*locks.lock().unwrap(), 2);
}

#[test]
fn an_unfinished_stop_is_completed_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let robot_id = RobotId::new("rover-1").unwrap();
    let journal = || Box::new(FileStopJournal::open(dir.path(), robot_id.clone()).unwrap());

    let crashed = Robot::new().with("tpm", Manner::Fail);
    let mut parts = crashed.parts();
    parts.journal = journal();
    let stop = EmergencyStop::new(Arc::clone(&crashed.gates), parts, StopLimits::default()).unwrap();
    stop.stop(order(7, StopScope::Robot));
    assert_eq!(journal().unfinished().unwrap().len(), 1);

    let restarted = Robot::new();
    let mut parts = restarted.parts();
    parts.journal = journal();
    let stop = EmergencyStop::new(Arc::clone(&restarted.gates), parts, StopLimits::default()).unwrap();
    let reports = stop.recover().unwrap();
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].stop, order(7, StopScope::Robot).stop);
    assert_eq!(
        restarted.diary.count("extend") + restarted.diary.count("increment"),
        2
    );
    assert!(journal().unfinished().unwrap().is_empty());
    assert!(stop.recover().unwrap().is_empty(), "and only once");
}

#[test]
fn the_journal_keeps_what_was_begun_and_explains_what_it_cannot_read() {
    let dir = tempfile::tempdir().unwrap();
    let robot = RobotId::new("rover-1").unwrap();
    let anchor = MissionAnchor::new(2).unwrap();
    let mut journal = FileStopJournal::open(dir.path(), robot).unwrap();
    let intents = [
        StopIntent::new(order(1, StopScope::Robot)),
        StopIntent::new(order(2, StopScope::Level(Level::Secret))),
        StopIntent::new(order(3, StopScope::Mission(MissionId::new([4; 16]), anchor))),
    ];
    for intent in &intents {
        journal.begin(intent).unwrap();
        journal.begin(intent).unwrap();
    }
    let mut found = journal.unfinished().unwrap();
    found.sort_by_key(|intent| intent.order().stop);
    assert_eq!(found, intents);

    for intent in &intents {
        journal.finish(intent).unwrap();
    }
    assert!(journal.unfinished().unwrap().is_empty());

    let bytes = intents[1].to_canonical();
    let torn = dir.path().join(format!("{}.new", intents[1].order().stop));
    std::fs::write(&torn, &bytes[..bytes.len() / 2]).unwrap();
    let found = journal.unfinished().unwrap();
    assert_eq!(
        found[0].order().scope,
        StopScope::Robot,
        "a half-written stop is a stop of the whole robot"
    );
    std::fs::remove_file(&torn).unwrap();

    // Another robot's, whatever its scope: it names none of this robot's missions.
    let mut others = order(2, StopScope::Level(Level::Secret));
    others.robot = RobotId::new("rover-2").unwrap();
    let path = dir.path().join(format!("{}.intent", others.stop));
    std::fs::write(&path, StopIntent::new(others).to_canonical()).unwrap();
    let found = journal.unfinished().unwrap();
    assert_eq!(found[0].order().scope, StopScope::Robot);
    assert_eq!(found[0].order().robot, RobotId::new("rover-1").unwrap());
    std::fs::remove_file(&path).unwrap();

    let damaged = dir.path().join(format!("{}.intent", intents[1].order().stop));
    std::fs::write(&damaged, &bytes[..bytes.len() - 1]).unwrap();
    let refusal = journal.unfinished().unwrap_err().to_string();
    assert!(
        refusal.contains("stays stopped") && refusal.contains("move it away"),
        "{refusal}"
    );
}

#[test]
fn a_start_that_cannot_read_its_journal_stays_stopped_and_says_so() {
    for manner in [Manner::Fail, Manner::Panic] {
        let robot = Robot::new().with("journal", manner);
        let stop =
            EmergencyStop::new(Arc::clone(&robot.gates), robot.parts(), StopLimits::default()).unwrap();
        let refusal = stop.recover().unwrap_err().to_string();
        assert!(refusal.contains("stays stopped"), "{refusal}");
        assert!(robot.gates.is_robot_stopped());
    }
}

#[test]
fn gates_start_closed() {
    assert!(Gates::new_closed().admit().is_none());
}
