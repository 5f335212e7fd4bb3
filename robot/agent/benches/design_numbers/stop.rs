//! The emergency stop: how soon the gate is closed and the adapters are called, and what the TPM part costs.

use crate::row::{Must, Row, median};
use crate::support::{Life, NOW_MS, robot_id};
use alcub3_agent::Robot;
use alcub3_keys::{RobotZeroizer, StateFolder};
use alcub3_security_hal::{
    PlatformAdapter, PortError, StopCause, StopIntent, StopOrder, StopReport, StopScope, Zeroizer,
    measure_gate,
};
use alcub3_tpm::Lane;
use alcub3_trust_model::StopId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const KEYS: usize = 10_000;

/// An adapter that takes the order at once, so that what is measured is ours.
struct Prompt(&'static str);

impl PlatformAdapter for Prompt {
    fn name(&self) -> String {
        self.0.to_owned()
    }

    fn stop(&mut self, _: &StopOrder) -> Result<(), PortError> {
        Ok(())
    }
}

/// Puts `count` mission keys into the state folder: copies of one, under names of their own.
fn fill_with_keys(life: &Life, count: usize) {
    let folder = life.path().join("missions");
    std::fs::create_dir_all(&folder).unwrap();
    let model = life.model_record.as_ref().unwrap();
    for number in 0..count {
        std::fs::write(folder.join(format!("{number:08}.cbor")), model).unwrap();
    }
}

fn with_keys() -> Life {
    let mut life = Life::running();
    let mission = life.start_mission(600_000);
    let file = life
        .path()
        .join("missions")
        .join(format!("{}.cbor", mission.mission));
    life.model_record = Some(std::fs::read(file).unwrap());
    life
}

pub fn gate() -> Vec<Row> {
    let mut life = with_keys();
    life.robot = None;
    let folder = Arc::new(StateFolder::open(&life.path()).unwrap());
    let adapters: Vec<Box<dyn PlatformAdapter>> = vec![Box::new(Prompt("drive")), Box::new(Prompt("arm"))];
    life.robot = Some(Robot::open(life.tpm.clone(), folder, adapters).unwrap());
    let ended = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (tpm, ended) = (life.tpm.clone(), ended.clone());
            std::thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let _ = tpm.run(Lane::Background, Duration::from_secs(10), |chip| {
                        chip.random(32).map(|_| ())
                    });
                }
            })
        })
        .collect();
    let measured = measure_gate(200, |round| {
        if round % 50 == 0 {
            fill_with_keys(&life, KEYS);
        }
        life.stop()
    });
    ended.store(true, Ordering::Relaxed);
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    let p99_ms = measured.p99_ns as f64 / 1e6;
    vec![Row::of("stop_gate_p99_ms", p99_ms, "ms", Must::AtMost(1.0))]
}

/// How long the two TPM commands took in a stop, in milliseconds.
fn tpm_part_ms(report: &StopReport) -> f64 {
    use alcub3_security_hal::Step;
    let began = report.step(Step::PcrExtended).unwrap().began_ns;
    let ended = report.step(Step::CounterIncremented).unwrap().ended_ns;
    assert!(report.step(Step::CounterIncremented).unwrap().outcome.is_done());
    (ended - began) as f64 / 1e6
}

pub fn tpm() -> Vec<Row> {
    let life = with_keys();
    let (mut many, mut few) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        fill_with_keys(&life, KEYS);
        many.push(tpm_part_ms(&life.stop()));
        fill_with_keys(&life, 10);
        few.push(tpm_part_ms(&life.stop()));
    }
    let before = life.counts.total();
    let mut zeroizer = RobotZeroizer::new(life.robot().keys().clone());
    let lock = zeroizer.lock(&intent());
    assert!(lock.extend.is_done() && lock.increment.is_done());
    let commands = life.counts.total() - before;
    vec![
        Row::over(
            "stop_tpm_10000_over_10",
            median(many),
            "ms",
            median(few),
            Must::AtMost(1.1),
        ),
        Row::of("stop_tpm_commands", commands as f64, "", Must::Exactly(2.0)),
    ]
}

/// A stop of the whole robot.
pub fn intent() -> StopIntent {
    StopIntent::new(StopOrder {
        stop: StopId::new([9; 16]),
        robot: robot_id(),
        scope: StopScope::Robot,
        cause: StopCause::Operator,
        called_utc_ms: NOW_MS,
    })
}
