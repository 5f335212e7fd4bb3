//! What the authority keeps of each robot: its signed enrolment, its reference values, and what was last seen.

use alcub3_attestation::appraisal::{LastSeen, PlatformRecord, Reason, ReferenceError, ReferenceValues};
use alcub3_attestation::attest::ClockInfo;
use alcub3_attestation::health::History;
use alcub3_crypto::VerifyingKey;
use alcub3_crypto::tpm::Name;
use alcub3_fleet_protocol::platform::PlatformError;
use alcub3_fleet_protocol::{RecordError, VerifiedEnrolment};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::hardware::{HardwareRecord, Part, PartClass, shared_identity};
use alcub3_trust_model::{RobotId, StopId};

use crate::store::{StateFolder, StoreError};

const ENROLMENTS: &str = "robots";
const REFERENCES: &str = "references";
const STANDINGS: &str = "standings";
const HARDWARE: &str = "hardware";
const PLATFORMS: &str = "platforms";
const DOMAIN: &str = "alcub3/authority-standing/v1";
const VERSION: u64 = 2;
/// How many stops of one robot are remembered; the oldest are forgotten first, and a robot's log begins anew with
/// every boot.
const MAX_STOPS: usize = 256;

/// A robot's records could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RobotError {
    /// No such robot.
    #[error("robot {0} is not enrolled with this authority: enrol it first")]
    Unknown(RobotId),
    /// The robot has no reference values.
    #[error(
        "robot {0} has no reference values: hand in the boot log of a known good start, or a reference document"
    )]
    NoReference(RobotId),
    /// The enrolment record does not verify.
    #[error("the enrolment of robot {robot}: {source}; restore the state folder from a backup")]
    Enrolment {
        /// Which robot.
        robot: RobotId,
        /// What is wrong.
        source: RecordError,
    },
    /// The enrolment of a robot whose root of trust is no TPM does not verify.
    #[error("the enrolment of robot {robot}: {source}; restore the state folder from a backup")]
    Platform {
        /// Which robot.
        robot: RobotId,
        /// What is wrong.
        source: Box<PlatformError>,
    },
    /// The reference values do not read.
    #[error("the reference values of robot {robot}: {source}")]
    Reference {
        /// Which robot.
        robot: RobotId,
        /// What is wrong.
        source: ReferenceError,
    },
    /// What is held of the robot's audit log does not read.
    #[error("the audit head of robot {robot}: {source}; restore the state folder from a backup")]
    AuditHead {
        /// Which robot.
        robot: RobotId,
        /// What is wrong.
        source: DecodeError,
    },
    /// The hardware record does not read.
    #[error("the hardware record of robot {robot}: {source}; restore the state folder from a backup")]
    Hardware {
        /// Which robot.
        robot: RobotId,
        /// What is wrong.
        source: DecodeError,
    },
    /// There is no hardware record.
    #[error("the hardware record of robot {0} is missing; restore the state folder from a backup")]
    NoHardware(RobotId),
    /// An approved replacement does not read.
    #[error("the approved replacement {session}: {source}; restore the state folder from a backup")]
    Replacement {
        /// Its exchange.
        session: String,
        /// What is wrong.
        source: DecodeError,
    },
    /// What was last seen does not read.
    #[error("what was last seen of robot {robot}: {source}; restore the state folder from a backup")]
    Standing {
        /// Which robot.
        robot: RobotId,
        /// What is wrong.
        source: DecodeError,
    },
    /// The answers that it may gather offline evidence behind do not read.
    #[error("the answers to robot {robot}: {source}; restore the state folder from a backup")]
    OfflineAnchors {
        /// Which robot.
        robot: RobotId,
        /// What is wrong.
        source: DecodeError,
    },
    /// The epochs approved under its name do not read.
    #[error("the approved epochs of robot {robot}: {source}; restore the state folder from a backup")]
    Epochs {
        /// Which robot.
        robot: RobotId,
        /// What is wrong.
        source: DecodeError,
    },
    /// An approval for a robot that had the name before would fit this one.
    #[error(
        "robot {robot} is at epoch {found}, and epochs up to {approved} were approved for another TPM of that name: stop the \
         robot until its epoch is above, each stop counts it up by one, and ask again"
    )]
    EpochOfPredecessor {
        /// Which robot.
        robot: RobotId,
        /// The epoch that its TPM certified.
        found: u64,
        /// The highest epoch approved for its predecessors.
        approved: u64,
    },
    /// Two persons ordered its purge.
    #[error(
        "robot {0} was purged by order of two persons: it is served no more, and its TPM is enrolled again only once the \
         purge's receipt was judged and proves that it was cleared"
    )]
    Purged(RobotId),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was last seen of a robot.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// Its last evidence whose quote held.
    pub last_seen: Option<LastSeen>,
    /// When it was last found trusted, UTC in milliseconds.
    pub trusted_at_ms: Option<u64>,
    /// Stops of the whole robot that were seen in its evidence or its receipts, oldest first.
    pub stops: Vec<StopId>,
    /// Those of them that two persons have rearmed.
    pub rearmed: Vec<StopId>,
    /// The last judgements of what its TPM signed.
    pub history: History,
    /// The highest epoch that its TPM certified behind a stop, until a rearm names it or a later one.
    pub stopped_epoch: Option<u64>,
}

impl Standing {
    /// Notes stops.
    pub(crate) fn saw_stops(&mut self, stops: impl IntoIterator<Item = StopId>) {
        for stop in stops {
            if !self.stops.contains(&stop) {
                self.stops.push(stop);
            }
        }
        let surplus = self.stops.len().saturating_sub(MAX_STOPS);
        self.stops.drain(..surplus);
    }

    /// Notes stops that something else than live evidence shows. What was found good before a new one says nothing of the robot
    /// after it.
    pub(crate) fn learned_of_stops(&mut self, stops: impl IntoIterator<Item = StopId>, now_ms: u64) {
        let is_known = |stop: &StopId| self.stops.contains(stop) || self.rearmed.contains(stop);
        let new: Vec<StopId> = stops.into_iter().filter(|stop| !is_known(stop)).collect();
        if new.is_empty() {
            return;
        }
        self.saw_stops(new);
        self.trusted_at_ms = None;
        self.history.note(now_ms, false, &[Reason::StopInForce.code()]);
    }

    /// Notes the epoch that the TPM certified behind a stop.
    pub(crate) fn stopped_at(&mut self, epoch: u64) {
        self.stopped_epoch = self.stopped_epoch.max(Some(epoch));
    }

    /// Notes a rearm: the stops that it was proposed for, and the epoch that it names.
    pub(crate) fn rearmed_at(&mut self, epoch: u64, stops: Vec<StopId>) {
        self.rearmed = stops;
        self.stopped_epoch = self.stopped_epoch.filter(|stopped| *stopped > epoch);
    }

    /// Notes that persons have rearmed a stop.
    pub(crate) fn saw_rearmed(&mut self, stop: StopId) {
        self.saw_stops([stop]);
        if !self.rearmed.contains(&stop) {
            self.rearmed.push(stop);
        }
        let surplus = self.rearmed.len().saturating_sub(MAX_STOPS);
        self.rearmed.drain(..surplus);
    }

    /// The stops that were seen and that nobody rearmed.
    pub(crate) fn stops_in_force(&self) -> impl Iterator<Item = StopId> {
        let in_force = self.stops.iter().filter(|stop| !self.rearmed.contains(stop));
        in_force.copied()
    }

    fn encode(&self) -> Vec<u8> {
        let seen = self.last_seen.is_some();
        let trusted = self.trusted_at_ms.is_some();
        let stopped = self.stopped_epoch.is_some();
        let optional = [seen, trusted, stopped].map(usize::from);
        let mut out = Encoder::structure(DOMAIN, VERSION, 3 + optional.iter().sum::<usize>());
        if let Some(LastSeen { sequence, clock }) = &self.last_seen {
            out.u64(2).array(5).u64(*sequence).u64(clock.clock_ms);
            out.u64(clock.reset_count.into())
                .u64(clock.restart_count.into())
                .bool(clock.safe);
        }
        if let Some(at) = self.trusted_at_ms {
            out.u64(3).u64(at);
        }
        for (key, stops) in [(4, &self.stops), (5, &self.rearmed)] {
            out.u64(key).array(stops.len());
            for stop in stops {
                out.bytes(stop.as_bytes());
            }
        }
        out.u64(6).bytes(&self.history.to_canonical());
        if let Some(epoch) = self.stopped_epoch {
            out.u64(7).u64(epoch);
        }
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        let seen = fields.optional(r, 2, "last_seen")?;
        let last_seen = if seen { Some(decode_last_seen(r)?) } else { None };
        let trusted = fields.optional(r, 3, "trusted_at_ms")?;
        let trusted_at_ms = if trusted {
            Some(r.u64("trusted_at_ms")?)
        } else {
            None
        };
        fields.key(r, 4, "stops")?;
        let stops = decode_stops(r)?;
        fields.key(r, 5, "rearmed")?;
        let rearmed = decode_stops(r)?;
        fields.key(r, 6, "history")?;
        let history = History::from_canonical(r.bytes("history")?)?;
        let stopped_epoch = match fields.optional(r, 7, "stopped_epoch")? {
            true => Some(r.u64("stopped_epoch")?),
            false => None,
        };
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            last_seen,
            trusted_at_ms,
            stops,
            rearmed,
            history,
            stopped_epoch,
        })
    }
}

fn decode_last_seen(r: &mut Reader<'_>) -> Result<LastSeen, DecodeError> {
    r.array_of("last_seen", 5)?;
    let sequence = r.u64("sequence")?;
    let clock_ms = r.u64("clock_ms")?;
    let reset_count = r.u32("reset_count")?;
    let restart_count = r.u32("restart_count")?;
    let safe = r.bool("safe")?;
    Ok(LastSeen {
        sequence,
        clock: ClockInfo {
            clock_ms,
            reset_count,
            restart_count,
            safe,
        },
    })
}

fn decode_stops(r: &mut Reader<'_>) -> Result<Vec<StopId>, DecodeError> {
    let count = r.array("stops", MAX_STOPS)?;
    let stop = |r: &mut Reader<'_>| {
        StopId::from_slice(r.bytes("stops")?).map_err(|_| r.fault("stops", Fault::Value))
    };
    (0..count).map(|_| stop(r)).collect()
}

pub(crate) fn enrolment(
    folder: &StateFolder,
    authority: &VerifyingKey,
    robot: &RobotId,
) -> Result<VerifiedEnrolment, RobotError> {
    let bytes = folder
        .get(ENROLMENTS, robot.as_str())?
        .ok_or_else(|| RobotError::Unknown(robot.clone()))?;
    let verified = VerifiedEnrolment::verify(&bytes, authority);
    let verified = verified.map_err(|source| RobotError::Enrolment {
        robot: robot.clone(),
        source,
    })?;
    // A record under another robot's name would lend that robot this one's key.
    if verified.record().robot == *robot {
        return Ok(verified);
    }
    let source = RecordError::WrongRobot(verified.record().robot.clone());
    Err(RobotError::Enrolment {
        robot: robot.clone(),
        source,
    })
}

pub(crate) fn put_enrolment(folder: &StateFolder, robot: &RobotId, signed: &[u8]) -> Result<(), StoreError> {
    folder.put(ENROLMENTS, robot.as_str(), signed)
}

pub(crate) fn names(folder: &StateFolder) -> Result<Vec<String>, StoreError> {
    folder.keys(ENROLMENTS)
}

pub(crate) fn hardware(folder: &StateFolder, robot: &RobotId) -> Result<HardwareRecord, RobotError> {
    let bytes = folder
        .get(HARDWARE, robot.as_str())?
        .ok_or_else(|| RobotError::NoHardware(robot.clone()))?;
    HardwareRecord::from_canonical(&bytes).map_err(|source| RobotError::Hardware {
        robot: robot.clone(),
        source,
    })
}

pub(crate) fn put_hardware(
    folder: &StateFolder,
    robot: &RobotId,
    record: &HardwareRecord,
) -> Result<(), StoreError> {
    folder.put(HARDWARE, robot.as_str(), &record.to_canonical())
}

/// A purged robot whose chip another robot has now holds no hardware any more.
pub(crate) fn remove_hardware(folder: &StateFolder, robot: &RobotId) -> Result<(), StoreError> {
    folder.remove(HARDWARE, robot.as_str())
}

/// The enrolled robots, other than this one, that have a part which makes a robot what it is in common with a record, whichever of
/// its Names the endorsement key was enrolled under.
pub(crate) fn holders_of_identity(
    folder: &StateFolder,
    robot: &RobotId,
    record: &HardwareRecord,
    endorsement_key_names: &[Name],
) -> Result<Vec<(RobotId, Part)>, RobotError> {
    let mut holders = Vec::new();
    for name in folder.keys(HARDWARE)? {
        let Some(other) = RobotId::new(name).ok().filter(|other| other != robot) else {
            continue;
        };
        let held = hardware(folder, &other)?;
        let names = [record.endorsement_key].into_iter();
        let mut names = names.chain(endorsement_key_names.iter().copied());
        let shared = names.find_map(|endorsement_key| {
            let record = HardwareRecord {
                endorsement_key,
                ..record.clone()
            };
            shared_identity(&record, &held)
        });
        holders.extend(shared.map(|part| (other, part)));
    }
    Ok(holders)
}

/// The enrolled robots, other than this one, whose records name a part of that class and serial number.
pub(crate) fn holders_of_part(
    folder: &StateFolder,
    robot: &RobotId,
    class: PartClass,
    serial: &str,
) -> Result<Vec<RobotId>, RobotError> {
    let mut holders = Vec::new();
    for name in folder.keys(HARDWARE)? {
        let Some(other) = RobotId::new(name).ok().filter(|other| other != robot) else {
            continue;
        };
        let record = hardware(folder, &other)?;
        if record
            .inventory
            .parts()
            .any(|part| part.class == class && part.serial == serial)
        {
            holders.push(other);
        }
    }
    Ok(holders)
}

pub(crate) fn reference(folder: &StateFolder, robot: &RobotId) -> Result<ReferenceValues, RobotError> {
    let bytes = folder
        .get(REFERENCES, robot.as_str())?
        .ok_or_else(|| RobotError::NoReference(robot.clone()))?;
    let values = ReferenceValues::from_bytes(&bytes);
    values.map_err(|source| RobotError::Reference {
        robot: robot.clone(),
        source,
    })
}

pub(crate) fn put_reference(
    folder: &StateFolder,
    robot: &RobotId,
    values: &ReferenceValues,
) -> Result<(), StoreError> {
    folder.put(REFERENCES, robot.as_str(), values.to_json().as_bytes())
}

pub(crate) fn standing(folder: &StateFolder, robot: &RobotId) -> Result<Standing, RobotError> {
    let Some(bytes) = folder.get(STANDINGS, robot.as_str())? else {
        return Ok(Standing::default());
    };
    Standing::decode(&bytes).map_err(|source| RobotError::Standing {
        robot: robot.clone(),
        source,
    })
}

pub(crate) fn put_standing(
    folder: &StateFolder,
    robot: &RobotId,
    standing: &Standing,
) -> Result<(), StoreError> {
    folder.put(STANDINGS, robot.as_str(), &standing.encode())
}

/// What of a robot's platform was judged good last; nothing where the record does not read.
pub(crate) fn platform(folder: &StateFolder, robot: &RobotId) -> Result<PlatformRecord, StoreError> {
    let unread = |error: &dyn std::error::Error| {
        tracing::warn!(%robot, %error, "what was judged good of its platform does not read; its logs are asked for again");
        PlatformRecord::default()
    };
    match folder.get(PLATFORMS, robot.as_str()) {
        Ok(Some(bytes)) => Ok(PlatformRecord::from_canonical(&bytes).unwrap_or_else(|error| unread(&error))),
        Ok(None) => Ok(PlatformRecord::default()),
        Err(error @ StoreError::Damaged(_)) => Ok(unread(&error)),
        Err(error) => Err(error),
    }
}

pub(crate) fn put_platform(
    folder: &StateFolder,
    robot: &RobotId,
    platform: &PlatformRecord,
) -> Result<(), StoreError> {
    folder.put(PLATFORMS, robot.as_str(), &platform.to_canonical())
}

pub(crate) fn remove_platform(folder: &StateFolder, robot: &RobotId) -> Result<(), StoreError> {
    folder.remove(PLATFORMS, robot.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_reads_back_exactly() {
        let clock = ClockInfo {
            clock_ms: 77,
            reset_count: 3,
            restart_count: 1,
            safe: true,
        };
        let mut history = History::default();
        history.note(1_790_000_000_000, false, &["signature"]);
        let full = Standing {
            last_seen: Some(LastSeen { sequence: 9, clock }),
            trusted_at_ms: Some(1_790_000_000_000),
            stops: vec![StopId::new([1; 16]), StopId::new([2; 16])],
            rearmed: vec![StopId::new([1; 16])],
            history,
            stopped_epoch: Some(8),
        };
        for standing in [Standing::default(), full] {
            let bytes = standing.encode();
            assert_eq!(Standing::decode(&bytes).unwrap(), standing);
            for cut in 0..bytes.len() {
                assert!(Standing::decode(&bytes[..cut]).is_err());
            }
        }
    }

    #[test]
    fn stops_are_noted_once_and_not_without_end() {
        let mut standing = Standing::default();
        let stop = |number: u16| {
            let mut bytes = [0; 16];
            bytes[..2].copy_from_slice(&number.to_be_bytes());
            StopId::new(bytes)
        };
        standing.saw_stops((0..300).map(stop));
        standing.saw_stops([stop(299)]);
        assert_eq!(standing.stops.len(), MAX_STOPS);
        assert_eq!(standing.stops.last(), Some(&stop(299)));
        assert_eq!(Standing::decode(&standing.encode()).unwrap(), standing);
    }
}
