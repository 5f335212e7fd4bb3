//! The chip of whoever commands with shared keys. Nothing of a robot's has to be in it, and nothing is left in it: its keys
//! are made again each time, and its copy of a shared key is a blob that only this chip loads.

use crate::missions::tag_of;
use crate::provisioning::{ek_template, endorsement_certificate, endorsement_policy};
use crate::recovery::storage_key;
use crate::robot::OPERATION_TIMEOUT;
use crate::{KeysError, Result};
use alcub3_crypto::tpm::{Name, Public, attribute};
use alcub3_crypto::{Curve, Digest, HashAlg, Secret, Suite};
use alcub3_fleet_protocol::commander::{CommanderKey, commander_policy};
use alcub3_fleet_protocol::enrolment::Credential;
use alcub3_tpm::ops::{Hierarchy, Key, PolicyInputs};
use alcub3_tpm::{Auth, Chip, Lane, Tpm};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{OperatorId, handle_map};

const DOMAIN: &str = "alcub3/held-command-key/v1";
const VERSION: u64 = 1;

/// A commander's TPM with its storage key.
#[derive(Clone, Debug)]
pub struct CommanderTpm {
    tpm: Tpm,
    curve: Curve,
    storage_key: Key,
}

/// What a chip shows before a shared key is wrapped for it.
#[derive(Clone, Debug)]
pub struct PresentedChip {
    /// Its endorsement key.
    pub endorsement_key: Public,
    /// The endorsement certificate in its NV; empty if it has none.
    pub endorsement_certificate: Vec<u8>,
    /// Its storage key.
    pub storage_key: Public,
}

impl CommanderTpm {
    /// Uses the storage root of a TPM: the persistent one, or else the one that its empty owner authorisation makes again
    /// each time. Commands: 1 or 2 ReadPublic, or 1 CreatePrimary.
    ///
    /// # Errors
    /// The chip's: BAD_AUTH where it is owned and has no storage root of ours.
    pub fn open(tpm: Tpm, curve: Curve) -> Result<Self> {
        let storage_key = storage_key(&tpm, curve)?;
        Ok(Self {
            tpm,
            curve,
            storage_key,
        })
    }

    /// Shows the chip. Commands: the endorsement key (ReadPublic, or CreatePrimary), its certificate (NV_ReadPublic,
    /// NV_Read).
    ///
    /// # Errors
    /// The chip's: BAD_AUTH where it is owned and has no endorsement key of ours.
    pub fn present(&self) -> Result<PresentedChip> {
        let (curve, storage_key) = (self.curve, self.storage_key.public().clone());
        self.run(move |chip| {
            Ok(PresentedChip {
                endorsement_key: endorsement_key(chip, curve)?.public().clone(),
                endorsement_certificate: endorsement_certificate(chip)?,
                storage_key,
            })
        })
    }

    /// Recovers the secret of a credential that was made for this chip's endorsement key and storage key. Commands: the
    /// endorsement key, a policy session for it where its template asks for one, 1 ActivateCredential.
    ///
    /// # Errors
    /// The chip's: INTEGRITY or VALUE where the credential is for others.
    pub fn activate(&self, credential: &Credential) -> Result<Secret> {
        let (curve, storage_key, credential) = (self.curve, self.storage_key.clone(), credential.clone());
        self.run(move |chip| {
            let ek = endorsement_key(chip, curve)?;
            let session = if ek.public().has_attributes(attribute::USER_WITH_AUTH) {
                None
            } else {
                Some(endorsement_policy(chip, ek.public(), &Secret::from_slice(&[]))?)
            };
            let auth = session.as_ref().map_or(Auth::Empty, Auth::Policy);
            let (object, encrypted) = (&credential.id_object, &credential.encrypted_secret);
            Ok(chip.activate_credential(&storage_key, Auth::Empty, &ek, auth, object, encrypted)?)
        })
    }

    /// Takes a copy of a shared key into the chip: what is given back is kept, and is of use in this chip alone. Commands:
    /// Import, Load, a flush.
    ///
    /// # Errors
    /// INTEGRITY where the copy was wrapped to another chip, or changed.
    pub fn take(&self, key: &CommanderKey) -> Result<HeldCommandKey> {
        let (parent, wrapped) = (self.storage_key.clone(), key.wrapped.clone());
        let private = self.run(move |chip| {
            let (duplicate, seed) = (&wrapped.duplicate, &wrapped.encrypted_seed);
            let private = chip.import(&parent, Auth::Empty, &wrapped.public, duplicate, seed)?;
            chip.load(&parent, Auth::Empty, &private, &wrapped.public)?;
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

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Chip) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.tpm
            .run(Lane::Background, OPERATION_TIMEOUT, move |chip| Ok(work(chip)))?
    }
}

/// The endorsement key: the persistent one, or the one that the empty endorsement authorisation makes again each time.
fn endorsement_key(chip: &mut Chip, curve: Curve) -> Result<Key> {
    if let Some(found) = chip.persistent_key(handle_map::EK)? {
        return Ok(Key::from(found));
    }
    let template = ek_template(curve);
    let template = template.as_tpmt_bytes();
    let made = chip.create_primary(Hierarchy::Endorsement, Auth::Empty, template, None, &[])?;
    Ok(Key::from(made.object))
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
