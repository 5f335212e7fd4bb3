//! The emergency stop: how soon the gate is closed and the adapters are called, and what the TPM part costs.

use crate::row::{Must, Row, in_turn};
use crate::scale::make_keys;
use crate::support::{Life, NOW_MS, robot_id};
use alcub3_agent::Robot;
use alcub3_keys::{RobotZeroizer, StateFolder};
use alcub3_security_hal::{
    PlatformAdapter, PortError, StopIntent, StopOrder, StopScope, Zeroizer, measure_gate,
};
use alcub3_tpm::Lane;
use alcub3_trust_model::nv_map::MISSION_ANCHOR_COUNT;
use alcub3_trust_model::{StopCause, StopId};
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

/// Puts `count` key blobs into the state folder: copies of one, in a file of their own. The gate does not ask the chip for
/// them, the stop removes them.
fn fill_with_blobs(life: &Life, model: &[u8], count: usize) {
    let length = u32::try_from(model.len()).unwrap().to_be_bytes();
    let copies = [&length[..], model].concat().repeat(count);
    std::fs::write(life.path().join("mission-keys/copies.keys"), copies).unwrap();
}

/// A robot with as many missions as it can have, and so many keys over them that its chip made.
fn with_keys(count: usize) -> Life {
    let mut life = Life::running();
    let missions: Vec<_> = (0..usize::from(MISSION_ANCHOR_COUNT))
        .map(|_| life.start_mission(6 * 3_600_000))
        .collect();
    let share = |at: usize| count / missions.len() + usize::from(at < count % missions.len());
    for (at, mission) in missions.iter().enumerate() {
        make_keys(&life, mission, share(at));
    }
    life
}

pub fn gate() -> Vec<Row> {
    let mut life = Life::running();
    let mission = life.start_mission(600_000);
    let model = make_keys(&life, &mission, 1)[0].to_canonical();
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
            fill_with_blobs(&life, &model, KEYS);
        }
        life.stop()
    });
    ended.store(true, Ordering::Relaxed);
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    let p99_ms = measured.p99_ns as f64 / 1e6;
    vec![Row::of("stop_gate_p99_ms", p99_ms, "ms", Must::AtMost(1.0))]
}

/// The TPM part of a stop of two robots in turn, one with all the keys and one with few. The first stop ends the keys; the
/// chip and the disk hold as many of them at every further one.
pub fn tpm() -> Vec<Row> {
    let (many, few) = (with_keys(KEYS), with_keys(10));
    let zeroizer = |life: &Life| RobotZeroizer::new(life.robot().keys().clone());
    let lock = |zeroizer: &mut RobotZeroizer| {
        let lock = zeroizer.lock(&intent());
        assert!(lock.extend.is_done() && lock.increment.is_done());
    };
    let mut zeroizers = (zeroizer(&many), zeroizer(&few));
    let (many_ms, few_ms) = in_turn(400, || lock(&mut zeroizers.0), || lock(&mut zeroizers.1));
    let before = many.counts.total();
    lock(&mut zeroizers.0);
    let commands = many.counts.total() - before;
    vec![
        Row::over("stop_tpm_10000_over_10", many_ms, "ms", few_ms, Must::AtMost(1.1)),
        Row::of("stop_tpm_commands", commands as f64, "", Must::Exactly(2.0)),
    ]
}

/// A stop of the whole robot.
pub fn intent() -> StopIntent {
    StopIntent::new(StopOrder {
        stop: StopId::new([9; 16]),
        robot: robot_id(),
        scope: StopScope::Robot,
        cause: StopCause::ManualTrigger,
        called_utc_ms: NOW_MS,
    })
}
