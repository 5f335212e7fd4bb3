//! Using mission keys: the policy as the chip replays it, armed sessions, signatures.

use crate::mission_record::MissionRecord;
use crate::robot::RobotKeys;
use crate::{KeysError, Result};
use alcub3_crypto::Digest;
use alcub3_crypto::tpm::Signature;
use alcub3_crypto::tpm::policy::Policy;
use alcub3_tpm::ops::{Approval, Key, PolicyInputs};
use alcub3_tpm::{Auth, Lane, PolicySession};
use alcub3_trust_model::nv_map::{MissionAnchor, NvIndex};
use alcub3_trust_model::policies::{
    CounterBinding, MissionPolicyInput, PcrBinding, command_code, mission_end_ref, mission_pcr_mask,
    mission_policy,
};
use alcub3_trust_model::{MissionId, profile};

/// A mission key ready for use: loaded, with what its policy sessions need.
#[derive(Clone, Debug)]
pub struct MissionKey {
    key: Key,
    policy: Policy,
    inputs: PolicyInputs,
}

impl MissionKey {
    /// The key in the chip.
    pub fn key(&self) -> &Key {
        &self.key
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

    /// A mission key's policy, from its record.
    ///
    /// # Errors
    /// [`KeysError::Policy`] if the record's digest is of another hash.
    pub fn policy_of(&self, record: &MissionRecord) -> Result<Policy> {
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
            command_code: command_code::SIGN,
        })?)
    }

    /// Loads a mission's key. Commands: a parent session (StartAuthSession, 2 PolicyNV, PolicyAuthorize), Load, a flush.
    ///
    /// # Errors
    /// [`KeysError::NoSuchMission`]; [`KeysError::Stopped`]; the chip's refusal after a stop.
    pub fn load_mission_key(&self, mission: MissionId) -> Result<MissionKey> {
        let record = self.mission(mission)?;
        let parent = self.parent(record.level)?;
        let (parent_policy, parent_inputs) = self.parent_use(record.level)?;
        let policy = self.policy_of(&record)?;
        let inputs = self.mission_inputs(&record)?;
        let key = self.run(Lane::Command, move |chip| {
            chip.with_policy(&parent_policy, &parent_inputs, |chip, session| {
                chip.load(&parent, Auth::Policy(session), &record.private, &record.public)
            })
        })?;
        Ok(MissionKey {
            key: Key::from(key),
            policy,
            inputs,
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
    /// PCR_CHANGED where a stop or the end of a mission came between arming and use.
    pub fn sign_armed(&self, key: &MissionKey, session: &PolicySession, digest: Digest) -> Result<Signature> {
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
        let key = key.clone();
        self.run(Lane::Command, move |chip| {
            chip.with_policy(&key.policy, &key.inputs, |chip, session| {
                chip.sign(&key.key, Auth::Policy(session), &digest)
            })
        })
    }
}
