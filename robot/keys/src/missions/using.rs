//! Using mission keys: the policy as the chip replays it, armed sessions, signatures.

use super::ahead::Ahead;
use crate::mission_keys::MissionKeyRecord;
use crate::mission_record::MissionRecord;
use crate::robot::RobotKeys;
use crate::{KeysError, Result};
use alcub3_crypto::tpm::policy::Policy;
use alcub3_crypto::tpm::{Public, Signature};
use alcub3_crypto::{Digest, HashAlg, Secret};
use alcub3_tpm::ops::{Approval, Key, PolicyInputs};
use alcub3_tpm::{Auth, Chip, Lane, PolicySession, TpmError};
use alcub3_trust_model::nv_map::{MissionAnchor, NvIndex};
use alcub3_trust_model::policies::{
    CounterBinding, MissionPolicyInput, PcrBinding, mission_end_ref, mission_pcr_mask, mission_policy,
};
use alcub3_trust_model::{MissionId, MissionKeyId, MissionKeyPurpose, profile};

/// A mission key ready for use: loaded, with what its policy sessions need.
#[derive(Clone, Debug)]
pub struct MissionKey {
    key: Key,
    purpose: MissionKeyPurpose,
    pub(super) policy: Policy,
    pub(super) inputs: PolicyInputs,
    pub(super) ahead: Ahead,
}

impl MissionKey {
    /// The key in the chip.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// What it is for.
    pub fn purpose(&self) -> MissionKeyPurpose {
        self.purpose
    }

    /// Its policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}

impl RobotKeys {
    pub(super) fn anchor_binding(&self, anchor: MissionAnchor, value: u64) -> CounterBinding {
        CounterBinding {
            name: self.nv.spec(NvIndex::MissionAnchor(anchor)).tpm_name(true),
            value,
        }
    }

    /// The policy of the key that a mission began with, from its record.
    ///
    /// # Errors
    /// [`KeysError::Policy`] if the record's digest is of another hash.
    pub fn policy_of(&self, record: &MissionRecord) -> Result<Policy> {
        self.policy_for(record, MissionKeyPurpose::Signing)
    }

    /// The policy of a mission's keys of a purpose.
    ///
    /// # Errors
    /// As [`Self::policy_of`].
    pub fn policy_for(&self, record: &MissionRecord, purpose: MissionKeyPurpose) -> Result<Policy> {
        let counter = |index, value| CounterBinding {
            name: self.nv.spec(index).tpm_name(true),
            value,
        };
        let mask = mission_pcr_mask(&self.pcrs, &profile(record.level));
        Ok(mission_policy(&MissionPolicyInput {
            alg: self.hash(),
            end_clock_ms: record.end_clock_ms,
            approval_key: self.anchors().approval_key(record.level).name(),
            mission: record.mission,
            pcrs: PcrBinding {
                bank: self.hash(),
                mask,
                digest: record.pcr_digest,
            },
            robot_epoch: counter(NvIndex::RobotEpoch, record.robot_epoch),
            level_epoch: counter(NvIndex::LevelEpoch(record.level), record.level_epoch),
            anchor: self.anchor_binding(record.anchor, record.anchor_value),
            max_reset_count: record.max_reset_count,
            command_code: purpose.command_code(),
        })?)
    }

    /// Loads the key that a mission began with. Commands: a parent session (StartAuthSession, 2 PolicyNV,
    /// PolicyAuthorize), Load, a flush.
    ///
    /// # Errors
    /// [`KeysError::NoSuchMission`]; [`KeysError::Stopped`]; the chip's refusal after a stop.
    pub fn load_mission_key(&self, mission: MissionId) -> Result<MissionKey> {
        self.load_first_key_of(&self.mission(mission)?)
    }

    /// As [`Self::load_mission_key`], by a record that the caller holds: the chip alone judges it. Commands: as there.
    ///
    /// # Errors
    /// [`KeysError::Stopped`]; the chip's refusal after a stop.
    pub fn load_first_key_of(&self, record: &MissionRecord) -> Result<MissionKey> {
        let blobs = (record.public.clone(), record.private.clone());
        self.load_blobs(record, MissionKeyPurpose::Signing, blobs)
    }

    /// Loads a further key of a mission. Commands: as [`Self::load_mission_key`].
    ///
    /// # Errors
    /// As [`Self::load_mission_key`], and [`KeysError::NoSuchMissionKey`].
    pub fn load_further_key(&self, mission: MissionId, key: MissionKeyId) -> Result<MissionKey> {
        let record = self.mission(mission)?;
        self.load_further_key_of(&record, &self.mission_key_record(mission, key)?)
    }

    /// As [`Self::load_further_key`], by records that the caller holds: the chip alone judges them. Commands: as there.
    ///
    /// # Errors
    /// As [`Self::load_first_key_of`].
    pub fn load_further_key_of(&self, record: &MissionRecord, key: &MissionKeyRecord) -> Result<MissionKey> {
        self.load_blobs(record, key.purpose, (key.public.clone(), key.private.clone()))
    }

    fn load_blobs(
        &self,
        record: &MissionRecord,
        purpose: MissionKeyPurpose,
        (public, private): (Public, Vec<u8>),
    ) -> Result<MissionKey> {
        let parent = self.parent(record.level)?;
        let (parent_policy, parent_inputs) = self.parent_use(record.level)?;
        let policy = self.policy_for(record, purpose)?;
        let inputs = self.mission_inputs(record)?;
        let key = self.run(Lane::Command, move |chip| {
            chip.with_policy(&parent_policy, &parent_inputs, |chip, session| {
                chip.load(&parent, Auth::Policy(session), &private, &public)
            })
        })?;
        Ok(MissionKey {
            key: Key::from(key),
            purpose,
            policy,
            inputs,
            ahead: Ahead::default(),
        })
    }

    pub(super) fn mission_inputs(&self, record: &MissionRecord) -> Result<PolicyInputs> {
        let signature =
            Signature::from_tpmt_signature(&record.end_approval).map_err(|source| KeysError::Structure {
                what: "the approval of the mission's end",
                source,
            })?;
        let approval = Approval {
            key: self.anchors().approval_key(record.level).clone(),
            policy_ref: mission_end_ref(&record.mission),
            signature,
        };
        let handles = [
            NvIndex::RobotEpoch,
            NvIndex::LevelEpoch(record.level),
            NvIndex::MissionAnchor(record.anchor),
        ];
        Ok(handles
            .iter()
            .fold(PolicyInputs::new().approval(approval), |inputs, index| {
                inputs.nv(self.nv.spec(*index).handle)
            }))
    }

    /// Arms a policy session for one use of a mission key. Commands: 1 StartAuthSession and 8 policy commands.
    ///
    /// # Errors
    /// The chip's refusal once the mission ended, was stopped, or the end on the TPM's clock has passed.
    pub fn arm(&self, key: &MissionKey) -> Result<PolicySession> {
        let key = key.clone();
        self.run(Lane::Command, move |chip| {
            chip.policy_session(&key.policy, &key.inputs)
        })
    }

    /// Signs with a mission key in an armed session. Commands: 1 Sign.
    ///
    /// # Errors
    /// [`KeyRefusal::Purpose`](crate::KeyRefusal::Purpose) for a key of another purpose; PCR_CHANGED where a stop or
    /// the end of a mission came between arming and use.
    pub fn sign_armed(&self, key: &MissionKey, session: &PolicySession, digest: Digest) -> Result<Signature> {
        Self::check_purpose(key, MissionKeyPurpose::Signing)?;
        let (key, session) = (key.key.clone(), session.clone());
        self.run(Lane::Command, move |chip| {
            chip.sign(&key, Auth::Policy(&session), &digest)
        })
    }

    /// Arms a session and signs. Commands: as [`Self::arm`] and [`Self::sign_armed`], and a flush.
    ///
    /// # Errors
    /// As those.
    pub fn sign(&self, key: &MissionKey, digest: Digest) -> Result<Signature> {
        Self::check_purpose(key, MissionKeyPurpose::Signing)?;
        self.with_armed(key, move |chip, key, auth| chip.sign(key, auth, &digest))
    }

    /// The HMAC of up to 1024 bytes with a command key in an armed session. Commands: 1 HMAC.
    ///
    /// # Errors
    /// As [`Self::sign_armed`].
    pub fn mac_armed(&self, key: &MissionKey, session: &PolicySession, data: Vec<u8>) -> Result<Digest> {
        Self::check_purpose(key, MissionKeyPurpose::CommandMac)?;
        let (key, session) = (key.key.clone(), session.clone());
        let hash = self.hash();
        self.run(Lane::Command, move |chip| {
            let tag = chip.hmac(&key, Auth::Policy(&session), &data)?;
            tag_of(hash, &tag)
        })
    }

    /// The secret of a data key. Commands: as [`Self::arm`], 1 Unseal, and a flush.
    ///
    /// # Errors
    /// As [`Self::sign_armed`].
    pub(crate) fn unseal_data_key(&self, key: &MissionKey) -> Result<Secret> {
        Self::check_purpose(key, MissionKeyPurpose::DataSealing)?;
        self.with_armed(key, |chip, key, auth| chip.unseal_object(key, auth))
    }

    fn with_armed<T: Send + 'static>(
        &self,
        key: &MissionKey,
        mut work: impl FnMut(&mut Chip, &Key, Auth<'_>) -> std::result::Result<T, TpmError> + Send + 'static,
    ) -> Result<T> {
        let key = key.clone();
        self.run(Lane::Command, move |chip| {
            chip.with_policy(&key.policy, &key.inputs, |chip, session| {
                work(chip, &key.key, Auth::Policy(session))
            })
        })
    }
}

pub(crate) fn tag_of(hash: HashAlg, tag: &Secret) -> std::result::Result<Digest, TpmError> {
    Digest::from_slice(hash, tag.expose()).ok_or(TpmError::Unsupported {
        what: "an HMAC of another length than the key's hash",
    })
}
