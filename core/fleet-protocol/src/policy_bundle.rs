//! What a robot needs to judge others while no authority is in reach: endorsements, reference values and the policy, in one
//! statement that the authority signed, with a version that only goes up and an end.
//!
//! RFC 9334 words: the bundle holds the Endorsements (enrolments, with each robot's attestation key), the Reference Values and
//! the Appraisal Policy for Evidence; the robot that uses it is Verifier and Relying Party in one.

use alcub3_attestation::appraisal::{ReferenceError, ReferenceValues, RuleInForce};
use alcub3_command_authority::cose::{CoseError, Message as Cose, Unsigned};
use alcub3_crypto::{Suite, VerifyingKey};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{HardwareTier, RobotId, StopId, domain};

use crate::appraisal_policy::MAX_POLICY_BYTES;
use crate::wire::{self, Message};
use crate::{RecordError, StopStanding, VerifiedEnrolment};

const VERSION: u64 = 3;
/// The most robots of one bundle.
pub const MAX_PEERS: usize = 256;
/// The longest bundle, in bytes: a robot keeps it as one file.
pub const MAX_BUNDLE_BYTES: usize = 12 << 20;
const MAX_ENROLMENT: usize = 64 << 10;
/// The most rearmed stops of one robot.
const MAX_STOPS: usize = 256;

/// One robot as others are to judge it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerPolicy {
    /// Its signed enrolment.
    pub enrolment: Vec<u8>,
    /// Its reference values, as JSON.
    pub references: String,
    /// Its stops that two persons have rearmed.
    pub rearmed: Vec<StopId>,
    /// Whether it is under a stop, by the epochs of its TPM.
    pub stops: StopStanding,
    /// The lowest kind of TPM admitted of it.
    pub min_tier: HardwareTier,
    /// How long a judgement of it holds, in milliseconds.
    pub lease_ms: u64,
    /// What the fleet's appraisal policy asks of it, where there is one.
    pub rule: Option<RuleInForce>,
}

/// A bundle as an authority writes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyBundle {
    /// The bundle's own version; a later bundle has a higher one.
    pub version: u64,
    /// When it was issued, UTC in milliseconds since 1970.
    pub issued_at_ms: u64,
    /// When nobody is judged by it any more, UTC in milliseconds since 1970.
    pub not_after_ms: u64,
    /// The robots.
    pub peers: Vec<PeerPolicy>,
}

/// Why a bundle is not followed.
#[derive(Debug, thiserror::Error)]
pub enum PolicyBundleError {
    /// It is longer than any bundle.
    #[error("policy bundle refused: it has {0} bytes, and no bundle has more than {MAX_BUNDLE_BYTES}")]
    TooLong(usize),
    /// The message is malformed, of another key, or not authentic.
    #[error("policy bundle refused: {0}")]
    Cose(#[from] CoseError),
    /// The payload is not the one form allowed.
    #[error("policy bundle refused: {0}")]
    Payload(#[from] DecodeError),
    /// An enrolment in it is none of the authority.
    #[error("policy bundle refused: {0}")]
    Enrolment(#[from] RecordError),
    /// The reference values of a robot in it do not read.
    #[error("policy bundle refused: the reference values of {robot}: {source}")]
    References {
        /// Whose.
        robot: RobotId,
        /// What is wrong with them.
        source: ReferenceError,
    },
    /// A robot is in it twice.
    #[error("policy bundle refused: {0} is in it twice")]
    Twice(RobotId),
    /// It is older than one that was followed before.
    #[error("policy bundle refused: its version {given} is not above {newest}, which is kept")]
    RolledBack {
        /// Its version.
        given: u64,
        /// The newest one seen.
        newest: u64,
    },
    /// Its time is over, or has not come.
    #[error(
        "the policy bundle holds from {from_ms} to {until_ms} (UTC in ms since 1970), and it is {now_ms}: bring a new one"
    )]
    Time {
        /// From.
        from_ms: u64,
        /// To.
        until_ms: u64,
        /// Now.
        now_ms: u64,
    },
}

impl PolicyBundleError {
    /// The reason code, stable across releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::RolledBack { .. } => "bundle-rolled-back",
            Self::Time { .. } => "bundle-out-of-time",
            _ => "bad-bundle",
        }
    }
}

impl PolicyBundle {
    /// The bundle, ready to be signed by the authority.
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(domain::POLICY_BUNDLE, VERSION, 4);
        out.u64(2).u64(self.version).u64(3).u64(self.issued_at_ms);
        out.u64(4).u64(self.not_after_ms).u64(5).array(self.peers.len());
        for peer in &self.peers {
            out.array(8).bytes(&peer.enrolment).text(&peer.references);
            out.array(peer.rearmed.len());
            for stop in &peer.rearmed {
                out.bytes(stop.as_bytes());
            }
            peer.stops.encode(&mut out);
            out.u64(peer.min_tier.id().into()).u64(peer.lease_ms);
            out.array(usize::from(peer.rule.is_some()));
            if let Some(rule) = &peer.rule {
                out.text(&rule.to_json());
            }
        }
        Unsigned::new(suite, out.finish())
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::POLICY_BUNDLE, VERSION, bytes)?;
        let version = m.at(2, "version")?.u64("version")?;
        let issued_at_ms = m.at(3, "issued_at_ms")?.u64("issued_at_ms")?;
        let not_after_ms = m.at(4, "not_after_ms")?.u64("not_after_ms")?;
        let r = m.at(5, "peers")?;
        let count = r.array("peers", MAX_PEERS)?;
        let peers = (0..count)
            .map(|_| PeerPolicy::decode(r))
            .collect::<Result<_, _>>()?;
        m.finish()?;
        Ok(Self {
            version,
            issued_at_ms,
            not_after_ms,
            peers,
        })
    }
}

impl PeerPolicy {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.array_of("peer", 8)?;
        let enrolment = wire::bounded(r, "enrolment", MAX_ENROLMENT)?;
        let references = wire::short_text(r, "references", MAX_BUNDLE_BYTES)?;
        let count = r.array("rearmed", MAX_STOPS)?;
        let rearmed = (0..count)
            .map(|_| Ok(StopId::new(*r.bytes_of("rearmed")?)))
            .collect::<Result<_, DecodeError>>()?;
        Ok(Self {
            enrolment,
            references,
            rearmed,
            stops: StopStanding::decode(r)?,
            min_tier: r.id_of("min_tier", HardwareTier::from_id)?,
            lease_ms: r.u64("lease_ms")?,
            rule: match r.array("rule", 1)? {
                0 => None,
                _ => Some(decode_rule(r)?),
            },
        })
    }
}

fn decode_rule(r: &mut Reader<'_>) -> Result<RuleInForce, DecodeError> {
    let text = wire::short_text(r, "rule", MAX_POLICY_BYTES)?;
    RuleInForce::from_json(&text).map_err(|_| r.fault("rule", Fault::Value))
}

/// One robot of a verified bundle.
#[derive(Clone, Debug)]
pub struct VerifiedPeer {
    enrolment: VerifiedEnrolment,
    references: ReferenceValues,
    policy: PeerPolicy,
}

impl VerifiedPeer {
    /// Its enrolment.
    pub const fn enrolment(&self) -> &VerifiedEnrolment {
        &self.enrolment
    }

    /// Its reference values.
    pub const fn references(&self) -> &ReferenceValues {
        &self.references
    }

    /// What else it is held to.
    pub const fn policy(&self) -> &PeerPolicy {
        &self.policy
    }
}

/// A bundle that the authority signed.
#[derive(Clone, Debug)]
pub struct VerifiedBundle {
    version: u64,
    issued_at_ms: u64,
    not_after_ms: u64,
    peers: Vec<VerifiedPeer>,
    bytes: Vec<u8>,
}

impl VerifiedBundle {
    /// Verifies a bundle, as it was kept. Its time is for [`Self::check_time`] to say.
    ///
    /// # Errors
    /// [`PolicyBundleError`] says why it is not followed.
    pub fn verify(bytes: &[u8], authority: &VerifyingKey) -> Result<Self, PolicyBundleError> {
        if bytes.len() > MAX_BUNDLE_BYTES {
            return Err(PolicyBundleError::TooLong(bytes.len()));
        }
        let message = Cose::parse(domain::POLICY_BUNDLE, bytes)?;
        message.verify(authority)?;
        let bundle = PolicyBundle::decode(message.payload())?;
        let mut peers: Vec<VerifiedPeer> = Vec::with_capacity(bundle.peers.len());
        for policy in bundle.peers {
            let enrolment = VerifiedEnrolment::verify(&policy.enrolment, authority)?;
            let robot = &enrolment.record().robot;
            if peers.iter().any(|peer| peer.enrolment.record().robot == *robot) {
                return Err(PolicyBundleError::Twice(robot.clone()));
            }
            let references = ReferenceValues::from_json(&policy.references);
            let references = references.map_err(|source| PolicyBundleError::References {
                robot: robot.clone(),
                source,
            })?;
            peers.push(VerifiedPeer {
                enrolment,
                references,
                policy,
            });
        }
        Ok(Self {
            version: bundle.version,
            issued_at_ms: bundle.issued_at_ms,
            not_after_ms: bundle.not_after_ms,
            peers,
            bytes: bytes.to_vec(),
        })
    }

    /// Verifies a bundle that is to replace this one.
    ///
    /// # Errors
    /// [`PolicyBundleError::RolledBack`] for one that is not newer; as [`Self::verify`].
    pub fn replaced_by(&self, bytes: &[u8], authority: &VerifyingKey) -> Result<Self, PolicyBundleError> {
        let next = Self::verify(bytes, authority)?;
        if next.version <= self.version {
            return Err(PolicyBundleError::RolledBack {
                given: next.version,
                newest: self.version,
            });
        }
        Ok(next)
    }

    /// Whether it holds at a time (UTC in milliseconds since 1970), give or take `leeway_ms` at its beginning.
    ///
    /// # Errors
    /// [`PolicyBundleError::Time`].
    pub const fn check_time(&self, now_ms: u64, leeway_ms: u64) -> Result<(), PolicyBundleError> {
        if now_ms.saturating_add(leeway_ms) < self.issued_at_ms || now_ms >= self.not_after_ms {
            return Err(PolicyBundleError::Time {
                from_ms: self.issued_at_ms,
                until_ms: self.not_after_ms,
                now_ms,
            });
        }
        Ok(())
    }

    /// Its version.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// When it was issued, UTC in milliseconds since 1970.
    pub const fn issued_at_ms(&self) -> u64 {
        self.issued_at_ms
    }

    /// When nobody is judged by it any more, UTC in milliseconds since 1970.
    pub const fn not_after_ms(&self) -> u64 {
        self.not_after_ms
    }

    /// The robots.
    pub fn peers(&self) -> &[VerifiedPeer] {
        &self.peers
    }

    /// A robot of it.
    pub fn peer(&self, robot: &RobotId) -> Option<&VerifiedPeer> {
        self.peers
            .iter()
            .find(|peer| peer.enrolment.record().robot == *robot)
    }

    /// The signed bundle, to be stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}
