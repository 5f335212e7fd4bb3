//! The messages around an attestation of a robot whose root of trust is no TPM. The verifier's result goes back as
//! [`crate::attestation::AttestResult`], whatever the root of trust.

use alcub3_attestation::evidence::Nonce;
use alcub3_trust_model::canonical::{DecodeError, Encoder};
use alcub3_trust_model::{BootId, LeaseId, RobotId, SessionId, domain};

use super::root::RootKind;
use crate::wire::{self, Message};

const VERSION: u64 = 1;
/// The longest DICE evidence or PSA token, in bytes: a chain of eight certificates, and more than any token.
const MAX_EVIDENCE: usize = 128 << 10;
/// The longest state, in bytes.
const MAX_STATE: usize = 16 << 10;

/// The verifier asks for evidence of the kind that it has enrolled.
///
/// With DICE the nonce goes into the statement ([`alcub3_attestation::dice::Statement`]); with PSA the token is asked for over
/// [`alcub3_attestation::psa::challenge`] of it, in the size that the root of trust takes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlatformRequest {
    /// The exchange.
    pub session: SessionId,
    /// The kind of root of trust that is to answer.
    pub root: RootKind,
    /// The verifier's nonce.
    pub nonce: Nonce,
}

impl PlatformRequest {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::PLATFORM_REQUEST, VERSION, 3);
        out.u64(2).bytes(self.session.as_bytes());
        out.u64(3).u64(self.root.id().into());
        out.u64(4).bytes(&self.nonce.0);
        out.finish()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::PLATFORM_REQUEST, VERSION, bytes)?;
        let request = Self {
            session: wire::session(m.at(2, "session")?)?,
            root: m.at(3, "root")?.id_of("root", RootKind::from_id)?,
            nonce: Nonce(*m.at(4, "nonce")?.bytes_of("nonce")?),
        };
        m.finish()?;
        Ok(request)
    }
}

/// What a robot has to show.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RootEvidence {
    /// Nothing: it has no root of trust, or does not use it.
    None,
    /// A chain with its statement ([`alcub3_attestation::dice::Evidence`]).
    Dice(Vec<u8>),
    /// A token (RFC 9783), with the state that its challenge binds.
    Psa {
        /// The token.
        token: Vec<u8>,
        /// The robot's state, canonical ([`alcub3_trust_model::RobotState`]).
        state: Vec<u8>,
    },
}

impl RootEvidence {
    /// Its kind.
    pub const fn kind(&self) -> RootKind {
        match self {
            Self::None => RootKind::None,
            Self::Dice(_) => RootKind::Dice,
            Self::Psa { .. } => RootKind::Psa,
        }
    }
}

/// A robot answers. There is no field for its tier: that is what was enrolled.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlatformAnswer {
    /// The exchange.
    pub session: SessionId,
    /// The robot.
    pub robot: RobotId,
    /// The run of its agent.
    pub boot: BootId,
    /// The lease it asks to be granted or renewed.
    pub lease: LeaseId,
    /// The evidence.
    pub evidence: RootEvidence,
}

impl PlatformAnswer {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let own = match self.evidence {
            RootEvidence::None => 0,
            RootEvidence::Dice(_) => 1,
            RootEvidence::Psa { .. } => 2,
        };
        let mut out = Encoder::structure(domain::PLATFORM_ANSWER, VERSION, 5 + own);
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .text(self.robot.as_str());
        out.u64(4)
            .bytes(self.boot.as_bytes())
            .u64(5)
            .bytes(self.lease.as_bytes());
        out.u64(6).u64(self.evidence.kind().id().into());
        match &self.evidence {
            RootEvidence::None => {}
            RootEvidence::Dice(evidence) => {
                out.u64(7).bytes(evidence);
            }
            RootEvidence::Psa { token, state } => {
                out.u64(8).bytes(token).u64(9).bytes(state);
            }
        }
        out.finish()
    }

    /// Whether these bytes are such a message by their domain, however the rest of them reads.
    pub fn is_one(bytes: &[u8]) -> bool {
        Message::open(domain::PLATFORM_ANSWER, VERSION, bytes).is_ok()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::PLATFORM_ANSWER, VERSION, bytes)?;
        let session = wire::session(m.at(2, "session")?)?;
        let robot = wire::robot(m.at(3, "robot")?)?;
        let boot = BootId::new(*m.at(4, "boot")?.bytes_of("boot")?);
        let lease = LeaseId::new(*m.at(5, "lease")?.bytes_of("lease")?);
        let evidence = match m.at(6, "root")?.id_of("root", RootKind::from_id)? {
            RootKind::None => RootEvidence::None,
            RootKind::Dice => {
                RootEvidence::Dice(wire::bounded(m.at(7, "evidence")?, "evidence", MAX_EVIDENCE)?)
            }
            RootKind::Psa => RootEvidence::Psa {
                token: wire::bounded(m.at(8, "token")?, "token", MAX_EVIDENCE)?,
                state: wire::bounded(m.at(9, "state")?, "state", MAX_STATE)?,
            },
        };
        m.finish()?;
        Ok(Self {
            session,
            robot,
            boot,
            lease,
            evidence,
        })
    }
}
