//! The safety envelope of a mission: limits that a command's own arguments must respect, whoever gives it.
//!
//! For commands that move the robot only arguments of known meaning pass: an argument this module cannot judge could
//! carry a speed under another name.

use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Fields, Reader};

use crate::arguments::ArgumentsRef;
use crate::{CommandClass, Reason, ValueRef};

/// A box on the globe that the robot must not be sent out of.
#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Geofence {
    /// The southern edge, in 10⁻⁷ degrees.
    pub south_e7_deg: i64,
    /// The northern edge, in 10⁻⁷ degrees.
    pub north_e7_deg: i64,
    /// The western edge, in 10⁻⁷ degrees. A box across the 180th meridian is two missions.
    pub west_e7_deg: i64,
    /// The eastern edge, in 10⁻⁷ degrees.
    pub east_e7_deg: i64,
    /// The greatest height above the ellipsoid, in millimetres.
    pub max_altitude_mm: i64,
}

/// The limits.
#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SafetyLimits {
    /// The greatest speed, in millimetres per second.
    pub max_speed_mm_per_s: u32,
    /// The greatest rate of turn, in thousandths of a degree per second.
    pub max_turn_mdeg_per_s: u32,
    /// The longest a single movement may last, in milliseconds.
    pub max_duration_ms: u32,
    /// Where the robot may be sent, if it is limited.
    pub geofence: Option<Geofence>,
}

impl SafetyLimits {
    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.map(3 + usize::from(self.geofence.is_some()));
        out.u64(0).u64(self.max_speed_mm_per_s.into());
        out.u64(1).u64(self.max_turn_mdeg_per_s.into());
        out.u64(2).u64(self.max_duration_ms.into());
        if let Some(fence) = &self.geofence {
            out.u64(3)
                .array(5)
                .i64(fence.south_e7_deg)
                .i64(fence.north_e7_deg);
            out.i64(fence.west_e7_deg)
                .i64(fence.east_e7_deg)
                .i64(fence.max_altitude_mm);
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut fields = Fields::open(reader)?;
        fields.key(reader, 0, "max_speed_mm_per_s")?;
        let max_speed_mm_per_s = reader.u32("max_speed_mm_per_s")?;
        fields.key(reader, 1, "max_turn_mdeg_per_s")?;
        let max_turn_mdeg_per_s = reader.u32("max_turn_mdeg_per_s")?;
        fields.key(reader, 2, "max_duration_ms")?;
        let max_duration_ms = reader.u32("max_duration_ms")?;
        let fenced = fields.optional(reader, 3, "geofence")?;
        let geofence = if fenced {
            Some(Geofence::decode(reader)?)
        } else {
            None
        };
        fields.finish(reader)?;
        Ok(Self {
            max_speed_mm_per_s,
            max_turn_mdeg_per_s,
            max_duration_ms,
            geofence,
        })
    }

    /// Judges a command's arguments; gives the first reason against them.
    pub(crate) fn check(&self, class: CommandClass, arguments: &ArgumentsRef<'_>) -> Result<(), Reason> {
        if class != CommandClass::Move {
            return Ok(());
        }
        let mut speed_squared = 0u128;
        let mut position = Aim::default();
        for (name, value) in arguments.iter() {
            let ValueRef::Int(value) = value else {
                return Err(Reason::SafetyArgument);
            };
            match name {
                "speed_mm_per_s" => within(value, self.max_speed_mm_per_s, Reason::SafetySpeed)?,
                "velocity_x_mm_per_s" | "velocity_y_mm_per_s" | "velocity_z_mm_per_s" => {
                    let part = u128::from(value.unsigned_abs());
                    speed_squared = speed_squared.saturating_add(part.saturating_mul(part));
                }
                "turn_mdeg_per_s" => within(value, self.max_turn_mdeg_per_s, Reason::SafetyTurn)?,
                "duration_ms" => within(value, self.max_duration_ms, Reason::SafetyDuration)?,
                "latitude_e7_deg" => position.latitude_e7_deg = Some(value),
                "longitude_e7_deg" => position.longitude_e7_deg = Some(value),
                "altitude_mm" => position.altitude_mm = Some(value),
                "heading_mdeg" => {}
                _ => return Err(Reason::SafetyArgument),
            }
        }
        let limit = u128::from(self.max_speed_mm_per_s);
        if speed_squared > limit * limit {
            return Err(Reason::SafetySpeed);
        }
        self.geofence
            .as_ref()
            .map_or(Ok(()), |fence| fence.check(&position))
    }
}

fn within(value: i64, limit: u32, reason: Reason) -> Result<(), Reason> {
    if value.unsigned_abs() <= u64::from(limit) {
        Ok(())
    } else {
        Err(reason)
    }
}

/// Where a command sends the robot, as far as it says.
#[derive(Default)]
struct Aim {
    latitude_e7_deg: Option<i64>,
    longitude_e7_deg: Option<i64>,
    altitude_mm: Option<i64>,
}

impl Geofence {
    /// Whether the box has an inside and lies on the globe.
    pub const fn is_valid(&self) -> bool {
        let on_globe = self.south_e7_deg >= -900_000_000
            && self.north_e7_deg <= 900_000_000
            && self.west_e7_deg >= -1_800_000_000
            && self.east_e7_deg <= 1_800_000_000;
        on_globe && self.south_e7_deg < self.north_e7_deg && self.west_e7_deg < self.east_e7_deg
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array_of("geofence", 5)?;
        let south_e7_deg = reader.i64("south_e7_deg")?;
        let north_e7_deg = reader.i64("north_e7_deg")?;
        let west_e7_deg = reader.i64("west_e7_deg")?;
        let east_e7_deg = reader.i64("east_e7_deg")?;
        let max_altitude_mm = reader.i64("max_altitude_mm")?;
        let fence = Self {
            south_e7_deg,
            north_e7_deg,
            west_e7_deg,
            east_e7_deg,
            max_altitude_mm,
        };
        if fence.is_valid() {
            Ok(fence)
        } else {
            Err(reader.fault("geofence", Fault::Value))
        }
    }

    fn check(&self, aim: &Aim) -> Result<(), Reason> {
        let inside =
            |value: Option<i64>, least, most| value.is_none_or(|value| (least..=most).contains(&value));
        let latitude = inside(aim.latitude_e7_deg, self.south_e7_deg, self.north_e7_deg);
        let longitude = inside(aim.longitude_e7_deg, self.west_e7_deg, self.east_e7_deg);
        let altitude = inside(aim.altitude_mm, i64::MIN, self.max_altitude_mm);
        // Half a position would be completed by something that nobody signed.
        let whole = aim.latitude_e7_deg.is_some() == aim.longitude_e7_deg.is_some();
        if latitude && longitude && altitude && whole {
            Ok(())
        } else {
            Err(Reason::SafetyGeofence)
        }
    }
}
