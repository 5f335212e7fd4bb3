//! The last signed answers that each robot may gather offline evidence behind, and what was judged behind each.

use alcub3_attestation::appraisal::LastSeen;
use alcub3_attestation::attest::ClockInfo;
use alcub3_attestation::offline::Anchored;
use alcub3_crypto::Digest;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{RobotId, StopId};

use crate::robots::RobotError;
use crate::store::StateFolder;

const COLLECTION: &str = "offline-anchors";
const DOMAIN: &str = "alcub3/authority-offline-anchors/v1";
const VERSION: u64 = 1;
/// How many answers are known of one robot: the oldest are forgotten first. Answers that were lost on their way count as well.
const MAX_ANSWERS: usize = 16;
/// The most rearmed stops of one robot, as of its standing.
const MAX_STOPS: usize = 256;

/// What was judged behind an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Judged {
    /// How many links.
    pub(crate) count: u64,
    /// The digest of the last of them.
    pub(crate) head: Digest,
    /// The sequence number of the newest evidence among them.
    pub(crate) sequence: u64,
    /// The digest of the next link as it was received, where that proved nothing.
    pub(crate) broken: Option<Digest>,
    /// The signed answer that was given.
    pub(crate) answer: Vec<u8>,
}

impl Judged {
    /// Whether so many links, and this broken one behind them, say nothing that was not answered.
    pub(crate) fn covers(&self, count: u64, broken: Option<&Digest>) -> bool {
        let says_nothing_new = count < self.count || (count == self.count && self.broken.as_ref() == broken);
        says_nothing_new && !self.answer.is_empty()
    }

    /// Of an earlier version, which kept no answer, the three fields before it.
    fn decode(r: &mut Reader<'_>, fields: usize) -> Result<Self, DecodeError> {
        let mut judged = Self {
            count: r.u64("judged count")?,
            head: r.digest("judged head")?,
            sequence: r.u64("judged sequence")?,
            broken: None,
            answer: Vec::new(),
        };
        if fields == 5 {
            if r.array("broken", 1)? == 1 {
                judged.broken = Some(r.digest("broken")?);
            }
            judged.answer = r.bytes("answer")?.to_vec();
        }
        Ok(judged)
    }
}

/// One answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Answer {
    pub(crate) anchored: Anchored,
    pub(crate) judged: Option<Judged>,
    /// The sequence number of the first live evidence that was judged since.
    pub(crate) live: Option<u64>,
}

impl Answer {
    pub(crate) const fn new(anchored: Anchored) -> Self {
        Self {
            anchored,
            judged: None,
            live: None,
        }
    }

    fn encode(&self, out: &mut Encoder) {
        let Anchored {
            anchor,
            given_at_ms,
            last_seen: LastSeen { sequence, clock },
            quoted_after_ms,
            rearmed,
        } = &self.anchored;
        out.array(7)
            .digest(anchor)
            .u64(*given_at_ms)
            .u64(*quoted_after_ms);
        out.array(5).u64(*sequence).u64(clock.clock_ms);
        out.u64(clock.reset_count.into())
            .u64(clock.restart_count.into())
            .bool(clock.safe);
        out.array(rearmed.len());
        for stop in rearmed {
            out.bytes(stop.as_bytes());
        }
        match &self.judged {
            Some(judged) => {
                out.array(5).u64(judged.count).digest(&judged.head);
                out.u64(judged.sequence);
                match &judged.broken {
                    Some(broken) => out.array(1).digest(broken),
                    None => out.array(0),
                };
                out.bytes(&judged.answer)
            }
            None => out.array(0),
        };
        match self.live {
            Some(live) => out.array(1).u64(live),
            None => out.array(0),
        };
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.array_of("answer", 7)?;
        let anchor = r.digest("anchor")?;
        let given_at_ms = r.u64("given_at_ms")?;
        let quoted_after_ms = r.u64("quoted_after_ms")?;
        let last_seen = last_seen(r)?;
        let count = r.array("rearmed", MAX_STOPS)?;
        let rearmed = (0..count)
            .map(|_| Ok(StopId::new(*r.bytes_of("rearmed")?)))
            .collect::<Result<_, DecodeError>>()?;
        let judged = match r.array("judged", 5)? {
            0 => None,
            fields @ (3 | 5) => Some(Judged::decode(r, fields)?),
            _ => return Err(r.fault("judged", Fault::Value)),
        };
        let live = match r.array("live", 1)? {
            0 => None,
            _ => Some(r.u64("live")?),
        };
        Ok(Self {
            anchored: Anchored {
                anchor,
                given_at_ms,
                last_seen,
                quoted_after_ms,
                rearmed,
            },
            judged,
            live,
        })
    }
}

fn last_seen(r: &mut Reader<'_>) -> Result<LastSeen, DecodeError> {
    r.array_of("last_seen", 5)?;
    Ok(LastSeen {
        sequence: r.u64("sequence")?,
        clock: ClockInfo {
            clock_ms: r.u64("clock_ms")?,
            reset_count: r.u32("reset_count")?,
            restart_count: r.u32("restart_count")?,
            safe: r.bool("safe")?,
        },
    })
}

fn encode(answers: &[Answer]) -> Vec<u8> {
    let mut out = Encoder::structure(DOMAIN, VERSION, 1);
    out.u64(2).array(answers.len());
    for answer in answers {
        answer.encode(&mut out);
    }
    out.finish()
}

fn decode(bytes: &[u8]) -> Result<Vec<Answer>, DecodeError> {
    let mut reader = Reader::new(DOMAIN, bytes);
    let r = &mut reader;
    let mut fields = r.structure(DOMAIN, VERSION)?;
    fields.key(r, 2, "answers")?;
    let count = r.array("answers", MAX_ANSWERS)?;
    let answers = (0..count).map(|_| Answer::decode(r)).collect::<Result<_, _>>()?;
    fields.finish(r)?;
    r.finish()?;
    Ok(answers)
}

fn load(folder: &StateFolder, robot: &RobotId) -> Result<Vec<Answer>, RobotError> {
    let Some(bytes) = folder.get(COLLECTION, robot.as_str())? else {
        return Ok(Vec::new());
    };
    decode(&bytes).map_err(|source| RobotError::OfflineAnchors {
        robot: robot.clone(),
        source,
    })
}

fn save(folder: &StateFolder, robot: &RobotId, answers: &[Answer]) -> Result<(), RobotError> {
    Ok(folder.put(COLLECTION, robot.as_str(), &encode(answers))?)
}

/// The answer of this digest, if it was this robot's and is still known.
pub(crate) fn find(
    folder: &StateFolder,
    robot: &RobotId,
    anchor: &Digest,
) -> Result<Option<Answer>, RobotError> {
    let known = load(folder, robot)?;
    Ok(known.into_iter().find(|answer| answer.anchored.anchor == *anchor))
}

/// Keeps an answer, in the place of what was kept of it. It is then the newest: a queue that is sent again and again, longer each
/// time, has an answer each time, and those must not crowd out the one that it begins behind.
pub(crate) fn put(folder: &StateFolder, robot: &RobotId, answer: Answer) -> Result<(), RobotError> {
    let mut answers = load(folder, robot)?;
    answers.retain(|known| known.anchored.anchor != answer.anchored.anchor);
    answers.push(answer);
    let surplus = answers.len().saturating_sub(MAX_ANSWERS);
    answers.drain(..surplus);
    save(folder, robot, &answers)
}

/// The newest number that offline evidence showed, where no live evidence was judged since.
pub(crate) fn shown(folder: &StateFolder, robot: &RobotId) -> Result<Option<u64>, RobotError> {
    let answers = load(folder, robot)?;
    let waiting = answers.iter().filter(|answer| answer.live.is_none());
    Ok(waiting
        .filter_map(|answer| Some(answer.judged.as_ref()?.sequence))
        .max())
}

/// Notes live evidence behind every answer that had none since, and the answer to it, where there is one to begin behind.
pub(crate) fn note_live(
    folder: &StateFolder,
    robot: &RobotId,
    sequence: u64,
    answer: Option<Answer>,
) -> Result<(), RobotError> {
    let mut answers = load(folder, robot)?;
    let before = answers.clone();
    for known in answers.iter_mut().filter(|known| known.live.is_none()) {
        known.live = Some(sequence);
    }
    answers.extend(answer);
    let surplus = answers.len().saturating_sub(MAX_ANSWERS);
    answers.drain(..surplus);
    if answers == before {
        return Ok(());
    }
    save(folder, robot, &answers)
}

/// Another chip has the name, or this one begins anew: nothing was given to it yet.
pub(crate) fn forget(folder: &StateFolder, robot: &RobotId) -> Result<(), RobotError> {
    Ok(folder.remove(COLLECTION, robot.as_str())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alcub3_crypto::HashAlg;

    #[test]
    fn answers_read_back_exactly() {
        let clock = ClockInfo {
            clock_ms: 7,
            reset_count: 2,
            restart_count: 1,
            safe: false,
        };
        let digest = |text: &[u8]| HashAlg::Sha256.digest(&[text]);
        let plain = Answer::new(Anchored {
            anchor: digest(b"lease"),
            given_at_ms: 9,
            last_seen: LastSeen { sequence: 5, clock },
            quoted_after_ms: 8,
            rearmed: vec![StopId::new([1; 16])],
        });
        let full = Answer {
            judged: Some(Judged {
                count: 3,
                head: digest(b"link"),
                sequence: 8,
                broken: Some(digest(b"broken")),
                answer: vec![7; 40],
            }),
            live: Some(11),
            ..plain.clone()
        };
        for answers in [vec![], vec![plain.clone()], vec![full, plain]] {
            let bytes = encode(&answers);
            assert_eq!(decode(&bytes).unwrap(), answers);
            for cut in 0..bytes.len() {
                assert!(decode(&bytes[..cut]).is_err());
            }
        }
    }
}
