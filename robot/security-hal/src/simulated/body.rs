//! The robot's body: where it is, how it moves, what is left in its battery, what is wrong with it. In steps of 10 ms.

use alcub3_trust_model::{FaultSeverity, Position, ReportedFault};

use super::SimulatedPlan;
use super::draw::Draw;
use crate::platform::StopLevel;

/// Length of a step.
pub(super) const STEP_MS: u64 = 10;
const STEPS_PER_SECOND: u64 = 100;
/// Micrometres in a step at one millimetre per second.
const UM_PER_STEP: i64 = 10;
const UM_PER_MM: i64 = 1000;
/// Micrometres to 10⁻⁷ degrees of latitude.
const NORTH_UM_PER_E7: i64 = 11_132;
/// How fast the speed changes, in millimetres per second and step: on command, braking, rolling out without power.
const ACCELERATION: i64 = 20;
const BRAKING: i64 = 40;
const ROLLING_OUT: i64 = 10;
/// A full battery, in the unit of a step's use: four hours at rest, an hour at two metres per second.
const FULL: u64 = 1_000_000_000;
const USE_AT_REST: u64 = 694;
/// Below this charge it says so, in thousandths.
const LOW_PERMILLE: u16 = 100;
/// What it may have, with how bad it is.
const FAULTS: [(&str, &str, FaultSeverity); 3] = [
    ("battery", "cell-imbalance", FaultSeverity::Note),
    ("imu", "drift", FaultSeverity::Degraded),
    ("drive", "overheated", FaultSeverity::Critical),
];

/// East, north, up.
pub(super) type Vector = [i64; 3];

/// What it is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Goal {
    /// To be at rest, in this way.
    Rest(StopLevel),
    /// To move so, in millimetres per second, until a step.
    Velocity(Vector, u64),
    /// To go there, in micrometres from the origin, at most so fast.
    Point(Vector, i64),
}

#[derive(Clone, Debug)]
pub(super) struct Body {
    plan: SimulatedPlan,
    draw: Draw,
    /// How many steps it has lived.
    pub(super) steps: u64,
    at_um: Vector,
    velocity: Vector,
    goal: Goal,
    charge: u64,
    faults: Vec<ReportedFault>,
}

impl Body {
    pub(super) fn new(plan: SimulatedPlan) -> Self {
        let draw = Draw::new(plan.seed);
        let charge = FULL / 1000 * u64::from(plan.battery_permille.min(1000));
        Self {
            plan,
            draw,
            steps: 0,
            at_um: [0; 3],
            velocity: [0; 3],
            goal: Goal::Rest(StopLevel::ControlledOff),
            charge,
            faults: Vec::new(),
        }
    }

    /// Lives up to a step. A stop that is in force from a step on rules from there.
    pub(super) fn live_to(&mut self, step: u64, stop: Option<(u64, StopLevel)>) {
        while self.steps < step {
            if let Some((from, level)) = stop
                && self.steps >= from
            {
                self.goal = Goal::Rest(level);
            }
            self.step();
        }
    }

    pub(super) fn set_goal(&mut self, goal: Goal) {
        self.goal = goal;
    }

    fn step(&mut self) {
        self.steps = self.steps.saturating_add(1);
        self.wear();
        if self.charge == 0 || self.is_broken() {
            self.goal = Goal::Rest(StopLevel::ControlledOff);
        }
        let (wanted, change) = self.wanted();
        self.velocity = towards(self.velocity, wanted, change);
        if self.leaves_fence() {
            self.report("navigation", "fence-reached", FaultSeverity::Note);
            self.goal = Goal::Rest(StopLevel::Hold);
            self.velocity = [0; 3];
        }
        for (at, velocity) in self.at_um.iter_mut().zip(self.velocity) {
            *at = at.saturating_add(velocity * UM_PER_STEP);
        }
        self.use_charge();
    }

    /// The velocity that the goal asks for now, and how fast to get there.
    fn wanted(&mut self) -> (Vector, i64) {
        match self.goal.clone() {
            Goal::Rest(StopLevel::PowerOff) => ([0; 3], ROLLING_OUT),
            Goal::Rest(StopLevel::Hold | StopLevel::ControlledOff) => ([0; 3], BRAKING),
            Goal::Velocity(_, until) if self.steps > until => {
                self.goal = Goal::Rest(StopLevel::Hold);
                ([0; 3], BRAKING)
            }
            Goal::Velocity(velocity, _) => (velocity, ACCELERATION),
            Goal::Point(there, speed) => self.wanted_towards(there, speed),
        }
    }

    /// Along each axis as fast as it may and can still brake; there, it holds.
    fn wanted_towards(&mut self, there: Vector, speed: i64) -> (Vector, i64) {
        let mut wanted = [0; 3];
        for ((want, to), at) in wanted.iter_mut().zip(there).zip(self.at_um) {
            let way_um = to.saturating_sub(at);
            // A hundredth of what is left in each step: from the greatest speed that takes less than braking does.
            *want = (way_um / (UM_PER_STEP * 100)).clamp(-speed, speed);
        }
        if wanted == [0; 3] {
            self.goal = Goal::Rest(StopLevel::Hold);
        }
        (wanted, BRAKING)
    }

    /// Whether the next step would leave the fence.
    fn leaves_fence(&self) -> bool {
        let next: Vec<i64> = self
            .at_um
            .iter()
            .zip(self.velocity)
            .map(|(at, velocity)| at.saturating_add(velocity * UM_PER_STEP))
            .collect();
        let moves_out = |at: i64, next: i64, least: i64, most: i64| {
            (next > most && next > at) || (next < least && next < at)
        };
        let fence = self.plan.fence_mm * UM_PER_MM;
        let bounds = [
            (-fence, fence),
            (-fence, fence),
            (0, self.plan.ceiling_mm * UM_PER_MM),
        ];
        let axes = self.at_um.iter().zip(next).zip(bounds);
        axes.into_iter()
            .any(|((at, next), (least, most))| moves_out(*at, next, least, most))
    }

    /// Whether a place is inside the fence.
    pub(super) fn is_inside(&self, place_um: Vector) -> bool {
        let [east, north, up] = place_um;
        let fence = self.plan.fence_mm * UM_PER_MM;
        let flat = east.abs() <= fence && north.abs() <= fence;
        flat && (0..=self.plan.ceiling_mm * UM_PER_MM).contains(&up)
    }

    /// Once in a second, perhaps a fault.
    fn wear(&mut self) {
        let Some(seconds) = self.plan.seconds_per_fault else {
            return;
        };
        if !self.steps.is_multiple_of(STEPS_PER_SECOND) || !self.draw.draw().is_multiple_of(seconds.max(1)) {
            return;
        }
        let which = usize::try_from(self.draw.draw() % 3).unwrap_or_default();
        if let Some((subsystem, code, severity)) = FAULTS.get(which) {
            self.report(subsystem, code, *severity);
        }
    }

    fn report(&mut self, subsystem: &str, code: &str, severity: FaultSeverity) {
        if self.faults.iter().all(|known| known.code != code) {
            self.faults.push(ReportedFault {
                subsystem: subsystem.to_owned(),
                code: code.to_owned(),
                severity,
            });
        }
    }

    pub(super) fn clear_faults(&mut self) {
        self.faults.clear();
    }

    /// Whether it must not work.
    pub(super) fn is_broken(&self) -> bool {
        let critical = |fault: &ReportedFault| fault.severity == FaultSeverity::Critical;
        self.faults.iter().any(critical)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.charge == 0
    }

    fn use_charge(&mut self) {
        let used = USE_AT_REST.saturating_add(self.speed().into());
        self.charge = self.charge.saturating_sub(used);
        if self.battery_permille() < LOW_PERMILLE {
            self.report("battery", "low", FaultSeverity::Degraded);
        }
    }

    pub(super) fn battery_permille(&self) -> u16 {
        u16::try_from(self.charge.saturating_mul(1000) / FULL).unwrap_or(1000)
    }

    /// In millimetres per second.
    pub(super) fn speed(&self) -> u32 {
        u32::try_from(length(self.velocity)).unwrap_or(u32::MAX)
    }

    pub(super) fn faults(&self) -> &[ReportedFault] {
        &self.faults
    }

    pub(super) fn position(&self) -> Position {
        let [east, north, up] = self.at_um;
        let origin = self.plan.origin;
        Position {
            latitude_e7_deg: origin.latitude_e7_deg.saturating_add(north / NORTH_UM_PER_E7),
            longitude_e7_deg: origin
                .longitude_e7_deg
                .saturating_add(east / self.plan.east_um_per_e7_deg.max(1)),
            altitude_mm: origin.altitude_mm.saturating_add(up / UM_PER_MM),
        }
    }

    /// A place on the globe, in micrometres from the origin; at the robot's own height where none is given.
    pub(super) fn place(
        &self,
        latitude_e7_deg: i64,
        longitude_e7_deg: i64,
        altitude_mm: Option<i64>,
    ) -> Vector {
        let origin = self.plan.origin;
        let [_, _, height] = self.at_um;
        let up = altitude_mm.map(|altitude| {
            altitude
                .saturating_sub(origin.altitude_mm)
                .saturating_mul(UM_PER_MM)
        });
        let east = longitude_e7_deg.saturating_sub(origin.longitude_e7_deg);
        let north = latitude_e7_deg.saturating_sub(origin.latitude_e7_deg);
        [
            east.saturating_mul(self.plan.east_um_per_e7_deg),
            north.saturating_mul(NORTH_UM_PER_E7),
            up.unwrap_or(height),
        ]
    }
}

/// The length of a velocity, rounded down.
pub(super) fn length(vector: Vector) -> u64 {
    let squares = vector.map(|part| part.unsigned_abs().saturating_mul(part.unsigned_abs()));
    squares
        .iter()
        .fold(0u64, |sum, part| sum.saturating_add(*part))
        .isqrt()
}

fn towards(from: Vector, to: Vector, change: i64) -> Vector {
    let mut next = from;
    for (value, wanted) in next.iter_mut().zip(to) {
        *value = value.saturating_add(wanted.saturating_sub(*value).clamp(-change, change));
    }
    next
}
