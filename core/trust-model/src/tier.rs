//! What kind of root of trust a robot has, in order of what an attacker must do to break it.

use std::fmt;
use std::str::FromStr;

/// The kind of root of trust behind a robot, a TPM or DICE, weakest first.
///
/// A virtual TPM ranks below a firmware one: its host's operator holds its state. Evidence of a
/// [`HardwareTier::Simulator`] says so, and no production profile admits it.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HardwareTier {
    /// No root of trust.
    None,
    /// A software TPM for tests and demonstrations.
    Simulator,
    /// A TPM that a hypervisor provides.
    Virtual,
    /// A TPM in the processor's trusted environment, or DICE in the processor's own boot ROM.
    Firmware,
    /// A separate chip.
    Discrete,
}

impl HardwareTier {
    /// All tiers, weakest first.
    pub const ALL: [Self; 5] = [
        Self::None,
        Self::Simulator,
        Self::Virtual,
        Self::Firmware,
        Self::Discrete,
    ];

    /// The number used on the wire.
    pub const fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Simulator => 1,
            Self::Virtual => 2,
            Self::Firmware => 3,
            Self::Discrete => 4,
        }
    }

    /// The tier of a number on the wire.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.id() == id)
    }

    /// The name for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Simulator => "simulator",
            Self::Virtual => "virtual",
            Self::Firmware => "firmware",
            Self::Discrete => "discrete",
        }
    }
}

impl fmt::Display for HardwareTier {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A word that names no hardware tier.
#[derive(Debug, thiserror::Error, Eq, PartialEq)]
#[error("{0:?} is no hardware tier: use none, simulator, virtual, firmware or discrete")]
pub struct TierParseError(String);

impl FromStr for HardwareTier {
    type Err = TierParseError;

    fn from_str(text: &str) -> Result<Self, TierParseError> {
        let found = Self::ALL.into_iter().find(|tier| tier.name() == text);
        found.ok_or_else(|| TierParseError(text.to_owned()))
    }
}

impl TryFrom<String> for HardwareTier {
    type Error = TierParseError;

    fn try_from(text: String) -> Result<Self, TierParseError> {
        text.parse()
    }
}

impl From<HardwareTier> for String {
    fn from(tier: HardwareTier) -> Self {
        tier.name().to_owned()
    }
}
