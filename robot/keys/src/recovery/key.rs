//! A recoverable key's record, and how it is loaded.

use alcub3_crypto::tpm::Public;
use alcub3_crypto::tpm::policy::Policy;
use alcub3_tpm::ops::{Key, PolicyInputs};
use alcub3_tpm::{Auth, Chip};
use alcub3_trust_model::Level;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};

const DOMAIN: &str = "alcub3/recoverable-key/v1";
/// The first version's keys had no label in their policy.
const VERSION: u64 = 2;

/// A key or a secret of a level that can be brought back on another TPM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecoverableKey {
    pub(super) level: Level,
    pub(super) label: String,
    pub(super) public: Public,
    pub(super) private: Vec<u8>,
    pub(super) under: Under,
}

/// What a recoverable key is loaded under.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Under {
    /// Its level's parent: this chip made it.
    Level,
    /// The storage root: it was duplicated to this chip.
    StorageRoot,
    /// The recovery parent that came back with it.
    Recovery { public: Public, private: Vec<u8> },
}

impl RecoverableKey {
    /// Its level.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// What it is called.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Its public area; the same on every TPM it is on.
    pub const fn public(&self) -> &Public {
        &self.public
    }

    /// Whether it came back from a recovery.
    pub fn is_recovered(&self) -> bool {
        self.under != Under::Level
    }
}

impl Under {
    /// The recovery parent, loaded, where there is one.
    pub(super) fn load_parent(&self, chip: &mut Chip, root: &Key) -> alcub3_tpm::Result<Option<Key>> {
        let Self::Recovery { public, private } = self else {
            return Ok(None);
        };
        let parent = chip.load(root, Auth::Empty, private, public)?;
        Ok(Some(Key::from(parent)))
    }
}

/// All that loading a recoverable key takes.
pub(super) struct Loading {
    pub(super) key: RecoverableKey,
    pub(super) level_parent: Key,
    pub(super) root: Key,
    pub(super) policy: Policy,
    pub(super) inputs: PolicyInputs,
}

impl Loading {
    pub(super) fn load(&self, chip: &mut Chip) -> alcub3_tpm::Result<Key> {
        let RecoverableKey {
            public,
            private,
            under,
            ..
        } = &self.key;
        let object = match under {
            Under::Level => chip.with_policy(&self.policy, &self.inputs, |chip, session| {
                chip.load(&self.level_parent, Auth::Policy(session), private, public)
            })?,
            Under::StorageRoot | Under::Recovery { .. } => {
                let parent = under.load_parent(chip, &self.root)?;
                chip.load(
                    parent.as_ref().unwrap_or(&self.root),
                    Auth::Empty,
                    private,
                    public,
                )?
            }
        };
        Ok(Key::from(object))
    }
}

impl RecoverableKey {
    pub(crate) fn to_canonical(&self) -> Vec<u8> {
        let (under, fields) = match &self.under {
            Under::Level => (0, 5),
            Under::StorageRoot => (1, 5),
            Under::Recovery { .. } => (2, 7),
        };
        let mut out = Encoder::structure(DOMAIN, VERSION, fields);
        out.u64(2).u64(self.level.id().into()).u64(3).text(&self.label);
        out.u64(4)
            .bytes(self.public.as_tpmt_bytes())
            .u64(5)
            .bytes(&self.private)
            .u64(6)
            .u64(under);
        if let Under::Recovery { public, private } = &self.under {
            out.u64(7).bytes(public.as_tpmt_bytes()).u64(8).bytes(private);
        }
        out.finish()
    }

    pub(crate) fn from_canonical(bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        fields.key(r, 2, "level")?;
        let level = r.id_of("level", Level::from_id)?;
        fields.key(r, 3, "label")?;
        let label = r.text("label")?.to_owned();
        fields.key(r, 4, "public")?;
        let public = read_public(r, "public")?;
        fields.key(r, 5, "private")?;
        let private = r.bytes("private")?.to_vec();
        fields.key(r, 6, "under")?;
        let under = match r.u64("under")? {
            0 => Under::Level,
            1 => Under::StorageRoot,
            2 => {
                fields.key(r, 7, "parent")?;
                let public = read_public(r, "parent")?;
                fields.key(r, 8, "parent_private")?;
                let private = r.bytes("parent_private")?.to_vec();
                Under::Recovery { public, private }
            }
            _ => return Err(r.fault("under", Fault::Value)),
        };
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            level,
            label,
            public,
            private,
            under,
        })
    }
}

fn read_public(r: &mut Reader<'_>, field: &'static str) -> std::result::Result<Public, DecodeError> {
    let bytes = r.bytes(field)?;
    Public::from_tpmt(bytes).map_err(|_| r.fault(field, Fault::Value))
}
