//! What a stop does in the chip and to the keys: two commands on the emergency lane, then flushes and deletions.

use crate::Result;
use crate::robot::{KeyOwner, RobotKeys};
use alcub3_attestation::event_log::agent::{StopEvent, StopScope as EventScope};
use alcub3_crypto::Digest;
use alcub3_security_hal::{
    MissionKeys, PortError, StepOutcome, StopIntent, StopScope, TpmLockOutcome, Zeroizer,
};
use alcub3_tpm::{Lane, TpmError};
use alcub3_trust_model::managed_key::KeyRecord;
use std::time::Duration;

/// How long the emergency lane tries. A chip answers in milliseconds; beyond this the step is unconfirmed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a part of a stop is not confirmed.
#[derive(Debug, thiserror::Error)]
enum StopError {
    #[error("the TPM answered without proof that it was the TPM")]
    Unproven,
}

/// The TPM part of a stop.
#[derive(Clone, Debug)]
pub struct RobotZeroizer(RobotKeys);

impl RobotZeroizer {
    /// For this robot's chip.
    pub fn new(keys: RobotKeys) -> Self {
        Self(keys)
    }

    fn pcr(&self, scope: &StopScope) -> u32 {
        match scope {
            StopScope::Robot => self.0.pcrs.lockdown().into(),
            StopScope::Level(_) | StopScope::Mission(..) => self.0.pcrs.retire().into(),
        }
    }

    fn digests(&self, intent: &StopIntent) -> Vec<Digest> {
        self.0
            .banks
            .iter()
            .map(|bank| intent.event_digest(*bank))
            .collect()
    }
}

impl Zeroizer for RobotZeroizer {
    fn extend(&mut self, intent: &StopIntent) -> std::result::Result<Digest, PortError> {
        let (pcr, digests) = (self.pcr(&intent.order().scope), self.digests(intent));
        self.0.tpm.run(Lane::Emergency, STOP_TIMEOUT, move |chip| {
            chip.pcr_extend(pcr, &digests)
        })?;
        Ok(intent.event_digest(self.0.hash()))
    }

    fn increment(&mut self, intent: &StopIntent) -> std::result::Result<Option<u64>, PortError> {
        let handle = self.0.nv.spec(intent.order().scope.counter()).handle;
        self.0.tpm.run(Lane::Emergency, STOP_TIMEOUT, move |chip| {
            chip.nv_increment(handle)
        })?;
        Ok(None)
    }

    /// Both in one visit to the chip. Commands: 1 NV_Increment, 1 PCR_Extend, whatever the number of keys.
    fn lock(&mut self, intent: &StopIntent) -> TpmLockOutcome {
        let (pcr, digests) = (self.pcr(&intent.order().scope), self.digests(intent));
        let handle = self.0.nv.spec(intent.order().scope.counter()).handle;
        let done = self.0.tpm.run(Lane::Emergency, STOP_TIMEOUT, move |chip| {
            Ok(chip.emergency_stop_commands(pcr, &digests, handle))
        });
        match done {
            Err(error) => TpmLockOutcome::unconfirmed(StepOutcome::failed(error)),
            Ok(done) => TpmLockOutcome {
                extended: done.extend.is_ok().then(|| intent.event_digest(self.0.hash())),
                extend: outcome(done.extend, done.protected),
                increment: outcome(done.increment, done.protected),
                counter: None,
            },
        }
    }
}

/// A success counts only if the answer carried the chip's HMAC.
fn outcome(result: alcub3_tpm::Result<()>, protected: bool) -> StepOutcome {
    match result {
        Ok(()) if protected => StepOutcome::Done,
        Ok(()) => StepOutcome::failed(StopError::Unproven),
        Err(error) => StepOutcome::failed(error),
    }
}

/// The keys on disk and in the chip that a stop ends.
#[derive(Clone, Debug)]
pub struct StoredMissionKeys {
    keys: RobotKeys,
    /// Loaded keys and armed sessions: dropping them flushes them.
    loaded: crate::robot::LoadedKeys,
}

impl StoredMissionKeys {
    /// Of this robot, with the keys its callers have loaded.
    pub fn new(keys: RobotKeys, loaded: crate::robot::LoadedKeys) -> Self {
        Self { keys, loaded }
    }
}

fn in_scope(scope: &StopScope, owner: &KeyOwner) -> bool {
    match scope {
        StopScope::Robot => true,
        StopScope::Level(level) => owner.level == *level,
        StopScope::Mission(mission, _) => owner.mission == *mission,
    }
}

/// A stop of a mission ends no managed key.
fn is_managed_in_scope(scope: &StopScope, key: &KeyRecord) -> bool {
    match scope {
        StopScope::Robot => true,
        StopScope::Level(level) => key.level == *level,
        StopScope::Mission(..) => false,
    }
}

impl MissionKeys for StoredMissionKeys {
    fn flush_loaded(&mut self, scope: &StopScope) -> std::result::Result<u64, PortError> {
        let dropped = self.loaded.forget(|owner| in_scope(scope, owner));
        // Dropped leases are flushed by the owner thread between commands: one round trip makes sure of it.
        self.keys
            .tpm
            .run(Lane::Command, STOP_TIMEOUT, |chip| chip.flush_dropped())?;
        Ok(dropped)
    }

    fn delete_blobs(&mut self, scope: &StopScope) -> std::result::Result<u64, PortError> {
        // Each is tried whatever became of the others: the chip uses none of them again.
        let missions = self
            .keys
            .delete_missions(|record| in_scope(scope, &record.owner()));
        // Also keys whose mission's record cannot be read.
        let orphaned = match scope {
            StopScope::Robot => self.keys.remove_keys_of_stopped(),
            StopScope::Level(_) | StopScope::Mission(..) => Ok(0),
        };
        let managed = self
            .keys
            .delete_stopped_keys(|key| is_managed_in_scope(scope, key));
        Ok(missions?.saturating_add(orphaned?).saturating_add(managed?))
    }
}

/// The event as appraisal knows it. Both sides encode the same bytes; a test holds them together.
pub fn event_of(intent: &StopIntent) -> StopEvent {
    let order = intent.order();
    let scope = match order.scope {
        StopScope::Robot => EventScope::Robot,
        StopScope::Level(level) => EventScope::Level(level),
        StopScope::Mission(mission, anchor) => EventScope::Mission(mission, anchor),
    };
    StopEvent {
        stop: order.stop,
        robot: order.robot.clone(),
        scope,
        cause: order.cause,
        called_utc_ms: order.called_utc_ms,
    }
}

impl RobotKeys {
    /// The lockdown and the retire PCR, in the bank in use. Commands: 1 PCR_Read.
    ///
    /// # Errors
    /// The chip's.
    pub fn stop_pcrs(&self) -> Result<[Digest; 2]> {
        let (bank, pcrs) = (
            self.hash(),
            [self.pcrs.lockdown(), self.pcrs.retire()].map(u32::from),
        );
        self.run(Lane::Command, move |chip| {
            let values = chip.pcr_read(&[(bank, pcrs.iter().fold(0, |mask, pcr| mask | 1 << pcr))])?;
            let value = |pcr| {
                values.get(bank, pcr).copied().ok_or(TpmError::Unsupported {
                    what: "the bank in use",
                })
            };
            let [lockdown, retire] = pcrs;
            Ok([value(lockdown)?, value(retire)?])
        })
    }
}
