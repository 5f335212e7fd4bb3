//! The named parts of a robot: subsystems with their firmware, sensors with their calibration, what it carries, and its faults.

use alcub3_crypto::Digest;

use crate::canonical::{DecodeError, Encoder, Fault, Reader};

/// The most parts of one sort.
pub(super) const MAX_PARTS: usize = 64;
/// The longest name, version or code, in bytes.
const MAX_TEXT_BYTES: usize = 64;

/// One subsystem's firmware.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SubsystemFirmware {
    /// The subsystem, as its platform names it: `leg-controller`.
    pub subsystem: String,
    /// The version that it reports.
    pub version: String,
    /// The digest of its image, where the platform can tell.
    pub image: Option<Digest>,
}

/// One sensor's calibration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SensorCalibration {
    /// The sensor, as its platform names it: `lidar-front`.
    pub sensor: String,
    /// The digest of its calibration data.
    pub calibration: Digest,
}

/// Something that the robot carries.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Payload {
    /// What it is: `gripper`.
    pub name: String,
    /// Its mass in grams.
    pub mass_g: u32,
}

/// How bad a fault is.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultSeverity {
    /// Worth knowing.
    Note,
    /// The robot works with less than it has.
    Degraded,
    /// The robot must not work.
    Critical,
}

/// A fault that the robot reports of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReportedFault {
    /// The subsystem that has it.
    pub subsystem: String,
    /// The platform's code for it.
    pub code: String,
    /// How bad it is.
    pub severity: FaultSeverity,
}

impl FaultSeverity {
    const ALL: [Self; 3] = [Self::Note, Self::Degraded, Self::Critical];

    /// The number used on the wire.
    pub const fn id(self) -> u8 {
        match self {
            Self::Note => 0,
            Self::Degraded => 1,
            Self::Critical => 2,
        }
    }

    /// The severity of a number on the wire.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.id() == id)
    }
}

/// A part that has a place in the state: written in ascending order, each once.
pub(super) trait StatePart: Sized {
    /// The name of the field that holds such parts.
    const FIELD: &'static str;

    /// What no two parts of one state have the same.
    fn key(&self) -> impl Ord;

    fn encode(&self, out: &mut Encoder);

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// Writes the parts in ascending order of their keys; of two with one key the first given.
pub(super) fn encode<P: StatePart>(out: &mut Encoder, parts: &[P]) {
    let mut sorted: Vec<&P> = parts.iter().collect();
    sorted.sort_by(|a, b| a.key().cmp(&b.key()));
    sorted.dedup_by(|a, b| a.key() == b.key());
    out.array(sorted.len());
    for part in sorted {
        part.encode(out);
    }
}

pub(super) fn decode<P: StatePart>(r: &mut Reader<'_>) -> Result<Vec<P>, DecodeError> {
    let count = r.array(P::FIELD, MAX_PARTS)?;
    let mut parts: Vec<P> = Vec::with_capacity(count);
    for _ in 0..count {
        let part = P::decode(r)?;
        if parts.last().is_some_and(|last| last.key() >= part.key()) {
            return Err(r.fault(P::FIELD, Fault::Order));
        }
        parts.push(part);
    }
    Ok(parts)
}

/// A name that people can read, in one way: 1 to 64 bytes of printing ASCII.
fn text(r: &mut Reader<'_>, field: &'static str) -> Result<String, DecodeError> {
    let text = r.text(field)?;
    if text.len() > MAX_TEXT_BYTES {
        return Err(r.fault(field, Fault::TooLong));
    }
    let prints = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    if text.is_empty() || !text.bytes().all(prints) {
        return Err(r.fault(field, Fault::Value));
    }
    Ok(text.to_owned())
}

impl StatePart for SubsystemFirmware {
    const FIELD: &'static str = "firmware";

    fn key(&self) -> impl Ord {
        &self.subsystem
    }

    fn encode(&self, out: &mut Encoder) {
        out.array(2 + usize::from(self.image.is_some()));
        out.text(&self.subsystem).text(&self.version);
        if let Some(image) = &self.image {
            out.digest(image);
        }
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = r.array(Self::FIELD, 3)?;
        if length < 2 {
            return Err(r.fault(Self::FIELD, Fault::Value));
        }
        Ok(Self {
            subsystem: text(r, "firmware subsystem")?,
            version: text(r, "firmware version")?,
            image: match length {
                3 => Some(r.digest("firmware image")?),
                _ => None,
            },
        })
    }
}

impl StatePart for SensorCalibration {
    const FIELD: &'static str = "calibration";

    fn key(&self) -> impl Ord {
        &self.sensor
    }

    fn encode(&self, out: &mut Encoder) {
        out.array(2).text(&self.sensor).digest(&self.calibration);
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.array_of(Self::FIELD, 2)?;
        Ok(Self {
            sensor: text(r, "calibration sensor")?,
            calibration: r.digest(Self::FIELD)?,
        })
    }
}

impl StatePart for Payload {
    const FIELD: &'static str = "payload";

    fn key(&self) -> impl Ord {
        &self.name
    }

    fn encode(&self, out: &mut Encoder) {
        out.array(2).text(&self.name).u64(self.mass_g.into());
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.array_of(Self::FIELD, 2)?;
        Ok(Self {
            name: text(r, "payload name")?,
            mass_g: r.u32("payload mass_g")?,
        })
    }
}

impl StatePart for ReportedFault {
    const FIELD: &'static str = "faults";

    fn key(&self) -> impl Ord {
        (&self.subsystem, &self.code)
    }

    fn encode(&self, out: &mut Encoder) {
        out.array(3).text(&self.subsystem).text(&self.code);
        out.u64(self.severity.id().into());
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.array_of(Self::FIELD, 3)?;
        Ok(Self {
            subsystem: text(r, "faults subsystem")?,
            code: text(r, "faults code")?,
            severity: r.id_of("faults severity", FaultSeverity::from_id)?,
        })
    }
}
