//! The kinds of root of trust, and what a robot of each is held to.

use alcub3_attestation::{dice, psa};
use alcub3_crypto::{Suite, VerifyingKey};
use alcub3_trust_model::HardwareTier;
use core::fmt;

/// A kind of root of trust that is no TPM.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum RootKind {
    /// None: nothing that the robot says is proven.
    None,
    /// DICE.
    Dice,
    /// Arm's PSA.
    Psa,
}

impl RootKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::None, Self::Dice, Self::Psa];

    /// The number used on the wire.
    pub const fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Dice => 1,
            Self::Psa => 2,
        }
    }

    /// The kind of a number on the wire.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.id() == id)
    }

    /// The name for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Dice => "dice",
            Self::Psa => "psa",
        }
    }

    /// Whether a robot with this kind may be of that tier: one without a root of trust is of none, and no other is. A DICE
    /// chain and a PSA token never come of a hypervisor's TPM.
    pub const fn admits(self, tier: HardwareTier) -> bool {
        match self {
            Self::None => matches!(tier, HardwareTier::None),
            Self::Dice | Self::Psa => matches!(
                tier,
                HardwareTier::Simulator | HardwareTier::Firmware | HardwareTier::Discrete
            ),
        }
    }
}

impl fmt::Display for RootKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// What a robot with a DICE root of trust is held to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DiceRoot {
    /// The device's own key: of its UDS or DeviceID certificate.
    pub device_key: VerifyingKey,
    /// The manufacturer's root keys. Where there are none, the device's own key begins the chain.
    pub roots: Vec<VerifyingKey>,
    /// What each measured layer must be.
    pub references: dice::References,
}

/// What a robot with a PSA root of trust is held to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PsaRoot {
    /// The instance's attestation key (IAK).
    pub attestation_key: VerifyingKey,
    /// The identifier that its tokens carry.
    pub instance: psa::InstanceId,
    /// What every robot of its kind must be.
    pub references: psa::PlatformReferences,
}

/// A robot's root of trust as it was enrolled.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RootOfTrust {
    /// It has none.
    None,
    /// DICE.
    Dice(Box<DiceRoot>),
    /// PSA.
    Psa(Box<PsaRoot>),
}

impl RootOfTrust {
    /// Its kind.
    pub const fn kind(&self) -> RootKind {
        match self {
            Self::None => RootKind::None,
            Self::Dice(_) => RootKind::Dice,
            Self::Psa(_) => RootKind::Psa,
        }
    }

    /// The key that makes it this one device and no other; none where there is no root of trust.
    pub fn device_key(&self) -> Option<&VerifyingKey> {
        match self {
            Self::None => None,
            Self::Dice(dice) => Some(&dice.device_key),
            Self::Psa(psa) => Some(&psa.attestation_key),
        }
    }

    /// The suite of that key; none where there is no key, or it is of no suite.
    pub fn suite(&self) -> Option<Suite> {
        self.device_key()?.curve().map(Suite::of_curve)
    }
}
