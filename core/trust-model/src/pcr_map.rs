//! Which PCR means what (DESIGN §4).

/// PCRs of the firmware and boot loader, read and judged, never extended by us.
pub const BOOT: std::ops::RangeInclusive<u8> = 0..=9;
/// PCRs that a mission key is bound to where the profile asks: the firmware's, 0 to 7. The boot loader's 8 and 9
/// differ between machines of one fleet for harmless reasons and are appraised instead.
pub const MISSION_BOOT: std::ops::RangeInclusive<u8> = 0..=7;
/// The PCR that IMA extends.
pub const IMA: u8 = 10;
/// The number of PCRs of a PC Client TPM.
pub const COUNT: u8 = 24;

/// The three PCRs of our own. [`PcrMap::new`] is the only way to make one, so each is of the right sort.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct PcrMap {
    lockdown: u8,
    retire: u8,
    mission: u8,
}

/// Why a PCR map was refused.
#[derive(Copy, Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum PcrMapError {
    /// The lockdown or retire PCR is one whose extends do not end armed policy sessions, or that can be reset.
    #[error(
        "PCR {0} cannot be the {1} PCR: it must count and not be resettable; choose one of 8 to 15 but 10"
    )]
    NotCounting(u8, &'static str),
    /// The mission PCR must be resettable by the robot.
    #[error("PCR {0} cannot be the mission PCR: only 16 and 23 can be reset from locality 0")]
    NotResettable(u8),
    /// One PCR was given two meanings.
    #[error("PCR {0} is named twice in the PCR map")]
    Twice(u8),
}

impl PcrMap {
    /// The map in use unless configured: lockdown 13, retire 12, mission 23.
    pub const DEFAULT: Self = Self {
        lockdown: 13,
        retire: 12,
        mission: 23,
    };

    /// A map, checked: lockdown and retire count and cannot be reset (8, 9, 11 to 15); mission is 16 or 23.
    ///
    /// # Errors
    /// [`PcrMapError`] says which PCR is of the wrong sort or named twice.
    pub fn new(lockdown: u8, retire: u8, mission: u8) -> Result<Self, PcrMapError> {
        for (pcr, what) in [(lockdown, "lockdown"), (retire, "retire")] {
            if !matches!(pcr, 8 | 9 | 11..=15) {
                return Err(PcrMapError::NotCounting(pcr, what));
            }
        }
        if lockdown == retire {
            return Err(PcrMapError::Twice(lockdown));
        }
        if !matches!(mission, 16 | 23) {
            return Err(PcrMapError::NotResettable(mission));
        }
        Ok(Self {
            lockdown,
            retire,
            mission,
        })
    }

    /// Extended only by a stop of the whole robot.
    pub const fn lockdown(&self) -> u8 {
        self.lockdown
    }

    /// Extended when a mission ends; selected by no policy.
    pub const fn retire(&self) -> u8 {
        self.retire
    }

    /// Holds the digest over the active missions; informative only.
    pub const fn mission(&self) -> u8 {
        self.mission
    }
}

impl Default for PcrMap {
    fn default() -> Self {
        Self::DEFAULT
    }
}
