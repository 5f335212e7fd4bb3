//! The gates every command passes: atomic words, closed by a stop, opened only by a verified rearm.

mod word;

/// What the word is made of here.
mod atomic {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use alcub3_command_authority::Generation;
use alcub3_trust_model::{Level, MissionId};

use crate::latch::RearmProof;
use crate::order::StopScope;
use word::{Closure, Gate, Passage};

pub use word::OpenError;

/// The robot's gates: one for the whole robot, one for each level, and the missions that were stopped.
#[derive(Debug)]
pub struct Gates {
    robot: Gate,
    levels: [Gate; Level::ALL.len()],
    stopped_missions: RwLock<BTreeSet<MissionId>>,
}

/// That a command's validation began while the robot's gate was open; it remembers every level's gate as well.
#[derive(Copy, Clone, Debug)]
pub struct Admission {
    robot: Passage,
    levels: [Option<Passage>; Level::ALL.len()],
}

impl Admission {
    /// The generation of the robot's gate.
    pub const fn generation(&self) -> Generation {
        Generation(self.robot.word())
    }
}

impl Gates {
    /// All gates closed, until a rearm is verified.
    pub fn new_closed() -> Self {
        Self {
            robot: Gate::new_closed(),
            levels: std::array::from_fn(|_| Gate::new_closed()),
            stopped_missions: RwLock::new(BTreeSet::new()),
        }
    }

    /// Closes what a stop's scope names; for robot and level without a lock. Only a stop does it, so that no gate is
    /// closed without the epoch moving as well.
    pub(crate) fn close(&self, scope: &StopScope) {
        match scope {
            StopScope::Robot => {
                // The robot's own gate refuses all; the levels follow so that each needs its own approval again.
                self.robot.close();
                self.levels.iter().for_each(Gate::close);
            }
            StopScope::Level(level) => self.level(*level).close(),
            StopScope::Mission(mission, _) => {
                let mut stopped = self
                    .stopped_missions
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                stopped.insert(*mission);
            }
        }
    }

    /// Begins a command's validation; nothing while the robot is stopped.
    pub fn admit(&self) -> Option<Admission> {
        let robot = self.robot.admit()?;
        let levels = std::array::from_fn(|at| self.levels.get(at).and_then(Gate::admit));
        Some(Admission { robot, levels })
    }

    /// Whether a command of a level and a mission may still take effect: nothing it depends on was stopped since
    /// its admission. Asked last, after all other checks.
    pub fn still_open(&self, admission: &Admission, level: Level, mission: Option<MissionId>) -> bool {
        let passage = admission.levels.get(usize::from(level.id())).copied().flatten();
        self.robot.still_open(admission.robot)
            && passage.is_some_and(|passage| self.level(level).still_open(passage))
            && mission.is_none_or(|mission| !self.is_mission_stopped(mission))
    }

    /// Whether the whole robot is stopped.
    pub fn is_robot_stopped(&self) -> bool {
        self.robot.is_closed()
    }

    /// Whether a level is stopped, by itself or with the robot.
    pub fn is_level_stopped(&self, level: Level) -> bool {
        self.robot.is_closed() || self.level(level).is_closed()
    }

    /// Whether a mission was stopped by itself since this process began.
    pub fn is_mission_stopped(&self, mission: MissionId) -> bool {
        self.stopped_missions
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&mission)
    }

    /// All gates as they are now. Any stop and any opening since makes a difference.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let word = Gate::word;
        let levels = std::array::from_fn(|at| self.levels.get(at).map_or(0, word));
        Snapshot {
            robot: word(&self.robot),
            levels,
        }
    }

    /// What is closed now, for a rearm's verification to name before it reads any epoch.
    pub fn closures(&self) -> Closures {
        let levels = std::array::from_fn(|at| self.levels.get(at).and_then(Gate::closure));
        Closures {
            robot: self.robot.closure(),
            levels,
        }
    }

    /// Opens every gate that a verified rearm holds.
    ///
    /// # Errors
    /// [`OpenError`] when a stop came since the rearm's verification began; that gate, and all after it, stay
    /// closed. The robot's gate is opened last, so that it never opens on a half-opened robot.
    pub(crate) fn open(&self, proof: RearmProof) -> Result<(), OpenError> {
        let closures = proof.into_closures();
        for (gate, closure) in self.levels.iter().zip(closures.levels) {
            closure.map_or(Ok(()), |closure| gate.open(closure))?;
        }
        closures.robot.map_or(Ok(()), |closure| self.robot.open(closure))
    }

    fn level(&self, level: Level) -> &Gate {
        // One gate for each level: where the table and the numbers disagreed, the robot's own gate stands in.
        self.levels.get(usize::from(level.id())).unwrap_or(&self.robot)
    }
}

/// All gates' words at one moment.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Snapshot {
    robot: u64,
    levels: [u64; Level::ALL.len()],
}

impl Snapshot {
    /// Whether the whole robot was stopped or rearmed between the two.
    pub(crate) const fn robot_moved(&self, other: &Self) -> bool {
        self.robot != other.robot
    }

    /// Whether a level, or the whole robot, was stopped or rearmed between the two.
    pub(crate) fn level_moved(&self, other: &Self, level: Level) -> bool {
        let at = usize::from(level.id());
        self.robot_moved(other) || self.levels.get(at) != other.levels.get(at)
    }
}

/// What was closed when a rearm's verification began.
#[derive(Copy, Clone, Debug)]
pub struct Closures {
    pub(crate) robot: Option<Closure>,
    pub(crate) levels: [Option<Closure>; Level::ALL.len()],
}

impl Closures {
    /// Whether the whole robot was stopped.
    pub const fn robot_is_closed(&self) -> bool {
        self.robot.is_some()
    }

    /// These closures without the levels that are not among those given.
    pub(crate) fn only(mut self, levels: &[Level]) -> Self {
        for level in Level::ALL.into_iter().filter(|level| !levels.contains(level)) {
            if let Some(closure) = self.levels.get_mut(usize::from(level.id())) {
                *closure = None;
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};
    use std::thread;

    use super::*;

    fn opened() -> Gate {
        let gate = Gate::new_closed();
        open(&gate).unwrap();
        gate
    }

    fn open(gate: &Gate) -> Result<(), OpenError> {
        let closure = gate.closure().ok_or(OpenError::NotClosed)?;
        gate.open(closure)
    }

    #[test]
    fn a_new_gate_admits_nothing() {
        let gate = Gate::new_closed();
        assert!(gate.is_closed());
        assert_eq!(gate.admit(), None);
    }

    #[test]
    fn a_passage_from_before_a_stop_is_worthless_even_after_a_rearm() {
        let gate = opened();
        let passage = gate.admit().unwrap();
        assert!(gate.still_open(passage));
        gate.close();
        assert!(!gate.still_open(passage));
        open(&gate).unwrap();
        assert!(
            !gate.still_open(passage),
            "the stop between must not be forgotten"
        );
        assert!(gate.admit().is_some());
    }

    #[test]
    fn a_stop_during_the_verification_of_a_rearm_wins() {
        let gate = Gate::new_closed();
        let closure = gate.closure().unwrap();
        gate.close();
        assert_eq!(gate.open(closure), Err(OpenError::StoppedMeanwhile));
        assert!(gate.is_closed());
    }

    #[test]
    fn a_proof_opens_once() {
        let gate = Gate::new_closed();
        let closure = gate.closure().unwrap();
        gate.open(closure).unwrap();
        assert_eq!(gate.open(closure), Err(OpenError::NotClosed));
        gate.close();
        assert_eq!(gate.open(closure), Err(OpenError::StoppedMeanwhile));
    }

    /// Stops racing a rearm: whatever the interleaving, the gate ends closed.
    #[test]
    fn stops_racing_a_rearm_always_end_closed() {
        for _ in 0..500 {
            let gate = Arc::new(Gate::new_closed());
            let closure = gate.closure().unwrap();
            let barrier = Arc::new(Barrier::new(3));
            let racer = |job: fn(&Gate, Closure)| {
                let (gate, barrier) = (Arc::clone(&gate), Arc::clone(&barrier));
                thread::spawn(move || {
                    barrier.wait();
                    job(&gate, closure);
                })
            };
            let racers = [
                racer(|gate, _| gate.close()),
                racer(|gate, _| gate.close()),
                // The rearm may win before the stops, and must not after the first of them.
                racer(|gate, closure| {
                    let _ = gate.open(closure);
                }),
            ];
            assert!(
                racers
                    .into_iter()
                    .map(thread::JoinHandle::join)
                    .all(|joined| joined.is_ok())
            );
            assert!(gate.is_closed());
        }
    }
}
