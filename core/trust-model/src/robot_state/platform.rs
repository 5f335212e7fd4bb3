//! What kind of machine a robot is.

use std::fmt;
use std::str::FromStr;

/// What kind of machine a robot is: which adapter drives it, and what class of rules holds for it.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlatformType {
    /// Any other.
    Custom,
    /// Boston Dynamics Spot.
    BostonDynamicsSpot,
    /// A robot on ROS 2.
    Ros2,
    /// A DJI drone.
    Dji,
    /// Ghost Robotics Vision 60.
    GhostRoboticsVision60,
    /// Anduril Ghost.
    AndurilGhost,
    /// A vehicle with the PX4 autopilot.
    Px4,
    /// A Universal Robots arm.
    UniversalRobots,
}

/// A name that no kind of machine has.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("there is no platform {0:?}; there are: {list}", list = PlatformType::ALL.map(PlatformType::name).join(", "))]
pub struct PlatformParseError(pub String);

impl PlatformType {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Custom,
        Self::BostonDynamicsSpot,
        Self::Ros2,
        Self::Dji,
        Self::GhostRoboticsVision60,
        Self::AndurilGhost,
        Self::Px4,
        Self::UniversalRobots,
    ];

    /// The number used on the wire.
    pub const fn id(self) -> u8 {
        match self {
            Self::Custom => 0,
            Self::BostonDynamicsSpot => 1,
            Self::Ros2 => 2,
            Self::Dji => 3,
            Self::GhostRoboticsVision60 => 4,
            Self::AndurilGhost => 5,
            Self::Px4 => 6,
            Self::UniversalRobots => 7,
        }
    }

    /// The kind of a number on the wire.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|platform| platform.id() == id)
    }

    /// The name for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Custom => "custom",
            Self::BostonDynamicsSpot => "boston-dynamics-spot",
            Self::Ros2 => "ros2",
            Self::Dji => "dji",
            Self::GhostRoboticsVision60 => "ghost-robotics-vision60",
            Self::AndurilGhost => "anduril-ghost",
            Self::Px4 => "px4",
            Self::UniversalRobots => "universal-robots",
        }
    }
}

impl fmt::Display for PlatformType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PlatformType {
    type Err = PlatformParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|platform| platform.name() == text);
        found.ok_or_else(|| PlatformParseError(text.to_owned()))
    }
}
