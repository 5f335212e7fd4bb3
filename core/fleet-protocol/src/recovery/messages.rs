//! What travels of a recovery: a share wrapped to its holder's TPM, and a key duplicated to a recovery parent or a recovery TPM.

use alcub3_crypto::tpm::duplicate::{Duplicate, keyed_hash_object, sensitive, wrap};
use alcub3_crypto::tpm::{Name, Public, PublicTemplate, alg, attribute};
use alcub3_crypto::{CryptoError, Entropy, Secret};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Reader};
use alcub3_trust_model::{Level, OperatorId, RobotId, SessionId, domain};

use super::{RecoveryError, small};
use crate::wire::{self, Message};

const VERSION: u64 = 1;
const MAX_BLOB: usize = 2048;
const MAX_LABEL: usize = 64;
const MAX_SIGNATURE: usize = 1024;

/// A share on its way to a TPM: a sealed object wrapped to that TPM's storage key (TPM2_Import).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WrappedShare {
    /// The set.
    pub set: SessionId,
    /// Which share, from 1.
    pub index: u8,
    /// Who holds it.
    pub holder: OperatorId,
    /// The sealed object.
    pub object: WrappedObject,
}

/// An object wrapped for TPM2_Import.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WrappedObject {
    /// Its public area.
    pub public: Public,
    /// Contents of the TPM2B_PRIVATE.
    pub duplicate: Vec<u8>,
    /// Contents of the TPM2B_ENCRYPTED_SECRET.
    pub seed: Vec<u8>,
}

/// A key of a robot, duplicated to a recovery parent or to a recovery TPM's storage key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecoveryItem {
    /// The robot whose key it is.
    pub robot: RobotId,
    /// Its level.
    pub level: Level,
    /// What the robot called it.
    pub label: String,
    /// The Name of the parent it is wrapped to.
    pub parent: Name,
    /// The key.
    pub object: WrappedObject,
    /// The two-person key's TPMT_SIGNATURE by which it was duplicated: over this key, this parent, robot and level. Who
    /// recovers it asks for it again, so that nobody else's key comes in under a parent that is public.
    pub approval: Vec<u8>,
}

/// Wraps a share's bytes, as sealed data, for TPM2_Import under a storage key.
///
/// # Errors
/// [`RecoveryError`]: the parent is no storage key of an approved suite, or the randomness failed.
pub fn wrap_share(
    value: &Secret,
    parent: &Public,
    entropy: &mut dyn Entropy,
) -> Result<WrappedObject, RecoveryError> {
    let name_alg = parent.name_alg();
    // Neither fixedTPM nor fixedParent, as an imported object must be; with no policy it cannot be duplicated again.
    let attributes = attribute::USER_WITH_AUTH | attribute::NO_DA;
    let template = PublicTemplate::sealed_data(name_alg, attributes, None);
    let mut seed_value = Secret::zeroed(name_alg.size());
    entropy.fill(seed_value.expose_mut()).map_err(CryptoError::from)?;
    let public = keyed_hash_object(&template, &seed_value, value)?;
    let private = sensitive(alg::KEYEDHASH, &Secret::from_slice(&[]), &seed_value, value)?;
    let Duplicate {
        duplicate,
        encrypted_seed,
    } = wrap(parent, &public, &private, entropy)?;
    Ok(WrappedObject {
        public,
        duplicate,
        seed: encrypted_seed,
    })
}

impl WrappedObject {
    fn put(&self, out: &mut Encoder) {
        out.array(3);
        wire::put_public(out, &self.public);
        out.bytes(&self.duplicate).bytes(&self.seed);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.array_of("object", 3)?;
        let public = wire::public(r, "public")?;
        let duplicate = wire::bounded(r, "duplicate", MAX_BLOB)?;
        Ok(Self {
            public,
            duplicate,
            seed: wire::bounded(r, "seed", MAX_BLOB)?,
        })
    }
}

impl WrappedShare {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::RECOVERY_SHARE, VERSION, 4);
        out.u64(2).bytes(self.set.as_bytes());
        out.u64(3)
            .u64(self.index.into())
            .u64(4)
            .text(self.holder.as_str());
        self.object.put(out.u64(5));
        out.finish()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::RECOVERY_SHARE, VERSION, bytes)?;
        let set = wire::session(m.at(2, "set")?)?;
        let index = small(m.at(3, "index")?, "index")?;
        let holder = wire::operator(m.at(4, "holder")?, "holder")?;
        let object = WrappedObject::read(m.at(5, "object")?)?;
        m.finish()?;
        Ok(Self {
            set,
            index,
            holder,
            object,
        })
    }
}

impl RecoveryItem {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::RECOVERY_ITEM, VERSION, 6);
        out.u64(2)
            .text(self.robot.as_str())
            .u64(3)
            .u64(self.level.id().into())
            .u64(4)
            .text(&self.label)
            .u64(5)
            .bytes(self.parent.as_bytes());
        self.object.put(out.u64(6));
        out.u64(7).bytes(&self.approval);
        out.finish()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::RECOVERY_ITEM, VERSION, bytes)?;
        let robot = wire::robot(m.at(2, "robot")?)?;
        let level = m.at(3, "level")?.id_of("level", Level::from_id)?;
        let label = wire::short_text(m.at(4, "label")?, "label", MAX_LABEL)?;
        let parent = wire::name(m.at(5, "parent")?, "parent")?;
        let object = WrappedObject::read(m.at(6, "object")?)?;
        let approval = wire::bounded(m.at(7, "approval")?, "approval", MAX_SIGNATURE)?;
        m.finish()?;
        Ok(Self {
            robot,
            level,
            label,
            parent,
            object,
            approval,
        })
    }
}
