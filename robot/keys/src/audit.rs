//! What the audit log asks of the chip: to count its heads, to sign them, and the key for the notes that witnesses read.

use crate::provisioning::nv_public;
use crate::robot::RobotKeys;
use crate::{KeysError, Result};
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::tpm::{Public, attribute};
use alcub3_crypto::{Digest, Ed25519Key, Secret};
use alcub3_tpm::ops::{Attestation, Key};
use alcub3_tpm::{Auth, Lane};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::domain;
use alcub3_trust_model::nv_map::NvIndex;

const FILE: &str = "audit-key.cbor";
const DOMAIN: &str = "alcub3/robot-audit-key/v1";
const VERSION: u64 = 1;
const SEED_BYTES: usize = 32;

/// The key in the chip that yields the notes' key.
#[derive(Clone, Debug)]
pub(crate) struct NoteKeyRecord {
    public: Public,
    private: Vec<u8>,
}

impl NoteKeyRecord {
    pub(crate) fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(DOMAIN, VERSION, 2);
        out.u64(2).bytes(self.public.as_tpmt_bytes());
        out.u64(3).bytes(&self.private);
        out.finish()
    }

    pub(crate) fn from_canonical(bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        fields.key(r, 2, "public")?;
        let public = Public::from_tpmt(r.bytes("public")?).map_err(|_| r.fault("public", Fault::Value))?;
        fields.key(r, 3, "private")?;
        let private = r.bytes("private")?.to_vec();
        fields.finish(r)?;
        r.finish()?;
        Ok(Self { public, private })
    }
}

impl RobotKeys {
    /// How many heads of the audit log the chip has counted. Commands: 1 NV_Read, and 1 NV_ReadPublic the first time.
    ///
    /// # Errors
    /// The chip's.
    pub fn audit_heads_counted(&self) -> Result<u64> {
        let spec = self.nv.spec(NvIndex::AuditAnchor);
        self.run(Lane::Background, move |chip| {
            // Asked in a session, and held to the definition: the name is what later commands answer for.
            chip.nv_expect(&nv_public(&spec))?;
            chip.nv_counter(spec.handle)
        })
    }

    /// Counts a head and has the attestation key sign the count with it. Commands: 1 NV_Increment, 1 NV_Certify.
    ///
    /// # Errors
    /// The chip's; the head may then have been counted.
    pub fn count_audit_head(&self, binding: &Digest) -> Result<Attestation> {
        let handle = self.nv.spec(NvIndex::AuditAnchor).handle;
        self.run(Lane::Attestation, move |chip| chip.nv_increment(handle))?;
        self.certify_audit_head(binding)
    }

    /// Has the attestation key sign a head that was counted and not signed. Commands: 1 NV_Certify.
    ///
    /// # Errors
    /// The chip's.
    pub fn certify_audit_head(&self, binding: &Digest) -> Result<Attestation> {
        self.certify_index(NvIndex::AuditAnchor, binding.as_bytes().to_vec())
    }

    /// The key that signs the notes of the audit log, out of a key that never leaves the chip; made where there is none.
    /// Commands: 1 Load, 1 HMAC, a flush; 1 Create the first time.
    ///
    /// # Errors
    /// The chip's; the folder's; a record that another chip's key made.
    pub fn audit_note_key(&self) -> Result<Ed25519Key> {
        let record = match self.folder.read(FILE)? {
            Some(bytes) => NoteKeyRecord::from_canonical(&bytes).map_err(|source| KeysError::Record {
                name: FILE.into(),
                source,
            })?,
            None => self.make_note_key()?,
        };
        let parent = self.storage_root();
        let derived = self.run(Lane::Background, move |chip| {
            let key = Key::from(chip.load(&parent, Auth::Empty, &record.private, &record.public)?);
            chip.hmac(&key, Auth::Empty, domain::AUDIT_NOTE_KEY.as_bytes())
        })?;
        let seed = derived.expose().get(..SEED_BYTES).unwrap_or_default();
        Ok(Ed25519Key::from_seed(&Secret::from_slice(seed))?)
    }

    fn make_note_key(&self) -> Result<NoteKeyRecord> {
        let attributes = attribute::FIXED_TPM
            | attribute::FIXED_PARENT
            | attribute::SENSITIVE_DATA_ORIGIN
            | attribute::USER_WITH_AUTH
            | attribute::NO_DA;
        let template = PublicTemplate::hmac_key(self.hash(), attributes, None);
        let parent = self.storage_root();
        let made = self.run(Lane::Background, move |chip| {
            let empty = Secret::from_slice(&[]);
            chip.create(&parent, Auth::Empty, template.as_tpmt_bytes(), &empty, None, &[])
        })?;
        let record = NoteKeyRecord {
            public: made.public,
            private: made.private,
        };
        self.folder.write(FILE, &record.to_canonical())?;
        Ok(record)
    }
}
