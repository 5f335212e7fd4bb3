//! Secrets in memory, kept where a stop can wipe them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use alcub3_crypto::Secret;
use alcub3_trust_model::{Level, MissionId};

use crate::gate::Gates;
use crate::order::StopScope;
use crate::ports::SecretVault;
use crate::report::PortError;

/// The secrets of a process. A secret is used inside it and never handed out, so that a stop wipes the only copy.
#[derive(Clone)]
pub struct MemoryVault {
    gates: Arc<Gates>,
    shelves: Arc<RwLock<Shelves>>,
}

#[derive(Default)]
struct Shelves {
    next: u64,
    secrets: BTreeMap<u64, Kept>,
}

struct Kept {
    level: Level,
    mission: Option<MissionId>,
    secret: Secret,
}

/// Names a secret in a [`MemoryVault`].
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub struct SecretRef(u64);

/// Why a secret was not taken or not found.
#[derive(Copy, Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum VaultError {
    /// What the secret belongs to is stopped.
    #[error("refused: emergency stop; secrets are taken again after a rearm")]
    Stopped,
    /// It was wiped by a stop, or removed.
    #[error("the secret is no longer in memory: it was removed, or wiped by a stop")]
    Gone,
}

impl MemoryVault {
    /// An empty vault that takes nothing while its gates are closed.
    pub fn new(gates: Arc<Gates>) -> Self {
        Self {
            gates,
            shelves: Arc::default(),
        }
    }

    /// Takes a secret of a level and, where it has one, a mission.
    ///
    /// # Errors
    /// [`VaultError::Stopped`] while the level, the mission or the robot is stopped. The gate is looked at under
    /// the lock that wiping takes, so no secret slips in behind a stop.
    pub fn insert(
        &self,
        level: Level,
        mission: Option<MissionId>,
        secret: Secret,
    ) -> Result<SecretRef, VaultError> {
        let mut shelves = self.write();
        let stopped = mission.is_some_and(|mission| self.gates.is_mission_stopped(mission));
        if stopped || self.gates.is_level_stopped(level) {
            return Err(VaultError::Stopped);
        }
        let name = shelves.next;
        shelves.next = name.wrapping_add(1);
        shelves.secrets.insert(
            name,
            Kept {
                level,
                mission,
                secret,
            },
        );
        Ok(SecretRef(name))
    }

    /// Uses a secret in place. A stop waits for the use to end, so keep it short.
    ///
    /// # Errors
    /// [`VaultError::Gone`] when it was removed or wiped.
    pub fn with<T>(&self, name: SecretRef, work: impl FnOnce(&Secret) -> T) -> Result<T, VaultError> {
        let shelves = self.read();
        shelves
            .secrets
            .get(&name.0)
            .map(|kept| work(&kept.secret))
            .ok_or(VaultError::Gone)
    }

    /// Removes and wipes one secret.
    pub fn remove(&self, name: SecretRef) {
        self.write().secrets.remove(&name.0);
    }

    /// The number of secrets held.
    pub fn len(&self) -> usize {
        self.read().secrets.len()
    }

    /// Whether no secret is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(&self) -> RwLockReadGuard<'_, Shelves> {
        self.shelves.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Shelves> {
        self.shelves.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SecretVault for MemoryVault {
    fn wipe(&mut self, scope: &StopScope) -> Result<u64, PortError> {
        let mut shelves = self.write();
        let before = shelves.secrets.len();
        // A dropped `Secret` is overwritten before its memory is given back.
        match scope {
            StopScope::Robot => shelves.secrets.clear(),
            StopScope::Level(level) => shelves.secrets.retain(|_, kept| kept.level != *level),
            StopScope::Mission(mission, _) => {
                shelves.secrets.retain(|_, kept| kept.mission != Some(*mission));
            }
        }
        Ok(u64::try_from(before.saturating_sub(shelves.secrets.len())).unwrap_or(u64::MAX))
    }
}
