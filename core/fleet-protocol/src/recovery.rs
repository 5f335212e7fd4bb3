//! What brings a lost robot's keys back: keys duplicated to a recovery parent, that parent sealed under a secret, and the
//! secret's shares, each wrapped to its holder's TPM.
//!
//! A *recovery set* is public. It names the holders, how many of them are needed, the digest of each share, and carries the
//! recovery parent with its private part encrypted under the secret. A share is checked against its digest before it is
//! used, so that a wrong or swapped one is named.

use std::collections::BTreeSet;

use alcub3_crypto::tpm::duplicate::{Duplicate, keyed_hash_object, sensitive, wrap};
use alcub3_crypto::tpm::{Name, Public, PublicTemplate, StorageKeyPair, StructureError, alg, attribute};
use alcub3_crypto::{
    AeadKey, CryptoError, Curve, Digest, Entropy, HashAlg, Secret, SecretShare, SharingError, join_secret,
    split_secret,
};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{Level, OperatorId, RobotId, SessionId, domain};

use crate::wire::{self, Message};

const VERSION: u64 = 1;
const MAX_HOLDERS: usize = 16;
const MAX_SEALED: usize = 512;
const MAX_BLOB: usize = 2048;
const MAX_LABEL: usize = 64;
const MAX_SIGNATURE: usize = 1024;
const SECRET_LEN: usize = 32;
/// The secret encrypts one thing once, so that one nonce is enough.
const NONCE: [u8; 12] = [0; 12];
/// Digests of shares; apart from the hash of Names.
const HASH: HashAlg = HashAlg::Sha384;

/// Who keeps a share, on which TPM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    /// The holder.
    pub name: OperatorId,
    /// The storage key of the holder's TPM, to which the share is wrapped.
    pub parent: Public,
}

/// A holder as the set names it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Entry {
    name: OperatorId,
    parent: Name,
    /// H(domain ‖ set ‖ index ‖ share).
    share: Digest,
}

/// Why a recovery set was not made, or shares recover nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// Two holders have one name or one TPM.
    #[error("{0} appears twice among the holders: every share goes to another person and another TPM")]
    SameHolder(OperatorId),
    /// A holder's TPM protects its share less than the set's curve protects the keys.
    #[error("the storage key of {holder} is weaker than the recovery set: make it with the robot's curve")]
    WeakHolder {
        /// Whose.
        holder: OperatorId,
    },
    /// The numbers make no sense, or the shares are too few.
    #[error(transparent)]
    Sharing(#[from] SharingError),
    /// Too few shares were given.
    #[error("{needed} different shares are needed and {given} were given")]
    TooFew {
        /// How many are needed.
        needed: u8,
        /// How many were given.
        given: usize,
    },
    /// A share is of another set.
    #[error("the share of {holder} is of another recovery set")]
    OtherSet {
        /// Whose.
        holder: OperatorId,
    },
    /// A share is not what the set says it is.
    #[error("the share of {holder} is not the one that was given to {holder}: it was changed or swapped")]
    WrongShare {
        /// Whose.
        holder: OperatorId,
    },
    /// The set names no such holder.
    #[error("{0} holds no share of this recovery set")]
    NoHolder(OperatorId),
    /// The secret opens nothing: the set was changed.
    #[error("the shares give no secret that opens this recovery set: the set was changed")]
    Opens(#[source] CryptoError),
    /// A cryptographic step failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// A structure does not fit.
    #[error("a structure of the recovery set does not fit: {0}")]
    Structure(#[from] StructureError),
}

/// A recovery set: public, and worthless without the shares.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecoverySet {
    set: SessionId,
    robot: RobotId,
    needed: u8,
    holders: Vec<Entry>,
    parent: Public,
    sealed: Vec<u8>,
}

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

impl RecoverySet {
    /// Makes a recovery parent and a secret that opens it, and splits the secret among the holders, `needed` of whom bring
    /// it back. Nothing of the secret is kept.
    ///
    /// # Errors
    /// [`RecoveryError`]: a holder twice, one whose storage key is weaker than `curve`, numbers that make no sense, or the randomness failed.
    pub fn create(
        set: SessionId,
        robot: RobotId,
        curve: Curve,
        (holders, needed): (&[Holder], u8),
        entropy: &mut dyn Entropy,
    ) -> Result<(Self, Vec<WrappedShare>), RecoveryError> {
        refuse_doubles(holders)?;
        refuse_weaker(holders, curve)?;
        let total = u8::try_from(holders.len()).unwrap_or(u8::MAX);
        if holders.len() > MAX_HOLDERS {
            return Err(SharingError::Numbers { needed, total }.into());
        }
        let mut secret = Secret::zeroed(SECRET_LEN);
        entropy.fill(secret.expose_mut()).map_err(CryptoError::from)?;
        let shares = split_secret(&secret, needed, total, entropy)?;
        let pair = StorageKeyPair::generate(curve, entropy)?;
        let entries = holders.iter().zip(&shares).map(|(holder, share)| Entry {
            name: holder.name.clone(),
            parent: holder.parent.name(),
            share: share_digest(set, share),
        });
        let mut made = Self {
            set,
            robot,
            needed,
            holders: entries.collect(),
            parent: pair.public().clone(),
            sealed: Vec::new(),
        };
        made.sealed = AeadKey::new(&secret)?.seal(&NONCE, &made.header(), pair.sensitive().expose())?;
        let wrapped = holders.iter().zip(&shares).map(|(holder, share)| {
            let object = wrap_share(share.value(), &holder.parent, entropy)?;
            Ok(WrappedShare {
                set,
                index: share.index(),
                holder: holder.name.clone(),
                object,
            })
        });
        let wrapped: Result<_, RecoveryError> = wrapped.collect();
        Ok((made, wrapped?))
    }

    /// Its identifier.
    pub const fn set(&self) -> SessionId {
        self.set
    }

    /// The robot.
    pub const fn robot(&self) -> &RobotId {
        &self.robot
    }

    /// How many holders are needed.
    pub const fn needed(&self) -> u8 {
        self.needed
    }

    /// The holders, in the order of their shares.
    pub fn holders(&self) -> impl Iterator<Item = &OperatorId> {
        self.holders.iter().map(|entry| &entry.name)
    }

    /// The recovery parent: what is duplicated to it comes back with the shares.
    pub const fn parent(&self) -> &Public {
        &self.parent
    }

    /// Checks one holder's share, as a TPM unsealed it, against what the set says.
    ///
    /// # Errors
    /// [`RecoveryError`] names the holder.
    pub fn check_share(&self, from: &WrappedShare, value: Secret) -> Result<CheckedShare, RecoveryError> {
        if from.set != self.set {
            return Err(RecoveryError::OtherSet {
                holder: from.holder.clone(),
            });
        }
        let at = self.holders.iter().position(|entry| entry.name == from.holder);
        let at = at.ok_or_else(|| RecoveryError::NoHolder(from.holder.clone()))?;
        let index = u8::try_from(at + 1).unwrap_or(u8::MAX);
        let share = SecretShare::new(index, value);
        let expected = self.holders.get(at).map(|entry| entry.share);
        if from.index != index || expected != Some(share_digest(self.set, &share)) {
            return Err(RecoveryError::WrongShare {
                holder: from.holder.clone(),
            });
        }
        Ok(CheckedShare(share))
    }

    /// Brings the recovery parent back with at least as many shares as are needed.
    ///
    /// # Errors
    /// [`RecoveryError::TooFew`]; [`RecoveryError::Opens`] where the set itself was changed.
    pub fn open(&self, shares: &[CheckedShare]) -> Result<StorageKeyPair, RecoveryError> {
        let different: BTreeSet<u8> = shares.iter().map(|share| share.0.index()).collect();
        if different.len() < usize::from(self.needed) {
            return Err(RecoveryError::TooFew {
                needed: self.needed,
                given: different.len(),
            });
        }
        let mut given = Vec::new();
        for CheckedShare(share) in shares {
            if !given
                .iter()
                .any(|other: &SecretShare| other.index() == share.index())
            {
                given.push(share.clone());
            }
        }
        let secret = join_secret(&given)?;
        let opened = AeadKey::new(&secret)?.open(&NONCE, &self.header(), &self.sealed);
        let sensitive = opened.map_err(RecoveryError::Opens)?;
        Ok(StorageKeyPair::from_parts(self.parent.clone(), sensitive))
    }

    /// What the encryption of the private part authenticates: everything else.
    fn header(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::RECOVERY_SET, VERSION, 5);
        self.put_header(&mut out);
        out.finish()
    }

    fn put_header(&self, out: &mut Encoder) {
        out.u64(2)
            .bytes(self.set.as_bytes())
            .u64(3)
            .text(self.robot.as_str())
            .u64(4)
            .u64(self.needed.into());
        out.u64(5).array(self.holders.len());
        for entry in &self.holders {
            out.array(3)
                .text(entry.name.as_str())
                .bytes(entry.parent.as_bytes())
                .digest(&entry.share);
        }
        wire::put_public(out.u64(6), &self.parent);
    }

    /// The set.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::RECOVERY_SET, VERSION, 6);
        self.put_header(&mut out);
        out.u64(7).bytes(&self.sealed);
        out.finish()
    }

    /// The set of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::RECOVERY_SET, VERSION, bytes)?;
        let set = wire::session(m.at(2, "set")?)?;
        let robot = wire::robot(m.at(3, "robot")?)?;
        let needed = m.at(4, "needed")?;
        let needed = small(needed, "needed")?;
        let holders = wire::list(m.at(5, "holders")?, "holders", MAX_HOLDERS, read_entry)?;
        let parent = wire::public(m.at(6, "parent")?, "parent")?;
        let sealed = wire::bounded(m.at(7, "sealed")?, "sealed", MAX_SEALED)?;
        m.finish()?;
        Ok(Self {
            set,
            robot,
            needed,
            holders,
            parent,
            sealed,
        })
    }
}

/// A share that is the one its holder was given. Only [`RecoverySet::check_share`] makes one.
#[derive(Clone, Debug)]
pub struct CheckedShare(SecretShare);

fn refuse_doubles(holders: &[Holder]) -> Result<(), RecoveryError> {
    for (at, holder) in holders.iter().enumerate() {
        let same = |other: &Holder| other.name == holder.name || other.parent.name() == holder.parent.name();
        if holders.iter().skip(at + 1).any(same) {
            return Err(RecoveryError::SameHolder(holder.name.clone()));
        }
    }
    Ok(())
}

fn refuse_weaker(holders: &[Holder], curve: Curve) -> Result<(), RecoveryError> {
    let strong = |holder: &&Holder| {
        let parent = &holder.parent;
        let own = parent.ec_point().map(|(own, _, _)| own);
        own.is_some_and(|own| own >= curve && parent.name_alg() == own.hash())
    };
    match holders.iter().find(|holder| !strong(holder)) {
        Some(weak) => Err(RecoveryError::WeakHolder {
            holder: weak.name.clone(),
        }),
        None => Ok(()),
    }
}

fn share_digest(set: SessionId, share: &SecretShare) -> Digest {
    HASH.digest(&[
        domain::RECOVERY_SHARE.as_bytes(),
        set.as_bytes(),
        &[share.index()],
        share.value().expose(),
    ])
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

fn read_entry(r: &mut Reader<'_>) -> Result<Entry, DecodeError> {
    r.array_of("holder", 3)?;
    let name = holder(r)?;
    let parent = wire::name(r, "parent")?;
    Ok(Entry {
        name,
        parent,
        share: r.digest("share")?,
    })
}

fn holder(r: &mut Reader<'_>) -> Result<OperatorId, DecodeError> {
    let text = r.text("holder")?;
    OperatorId::new(text).map_err(|_| r.fault("holder", Fault::Value))
}

fn small(r: &mut Reader<'_>, field: &'static str) -> Result<u8, DecodeError> {
    let value = r.u64(field)?;
    u8::try_from(value).map_err(|_| r.fault(field, Fault::Value))
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
        let holder = holder(m.at(4, "holder")?)?;
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
