//! The messages around offline evidence: the queue that a robot sends once it has an authority in reach, and the signed answer,
//! which is what the robot's next queue is anchored in. What a link is and how it is judged is `alcub3-attestation`'s.

use alcub3_attestation::offline::{MAX_LINK_BYTES, MAX_LINKS, MAX_QUEUE_BYTES};
use alcub3_command_authority::cose::{CoseError, Message as Cose, Unsigned};
use alcub3_crypto::{Digest, HashAlg, Suite, VerifyingKey};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{RobotId, domain};

use crate::wire::{self, Message};

const VERSION: u64 = 1;
/// The hash of anchors and links.
const ALG: HashAlg = HashAlg::Sha256;

/// A robot's links, oldest first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OfflineQueue {
    /// The robot.
    pub robot: RobotId,
    /// The digest of the authority's answer before the first link.
    pub anchor: Digest,
    /// The links.
    pub links: Vec<Vec<u8>>,
}

impl OfflineQueue {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::OFFLINE_QUEUE, VERSION, 3);
        out.u64(2).text(self.robot.as_str());
        out.u64(3).bytes(self.anchor.as_bytes());
        out.u64(4).array(self.links.len());
        for link in &self.links {
            out.bytes(link);
        }
        out.finish()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::OFFLINE_QUEUE, VERSION, bytes)?;
        let robot = wire::robot(m.at(2, "robot")?)?;
        let anchor = digest(m.at(3, "anchor")?, "anchor")?;
        let r = m.at(4, "links")?;
        let links = wire::list(r, "links", MAX_LINKS, |r| {
            wire::bounded(r, "links", MAX_LINK_BYTES)
        })?;
        let total = links.iter().map(Vec::len).sum::<usize>();
        if links.is_empty() || total > MAX_QUEUE_BYTES {
            return Err(m.r.fault("links", Fault::Value));
        }
        m.finish()?;
        Ok(Self { robot, anchor, links })
    }
}

/// The authority's answer: how far it has judged the links behind an anchor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OfflineAnswer {
    /// The robot.
    pub robot: RobotId,
    /// The anchor that was judged from.
    pub anchor: Digest,
    /// How many links were judged.
    pub judged: u64,
    /// The digest of the last of them.
    pub head: Digest,
    /// When it was given, UTC in milliseconds since 1970.
    pub given_at_ms: u64,
    /// The digest of the next link, as it was received, where that proves nothing: what follows it proves nothing either.
    pub broken: Option<Digest>,
}

/// Why an answer is not taken.
#[derive(Debug, thiserror::Error)]
pub enum OfflineAnswerError {
    /// The message is malformed, of another key, or not authentic.
    #[error("the answer to offline evidence is refused: {0}")]
    Cose(#[from] CoseError),
    /// The payload is not the one form allowed.
    #[error("the answer to offline evidence is refused: {0}")]
    Payload(#[from] DecodeError),
    /// It is another robot's.
    #[error("the answer to offline evidence is for robot {0}")]
    WrongRobot(RobotId),
}

impl OfflineAnswer {
    /// The answer, ready to be signed by the authority.
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(
            domain::OFFLINE_ANSWER,
            VERSION,
            5 + usize::from(self.broken.is_some()),
        );
        out.u64(2).text(self.robot.as_str());
        out.u64(3).bytes(self.anchor.as_bytes());
        out.u64(4).u64(self.judged).u64(5).bytes(self.head.as_bytes());
        out.u64(6).u64(self.given_at_ms);
        if let Some(broken) = &self.broken {
            out.u64(7).bytes(broken.as_bytes());
        }
        Unsigned::new(suite, out.finish())
    }

    /// The answer that the authority signed for a robot.
    ///
    /// # Errors
    /// [`OfflineAnswerError`] says why it is not taken.
    pub fn verify(
        bytes: &[u8],
        authority: &VerifyingKey,
        robot: &RobotId,
    ) -> Result<Self, OfflineAnswerError> {
        let message = Cose::parse(domain::OFFLINE_ANSWER, bytes)?;
        message.verify(authority)?;
        let answer = Self::decode(message.payload())?;
        if answer.robot == *robot {
            Ok(answer)
        } else {
            Err(OfflineAnswerError::WrongRobot(answer.robot))
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::OFFLINE_ANSWER, VERSION, bytes)?;
        let mut answer = Self {
            robot: wire::robot(m.at(2, "robot")?)?,
            anchor: digest(m.at(3, "anchor")?, "anchor")?,
            judged: m.at(4, "judged")?.u64("judged")?,
            head: digest(m.at(5, "head")?, "head")?,
            given_at_ms: m.at(6, "given_at_ms")?.u64("given_at_ms")?,
            broken: None,
        };
        if m.has(7, "broken")? {
            answer.broken = Some(digest(&mut m.r, "broken")?);
        }
        m.finish()?;
        Ok(answer)
    }
}

fn digest(r: &mut Reader<'_>, field: &'static str) -> Result<Digest, DecodeError> {
    let bytes = r.bytes_of::<32>(field)?;
    Digest::from_slice(ALG, bytes).ok_or_else(|| r.fault(field, Fault::Value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alcub3_crypto::{Curve, SigningKey};

    fn rover(name: &str) -> RobotId {
        RobotId::new(name).unwrap()
    }

    #[test]
    fn a_queue_reads_back_exactly_and_no_other_form_of_it_does() {
        let queue = OfflineQueue {
            robot: rover("r1"),
            anchor: ALG.digest(&[b"answer"]),
            links: vec![vec![1, 2], vec![3]],
        };
        let bytes = queue.to_canonical();
        assert_eq!(OfflineQueue::from_canonical(&bytes).unwrap(), queue);
        for cut in 0..bytes.len() {
            assert!(OfflineQueue::from_canonical(&bytes[..cut]).is_err());
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(OfflineQueue::from_canonical(&longer).is_err());
        for links in [
            Vec::new(),
            vec![vec![0; MAX_LINK_BYTES]; 3],
            vec![Vec::new(); MAX_LINKS + 1],
        ] {
            let queue = OfflineQueue {
                links,
                ..queue.clone()
            };
            assert!(OfflineQueue::from_canonical(&queue.to_canonical()).is_err());
        }
    }

    #[test]
    fn an_answer_counts_for_its_robot_and_from_the_authority_alone() {
        let key = SigningKey::generate(Curve::P256).unwrap();
        let answer = OfflineAnswer {
            robot: rover("r1"),
            anchor: ALG.digest(&[b"answer"]),
            judged: 4,
            head: ALG.digest(&[b"link"]),
            given_at_ms: 9,
            broken: Some(ALG.digest(&[b"the next"])),
        };
        let signed = answer.unsigned(Suite::EcdsaP256Sha256).sign(&key).unwrap();
        let authority = key.verifying_key();
        let verify = |bytes: &[u8], robot: &str| OfflineAnswer::verify(bytes, &authority, &rover(robot));
        assert_eq!(verify(&signed, "r1").unwrap(), answer);
        assert!(matches!(
            verify(&signed, "r2"),
            Err(OfflineAnswerError::WrongRobot(_))
        ));
        for at in 0..signed.len() {
            let mut changed = signed.clone();
            changed[at] ^= 1;
            assert!(verify(&changed, "r1").is_err(), "byte {at}");
        }
        let other = SigningKey::generate(Curve::P256).unwrap().verifying_key();
        assert!(OfflineAnswer::verify(&signed, &other, &rover("r1")).is_err());
    }
}
