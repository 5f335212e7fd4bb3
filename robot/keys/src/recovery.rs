//! Recoverable keys: made so that two persons can have them duplicated, and brought back on another TPM.
//!
//! A key is chosen at its creation: its authPolicy then has a second branch that permits one TPM2_Duplicate of that key to
//! the parent that two persons approved. Such a parent is a recovery TPM's storage key, or the recovery parent of a set
//! whose shares lie on several TPMs. Nothing else of a robot leaves its chip. The key's label is in that branch: a duplicate
//! is a key of no other label.

mod checks;
mod holder;
mod key;
mod set;

pub use key::RecoverableKey;

use crate::refusal::import_integrity;
use crate::robot::RobotKeys;
use crate::{KeysError, Result};
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::tpm::{Name, Public, Signature, StorageKeyPair, attribute};
use alcub3_crypto::{Digest, Secret};
use alcub3_fleet_protocol::recovery::{CheckedShare, RecoveryItem, RecoverySet, WrappedObject, WrappedShare};
use alcub3_tpm::ops::{Approval, Hierarchy, Key, PolicyInputs};
use alcub3_tpm::{Auth, Chip, Lane, OsEntropy};
use alcub3_trust_model::Level;
use alcub3_trust_model::recovery::Recoverable;
use checks::{check_approval, check_item, check_labels_differ, check_new_parent};
use holder::open_at;
use key::{Loading, Under};

const FOLDER: &str = "recoverable";
/// What every chip seals directly (MAX_SYM_DATA, TPM 2.0 Part 2, 11.1.14).
const MAX_SECRET: usize = 128;
const MAX_LABEL: usize = 64;

impl RobotKeys {
    /// Makes a signing key of a level that can be recovered. Commands: a session of the level, Create, a flush.
    ///
    /// # Errors
    /// [`KeysError::Label`]; as [`Self::seal`].
    pub fn create_recoverable_key(&self, level: Level, label: &str) -> Result<RecoverableKey> {
        let [template, _] = self.recoverable_templates(level, label)?;
        self.create_recoverable(level, label, template, None)
    }

    /// Keeps a secret of a level, such as a key that data is encrypted under, so that it can be recovered. Commands: as
    /// [`Self::create_recoverable_key`].
    ///
    /// # Errors
    /// [`KeysError::Label`], [`KeysError::Context`] for more than 128 bytes; as [`Self::seal`].
    pub fn keep_recoverable_secret(
        &self,
        level: Level,
        label: &str,
        secret: Secret,
    ) -> Result<RecoverableKey> {
        if secret.len() > MAX_SECRET {
            return Err(KeysError::Context {
                length: secret.len(),
                most: MAX_SECRET,
            });
        }
        let [_, template] = self.recoverable_templates(level, label)?;
        self.create_recoverable(level, label, template, Some(secret))
    }

    /// Of a recoverable signing key, and of a kept secret.
    fn recoverable_templates(&self, level: Level, label: &str) -> Result<[PublicTemplate; 2]> {
        let policy = self.recoverable(level, label).auth_policy()?;
        let signing = attribute::SENSITIVE_DATA_ORIGIN | attribute::NO_DA | attribute::SIGN;
        let kept = attribute::ADMIN_WITH_POLICY | attribute::NO_DA;
        Ok([
            PublicTemplate::signing_key(self.record.curve, signing, Some(&policy)),
            PublicTemplate::sealed_data(self.hash(), kept, Some(&policy)),
        ])
    }

    fn create_recoverable(
        &self,
        level: Level,
        label: &str,
        template: PublicTemplate,
        data: Option<Secret>,
    ) -> Result<RecoverableKey> {
        check_label(label)?;
        self.check_floor(level)?;
        if self.kept_as(label)?.is_some() {
            return Err(taken(label));
        }
        let parent = self.parent(level)?;
        let (policy, inputs) = self.parent_use(level)?;
        let none = Secret::from_slice(&[]);
        let made = self.run(Lane::Background, move |chip| {
            chip.with_policy(&policy, &inputs, |chip, session| {
                let auth = Auth::Policy(session);
                chip.create(&parent, auth, template.as_tpmt_bytes(), &none, data.as_ref(), &[])
            })
        })?;
        let key = RecoverableKey {
            level,
            label: label.to_owned(),
            public: made.public,
            private: made.private,
            under: Under::Level,
        };
        self.folder.write(&file_of(label), &key.to_canonical())?;
        Ok(key)
    }

    /// The recoverable keys, by label.
    ///
    /// # Errors
    /// The folder's, or a record that is not readable.
    pub fn recoverable_keys(&self) -> Result<Vec<RecoverableKey>> {
        let names = self.folder.list(FOLDER)?.into_iter();
        names
            .map(|name| {
                let name = format!("{FOLDER}/{name}");
                let bytes = self.folder.read(&name)?.unwrap_or_default();
                parse(name, &bytes)
            })
            .collect()
    }

    fn kept_as(&self, label: &str) -> Result<Option<RecoverableKey>> {
        let name = file_of(label);
        let bytes = self.folder.read(&name)?;
        bytes.map(|bytes| parse(name, &bytes)).transpose()
    }

    /// One recoverable key.
    ///
    /// # Errors
    /// [`KeysError::Label`] where there is none; as [`Self::recoverable_keys`].
    pub fn recoverable_key(&self, label: &str) -> Result<RecoverableKey> {
        let found = self
            .recoverable_keys()?
            .into_iter()
            .find(|key| key.label == label);
        found.ok_or_else(|| KeysError::Label {
            label: label.to_owned(),
            problem: "is not known; `alcub3 key backup list` shows them",
        })
    }

    /// Signs with a recoverable key, under its level's rearm. Commands: a session to load it and one to use it, Load, Sign,
    /// the flushes; one Load more for a key that was recovered.
    ///
    /// # Errors
    /// [`KeysError::Stopped`] or the chip's refusal after a stop.
    pub fn sign_recoverable(&self, key: &RecoverableKey, digest: Digest) -> Result<Signature> {
        self.use_recoverable(key, move |chip, key, auth| chip.sign(key, auth, &digest))
    }

    /// The secret that was kept. Commands: as [`Self::sign_recoverable`], Unseal instead of Sign.
    ///
    /// # Errors
    /// As [`Self::sign_recoverable`].
    pub fn recoverable_secret(&self, key: &RecoverableKey) -> Result<Secret> {
        self.use_recoverable(key, |chip, key, auth| chip.unseal_object(key, auth))
    }

    fn use_recoverable<T: Send + 'static>(
        &self,
        key: &RecoverableKey,
        operation: impl Fn(&mut Chip, &Key, Auth<'_>) -> alcub3_tpm::Result<T> + Send + 'static,
    ) -> Result<T> {
        let loading = self.loading(key)?;
        let policy = self
            .recoverable(key.level, &key.label)
            .use_policy(&loading.policy)?;
        self.run(Lane::Command, move |chip| {
            let object = loading.load(chip)?;
            chip.with_policy(&policy, &loading.inputs, |chip, session| {
                operation(chip, &object, Auth::Policy(session))
            })
        })
    }

    fn loading(&self, key: &RecoverableKey) -> Result<Loading> {
        let (policy, inputs) = self.parent_use(key.level)?;
        Ok(Loading {
            key: key.clone(),
            level_parent: self.parent(key.level)?,
            root: self.storage_root(),
            policy,
            inputs,
        })
    }

    /// Duplicates a key to the parent that two persons approved, by their key's signature (see
    /// [`Recoverable::duplication_message`]).
    ///
    /// Commands: loading as in [`Self::sign_recoverable`], LoadExternal of the parent, a session (StartAuthSession,
    /// PolicyDuplicationSelect, LoadExternal, VerifySignature, PolicyAuthorize, PolicyOR), Duplicate, the flushes.
    ///
    /// # Errors
    /// [`KeysError::NoStorageKey`] and [`KeysError::BelowFloor`] for a parent that the level's keys may not go to; the chip's:
    /// SIGNATURE for an approval of another key or parent; POLICY_FAIL without one.
    pub fn duplicate(
        &self,
        key: &RecoverableKey,
        new_parent: &Public,
        approval: Signature,
    ) -> Result<RecoveryItem> {
        check_new_parent(self.profiles.of(key.level), new_parent)?;
        let recoverable = self.recoverable(key.level, &key.label);
        let policy = recoverable.duplication_policy(key.public.name(), new_parent.name())?;
        let approved = approval.to_tpmt();
        let inputs = PolicyInputs::new().approval(Approval {
            key: self.anchors().rearm.clone(),
            policy_ref: recoverable.policy_ref(),
            signature: approval,
        });
        let (loading, parent) = (self.loading(key)?, new_parent.clone());
        let made = self.run(Lane::Background, move |chip| {
            let object = loading.load(chip)?;
            chip.with_policy(&policy, &inputs, |chip, session| {
                let parent = chip
                    .load_external(parent.as_tpmt_bytes(), Hierarchy::Null)?
                    .into();
                chip.duplicate(&object, Auth::Policy(session), &parent)
            })
        })?;
        Ok(RecoveryItem {
            robot: self.record.robot.clone(),
            level: key.level,
            label: key.label.clone(),
            parent: new_parent.name(),
            object: WrappedObject {
                public: key.public.clone(),
                duplicate: made.duplicate,
                seed: made.seed,
            },
            approval: approved,
        })
    }

    /// Opens shares that were wrapped to this robot's storage root, and the recovery parent with them. Commands for each
    /// share: Import, Load, Unseal, a flush.
    ///
    /// # Errors
    /// [`KeyRefusal::ImportIntegrity`](crate::KeyRefusal) for a share wrapped to another TPM; [`KeysError::Recovery`] names a wrong share, or says how many lack.
    pub fn gather(&self, set: &RecoverySet, shares: &[WrappedShare]) -> Result<StorageKeyPair> {
        let checked: Result<Vec<CheckedShare>> = shares
            .iter()
            .map(|share| {
                let value = open_at(&self.tpm, self.storage_root(), share)?;
                Ok(set.check_share(share, value)?)
            })
            .collect();
        Ok(set.open(&checked?)?)
    }

    /// Brings keys back that were duplicated to a recovery parent, or to this robot's storage root (`parent` is then none).
    /// They are used under this robot's rearm, so the robot has to bear the name of the one that was lost.
    ///
    /// Commands: Import of the parent and Load; for each key Import; a flush.
    ///
    /// # Errors
    /// Before the chip is asked: [`KeysError::Label`] for a name that is taken, except by the same key that came back before;
    /// [`KeysError::OtherRobot`]; [`KeysError::OtherRecoveryParent`]; [`KeysError::NotRecoverable`] for a key that no robot of
    /// this name makes under this label. [`KeyRefusal::ImportIntegrity`](crate::KeyRefusal) where the chip
    /// finds an item changed. Then none of them is kept.
    pub fn recover(
        &self,
        parent: Option<&StorageKeyPair>,
        items: &[RecoveryItem],
    ) -> Result<Vec<RecoverableKey>> {
        let parent_name = parent.map_or_else(
            || self.storage_root().public().name(),
            |pair| pair.public().name(),
        );
        check_labels_differ(items)?;
        for item in items {
            self.check_recovered(item, parent_name)?;
        }
        let root = self.storage_root();
        let under = match parent {
            Some(pair) => self.import_parent(pair)?,
            None => Under::StorageRoot,
        };
        let (objects, taken) = (items.to_vec(), under.clone());
        let privates = self.run(Lane::Background, move |chip| {
            let parent = taken.load_parent(chip, &root)?.unwrap_or(root);
            let import = |item: &RecoveryItem| {
                let WrappedObject {
                    public,
                    duplicate,
                    seed,
                } = &item.object;
                chip.import(&parent, Auth::Empty, public, duplicate, seed)
            };
            objects.iter().map(import).collect::<alcub3_tpm::Result<Vec<_>>>()
        });
        let privates = privates.map_err(|error| match error {
            KeysError::Tpm(refused) => import_integrity(refused),
            other => other,
        })?;
        let keys: Vec<RecoverableKey> = items
            .iter()
            .zip(privates)
            .map(|(item, private)| RecoverableKey {
                level: item.level,
                label: item.label.clone(),
                public: item.object.public.clone(),
                private,
                under: under.clone(),
            })
            .collect();
        for key in &keys {
            self.folder.write(&file_of(&key.label), &key.to_canonical())?;
        }
        Ok(keys)
    }

    fn check_recovered(&self, item: &RecoveryItem, parent: Name) -> Result<()> {
        check_label(&item.label)?;
        if item.robot != self.record.robot {
            return Err(KeysError::OtherRobot {
                robot: item.robot.to_string(),
            });
        }
        self.record.parent(item.level)?;
        check_item(
            item,
            parent,
            &self.recoverable_templates(item.level, &item.label)?,
        )?;
        let message = self
            .recoverable(item.level, &item.label)
            .duplication_message(item.object.public.name(), item.parent)?;
        check_approval(item, &self.anchors().rearm, &message)?;
        match self.kept_as(&item.label)? {
            // A recovery that is made again.
            Some(kept) if kept.is_recovered() && kept.public == item.object.public => Ok(()),
            Some(_) => Err(taken(&item.label)),
            None => Ok(()),
        }
    }

    fn import_parent(&self, pair: &StorageKeyPair) -> Result<Under> {
        let root = self.storage_root();
        let wrapped = pair.wrap_to(root.public(), &mut OsEntropy)?;
        let public = pair.public().clone();
        let private = self.run(Lane::Background, move |chip| {
            chip.import(
                &root,
                Auth::Empty,
                &public,
                &wrapped.duplicate,
                &wrapped.encrypted_seed,
            )
        })?;
        Ok(Under::Recovery {
            public: pair.public().clone(),
            private,
        })
    }

    /// The policies of a recoverable key.
    pub fn recoverable(&self, level: Level, label: &str) -> Recoverable {
        Recoverable {
            alg: self.hash(),
            two_person_key: self.anchors().rearm.name(),
            robot: self.record.robot.clone(),
            level,
            label: label.to_owned(),
        }
    }
}

fn parse(name: String, bytes: &[u8]) -> Result<RecoverableKey> {
    RecoverableKey::from_canonical(bytes).map_err(|source| KeysError::Record { name, source })
}

fn taken(label: &str) -> KeysError {
    KeysError::Label {
        label: label.to_owned(),
        problem: "is taken",
    }
}

fn file_of(label: &str) -> String {
    format!("{FOLDER}/{label}.cbor")
}

/// A label is a file's name as well.
fn check_label(label: &str) -> Result<()> {
    let permitted = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !label.is_empty() && label.len() <= MAX_LABEL && label.bytes().all(permitted) {
        return Ok(());
    }
    Err(KeysError::Label {
        label: label.to_owned(),
        problem: "is no label: use 1 to 64 letters, digits, - or _",
    })
}
