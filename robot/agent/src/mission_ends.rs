//! Missions that ended lately, for people who ask after the fact. The audit log has all of them.

use crate::{AgentError, Result};
use alcub3_keys::{MissionOver, MissionRecord, StateFolder};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{Level, MissionId};
use std::sync::{Arc, Mutex, PoisonError};

const FILE: &str = "mission-ends.cbor";
const DOMAIN: &str = "alcub3/mission-ends/v1";
const VERSION: u64 = 1;
/// How many ends are kept.
const MOST_ENDS: usize = 32;

/// The end of a mission.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MissionEnd {
    /// The mission.
    pub mission: MissionId,
    /// Its level.
    pub level: Level,
    /// Why it ended.
    pub over: MissionOver,
    /// When that was noticed, UTC in milliseconds since 1970; none where the robot had no time.
    pub at_utc_ms: Option<u64>,
}

impl MissionEnd {
    pub(crate) const fn of(record: &MissionRecord, over: MissionOver, at_utc_ms: Option<u64>) -> Self {
        Self {
            mission: record.mission,
            level: record.level,
            over,
            at_utc_ms,
        }
    }

    fn encode(&self, out: &mut Encoder) {
        out.array(4)
            .bytes(self.mission.as_bytes())
            .u64(self.level.id().into())
            .text(self.over.code())
            .u64(self.at_utc_ms.unwrap_or(0));
    }

    fn decode(r: &mut Reader<'_>) -> std::result::Result<Self, DecodeError> {
        r.array_of("end", 4)?;
        let mission = MissionId::new(*r.bytes_of("mission")?);
        let level = r.id_of("level", Level::from_id)?;
        let over = MissionOver::from_code(r.text("over")?).ok_or_else(|| r.fault("over", Fault::Value))?;
        let at = r.u64("at_utc_ms")?;
        Ok(Self {
            mission,
            level,
            over,
            at_utc_ms: (at != 0).then_some(at),
        })
    }
}

/// The latest ends, oldest first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MissionEnds(pub Vec<MissionEnd>);

impl MissionEnds {
    /// The record's bytes.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(DOMAIN, VERSION, 1);
        out.u64(2).array(self.0.len());
        self.0.iter().for_each(|end| end.encode(&mut out));
        out.finish()
    }

    /// The record of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        fields.key(r, 2, "ends")?;
        let count = r.array("ends", MOST_ENDS)?;
        let ends = (0..count)
            .map(|_| MissionEnd::decode(r))
            .collect::<std::result::Result<_, _>>()?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self(ends))
    }

    pub(crate) fn load(folder: &StateFolder) -> Result<Self> {
        let Some(bytes) = folder.read(FILE)? else {
            return Ok(Self::default());
        };
        Self::from_canonical(&bytes).map_err(|source| AgentError::Record { name: FILE, source })
    }
}

/// Adds ends to the list, one at a time: a stop tells its missions while a timer ends others. Clones share the turn.
#[derive(Clone, Debug, Default)]
pub(crate) struct EndWriter(Arc<Mutex<()>>);

impl EndWriter {
    /// Adds an end, durably, and lets the oldest go where there are too many. A damaged list is begun anew: no mission's
    /// end waits for what is only told, and the audit log has them all.
    pub(crate) fn add(&self, folder: &StateFolder, end: MissionEnd) -> Result<()> {
        let _turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ends = match MissionEnds::load(folder) {
            Err(error @ AgentError::Record { .. }) => {
                tracing::error!(%error, "the latest ends are listed anew");
                MissionEnds::default()
            }
            loaded => loaded?,
        };
        ends.0.retain(|other| other.mission != end.mission);
        ends.0.push(end);
        let surplus = ends.0.len().saturating_sub(MOST_ENDS);
        ends.0.drain(..surplus);
        Ok(folder.write(FILE, &ends.to_canonical())?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ends_that_come_at_once_are_all_listed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = StateFolder::open(dir.path()).unwrap();
        let writer = EndWriter::default();
        std::thread::scope(|threads| {
            for thread in 0..8 {
                let (writer, folder) = (writer.clone(), &folder);
                threads.spawn(move || {
                    for end in 0..4 {
                        let end = MissionEnd {
                            mission: MissionId::new([thread * 4 + end; 16]),
                            level: Level::Cui,
                            over: MissionOver::Stopped,
                            at_utc_ms: None,
                        };
                        writer.add(folder, end).unwrap();
                    }
                });
            }
        });
        assert_eq!(MissionEnds::load(&folder).unwrap().0.len(), MOST_ENDS);
    }
}
