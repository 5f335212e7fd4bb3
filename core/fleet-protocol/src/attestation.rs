//! The messages around an attestation. Evidence and results are made and judged by `alcub3-attestation`; here they are
//! carried.

use alcub3_attestation::evidence::RuntimePosition;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{BootId, LeaseId, RobotId, SessionId, domain};

use crate::wire::{self, Message};

const VERSION: u64 = 1;
/// The longest evidence, in bytes: logs of a busy machine included.
pub const MAX_EVIDENCE: usize = 48 << 20;
/// The longest attestation result, in bytes.
const MAX_RESULT: usize = 256 << 10;
const MAX_LEASE: usize = 8192;

/// The verifier asks for evidence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttestRequest {
    /// The exchange.
    pub session: SessionId,
    /// The verifier's nonce, 16 to 64 bytes.
    pub nonce: Vec<u8>,
    /// How far the verifier knows what the running system measured, so that only what was added need be sent.
    pub runtime_from: Option<RuntimePosition>,
}

impl AttestRequest {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let fields = 2 + usize::from(self.runtime_from.is_some());
        let mut out = Encoder::structure(domain::ATTEST_REQUEST, VERSION, fields);
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .bytes(&self.nonce);
        if let Some(from) = &self.runtime_from {
            out.u64(4).array(3).u64(from.entries);
            out.u64(from.reset_count.into()).u64(from.restart_count.into());
        }
        out.finish()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::ATTEST_REQUEST, VERSION, bytes)?;
        let session = wire::session(m.at(2, "session")?)?;
        let nonce = wire::bounded(m.at(3, "nonce")?, "nonce", 64)?;
        if nonce.len() < 16 {
            return Err(m.r.fault("nonce", Fault::Value));
        }
        let runtime_from = match m.has(4, "runtime_from")? {
            true => Some(position(&mut m.r)?),
            false => None,
        };
        m.finish()?;
        Ok(Self {
            session,
            nonce,
            runtime_from,
        })
    }
}

fn position(r: &mut Reader<'_>) -> Result<RuntimePosition, DecodeError> {
    r.array_of("runtime_from", 3)?;
    let entries = r.u64("runtime_from entries")?;
    let mut count = |field| {
        let count = r.u64(field)?;
        u32::try_from(count).map_err(|_| r.fault(field, Fault::Value))
    };
    Ok(RuntimePosition {
        entries,
        reset_count: count("runtime_from reset_count")?,
        restart_count: count("runtime_from restart_count")?,
    })
}

/// A robot gives evidence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EvidenceMessage {
    /// The exchange.
    pub session: SessionId,
    /// The robot.
    pub robot: RobotId,
    /// The run of its agent.
    pub boot: BootId,
    /// The lease it asks to be granted or renewed.
    pub lease: LeaseId,
    /// The evidence, as `alcub3-attestation` reads it.
    pub evidence: Vec<u8>,
}

impl EvidenceMessage {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::EVIDENCE, VERSION, 5);
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .text(self.robot.as_str());
        out.u64(4)
            .bytes(self.boot.as_bytes())
            .u64(5)
            .bytes(self.lease.as_bytes())
            .u64(6)
            .bytes(&self.evidence);
        out.finish()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::EVIDENCE, VERSION, bytes)?;
        let message = Self {
            session: wire::session(m.at(2, "session")?)?,
            robot: wire::robot(m.at(3, "robot")?)?,
            boot: BootId::new(*m.at(4, "boot")?.bytes_of("boot")?),
            lease: LeaseId::new(*m.at(5, "lease")?.bytes_of("lease")?),
            evidence: wire::bounded(m.at(6, "evidence")?, "evidence", MAX_EVIDENCE)?,
        };
        m.finish()?;
        Ok(message)
    }
}

/// The verifier answers. The result and the lease are signed by themselves; the message is not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttestResult {
    /// The exchange.
    pub session: SessionId,
    /// The signed attestation result.
    pub result: Vec<u8>,
    /// The signed lease, where the robot was found good.
    pub lease: Option<Vec<u8>>,
}

impl AttestResult {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(
            domain::ATTEST_RESULT,
            VERSION,
            2 + usize::from(self.lease.is_some()),
        );
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .bytes(&self.result);
        if let Some(lease) = &self.lease {
            out.u64(4).bytes(lease);
        }
        out.finish()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::ATTEST_RESULT, VERSION, bytes)?;
        let session = wire::session(m.at(2, "session")?)?;
        let result = wire::bounded(m.at(3, "result")?, "result", MAX_RESULT)?;
        let has_lease = m.has(4, "lease")?;
        let lease = if has_lease {
            Some(wire::bounded(&mut m.r, "lease", MAX_LEASE)?)
        } else {
            None
        };
        m.finish()?;
        Ok(Self {
            session,
            result,
            lease,
        })
    }
}
