//! How a platform stops: three levels, in the words of IEC 60204-1 §9.2.2, and which one a stop asks for.
//!
//! The words order what a platform does; they say nothing about how far it can be relied on. No level is a certified emergency
//! stop (ISO 13850), and no platform becomes one by an adapter.

use crate::order::{StopOrder, StopScope};

/// A way of stopping, from the mildest to the most severe.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopLevel {
    /// Comes to rest under control and stays under power, as a category 2 stop does: a vehicle brakes, an arm holds, an aircraft
    /// hovers.
    Hold,
    /// Comes to rest under control and then takes the power off its drives, as a category 1 stop does: a vehicle brakes and sets
    /// its brakes, a legged robot sits down, an aircraft lands and disarms.
    ControlledOff,
    /// Takes the power off its drives at once, as a category 0 stop does: what moves rolls out, what stands may fall, an aircraft
    /// falls. Only a platform that is safe that way says that it has this level.
    PowerOff,
}

impl StopLevel {
    /// All levels, the mildest first.
    pub const ALL: [Self; 3] = [Self::Hold, Self::ControlledOff, Self::PowerOff];

    /// The name for people, JSON and the adapter's socket.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::ControlledOff => "controlled-off",
            Self::PowerOff => "power-off",
        }
    }
}

impl std::fmt::Display for StopLevel {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name())
    }
}

/// Which level a stop asks for, by its scope.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct StopPlan {
    /// For a stop of the whole robot.
    pub robot: StopLevel,
    /// For a stop of one level or mission, after which the robot may go on with others.
    pub part: StopLevel,
}

impl Default for StopPlan {
    fn default() -> Self {
        Self {
            robot: StopLevel::ControlledOff,
            part: StopLevel::Hold,
        }
    }
}

impl StopPlan {
    /// The level that an order asks of a platform that has these: the planned one; else the next more severe; else the most
    /// severe that it has. Where it is not known what the platform has, the planned one.
    pub fn level(&self, order: &StopOrder, implemented: &[StopLevel]) -> StopLevel {
        let planned = match order.scope {
            StopScope::Robot => self.robot,
            StopScope::Level(_) | StopScope::Mission(..) => self.part,
        };
        let severe_enough = implemented.iter().filter(|level| **level >= planned).min();
        let best = severe_enough.or_else(|| implemented.iter().max());
        best.copied().unwrap_or(planned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alcub3_trust_model::StopCause;
    use alcub3_trust_model::{Level, RobotId, StopId};

    fn order(scope: StopScope) -> StopOrder {
        StopOrder {
            stop: StopId::new([7; 16]),
            robot: RobotId::new("rover-1").unwrap(),
            scope,
            cause: StopCause::ALL[0],
            called_utc_ms: 0,
        }
    }

    #[test]
    fn a_stop_asks_for_the_planned_level_or_a_more_severe_one() {
        use StopLevel::{ControlledOff, Hold, PowerOff};
        let (plan, robot) = (StopPlan::default(), order(StopScope::Robot));
        let part = order(StopScope::Level(Level::Secret));
        assert_eq!(plan.level(&robot, &StopLevel::ALL), ControlledOff);
        assert_eq!(plan.level(&part, &StopLevel::ALL), Hold);
        assert_eq!(plan.level(&part, &[PowerOff]), PowerOff);
        assert_eq!(plan.level(&robot, &[Hold]), Hold);
        assert_eq!(plan.level(&robot, &[PowerOff, Hold]), PowerOff);
        assert_eq!(plan.level(&robot, &[]), ControlledOff);
    }
}
