//! What the authority keeps of robots whose root of trust is no TPM.

use alcub3_attestation::health::History;
use alcub3_crypto::VerifyingKey;
use alcub3_fleet_protocol::platform::{PlatformVerdict, VerifiedPlatform};
use alcub3_trust_model::RobotId;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fields, Reader};

use crate::robots::RobotError;
use crate::store::{StateFolder, StoreError};

const ENROLMENTS: &str = "platform-enrolments";
const STANDINGS: &str = "platform-standings";
const RELEASED: &str = "platform-generations";
const DOMAIN: &str = "alcub3/authority-platform-standing/v1";
const RELEASED_DOMAIN: &str = "alcub3/authority-platform-generation/v1";
const VERSION: u64 = 1;

/// What was last seen of such a robot.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PlatformStanding {
    /// The highest sequence number that its root of trust signed, where its kind has one.
    pub last_sequence: Option<u64>,
    /// When it was last found trusted, UTC in milliseconds; none where it is untrusted now.
    pub trusted_at_ms: Option<u64>,
    /// The last judgements.
    pub history: History,
    /// When its signed state last said that it is stopped, UTC in milliseconds; none where two persons rearmed it since.
    pub stopped_at_ms: Option<u64>,
}

impl PlatformStanding {
    /// What stays of it where the device's sequence numbers begin anew. A stop stays: two persons end it, and nobody else.
    pub(super) fn anew(self) -> Self {
        Self {
            history: self.history,
            stopped_at_ms: self.stopped_at_ms,
            ..Self::default()
        }
    }

    /// Notes a judgement, with the codes of what makes the robot untrusted.
    pub(super) fn note(&mut self, verdict: &PlatformVerdict, codes: &[&'static str]) {
        let judgement = verdict.judgement();
        let (is_trusted, at_ms) = (judgement.is_trusted(), judgement.judged_at_ms());
        self.last_sequence = self.last_sequence.max(judgement.sequence());
        self.trusted_at_ms = is_trusted.then_some(at_ms);
        self.history.note(at_ms, is_trusted, codes);
        if verdict.state().is_some_and(|state| state.stopped) {
            self.stopped_at(at_ms);
        }
    }

    /// Notes that the robot's signed state says that it is stopped, UTC in milliseconds.
    pub(super) fn stopped_at(&mut self, at_ms: u64) {
        self.stopped_at_ms = Some(at_ms);
        self.trusted_at_ms = None;
    }

    fn encode(&self) -> Vec<u8> {
        let optional = [self.last_sequence, self.trusted_at_ms, self.stopped_at_ms];
        let optional = optional.iter().flatten().count();
        let mut out = Encoder::structure(DOMAIN, VERSION, 1 + optional);
        for (key, value) in [(2, self.last_sequence), (3, self.trusted_at_ms)] {
            if let Some(value) = value {
                out.u64(key).u64(value);
            }
        }
        out.u64(4).bytes(&self.history.to_canonical());
        if let Some(at_ms) = self.stopped_at_ms {
            out.u64(5).u64(at_ms);
        }
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        let last_sequence = optional(r, &mut fields, 2, "last_sequence")?;
        let trusted_at_ms = optional(r, &mut fields, 3, "trusted_at_ms")?;
        fields.key(r, 4, "history")?;
        let history = History::from_canonical(r.bytes("history")?)?;
        let stopped_at_ms = optional(r, &mut fields, 5, "stopped_at_ms")?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            last_sequence,
            trusted_at_ms,
            history,
            stopped_at_ms,
        })
    }
}

fn optional(
    r: &mut Reader<'_>,
    fields: &mut Fields,
    key: u64,
    field: &'static str,
) -> Result<Option<u64>, DecodeError> {
    match fields.optional(r, key, field)? {
        true => r.u64(field).map(Some),
        false => Ok(None),
    }
}

pub(super) fn find(
    folder: &StateFolder,
    authority: &VerifyingKey,
    robot: &RobotId,
) -> Result<Option<VerifiedPlatform>, RobotError> {
    let Some(bytes) = folder.get(ENROLMENTS, robot.as_str())? else {
        return Ok(None);
    };
    let verified = VerifiedPlatform::verify_of(&bytes, authority, robot);
    verified.map(Some).map_err(|source| RobotError::Platform {
        robot: robot.clone(),
        source: Box::new(source),
    })
}

pub(super) fn put(
    folder: &StateFolder,
    robot: &RobotId,
    platform: &VerifiedPlatform,
) -> Result<(), StoreError> {
    folder.put(ENROLMENTS, robot.as_str(), platform.as_bytes())
}

/// Removes the record of a robot and what was seen of it.
pub(super) fn remove(folder: &StateFolder, robot: &RobotId) -> Result<(), StoreError> {
    folder.remove(ENROLMENTS, robot.as_str())?;
    folder.remove(STANDINGS, robot.as_str())
}

/// Notes the last generation of a name that is released.
pub(super) fn put_released(folder: &StateFolder, robot: &RobotId, generation: u64) -> Result<(), StoreError> {
    let mut out = Encoder::structure(RELEASED_DOMAIN, VERSION, 1);
    out.u64(2).u64(generation);
    folder.put(RELEASED, robot.as_str(), &out.finish())
}

/// The last generation of a name when it was released; none where it never was.
pub(super) fn released(folder: &StateFolder, robot: &RobotId) -> Result<Option<u64>, RobotError> {
    let Some(bytes) = folder.get(RELEASED, robot.as_str())? else {
        return Ok(None);
    };
    read_released(&bytes)
        .map(Some)
        .map_err(|source| RobotError::Standing {
            robot: robot.clone(),
            source,
        })
}

fn read_released(bytes: &[u8]) -> Result<u64, DecodeError> {
    let mut reader = Reader::new(RELEASED_DOMAIN, bytes);
    let r = &mut reader;
    let mut fields = r.structure(RELEASED_DOMAIN, VERSION)?;
    fields.key(r, 2, "generation")?;
    let generation = r.u64("generation")?;
    fields.finish(r)?;
    r.finish()?;
    Ok(generation)
}

pub(super) fn names(folder: &StateFolder) -> Result<Vec<RobotId>, StoreError> {
    let names = folder.keys(ENROLMENTS)?.into_iter();
    Ok(names.filter_map(|name| RobotId::new(name).ok()).collect())
}

pub(super) fn standing(folder: &StateFolder, robot: &RobotId) -> Result<PlatformStanding, RobotError> {
    let Some(bytes) = folder.get(STANDINGS, robot.as_str())? else {
        return Ok(PlatformStanding::default());
    };
    PlatformStanding::decode(&bytes).map_err(|source| RobotError::Standing {
        robot: robot.clone(),
        source,
    })
}

pub(super) fn put_standing(
    folder: &StateFolder,
    robot: &RobotId,
    standing: &PlatformStanding,
) -> Result<(), StoreError> {
    folder.put(STANDINGS, robot.as_str(), &standing.encode())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_reads_back_exactly() {
        let mut history = History::default();
        history.note(1_790_000_000_000, false, &["psa-signature"]);
        let full = PlatformStanding {
            last_sequence: Some(9),
            trusted_at_ms: Some(1_790_000_000_000),
            history,
            stopped_at_ms: Some(1_790_000_000_001),
        };
        for standing in [PlatformStanding::default(), full] {
            let bytes = standing.encode();
            assert_eq!(PlatformStanding::decode(&bytes).unwrap(), standing);
            for cut in 0..bytes.len() {
                assert!(PlatformStanding::decode(&bytes[..cut]).is_err());
            }
        }
    }
}
