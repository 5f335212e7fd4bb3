//! What brings a lost robot's keys back: keys duplicated to a recovery parent, that parent sealed under a secret, and the
//! secret's shares, each wrapped to its holder's TPM.
//!
//! A *recovery set* is public. It names the holders, how many of them are needed, the digest of each share, and carries the
//! recovery parent with its private part encrypted under the secret. A share is checked against its digest before it is
//! used, so that a wrong or swapped one is named.

mod holders;
mod messages;

use std::collections::BTreeSet;

use alcub3_crypto::tpm::{Public, StorageKeyPair, StructureError};
use alcub3_crypto::{
    AeadKey, CryptoError, Curve, Digest, Entropy, HashAlg, Secret, SecretShare, SharingError, join_secret,
    split_secret,
};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{OperatorId, RobotId, SessionId, domain};

use crate::chip::{AdmittedChip, ChipAdmission, ChipError};
use crate::wire::{self, Message};

pub use holders::VerifiedSet;
pub use messages::{RecoveryItem, WrappedObject, WrappedShare, wrap_share};

/// The first version named storage keys and no chips.
const VERSION: u64 = 2;
const MAX_HOLDERS: usize = 16;
const MAX_ADMISSION: usize = 2048;
const MAX_SEALED: usize = 512;
const MAX_SIGNATURE: usize = 1024;
const SECRET_LEN: usize = 32;
/// The secret encrypts one thing once, so that one nonce is enough.
const NONCE: [u8; 12] = [0; 12];
/// Digests of shares; apart from the hash of Names.
const HASH: HashAlg = HashAlg::Sha384;

/// A holder as the set names it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Holder {
    /// What `signed` says; believed once [`VerifiedSet`] has verified it.
    admission: ChipAdmission,
    /// The admission, as the authority signed it.
    signed: Vec<u8>,
    /// H(domain ‖ set ‖ index ‖ share).
    share: Digest,
}

/// Why a recovery set was not made, or shares recover nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// Two holders have one name.
    #[error("{0} appears twice among the holders: every share goes to another person")]
    SameHolder(OperatorId),
    /// Two holders have one chip.
    #[error("{first} and {second} have one chip: every share goes to another chip")]
    SameChip {
        /// One of them.
        first: OperatorId,
        /// The other.
        second: OperatorId,
    },
    /// Two holders' endorsement keys do not tell their chips apart.
    #[error(
        "the endorsement keys of {first} and {second} are of different kinds, and one chip may have both; present all \
         chips with the same curve"
    )]
    OtherKind {
        /// One of them.
        first: OperatorId,
        /// The other.
        second: OperatorId,
    },
    /// A holder's chip is not admitted by this authority.
    #[error("the chip of {holder} is not admitted by this authority: {source}")]
    NotAdmitted {
        /// Whose.
        holder: OperatorId,
        /// What is wrong with the admission.
        source: ChipError,
    },
    /// A holder has a simulator, and the robot's TPM is none.
    #[error("the chip of {0} is a simulator, and this robot's is none")]
    Simulator(OperatorId),
    /// The set is not one that the robot made.
    #[error("the recovery set was not made by {0} as this authority enrolled it, or was changed")]
    NotOfRobot(String),
    /// The parent is not one that a set has.
    #[error("the recovery set's parent is no key that a set has")]
    NoSetParent,
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
    holders: Vec<Holder>,
    parent: Public,
    sealed: Vec<u8>,
    signature: Vec<u8>,
}

impl RecoverySet {
    /// Makes a recovery parent and a secret that opens it, and splits the secret among the holders, `needed` of whom bring
    /// it back. Nothing of the secret is kept. The robot's identity key is to sign it: see [`Self::signed`].
    ///
    /// # Errors
    /// [`RecoveryError`]: a person or a chip twice, one whose storage key is weaker than `curve`, numbers that make no sense,
    /// or the randomness failed.
    pub fn create(
        set: SessionId,
        robot: RobotId,
        curve: Curve,
        (holders, needed): (&[AdmittedChip], u8),
        entropy: &mut dyn Entropy,
    ) -> Result<(Self, Vec<WrappedShare>), RecoveryError> {
        holders::check(holders, needed, curve)?;
        let total = u8::try_from(holders.len()).unwrap_or(u8::MAX);
        let mut secret = Secret::zeroed(SECRET_LEN);
        entropy.fill(secret.expose_mut()).map_err(CryptoError::from)?;
        let shares = split_secret(&secret, needed, total, entropy)?;
        let pair = StorageKeyPair::generate(curve, entropy)?;
        let entries = holders.iter().zip(&shares).map(|(holder, share)| Holder {
            admission: holder.admission().clone(),
            signed: holder.as_bytes().to_vec(),
            share: share_digest(set, share),
        });
        let mut made = Self {
            set,
            robot,
            needed,
            holders: entries.collect(),
            parent: pair.public().clone(),
            sealed: Vec::new(),
            signature: Vec::new(),
        };
        made.sealed = AeadKey::new(&secret)?.seal(&NONCE, &made.header(), pair.sensitive().expose())?;
        let wrapped = holders.iter().zip(&shares).map(|(holder, share)| {
            let object = wrap_share(share.value(), holder.storage_key(), entropy)?;
            Ok(WrappedShare {
                set,
                index: share.index(),
                holder: holder.operator().clone(),
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
        self.holders.iter().map(|holder| &holder.admission.operator)
    }

    /// Sets the signature of the robot's identity key over [`Self::statement`], a TPMT_SIGNATURE.
    #[must_use]
    pub fn signed(mut self, signature: Vec<u8>) -> Self {
        self.signature = signature;
        self
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
        let at = self
            .holders
            .iter()
            .position(|holder| holder.admission.operator == from.holder);
        let at = at.ok_or_else(|| RecoveryError::NoHolder(from.holder.clone()))?;
        let index = u8::try_from(at + 1).unwrap_or(u8::MAX);
        let share = SecretShare::new(index, value);
        let expected = self.holders.get(at).map(|holder| holder.share);
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
        for holder in &self.holders {
            out.array(2).bytes(&holder.signed).digest(&holder.share);
        }
        wire::put_public(out.u64(6), &self.parent);
    }

    /// What the robot's identity key signs: all but the signature.
    pub fn statement(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::RECOVERY_SET, VERSION, 6);
        self.put_header(&mut out);
        out.u64(7).bytes(&self.sealed);
        out.finish()
    }

    /// The set.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::RECOVERY_SET, VERSION, 7);
        self.put_header(&mut out);
        out.u64(7).bytes(&self.sealed).u64(8).bytes(&self.signature);
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
        let holders = wire::list(m.at(5, "holders")?, "holders", MAX_HOLDERS, read_holder)?;
        let parent = wire::public(m.at(6, "parent")?, "parent")?;
        let sealed = wire::bounded(m.at(7, "sealed")?, "sealed", MAX_SEALED)?;
        let signature = wire::bounded(m.at(8, "signature")?, "signature", MAX_SIGNATURE)?;
        m.finish()?;
        Ok(Self {
            set,
            robot,
            needed,
            holders,
            parent,
            sealed,
            signature,
        })
    }
}

/// A share that is the one its holder was given. Only [`RecoverySet::check_share`] makes one.
#[derive(Clone, Debug)]
pub struct CheckedShare(SecretShare);

fn share_digest(set: SessionId, share: &SecretShare) -> Digest {
    HASH.digest(&[
        domain::RECOVERY_SHARE.as_bytes(),
        set.as_bytes(),
        &[share.index()],
        share.value().expose(),
    ])
}

fn read_holder(r: &mut Reader<'_>) -> Result<Holder, DecodeError> {
    r.array_of("holder", 2)?;
    let signed = wire::bounded(r, "admission", MAX_ADMISSION)?;
    let admission = ChipAdmission::unverified(&signed).map_err(|_| r.fault("admission", Fault::Value))?;
    Ok(Holder {
        admission,
        signed,
        share: r.digest("share")?,
    })
}

fn small(r: &mut Reader<'_>, field: &'static str) -> Result<u8, DecodeError> {
    let value = r.u64(field)?;
    u8::try_from(value).map_err(|_| r.fault(field, Fault::Value))
}
