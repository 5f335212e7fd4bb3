//! Missions: an anchor in the chip, a key under the mission policy, and their end.

use crate::mission_record::MissionRecord;
use crate::robot::{RobotKeys, read_counter};
use crate::{KeysError, Result};
use alcub3_attestation::event_log::agent::AgentEvent;
use alcub3_crypto::tpm::policy::Policy;
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::tpm::{Signature, attribute};
use alcub3_crypto::{Digest, HashAlg, Secret};
use alcub3_tpm::ops::{Approval, Key, PolicyInputs};
use alcub3_tpm::{Auth, Chip, Lane, PolicySession, TpmError};
use alcub3_trust_model::nv_map::{MISSION_ANCHOR_COUNT, MissionAnchor, NvIndex};
use alcub3_trust_model::policies::{
    CounterBinding, MissionPolicyInput, PcrBinding, command_code, mission_end_ref, mission_pcr_mask,
    mission_policy,
};
use alcub3_trust_model::{Level, MissionId, domain, profile};

use std::sync::atomic::Ordering;

const FOLDER: &str = "missions";

/// An anchor taken for a mission: its new value has never been before and, once moved, never returns.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct ReservedAnchor {
    /// Which.
    pub anchor: MissionAnchor,
    /// Its value while the mission lives.
    pub value: u64,
}

/// What the authority granted.
#[derive(Clone, Debug)]
pub struct MissionGrant {
    /// The mission.
    pub mission: MissionId,
    /// Its level.
    pub level: Level,
    /// Its anchor.
    pub anchor: ReservedAnchor,
    /// The robot's epoch for which it was granted.
    pub robot_epoch: u64,
    /// Its level's epoch for which it was granted.
    pub level_epoch: u64,
    /// When it ends on the TPM's clock, in milliseconds.
    pub end_clock_ms: u64,
    /// The last resetCount at which its key works.
    pub max_reset_count: u32,
    /// The approval key's signature over that end.
    pub end_approval: Signature,
    /// The mission token, as signed by the authority.
    pub token: Vec<u8>,
}

/// Why a mission that has a record is over in the chip.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum MissionOver {
    /// Its anchor has moved on.
    Ended,
    /// An epoch has moved on: the robot or its level was stopped.
    Stopped,
    /// The chip was reset more often than its level allows.
    Resets,
}

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
    /// Takes a free anchor and counts it up. Commands: 1 NV_Increment, 1 NV_Read.
    ///
    /// # Errors
    /// [`KeysError::NoFreeAnchor`] when as many missions are active as there are anchors.
    pub fn reserve_anchor(&self) -> Result<ReservedAnchor> {
        let taken: Vec<MissionAnchor> = self.missions()?.iter().map(|m| m.anchor).collect();
        // In turn, so that missions asked for before one of them is granted do not take each other's anchor.
        let first = usize::from(self.next_anchor.fetch_add(1, Ordering::Relaxed));
        let mut in_turn: Vec<MissionAnchor> = MissionAnchor::all().collect();
        in_turn.rotate_left(first % usize::from(MISSION_ANCHOR_COUNT));
        let free = in_turn.into_iter().find(|anchor| !taken.contains(anchor));
        let anchor = free.ok_or(KeysError::NoFreeAnchor {
            count: MISSION_ANCHOR_COUNT,
        })?;
        let (nv, index) = (self.nv, NvIndex::MissionAnchor(anchor));
        let counter = self.run(Lane::Background, move |chip| {
            chip.nv_increment(nv.spec(index).handle)?;
            read_counter(chip, nv, index)
        })?;
        Ok(ReservedAnchor {
            anchor,
            value: counter.value,
        })
    }

    /// Makes the key of a granted mission and writes its record: from here on the mission is active.
    ///
    /// Commands: 3 NV_Read, 1 PCR_Read, a parent session, Create, a parent session, Load,
    /// CertifyCreation, the flushes.
    ///
    /// # Errors
    /// [`KeysError::Stopped`] where no rearm names the present epochs; [`KeysError::Grant`] where a stop came since the
    /// mission was asked for, or the grant was used before; the chip's.
    pub fn start_mission(&self, grant: MissionGrant) -> Result<MissionRecord> {
        let level_profile = profile(grant.level);
        let parent = self.parent(grant.level)?;
        let use_parent = self.parent_use(grant.level)?;
        let mask = mission_pcr_mask(&self.pcrs, &level_profile);
        let ak = self.attestation_key();
        let keys = self.clone();
        let record = self
            .tpm
            .run(Lane::Background, crate::robot::OPERATION_TIMEOUT, move |chip| {
                Ok(keys.create_mission_key(chip, &grant, &parent, &use_parent, &ak, mask))
            })??;
        self.folder
            .write(&file_of(record.mission), &record.to_canonical())?;
        Ok(record)
    }

    fn create_mission_key(
        &self,
        chip: &mut Chip,
        grant: &MissionGrant,
        parent: &Key,
        use_parent: &(Policy, PolicyInputs),
        ak: &Key,
        mask: u32,
    ) -> Result<MissionRecord> {
        let hash = self.hash();
        let [robot_epoch, level_epoch, anchor] = self.granted_counters(chip, grant)?;
        let values = chip.pcr_read(&[(hash, mask)])?;
        let pcr_digest = values
            .digest(hash, &[(hash, mask)])
            .ok_or(KeysError::Grant { what: "the PCRs" })?;
        let policy = mission_policy(&MissionPolicyInput {
            alg: hash,
            end_clock_ms: grant.end_clock_ms,
            approval_key: self.anchors().approval_key(grant.level).name(),
            mission: grant.mission,
            pcrs: PcrBinding {
                bank: hash,
                mask,
                digest: pcr_digest,
            },
            robot_epoch,
            level_epoch,
            anchor,
            max_reset_count: grant.max_reset_count,
            command_code: command_code::SIGN,
        })?;
        let attributes = attribute::FIXED_TPM
            | attribute::FIXED_PARENT
            | attribute::SENSITIVE_DATA_ORIGIN
            | attribute::NO_DA
            | attribute::SIGN;
        let template = PublicTemplate::signing_key(self.record.curve, attributes, Some(&policy.digest()));
        let binding = mission_binding(hash, grant.mission, &grant.token);
        let empty = Secret::from_slice(&[]);
        let (parent_policy, parent_inputs) = use_parent;
        let made = chip.with_policy(parent_policy, parent_inputs, |chip, session| {
            chip.create(
                parent,
                Auth::Policy(session),
                template.as_tpmt_bytes(),
                &empty,
                None,
                binding.as_bytes(),
            )
        })?;
        let object = chip.with_policy(parent_policy, parent_inputs, |chip, session| {
            chip.load(parent, Auth::Policy(session), &made.private, &made.public)
        })?;
        let certified = chip.certify_creation(ak, &Key::from(object), binding.as_bytes(), &made.creation)?;
        Ok(MissionRecord {
            mission: grant.mission,
            level: grant.level,
            anchor: grant.anchor.anchor,
            anchor_value: grant.anchor.value,
            end_clock_ms: grant.end_clock_ms,
            end_approval: grant.end_approval.to_tpmt(),
            robot_epoch: robot_epoch.value,
            level_epoch: level_epoch.value,
            pcr_digest,
            max_reset_count: grant.max_reset_count,
            public: made.public,
            private: made.private,
            creation: made.creation.data,
            certification: (certified.message, certified.signature),
            token: grant.token.clone(),
        })
    }

    /// The counters that the policy names, which must hold what the authority saw: a stop since then, or a mission that
    /// had this grant before, is the end of it.
    fn granted_counters(&self, chip: &mut Chip, grant: &MissionGrant) -> Result<[CounterBinding; 3]> {
        let named = [
            (NvIndex::RobotEpoch, grant.robot_epoch),
            (NvIndex::LevelEpoch(grant.level), grant.level_epoch),
            (NvIndex::MissionAnchor(grant.anchor.anchor), grant.anchor.value),
        ];
        let mut counters = [self.anchor_binding(grant.anchor.anchor, grant.anchor.value); 3];
        for (counter, (index, granted)) in counters.iter_mut().zip(named) {
            *counter = read_counter(chip, self.nv, index)?;
            if counter.value != granted {
                return Err(KeysError::Grant {
                    what: "an epoch or the anchor has moved since it was asked for; ask again",
                });
            }
        }
        Ok(counters)
    }

    fn anchor_binding(&self, anchor: MissionAnchor, value: u64) -> CounterBinding {
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

    fn mission_inputs(&self, record: &MissionRecord) -> Result<PolicyInputs> {
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

    /// Ends a mission in the chip: its anchor moves, armed sessions die. Commands: 1 NV_Increment, 1 PCR_Extend,
    /// whatever the number of its keys. The caller then logs the event and deletes the record.
    ///
    /// # Errors
    /// The chip's; ending can then be tried again.
    pub fn end_mission_in_chip(&self, record: &MissionRecord) -> Result<()> {
        let event = retire_event(&self.banks, record.mission);
        let (handle, retire) = (
            self.nv.spec(NvIndex::MissionAnchor(record.anchor)).handle,
            self.pcrs.retire(),
        );
        self.run(Lane::Command, move |chip| {
            end_in_chip(chip, handle, retire, &event)
        })
    }

    /// The active missions, by identifier.
    ///
    /// # Errors
    /// The folder's, or a record that is not readable.
    pub fn missions(&self) -> Result<Vec<MissionRecord>> {
        self.folder
            .list(FOLDER)?
            .iter()
            .map(|name| self.read_record(&format!("{FOLDER}/{name}")))
            .collect()
    }

    /// One active mission.
    ///
    /// # Errors
    /// [`KeysError::NoSuchMission`], or as [`Self::missions`].
    pub fn mission(&self, mission: MissionId) -> Result<MissionRecord> {
        let known = self
            .missions()?
            .into_iter()
            .find(|record| record.mission == mission);
        known.ok_or(KeysError::NoSuchMission { mission })
    }

    fn read_record(&self, name: &str) -> Result<MissionRecord> {
        let bytes = self.folder.read(name)?.unwrap_or_default();
        MissionRecord::from_canonical(&bytes).map_err(|source| KeysError::Record {
            name: name.into(),
            source,
        })
    }

    /// Deletes the records of missions in scope, and says how many. Their keys are dead in the chip already.
    ///
    /// # Errors
    /// The folder's; what could be deleted is.
    pub fn delete_missions(&self, in_scope: impl Fn(&MissionRecord) -> bool) -> Result<u64> {
        let names = self
            .folder
            .list(FOLDER)?
            .into_iter()
            .map(|name| format!("{FOLDER}/{name}"));
        let mut ended = Vec::new();
        let mut unreadable = None;
        for name in names {
            match self.read_record(&name) {
                Ok(record) if in_scope(&record) => ended.push(name),
                Ok(_) => {}
                Err(error) => unreadable = Some(error),
            }
        }
        self.folder.remove_all(FOLDER, &ended)?;
        unreadable.map_or(Ok(u64::try_from(ended.len()).unwrap_or(u64::MAX)), Err)
    }

    /// Missions that have a record and whose key the chip will never let sign again: a crash cut their end short, or
    /// the records are an old disk's. Commands: 1 ReadClock and up to 3 NV_Read for each mission.
    ///
    /// # Errors
    /// The chip's or the folder's.
    pub fn ended_missions(&self) -> Result<Vec<(MissionRecord, MissionOver)>> {
        let mut ended = Vec::new();
        for record in self.missions()? {
            if let Some(over) = self.over(&record)? {
                ended.push((record, over));
            }
        }
        Ok(ended)
    }

    fn over(&self, record: &MissionRecord) -> Result<Option<MissionOver>> {
        let named = [
            (
                NvIndex::MissionAnchor(record.anchor),
                record.anchor_value,
                MissionOver::Ended,
            ),
            (NvIndex::RobotEpoch, record.robot_epoch, MissionOver::Stopped),
            (
                NvIndex::LevelEpoch(record.level),
                record.level_epoch,
                MissionOver::Stopped,
            ),
        ];
        for (index, value, over) in named {
            if self.counter(index)?.value != value {
                return Ok(Some(over));
            }
        }
        let clock = self.run(Lane::Background, |chip| chip.read_clock())?;
        let over = clock.reset_count > record.max_reset_count;
        Ok(over.then_some(MissionOver::Resets))
    }

    /// The second half of [`Self::end_mission_in_chip`], for a mission whose anchor has moved already.
    /// Commands: 1 PCR_Extend.
    ///
    /// # Errors
    /// The chip's.
    pub fn retire_mission_in_chip(&self, record: &MissionRecord) -> Result<()> {
        let event = retire_event(&self.banks, record.mission);
        let retire = self.pcrs.retire().into();
        self.run(Lane::Command, move |chip| chip.pcr_extend(retire, &event))
    }
}

fn end_in_chip(
    chip: &mut Chip,
    anchor: u32,
    retire: u8,
    event: &[Digest],
) -> std::result::Result<(), TpmError> {
    chip.nv_increment(anchor)?;
    chip.pcr_extend(retire.into(), event)
}

/// What is extended into the retire PCR when a mission ends, in every bank.
fn retire_event(banks: &[HashAlg], mission: MissionId) -> Vec<Digest> {
    let event = AgentEvent::MissionEnded(mission);
    banks.iter().map(|bank| event.digest(*bank)).collect()
}

/// What a mission key's creation data and certification carry: the mission and its token.
pub(crate) fn mission_binding(hash: HashAlg, mission: MissionId, token: &[u8]) -> Digest {
    hash.digest(&[domain::MISSION.as_bytes(), mission.as_bytes(), token])
}

fn file_of(mission: MissionId) -> String {
    format!("{FOLDER}/{mission}.cbor")
}
