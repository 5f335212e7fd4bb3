//! The record of a managed key, as the key store keeps it.

use alcub3_crypto::Digest;
use alcub3_crypto::tpm::Public;

use super::{KeyPurpose, KeyState, KeyUse, Transition, purpose_profile};
use crate::canonical::{DecodeError, Encoder, Fault, Fields, Reader};
use crate::nv_map::KeyAnchor;
use crate::{KeyId, KeyLabel, Level, domain};

const VERSION: u64 = 1;
/// Longest part of a key's blob, in bytes; what a TPM makes is shorter.
const MAX_PART: usize = 2048;

/// A moment on both clocks.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Moment {
    /// On the TPM's clock, in milliseconds.
    pub clock_ms: u64,
    /// In UTC milliseconds.
    pub utc_ms: u64,
}

impl Moment {
    /// The moment that is `ms` milliseconds later.
    #[must_use]
    pub const fn plus(self, ms: u64) -> Self {
        Self {
            clock_ms: self.clock_ms.saturating_add(ms),
            utc_ms: self.utc_ms.saturating_add(ms),
        }
    }

    /// Each clock's earlier value.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        Self {
            clock_ms: self.clock_ms.min(other.clock_ms),
            utc_ms: self.utc_ms.min(other.utc_ms),
        }
    }
}

/// Why a key ended.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum EndCause {
    /// Somebody ordered it.
    Ordered,
    /// Its time was over.
    Expired,
    /// A stop ended it.
    Stopped,
    /// The chip would not use it any more when the store was opened: its anchor had moved, or an epoch.
    FoundDead,
}

impl EndCause {
    /// All causes.
    pub const ALL: [Self; 4] = [Self::Ordered, Self::Expired, Self::Stopped, Self::FoundDead];

    /// The number in records.
    pub const fn id(self) -> u8 {
        match self {
            Self::Ordered => 0,
            Self::Expired => 1,
            Self::Stopped => 2,
            Self::FoundDead => 3,
        }
    }

    /// The cause of a number in a record.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.id() == id)
    }

    /// The name for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ordered => "ordered",
            Self::Expired => "expired",
            Self::Stopped => "stopped",
            Self::FoundDead => "found-dead",
        }
    }
}

/// What is gone once a key is revoked or destroyed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyBlob {
    /// The private area, encrypted by the parent (contents of TPM2B_PRIVATE).
    pub private: Vec<u8>,
    /// TPMS_CREATION_DATA.
    pub creation: Vec<u8>,
    /// The AK's certification of the creation: TPMS_ATTEST and TPMT_SIGNATURE.
    pub certification: (Vec<u8>, Vec<u8>),
}

/// A managed key. Once it is destroyed the record stays as the account of what it was.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyRecord {
    /// The key.
    pub id: KeyId,
    /// What people call it; a successor has the same.
    pub label: KeyLabel,
    /// What it is for.
    pub purpose: KeyPurpose,
    /// Its level.
    pub level: Level,
    /// Its state.
    pub state: KeyState,
    /// Whether it may protect anything new. Rotation ends that.
    pub protects: bool,
    /// When it was made.
    pub made: Moment,
    /// When its use begins, on the TPM's clock in milliseconds.
    pub activates_clock_ms: u64,
    /// When it is to be rotated.
    pub protects_until: Moment,
    /// When it expires; a rotation brings it nearer.
    pub processes_until: Moment,
    /// When the chip itself refuses it, on the TPM's clock in milliseconds: fixed when it was made.
    pub end_clock_ms: u64,
    /// Its anchor.
    pub anchor: KeyAnchor,
    /// What the anchor holds while the key lives.
    pub anchor_value: Digest,
    /// The epochs of robot and level at its creation, where a stop ends it.
    pub epochs: Option<[u64; 2]>,
    /// The key that took its place.
    pub successor: Option<KeyId>,
    /// Why it ended, once it has.
    pub ended: Option<EndCause>,
    /// Its public area.
    pub public: Public,
    /// Its blob, while it lives.
    pub blob: Option<KeyBlob>,
}

/// Why a use of a key is refused before the chip is asked.
#[derive(Copy, Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum UseRefusal {
    /// The purpose does not admit the use.
    #[error("a key for {purpose} cannot {}; use a key of the right purpose", use_.name())]
    Purpose {
        /// What the key is for.
        purpose: KeyPurpose,
        /// What was asked for.
        use_: KeyUse,
    },
    /// The state does not admit any use.
    #[error("the key is {0}")]
    State(KeyState),
    /// The key was rotated and only processes what it protected before.
    #[error("the key no longer protects anything new; use its successor")]
    ProtectionOver,
}

impl UseRefusal {
    /// The reason code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Purpose { .. } => "key-purpose",
            Self::State(KeyState::Pending) => "key-pending",
            Self::State(KeyState::Active) => "key-active",
            Self::State(KeyState::Suspended) => "key-suspended",
            Self::State(KeyState::Expired) => "key-expired",
            Self::State(KeyState::Revoked) => "key-revoked",
            Self::State(KeyState::Destroyed) => "key-destroyed",
            Self::ProtectionOver => "key-protection-over",
        }
    }
}

impl KeyRecord {
    /// Judges a use: purpose first, then state, then whether the key still protects.
    ///
    /// # Errors
    /// [`UseRefusal`], whose code goes into the audit.
    pub fn judge(&self, use_: KeyUse) -> Result<(), UseRefusal> {
        let purpose = self.purpose;
        if !purpose_profile(purpose).admits(use_) {
            return Err(UseRefusal::Purpose { purpose, use_ });
        }
        if self.state != KeyState::Active {
            return Err(UseRefusal::State(self.state));
        }
        if use_.protects() && !self.protects {
            return Err(UseRefusal::ProtectionOver);
        }
        Ok(())
    }

    /// The record after a transition. A key that does not live any more loses its blob.
    ///
    /// # Errors
    /// [`super::IllegalTransition`].
    pub fn after(&self, transition: Transition, cause: EndCause) -> Result<Self, super::IllegalTransition> {
        let state = self.state.after(transition)?;
        let mut next = Self {
            state,
            ..self.clone()
        };
        if !state.lives() {
            next.blob = None;
            next.protects = false;
            next.ended = self.ended.or(Some(cause));
        }
        Ok(next)
    }

    /// The record in canonical form.
    pub fn to_canonical(&self) -> Vec<u8> {
        let optional = [
            self.epochs.is_some(),
            self.successor.is_some(),
            self.ended.is_some(),
            self.blob.is_some(),
        ];
        let fields = 14 + optional.iter().filter(|is_there| **is_there).count();
        let mut out = Encoder::structure(domain::KEY_RECORD, VERSION, fields);
        out.u64(2).bytes(self.id.as_bytes());
        out.u64(3).text(self.label.as_str());
        out.u64(4).u64(self.purpose.id().into());
        out.u64(5).u64(self.level.id().into());
        out.u64(6).u64(self.state.id().into());
        out.u64(7).bool(self.protects);
        put_moment(out.u64(8), &self.made);
        out.u64(9).u64(self.activates_clock_ms);
        put_moment(out.u64(10), &self.protects_until);
        put_moment(out.u64(11), &self.processes_until);
        out.u64(12).u64(self.end_clock_ms);
        out.u64(13).u64(self.anchor.number().into());
        out.u64(14).digest(&self.anchor_value);
        out.u64(15).bytes(self.public.as_tpmt_bytes());
        self.put_optional(&mut out);
        out.finish()
    }

    fn put_optional(&self, out: &mut Encoder) {
        if let Some([robot, level]) = self.epochs {
            out.u64(16).array(2).u64(robot).u64(level);
        }
        if let Some(successor) = self.successor {
            out.u64(17).bytes(successor.as_bytes());
        }
        if let Some(ended) = self.ended {
            out.u64(18).u64(ended.id().into());
        }
        if let Some(blob) = &self.blob {
            let (message, signature) = &blob.certification;
            out.u64(19).array(4);
            for part in [&blob.private, &blob.creation, message, signature] {
                out.bytes(part);
            }
        }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`DecodeError`] for anything that [`Self::to_canonical`] does not write, and for a blob of a key that does not live.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::KEY_RECORD, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::KEY_RECORD, VERSION)?;
        let record = Self::read(r, &mut fields)?;
        if record.blob.is_some() != record.state.lives() {
            return Err(r.fault("blob", Fault::Value));
        }
        fields.finish(r)?;
        r.finish()?;
        Ok(record)
    }

    fn read(r: &mut Reader<'_>, fields: &mut Fields) -> Result<Self, DecodeError> {
        macro_rules! field {
            ($key:literal, $name:literal, $read:expr) => {{
                fields.key(r, $key, $name)?;
                $read(&mut *r, $name)?
            }};
        }
        macro_rules! optional {
            ($key:literal, $name:literal, $read:expr) => {
                if fields.optional(r, $key, $name)? {
                    Some($read(&mut *r, $name)?)
                } else {
                    None
                }
            };
        }
        Ok(Self {
            id: field!(2, "id", key_id),
            label: field!(3, "label", |r: &mut Reader<'_>, f| {
                let text = r.text(f)?;
                KeyLabel::new(text).map_err(|_| r.fault(f, Fault::Value))
            }),
            purpose: field!(4, "purpose", |r: &mut Reader<'_>, f| r
                .id_of(f, KeyPurpose::from_id)),
            level: field!(5, "level", |r: &mut Reader<'_>, f| r.id_of(f, Level::from_id)),
            state: field!(6, "state", |r: &mut Reader<'_>, f| r.id_of(f, KeyState::from_id)),
            protects: field!(7, "protects", |r: &mut Reader<'_>, f| r.bool(f)),
            made: field!(8, "made", moment),
            activates_clock_ms: field!(9, "activates_clock_ms", |r: &mut Reader<'_>, f| r.u64(f)),
            protects_until: field!(10, "protects_until", moment),
            processes_until: field!(11, "processes_until", moment),
            end_clock_ms: field!(12, "end_clock_ms", |r: &mut Reader<'_>, f| r.u64(f)),
            anchor: field!(13, "anchor", |r: &mut Reader<'_>, f| r.id_of(f, KeyAnchor::new)),
            anchor_value: field!(14, "anchor_value", |r: &mut Reader<'_>, f| r.digest(f)),
            public: field!(15, "public", |r: &mut Reader<'_>, f| {
                let bytes = r.bytes(f)?;
                Public::from_tpmt(bytes).map_err(|_| r.fault(f, Fault::Value))
            }),
            epochs: optional!(16, "epochs", |r: &mut Reader<'_>, f| {
                r.array_of(f, 2)?;
                Ok([r.u64(f)?, r.u64(f)?])
            }),
            successor: optional!(17, "successor", key_id),
            ended: optional!(18, "ended", |r: &mut Reader<'_>, f| r.id_of(f, EndCause::from_id)),
            blob: optional!(19, "blob", blob),
        })
    }
}

fn put_moment(out: &mut Encoder, moment: &Moment) {
    out.array(2).u64(moment.clock_ms).u64(moment.utc_ms);
}

fn moment(r: &mut Reader<'_>, field: &'static str) -> Result<Moment, DecodeError> {
    r.array_of(field, 2)?;
    Ok(Moment {
        clock_ms: r.u64(field)?,
        utc_ms: r.u64(field)?,
    })
}

fn key_id(r: &mut Reader<'_>, field: &'static str) -> Result<KeyId, DecodeError> {
    r.bytes_of(field).map(|bytes| KeyId::new(*bytes))
}

fn blob(r: &mut Reader<'_>, field: &'static str) -> Result<KeyBlob, DecodeError> {
    r.array_of(field, 4)?;
    Ok(KeyBlob {
        private: part(r, field)?,
        creation: part(r, field)?,
        certification: (part(r, field)?, part(r, field)?),
    })
}

fn part(r: &mut Reader<'_>, field: &'static str) -> Result<Vec<u8>, DecodeError> {
    let bytes = r.bytes(field)?;
    if bytes.len() > MAX_PART {
        return Err(r.fault(field, Fault::TooLong));
    }
    Ok(bytes.to_vec())
}
