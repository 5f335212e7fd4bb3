//! The robot's state as a quote binds it: H(state) is part of the qualifying data (DESIGN §5).

mod parts;
mod platform;

pub use parts::{FaultSeverity, Payload, ReportedFault, SensorCalibration, SubsystemFirmware};
pub use platform::{PlatformParseError, PlatformType};

use alcub3_crypto::{Digest, HashAlg};
use core::fmt;

use crate::canonical::{DecodeError, Encoder, Fault, Reader};
use crate::nv_map::Register;
use crate::{AttestationKind, BootId, Level, MissionId, RobotId, domain};

/// What the robot is doing.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationalMode {
    /// Powered, without a mission.
    Idle,
    /// On at least one mission.
    Mission,
    /// In the hands of its maintainers.
    Maintenance,
    /// Stopped, and not yet rearmed.
    Stopped,
}

impl OperationalMode {
    /// All modes.
    pub const ALL: [Self; 4] = [Self::Idle, Self::Mission, Self::Maintenance, Self::Stopped];

    /// What is measured into the register of the mode.
    pub fn measured(self, alg: HashAlg) -> Digest {
        alg.digest(&[domain::REGISTER_CONTENT.as_bytes(), &[self.id()]])
    }

    /// The name for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Mission => "mission",
            Self::Maintenance => "maintenance",
            Self::Stopped => "stopped",
        }
    }

    /// The number used on the wire.
    pub const fn id(self) -> u8 {
        match self {
            Self::Idle => 0,
            Self::Mission => 1,
            Self::Maintenance => 2,
            Self::Stopped => 3,
        }
    }

    /// The mode of a number on the wire.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.id() == id)
    }
}

impl fmt::Display for OperationalMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// Where the robot is, WGS 84.
#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// Latitude in 10⁻⁷ degrees, north positive, within ±900 000 000.
    pub latitude_e7_deg: i64,
    /// Longitude in 10⁻⁷ degrees, east positive, within ±1 800 000 000.
    pub longitude_e7_deg: i64,
    /// Height above the ellipsoid in millimetres.
    pub altitude_mm: i64,
}

impl Position {
    /// Whether latitude and longitude are on the globe.
    pub const fn is_valid(&self) -> bool {
        self.latitude_e7_deg.unsigned_abs() <= 900_000_000
            && self.longitude_e7_deg.unsigned_abs() <= 1_800_000_000
    }
}

/// The robot's own account of itself at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RobotState {
    /// Which robot.
    pub robot: RobotId,
    /// Which run of its agent.
    pub boot: BootId,
    /// When, UTC in milliseconds since 1970.
    pub time_ms: u64,
    /// What the attestation that it was made for is to prove.
    pub kind: AttestationKind,
    /// What kind of machine it is.
    pub platform: PlatformType,
    /// What it is doing.
    pub mode: OperationalMode,
    /// Whether an emergency stop is in force.
    pub stopped: bool,
    /// The highest level it holds data of.
    pub level: Level,
    /// Its active missions, ascending.
    pub missions: Vec<MissionId>,
    /// The version of its software.
    pub software: String,
    /// Its subsystems' firmware, ascending by subsystem.
    pub firmware: Vec<SubsystemFirmware>,
    /// Its sensors' calibration, ascending by sensor.
    pub calibration: Vec<SensorCalibration>,
    /// The digest of its hardware inventory.
    pub hardware: Digest,
    /// What it carries, ascending by name.
    pub payload: Vec<Payload>,
    /// Number of commands that its gate admitted in this run of its agent.
    pub command_sequence: u64,
    /// Its faults, ascending by subsystem and code.
    pub faults: Vec<ReportedFault>,
    /// Speed over ground in millimetres per second.
    pub speed_mm_per_s: u32,
    /// Charge in thousandths of full.
    pub battery_permille: u16,
    /// Position, where it knows.
    pub position: Option<Position>,
    /// When it was maintained last, UTC in milliseconds since 1970, where that is known.
    pub maintained_at_ms: Option<u64>,
}

/// The version of the encoding.
const VERSION: u64 = 1;
const MAX_MISSIONS: usize = 64;
const MAX_SOFTWARE_BYTES: usize = 128;
/// Fields that are in every state, beside domain and version.
const FIELDS: usize = 18;

impl RobotState {
    /// A robot at rest of which nothing else is known: no parts, no place, full charge, and an inventory of nothing.
    #[must_use]
    pub fn at_rest(robot: RobotId, boot: BootId, time_ms: u64, alg: HashAlg) -> Self {
        Self {
            robot,
            boot,
            time_ms,
            kind: AttestationKind::Operational,
            platform: PlatformType::Custom,
            mode: OperationalMode::Idle,
            stopped: false,
            level: Level::Unclassified,
            missions: Vec::new(),
            software: String::new(),
            firmware: Vec::new(),
            calibration: Vec::new(),
            hardware: alg.digest(&[]),
            payload: Vec::new(),
            command_sequence: 0,
            faults: Vec::new(),
            speed_mm_per_s: 0,
            battery_permille: 1000,
            position: None,
            maintained_at_ms: None,
        }
    }

    /// The canonical CBOR of the state.
    ///
    /// Missions and parts are written in ascending order and once each, whatever order they are given in.
    pub fn to_canonical(&self) -> Vec<u8> {
        let missions: std::collections::BTreeSet<_> = self.missions.iter().collect();
        let present = usize::from(self.position.is_some()) + usize::from(self.maintained_at_ms.is_some());
        let mut out = Encoder::structure(domain::ROBOT_STATE, VERSION, FIELDS + present);
        out.u64(2).text(self.robot.as_str());
        out.u64(3).bytes(self.boot.as_bytes());
        out.u64(4).u64(self.time_ms);
        self.kind.encode(out.u64(5));
        out.u64(6).u64(self.platform.id().into());
        out.u64(7).u64(self.mode.id().into());
        out.u64(8).bool(self.stopped);
        out.u64(9).u64(self.level.id().into());
        out.u64(10).array(missions.len());
        for mission in missions {
            out.bytes(mission.as_bytes());
        }
        out.u64(11).text(&self.software);
        parts::encode(out.u64(12), &self.firmware);
        parts::encode(out.u64(13), &self.calibration);
        out.u64(14).digest(&self.hardware);
        parts::encode(out.u64(15), &self.payload);
        out.u64(16).u64(self.command_sequence);
        parts::encode(out.u64(17), &self.faults);
        out.u64(18).u64(self.speed_mm_per_s.into());
        out.u64(19).u64(self.battery_permille.into());
        if let Some(at) = &self.position {
            out.u64(20)
                .array(3)
                .i64(at.latitude_e7_deg)
                .i64(at.longitude_e7_deg)
                .i64(at.altitude_mm);
        }
        if let Some(maintained_at_ms) = self.maintained_at_ms {
            out.u64(21).u64(maintained_at_ms);
        }
        out.finish()
    }

    /// The state of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong: unknown version or field, order, value, trailing bytes.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::ROBOT_STATE, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::ROBOT_STATE, VERSION)?;
        fields.key(r, 2, "robot")?;
        let robot = r.text("robot")?;
        let robot = RobotId::new(robot).map_err(|_| r.fault("robot", Fault::Value))?;
        fields.key(r, 3, "boot")?;
        let boot = BootId::new(*r.bytes_of("boot")?);
        fields.key(r, 4, "time_ms")?;
        let time_ms = r.u64("time_ms")?;
        fields.key(r, 5, "kind")?;
        let kind = AttestationKind::decode(r)?;
        fields.key(r, 6, "platform")?;
        let platform = r.id_of("platform", PlatformType::from_id)?;
        fields.key(r, 7, "mode")?;
        let mode = r.id_of("mode", OperationalMode::from_id)?;
        fields.key(r, 8, "stopped")?;
        let stopped = r.bool("stopped")?;
        fields.key(r, 9, "level")?;
        let level = r.id_of("level", Level::from_id)?;
        fields.key(r, 10, "missions")?;
        let missions = decode_missions(r)?;
        fields.key(r, 11, "software")?;
        let software = decode_software(r)?;
        fields.key(r, 12, "firmware")?;
        let firmware = parts::decode(r)?;
        fields.key(r, 13, "calibration")?;
        let calibration = parts::decode(r)?;
        fields.key(r, 14, "hardware")?;
        let hardware = r.digest("hardware")?;
        fields.key(r, 15, "payload")?;
        let payload = parts::decode(r)?;
        fields.key(r, 16, "command_sequence")?;
        let command_sequence = r.u64("command_sequence")?;
        fields.key(r, 17, "faults")?;
        let faults = parts::decode(r)?;
        fields.key(r, 18, "speed_mm_per_s")?;
        let speed_mm_per_s = r.u32("speed_mm_per_s")?;
        fields.key(r, 19, "battery_permille")?;
        let battery_permille = decode_battery(r)?;
        let position = match fields.optional(r, 20, "position")? {
            true => Some(decode_position(r)?),
            false => None,
        };
        let maintained_at_ms = match fields.optional(r, 21, "maintained_at_ms")? {
            true => Some(r.u64("maintained_at_ms")?),
            false => None,
        };
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            robot,
            boot,
            time_ms,
            kind,
            platform,
            mode,
            stopped,
            level,
            missions,
            software,
            firmware,
            calibration,
            hardware,
            payload,
            command_sequence,
            faults,
            speed_mm_per_s,
            battery_permille,
            position,
            maintained_at_ms,
        })
    }

    /// The digest of the canonical state, as the quote's qualifying data takes it.
    pub fn digest(&self, alg: HashAlg) -> Digest {
        alg.digest(&[&self.to_canonical()])
    }

    /// What is measured into a robot register for the part of the state that it is of.
    pub fn measured(&self, register: Register, alg: HashAlg) -> Digest {
        let mut out = Encoder::new();
        match register {
            // The agent measures the inventory itself, at its start.
            Register::HardwareInventory => return self.hardware,
            Register::OperationalMode => return self.mode.measured(alg),
            Register::SubsystemFirmware => parts::encode(&mut out, &self.firmware),
            Register::SensorCalibration => parts::encode(&mut out, &self.calibration),
        }
        alg.digest(&[domain::REGISTER_CONTENT.as_bytes(), &out.finish()])
    }
}

fn decode_missions(r: &mut Reader<'_>) -> Result<Vec<MissionId>, DecodeError> {
    let count = r.array("missions", MAX_MISSIONS)?;
    let mut missions: Vec<MissionId> = Vec::with_capacity(count);
    for _ in 0..count {
        let mission = MissionId::new(*r.bytes_of("missions")?);
        if missions.last().is_some_and(|last| *last >= mission) {
            return Err(r.fault("missions", Fault::Order));
        }
        missions.push(mission);
    }
    Ok(missions)
}

fn decode_software(r: &mut Reader<'_>) -> Result<String, DecodeError> {
    let software = r.text("software")?;
    if software.len() > MAX_SOFTWARE_BYTES {
        return Err(r.fault("software", Fault::TooLong));
    }
    Ok(software.to_owned())
}

fn decode_battery(r: &mut Reader<'_>) -> Result<u16, DecodeError> {
    let permille = r.u16("battery_permille")?;
    if permille > 1000 {
        Err(r.fault("battery_permille", Fault::Value))
    } else {
        Ok(permille)
    }
}

fn decode_position(r: &mut Reader<'_>) -> Result<Position, DecodeError> {
    r.array_of("position", 3)?;
    let latitude_e7_deg = r.i64("latitude_e7_deg")?;
    let longitude_e7_deg = r.i64("longitude_e7_deg")?;
    let position = Position {
        latitude_e7_deg,
        longitude_e7_deg,
        altitude_mm: r.i64("altitude_mm")?,
    };
    if position.is_valid() {
        Ok(position)
    } else {
        Err(r.fault("position", Fault::Value))
    }
}
