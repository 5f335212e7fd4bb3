//! A checkpoint of a robot's audit log as it leaves the robot: the note that witnesses read, what the chip certified with it, and the
//! proof that it goes on from the one that the authority holds.

use alcub3_attestation::attest::ClockInfo;
use alcub3_attestation::certify::{CertifyError, Signed, verify_nv};
use alcub3_audit_log::{
    AuditBundle, Checkpoint, ConsistencyProof, Divergence, NodeHash, NoteKeyError, NoteProofError,
    NoteVerifier, SignedCheckpoint, SignedNote, TpmAnchor, decode_anchor, encode_anchor,
};
use alcub3_crypto::VerifyingKey;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault};
use alcub3_trust_model::nv_map::{NvIndex, NvMap};
use alcub3_trust_model::{RobotId, domain};

use crate::wire::{self, Message};

const VERSION: u64 = 1;
/// The longest note and key, in bytes.
const MAX_TEXT: usize = 16 << 10;
/// The most hashes of a consistency proof.
const MAX_PATH: usize = 65;

/// A robot's checkpoint on its way. Nothing here says that it holds: see [`Self::verify`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditReport {
    /// The robot.
    pub robot: RobotId,
    /// The key of its log, as text.
    pub key: String,
    /// The checkpoint's note.
    pub note: String,
    /// What the chip certified with it.
    pub anchor: TpmAnchor,
    /// How many entries the authority held the head of.
    pub held: u64,
    /// The proof that these are the first entries now.
    pub path: Vec<NodeHash>,
}

/// Why a checkpoint proves nothing, or not what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditReportError {
    /// The message is not the one form allowed.
    #[error(transparent)]
    Message(#[from] DecodeError),
    /// It is another robot's.
    #[error("the checkpoint is of robot {0}")]
    WrongRobot(RobotId),
    /// The log's key is none.
    #[error(transparent)]
    Key(#[from] NoteKeyError),
    /// The log's name has not the fingerprint of its key.
    #[error("the log {0} is not the robot's, or not of the key that it comes with")]
    KeyName(String),
    /// The note is not the log's.
    #[error(transparent)]
    Note(#[from] NoteProofError),
    /// What the chip certified is not this checkpoint.
    #[error("the chip did not certify this checkpoint: {0}")]
    Anchor(#[from] CertifyError),
    /// It certified another index than the audit anchor, or not all of it.
    #[error("the chip certified something else than the counter of audit heads")]
    Counter,
    /// The chip has not counted further, though the head is another.
    #[error(
        "the head is another than the one held, and the chip counted {found} heads as then, or fewer ({held})"
    )]
    Count {
        /// The count of the head that is held.
        held: u64,
        /// The count of this one.
        found: u64,
    },
    /// The log does not go on from the head that is held.
    #[error(transparent)]
    Divergence(#[from] Divergence),
}

impl AuditReportError {
    /// The reason code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Message(_) => "message",
            Self::WrongRobot(_) => "robot",
            Self::Key(_) | Self::KeyName(_) => "audit-key",
            Self::Note(_) => "audit-note",
            Self::Anchor(_) | Self::Counter => "audit-anchor",
            Self::Count { .. } => "audit-count",
            Self::Divergence(divergence) => divergence.code(),
        }
    }
}

/// A head that the robot's chip vouches for. Only verification makes one.
#[derive(Clone, Debug)]
pub struct ProvenHead {
    head: SignedCheckpoint,
    count: u64,
    clock: ClockInfo,
}

impl ProvenHead {
    /// Checks that a robot's chip counted a checkpoint, and that its name vouches for the key that signed the note.
    ///
    /// # Errors
    /// [`AuditReportError`].
    pub fn verify(
        robot: Option<&RobotId>,
        (key, note, anchor): (&str, &str, &TpmAnchor),
        attestation_key: &VerifyingKey,
        nv: &NvMap,
    ) -> Result<Self, AuditReportError> {
        let log = NoteVerifier::from_text(key)?;
        let is_robots = robot.map_or_else(|| log.is_named_by_key(), |robot| log.is_log_of(robot));
        if !is_robots {
            return Err(AuditReportError::KeyName(log.name().to_owned()));
        }
        let head = SignedCheckpoint::verify(note, &log)?;
        let (count, clock) = certified(head.checkpoint(), anchor, attestation_key, nv)?;
        Ok(Self { head, count, clock })
    }

    /// As [`Self::verify`], for the head of an auditor's bundle.
    ///
    /// # Errors
    /// [`AuditReportError`]; none, where the bundle has nothing of the chip.
    pub fn of_bundle(
        bundle: &AuditBundle,
        robot: Option<&RobotId>,
        attestation_key: &VerifyingKey,
        nv: &NvMap,
    ) -> Result<Option<Self>, AuditReportError> {
        let Some(anchor) = &bundle.anchor else {
            return Ok(None);
        };
        Self::verify(robot, (&bundle.key, &bundle.note, anchor), attestation_key, nv).map(Some)
    }

    /// The head.
    pub const fn head(&self) -> &SignedCheckpoint {
        &self.head
    }

    /// Its number, as the chip counted.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The chip's clock then.
    pub const fn clock(&self) -> &ClockInfo {
        &self.clock
    }

    /// Whether it goes on from a head that is held.
    ///
    /// # Errors
    /// [`AuditReportError::Divergence`], or [`AuditReportError::Count`] where the chip did not count it as a later one.
    pub fn follows(&self, held: &Self, proof: &ConsistencyProof) -> Result<(), AuditReportError> {
        let (before, now) = (held.head.checkpoint(), self.head.checkpoint());
        before.leads_to(now, proof)?;
        let is_counted = if before == now {
            self.count >= held.count
        } else {
            self.count > held.count
        };
        if is_counted {
            Ok(())
        } else {
            Err(AuditReportError::Count {
                held: held.count,
                found: self.count,
            })
        }
    }
}

fn certified(
    head: &Checkpoint,
    anchor: &TpmAnchor,
    attestation_key: &VerifyingKey,
    nv: &NvMap,
) -> Result<(u64, ClockInfo), AuditReportError> {
    let signed = Signed {
        message: anchor.message.clone(),
        signature: anchor.signature.clone(),
    };
    let binding = head.binding(nv.name_alg());
    let verified = verify_nv(attestation_key, &signed, binding.as_bytes())?;
    let expected = nv.spec(NvIndex::AuditAnchor).tpm_name(true);
    match verified.counter().filter(|_| verified.index_name == expected) {
        Some(count) => Ok((count, verified.clock)),
        None => Err(AuditReportError::Counter),
    }
}

impl AuditReport {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::AUDIT_REPORT, VERSION, 6);
        out.u64(2).text(self.robot.as_str());
        out.u64(3).text(&self.key).u64(4).text(&self.note);
        encode_anchor(out.u64(5), Some(&self.anchor));
        out.u64(6).u64(self.held).u64(7).array(self.path.len());
        for hash in &self.path {
            out.bytes(hash.as_bytes());
        }
        out.finish()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::AUDIT_REPORT, VERSION, bytes)?;
        let robot = wire::robot(m.at(2, "robot")?)?;
        let key = wire::short_text(m.at(3, "key")?, "key", MAX_TEXT)?;
        let note = wire::short_text(m.at(4, "note")?, "note", MAX_TEXT)?;
        let r = m.at(5, "anchor")?;
        let anchor = decode_anchor(r)?.ok_or_else(|| r.fault("anchor", Fault::Missing))?;
        let held = m.at(6, "held")?.u64("held")?;
        let r = m.at(7, "path")?;
        let path = wire::list(r, "path", MAX_PATH, |r| Ok(NodeHash::new(*r.bytes_of("path")?)))?;
        m.finish()?;
        Ok(Self {
            robot,
            key,
            note,
            anchor,
            held,
            path,
        })
    }

    /// The head that it is of, as the robot's chip vouches for it.
    ///
    /// # Errors
    /// [`AuditReportError`].
    pub fn verify(&self, attestation_key: &VerifyingKey, nv: &NvMap) -> Result<ProvenHead, AuditReportError> {
        let parts = (self.key.as_str(), self.note.as_str(), &self.anchor);
        ProvenHead::verify(Some(&self.robot), parts, attestation_key, nv)
    }

    /// The head that it states; nobody has verified it.
    pub fn stated_head(&self) -> Option<Checkpoint> {
        let note = SignedNote::decode(&self.note).ok()?;
        Checkpoint::from_text(note.text()).ok()
    }

    /// The proof that it goes on from what was held, for the head that it is of.
    pub fn proof(&self, head: &Checkpoint) -> ConsistencyProof {
        ConsistencyProof {
            first: self.held,
            second: head.size(),
            path: self.path.clone(),
        }
    }
}
