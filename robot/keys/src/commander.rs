//! What a commander's chip does with shared keys. Its copy of one is a blob that only this chip loads.

use crate::missions::tag_of;
use crate::person::PersonTpm;
use crate::refusal::import_integrity;
use crate::{KeysError, Result};
use alcub3_crypto::tpm::{Name, Public};
use alcub3_crypto::{Curve, Digest, HashAlg, Suite};
use alcub3_fleet_protocol::commander::{CommanderKey, commander_policy};
use alcub3_tpm::Auth;
use alcub3_tpm::ops::{Key, PolicyInputs};
use alcub3_trust_model::OperatorId;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};

const DOMAIN: &str = "alcub3/held-command-key/v1";
const VERSION: u64 = 1;

impl PersonTpm {
    /// Takes a copy of a shared key into the chip: what is given back is kept, and is of use in this chip alone. Commands:
    /// Import, Load, a flush.
    ///
    /// # Errors
    /// [`KeyRefusal::ImportIntegrity`](crate::KeyRefusal) where the copy was wrapped to another chip, or changed.
    pub fn take(&self, key: &CommanderKey) -> Result<HeldCommandKey> {
        let (parent, wrapped) = (self.storage_key.clone(), key.wrapped.clone());
        let private = self.run(move |chip| {
            let (duplicate, seed) = (&wrapped.duplicate, &wrapped.encrypted_seed);
            let private = chip
                .import(&parent, Auth::Empty, &wrapped.public, duplicate, seed)
                .map_err(import_integrity)?;
            chip.load(&parent, Auth::Empty, &private, &wrapped.public)
                .map_err(import_integrity)?;
            Ok(private)
        })?;
        Ok(HeldCommandKey {
            operator: key.operator.clone(),
            storage_key: self.storage_key.public().name(),
            curve: self.curve,
            public: key.wrapped.public.clone(),
            private,
        })
    }

    /// The HMAC of up to 1024 bytes with a key that this chip took. Commands: Load, a policy session (StartAuthSession,
    /// PolicyCommandCode), HMAC, a flush.
    ///
    /// # Errors
    /// [`KeysError::OtherCommander`] for a key that another chip took; the chip's.
    pub fn mac(&self, held: &HeldCommandKey, data: &[u8]) -> Result<Digest> {
        if held.storage_key != self.storage_key.public().name() {
            return Err(KeysError::OtherCommander);
        }
        let hash = held.hash();
        let policy = commander_policy(hash).map_err(alcub3_trust_model::policies::PolicyBuildError::from)?;
        let (parent, held, data) = (self.storage_key.clone(), held.clone(), data.to_vec());
        self.run(move |chip| {
            let key = Key::from(chip.load(&parent, Auth::Empty, &held.private, &held.public)?);
            let tag = chip.with_policy(&policy, &PolicyInputs::new(), |chip, session| {
                chip.hmac(&key, Auth::Policy(session), &data)
            })?;
            Ok(tag_of(hash, &tag)?)
        })
    }
}

/// A commander's copy of a shared key: a blob for one chip.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeldCommandKey {
    operator: OperatorId,
    storage_key: Name,
    curve: Curve,
    public: Public,
    private: Vec<u8>,
}

impl HeldCommandKey {
    /// Whose commands it authenticates.
    pub const fn operator(&self) -> &OperatorId {
        &self.operator
    }

    /// The curve of the storage key that it is under.
    pub const fn curve(&self) -> Curve {
        self.curve
    }

    /// The suite of the commands that it authenticates.
    pub fn suite(&self) -> Suite {
        match self.hash() {
            HashAlg::Sha384 => Suite::HmacSha384,
            _ => Suite::HmacSha256,
        }
    }

    fn hash(&self) -> HashAlg {
        self.public.name_alg()
    }

    /// The file's bytes.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(DOMAIN, VERSION, 5);
        out.u64(2)
            .text(self.operator.as_str())
            .u64(3)
            .bytes(self.storage_key.as_bytes());
        out.u64(4).u64(self.curve.tpm_id().into());
        out.u64(5)
            .bytes(self.public.as_tpmt_bytes())
            .u64(6)
            .bytes(&self.private);
        out.finish()
    }

    /// Reads exactly what [`Self::to_canonical`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        fields.key(r, 2, "operator")?;
        let operator = r.text("operator")?;
        let operator = OperatorId::new(operator).map_err(|_| r.fault("operator", Fault::Value))?;
        fields.key(r, 3, "storage_key")?;
        let name = r.bytes("storage_key")?;
        let storage_key = Name::from_bytes(name).map_err(|_| r.fault("storage_key", Fault::Value))?;
        fields.key(r, 4, "curve")?;
        let curve = r.u16("curve")?;
        let known = [Curve::P256, Curve::P384];
        let curve = known.into_iter().find(|known| known.tpm_id() == curve);
        let curve = curve.ok_or_else(|| r.fault("curve", Fault::Value))?;
        fields.key(r, 5, "public")?;
        let public = r.bytes("public")?;
        let public = Public::from_tpmt(public).map_err(|_| r.fault("public", Fault::Value))?;
        if !matches!(public.name_alg(), HashAlg::Sha256 | HashAlg::Sha384) {
            return Err(r.fault("public", Fault::Value));
        }
        fields.key(r, 6, "private")?;
        let private = r.bytes("private")?.to_vec();
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            operator,
            storage_key,
            curve,
            public,
            private,
        })
    }
}
