//! Rearm as the keys see it: the approval by which the chip lets a level's mission parent be used.

use crate::robot::{RobotKeys, read_counter};
use crate::{KeysError, Result};
use alcub3_crypto::tpm::policy::Policy;
use alcub3_security_hal::{EpochSnapshot, RearmRecord};
use alcub3_tpm::Lane;
use alcub3_tpm::ops::{Approval, Attestation, PolicyInputs};
use alcub3_trust_model::Level;
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::policies::{CounterBinding, parent_session_policy, rearm_ref};

const FILE: &str = "rearm.cbor";

impl RobotKeys {
    /// The epochs the chip holds. Commands: 6 NV_Read.
    ///
    /// # Errors
    /// The chip's.
    pub fn epochs(&self) -> Result<EpochSnapshot> {
        let nv = self.nv;
        self.run(Lane::Background, move |chip| {
            let mut levels = [0; Level::ALL.len()];
            for (slot, level) in levels.iter_mut().zip(Level::ALL) {
                *slot = read_counter(chip, nv, NvIndex::LevelEpoch(level))?.value;
            }
            Ok(EpochSnapshot {
                robot: read_counter(chip, nv, NvIndex::RobotEpoch)?.value,
                levels,
            })
        })
    }

    /// The robot's epoch. Commands: 1 NV_Read.
    ///
    /// # Errors
    /// The chip's.
    pub fn robot_epoch(&self) -> Result<u64> {
        let nv = self.nv;
        let counter = self.run(Lane::Background, move |chip| {
            read_counter(chip, nv, NvIndex::RobotEpoch)
        })?;
        Ok(counter.value)
    }

    /// The AK's certification of an index's contents. Commands: 1 NV_Certify.
    ///
    /// # Errors
    /// The chip's.
    pub fn certify_index(&self, index: NvIndex, qualifying: Vec<u8>) -> Result<Attestation> {
        let (signer, handle) = (self.attestation_key(), self.nv.spec(index).handle);
        self.run(Lane::Attestation, move |chip| {
            chip.nv_certify(&signer, handle, &qualifying)
        })
    }

    /// The rearm record in force, if there is one. It is believed only by whoever verifies it, and by the chip.
    ///
    /// # Errors
    /// The folder's, or a record that is not readable.
    pub fn rearm_record(&self) -> Result<Option<RearmRecord>> {
        let Some(bytes) = self.folder.read(FILE)? else {
            return Ok(None);
        };
        RearmRecord::from_canonical(&bytes)
            .map(Some)
            .map_err(|source| KeysError::Record {
                name: FILE.into(),
                source,
            })
    }

    /// Keeps a rearm record that was verified.
    ///
    /// # Errors
    /// The folder's.
    pub fn keep_rearm_record(&self, record: &RearmRecord) -> Result<()> {
        Ok(self.folder.write(FILE, &record.to_canonical())?)
    }

    /// Puts the record of before back where a rearm failed; with none before, there is none again.
    ///
    /// # Errors
    /// The folder's. The record that was not taken may then arm the robot at its next start.
    pub fn put_back_rearm_record(&self, before: Option<&RearmRecord>) -> Result<()> {
        match before {
            Some(record) => self.keep_rearm_record(record),
            None => Ok(self.folder.remove(FILE)?),
        }
    }

    /// The policy, and what its replay needs, by which a level's mission parent is used.
    pub(crate) fn parent_use(&self, level: Level) -> Result<(Policy, PolicyInputs)> {
        let record = self.rearm_record()?.ok_or(KeysError::Stopped)?;
        let approval = record
            .approvals
            .into_iter()
            .find(|a| a.level == level)
            .ok_or(KeysError::Stopped)?;
        let binding = |index, value| CounterBinding {
            name: self.nv.spec(index).tpm_name(true),
            value,
        };
        let policy = parent_session_policy(
            self.hash(),
            self.anchors().rearm.name(),
            (&self.record.robot, level),
            binding(NvIndex::RobotEpoch, approval.robot_epoch),
            binding(NvIndex::LevelEpoch(level), approval.level_epoch),
        )?;
        let approval = Approval {
            key: self.anchors().rearm.clone(),
            policy_ref: rearm_ref(&self.record.robot, level),
            signature: approval.signature,
        };
        let inputs = [NvIndex::RobotEpoch, NvIndex::LevelEpoch(level)]
            .iter()
            .fold(PolicyInputs::new().approval(approval), |inputs, index| {
                inputs.nv(self.nv.spec(*index).handle)
            });
        Ok((policy, inputs))
    }
}
