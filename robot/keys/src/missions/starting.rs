//! Starting a mission: its first key, made in the chip and certified by the AK.

use super::{MissionGrant, MissionOver};
use crate::mission_record::MissionRecord;
use crate::robot::{RobotKeys, read_counter};
use crate::{KeyRefusal, KeysError, Result};
use alcub3_crypto::tpm::attribute;
use alcub3_crypto::tpm::policy::Policy;
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::{Digest, HashAlg, Secret};
use alcub3_tpm::ops::{ClockReading, Key, PolicyInputs};
use alcub3_tpm::{Auth, Chip, Lane};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::policies::{
    CounterBinding, MissionPolicyInput, PcrBinding, command_code, mission_pcr_mask, mission_policy,
};
use alcub3_trust_model::{MissionId, domain, profile};

impl RobotKeys {
    /// Makes the key of a granted mission and writes its record: from here on the mission is active.
    ///
    /// Commands: 1 ReadClock, 3 NV_Read, 1 PCR_Read, a parent session, Create, a parent session, Load,
    /// CertifyCreation, the flushes.
    ///
    /// # Errors
    /// [`KeysError::Refused`] where the clock went back or the mission would be over already; [`KeysError::Store`] where no
    /// key store vouches for its record; [`KeysError::Stopped`] where no rearm names the present epochs;
    /// [`KeysError::Grant`] where a stop came since the mission was asked for, or the grant was used before; the chip's.
    pub fn start_mission(&self, grant: MissionGrant) -> Result<MissionRecord> {
        check_not_over(&grant, &self.observed_clock()?)?;
        let seal = self.mission_seal()?;
        let level_profile = profile(grant.level);
        let parent = self.parent(grant.level)?;
        let use_parent = self.parent_use(grant.level)?;
        let mask = mission_pcr_mask(&self.pcrs, &level_profile);
        let ak = self.attestation_key();
        let keys = self.clone();
        let record = self
            .tpm
            .run(Lane::Background, crate::robot::OPERATION_TIMEOUT, move |chip| {
                Ok(keys.make_first_key(chip, &grant, &parent, &use_parent, &ak, mask))
            })??;
        self.key_store().begin(&seal, record.mission)?;
        self.mission_files.write(&seal, &record)?;
        Ok(record)
    }

    fn make_first_key(
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
            moved: None,
            suspended: false,
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
}

fn check_not_over(grant: &MissionGrant, clock: &ClockReading) -> Result<()> {
    let over = if clock.reset_count > grant.max_reset_count {
        MissionOver::Resets
    } else if clock.clock_ms >= grant.end_clock_ms {
        MissionOver::ChipClock
    } else {
        return Ok(());
    };
    let mission = grant.mission;
    Err(KeyRefusal::Over { mission, over }.into())
}

/// What a mission key's creation data and certification carry: the mission and its token.
pub(crate) fn mission_binding(hash: HashAlg, mission: MissionId, token: &[u8]) -> Digest {
    hash.digest(&[domain::MISSION.as_bytes(), mission.as_bytes(), token])
}
