//! Making keys for a mission that runs: under the level's parent, each under the mission's policy for its one command.

use super::{KeyOrigin, MissionKeyRecord};
use crate::mission_record::MissionRecord;
use crate::robot::RobotKeys;
use crate::{KeysError, Result};
use alcub3_crypto::tpm::attribute;
use alcub3_crypto::tpm::policy::Policy;
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::{Digest, Entropy, HashAlg, Secret};
use alcub3_tpm::ops::{Created, Key, PolicyInputs};
use alcub3_tpm::{Auth, Chip, Lane, OsEntropy, TpmError};
use alcub3_trust_model::{MissionId, MissionKeyId, MissionKeyPurpose, domain};

/// How many keys are made in one turn at the chip, so that others wait no longer than that.
const AT_ONCE: usize = 32;
/// Bytes of an AES-256 data key.
const DATA_KEY_LEN: usize = 32;

impl RobotKeys {
    /// Makes one key for a mission. Commands: 1 ReadClock, a parent session (StartAuthSession, 4 policy commands), Create, a
    /// flush; for signing also another parent session, Load, CertifyCreation and 2 flushes.
    ///
    /// # Errors
    /// As [`Self::create_mission_keys`].
    pub fn create_mission_key(
        &self,
        mission: MissionId,
        purpose: MissionKeyPurpose,
    ) -> Result<MissionKeyRecord> {
        let made = self.create_mission_keys(mission, purpose, 1)?.pop();
        made.ok_or(KeysError::NoSuchMission { mission })
    }

    /// Makes keys for a mission; on return all are on the disk. Commands: 1 ReadClock, and for each key as
    /// [`Self::create_mission_key`] says.
    ///
    /// # Errors
    /// [`KeysError::NoSuchMission`]; [`KeysError::Refused`] where the mission is over by the chip's clock or reset
    /// count, or the clock went back; [`KeysError::Stopped`]; the chip's. What was made before the error is kept.
    pub fn create_mission_keys(
        &self,
        mission: MissionId,
        purpose: MissionKeyPurpose,
        count: usize,
    ) -> Result<Vec<MissionKeyRecord>> {
        let record = self.mission(mission)?;
        record.check_runs(&self.observed_clock()?)?;
        let maker = Maker::new(self, record, purpose)?;
        let mut made = Vec::with_capacity(count);
        while made.len() < count {
            let turn = AT_ONCE.min(count - made.len());
            let (keys, maker) = (self.clone(), maker.clone());
            let some = self
                .tpm
                .run(Lane::Background, crate::robot::OPERATION_TIMEOUT, move |chip| {
                    Ok(maker.make(chip, &keys, turn))
                })??;
            self.key_store().put(&*self.mission_seal()?, mission, &some)?;
            made.extend(some);
        }
        Ok(made)
    }
}

/// What the keys of one purpose and mission have in common.
#[derive(Clone)]
struct Maker {
    mission: MissionRecord,
    purpose: MissionKeyPurpose,
    parent: Key,
    parent_policy: Policy,
    parent_inputs: PolicyInputs,
    template: PublicTemplate,
}

impl Maker {
    fn new(keys: &RobotKeys, mission: MissionRecord, purpose: MissionKeyPurpose) -> Result<Self> {
        let policy = keys.policy_for(&mission, purpose)?.digest();
        let (parent_policy, parent_inputs) = keys.parent_use(mission.level)?;
        Ok(Self {
            parent: keys.parent(mission.level)?,
            template: template(keys, purpose, &policy),
            mission,
            purpose,
            parent_policy,
            parent_inputs,
        })
    }

    fn make(&self, chip: &mut Chip, keys: &RobotKeys, count: usize) -> Result<Vec<MissionKeyRecord>> {
        (0..count).map(|_| self.make_one(chip, keys)).collect()
    }

    fn make_one(&self, chip: &mut Chip, keys: &RobotKeys) -> Result<MissionKeyRecord> {
        let key = random_key_id()?;
        let binding = mission_key_binding(keys.hash(), &self.mission, key, self.purpose);
        let (data, empty) = (self.data()?, Secret::from_slice(&[]));
        let created = chip.with_policy(&self.parent_policy, &self.parent_inputs, |chip, session| {
            chip.create(
                &self.parent,
                Auth::Policy(session),
                self.template.as_tpmt_bytes(),
                &empty,
                data.as_ref(),
                binding.as_bytes(),
            )
        })?;
        let origin = match self.purpose {
            MissionKeyPurpose::Signing => self.certify(chip, keys, &created, &binding)?,
            MissionKeyPurpose::CommandMac | MissionKeyPurpose::DataSealing => KeyOrigin::Made,
        };
        Ok(MissionKeyRecord {
            key,
            mission: self.mission.mission,
            level: self.mission.level,
            purpose: self.purpose,
            origin,
            public: created.public,
            private: created.private,
        })
    }

    /// A data key comes from outside of the chip: TPM2_Create makes no sealed data itself (Part 3, §12.1).
    fn data(&self) -> Result<Option<Secret>> {
        if self.purpose != MissionKeyPurpose::DataSealing {
            return Ok(None);
        }
        let mut key = Secret::zeroed(DATA_KEY_LEN);
        OsEntropy.fill(key.expose_mut()).map_err(TpmError::Entropy)?;
        Ok(Some(key))
    }

    fn certify(
        &self,
        chip: &mut Chip,
        keys: &RobotKeys,
        created: &Created,
        binding: &Digest,
    ) -> Result<KeyOrigin> {
        let object = chip.with_policy(&self.parent_policy, &self.parent_inputs, |chip, session| {
            let auth = Auth::Policy(session);
            chip.load(&self.parent, auth, &created.private, &created.public)
        })?;
        let ak = keys.attestation_key();
        let certified =
            chip.certify_creation(&ak, &Key::from(object), binding.as_bytes(), &created.creation)?;
        Ok(KeyOrigin::Certified {
            creation: created.creation.data.clone(),
            message: certified.message,
            signature: certified.signature,
        })
    }
}

fn template(keys: &RobotKeys, purpose: MissionKeyPurpose, policy: &Digest) -> PublicTemplate {
    let bound = attribute::FIXED_TPM | attribute::FIXED_PARENT | attribute::NO_DA;
    let made_inside = bound | attribute::SENSITIVE_DATA_ORIGIN;
    match purpose {
        MissionKeyPurpose::Signing => {
            let attributes = made_inside | attribute::SIGN;
            PublicTemplate::signing_key(keys.record.curve, attributes, Some(policy))
        }
        MissionKeyPurpose::CommandMac => PublicTemplate::hmac_key(keys.hash(), made_inside, Some(policy)),
        MissionKeyPurpose::DataSealing => PublicTemplate::sealed_data(keys.hash(), bound, Some(policy)),
    }
}

pub(super) fn random_key_id() -> Result<MissionKeyId> {
    let mut id = [0; 16];
    OsEntropy.fill(&mut id).map_err(TpmError::Entropy)?;
    Ok(MissionKeyId::new(id))
}

/// What a mission key's creation data and certification carry: H(domain ‖ mission ‖ key ‖ purpose ‖ token), with the
/// token that the mission began with.
pub fn mission_key_binding(
    hash: HashAlg,
    mission: &MissionRecord,
    key: MissionKeyId,
    purpose: MissionKeyPurpose,
) -> Digest {
    hash.digest(&[
        domain::MISSION_KEY.as_bytes(),
        mission.mission.as_bytes(),
        key.as_bytes(),
        &[purpose.id()],
        &mission.token,
    ])
}
