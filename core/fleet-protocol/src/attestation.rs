//! The messages around an attestation. Evidence and results are made and judged by `alcub3-attestation`; here they are
//! carried.

use alcub3_attestation::appraisal::MissionScope;
use alcub3_attestation::evidence::{RegisterPositions, RuntimePosition};
use alcub3_command_authority::VerifiedMission;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::nv_map::Register;
use alcub3_trust_model::{AttestationKind, BootId, LeaseId, RobotId, SessionId, domain};

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
    /// What is to be proven.
    pub kind: AttestationKind,
    /// How far the verifier knows what the running system measured, so that only what was added need be sent.
    pub runtime_from: Option<RuntimePosition>,
    /// What the verifier knows of the robot's registers, so that only those that changed need be certified.
    pub registers: Option<RegisterPositions>,
}

impl AttestRequest {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let fields = 3 + usize::from(self.runtime_from.is_some()) + usize::from(self.registers.is_some());
        let mut out = Encoder::structure(domain::ATTEST_REQUEST, VERSION, fields);
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .bytes(&self.nonce);
        self.kind.encode(out.u64(4));
        if let Some(from) = &self.runtime_from {
            out.u64(5).array(3).u64(from.entries);
            out.u64(from.reset_count.into()).u64(from.restart_count.into());
        }
        if let Some(known) = &self.registers {
            out.u64(6).array(3).u64(known.reset_count.into());
            out.u64(known.restart_count.into()).array(known.values.len());
            for (register, value) in &known.values {
                out.array(2).u64(register.id().into()).digest(value);
            }
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
        let kind = AttestationKind::decode(m.at(4, "kind")?)?;
        let runtime_from = match m.has(5, "runtime_from")? {
            true => Some(position(&mut m.r)?),
            false => None,
        };
        let registers = match m.has(6, "registers")? {
            true => Some(registers(&mut m.r)?),
            false => None,
        };
        m.finish()?;
        Ok(Self {
            session,
            nonce,
            kind,
            runtime_from,
            registers,
        })
    }
}

fn position(r: &mut Reader<'_>) -> Result<RuntimePosition, DecodeError> {
    r.array_of("runtime_from", 3)?;
    Ok(RuntimePosition {
        entries: r.u64("runtime_from entries")?,
        reset_count: r.u32("runtime_from reset_count")?,
        restart_count: r.u32("runtime_from restart_count")?,
    })
}

fn registers(r: &mut Reader<'_>) -> Result<RegisterPositions, DecodeError> {
    r.array_of("registers", 3)?;
    let reset_count = r.u32("registers reset_count")?;
    let restart_count = r.u32("registers restart_count")?;
    let count = r.array("registers", Register::ALL.len())?;
    let mut values: Vec<(Register, Digest)> = Vec::with_capacity(count);
    for _ in 0..count {
        r.array_of("register", 2)?;
        let register = r.id_of("register", Register::from_id)?;
        if values.last().is_some_and(|(last, _)| *last >= register) {
            return Err(r.fault("registers", Fault::Order));
        }
        values.push((register, r.digest("register value")?));
    }
    Ok(RegisterPositions {
        reset_count,
        restart_count,
        values,
    })
}

/// An approved mission as an appraisal holds a robot to it.
pub fn mission_scope(mission: &VerifiedMission, signed: &[u8]) -> MissionScope {
    let token = mission.token();
    MissionScope {
        mission: token.mission,
        token: HashAlg::Sha256.digest(&[signed]),
        level: token.labels.level,
        not_before_ms: token.not_before_ms,
        not_after_ms: token.not_after_ms,
        end_clock_ms: token.end_clock_ms,
        anchor: token.anchor,
        anchor_value: token.anchor_value,
        robot_epoch: token.robot_epoch,
        level_epoch: token.level_epoch,
        max_reset_count: token.max_reset_count(),
    }
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
