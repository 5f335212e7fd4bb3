//! A mission key's record: what the chip needs to load it, and what others need to believe it.

use alcub3_crypto::tpm::Public;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Fields, Reader};
use alcub3_trust_model::{Level, MissionId, MissionKeyId, MissionKeyPurpose, OperatorId};

const DOMAIN: &str = "alcub3/mission-key-record/v1";
const VERSION: u64 = 1;
const MAX_BLOB: usize = 4096;

/// A key of a mission, beside the one that the mission began with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MissionKeyRecord {
    /// The key.
    pub key: MissionKeyId,
    /// Its mission.
    pub mission: MissionId,
    /// The mission's level, whose parent it lives under.
    pub level: Level,
    /// What it is for.
    pub purpose: MissionKeyPurpose,
    /// Where it comes from.
    pub origin: KeyOrigin,
    /// Its public area.
    pub public: Public,
    /// Its private area, encrypted by the level parent (contents of TPM2B_PRIVATE).
    pub private: Vec<u8>,
}

/// Where a mission key comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeyOrigin {
    /// This chip made it.
    Made,
    /// This chip made it, and its AK certified that for verifiers.
    Certified {
        /// TPMS_CREATION_DATA.
        creation: Vec<u8>,
        /// TPMS_ATTEST of TPM2_CertifyCreation.
        message: Vec<u8>,
        /// TPMT_SIGNATURE over it.
        signature: Vec<u8>,
    },
    /// The authority shared it; a command key stands for one issuer's commands.
    Shared {
        /// That issuer.
        issuer: Option<OperatorId>,
    },
}

impl KeyOrigin {
    const fn id(&self) -> u8 {
        match self {
            Self::Made => 0,
            Self::Certified { .. } => 1,
            Self::Shared { .. } => 2,
        }
    }

    /// The name for people and JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Made | Self::Certified { .. } => "made",
            Self::Shared { .. } => "shared",
        }
    }

    const fn field_count(&self) -> usize {
        match self {
            Self::Made | Self::Shared { issuer: None } => 0,
            Self::Shared { issuer: Some(_) } => 1,
            Self::Certified { .. } => 3,
        }
    }

    fn encode(&self, out: &mut Encoder) {
        match self {
            Self::Made | Self::Shared { issuer: None } => {}
            Self::Certified {
                creation,
                message,
                signature,
            } => {
                out.u64(9)
                    .bytes(creation)
                    .u64(10)
                    .bytes(message)
                    .u64(11)
                    .bytes(signature);
            }
            Self::Shared { issuer: Some(issuer) } => {
                out.u64(12).text(issuer.as_str());
            }
        }
    }

    fn decode(id: u8, fields: &mut Fields, r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut part = |key, field| -> Result<Vec<u8>, DecodeError> {
            fields.key(r, key, field)?;
            blob(r, field)
        };
        match id {
            0 => Ok(Self::Made),
            1 => Ok(Self::Certified {
                creation: part(9, "creation")?,
                message: part(10, "message")?,
                signature: part(11, "signature")?,
            }),
            2 if fields.optional(r, 12, "issuer")? => {
                let text = r.text("issuer")?;
                let issuer = OperatorId::new(text).map_err(|_| r.fault("issuer", Fault::Value))?;
                Ok(Self::Shared { issuer: Some(issuer) })
            }
            2 => Ok(Self::Shared { issuer: None }),
            _ => Err(r.fault("origin", Fault::Value)),
        }
    }
}

impl MissionKeyRecord {
    /// The record's bytes.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(DOMAIN, VERSION, 7 + self.origin.field_count());
        out.u64(2)
            .bytes(self.key.as_bytes())
            .u64(3)
            .bytes(self.mission.as_bytes());
        out.u64(4)
            .u64(self.level.id().into())
            .u64(5)
            .u64(self.purpose.id().into());
        out.u64(6)
            .bytes(self.public.as_tpmt_bytes())
            .u64(7)
            .bytes(&self.private);
        out.u64(8).u64(self.origin.id().into());
        self.origin.encode(&mut out);
        out.finish()
    }

    /// The record of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        fields.key(r, 2, "key")?;
        let key = MissionKeyId::new(*r.bytes_of("key")?);
        fields.key(r, 3, "mission")?;
        let mission = MissionId::new(*r.bytes_of("mission")?);
        fields.key(r, 4, "level")?;
        let level = r.id_of("level", Level::from_id)?;
        fields.key(r, 5, "purpose")?;
        let purpose = r.id_of("purpose", MissionKeyPurpose::from_id)?;
        fields.key(r, 6, "public")?;
        let public = Public::from_tpmt(r.bytes("public")?).map_err(|_| r.fault("public", Fault::Value))?;
        fields.key(r, 7, "private")?;
        let private = blob(r, "private")?;
        fields.key(r, 8, "origin")?;
        let origin = r.u8("origin")?;
        let origin = KeyOrigin::decode(origin, &mut fields, r)?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            key,
            mission,
            level,
            purpose,
            origin,
            public,
            private,
        })
    }

    /// For whose commands it stands, where it is a shared command key.
    pub const fn issuer(&self) -> Option<&OperatorId> {
        match &self.origin {
            KeyOrigin::Shared { issuer } => issuer.as_ref(),
            _ => None,
        }
    }
}

fn blob(r: &mut Reader<'_>, field: &'static str) -> Result<Vec<u8>, DecodeError> {
    let bytes = r.bytes(field)?;
    if bytes.len() > MAX_BLOB {
        Err(r.fault(field, Fault::TooLong))
    } else {
        Ok(bytes.to_vec())
    }
}
