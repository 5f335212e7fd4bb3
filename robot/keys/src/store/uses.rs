//! Using managed keys: judged before the chip is asked, and by the chip.

use super::making::Parent;
use crate::robot::{OPERATION_TIMEOUT, RobotKeys};
use crate::{KeysError, Result};
use alcub3_crypto::tpm::policy::Policy;
use alcub3_crypto::tpm::{Signature, decapsulate, encapsulate, encapsulated_point};
use alcub3_crypto::{AeadKey, Digest, Entropy, Secret, constant_time_eq};
use alcub3_tpm::ops::{Key, PolicyInputs};
use alcub3_tpm::{Auth, Chip, Lane, OsEntropy, PolicySession, TpmError};
use alcub3_trust_model::managed_key::{Encrypted, KeyKind, KeyRecord, KeyUse, purpose_profile};
use alcub3_trust_model::{KeyId, domain};

/// Random bytes from which a data key is derived.
const SALT_LEN: usize = 32;
/// Bytes of an AES-256 key.
const DATA_KEY_LEN: usize = 32;
/// A data key encrypts one message, so its nonce need not vary.
const NONCE: [u8; 12] = [0; 12];

/// A key that may be used for what was asked.
struct Usable {
    record: KeyRecord,
    parent: Parent,
    policy: Policy,
    inputs: PolicyInputs,
}

impl Usable {
    /// Loads the key, arms a session and uses it; both are gone afterwards.
    fn run<T>(
        &self,
        chip: &mut Chip,
        mut use_: impl FnMut(&mut Chip, &Key, &PolicySession) -> std::result::Result<T, TpmError>,
    ) -> std::result::Result<T, TpmError> {
        let private = self.record.blob.as_ref().map(|blob| blob.private.as_slice());
        let object = self
            .parent
            .load(chip, private.unwrap_or_default(), &self.record.public)?;
        let key = Key::from(object);
        chip.with_policy(&self.policy, &self.inputs, |chip, session| {
            use_(chip, &key, session)
        })
    }
}

impl RobotKeys {
    /// The key, if its purpose, its state and its age admit the use.
    fn usable(&self, id: KeyId, use_: KeyUse) -> Result<Usable> {
        let record = self.managed_key(id)?;
        record.judge(use_)?;
        Ok(Usable {
            parent: self.parent_for(record.purpose, record.level)?,
            policy: self.managed_policy_of(&record)?,
            inputs: self.managed_inputs(&record),
            record,
        })
    }

    fn in_chip<T: Send + 'static>(
        &self,
        key: Usable,
        mut use_: impl FnMut(&mut Chip, &Key, &PolicySession) -> std::result::Result<T, TpmError> + Send + 'static,
    ) -> Result<T> {
        Ok(self.tpm.run(Lane::Command, OPERATION_TIMEOUT, move |chip| {
            key.run(chip, &mut use_)
        })?)
    }

    /// Signs a digest of the robot's hash. Commands: Load, StartAuthSession, 4 policy commands, Sign, a flush; for a key
    /// that a stop ends also a parent session and 2 policy commands.
    ///
    /// # Errors
    /// [`KeysError::Use`] before the chip is asked; the chip's refusal of a key that ended.
    pub fn sign_with_managed_key(&self, id: KeyId, digest: Digest) -> Result<Signature> {
        let key = self.usable(id, KeyUse::Sign)?;
        self.in_chip(key, move |chip, key, session| {
            chip.sign(key, Auth::Policy(session), &digest)
        })
    }

    /// Makes a tag over a message. Commands: as [`Self::sign_with_managed_key`], with HMAC for Sign.
    ///
    /// # Errors
    /// As [`Self::sign_with_managed_key`].
    pub fn tag_with_managed_key(&self, id: KeyId, message: &[u8]) -> Result<Vec<u8>> {
        let tag = self.tag_for(id, KeyUse::MakeTag, message)?;
        Ok(tag.expose().to_vec())
    }

    /// Whether a tag is the key's over a message. Commands: as [`Self::tag_with_managed_key`].
    ///
    /// # Errors
    /// As [`Self::sign_with_managed_key`].
    pub fn check_managed_key_tag(&self, id: KeyId, message: &[u8], tag: &[u8]) -> Result<bool> {
        let expected = self.tag_for(id, KeyUse::CheckTag, message)?;
        Ok(constant_time_eq(expected.expose(), tag))
    }

    fn tag_for(&self, id: KeyId, use_: KeyUse, message: &[u8]) -> Result<Secret> {
        let key = self.usable(id, use_)?;
        let digest = self.hash().digest(&[message]);
        let input = [domain::KEY_TAG.as_bytes(), digest.as_bytes()].concat();
        self.in_chip(key, move |chip, key, session| {
            chip.hmac(key, Auth::Policy(session), &input)
        })
    }

    /// Encrypts data for a key. Commands: as [`Self::tag_with_managed_key`] for a key of data encryption; none for a key
    /// that others encrypt to, since its public part is enough.
    ///
    /// # Errors
    /// As [`Self::sign_with_managed_key`].
    pub fn encrypt_with_managed_key(&self, id: KeyId, plain: &[u8]) -> Result<Encrypted> {
        let record = self.managed_key(id)?;
        record.judge(KeyUse::Encrypt)?;
        if purpose_profile(record.purpose).kind == KeyKind::Agreement {
            return encrypt_to(&record, plain);
        }
        let mut salt = [0; SALT_LEN];
        OsEntropy
            .fill(&mut salt)
            .map_err(|error| KeysError::Tpm(TpmError::Entropy(error)))?;
        let secret = self.derived(id, KeyUse::Encrypt, &salt)?;
        seal(&secret, record.id, salt.to_vec(), plain)
    }

    /// Decrypts what was encrypted for one of this robot's keys. Commands: as [`Self::sign_with_managed_key`], with HMAC
    /// or ECDH_ZGen for Sign.
    ///
    /// # Errors
    /// As [`Self::sign_with_managed_key`]; [`KeysError::Crypto`] where the message was changed or is for another key.
    pub fn decrypt_with_managed_key(&self, message: &Encrypted) -> Result<Secret> {
        let key = self.usable(message.key, KeyUse::Decrypt)?;
        let secret = match purpose_profile(key.record.purpose).kind {
            KeyKind::Agreement => self.agreed(key, &message.opening)?,
            KeyKind::Signing | KeyKind::Keyed => {
                self.derived(message.key, KeyUse::Decrypt, &message.opening)?
            }
        };
        let aead = data_key(&secret)?;
        Ok(aead.open(&NONCE, &message.associated_data(), &message.sealed)?)
    }

    fn derived(&self, id: KeyId, use_: KeyUse, salt: &[u8]) -> Result<Secret> {
        let key = self.usable(id, use_)?;
        let input = [domain::DATA_KEY.as_bytes(), salt].concat();
        self.in_chip(key, move |chip, key, session| {
            chip.hmac(key, Auth::Policy(session), &input)
        })
    }

    fn agreed(&self, key: Usable, encapsulated: &[u8]) -> Result<Secret> {
        let point = encapsulated_point(encapsulated).map_err(|source| KeysError::Structure {
            what: "the encapsulated point of the message",
            source,
        })?;
        let public = key.record.public.clone();
        let [x, y] = point.clone();
        let z = self.in_chip(key, move |chip, key, session| {
            chip.ecdh_zgen(key, Auth::Policy(session), &x, &y)
        })?;
        let [x, _] = point;
        Ok(decapsulate(&public, domain::DATA_KEY.as_bytes(), &x, &z)?)
    }
}

/// Encrypts to a key whose public part is enough: also what another robot or the authority does.
fn encrypt_to(record: &KeyRecord, plain: &[u8]) -> Result<Encrypted> {
    let (secret, opening) = encapsulate(&record.public, domain::DATA_KEY.as_bytes(), &mut OsEntropy)?;
    seal(&secret, record.id, opening, plain)
}

fn seal(secret: &Secret, key: KeyId, opening: Vec<u8>, plain: &[u8]) -> Result<Encrypted> {
    let mut message = Encrypted {
        key,
        opening,
        sealed: Vec::new(),
    };
    let aead = data_key(secret)?;
    message.sealed = aead.seal(&NONCE, &message.associated_data(), plain)?;
    Ok(message)
}

/// The first 32 bytes of what the chip derived, which is 32 or 48 bytes long.
fn data_key(secret: &Secret) -> Result<AeadKey> {
    let key = secret.expose().get(..DATA_KEY_LEN).unwrap_or_default();
    Ok(AeadKey::new(&Secret::from_slice(key))?)
}
