//! Managed keys in the chip: how they are made, loaded, and brought to their end.

use crate::robot::{OPERATION_TIMEOUT, RobotKeys, read_counter};
use crate::{KeysError, Result};
use alcub3_crypto::tpm::Public;
use alcub3_crypto::tpm::policy::Policy;
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::{Digest, Entropy, HashAlg, Secret};
use alcub3_tpm::ops::{Created, Key, PersistentKey, PolicyInputs};
use alcub3_tpm::{Auth, Chip, Lane, Object, OsEntropy, ResponseCode, TpmError};
use alcub3_trust_model::managed_key::{
    AnchorBinding, KeyBlob, KeyPurpose, KeyRecord, KeyState, ManagedPolicyInput, Moment, managed_policy,
    purpose_profile,
};
use alcub3_trust_model::nv_map::{KEY_ANCHOR_COUNT, KeyAnchor, NvIndex, NvMap};
use alcub3_trust_model::policies::CounterBinding;
use alcub3_trust_model::{KeyId, KeyLabel, Level, domain, handle_map};

/// A managed key that is to be made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyPlan {
    /// What people call it.
    pub label: KeyLabel,
    /// What it is for.
    pub purpose: KeyPurpose,
    /// Its level, of which the robot must have a parent.
    pub level: Level,
    /// When its use begins, in milliseconds from now on the TPM's clock; 0 for at once.
    pub activates_in_ms: u64,
}

/// The parent of a managed key, and how it is used.
#[derive(Clone, Debug)]
pub(super) enum Parent {
    /// The storage root, whose authorisation is empty: for keys that survive a stop.
    Root(Key),
    /// A level's parent, under the rearm approval in force.
    Level(Key, Policy, PolicyInputs),
}

impl Parent {
    fn with<T>(
        &self,
        chip: &mut Chip,
        mut use_: impl FnMut(&mut Chip, &Key, Auth<'_>) -> std::result::Result<T, TpmError>,
    ) -> std::result::Result<T, TpmError> {
        match self {
            Self::Root(key) => use_(chip, key, Auth::Empty),
            Self::Level(key, policy, inputs) => chip.with_policy(policy, inputs, |chip, session| {
                use_(chip, key, Auth::Policy(session))
            }),
        }
    }

    fn create(
        &self,
        chip: &mut Chip,
        template: &[u8],
        outside: &[u8],
    ) -> std::result::Result<Created, TpmError> {
        let empty = Secret::from_slice(&[]);
        self.with(chip, |chip, parent, auth| {
            chip.create(parent, auth, template, &empty, None, outside)
        })
    }

    pub(super) fn load(
        &self,
        chip: &mut Chip,
        private: &[u8],
        public: &Public,
    ) -> std::result::Result<Object, TpmError> {
        self.with(chip, |chip, parent, auth| {
            chip.load(parent, auth, private, public)
        })
    }
}

impl RobotKeys {
    pub(super) fn parent_for(&self, purpose: KeyPurpose, level: Level) -> Result<Parent> {
        let parent = self.parent(level)?;
        if purpose_profile(purpose).survives_stop {
            return Ok(Parent::Root(self.storage_root()));
        }
        let (policy, inputs) = self.parent_use(level)?;
        Ok(Parent::Level(parent, policy, inputs))
    }

    /// The storage root: what managed keys that survive a stop are made under, and what shares and duplicates for this robot
    /// are wrapped to.
    pub fn storage_root(&self) -> Key {
        Key::from(PersistentKey::new(
            handle_map::STORAGE_ROOT,
            self.record.storage_root.clone(),
        ))
    }

    /// Makes a key in the chip under the first anchor that no living key has. It is in no store yet: a crash before its
    /// record is committed leaves an anchor that moved once more and nothing else.
    ///
    /// Commands: 1 NV_Extend, 1 NV_Read, 1 ReadClock, Create, Load, CertifyCreation, the flushes; for a key that a stop
    /// ends also 2 NV_Read and a parent session for each of Create and Load.
    pub(super) fn make_key(
        &self,
        plan: &KeyPlan,
        living: &[KeyRecord],
        now_utc_ms: u64,
    ) -> Result<KeyRecord> {
        if plan.purpose == KeyPurpose::Mission {
            return Err(KeysError::MissionPurpose);
        }
        self.check_floor(plan.level)?;
        let anchor = free_anchor(living)?;
        let parent = self.parent_for(plan.purpose, plan.level)?;
        let id = random_id()?;
        let (keys, plan) = (self.clone(), plan.clone());
        let made = self.tpm.run(Lane::Background, OPERATION_TIMEOUT, move |chip| {
            Ok(keys.make_in_chip(chip, &plan, (id, anchor), &parent, now_utc_ms))
        })?;
        made.map_err(|error| match error {
            // The only policy on the way is the level parent's: its approval names other epochs.
            KeysError::Tpm(refused) if refused.is_refusal(ResponseCode::POLICY) => KeysError::Stopped,
            other => other,
        })
    }

    fn make_in_chip(
        &self,
        chip: &mut Chip,
        plan: &KeyPlan,
        (id, anchor): (KeyId, KeyAnchor),
        parent: &Parent,
        now_utc_ms: u64,
    ) -> Result<KeyRecord> {
        let profile = purpose_profile(plan.purpose);
        let anchor_value = take_anchor(chip, self.nv, anchor, id)?;
        let epochs = self.epochs_of(chip, plan)?;
        let made = Moment {
            clock_ms: chip.read_clock()?.clock_ms,
            utc_ms: now_utc_ms,
        };
        let begins = made.plus(plan.activates_in_ms);
        let protects_until = begins.plus(profile.protects_ms);
        let processes_until = protects_until.plus(profile.overlap_ms);
        let policy = self.policy_from(
            plan.purpose,
            plan.level,
            (anchor, anchor_value),
            epochs,
            processes_until.clock_ms,
        )?;
        let template = profile.kind.template(self.record.curve, &policy.digest());
        let binding = creation_binding(self.hash(), plan, id);
        let (public, blob) = self.create_certified(chip, parent, &template, &binding)?;
        let state = if plan.activates_in_ms == 0 {
            KeyState::Active
        } else {
            KeyState::Pending
        };
        Ok(KeyRecord {
            id,
            label: plan.label.clone(),
            purpose: plan.purpose,
            level: plan.level,
            state,
            protects: true,
            made,
            activates_clock_ms: begins.clock_ms,
            protects_until,
            processes_until,
            end_clock_ms: processes_until.clock_ms,
            anchor,
            anchor_value,
            epochs,
            successor: None,
            ended: None,
            public,
            blob: Some(blob),
        })
    }

    /// The epochs that a planned key's policy names, where a stop is to end it. Commands: 2 NV_Read, or none.
    fn epochs_of(&self, chip: &mut Chip, plan: &KeyPlan) -> std::result::Result<Option<[u64; 2]>, TpmError> {
        if purpose_profile(plan.purpose).survives_stop {
            return Ok(None);
        }
        let robot = read_counter(chip, self.nv, NvIndex::RobotEpoch)?.value;
        let level = read_counter(chip, self.nv, NvIndex::LevelEpoch(plan.level))?.value;
        Ok(Some([robot, level]))
    }

    /// Makes a key under its policy, and has the AK certify how it came to be. Commands: Create, Load, CertifyCreation.
    fn create_certified(
        &self,
        chip: &mut Chip,
        parent: &Parent,
        template: &PublicTemplate,
        binding: &Digest,
    ) -> std::result::Result<(Public, KeyBlob), TpmError> {
        let created = parent.create(chip, template.as_tpmt_bytes(), binding.as_bytes())?;
        let object = parent.load(chip, &created.private, &created.public)?;
        let certified = chip.certify_creation(
            &self.attestation_key(),
            &Key::from(object),
            binding.as_bytes(),
            &created.creation,
        )?;
        let blob = KeyBlob {
            private: created.private,
            creation: created.creation.data,
            certification: (certified.message, certified.signature),
        };
        Ok((created.public, blob))
    }

    /// A managed key's policy, from its record.
    ///
    /// # Errors
    /// [`KeysError::Policy`] if the record's anchor is of another hash.
    pub fn managed_policy_of(&self, record: &KeyRecord) -> Result<Policy> {
        let anchor = (record.anchor, record.anchor_value);
        self.policy_from(
            record.purpose,
            record.level,
            anchor,
            record.epochs,
            record.end_clock_ms,
        )
    }

    fn policy_from(
        &self,
        purpose: KeyPurpose,
        level: Level,
        (anchor, value): (KeyAnchor, Digest),
        epochs: Option<[u64; 2]>,
        end_clock_ms: u64,
    ) -> Result<Policy> {
        let name = |index| self.nv.spec(index).tpm_name(true);
        let epochs = epochs.map(|[robot, of_level]| {
            [
                (NvIndex::RobotEpoch, robot),
                (NvIndex::LevelEpoch(level), of_level),
            ]
            .map(|(index, value)| CounterBinding {
                name: name(index),
                value,
            })
        });
        Ok(managed_policy(&ManagedPolicyInput {
            alg: self.hash(),
            end_clock_ms,
            epochs,
            anchor: AnchorBinding {
                name: name(NvIndex::KeyAnchor(anchor)),
                value,
            },
            command_code: purpose_profile(purpose).kind.command_code(),
        })?)
    }

    /// What the replay of a managed key's policy needs.
    pub(super) fn managed_inputs(&self, record: &KeyRecord) -> PolicyInputs {
        let indices = [
            NvIndex::RobotEpoch,
            NvIndex::LevelEpoch(record.level),
            NvIndex::KeyAnchor(record.anchor),
        ];
        indices.iter().fold(PolicyInputs::new(), |inputs, index| {
            inputs.nv(self.nv.spec(*index).handle)
        })
    }

    /// Moves the anchors of keys: the chip does not use them again. Commands: 1 NV_Extend for each.
    pub(super) fn kill_in_chip<'a>(&self, keys: impl IntoIterator<Item = &'a KeyRecord>) -> Result<()> {
        let anchors: Vec<(u32, KeyId)> = keys
            .into_iter()
            .filter(|key| key.state.lives())
            .map(|key| (self.nv.spec(NvIndex::KeyAnchor(key.anchor)).handle, key.id))
            .collect();
        self.run(Lane::Command, move |chip| {
            anchors
                .iter()
                .try_for_each(|(handle, id)| chip.nv_extend(*handle, id.as_bytes()))
        })
    }

    /// Whether the chip would still use a key: its anchor and its epochs stand. Commands: 1 to 3 NV_Read.
    pub(super) fn lives_in_chip(&self, record: &KeyRecord) -> Result<bool> {
        let (nv, record) = (self.nv, record.clone());
        self.run(Lane::Background, move |chip| {
            if read_anchor(chip, nv, record.anchor)? != record.anchor_value {
                return Ok(false);
            }
            let Some([robot, level]) = record.epochs else {
                return Ok(true);
            };
            Ok(read_counter(chip, nv, NvIndex::RobotEpoch)?.value == robot
                && read_counter(chip, nv, NvIndex::LevelEpoch(record.level))?.value == level)
        })
    }
}

/// The first anchor that no living key has.
fn free_anchor(living: &[KeyRecord]) -> Result<KeyAnchor> {
    let taken = |anchor: &KeyAnchor| {
        living
            .iter()
            .any(|key| key.state.lives() && key.anchor == *anchor)
    };
    KeyAnchor::all()
        .find(|anchor| !taken(anchor))
        .ok_or(KeysError::NoFreeKeyAnchor {
            count: KEY_ANCHOR_COUNT,
        })
}

/// Gives an anchor a value that it never had. Commands: 1 NV_Extend, 1 NV_Read.
fn take_anchor(
    chip: &mut Chip,
    nv: NvMap,
    anchor: KeyAnchor,
    id: KeyId,
) -> std::result::Result<Digest, TpmError> {
    chip.nv_expect(&crate::provisioning::nv_public(
        &nv.spec(NvIndex::KeyAnchor(anchor)),
    ))?;
    chip.nv_extend(nv.spec(NvIndex::KeyAnchor(anchor)).handle, id.as_bytes())?;
    read_anchor(chip, nv, anchor)
}

fn read_anchor(chip: &mut Chip, nv: NvMap, anchor: KeyAnchor) -> std::result::Result<Digest, TpmError> {
    let spec = nv.spec(NvIndex::KeyAnchor(anchor));
    let value = chip.nv_read(spec.handle)?;
    Digest::from_slice(spec.name_alg, &value).ok_or(TpmError::Unsupported {
        what: "a key anchor of another size",
    })
}

/// What a managed key's creation data and certification carry: which key, for what, of which level.
pub(crate) fn creation_binding(hash: HashAlg, plan: &KeyPlan, id: KeyId) -> Digest {
    let kind = [plan.purpose.id(), plan.level.id()];
    hash.digest(&[
        domain::KEY_CREATION.as_bytes(),
        id.as_bytes(),
        &kind,
        plan.label.as_str().as_bytes(),
    ])
}

fn random_id() -> Result<KeyId> {
    let mut id = [0; 16];
    OsEntropy
        .fill(&mut id)
        .map_err(|error| KeysError::Tpm(TpmError::Entropy(error)))?;
    Ok(KeyId::new(id))
}
