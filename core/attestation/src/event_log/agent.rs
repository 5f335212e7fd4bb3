//! The robot agent's own events: what it extends into the lockdown and the retire PCR.
//!
//! They are logged as `EV_EVENT_TAG` in a crypto-agile log of the agent's own, so that appraisal explains those
//! PCRs as it explains the firmware's. What is extended is the digest of [`AgentEvent::message`], in each bank.

use crate::cursor::Cursor;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::{Level, MissionId, StopId, domain};
use core::fmt;
use thiserror::Error;

/// `taggedEventID` of a stop of the whole robot.
const STOP_TAG: u32 = 0x616c_0001;
/// `taggedEventID` of a mission's or a level's end.
const RETIRE_TAG: u32 = 0x616c_0002;
const MISSION: u8 = 1;
const LEVEL: u8 = 2;

/// An event that the robot's agent extends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentEvent {
    /// The whole robot was stopped: extended into the lockdown PCR.
    Stop(StopId),
    /// A mission ended or was stopped: extended into the retire PCR.
    MissionRetired(MissionId),
    /// A level's keys were zeroized: extended into the retire PCR.
    LevelRetired(Level),
}

/// Event data that is not one of the agent's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the event's data is not an event of the agent; only its lockdown and retire events may stand in its log"
)]
pub struct NotAnAgentEvent;

impl AgentEvent {
    /// The bytes whose digest is extended: the domain string, then fixed-width fields.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        match self {
            Self::Stop(stop) => [domain::STOP_EVENT.as_bytes(), stop.as_bytes()].concat(),
            Self::MissionRetired(mission) => {
                [domain::RETIRE_EVENT.as_bytes(), &[MISSION], mission.as_bytes()].concat()
            }
            Self::LevelRetired(level) => [domain::RETIRE_EVENT.as_bytes(), &[LEVEL], &[level.id()]].concat(),
        }
    }

    /// The digest that TPM2_PCR_Extend takes for one bank.
    #[must_use]
    pub fn digest(&self, alg: HashAlg) -> Digest {
        alg.digest(&[&self.message()])
    }

    /// Whether the event belongs into the lockdown PCR; the others belong into the retire PCR.
    #[must_use]
    pub const fn is_stop(&self) -> bool {
        matches!(self, Self::Stop(_))
    }

    /// The event's data in a log: `TCG_PCClientTaggedEvent`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let message = self.message();
        let tag = if self.is_stop() { STOP_TAG } else { RETIRE_TAG };
        let size = u32::try_from(message.len()).unwrap_or(u32::MAX);
        [&tag.to_le_bytes(), &size.to_le_bytes(), message.as_slice()].concat()
    }

    /// The event that a log's data states; exact.
    ///
    /// # Errors
    /// Anything that [`Self::encode`] does not write.
    pub fn decode(data: &[u8]) -> Result<Self, NotAnAgentEvent> {
        let event = Self::read(data).ok_or(NotAnAgentEvent)?;
        if event.encode() == data {
            Ok(event)
        } else {
            Err(NotAnAgentEvent)
        }
    }

    fn read(data: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(data);
        let tag = cursor.u32_le().ok()?;
        cursor.u32_le().ok()?;
        if tag == STOP_TAG {
            cursor.take(domain::STOP_EVENT.len()).ok()?;
            return Some(Self::Stop(StopId::new(cursor.array().ok()?)));
        }
        cursor.take(domain::RETIRE_EVENT.len()).ok()?;
        match cursor.u8().ok()? {
            MISSION => Some(Self::MissionRetired(MissionId::new(cursor.array().ok()?))),
            LEVEL => Level::from_id(cursor.u8().ok()?).map(Self::LevelRetired),
            _ => None,
        }
    }
}

impl fmt::Display for AgentEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop(stop) => write!(f, "alcub3 stop {stop}"),
            Self::MissionRetired(mission) => write!(f, "alcub3 mission {mission} ended"),
            Self::LevelRetired(level) => write!(f, "alcub3 level {level} zeroized"),
        }
    }
}
