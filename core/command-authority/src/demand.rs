//! What a command's arguments ask of the robot, in quantities of known meaning. It is read once, and held against every
//! limit there is.

use crate::arguments::ArgumentsRef;
use crate::{Reason, ValueRef};

/// The arguments whose meaning limits know. Quantities are integers whose unit is in the name.
pub(crate) const KNOWN: [&str; 12] = [
    "speed_mm_per_s",
    "velocity_x_mm_per_s",
    "velocity_y_mm_per_s",
    "velocity_z_mm_per_s",
    "turn_mdeg_per_s",
    "duration_ms",
    "latitude_e7_deg",
    "longitude_e7_deg",
    "altitude_mm",
    "heading_mdeg",
    "force_mn",
    "tool",
];

/// What is asked, as far as the command says.
#[derive(Debug, Default)]
pub(crate) struct Demand<'a> {
    /// The magnitude of the speed, in millimetres per second.
    pub(crate) speed_mm_per_s: Option<u64>,
    /// The square of the velocity's magnitude, in millimetres per second.
    pub(crate) velocity_squared: Option<u128>,
    /// The magnitude of the rate of turn, in thousandths of a degree per second.
    pub(crate) turn_mdeg_per_s: Option<u64>,
    /// In milliseconds.
    pub(crate) duration_ms: Option<u64>,
    /// Where to, in 10⁻⁷ degrees.
    pub(crate) latitude_e7_deg: Option<i64>,
    /// Where to, in 10⁻⁷ degrees.
    pub(crate) longitude_e7_deg: Option<i64>,
    /// Above the ellipsoid, in millimetres.
    pub(crate) altitude_mm: Option<i64>,
    /// The magnitude of the force, in thousandths of a newton.
    pub(crate) force_mn: Option<u64>,
    /// The tool.
    pub(crate) tool: Option<&'a str>,
}

impl<'a> Demand<'a> {
    /// Reads the arguments. One of unknown meaning is for `other` to judge: what nobody can judge could carry a speed under
    /// another name.
    pub(crate) fn read(
        arguments: &ArgumentsRef<'a>,
        other: impl Fn(&str, ValueRef<'a>) -> Result<(), Reason>,
    ) -> Result<Self, Reason> {
        let mut demand = Self::default();
        for (name, value) in arguments.iter() {
            if !demand.take(name, value)? {
                other(name, value)?;
            }
        }
        Ok(demand)
    }

    /// Takes an argument of known meaning; false for another.
    fn take(&mut self, name: &str, value: ValueRef<'a>) -> Result<bool, Reason> {
        if !KNOWN.contains(&name) {
            return Ok(false);
        }
        match (name, value) {
            ("tool", ValueRef::Text(tool)) => self.tool = Some(tool),
            ("tool", _) => return Err(Reason::SafetyArgument),
            (_, ValueRef::Int(value)) => self.take_quantity(name, value),
            _ => return Err(Reason::SafetyArgument),
        }
        Ok(true)
    }

    fn take_quantity(&mut self, name: &str, value: i64) {
        let magnitude = Some(value.unsigned_abs());
        match name {
            "speed_mm_per_s" => self.speed_mm_per_s = magnitude,
            "velocity_x_mm_per_s" | "velocity_y_mm_per_s" | "velocity_z_mm_per_s" => {
                let part = u128::from(value.unsigned_abs());
                let before = self.velocity_squared.unwrap_or_default();
                self.velocity_squared = Some(before.saturating_add(part.saturating_mul(part)));
            }
            "turn_mdeg_per_s" => self.turn_mdeg_per_s = magnitude,
            "duration_ms" => self.duration_ms = magnitude,
            "latitude_e7_deg" => self.latitude_e7_deg = Some(value),
            "longitude_e7_deg" => self.longitude_e7_deg = Some(value),
            "altitude_mm" => self.altitude_mm = Some(value),
            "force_mn" => self.force_mn = magnitude,
            // Which way it looks moves nothing.
            _ => {}
        }
    }

    /// Whether it stays within a greatest speed, in whatever way it names one.
    pub(crate) fn is_within_speed(&self, most: u32) -> bool {
        let squared = u128::from(most).saturating_mul(u128::from(most));
        within(self.speed_mm_per_s, most) && self.velocity_squared.is_none_or(|speed| speed <= squared)
    }

    /// Where it sends the robot, latitude and longitude; half a position would be completed by something that nobody signed.
    pub(crate) const fn position(&self) -> Result<Option<(i64, i64)>, HalfPosition> {
        match (self.latitude_e7_deg, self.longitude_e7_deg) {
            (Some(latitude), Some(longitude)) => Ok(Some((latitude, longitude))),
            (None, None) => Ok(None),
            _ => Err(HalfPosition),
        }
    }
}

/// A latitude without a longitude, or a longitude without a latitude.
#[derive(Debug)]
pub(crate) struct HalfPosition;

/// Whether a magnitude, where there is one, is not above a limit.
pub(crate) fn within(magnitude: Option<u64>, most: u32) -> bool {
    magnitude.is_none_or(|value| value <= u64::from(most))
}
