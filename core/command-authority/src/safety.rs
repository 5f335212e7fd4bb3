//! The safety envelope of a mission: limits that a command's own arguments must respect, whoever gives it.
//!
//! For commands that move the robot only arguments of known meaning pass: an argument this module cannot judge could
//! carry a speed under another name.

use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Fields, Reader};

use alcub3_trust_model::{Level, MissionId};

use crate::arguments::ArgumentsRef;
use crate::demand::{Demand, HalfPosition, within};
use crate::policy::PolicyInForce;
use crate::{CommandClass, Reason};

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

    /// Judges a command's arguments by the mission's limits and, where one is in force, by the command policy; gives the
    /// first reason against them.
    ///
    /// Without a policy only movements are judged, and only arguments of known meaning pass. A policy judges whatever has
    /// an effect on the world, and may declare further arguments.
    pub(crate) fn check(&self, asked: &Asked<'_, '_>, policy: Option<&PolicyInForce>) -> Result<(), Reason> {
        match policy {
            None if asked.class == CommandClass::Move => {
                let demand = Demand::read(asked.arguments, |_, _| Err(Reason::SafetyArgument))?;
                // Neither has a limit in a mission, so nobody could say how much is too much.
                if demand.force_mn.is_some() || demand.tool.is_some() {
                    return Err(Reason::SafetyArgument);
                }
                self.within(&demand)
            }
            None => Ok(()),
            Some(_) if asked.class == CommandClass::Observe => Ok(()),
            Some(policy) => {
                let declared = |name: &str, value| policy.check_declared(asked.command, name, value);
                let demand = Demand::read(asked.arguments, |name, value| Ok(declared(name, value)?))?;
                self.within(&demand)?;
                Ok(policy.check_limits(&demand, asked.level, asked.mission)?)
            }
        }
    }

    fn within(&self, demand: &Demand<'_>) -> Result<(), Reason> {
        if !demand.is_within_speed(self.max_speed_mm_per_s) {
            return Err(Reason::SafetySpeed);
        }
        if !within(demand.turn_mdeg_per_s, self.max_turn_mdeg_per_s) {
            return Err(Reason::SafetyTurn);
        }
        if !within(demand.duration_ms, self.max_duration_ms) {
            return Err(Reason::SafetyDuration);
        }
        self.geofence.as_ref().map_or(Ok(()), |fence| fence.check(demand))
    }
}

/// A command, as far as limits ask.
pub(crate) struct Asked<'c, 'a> {
    pub(crate) class: CommandClass,
    pub(crate) command: &'c str,
    pub(crate) arguments: &'c ArgumentsRef<'a>,
    /// The mission's level.
    pub(crate) level: Level,
    pub(crate) mission: MissionId,
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

    fn check(&self, demand: &Demand<'_>) -> Result<(), Reason> {
        let within = match demand.position() {
            Ok(Some((latitude, longitude))) => {
                (self.south_e7_deg..=self.north_e7_deg).contains(&latitude)
                    && (self.west_e7_deg..=self.east_e7_deg).contains(&longitude)
            }
            Ok(None) => true,
            Err(HalfPosition) => false,
        };
        let low = demand
            .altitude_mm
            .is_none_or(|altitude| altitude <= self.max_altitude_mm);
        if within && low {
            Ok(())
        } else {
            Err(Reason::SafetyGeofence)
        }
    }
}
