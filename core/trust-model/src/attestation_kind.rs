//! What an attestation is asked to prove.

use crate::MissionId;
use crate::canonical::{DecodeError, Encoder, Fault, Reader};
use crate::nv_map::Register;

/// What an attestation is asked to prove. It is part of the state that a quote binds, so that evidence made to prove one thing
/// never counts for another; each kind has content of its own that must be there.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AttestationKind {
    /// The platform is what it was enrolled as: its boot, its subsystems' firmware and its hardware, both registers certified anew.
    Platform,
    /// The robot may work on a mission that lives in the chip: all that [`Self::Operational`] asks for; its token; and its anchor,
    /// its level's epoch and the robot's epoch, certified.
    Mission(MissionId),
    /// The sensors are calibrated as they were enrolled: the calibration of each, its register certified anew.
    Sensor,
    /// The robot may work: all of its state, and every register that changed since the verifier last saw it.
    Operational,
    /// The robot is stopped: the stop in its log and PCR, and its epoch, certified. It never makes a robot trusted.
    Emergency,
}

impl AttestationKind {
    /// The kinds that need no further name.
    pub const PLAIN: [Self; 4] = [Self::Platform, Self::Sensor, Self::Operational, Self::Emergency];

    /// The number used on the wire.
    pub const fn id(self) -> u8 {
        match self {
            Self::Platform => 0,
            Self::Mission(_) => 1,
            Self::Sensor => 2,
            Self::Operational => 3,
            Self::Emergency => 4,
        }
    }

    /// The name for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Mission(_) => "mission",
            Self::Sensor => "sensor",
            Self::Operational => "operational",
            Self::Emergency => "emergency",
        }
    }

    /// The mission that it is of, for that kind.
    pub const fn mission(self) -> Option<MissionId> {
        match self {
            Self::Mission(mission) => Some(mission),
            _ => None,
        }
    }

    /// Whether a robot found trusted by it may be commanded: the others prove a part of it.
    pub const fn grants_lease(self) -> bool {
        matches!(self, Self::Operational | Self::Mission(_))
    }

    /// The robot registers that it must prove the contents of.
    pub const fn registers(self) -> &'static [Register] {
        match self {
            Self::Platform => &[Register::SubsystemFirmware, Register::HardwareInventory],
            Self::Sensor => &[Register::SensorCalibration],
            Self::Operational | Self::Mission(_) => &Register::ALL,
            Self::Emergency => &[Register::OperationalMode],
        }
    }

    /// Whether its registers are certified each time, and not only when they changed since the verifier last saw them.
    pub const fn certifies_anew(self) -> bool {
        matches!(self, Self::Platform | Self::Sensor)
    }

    /// Writes it: an array of its number and, for a mission, the mission.
    pub fn encode(self, out: &mut Encoder) {
        out.array(1 + usize::from(self.mission().is_some()));
        out.u64(self.id().into());
        if let Some(mission) = self.mission() {
            out.bytes(mission.as_bytes());
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// An unknown number; a mission where there is none, or none where there is one.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = r.array("kind", 2)?;
        let id = r.u8("kind")?;
        let plain = Self::PLAIN.into_iter().find(|kind| kind.id() == id);
        match (plain, length) {
            (Some(kind), 1) => Ok(kind),
            (None, 2) if id == 1 => Ok(Self::Mission(MissionId::new(*r.bytes_of("kind mission")?))),
            _ => Err(r.fault("kind", Fault::Value)),
        }
    }
}

impl std::fmt::Display for AttestationKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mission(mission) => write!(f, "mission:{mission}"),
            plain => f.write_str(plain.name()),
        }
    }
}

/// A text that names no kind of attestation.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "there is no attestation {0:?}; there are: platform, sensor, operational, emergency, and mission:ID with the mission's identifier"
)]
pub struct KindParseError(pub String);

impl std::str::FromStr for AttestationKind {
    type Err = KindParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = Self::PLAIN.into_iter().find(|kind| kind.name() == text);
        let mission = || text.strip_prefix("mission:")?.parse().ok().map(Self::Mission);
        plain
            .or_else(mission)
            .ok_or_else(|| KindParseError(text.to_owned()))
    }
}

impl TryFrom<String> for AttestationKind {
    type Error = KindParseError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<AttestationKind> for String {
    fn from(kind: AttestationKind) -> Self {
        kind.to_string()
    }
}
