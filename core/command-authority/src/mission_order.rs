//! Commands that the robot's own gate obeys: a mission is suspended, and resumed.

/// What a command orders of its mission.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum MissionOrder {
    /// No command of the mission is accepted but the one that resumes it.
    Suspend,
    /// Commands are accepted again.
    Resume,
}

impl MissionOrder {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Suspend, Self::Resume];

    /// The order that a command's name is; none where it is a command for the platform alone.
    pub fn of(command: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.name() == command)
    }

    /// The command's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Suspend => "mission.suspend",
            Self::Resume => "mission.resume",
        }
    }

    /// Whether the mission is suspended from then on.
    pub const fn suspends(self) -> bool {
        matches!(self, Self::Suspend)
    }
}
