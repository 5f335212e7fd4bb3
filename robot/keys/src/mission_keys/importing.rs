//! Taking a shared key that the authority wrapped for this robot, and showing the authority what it needs for that.

use super::creating::random_key_id;
use super::{KeyOrigin, MissionKeyRecord};
use crate::mission_record::MissionRecord;
use crate::refusal::import_integrity;
use crate::robot::RobotKeys;
use crate::{KeyRefusal, Result};
use alcub3_crypto::Digest;
use alcub3_crypto::tpm::Public;
use alcub3_crypto::tpm::policy::Policy;
use alcub3_fleet_protocol::shared_key::{SharedKey, VerifiedSharedKey, WrappedKey, is_shared_key};
use alcub3_tpm::ops::{Attestation, Key, PolicyInputs};
use alcub3_tpm::{Auth, Chip, Lane};
use alcub3_trust_model::policies::mission_pcr_mask;
use alcub3_trust_model::{MissionId, profile};

/// What a robot shows before a shared key is wrapped for it.
#[derive(Clone, Debug)]
pub struct ParentProof {
    /// The storage parent of the mission's level.
    pub parent: Public,
    /// TPM2_Certify of it.
    pub certification: Attestation,
    /// TPM2_Quote of the PCRs that the mission's policy names.
    pub pcr_quote: Attestation,
}

impl RobotKeys {
    /// Shows the parent and the PCRs of a mission, as the AK attests them over `qualifying`. Commands: 1 Certify, 1
    /// Quote.
    ///
    /// # Errors
    /// [`KeysError::NoSuchMission`]; the chip's.
    pub fn prove_parent(&self, mission: MissionId, qualifying: &Digest) -> Result<ParentProof> {
        let level = self.mission(mission)?.level;
        let (parent, ak) = (self.parent(level)?, self.attestation_key());
        let mask = mission_pcr_mask(&self.pcrs, &profile(level));
        let (hash, data) = (self.hash(), qualifying.as_bytes().to_vec());
        self.run(Lane::Attestation, move |chip| {
            Ok(ParentProof {
                certification: chip.certify(&parent, Auth::Empty, &ak, &data)?,
                pcr_quote: chip.quote(&ak, &data, &[(hash, mask)])?,
                parent: parent.public().clone(),
            })
        })
    }

    /// Takes a shared key into the chip and keeps it. Commands: 1 ReadClock, two parent sessions (StartAuthSession, 4 policy
    /// commands), Import, Load, 3 flushes.
    ///
    /// # Errors
    /// [`KeyRefusal::ImportPolicy`] for a key that is not under this robot's policy of the mission,
    /// [`KeyRefusal::ImportIntegrity`] where the chip finds it changed; nothing is kept then.
    pub fn import_mission_key(&self, verified: &VerifiedSharedKey) -> Result<MissionKeyRecord> {
        let shared = verified.key().clone();
        let record = self.mission(shared.mission)?;
        record.check_runs(&self.observed_clock()?)?;
        let policy = self.policy_for(&record, shared.purpose)?.digest();
        if !is_shared_key(&shared.wrapped.public, shared.purpose, &policy) {
            return Err(KeyRefusal::ImportPolicy.into());
        }
        let private = self.import(&record, shared.clone())?;
        let key = MissionKeyRecord {
            key: random_key_id()?,
            mission: record.mission,
            level: record.level,
            purpose: shared.purpose,
            origin: KeyOrigin::Shared {
                issuer: shared.issuer,
            },
            public: shared.wrapped.public,
            private,
        };
        let keys = std::slice::from_ref(&key);
        self.key_store()
            .put(&*self.mission_seal()?, record.mission, keys)?;
        Ok(key)
    }

    fn import(&self, record: &MissionRecord, shared: SharedKey) -> Result<Vec<u8>> {
        let parent = self.parent(record.level)?;
        let (policy, inputs) = self.parent_use(record.level)?;
        let wrapped = shared.wrapped;
        self.tpm
            .run(Lane::Background, crate::robot::OPERATION_TIMEOUT, move |chip| {
                Ok(import_and_try(chip, &parent, (&policy, &inputs), &wrapped))
            })?
    }
}

/// Imports, and loads once, so that what is kept is known to load: what was inside fits the public area.
fn import_and_try(
    chip: &mut Chip,
    parent: &Key,
    (policy, inputs): (&Policy, &PolicyInputs),
    wrapped: &WrappedKey,
) -> Result<Vec<u8>> {
    let public = &wrapped.public;
    let imported = chip.with_policy(policy, inputs, |chip, session| {
        let (duplicate, seed) = (&wrapped.duplicate, &wrapped.encrypted_seed);
        chip.import(parent, Auth::Policy(session), public, duplicate, seed)
    });
    let private = imported.map_err(import_integrity)?;
    let loaded = chip.with_policy(policy, inputs, |chip, session| {
        chip.load(parent, Auth::Policy(session), &private, public)
    });
    loaded.map_err(import_integrity)?;
    Ok(private)
}
