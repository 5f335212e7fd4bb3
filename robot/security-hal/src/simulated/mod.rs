//! A simulated robot: small, deterministic, with a battery, faults, limits and calibrated sensors.
//!
//! It moves in steps of 10 ms of whatever clock it is given; in whole numbers, so that one seed and one course of commands give
//! the same robot everywhere. It implements both halves of an adapter, in process and behind the socket alike. It says in its
//! model and its firmware that it is simulated.

mod adapter;
mod body;
mod draw;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alcub3_trust_model::Position;

pub use adapter::{SimulatedBrake, SimulatedDriver, simulated};

use crate::clock::Clock;

/// What a simulated robot is to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SimulatedPlan {
    /// What its faults are drawn from.
    pub seed: u64,
    /// Its serial number.
    pub serial: String,
    /// Where it begins.
    pub origin: Position,
    /// Micrometres to 10⁻⁷ degrees of longitude where it begins; of latitude it is 11 132.
    pub east_um_per_e7_deg: i64,
    /// How far it may go from where it began, to each side, in millimetres.
    pub fence_mm: i64,
    /// How high it may go above where it began, in millimetres; 0 for what stays on the ground.
    pub ceiling_mm: i64,
    /// Its greatest speed, in millimetres per second.
    pub max_speed_mm_per_s: u32,
    /// Seconds between two faults, on average; none where it has none.
    pub seconds_per_fault: Option<u64>,
    /// The charge that it begins with, in thousandths of full.
    pub battery_permille: u16,
}

impl SimulatedPlan {
    /// A rover without faults, at 47° north.
    pub fn rover(seed: u64) -> Self {
        Self {
            seed,
            serial: format!("SIM-{seed:08}"),
            origin: Position {
                latitude_e7_deg: 470_000_000,
                longitude_e7_deg: 80_000_000,
                altitude_mm: 450_000,
            },
            east_um_per_e7_deg: 7_592,
            fence_mm: 100_000,
            ceiling_mm: 0,
            max_speed_mm_per_s: 2_000,
            seconds_per_fault: None,
            battery_permille: 1000,
        }
    }
}

/// A clock that stands until it is moved: virtual time. Both of its times move together.
#[derive(Clone, Debug, Default)]
pub struct VirtualClock {
    ns: Arc<AtomicU64>,
    utc_at_start_ms: u64,
}

const NS_PER_MS: u64 = 1_000_000;

impl VirtualClock {
    /// A clock that stands at 0, and in wall time at this.
    pub fn new(utc_at_start_ms: u64) -> Self {
        Self {
            ns: Arc::default(),
            utc_at_start_ms,
        }
    }

    /// Moves it, for all its clones.
    pub fn advance_ms(&self, ms: u64) {
        self.ns.fetch_add(ms.saturating_mul(NS_PER_MS), Ordering::SeqCst);
    }
}

impl Clock for VirtualClock {
    fn monotonic_ns(&self) -> u64 {
        self.ns.load(Ordering::SeqCst)
    }

    fn utc_ms(&self) -> Option<u64> {
        Some(
            self.utc_at_start_ms
                .saturating_add(self.monotonic_ns() / NS_PER_MS),
        )
    }
}
