//! The robot's state as a quote binds it: H(state) is part of the qualifying data (DESIGN §5).

use alcub3_crypto::{Digest, HashAlg};

use crate::canonical::{DecodeError, Encoder, Fault, Reader};
use crate::{BootId, Level, MissionId, RobotId, domain};

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
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::Idle),
            1 => Some(Self::Mission),
            2 => Some(Self::Maintenance),
            3 => Some(Self::Stopped),
            _ => None,
        }
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
    /// The digest of its subsystems' firmware inventory.
    pub firmware: Digest,
    /// The digest of its sensors' calibration.
    pub calibration: Digest,
    /// The digest of its hardware inventory.
    pub hardware: Digest,
    /// Speed over ground in millimetres per second.
    pub speed_mm_per_s: u32,
    /// Charge in thousandths of full.
    pub battery_permille: u16,
    /// Position, where it knows.
    pub position: Option<Position>,
}

/// The version of the encoding.
const VERSION: u64 = 1;
const MAX_MISSIONS: usize = 64;
const MAX_SOFTWARE_BYTES: usize = 128;

impl RobotState {
    /// The canonical CBOR of the state.
    ///
    /// Missions are written in ascending order and once each, whatever order they are given in.
    pub fn to_canonical(&self) -> Vec<u8> {
        let missions: std::collections::BTreeSet<_> = self.missions.iter().collect();
        let mut out = Encoder::structure(
            domain::ROBOT_STATE,
            VERSION,
            13 + usize::from(self.position.is_some()),
        );
        out.u64(2)
            .text(self.robot.as_str())
            .u64(3)
            .bytes(self.boot.as_bytes())
            .u64(4)
            .u64(self.time_ms);
        out.u64(5)
            .u64(self.mode.id().into())
            .u64(6)
            .bool(self.stopped)
            .u64(7)
            .u64(self.level.id().into());
        out.u64(8).array(missions.len());
        for mission in missions {
            out.bytes(mission.as_bytes());
        }
        out.u64(9).text(&self.software);
        for (key, digest) in [
            (10, &self.firmware),
            (11, &self.calibration),
            (12, &self.hardware),
        ] {
            out.u64(key).digest(digest);
        }
        out.u64(13)
            .u64(self.speed_mm_per_s.into())
            .u64(14)
            .u64(self.battery_permille.into());
        if let Some(at) = &self.position {
            out.u64(15)
                .array(3)
                .i64(at.latitude_e7_deg)
                .i64(at.longitude_e7_deg)
                .i64(at.altitude_mm);
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
        fields.key(r, 5, "mode")?;
        let mode = r.id_of("mode", OperationalMode::from_id)?;
        fields.key(r, 6, "stopped")?;
        let stopped = r.bool("stopped")?;
        fields.key(r, 7, "level")?;
        let level = r.id_of("level", Level::from_id)?;
        fields.key(r, 8, "missions")?;
        let missions = decode_missions(r)?;
        fields.key(r, 9, "software")?;
        let software = decode_software(r)?;
        fields.key(r, 10, "firmware")?;
        let firmware = r.digest("firmware")?;
        fields.key(r, 11, "calibration")?;
        let calibration = r.digest("calibration")?;
        fields.key(r, 12, "hardware")?;
        let hardware = r.digest("hardware")?;
        fields.key(r, 13, "speed_mm_per_s")?;
        let speed_mm_per_s = r.u32("speed_mm_per_s")?;
        fields.key(r, 14, "battery_permille")?;
        let battery_permille = decode_battery(r)?;
        let position = if fields.optional(r, 15, "position")? {
            Some(decode_position(r)?)
        } else {
            None
        };
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            robot,
            boot,
            time_ms,
            mode,
            stopped,
            level,
            missions,
            software,
            firmware,
            calibration,
            hardware,
            speed_mm_per_s,
            battery_permille,
            position,
        })
    }

    /// The digest of the canonical state, as the quote's qualifying data takes it.
    pub fn digest(&self, alg: HashAlg) -> Digest {
        alg.digest(&[&self.to_canonical()])
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
