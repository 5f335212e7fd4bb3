//! What the state folder holds of the device keys: how each came to be, its wrapped private part, its certificate.
//!
//! The initial key lies there again, under its new binding, when a replaced part was approved. A local key that is to take over lies beside the one in use until the authority has said that it counts. Losing these
//! files loses no identity: the chip recreates the initial key, and a local one is enrolled again.

use super::device_key::kind_name;
use crate::state::StateFolder;
use crate::{KeysError, Result};
use alcub3_crypto::tpm::Public;
use alcub3_fleet_protocol::certificate::{CertificateRequest, DeviceKeyKind, VerifiedGrant};
use alcub3_tpm::ops::Creation;
use alcub3_trust_model::SessionId;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};

const DOMAIN: &str = "alcub3/device-key-record/v1";
const VERSION: u64 = 1;

/// Which of the folder's device keys.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum DeviceKeySlot {
    /// The initial key.
    Initial,
    /// The initial key as it was made again with the binding to replaced parts, until that is certified.
    NextInitial,
    /// The local key in use.
    Local,
    /// The local key that is to take over.
    NextLocal,
}

impl DeviceKeySlot {
    const fn file(self) -> &'static str {
        match self {
            Self::Initial => "identity/initial.cbor",
            Self::NextInitial => "identity/initial-next.cbor",
            Self::Local => "identity/local.cbor",
            Self::NextLocal => "identity/local-next.cbor",
        }
    }

    /// Which of a robot's two device keys is there.
    pub const fn kind(self) -> DeviceKeyKind {
        match self {
            Self::Initial | Self::NextInitial => DeviceKeyKind::Initial,
            Self::Local | Self::NextLocal => DeviceKeyKind::Local,
        }
    }
}

/// A certificate as the authority granted it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IssuedCertificate {
    /// The exchange in which it was granted.
    pub session: SessionId,
    /// The certificate in DER.
    pub certificate: Vec<u8>,
    /// The authority's certificate in DER.
    pub authority: Vec<u8>,
}

/// A device key as the folder holds it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeviceKey {
    /// Its public area.
    pub public: Public,
    /// Contents of the TPM2B_PRIVATE, wrapped by the storage root; empty for the initial key, which has none.
    pub private: Vec<u8>,
    /// How it came to be.
    pub creation: Creation,
    /// Its certificate, once it has one.
    pub issued: Option<IssuedCertificate>,
}

impl DeviceKey {
    /// The initial key, not certified yet.
    pub(crate) const fn initial(public: Public, creation: Creation) -> Self {
        Self {
            public,
            private: Vec::new(),
            creation,
            issued: None,
        }
    }

    /// The key with the certificate that the authority granted for it.
    #[must_use]
    pub fn certified(mut self, request: &CertificateRequest, grant: &VerifiedGrant) -> Self {
        self.issued = Some(IssuedCertificate {
            session: request.session,
            certificate: grant.certificate().to_vec(),
            authority: grant.authority().to_vec(),
        });
        self
    }

    /// The key in its canonical encoding.
    pub fn to_canonical(&self) -> Vec<u8> {
        let fields = if self.issued.is_some() { 6 } else { 5 };
        let mut out = Encoder::structure(DOMAIN, VERSION, fields);
        out.u64(2).bytes(self.public.as_tpmt_bytes());
        out.u64(3).bytes(&self.private);
        out.u64(4).bytes(&self.creation.data);
        out.u64(5).digest(&self.creation.hash);
        out.u64(6).bytes(&self.creation.ticket);
        if let Some(issued) = &self.issued {
            out.u64(7).array(3).bytes(issued.session.as_bytes());
            out.bytes(&issued.certificate).bytes(&issued.authority);
        }
        out.finish()
    }

    /// The key of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        fields.key(r, 2, "public")?;
        let public = r.bytes("public")?;
        let public = Public::from_tpmt(public).map_err(|_| r.fault("public", Fault::Value))?;
        fields.key(r, 3, "private")?;
        let private = r.bytes("private")?.to_vec();
        fields.key(r, 4, "creation")?;
        let data = r.bytes("creation")?.to_vec();
        fields.key(r, 5, "creation_hash")?;
        let hash = r.digest("creation_hash")?;
        fields.key(r, 6, "ticket")?;
        let ticket = r.bytes("ticket")?.to_vec();
        let issued = if fields.optional(r, 7, "issued")? {
            Some(read_issued(r)?)
        } else {
            None
        };
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            public,
            private,
            creation: Creation { data, hash, ticket },
            issued,
        })
    }
}

fn read_issued(r: &mut Reader<'_>) -> std::result::Result<IssuedCertificate, DecodeError> {
    r.array_of("issued", 3)?;
    Ok(IssuedCertificate {
        session: SessionId::new(*r.bytes_of("session")?),
        certificate: r.bytes("certificate")?.to_vec(),
        authority: r.bytes("authority")?.to_vec(),
    })
}

/// The device keys of one state folder.
#[derive(Copy, Clone, Debug)]
pub struct DeviceKeys<'a>(&'a StateFolder);

impl<'a> DeviceKeys<'a> {
    /// Those of this folder.
    pub const fn of(folder: &'a StateFolder) -> Self {
        Self(folder)
    }

    /// The key of a slot; none where there is none.
    ///
    /// # Errors
    /// The folder's, or that the file is none of ours.
    pub fn load(self, slot: DeviceKeySlot) -> Result<Option<DeviceKey>> {
        let Some(bytes) = self.0.read(slot.file())? else {
            return Ok(None);
        };
        let key = DeviceKey::from_canonical(&bytes);
        key.map(Some).map_err(|source| KeysError::Record {
            name: slot.file().to_owned(),
            source,
        })
    }

    /// Puts a key into a slot, durably.
    ///
    /// # Errors
    /// The folder's.
    pub fn save(self, slot: DeviceKeySlot, key: &DeviceKey) -> Result<()> {
        Ok(self.0.write(slot.file(), &key.to_canonical())?)
    }

    /// Makes the next key of a kind the one in use, and destroys the one before. A crash in between leaves one or the other
    /// in its slot, whole, and the next key in its own, where the following start finds it and does this again.
    ///
    /// # Errors
    /// [`KeysError::NoDeviceKey`] where there is no next key; the folder's.
    pub fn promote(self, kind: DeviceKeyKind) -> Result<DeviceKey> {
        let (from, to) = match kind {
            DeviceKeyKind::Initial => (DeviceKeySlot::NextInitial, DeviceKeySlot::Initial),
            DeviceKeyKind::Local => (DeviceKeySlot::NextLocal, DeviceKeySlot::Local),
        };
        let kind = kind_name(kind);
        let next = self.load(from)?.ok_or(KeysError::NoDeviceKey { kind })?;
        self.0.write_over(to.file(), &next.to_canonical())?;
        self.0.wipe(from.file())?;
        Ok(next)
    }
}
