//! The robot agent's own events: what it extends into the lockdown and the retire PCR.
//!
//! They are logged as `EV_EVENT_TAG` in a crypto-agile log of the agent's own, so that appraisal explains those
//! PCRs as it explains the firmware's. What is extended is the digest of [`AgentEvent::message`], in each bank.

use crate::cursor::Cursor;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Fields, Reader};
use alcub3_trust_model::nv_map::{MissionAnchor, NvIndex};
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::{Level, MissionId, RobotId, StopCause, StopId, domain};
use core::fmt;
use thiserror::Error;

/// `taggedEventID` of the agent's events.
const TAG: u32 = 0x616c_6333;
const VERSION: u64 = 1;

/// How much a stop stops (DESIGN §6, step 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    #[must_use]
    pub const fn counter(&self) -> NvIndex {
        match self {
            Self::Robot => NvIndex::RobotEpoch,
            Self::Level(level) => NvIndex::LevelEpoch(*level),
            Self::Mission(_, anchor) => NvIndex::MissionAnchor(*anchor),
        }
    }

    /// The PCR that the stop extends.
    #[must_use]
    pub const fn pcr(&self, map: &PcrMap) -> u8 {
        match self {
            Self::Robot => map.lockdown(),
            Self::Level(_) | Self::Mission(..) => map.retire(),
        }
    }
}

/// What a stop extends: everything its order says.
///
/// The encoding is the same that the robot's stop path computes; fields by key: 2 stop, 3 robot, 4 cause, 5 wall
/// time of the call, and 6 level, or 7 mission and 8 anchor, by the scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopEvent {
    /// The stop.
    pub stop: StopId,
    /// The robot that was stopped.
    pub robot: RobotId,
    /// How much was stopped.
    pub scope: StopScope,
    /// Why.
    pub cause: StopCause,
    /// Wall time of the call in UTC milliseconds, 0 when the robot did not know it.
    pub called_utc_ms: u64,
}

/// An event that the robot's agent extends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentEvent {
    /// A stop: into the lockdown PCR for the whole robot, else into the retire PCR.
    Stop(StopEvent),
    /// A mission ended: into the retire PCR.
    MissionEnded(MissionId),
    /// A start found this robot stopped, and ended whatever sessions were armed before: into the retire PCR.
    StoppedStart(RobotId),
}

/// Event data that is not one of the agent's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AgentEventError {
    /// Not tagged as an event of the agent, or its sizes are wrong.
    #[error(
        "the event's data is not tagged as an event of the agent; only its own events may stand in its log"
    )]
    Tag,
    /// Tagged as one, but malformed.
    #[error("the agent's event is malformed")]
    Message(#[source] DecodeError),
}

impl AgentEvent {
    /// The bytes whose digest is extended: a canonical structure.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        match self {
            Self::Stop(stop) => stop.message(),
            Self::MissionEnded(mission) => {
                let mut out = Encoder::structure(domain::RETIRE_EVENT, VERSION, 1);
                out.u64(2).bytes(mission.as_bytes());
                out.finish()
            }
            Self::StoppedStart(robot) => {
                let mut out = Encoder::structure(domain::STOPPED_START_EVENT, VERSION, 1);
                out.u64(2).text(robot.as_str());
                out.finish()
            }
        }
    }

    /// The event of exactly these bytes.
    ///
    /// # Errors
    /// None of the agent's events.
    pub fn from_message(message: &[u8]) -> Result<Self, DecodeError> {
        let readers = [
            |message: &[u8]| StopEvent::from_message(message).map(Self::Stop),
            mission_ended,
        ];
        for read in readers {
            match read(message) {
                Err(DecodeError {
                    fault: Fault::Domain, ..
                }) => {}
                event => return event,
            }
        }
        stopped_start(message)
    }

    /// The digest that TPM2_PCR_Extend takes for one bank.
    #[must_use]
    pub fn digest(&self, alg: HashAlg) -> Digest {
        alg.digest(&[&self.message()])
    }

    /// The PCR it is extended into.
    #[must_use]
    pub const fn pcr(&self, map: &PcrMap) -> u8 {
        match self {
            Self::Stop(stop) => stop.scope.pcr(map),
            Self::MissionEnded(_) | Self::StoppedStart(_) => map.retire(),
        }
    }

    /// The event's data in a log: `TCG_PCClientTaggedEvent`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let message = self.message();
        let size = u32::try_from(message.len()).unwrap_or(u32::MAX);
        [&TAG.to_le_bytes(), &size.to_le_bytes(), message.as_slice()].concat()
    }

    /// The event that a log's data states; exact.
    ///
    /// # Errors
    /// Anything that [`Self::encode`] does not write.
    pub fn decode(data: &[u8]) -> Result<Self, AgentEventError> {
        let mut cursor = Cursor::new(data);
        let tag = cursor.u32_le().map_err(|_| AgentEventError::Tag)?;
        let size = cursor.u32_le().map_err(|_| AgentEventError::Tag)?;
        let message = cursor.rest();
        if tag != TAG || usize::try_from(size) != Ok(message.len()) {
            return Err(AgentEventError::Tag);
        }
        Self::from_message(message).map_err(AgentEventError::Message)
    }
}

fn mission_ended(message: &[u8]) -> Result<AgentEvent, DecodeError> {
    let mut reader = Reader::new(domain::RETIRE_EVENT, message);
    let r = &mut reader;
    let mut fields = r.structure(domain::RETIRE_EVENT, VERSION)?;
    fields.key(r, 2, "mission")?;
    let mission = MissionId::new(*r.bytes_of("mission")?);
    fields.finish(r)?;
    r.finish()?;
    Ok(AgentEvent::MissionEnded(mission))
}

fn stopped_start(message: &[u8]) -> Result<AgentEvent, DecodeError> {
    let mut reader = Reader::new(domain::STOPPED_START_EVENT, message);
    let r = &mut reader;
    let mut fields = r.structure(domain::STOPPED_START_EVENT, VERSION)?;
    fields.key(r, 2, "robot")?;
    let robot = read_robot(r)?;
    fields.finish(r)?;
    r.finish()?;
    Ok(AgentEvent::StoppedStart(robot))
}

fn read_robot(r: &mut Reader<'_>) -> Result<RobotId, DecodeError> {
    RobotId::new(r.text("robot")?).map_err(|_| r.fault("robot", Fault::Value))
}

impl StopEvent {
    /// The bytes whose digest is extended.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let scope_fields = match self.scope {
            StopScope::Robot => 0,
            StopScope::Level(_) => 1,
            StopScope::Mission(..) => 2,
        };
        let mut out = Encoder::structure(domain::STOP_EVENT, VERSION, 4 + scope_fields);
        out.u64(2)
            .bytes(self.stop.as_bytes())
            .u64(3)
            .text(self.robot.as_str());
        out.u64(4)
            .u64(self.cause.id().into())
            .u64(5)
            .u64(self.called_utc_ms);
        match self.scope {
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

    /// The event of exactly these bytes.
    ///
    /// # Errors
    /// Unknown version, field, cause or value; bytes after its end.
    pub fn from_message(message: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::STOP_EVENT, message);
        let r = &mut reader;
        let mut fields = r.structure(domain::STOP_EVENT, VERSION)?;
        fields.key(r, 2, "stop")?;
        let stop = StopId::new(*r.bytes_of("stop")?);
        fields.key(r, 3, "robot")?;
        let robot = read_robot(r)?;
        fields.key(r, 4, "cause")?;
        let cause = r.id_of("cause", StopCause::from_id)?;
        fields.key(r, 5, "called_utc_ms")?;
        let called_utc_ms = r.u64("called_utc_ms")?;
        let scope = read_scope(r, &mut fields)?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            stop,
            robot,
            scope,
            cause,
            called_utc_ms,
        })
    }
}

fn read_scope(r: &mut Reader<'_>, fields: &mut Fields) -> Result<StopScope, DecodeError> {
    if fields.optional(r, 6, "level")? {
        return Ok(StopScope::Level(r.id_of("level", Level::from_id)?));
    }
    if fields.optional(r, 7, "mission")? {
        let mission = MissionId::new(*r.bytes_of("mission")?);
        fields.key(r, 8, "anchor")?;
        return Ok(StopScope::Mission(
            mission,
            r.id_of("anchor", MissionAnchor::new)?,
        ));
    }
    Ok(StopScope::Robot)
}

impl fmt::Display for AgentEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop(stop) => write!(f, "alcub3 stop {} of {}", stop.stop, stop.robot),
            Self::MissionEnded(mission) => write!(f, "alcub3 mission {mission} ended"),
            Self::StoppedStart(robot) => write!(f, "alcub3 start of {robot}, which is stopped"),
        }
    }
}
