//! Classification levels and the profile of each (DESIGN §4).

use std::fmt;
use std::str::FromStr;

use alcub3_crypto::{HashAlg, Suite};

use crate::HardwareTier;

/// A classification level, lowest first.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Level {
    /// Released to anyone.
    Unclassified,
    /// Controlled unclassified information.
    Cui,
    /// CONFIDENTIAL.
    Confidential,
    /// SECRET.
    Secret,
    /// TOP_SECRET.
    TopSecret,
}

impl Level {
    /// All levels, lowest first.
    pub const ALL: [Self; 5] = [
        Self::Unclassified,
        Self::Cui,
        Self::Confidential,
        Self::Secret,
        Self::TopSecret,
    ];

    /// The number used on the wire and in the maps, 0 to 4.
    pub const fn id(self) -> u8 {
        match self {
            Self::Unclassified => 0,
            Self::Cui => 1,
            Self::Confidential => 2,
            Self::Secret => 3,
            Self::TopSecret => 4,
        }
    }

    /// The level of a number on the wire.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.id() == id)
    }

    /// The name for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unclassified => "UNCLASSIFIED",
            Self::Cui => "CUI",
            Self::Confidential => "CONFIDENTIAL",
            Self::Secret => "SECRET",
            Self::TopSecret => "TOP_SECRET",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A word that names no level.
#[derive(Debug, thiserror::Error, Eq, PartialEq)]
#[error("{0:?} is no level: use UNCLASSIFIED, CUI, CONFIDENTIAL, SECRET or TOP_SECRET")]
pub struct LevelParseError(String);

impl FromStr for Level {
    type Err = LevelParseError;

    fn from_str(text: &str) -> Result<Self, LevelParseError> {
        let found = Self::ALL.into_iter().find(|level| level.name() == text);
        found.ok_or_else(|| LevelParseError(text.to_owned()))
    }
}

impl TryFrom<String> for Level {
    type Error = LevelParseError;

    fn try_from(text: String) -> Result<Self, LevelParseError> {
        text.parse()
    }
}

impl From<Level> for String {
    fn from(level: Level) -> Self {
        level.name().to_owned()
    }
}

/// The floors and limits of one level. A robot that cannot meet a floor is refused for the level.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct LevelProfile {
    /// The level this is the profile of.
    pub level: Level,
    /// The weakest signature suite admitted.
    pub suite_floor: Suite,
    /// The longest a mission may last, in milliseconds.
    pub max_mission_ms: u64,
    /// How old a verifier's judgement may be when a lease or a mission is granted on it, in milliseconds.
    pub attestation_freshness_ms: u64,
    /// How long an attestation lease lasts, in milliseconds.
    pub lease_ms: u64,
    /// How many persons must approve a mission's end being moved. A rearm always takes two.
    pub persons: u8,
    /// How many TPM resets a mission key survives (N of DESIGN §4).
    pub allowed_resets: u32,
    /// The weakest kind of TPM admitted.
    pub min_tier: HardwareTier,
    /// Whether mission keys are bound to the boot PCRs as well.
    pub boot_pcrs: bool,
}

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// The profile of a level. Production values: none admits a simulator (see [`crate::danger`]).
pub const fn profile(level: Level) -> LevelProfile {
    match level {
        Level::Unclassified => row(
            level,
            24 * HOUR_MS,
            5 * MINUTE_MS,
            10 * MINUTE_MS,
            1,
            3,
            HardwareTier::Virtual,
        ),
        Level::Cui => row(
            level,
            12 * HOUR_MS,
            2 * MINUTE_MS,
            5 * MINUTE_MS,
            1,
            2,
            HardwareTier::Firmware,
        ),
        Level::Confidential => row(
            level,
            8 * HOUR_MS,
            MINUTE_MS,
            2 * MINUTE_MS,
            1,
            1,
            HardwareTier::Discrete,
        ),
        Level::Secret => row(
            level,
            4 * HOUR_MS,
            30_000,
            MINUTE_MS,
            2,
            0,
            HardwareTier::Discrete,
        ),
        Level::TopSecret => row(level, 2 * HOUR_MS, 15_000, 30_000, 2, 0, HardwareTier::Discrete),
    }
}

/// One row of the table; suite floor and boot PCRs follow from the level being CONFIDENTIAL or above.
const fn row(
    level: Level,
    max_mission_ms: u64,
    attestation_freshness_ms: u64,
    lease_ms: u64,
    persons: u8,
    allowed_resets: u32,
    min_tier: HardwareTier,
) -> LevelProfile {
    let high = level.id() >= Level::Confidential.id();
    let suite_floor = if high {
        Suite::EcdsaP384Sha384
    } else {
        Suite::EcdsaP256Sha256
    };
    LevelProfile {
        level,
        suite_floor,
        max_mission_ms,
        attestation_freshness_ms,
        lease_ms,
        persons,
        allowed_resets,
        min_tier,
        boot_pcrs: high,
    }
}

/// What of a robot, an authority or a message is below a level's floor.
#[derive(Copy, Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum BelowFloor {
    /// A key or a suite.
    #[error("{}: {level} asks for {needed:?} or stronger, and it is {found:?}", self.code())]
    Suite {
        /// The level.
        level: Level,
        /// The floor.
        needed: Suite,
        /// What there is.
        found: Suite,
    },
    /// The kind of TPM.
    #[error("{}: {level} asks for a TPM that is at least {needed}, and it is {found}", self.code())]
    Tier {
        /// The level.
        level: Level,
        /// The floor.
        needed: HardwareTier,
        /// What there is.
        found: HardwareTier,
    },
}

impl BelowFloor {
    /// The reason code, stable across releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Suite { .. } => "suite-too-weak",
            Self::Tier { .. } => "tpm-kind-too-weak",
        }
    }
}

impl LevelProfile {
    /// The weakest hash admitted: that of the suite floor.
    pub const fn hash_floor(&self) -> HashAlg {
        self.suite_floor.hash()
    }

    /// Whether a suite, signature or MAC, is at or above the floor (by the size of its hash).
    pub fn admits_suite(&self, suite: Suite) -> bool {
        suite.hash().size() >= self.suite_floor.hash().size()
    }

    /// Whether a kind of TPM is at or above the floor.
    pub fn admits_tier(&self, tier: HardwareTier) -> bool {
        tier >= self.min_tier
    }

    /// That a suite is at or above the floor.
    ///
    /// # Errors
    /// [`BelowFloor::Suite`].
    pub fn check_suite(&self, suite: Suite) -> Result<(), BelowFloor> {
        if self.admits_suite(suite) {
            return Ok(());
        }
        Err(BelowFloor::Suite {
            level: self.level,
            needed: self.suite_floor,
            found: suite,
        })
    }

    /// That a robot's keys and its kind of TPM are at or above the floor.
    ///
    /// # Errors
    /// [`BelowFloor`] says which is not.
    pub fn check_robot(&self, keys: Suite, tier: HardwareTier) -> Result<(), BelowFloor> {
        self.check_suite(keys)?;
        self.check_tier(tier)
    }

    /// That a kind of TPM is at or above the floor.
    ///
    /// # Errors
    /// [`BelowFloor::Tier`].
    pub fn check_tier(&self, tier: HardwareTier) -> Result<(), BelowFloor> {
        if self.admits_tier(tier) {
            return Ok(());
        }
        Err(BelowFloor::Tier {
            level: self.level,
            needed: self.min_tier,
            found: tier,
        })
    }
}
