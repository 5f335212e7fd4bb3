//! What is stopped, by whom and why: the order, and the intent that survives a crash.

use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Fields, Reader};
use alcub3_trust_model::nv_map::{MissionAnchor, NvIndex};
use alcub3_trust_model::{Level, MissionId, RobotId, StopCause, StopId, domain};

/// How much is stopped (DESIGN §6, step 4).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StopScope {
    /// The whole robot: the lockdown PCR and the robot's epoch.
    Robot,
    /// One classification level: the retire PCR and the level's epoch.
    Level(Level),
    /// One mission: the retire PCR and the mission's anchor.
    Mission(MissionId, MissionAnchor),
}

impl StopScope {
    /// The counter that makes the stop permanent.
    pub const fn counter(&self) -> NvIndex {
        match self {
            Self::Robot => NvIndex::RobotEpoch,
            Self::Level(level) => NvIndex::LevelEpoch(*level),
            Self::Mission(_, anchor) => NvIndex::MissionAnchor(*anchor),
        }
    }

    /// Whether everything that `other` stops is stopped by this as well.
    pub fn covers(&self, other: &Self) -> bool {
        matches!(self, Self::Robot) || self == other
    }

    /// The name for people and JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Robot => "robot",
            Self::Level(_) => "level",
            Self::Mission(..) => "mission",
        }
    }
}

/// A stop, as every part of the robot is told of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StopOrder {
    /// The stop's own identifier, random.
    pub stop: StopId,
    /// The robot that is stopped.
    pub robot: RobotId,
    /// How much is stopped.
    pub scope: StopScope,
    /// Why.
    pub cause: StopCause,
    /// Wall time of the call in UTC milliseconds; 0 when the robot does not know it.
    pub called_utc_ms: u64,
}

/// A stop that was begun: written before the TPM is touched, so that a start after a crash completes it first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StopIntent {
    order: StopOrder,
}

/// The version of the encoding.
const VERSION: u64 = 1;

impl StopIntent {
    /// The intent of an order.
    pub const fn new(order: StopOrder) -> Self {
        Self { order }
    }

    /// The order.
    pub const fn order(&self) -> &StopOrder {
        &self.order
    }

    /// The canonical bytes, as a journal keeps them.
    pub fn to_canonical(&self) -> Vec<u8> {
        self.encode(domain::STOP_INTENT)
    }

    /// The digest that the stop extends: over everything the order says, so that a receipt ties the PCR to it.
    pub fn event_digest(&self, alg: HashAlg) -> Digest {
        alg.digest(&[&self.encode(domain::STOP_EVENT)])
    }

    fn encode(&self, domain: &str) -> Vec<u8> {
        let order = &self.order;
        let scope_fields = match order.scope {
            StopScope::Robot => 0,
            StopScope::Level(_) => 1,
            StopScope::Mission(..) => 2,
        };
        let mut out = Encoder::structure(domain, VERSION, 4 + scope_fields);
        out.u64(2)
            .bytes(order.stop.as_bytes())
            .u64(3)
            .text(order.robot.as_str());
        out.u64(4)
            .u64(order.cause.id().into())
            .u64(5)
            .u64(order.called_utc_ms);
        match &order.scope {
            StopScope::Robot => &mut out,
            StopScope::Level(level) => out.u64(6).u64(level.id().into()),
            StopScope::Mission(mission, anchor) => out
                .u64(7)
                .bytes(mission.as_bytes())
                .u64(8)
                .u64(anchor.number().into()),
        };
        out.finish()
    }

    /// The intent of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong: unknown version, field or value, trailing bytes.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::STOP_INTENT, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::STOP_INTENT, VERSION)?;
        fields.key(r, 2, "stop")?;
        let stop = StopId::new(*r.bytes_of("stop")?);
        fields.key(r, 3, "robot")?;
        let robot = r.text("robot")?;
        let robot = RobotId::new(robot).map_err(|_| r.fault("robot", Fault::Value))?;
        fields.key(r, 4, "cause")?;
        let cause = r.id_of("cause", StopCause::from_id)?;
        fields.key(r, 5, "called_utc_ms")?;
        let called_utc_ms = r.u64("called_utc_ms")?;
        let scope = decode_scope(r, &mut fields)?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self::new(StopOrder {
            stop,
            robot,
            scope,
            cause,
            called_utc_ms,
        }))
    }
}

fn decode_scope(r: &mut Reader<'_>, fields: &mut Fields) -> Result<StopScope, DecodeError> {
    if fields.optional(r, 6, "level")? {
        return Ok(StopScope::Level(r.id_of("level", Level::from_id)?));
    }
    if !fields.optional(r, 7, "mission")? {
        return Ok(StopScope::Robot);
    }
    let mission = MissionId::new(*r.bytes_of("mission")?);
    fields.key(r, 8, "anchor")?;
    Ok(StopScope::Mission(
        mission,
        r.id_of("anchor", MissionAnchor::new)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(scope: StopScope) -> StopIntent {
        StopIntent::new(StopOrder {
            stop: StopId::new([7; 16]),
            robot: RobotId::new("rover-1").unwrap(),
            scope,
            cause: StopCause::SecurityBreach,
            called_utc_ms: 1_790_000_000_000,
        })
    }

    fn scopes() -> [StopScope; 3] {
        let anchor = MissionAnchor::new(3).unwrap();
        [
            StopScope::Robot,
            StopScope::Level(Level::Secret),
            StopScope::Mission(MissionId::new([9; 16]), anchor),
        ]
    }

    #[test]
    fn an_intent_reads_back_exactly_and_nothing_else_does() {
        for scope in scopes() {
            let intent = intent(scope);
            let bytes = intent.to_canonical();
            assert_eq!(StopIntent::from_canonical(&bytes).unwrap(), intent);
            for cut in 0..bytes.len() {
                assert!(
                    StopIntent::from_canonical(&bytes[..cut]).is_err(),
                    "cut at {cut} was accepted"
                );
            }
            let mut longer = bytes.clone();
            longer.push(0);
            assert!(StopIntent::from_canonical(&longer).is_err());
        }
    }

    #[test]
    fn event_digests_differ_with_all_an_order_says() {
        let mut seen: Vec<Digest> = scopes()
            .map(|scope| intent(scope).event_digest(HashAlg::Sha256))
            .to_vec();
        let mut other = intent(StopScope::Robot);
        other.order.stop = StopId::new([8; 16]);
        seen.push(other.event_digest(HashAlg::Sha256));
        for (at, digest) in seen.iter().enumerate() {
            assert!(!seen[at + 1..].contains(digest));
        }
    }

    #[test]
    fn a_robot_stop_covers_all_and_others_only_themselves() {
        for scope in scopes() {
            assert!(StopScope::Robot.covers(&scope));
            assert!(scope.covers(&scope));
        }
        assert!(!StopScope::Level(Level::Secret).covers(&StopScope::Robot));
        assert!(!StopScope::Level(Level::Secret).covers(&StopScope::Level(Level::Cui)));
    }
}
